//! What one client may hold.

use crate::rate::Rate;

/// The limits of a client. They do not change while it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// SAs.
    pub sas: u32,
    /// Groups.
    pub groups: u32,
    /// Packets of a data request.
    pub batch: u32,
    /// Bytes of a data request's packets, and of their rooms.
    pub bytes: u32,
    /// Bytes of memory that it lets the device map. Pages that nobody has touched before are the daemon's when it does.
    pub memory: u64,
    /// What it may ask for in a second.
    pub rate: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sas: 65_536, groups: 4096, batch: 64, bytes: 1 << 20, memory: 1 << 30, rate: Rate::default() }
    }
}
