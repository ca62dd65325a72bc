//! What an SA has done. Written once for each batch, and once for each refused packet.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::PacketError;

/// A reading of an SA's counters. Each refused packet is in exactly one of them (R20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of g_ipsec_la_sa_stats")]
pub struct Statistics {
    pub packets_processed: u64,
    pub bytes_processed: u64,
    pub invalid_ipsec_pkt: u32,
    pub invalid_pad_length: u32,
    pub invalid_seq_num: u32,
    pub anti_replay_late_pkt: u32,
    pub anti_replay_replay_pkt: u32,
    pub invalid_icv: u32,
    pub seq_num_over_flow: u32,
    pub crypto_op_failed: u32,
    pub no_tail_room: u32,
    pub submit_to_accl_failed: u32,
}

/// Which counter a refused packet goes to; in the order of `Counters::refused`.
#[derive(Clone, Copy)]
enum Reason {
    Packet,
    Padding,
    SequenceZero,
    Late,
    Replayed,
    Icv,
    Overflow,
    Crypto,
    Room,
    Submit,
}

impl Reason {
    fn of(error: PacketError) -> Option<Self> {
        Some(match error {
            PacketError::Malformed(_)
            | PacketError::OtherSpi
            | PacketError::BadNextHeader
            | PacketError::Congestion => Self::Packet,
            PacketError::BadPadding => Self::Padding,
            PacketError::SequenceZero => Self::SequenceZero,
            PacketError::Late => Self::Late,
            PacketError::Replayed => Self::Replayed,
            PacketError::BadIcv => Self::Icv,
            PacketError::SequenceOverflow => Self::Overflow,
            PacketError::LifetimeExpired | PacketError::Crypto => Self::Crypto,
            PacketError::NoRoom => Self::Room,
            PacketError::QueueFull => Self::Submit,
            PacketError::Segments | PacketError::Gone => return None,
        })
    }
}

/// The counters of one SA, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    refused: [AtomicU32; 10],
}

/// A counter before and after a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub before: u64,
    pub after: u64,
}

impl Step {
    /// Whether the batch brought the counter to `value` or past it.
    pub(crate) fn reaches(self, value: u64) -> bool {
        self.before < value && value <= self.after
    }
}

impl Counters {
    /// Counts a batch; the steps of packets and of bytes.
    #[inline]
    pub(crate) fn add(&self, packets: u64, bytes: u64) -> (Step, Step) {
        let before = self.packets.fetch_add(packets, Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Relaxed);
        (
            Step { before, after: before.wrapping_add(packets) },
            Step { before: bytes_before, after: bytes_before.wrapping_add(bytes) },
        )
    }

    /// Counts a refused packet.
    #[cold]
    pub(crate) fn refuse(&self, error: PacketError) {
        if let Some(reason) = Reason::of(error) {
            self.refused[reason as usize].fetch_add(1, Relaxed);
        }
    }

    /// Payload bytes so far.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// A reading; counters that change meanwhile are each right, not necessarily together.
    pub(crate) fn read(&self) -> Statistics {
        let refused = |reason: Reason| self.refused[reason as usize].load(Relaxed);
        Statistics {
            packets_processed: self.packets.load(Relaxed),
            bytes_processed: self.bytes.load(Relaxed),
            invalid_ipsec_pkt: refused(Reason::Packet),
            invalid_pad_length: refused(Reason::Padding),
            invalid_seq_num: refused(Reason::SequenceZero),
            anti_replay_late_pkt: refused(Reason::Late),
            anti_replay_replay_pkt: refused(Reason::Replayed),
            invalid_icv: refused(Reason::Icv),
            seq_num_over_flow: refused(Reason::Overflow),
            crypto_op_failed: refused(Reason::Crypto),
            no_tail_room: refused(Reason::Room),
            submit_to_accl_failed: refused(Reason::Submit),
        }
    }
}
