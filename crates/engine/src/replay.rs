//! Anti-replay (RFC 4303 section 3.4.3 and appendix A), for any number of threads and without a lock.
//!
//! The window is a ring of 64-bit words. A word holds the bits of 32 consecutive sequence numbers (a block) in its low
//! half, and in its high half which of the blocks that share its place it is about, the *lap*. Whoever finds an older
//! lap in a word replaces it by its own: nothing is ever cleared ahead, so that no thread waits for another. A packet
//! whose place already belongs to a later lap is late by definition, because the ring is larger than the window.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::PacketError;

/// The window when none is asked for, in packets (R30).
pub const DEFAULT_WINDOW: u32 = 64;
/// The smallest window, in packets (R30).
pub const MIN_WINDOW: u32 = 32;
/// The largest window, in packets (R30).
pub const MAX_WINDOW: u32 = 65_536;
/// A window can later be set to anything that one byte says, so there is always room for that (R31).
const ALWAYS_ROOM: u32 = 256;

/// Sequence numbers in a word.
const BLOCK: u64 = 32;

/// Which sequence numbers of an inbound SA have been seen.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The highest authenticated sequence number, 0 before the first.
    top: AtomicU64,
    /// Window size in packets; 0 when replay is not checked.
    size: AtomicU32,
    extended: bool,
    words: Box<[Line]>,
}

/// Words of the ring on a cache line of their own: threads on other SAs write others.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE]);

/// Words of a line.
const LINE: usize = 8;

impl Replay {
    /// A window of `size` packets; None checks nothing, and follows the sequence number for ESN alone.
    pub(crate) fn new(size: Option<u32>, extended: bool) -> Self {
        let capacity = size.map_or(0, |size| u64::from(size.max(ALWAYS_ROOM)));
        // A window of whole blocks touches one block more, unless it happens to begin where a block does.
        let words = if capacity == 0 { 0 } else { (capacity.div_ceil(BLOCK) + 1).next_power_of_two() };
        Self {
            top: AtomicU64::new(0),
            size: AtomicU32::new(size.unwrap_or(0)),
            extended,
            // A power of two, and more than a line where there are any.
            words: (0..words / LINE as u64).map(|_| Line::default()).collect(),
        }
    }

    /// The highest sequence number authenticated so far.
    pub(crate) fn top(&self) -> u64 {
        self.top.load(Relaxed)
    }

    /// Window size in packets, if replay is checked.
    pub(crate) fn size(&self) -> Option<u32> {
        match self.size.load(Relaxed) {
            0 => None,
            size => Some(size),
        }
    }

    /// Before the ICV: the whole sequence number of a packet that shows `low`, unless it is late or was seen.
    #[inline]
    pub(crate) fn check(&self, low: u32) -> Result<u64, PacketError> {
        let (sequence, top, size) = self.infer(low);
        if size == 0 {
            return Ok(sequence);
        }
        if sequence == 0 {
            return Err(PacketError::SequenceZero);
        }
        if is_late(sequence, top, size) {
            return Err(PacketError::Late);
        }
        let (word, lap, bit) = self.place(sequence);
        let found = word.load(Relaxed);
        if found >> 32 == lap && found & bit != 0 {
            return Err(PacketError::Replayed);
        }
        Ok(sequence)
    }

    /// After the ICV: marks packets as seen, in order; `results`, as many, say which were not seen before. Of several
    /// threads with the same packet exactly one succeeds. Neighbours are marked in one step.
    #[inline]
    pub(crate) fn accept_all(&self, sequences: &[u64], results: &mut [Result<(), PacketError>]) {
        let size = self.size.load(Relaxed);
        let before = self.top.load(Relaxed);
        let mut top = before;
        if size == 0 {
            results.fill(Ok(()));
            top = sequences.iter().copied().fold(top, u64::max);
        } else {
            let mut rest = results;
            for neighbours in sequences.chunk_by(|a, b| a / BLOCK == b / BLOCK) {
                let (theirs, others) = rest.split_at_mut(neighbours.len());
                self.accept_block(neighbours, theirs, size, &mut top);
                rest = others;
            }
        }
        if top > before {
            self.top.fetch_max(top, Relaxed);
        }
    }

    /// As [`Replay::accept_all`], for sequence numbers of one block; `top` is the highest one so far.
    #[inline]
    fn accept_block(&self, sequences: &[u64], results: &mut [Result<(), PacketError>], size: u32, top: &mut u64) {
        let [first, ..] = sequences else { return };
        let (word, lap, _) = self.place(*first);
        let mut bits = 0;
        for (sequence, result) in sequences.iter().zip(results.iter_mut()) {
            let bit = 1 << (sequence % BLOCK);
            *result = if is_late(*sequence, *top, size) {
                Err(PacketError::Late)
            } else if bits & bit != 0 {
                Err(PacketError::Replayed)
            } else {
                bits |= bit;
                *top = (*top).max(*sequence);
                Ok(())
            };
        }
        let mut found = word.load(Relaxed);
        let refused = loop {
            let kept = if found >> 32 == lap {
                found
            } else if is_later(found >> 32, lap) {
                break Err(());
            } else {
                lap << 32
            };
            match word.compare_exchange_weak(found, kept | bits, Relaxed, Relaxed) {
                Ok(_) => break Ok(kept & bits),
                Err(now) => found = now,
            }
        };
        if refused != Ok(0) {
            refuse(sequences, results, refused);
        }
    }

    /// As [`Replay::accept_all`], for one packet.
    pub(crate) fn accept(&self, sequence: u64) -> Result<(), PacketError> {
        let mut result = [Ok(())];
        self.accept_all(&[sequence], &mut result);
        result[0]
    }

    /// The whole sequence number of a packet that shows `low`, and what it follows from: the highest one, and the size of
    /// the window.
    #[inline]
    fn infer(&self, low: u32) -> (u64, u64, u32) {
        let top = self.top.load(Relaxed);
        let size = self.size.load(Relaxed);
        let sequence = if self.extended { infer(top, size, low) } else { u64::from(low) };
        (sequence, top, size)
    }

    /// The whole sequence number of a packet that shows `low`.
    pub(crate) fn number(&self, low: u32) -> u64 {
        self.infer(low).0
    }

    /// Lets a packet that was marked as seen come again.
    pub(crate) fn forget(&self, sequence: u64) {
        if self.size.load(Relaxed) != 0 {
            let (word, lap, bit) = self.place(sequence);
            let forgotten = |found: u64| (found >> 32 == lap).then_some(found & !bit);
            let _ = word.fetch_update(Relaxed, Relaxed, forgotten);
        }
    }

    /// Starts over at `top`; bit *i* of `seen` says that `top - i` was seen (R31). Older numbers count as seen, also in a
    /// window that is made larger later. A packet in flight is judged by the old state or the new one.
    pub(crate) fn restart(&self, top: u64, seen: u32) {
        let count = self.count();
        if count == 0 {
            self.top.store(top, Relaxed);
            return;
        }
        let newest = top / BLOCK;
        for block in (newest + 1).saturating_sub(count)..=newest {
            let (word, lap, _) = self.place(block * BLOCK);
            let bits = (0..BLOCK).fold(0, |bits, offset| {
                let is_seen = match top.checked_sub(block * BLOCK + offset) {
                    None => false,
                    Some(back) => back >= 32 || seen >> back & 1 != 0,
                };
                bits | u64::from(is_seen) << offset
            });
            // In one step: a word that said nothing meanwhile would let replays pass.
            word.store(lap << 32 | bits, Relaxed);
        }
        // Places that no number up to `top` has had.
        for block in newest + 1..count.max(newest + 1) {
            self.place(block * BLOCK).0.store(0, Relaxed);
        }
        self.top.store(top, Relaxed);
    }

    /// Changes the window size, up to what there is room for.
    pub(crate) fn resize(&self, size: u32) {
        let room = u32::try_from(self.count().saturating_sub(1) * BLOCK).unwrap_or(MAX_WINDOW);
        if room != 0 {
            self.size.store(size.clamp(MIN_WINDOW, room), Relaxed);
        }
    }

    /// Words of the ring.
    #[inline]
    fn count(&self) -> u64 {
        (self.words.len() * LINE) as u64
    }

    /// The word of a sequence number, its lap there, and its bit.
    #[inline]
    fn place(&self, sequence: u64) -> (&AtomicU64, u64, u64) {
        let block = sequence / BLOCK;
        let mask = self.count() - 1;
        // Lap 0 is what an untouched word says, so laps count from 1; 32 bits of it are kept.
        let lap = ((block >> mask.count_ones()) + 1) & 0xffff_ffff;
        let index = (block & mask) as usize;
        (&self.words[index / LINE].0[index % LINE], lap, 1 << (sequence % BLOCK))
    }
}

/// Refuses those that were accepted although their bits are in `seen`, or all of them when the word belongs to a later lap.
#[cold]
fn refuse(sequences: &[u64], results: &mut [Result<(), PacketError>], seen: Result<u64, ()>) {
    for (sequence, result) in sequences.iter().zip(results).filter(|(_, result)| result.is_ok()) {
        match seen {
            Ok(seen) if seen & 1 << (sequence % BLOCK) == 0 => {}
            Ok(_) => *result = Err(PacketError::Replayed),
            Err(()) => *result = Err(PacketError::Late),
        }
    }
}

/// Whether lap `a` comes after lap `b`, both modulo 2^32; 0 is never after.
#[inline]
fn is_later(a: u64, b: u64) -> bool {
    a != 0 && a.wrapping_sub(b) & 0xffff_ffff != 0 && a.wrapping_sub(b) & 0x8000_0000 == 0
}

#[inline]
fn is_late(sequence: u64, top: u64, size: u32) -> bool {
    top.saturating_sub(sequence) >= u64::from(size)
}

/// RFC 4303 appendix A2.1: the high half follows from where the low half lies relative to the window. Without a replay
/// check there is no window, and the nearest number is taken.
#[inline]
fn infer(top: u64, size: u32, low: u32) -> u64 {
    let window = if size == 0 { 1 << 31 } else { u64::from(size) };
    let high = top >> 32;
    let bottom = (top & 0xffff_ffff).wrapping_sub(window - 1) & 0xffff_ffff;
    let low = u64::from(low);
    if top & 0xffff_ffff >= window - 1 {
        // The window lies within one high half.
        let next = if low >= bottom { high } else { high.wrapping_add(1) };
        (next & 0xffff_ffff) << 32 | low
    } else if low >= bottom && high > 0 {
        // The window's lower part lies in the previous high half.
        (high - 1) << 32 | low
    } else {
        high << 32 | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// What RFC 4303 says, without any cleverness.
    struct Naive {
        top: u64,
        size: u64,
        seen: HashSet<u64>,
    }

    impl Naive {
        fn take(&mut self, sequence: u64) -> Result<(), PacketError> {
            if sequence == 0 {
                return Err(PacketError::SequenceZero);
            }
            if sequence + self.size <= self.top {
                return Err(PacketError::Late);
            }
            if !self.seen.insert(sequence) {
                return Err(PacketError::Replayed);
            }
            self.top = self.top.max(sequence);
            Ok(())
        }
    }

    #[test]
    fn a_forgotten_packet_may_come_again_once() {
        let window = Replay::new(Some(64), true);
        for low in [5, 6, 7] {
            take(&window, low).unwrap();
        }
        window.forget(window.number(6));
        assert_eq!(take(&window, 6), Ok(6));
        assert_eq!(take(&window, 6), Err(PacketError::Replayed));
        assert_eq!(take(&window, 5), Err(PacketError::Replayed));
        // What the window has left behind stays there.
        take(&window, 7000).unwrap();
        window.forget(5);
        assert_eq!(take(&window, 7000), Err(PacketError::Replayed));
        Replay::new(None, false).forget(5);
    }

    fn take(window: &Replay, low: u32) -> Result<u64, PacketError> {
        let sequence = window.check(low)?;
        window.accept(sequence)?;
        Ok(sequence)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn agrees_with_the_naive_window(
            size in prop_oneof![Just(32u32), Just(64), Just(255), Just(1024), Just(65_536), 32u32..3000],
            start in 0u64..1 << 31,
            steps in proptest::collection::vec((-3000i64..4000, any::<bool>()), 1..400),
        ) {
            let window = Replay::new(Some(size), false);
            window.restart(start, u32::MAX);
            let mut naive = Naive { top: start, size: u64::from(size), seen: (start.saturating_sub(70_000)..=start).collect() };
            for (step, near) in steps {
                let delta = if near { step % 40 } else { step };
                let low = u32::try_from(naive.top.saturating_add_signed(delta)).unwrap();
                let expected = naive.take(u64::from(low));
                prop_assert_eq!(take(&window, low).map(|_| ()), expected);
                prop_assert_eq!(window.top(), naive.top);
            }
        }

        #[test]
        fn a_batch_is_accepted_as_its_packets_would_be(
            size in prop_oneof![Just(32u32), Just(64), Just(255), 32u32..3000],
            start in 0u64..1 << 31,
            batches in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![-300i64..300, -3000i64..4000, 0i64..3], 0..64), 1..20,
            ),
        ) {
            let (window, single) = (Replay::new(Some(size), false), Replay::new(Some(size), false));
            window.restart(start, u32::MAX);
            single.restart(start, u32::MAX);
            for batch in batches {
                let base = window.top();
                let numbers: Vec<u64> = batch.iter().map(|delta| base.saturating_add_signed(*delta).max(1)).collect();
                let mut results = vec![Err(PacketError::Crypto); numbers.len()];
                window.accept_all(&numbers, &mut results);
                let expected: Vec<_> = numbers.iter().map(|number| single.accept(*number)).collect();
                prop_assert_eq!(results, expected);
                prop_assert_eq!(window.top(), single.top());
            }
        }

        #[test]
        fn the_high_half_is_inferred_within_the_window(
            top in (1u64 << 33)..(1 << 40), size in 32u32..65_536, back in 0u64..65_536, ahead in 0u64..1 << 31,
        ) {
            let back = back % u64::from(size);
            #[expect(clippy::cast_possible_truncation)]
            let low = |sequence: u64| sequence as u32;
            prop_assert_eq!(infer(top, size, low(top - back)), top - back);
            prop_assert_eq!(infer(top, size, low(top + ahead)), top + ahead);
            prop_assert_eq!(infer(top, 0, low(top - back)), top - back);
            prop_assert_eq!(infer(top, 0, low(top + ahead)), top + ahead);
        }
    }

    #[test]
    fn the_window_crosses_the_end_of_the_low_half() {
        let window = Replay::new(Some(64), true);
        window.restart((1 << 32) - 10, 1);
        assert_eq!(take(&window, 5), Ok((1 << 32) + 5));
        assert_eq!(take(&window, u32::MAX), Ok((1 << 32) - 1));
        assert_eq!(take(&window, 0), Ok(1 << 32));
        assert_eq!(take(&window, 0), Err(PacketError::Replayed));
        assert_eq!(take(&window, u32::MAX), Err(PacketError::Replayed));
    }

    #[test]
    fn the_first_packets_are_in_the_first_high_half() {
        let window = Replay::new(Some(64), true);
        assert_eq!(take(&window, 3_000_000_000), Ok(3_000_000_000));
        let unchecked = Replay::new(None, true);
        assert_eq!(take(&unchecked, 70), Ok(70));
        assert_eq!(take(&unchecked, 70), Ok(70));
    }

    #[test]
    fn restart_takes_the_bit_map() {
        let window = Replay::new(Some(128), false);
        window.restart(1000, 0b101);
        assert_eq!(take(&window, 1000), Err(PacketError::Replayed));
        assert_eq!(take(&window, 999), Ok(999));
        assert_eq!(take(&window, 998), Err(PacketError::Replayed));
        assert_eq!(take(&window, 990), Ok(990));
        assert_eq!(take(&window, 960), Err(PacketError::Replayed));
        assert_eq!(take(&window, 872), Err(PacketError::Late));
    }

    #[test]
    fn a_window_may_touch_one_block_more_than_it_has() {
        // 2,022 numbers up to the first of a block lie in 65 blocks.
        let (size, top) = (2022, 143_900_224);
        let window = Replay::new(Some(size), false);
        window.restart(top, u32::MAX);
        let top = u32::try_from(top).unwrap();
        assert_eq!(take(&window, top), Err(PacketError::Replayed));
        assert_eq!(take(&window, top - 2021), Err(PacketError::Replayed));
        assert_eq!(take(&window, top - 2022), Err(PacketError::Late));
    }

    #[test]
    fn a_larger_window_does_not_forget_what_was_seen_before_a_restart() {
        let window = Replay::new(Some(64), false);
        for low in 1..=1000 {
            assert!(take(&window, low).is_ok());
        }
        window.restart(1000, u32::MAX);
        window.resize(255);
        for low in 746..=1000 {
            assert_eq!(take(&window, low), Err(PacketError::Replayed));
        }
        assert_eq!(take(&window, 1001), Ok(1001));
    }

    #[test]
    fn a_restart_lets_no_replay_pass_meanwhile() {
        let window = Replay::new(Some(64), false);
        window.restart(1000, u32::MAX);
        let passed: usize = std::thread::scope(|scope| {
            let replays = scope.spawn(|| (0..200_000).filter(|_| take(&window, 990).is_ok()).count());
            for _ in 0..100_000 {
                window.restart(1000, u32::MAX);
            }
            replays.join().unwrap()
        });
        assert_eq!(passed, 0);
    }

    #[test]
    fn of_many_threads_one_wins_each_number() {
        let window = Replay::new(Some(1024), false);
        let wins: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (1..=20_000).filter(|low| take(&window, *low).is_ok()).count() as u64))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(wins <= 20_000);
        assert_eq!(window.top(), 20_000);
    }
}
