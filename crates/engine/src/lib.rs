//! ESP (RFC 4303) and AH (RFC 4302): Security Associations and what they do to packets. Knows nothing of who calls it:
//! no C, no threads, no handles. Packets are contiguous slices; everything in them is checked here.
//!
//! An [`Outbound`] or [`Inbound`] SA may be used from many threads at once: what changes in it is atomic, and is
//! written once for each batch.

#![forbid(unsafe_code)]

mod batch;
mod counters;
mod error;
mod inbound;
mod iv;
mod lifetime;
mod outbound;
mod parameters;
mod replay;
mod route;
mod scratch;
mod sequence;
mod transform;
mod tunnel;

pub use batch::{Buffers, MAX_BATCH, Verdict};
pub use counters::Statistics;
pub use error::{PacketError, SaError};
pub use gipsec_wire::outer::{Endpoints, Ports};
pub use inbound::Inbound;
pub use lifetime::Events;
pub use outbound::Outbound;
pub use parameters::{
    Algorithms, Attributes, Cipher, Combined, DfRule, Direction, DscpRule, InboundRules, Integrity, Intervals,
    KeyLengths, Keys, Lifetime, Mode, Notify, OutboundRules, Protocol, Rules,
};
pub use replay::{DEFAULT_WINDOW, MAX_WINDOW, MIN_WINDOW};
pub use route::Change;
