//! Where requests lie while they are in flight: bytes that are taken in order, and given back in any.
//!
//! They are taken round and round. Where packets just were, their lines are in the other processor's cache, and it takes
//! longer to have them back than to have others. A few lines that come and go each time are better always the same.

use std::{collections::VecDeque, ops::Range};

/// What begins here shares no cache line with what ends there.
const LINE: usize = 64;

/// What takes no more than this begins where it began the last time.
const FEW: usize = 4096;

/// A ring of bytes.
pub(super) struct Slab {
    whole: Range<usize>,
    /// Where the next place is looked for.
    next: usize,
    /// Where that was when nothing was in use.
    begun: usize,
    /// What is in use, the oldest first: where it starts, and whether it was given back meanwhile.
    used: VecDeque<(usize, bool)>,
    /// The number of the oldest.
    oldest: u64,
}

impl Slab {
    pub(super) fn new(whole: Range<usize>) -> Self {
        Self { next: whole.start, begun: whole.start, whole, used: VecDeque::new(), oldest: 0 }
    }

    /// Whether nothing is in use.
    pub(super) fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// What is taken from here on can be given up, or kept as one.
    pub(super) fn mark(&self) -> usize {
        self.next
    }

    /// Gives up what was taken since.
    pub(super) fn rewind(&mut self, mark: usize) {
        self.next = mark;
    }

    /// Begins anew, when nothing is in use; whether that is any better.
    pub(super) fn restart(&mut self) -> bool {
        if !self.is_empty() {
            return false;
        }
        self.begun = self.whole.start;
        std::mem::replace(&mut self.next, self.whole.start) != self.whole.start
    }

    /// Keeps what was taken since, until its number is given back.
    pub(super) fn keep(&mut self, mark: usize) -> u64 {
        self.used.push_back((mark, false));
        self.oldest + self.used.len() as u64 - 1
    }

    /// Gives back what was kept.
    pub(super) fn give_back(&mut self, number: u64) {
        let at = number.checked_sub(self.oldest).and_then(|at| usize::try_from(at).ok());
        if let Some((_, is_back)) = at.and_then(|at| self.used.get_mut(at)) {
            *is_back = true;
        }
        while self.used.front().is_some_and(|(_, is_back)| *is_back) {
            self.used.pop_front();
            self.oldest += 1;
        }
        if self.used.is_empty() {
            if (self.begun..=self.begun + FEW).contains(&self.next) {
                self.next = self.begun;
            }
            self.begun = self.next;
        }
    }

    /// A place for as many bytes, which does not go across a multiple of `granule` if it is not longer than that.
    pub(super) fn take(&mut self, len: usize, granule: usize) -> Option<usize> {
        let within = |from: usize, limit: usize| {
            let start = from.next_multiple_of(LINE);
            let crosses = start / granule != (start + len).saturating_sub(1) / granule;
            let start = if crosses { start.next_multiple_of(granule) } else { start };
            start.checked_add(len).filter(|end| *end <= limit).map(|end| (start, end))
        };
        let place = match self.used.front() {
            Some((oldest, _)) if self.next <= *oldest => within(self.next, *oldest),
            Some((oldest, _)) => within(self.next, self.whole.end).or_else(|| within(self.whole.start, *oldest)),
            None => within(self.next, self.whole.end),
        };
        let (start, end) = place?;
        self.next = end;
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// Places of these lengths are taken as one, and kept or given up.
        Take(Vec<usize>, bool),
        /// One of those that are kept is given back.
        GiveBack(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let len = prop_oneof![1..200usize, 1..3000usize];
        let take = (vec(len, 1..4), prop::bool::weighted(0.9)).prop_map(|(lens, keeps)| Step::Take(lens, keeps));
        let give_back = any::<prop::sample::Index>().prop_map(Step::GiveBack);
        vec(prop_oneof![3 => take, 2 => give_back], 0..200)
    }

    /// Takes places apart from those in use; None: there is no room for all.
    fn take(
        slab: &mut Slab,
        lens: &[usize],
        granule: usize,
        used: &[(u64, Vec<Range<usize>>)],
    ) -> Option<Vec<Range<usize>>> {
        let mut taken: Vec<Range<usize>> = Vec::new();
        for len in lens {
            let start = slab.take(*len, granule)?;
            let place = start..start + len;
            assert!(slab.whole.start <= place.start && place.end <= slab.whole.end);
            assert!(start.is_multiple_of(LINE));
            assert!(*len > granule || start / granule == (place.end - 1) / granule);
            let others = used.iter().flat_map(|(_, places)| places).chain(&taken);
            others.for_each(|other| assert!(other.end <= place.start || place.end <= other.start));
            taken.push(place);
        }
        Some(taken)
    }

    proptest! {
        #[test]
        fn nothing_is_anybody_elses(steps in steps(), granule in prop::sample::select(vec![1024, 4096, usize::MAX])) {
            let whole = 25 * LINE..25 * LINE + 8192;
            let mut slab = Slab::new(whole.clone());
            let mut used: Vec<(u64, Vec<Range<usize>>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(lens, keeps) => {
                        let mark = slab.mark();
                        match take(&mut slab, &lens, granule, &used) {
                            Some(taken) if keeps => used.push((slab.keep(mark), taken)),
                            taken => {
                                slab.rewind(mark);
                                let again = take(&mut slab, &lens, granule, &used);
                                prop_assert_eq!(again, taken);
                                slab.rewind(mark);
                            }
                        }
                    }
                    Step::GiveBack(which) if !used.is_empty() => {
                        slab.give_back(used.swap_remove(which.index(used.len())).0);
                    }
                    Step::GiveBack(_) => {}
                }
                prop_assert_eq!(slab.is_empty(), used.is_empty());
            }
            used.into_iter().rev().for_each(|(number, _)| slab.give_back(number));
            prop_assert!(slab.is_empty());
            slab.restart();
            prop_assert!(!slab.restart());
            prop_assert_eq!(slab.take(whole.len(), usize::MAX), Some(whole.start));
        }
    }

    #[test]
    fn a_few_bytes_stay_where_they_are_and_many_go_round() {
        let mut slab = Slab::new(0..1 << 16);
        let mut take = |len| {
            let mark = slab.mark();
            let start = slab.take(len, usize::MAX);
            let kept = slab.keep(mark);
            slab.give_back(kept);
            start
        };
        assert_eq!(
            [take(FEW), take(FEW), take(20_000), take(100), take(20_000)].map(Option::unwrap),
            [0, 0, 0, 20_032, 20_032]
        );
        assert_eq!((take(20_000), take(20_000)), (Some(40_064), None));
        assert!(slab.restart());
    }

    #[test]
    fn what_is_given_back_in_order_is_taken_again() {
        let mut slab = Slab::new(0..1024);
        let mut kept = VecDeque::new();
        for _ in 0..100 {
            let mark = slab.mark();
            assert!(slab.take(200, usize::MAX).is_some());
            kept.push_back(slab.keep(mark));
            if kept.len() == 3 {
                slab.give_back(kept.pop_front().unwrap());
            }
        }
    }
}
