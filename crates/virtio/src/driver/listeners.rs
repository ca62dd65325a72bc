//! Who is told what an SA has to say. What a device makes up is told to nobody: an SA hears what it asked for, and no more
//! often than an engine says it.

use std::{collections::HashMap, sync::Arc};

use gipsec_engine::{BundleEntry, Events, Parameters};
use parking_lot::Mutex;

use crate::message::event::Event;

/// Whoever is told what an SA has to say.
pub(super) type Listener = Arc<dyn Fn(&Events) + Send + Sync>;

/// What an SA may still say.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked {
    lifetimes: usize,
    overflows: usize,
    periodic: bool,
}

impl Asked {
    /// What the entries of an SA say: each its soft lifetime once, and its sequence numbers' end twice.
    pub(super) fn of(entries: &[BundleEntry]) -> Self {
        entries.iter().fold(Self::default(), |asked, entry| {
            let notify = match &entry.parameters {
                Parameters::Ipsec(attributes) => &attributes.notify,
                Parameters::Compression(compression) => &compression.notify,
            };
            Self {
                lifetimes: asked.lifetimes + usize::from(notify.soft_lifetime),
                overflows: asked.overflows + 2 * usize::from(notify.sequence_overflow),
                periodic: asked.periodic || notify.sequence_periodic,
            }
        })
    }

    /// What of an event is told.
    fn admit(&mut self, event: Event) -> Option<Events> {
        let nothing = Events::default();
        match event {
            Event::SequenceOverflow { last, .. } => {
                self.overflows = self.overflows.checked_sub(1)?;
                Some(Events { sequence_margin: Some(last), ..nothing })
            }
            Event::SequencePeriodic { last, .. } => {
                self.periodic.then_some(Events { sequence_periodic: Some(last), ..nothing })
            }
            Event::Lifetime { kilobytes, .. } => {
                self.lifetimes = self.lifetimes.checked_sub(1)?;
                Some(Events { soft_lifetime: Some(kilobytes), ..nothing })
            }
            // Only what comes again is ever lost.
            Event::Lost(_) => None,
        }
    }
}

/// An SA that the device has.
struct Known {
    /// What it asked for when it was added.
    asked: Asked,
    /// What of that was not told yet.
    left: Asked,
    listener: Option<Listener>,
    /// What came before its listener.
    early: Vec<Events>,
}

/// Who listens to which SA.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Told>);

#[derive(Default)]
struct Told {
    sas: HashMap<u64, Known>,
    /// How many SAs are being added: their events may come before their numbers.
    adding: usize,
    early: Vec<Event>,
}

/// Events that are kept of SAs that are being added, and of one that nobody listens to yet.
const MAX_EARLY: usize = 1024;

impl Told {
    /// Whom to tell of an event, and what.
    fn take(&mut self, event: Event) -> Option<(Listener, Events)> {
        let sa = event.sa()?;
        match self.sas.get_mut(&sa) {
            Some(known) => {
                let events = known.left.admit(event)?;
                match &known.listener {
                    Some(listener) => return Some((listener.clone(), events)),
                    None if known.early.len() < MAX_EARLY => known.early.push(events),
                    None => {}
                }
            }
            None if self.adding > 0 && self.early.len() < MAX_EARLY => self.early.push(event),
            None => {}
        }
        None
    }
}

impl Listeners {
    /// An SA is about to be added: what is heard of numbers that are not known is kept until [`Listeners::added`].
    pub(super) fn adding(&self) {
        self.0.lock().adding += 1;
    }

    /// An SA was added under a number, or not; false: there is another one of that number.
    pub(super) fn added(&self, sa: Option<(u64, Asked)>) -> bool {
        let mut told = self.0.lock();
        told.adding = told.adding.saturating_sub(1);
        let is_new = sa.is_none_or(|(number, asked)| {
            let is_new = !told.sas.contains_key(&number);
            if is_new {
                told.sas.insert(number, Known { asked, left: asked, listener: None, early: Vec::new() });
                let (now, later) =
                    std::mem::take(&mut told.early).into_iter().partition(|event| event.sa() == Some(number));
                told.early = later;
                let now: Vec<Event> = now;
                for event in now {
                    // Nobody listens yet.
                    let _ = told.take(event);
                }
            }
            is_new
        });
        if told.adding == 0 {
            told.early = Vec::new();
        }
        is_new
    }

    /// Has a listener told what an SA has to say, and has said.
    pub(super) fn listen(&self, sa: u64, listener: &Listener) {
        let mut told = self.0.lock();
        let Some(known) = told.sas.get_mut(&sa) else { return };
        let replaced = known.listener.replace(listener.clone());
        let early = std::mem::take(&mut known.early);
        drop(told);
        // It may hold the last reference to what locks this again.
        drop(replaced);
        early.iter().for_each(|events| listener(events));
    }

    /// The SA has new sequence numbers, whose end is told again.
    pub(super) fn renumbered(&self, sa: u64) {
        if let Some(known) = self.0.lock().sas.get_mut(&sa) {
            known.left.overflows = known.left.overflows.saturating_add(known.asked.overflows);
        }
    }

    pub(super) fn remove(&self, sa: u64) {
        let removed = self.0.lock().sas.remove(&sa);
        // As above.
        drop(removed);
    }

    pub(super) fn tell(&self, event: Event) {
        let told = self.0.lock().take(event);
        if let Some((listener, events)) = told {
            listener(&events);
        }
    }
}
