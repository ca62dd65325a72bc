//! ESP (RFC 4303), AH (RFC 4302) and IPComp (RFC 3173): Security Associations and what they do to packets. Knows nothing of who calls it:
//! no C, no threads, no handles. Packets are contiguous, in slices or in memory that others may change; everything in them is checked here.
//!
//! An [`Sa`], which is one SA or a bundle of them, may be used from many threads at once: what changes in it is atomic, and is
//! written once for each batch.

#![forbid(unsafe_code)]

mod batch;
mod bundle;
mod content;
mod counters;
mod drop_reason;
mod error;
mod inbound;
mod ipcomp;
mod iv;
mod lifetime;
mod nat;
mod outbound;
mod parameters;
mod replay;
mod route;
mod sa;
mod scratch;
mod sequence;
mod stage;
mod together;
mod transform;
mod tunnel;
mod volatile;

pub use batch::{Buffers, MAX_BATCH, Verdict};
pub use counters::{Drops, Statistics};
pub use drop_reason::DropReason;
pub use error::{PacketError, SaError};
pub use gipsec_compression::Algorithm as CompressionAlgorithm;
pub use gipsec_wire::outer::{Endpoints, Ports};
pub use inbound::Inbound;
pub use lifetime::Events;
pub use outbound::Outbound;
pub use parameters::{
    Algorithms, Attributes, Cipher, Combined, Compression, DfRule, Direction, DscpRule, FlowPadding, InboundRules,
    Integrity, Intervals, KeyLengths, Keys, Lifetime, Mode, Notify, OutboundRules, Parameters, Protocol, Rules,
};
pub use replay::{DEFAULT_WINDOW, MAX_WINDOW, MIN_WINDOW};
pub use route::Change;
pub use sa::{BundleEntry, MAX_ENTRIES, Reading, Sa};
pub use together::{Call, process_together};
pub use volatile::VolatileBuffers;
