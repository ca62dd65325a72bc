//! The seam between applications and what processes packets.

use gipsec_engine::{Buffers, BundleEntry, Change, Direction, Events, PacketError, Reading, Sa, SaError, Verdict};

use crate::Capabilities;

/// Something that holds SAs and processes packets: the software engine, or a device.
pub trait Accelerator: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes an SA, or a bundle (R33). It lives until it is dropped.
    fn add_sa(&self, entries: Vec<BundleEntry>) -> Result<Box<dyn Association>, SaError>;

    /// Processes calls of several of its SAs as if each came in turn; together they may take less time. At most
    /// [`MAX_BATCH`](gipsec_engine::MAX_BATCH) packets.
    fn process_together(&self, calls: &mut [Call<'_, '_>]) {
        for call in calls {
            *call.events = call.association.process(call.packets, call.verdicts);
        }
    }
}

/// Packets for one SA.
pub struct Call<'a, 'b> {
    /// The SA.
    pub association: &'a dyn Association,
    /// Its packets.
    pub packets: &'a mut [Buffers<'b>],
    /// As many: what became of each.
    pub verdicts: &'a mut [Verdict],
    /// What is worth telling.
    pub events: &'a mut Events,
}

/// One SA or bundle of an accelerator, in its direction. Every method may be called from many threads at once.
pub trait Association: Send + Sync {
    /// Its direction.
    fn direction(&self) -> Direction;

    /// The engine's SA, if it is one.
    fn software(&self) -> Option<&Sa> {
        None
    }

    /// Whether its packets take less time together with those of other SAs than alone.
    fn works_abreast(&self) -> bool {
        false
    }

    /// Encapsulates or decapsulates `packets` in order; `verdicts` has as many entries. Neither allocates nor blocks.
    fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events;

    /// Makes a packet that the receiver drops without a word, as long as one that carries `len` bytes.
    fn make_dummy(&self, len: usize, output: &mut [u8]) -> Result<(Verdict, Events), SaError>;

    /// The longest packet that is encapsulated to at most `limit` bytes; None: there is none.
    fn largest_inner(&self, limit: usize) -> Result<Option<usize>, SaError>;

    /// Changes addresses, ports, sequence number or window (R31).
    fn modify(&self, change: &Change) -> Result<(), SaError>;

    /// What each entry is now, without its keys, and what it has done.
    fn read(&self) -> Vec<Reading>;

    /// Packets that came all the way, and the payload bytes in them.
    fn done(&self) -> (u64, u64);

    /// Counts a packet that never reached the SA.
    fn refuse(&self, error: PacketError);
}
