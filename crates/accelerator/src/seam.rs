//! The seam between applications and what processes packets.

use gipsec_engine::{Attributes, Buffers, Change, Events, Keys, PacketError, SaError, Statistics, Verdict};

use crate::Capabilities;

/// Something that holds SAs and processes packets: the software engine, or a device.
pub trait Accelerator: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes an SA. It lives until it is dropped.
    fn add_sa(&self, attributes: Attributes, keys: &Keys) -> Result<Box<dyn Association>, SaError>;
}

/// One SA of an accelerator, in its direction. Every method may be called from many threads at once.
pub trait Association: Send + Sync {
    /// Encapsulates or decapsulates `packets` in order; `verdicts` has as many entries. Neither allocates nor blocks.
    fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events;

    /// Changes addresses, ports, sequence number or window (R31).
    fn modify(&self, change: &Change) -> Result<(), SaError>;

    /// What the SA is now, without its keys.
    fn attributes(&self) -> Attributes;

    /// What the SA has done.
    fn statistics(&self) -> Statistics;

    /// Counts a packet that never reached the SA.
    fn refuse(&self, error: PacketError);
}
