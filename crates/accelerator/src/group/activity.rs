//! What a group has done.

use std::ops::AddAssign;

use gipsec_engine::Direction;

use crate::Association;

/// What a group has done (R19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Packets decapsulated, and their payload bytes.
    pub packets_in: u64,
    /// Payload bytes decapsulated.
    pub bytes_in: u64,
    /// Packets encapsulated, and their payload bytes.
    pub packets_out: u64,
    /// Payload bytes encapsulated.
    pub bytes_out: u64,
    /// SAs added.
    pub created: u64,
    /// SAs deleted.
    pub deleted: u64,
    /// SAs changed.
    pub modified: u64,
    /// SAs there are.
    pub active: u64,
}

impl AddAssign for Activity {
    fn add_assign(&mut self, other: Self) {
        let sums = [
            (&mut self.packets_in, other.packets_in),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.packets_out, other.packets_out),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.created, other.created),
            (&mut self.deleted, other.deleted),
            (&mut self.modified, other.modified),
            (&mut self.active, other.active),
        ];
        for (sum, more) in sums {
            // A device may say anything.
            *sum = sum.saturating_add(more);
        }
    }
}

impl Activity {
    pub(super) fn add(&mut self, association: &dyn Association) {
        let (packets, bytes) = association.done();
        *self += match association.direction() {
            Direction::Inbound => Self { packets_in: packets, bytes_in: bytes, ..Self::default() },
            Direction::Outbound => Self { packets_out: packets, bytes_out: bytes, ..Self::default() },
        };
    }
}
