//! What an SA tells its application unasked (document 9.15 to 9.20, R34).

use std::{fmt, sync::Arc};

use gipsec_engine::Events;

use crate::{
    Key,
    service::{Outcome, Work},
};

/// What happened to an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Sequence numbers are about to run out, or have: the last one given.
    SequenceOverflow(u64),
    /// So many packets again: the last sequence number.
    SequencePeriodic(u64),
    /// The soft lifetime was reached: kilobytes through the SA.
    SoftLifetime(u32),
}

/// What happened, and to which SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The application's handle.
    pub client: Key,
    /// The group, if any.
    pub group: Option<Key>,
    /// The SA.
    pub sa: Key,
    /// What happened.
    pub what: What,
}

/// What an application wants called.
pub struct Hooks(Box<dyn Fn(&Notification) + Send + Sync>);

impl Hooks {
    /// Calls `notify` from the thread that delivers the application's callbacks.
    pub fn new(notify: impl Fn(&Notification) + Send + Sync + 'static) -> Self {
        Self(Box::new(notify))
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// A notification on its way.
pub(crate) struct Delivery {
    pub hooks: Arc<Hooks>,
    pub notification: Notification,
}

impl Work for Delivery {
    fn run(&mut self, _: Outcome) {}

    fn weight(&self) -> usize {
        0
    }

    fn deliver(self: Box<Self>) {
        (self.hooks.0)(&self.notification);
    }
}

/// What a batch made noteworthy, one by one, in the order in which it happened.
pub(crate) fn each(events: &Events) -> impl Iterator<Item = What> {
    [
        events.soft_lifetime.map(What::SoftLifetime),
        events.sequence_periodic.map(What::SequencePeriodic),
        events.sequence_margin.map(What::SequenceOverflow),
        events.sequence_end.map(What::SequenceOverflow),
    ]
    .into_iter()
    .flatten()
}
