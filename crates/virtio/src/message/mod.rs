//! What driver and device say to each other, as `docs/virtio-ipsec.md` has it: layouts with names, and the one gate between
//! them and typed values. Nothing here touches shared memory: who calls has copied the bytes out of it.

pub mod config;
pub mod control;
pub mod data;
pub mod entry;
pub mod event;
pub mod feature;
pub mod reading;
pub mod status;

pub use config::Config;
pub use status::{RequestStatus, packet_status, verdict};

/// The device's provisional virtio type.
pub const DEVICE_ID: u32 = 62;
/// The version that ATTACH names.
pub const VERSION: u32 = 1;
/// The control queue.
pub const CONTROL_QUEUE: usize = 0;
/// The event queue.
pub const EVENT_QUEUE: usize = 1;
/// Pairs of data queues at most.
pub const MAX_PAIRS: usize = 64;

/// A message that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// The number of a data queue.
pub const fn data_queue(pair: usize, direction: gipsec_engine::Direction) -> usize {
    2 + 2 * pair
        + match direction {
            gipsec_engine::Direction::Inbound => 0,
            gipsec_engine::Direction::Outbound => 1,
        }
}

/// How a direction is written.
pub(crate) fn direction_code(direction: gipsec_engine::Direction) -> u8 {
    match direction {
        gipsec_engine::Direction::Inbound => 0,
        gipsec_engine::Direction::Outbound => 1,
    }
}

/// How a direction is read.
pub(crate) fn direction(code: u8) -> Result<gipsec_engine::Direction, Malformed> {
    match code {
        0 => Ok(gipsec_engine::Direction::Inbound),
        1 => Ok(gipsec_engine::Direction::Outbound),
        _ => Err(Malformed("an unknown direction")),
    }
}

/// Takes a layout off the front of a message.
pub(crate) fn take<T: zerocopy::FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
    bytes: &mut &[u8],
) -> Result<T, Malformed> {
    let (value, rest) = T::read_from_prefix(bytes).map_err(|_| Malformed("the message is cut"))?;
    *bytes = rest;
    Ok(value)
}

/// Takes `len` bytes off the front of a message.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(Malformed("the message is cut"))?;
    *bytes = rest;
    Ok(taken)
}

/// Checks that reserved bytes are 0.
pub(crate) fn reserved(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Malformed("reserved bytes are not 0")) }
}
