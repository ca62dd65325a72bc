//! What waits for a worker: in order within a place, and by class between places. A place is of the highest class that
//! waits in it, so that nothing urgent waits behind others for what came before it in its own place. And nothing waits for
//! ever: a class that was passed over often enough has a turn, or one application's urgent calls could keep another one
//! from closing.

use std::collections::{HashMap, VecDeque};

use parking_lot::{Condvar, Mutex};

use crate::{Key, mailbox::Task};

/// How urgent work is, by the DSCP of its packets: the service classes of RFC 4594 in four groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What may wait: LE (RFC 8622) and CS1.
    LowerEffort,
    /// Best effort, and whatever has no class of its own.
    #[default]
    BestEffort,
    /// AF1 to AF4, and CS2 to CS4.
    Assured,
    /// EF, VA, CS5 to CS7, and calls that carry no packets.
    Expedited,
}

/// How many classes there are.
pub(crate) const CLASSES: usize = Class::Expedited as usize + 1;

impl Class {
    /// The class of a packet with this DSCP, 0 to 63.
    pub fn of_dscp(dscp: u8) -> Self {
        match dscp {
            1 | 8 => Self::LowerEffort,
            10 | 12 | 14 | 16 | 18 | 20 | 22 | 24 | 26 | 28 | 30 | 32 | 34 | 36 | 38 => Self::Assured,
            40 | 44 | 46 | 48 | 56 => Self::Expedited,
            _ => Self::BestEffort,
        }
    }

    /// The class of this number.
    pub(crate) fn of_number(number: u8) -> Self {
        ALL.get(usize::from(number)).copied().unwrap_or_default()
    }
}

/// All classes, by their number.
const ALL: [Class; CLASSES] = [Class::LowerEffort, Class::BestEffort, Class::Assured, Class::Expedited];

/// How often a class is passed over in a row before it has a turn.
const PATIENCE: u32 = 64;

/// What is kept in order: work of one place runs in the order in which it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Control,
    Sa(Key),
    /// Nobody else's.
    Own(u64),
}

/// What waits in one place; never empty between calls.
struct Line<T> {
    tasks: VecDeque<(Class, T)>,
    /// How many of each class.
    waiting: [usize; CLASSES],
    /// The highest of them.
    rank: Class,
}

impl<T> Line<T> {
    fn new() -> Self {
        Self { tasks: VecDeque::new(), waiting: [0; CLASSES], rank: Class::default() }
    }

    fn highest(&self) -> Class {
        ALL.into_iter()
            .zip(self.waiting)
            .rev()
            .find(|(_, waiting)| *waiting > 0)
            .map_or_else(Class::default, |(class, _)| class)
    }
}

/// All lines of a worker.
pub(crate) struct Lines<T> {
    lines: HashMap<Place, Line<T>>,
    /// Every place that has a line, once, in the list of its line's rank.
    turns: [VecDeque<Place>; CLASSES],
    /// How often each list was passed over while something waited in it.
    passed_over: [u32; CLASSES],
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), turns: Default::default(), passed_over: [0; CLASSES] }
    }
}

impl<T> Lines<T> {
    pub(crate) fn push(&mut self, place: Place, class: Class, task: T) {
        let line = self.lines.entry(place).or_insert_with(Line::new);
        let is_new = line.tasks.is_empty();
        line.tasks.push_back((class, task));
        line.waiting[class as usize] += 1;
        let (before, now) = (line.rank, line.highest());
        line.rank = now;
        if is_new {
            self.turns[now as usize].push_back(place);
        } else if now != before {
            self.turns[before as usize].retain(|other| *other != place);
            self.turns[now as usize].push_back(place);
        }
    }

    /// The highest class in which something waits, unless one has waited for too long.
    fn next_class(&self) -> Option<usize> {
        let waits = |class: &usize| !self.turns[*class].is_empty();
        let impatient = (0..CLASSES).filter(waits).find(|class| self.passed_over[*class] >= PATIENCE);
        impatient.or_else(|| (0..CLASSES).rfind(waits))
    }

    /// Remembers which classes wait while `next` has a turn.
    fn passed_over(&mut self, next: usize) {
        for class in 0..CLASSES {
            let passed_over = class != next && !self.turns[class].is_empty();
            self.passed_over[class] = if passed_over { self.passed_over[class] + 1 } else { 0 };
        }
    }

    /// The oldest task of the place whose turn it is, if it is `wanted`; else it stays, and its place keeps its turn.
    pub(crate) fn pop_if(&mut self, wanted: impl FnOnce(Class, &T) -> bool) -> Option<(Class, T)> {
        let next = self.next_class()?;
        let place = *self.turns[next].front()?;
        self.lines.get(&place)?.tasks.front().filter(|(class, task)| wanted(*class, task))?;
        self.passed_over(next);
        self.turns[next].pop_front();
        let line = self.lines.get_mut(&place)?;
        let (class, task) = line.tasks.pop_front()?;
        line.waiting[class as usize] -= 1;
        if line.tasks.is_empty() {
            self.lines.remove(&place);
        } else {
            line.rank = line.highest();
            self.turns[line.rank as usize].push_back(place);
        }
        Some((class, task))
    }
}

impl<T> Lines<T> {
    /// Takes the next task; and with one that gains from it, those after it that do, too, and are as urgent, as long as all
    /// of them together weigh at most `weight`. `gain` is the weight of a task that gains.
    fn take(&mut self, weight: usize, gain: impl Fn(&T) -> Option<usize>, tasks: &mut VecDeque<T>) {
        let Some((class, task)) = self.pop_if(|_, _| true) else { return };
        let mut left = gain(&task).map(|first| weight.saturating_sub(first));
        tasks.push_back(task);
        while let Some(room) = left {
            let fits = |task: &T| gain(task).filter(|weight| *weight <= room);
            let next = self.pop_if(|other, task| other >= class && fits(task).is_some());
            left = next.and_then(|(_, task)| {
                let weight = gain(&task)?;
                tasks.push_back(task);
                room.checked_sub(weight)
            });
        }
    }
}

/// The queue of one worker.
#[derive(Default)]
pub(crate) struct Queue {
    /// What waits, and whether nothing more comes.
    state: Mutex<(Lines<Task>, bool)>,
    arrived: Condvar,
}

impl Queue {
    /// Adds a task.
    pub(crate) fn push(&self, place: Place, class: Class, task: Task) {
        self.state.lock().0.push(place, class, task);
        self.arrived.notify_one();
    }

    /// Lets the worker end.
    pub(crate) fn close(&self) {
        self.state.lock().1 = true;
        self.arrived.notify_all();
    }

    /// Takes the next task, or several that gain from being taken together, of at most that weight. Whether there are any:
    /// not when the queue is closed and empty.
    pub(crate) fn next(&self, weight: usize, tasks: &mut VecDeque<Task>) -> bool {
        let gain = |task: &Task| task.work.gains_together().then(|| task.work.weight());
        let mut state = self.state.lock();
        loop {
            state.0.take(weight, gain, tasks);
            if !tasks.is_empty() || state.1 {
                return !tasks.is_empty();
            }
            self.arrived.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(number: usize) -> Class {
        ALL[number % CLASSES]
    }

    #[test]
    fn a_dscp_has_the_class_of_rfc_4594() {
        let of = |dscps: &[u8]| dscps.iter().map(|dscp| Class::of_dscp(*dscp)).collect::<Vec<_>>();
        assert_eq!(of(&[1, 8]), [Class::LowerEffort; 2]);
        assert_eq!(of(&[0, 2, 45, 63]), [Class::BestEffort; 4]);
        assert_eq!(of(&[10, 26, 38, 24]), [Class::Assured; 4]);
        assert_eq!(of(&[46, 44, 40, 48, 56]), [Class::Expedited; 5]);
    }

    #[test]
    fn what_is_urgent_takes_what_came_before_it_in_its_place_along() {
        let mut lines = Lines::default();
        lines.push(Place::Own(1), Class::BestEffort, "another");
        lines.push(Place::Own(2), Class::LowerEffort, "first");
        lines.push(Place::Own(2), Class::Expedited, "urgent");
        lines.push(Place::Own(2), Class::LowerEffort, "last");
        let order: Vec<_> = std::iter::from_fn(|| lines.pop_if(|_, _| true).map(|(_, task)| task)).collect();
        assert_eq!(order, ["first", "urgent", "another", "last"]);
        assert!(lines.lines.is_empty() && lines.turns.iter().all(VecDeque::is_empty));
    }

    #[test]
    fn nothing_waits_for_ever() {
        let mut lines = Lines::default();
        for class in [Class::LowerEffort, Class::BestEffort] {
            lines.push(Place::Own(class as u64), class, class);
        }
        let mut order = Vec::new();
        for number in 100..300 {
            lines.push(Place::Own(number), Class::Expedited, Class::Expedited);
            lines.push(Place::Own(number + 1000), Class::Expedited, Class::Expedited);
            order.extend(lines.pop_if(|_, _| true).map(|(_, task)| task));
        }
        let at = |class| order.iter().position(|other| *other == class);
        assert_eq!((at(Class::LowerEffort), at(Class::BestEffort)), (Some(64), Some(65)));
    }

    #[test]
    fn only_what_gains_and_is_as_urgent_is_taken_together() {
        let mut lines = Lines::default();
        let tasks = [
            (Class::BestEffort, ("a", Some(2))),
            (Class::Expedited, ("urgent", Some(1))),
            (Class::BestEffort, ("b", Some(3))),
            (Class::BestEffort, ("alone", None)),
            (Class::BestEffort, ("c", Some(60))),
            (Class::BestEffort, ("d", Some(5))),
            (Class::BestEffort, ("large", Some(900))),
        ];
        for (number, (class, task)) in tasks.into_iter().enumerate() {
            lines.push(Place::Own(number as u64), class, task);
        }
        let mut order = Vec::new();
        loop {
            let mut taken = VecDeque::new();
            lines.take(64, |task: &(&str, Option<usize>)| task.1, &mut taken);
            if taken.is_empty() {
                break;
            }
            order.push(taken.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        }
        assert_eq!(order, [vec!["urgent"], vec!["a", "b"], vec!["alone"], vec!["c"], vec!["d"], vec!["large"]]);
    }

    proptest! {
        /// Against the plain rule: of all places, one with the most urgent work, unless another one was passed over too
        /// often; of that place, the oldest task.
        #[test]
        fn every_task_comes_once_in_the_order_of_its_place_and_by_class(
            steps in proptest::collection::vec((0u8..5, 0u64..6, 0usize..CLASSES), 1..400)
        ) {
            let mut lines = Lines::default();
            let mut waiting: Vec<(u64, Class, usize)> = Vec::new();
            let mut passed_over = [0; CLASSES];
            for (number, (action, place, rank)) in steps.into_iter().enumerate() {
                if action < 3 {
                    lines.push(Place::Own(place), class(rank), number);
                    waiting.push((place, class(rank), number));
                    continue;
                }
                let Some(task) = lines.pop_if(|_, _| true).map(|(_, task)| task) else {
                    prop_assert!(waiting.is_empty());
                    continue;
                };
                let rank_of = |place: u64| {
                    waiting.iter().filter(|(other, ..)| *other == place).map(|(_, class, _)| *class).max().unwrap()
                };
                let waits = |class: usize| waiting.iter().any(|(place, ..)| rank_of(*place) as usize == class);
                let classes: Vec<usize> = (0..CLASSES).filter(|class| waits(*class)).collect();
                let impatient = classes.iter().find(|class| passed_over[**class] >= PATIENCE);
                let expected = *impatient.or(classes.last()).unwrap();
                for (class, count) in passed_over.iter_mut().enumerate() {
                    *count = if classes.contains(&class) && class != expected { *count + 1 } else { 0 };
                }
                let at = waiting.iter().position(|(.., number)| *number == task).unwrap();
                let place = waiting[at].0;
                prop_assert!(waiting[..at].iter().all(|(other, ..)| *other != place), "overtaken in its own place");
                prop_assert_eq!(rank_of(place) as usize, expected);
                waiting.remove(at);
                let listed: usize = lines.turns.iter().map(VecDeque::len).sum();
                prop_assert_eq!(listed, lines.lines.len());
            }
        }
    }
}
