//! What the device tells unasked.

use gipsec_engine::Events;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

const SEQUENCE_OVERFLOW: u32 = 1;
const SEQUENCE_PERIODIC: u32 = 2;
const LIFETIME: u32 = 3;
const LOST: u32 = 4;

/// An event as it is written, 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EventRecord {
    kind: U32,
    reserved: U32,
    sa: U64,
    value: U64,
}

const _: () = assert!(size_of::<EventRecord>() == 24);

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Sequence numbers are about to run out, or have: the last one.
    SequenceOverflow {
        /// Of this SA.
        sa: u64,
        /// The last number given.
        last: u64,
    },
    /// So many packets again.
    SequencePeriodic {
        /// Of this SA.
        sa: u64,
        /// The last number given.
        last: u64,
    },
    /// The soft lifetime was reached.
    Lifetime {
        /// Of this SA.
        sa: u64,
        /// Through the SA.
        kilobytes: u32,
    },
    /// Events were dropped.
    Lost(u64),
}

impl Event {
    /// What a batch made an SA notice, in the order in which it happened.
    pub fn each(sa: u64, events: &Events) -> impl Iterator<Item = Self> {
        [
            events.soft_lifetime.map(|kilobytes| Self::Lifetime { sa, kilobytes }),
            events.sequence_periodic.map(|last| Self::SequencePeriodic { sa, last }),
            events.sequence_margin.map(|last| Self::SequenceOverflow { sa, last }),
            events.sequence_end.map(|last| Self::SequenceOverflow { sa, last }),
        ]
        .into_iter()
        .flatten()
    }

    /// Whose it is.
    pub fn sa(&self) -> Option<u64> {
        match *self {
            Self::SequenceOverflow { sa, .. } | Self::SequencePeriodic { sa, .. } | Self::Lifetime { sa, .. } => {
                Some(sa)
            }
            Self::Lost(_) => None,
        }
    }

    /// As it is written.
    pub fn record(self) -> EventRecord {
        let (kind, sa, value) = match self {
            Self::SequenceOverflow { sa, last } => (SEQUENCE_OVERFLOW, sa, last),
            Self::SequencePeriodic { sa, last } => (SEQUENCE_PERIODIC, sa, last),
            Self::Lifetime { sa, kilobytes } => (LIFETIME, sa, u64::from(kilobytes)),
            Self::Lost(count) => (LOST, 0, count),
        };
        EventRecord { kind: kind.into(), reserved: 0.into(), sa: sa.into(), value: value.into() }
    }

    /// As it is read; None: not known here.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (record, _) = EventRecord::read_from_prefix(bytes).ok()?;
        let (sa, value) = (record.sa.get(), record.value.get());
        match record.kind.get() {
            SEQUENCE_OVERFLOW => Some(Self::SequenceOverflow { sa, last: value }),
            SEQUENCE_PERIODIC => Some(Self::SequencePeriodic { sa, last: value }),
            LIFETIME => Some(Self::Lifetime { sa, kilobytes: u32::try_from(value).unwrap_or(u32::MAX) }),
            LOST => Some(Self::Lost(value)),
            _ => None,
        }
    }
}
