//! Outbound sequence numbers (RFC 4303 section 3.3.3): each given once, none after the last.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counter of an outbound SA.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// The number given last, 0 before the first.
    last: AtomicU64,
    limit: u64,
}

/// Consecutive sequence numbers that one batch was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The number before the first.
    pub before: u64,
    /// How many; fewer than were asked for when they ran out.
    pub count: usize,
}

impl Numbers {
    /// The last number given, or the one before when none was.
    pub(crate) fn last(self) -> u64 {
        self.before + self.count as u64
    }

    /// Whether `number` is among them.
    pub(crate) fn reach(self, number: u64) -> bool {
        self.before < number && number <= self.last()
    }
}

impl Sequence {
    /// Numbers from 1 to 2^32 - 1, or to 2^64 - 1 when extended.
    pub(crate) fn new(extended: bool) -> Self {
        Self { last: AtomicU64::new(0), limit: if extended { u64::MAX } else { u64::from(u32::MAX) } }
    }

    /// Takes up to `count` numbers.
    #[inline]
    pub(crate) fn take(&self, count: usize) -> Numbers {
        let mut before = self.last.load(Relaxed);
        loop {
            let granted = (count as u64).min(self.limit - before);
            match self.last.compare_exchange_weak(before, before + granted, Relaxed, Relaxed) {
                // No larger than `count`, which is a usize.
                Ok(_) => return Numbers { before, count: usize::try_from(granted).unwrap_or(count) },
                Err(now) => before = now,
            }
        }
    }

    /// Gives back what was taken after the first `used`. What is taken then: where others took some meanwhile, all of it
    /// still, and the rest is never used.
    #[cold]
    pub(crate) fn give_back(&self, numbers: Numbers, used: usize) -> Numbers {
        let kept = Numbers { count: used, ..numbers };
        match self.last.compare_exchange(numbers.last(), kept.last(), Relaxed, Relaxed) {
            Ok(_) => kept,
            Err(_) => numbers,
        }
    }

    /// The last number there is.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Continues after `last` (R31).
    pub(crate) fn continue_after(&self, last: u64) {
        self.last.store(last.min(self.limit), Relaxed);
    }

    /// As [`Sequence::continue_after`], but never goes back; whether it did not have to.
    pub(crate) fn advance_to(&self, last: u64) -> bool {
        let last = last.min(self.limit);
        self.last.fetch_max(last, Relaxed) <= last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again_unless_others_came_between() {
        let sequence = Sequence::new(false);
        let numbers = sequence.take(5);
        assert_eq!(sequence.give_back(numbers, 2), Numbers { before: 0, count: 2 });
        let numbers = sequence.take(3);
        assert_eq!(numbers, Numbers { before: 2, count: 3 });
        assert_eq!(sequence.take(1).before, 5);
        assert_eq!(sequence.give_back(numbers, 1), numbers);
        assert_eq!(sequence.take(1).before, 6);
    }

    #[test]
    fn numbers_end_at_the_limit() {
        let sequence = Sequence::new(false);
        assert_eq!(sequence.take(3), Numbers { before: 0, count: 3 });
        sequence.continue_after(u64::from(u32::MAX) - 2);
        assert_eq!(sequence.take(5).count, 2);
        assert_eq!(sequence.take(5).count, 0);
        let extended = Sequence::new(true);
        extended.continue_after(u64::MAX - 1);
        assert_eq!(extended.take(2).count, 1);
        assert_eq!(extended.take(2).count, 0);
    }
}
