//! Events that wait for a buffer of the driver. Any worker adds some; the control worker takes them out.

use std::{collections::VecDeque, mem};

use gipsec_virtio::message::event::Event;
use parking_lot::Mutex;

/// Events beyond which periodic ones are dropped.
pub const MAX_PERIODIC: usize = 4096;

#[derive(Default)]
struct Kept {
    events: VecDeque<Event>,
    lost: u64,
    lost_in_all: u64,
}

/// What is kept for one client.
pub struct Events {
    kept: Mutex<Kept>,
    /// Events of all kinds at most.
    limit: usize,
}

impl Events {
    /// Room for `limit` events beside the periodic ones.
    pub fn new(limit: usize) -> Self {
        Self { kept: Mutex::default(), limit: MAX_PERIODIC.saturating_add(limit) }
    }

    /// Keeps an event, or counts it as lost.
    pub fn keep(&self, event: Event) {
        let mut kept = self.kept.lock();
        let limit = match event {
            Event::SequencePeriodic { .. } => MAX_PERIODIC,
            _ => self.limit,
        };
        if kept.events.len() < limit {
            kept.events.push_back(event);
        } else {
            kept.lost += 1;
            kept.lost_in_all += 1;
        }
    }

    /// The oldest one; when there is none left, how many were lost since that was last told.
    pub fn take(&self) -> Option<Event> {
        let mut kept = self.kept.lock();
        kept.events.pop_front().or_else(|| match mem::take(&mut kept.lost) {
            0 => None,
            lost => Some(Event::Lost(lost)),
        })
    }

    /// Puts back what could not be told.
    pub fn put_back(&self, event: Event) {
        let mut kept = self.kept.lock();
        match event {
            Event::Lost(lost) => kept.lost += lost,
            event => kept.events.push_front(event),
        }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        let kept = self.kept.lock();
        kept.events.is_empty() && kept.lost == 0
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.kept.lock().events.len()
    }

    /// Events lost from the beginning on.
    pub fn lost_in_all(&self) -> u64 {
        self.kept.lock().lost_in_all
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.kept.lock() = Kept::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periodic_events_are_dropped_first_and_all_are_bounded() {
        let events = Events::new(3);
        for last in 0..5000 {
            events.keep(Event::SequencePeriodic { sa: 1, last });
        }
        for _ in 0..5 {
            events.keep(Event::Lifetime { sa: 1, kilobytes: 7 });
        }
        assert_eq!(events.lost_in_all(), 5000 - 4096 + 2);
        let told: Vec<_> = std::iter::from_fn(|| events.take()).collect();
        assert_eq!(told.len(), 4096 + 3 + 1);
        assert_eq!(told[4095], Event::SequencePeriodic { sa: 1, last: 4095 });
        assert_eq!(told[4096..4099], [Event::Lifetime { sa: 1, kilobytes: 7 }; 3]);
        assert_eq!(told[4099], Event::Lost(906));
        assert!(events.is_empty());
        events.put_back(Event::Lost(906));
        assert_eq!(events.take(), Some(Event::Lost(906)));
        assert_eq!(events.take(), None);
    }
}
