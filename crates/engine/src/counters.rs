//! What an SA has done. Written once for each batch, and once for each refused packet.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    PacketError,
    drop_reason::{DropReason, Statistic},
};

/// A reading of an SA's counters. Each refused packet is in exactly one of them (R20); they stop at their largest value.
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

impl Statistics {
    /// What these counters come to.
    pub fn new(packets_processed: u64, bytes_processed: u64, drops: &Drops) -> Self {
        let mut statistics = Self { packets_processed, bytes_processed, ..Self::default() };
        for (reason, refused) in DropReason::ALL.iter().zip(drops) {
            let sum = statistics.of(reason.statistic());
            *sum = sum.saturating_add(u32::try_from(*refused).unwrap_or(u32::MAX));
        }
        statistics
    }

    fn of(&mut self, statistic: Statistic) -> &mut u32 {
        match statistic {
            Statistic::InvalidPacket => &mut self.invalid_ipsec_pkt,
            Statistic::InvalidPadding => &mut self.invalid_pad_length,
            Statistic::InvalidSequence => &mut self.invalid_seq_num,
            Statistic::Late => &mut self.anti_replay_late_pkt,
            Statistic::Replayed => &mut self.anti_replay_replay_pkt,
            Statistic::InvalidIcv => &mut self.invalid_icv,
            Statistic::SequenceOverflow => &mut self.seq_num_over_flow,
            Statistic::CryptoFailed => &mut self.crypto_op_failed,
            Statistic::NoRoom => &mut self.no_tail_room,
            Statistic::NotSubmitted => &mut self.submit_to_accl_failed,
        }
    }
}

/// How many packets were refused for each reason, in the order of [`DropReason::ALL`].
pub type Drops = [u64; DropReason::ALL.len()];

/// The counters of one SA.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    refused: [AtomicU64; DropReason::ALL.len()],
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

    /// Counts a packet as one that never was: a later entry of the bundle refused it.
    pub(crate) fn take_back(&self, payload_bytes: u64) {
        self.packets.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(payload_bytes, Relaxed);
    }

    /// Counts a refused packet.
    #[cold]
    pub(crate) fn refuse(&self, error: PacketError) {
        if let Some(reason) = DropReason::of(error) {
            self.refused[reason as usize].fetch_add(1, Relaxed);
        }
    }

    /// Payload bytes so far.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Refused packets by reason.
    pub(crate) fn drops(&self) -> Drops {
        std::array::from_fn(|reason| self.refused[reason].load(Relaxed))
    }

    /// A reading; counters that change meanwhile are each right, not necessarily together.
    pub(crate) fn read(&self) -> Statistics {
        Statistics::new(self.packets.load(Relaxed), self.bytes.load(Relaxed), &self.drops())
    }
}
