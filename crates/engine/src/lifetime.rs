//! When an SA has something to say about its own end (R34).

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{
    Intervals, Lifetime, Notify,
    counters::{Counters, Step},
    sequence::Numbers,
};

/// What a batch made an SA notice; almost always nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The soft lifetime was reached: kilobytes through the SA.
    pub soft_lifetime: Option<u32>,
    /// Sequence numbers are about to run out: the last one given.
    pub sequence_margin: Option<u64>,
    /// Sequence numbers have run out: the last one given.
    pub sequence_end: Option<u64>,
    /// So many packets again: the last sequence number.
    pub sequence_periodic: Option<u64>,
}

impl Events {
    /// Whether there is nothing to tell.
    #[inline]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another SA of a bundle, or another batch, noticed.
    #[inline]
    pub(crate) fn merge(&mut self, other: Self) {
        self.soft_lifetime = self.soft_lifetime.or(other.soft_lifetime);
        self.sequence_margin = self.sequence_margin.or(other.sequence_margin);
        self.sequence_end = self.sequence_end.or(other.sequence_end);
        self.sequence_periodic = other.sequence_periodic.or(self.sequence_periodic);
    }
}

/// The limits of one SA, in bytes.
#[derive(Debug)]
pub(crate) struct Limits {
    soft: Option<u64>,
    /// Whether that was told: bytes that a bundle takes back can reach it again, and again.
    soft_told: AtomicBool,
    hard: Option<u64>,
    notify: Notify,
    intervals: Intervals,
}

impl Limits {
    pub(crate) fn new(lifetime: Lifetime, notify: Notify, intervals: Intervals) -> Self {
        let bytes = |kilobytes: NonZeroU32| u64::from(kilobytes.get()) * 1024;
        Self {
            soft: lifetime.soft_kilobytes.map(bytes),
            soft_told: AtomicBool::new(false),
            hard: lifetime.hard_kilobytes.map(bytes),
            notify,
            intervals,
        }
    }

    /// Whether packets are refused some time.
    pub(crate) fn has_hard(&self) -> bool {
        self.hard.is_some()
    }

    /// Payload bytes that may still go through; a packet is refused when none are left.
    #[inline]
    pub(crate) fn left(&self, counters: &Counters) -> u64 {
        match self.hard {
            None => u64::MAX,
            Some(hard) => hard.saturating_sub(counters.bytes()),
        }
    }

    /// What a counted batch made noteworthy; `last` is the SA's last sequence number.
    #[inline]
    pub(crate) fn after(&self, packets: Step, bytes: Step, last: u64) -> Events {
        let mut events = Events::default();
        if self.notify.soft_lifetime
            && self.soft.is_some_and(|soft| bytes.reaches(soft))
            && !self.soft_told.swap(true, Relaxed)
        {
            events.soft_lifetime = Some(u32::try_from(bytes.after / 1024).unwrap_or(u32::MAX));
        }
        let interval = self.intervals.periodic;
        if self.notify.sequence_periodic && packets.before / interval != packets.after / interval {
            events.sequence_periodic = Some(last);
        }
        events
    }

    /// What taking sequence numbers made noteworthy.
    #[inline]
    pub(crate) fn after_taking(&self, numbers: Numbers, limit: u64, events: &mut Events) {
        if self.notify.sequence_overflow {
            if numbers.reach(limit.saturating_sub(self.intervals.overflow_margin)) {
                events.sequence_margin = Some(numbers.last());
            }
            if numbers.reach(limit) {
                events.sequence_end = Some(numbers.last());
            }
        }
    }
}
