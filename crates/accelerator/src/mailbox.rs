//! Where finished work waits for its callback. Each accelerator has one, emptied by a thread of its own; a client in poll
//! mode has one that the application empties.
//!
//! A thread that is delivering may close a client: what is left of that client's is then delivered by the same thread,
//! in order, before the close returns.

use std::{cell::RefCell, collections::VecDeque, sync::Arc};

use parking_lot::{Condvar, Mutex};
use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use crate::{Error, deferral::UnderWay, group::Group, service::Work};

/// A callback that is due.
pub(crate) struct Task {
    /// Whose it is; counted in flight until it is delivered.
    pub group: Arc<Group>,
    pub work: Box<dyn Work>,
    /// Of a call that a worker has: the calls of its SA.
    under_way: Option<Arc<UnderWay>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    closed: bool,
}

/// A queue of callbacks.
#[derive(Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    arrived: Condvar,
    /// In poll mode.
    signal: Option<Signal>,
}

/// What is readable while something waits.
struct Signal {
    /// Something waits here.
    here: OwnedFd,
    /// The same, or something may be back from a device.
    anywhere: OwnedFd,
}

thread_local! {
    /// Whose callbacks this thread is inside of, the innermost last.
    static INSIDE: RefCell<Vec<Arc<Group>>> = const { RefCell::new(Vec::new()) };
}

impl Task {
    pub(crate) fn new(group: Arc<Group>, work: Box<dyn Work>) -> Self {
        Self { group, work, under_way: None }
    }

    /// A call that comes after those of an SA that a device may have, and before those that come later.
    pub(crate) fn for_worker(group: Arc<Group>, work: Box<dyn Work>, under_way: Option<Arc<UnderWay>>) -> Self {
        under_way.iter().for_each(|under_way| under_way.goes_to_worker());
        Self { group, work, under_way }
    }

    /// Waits for what a device has that came before it.
    pub(crate) fn wait_for_device(&self) {
        if let Some(under_way) = &self.under_way {
            under_way.wait_for_device(self.group.accelerator());
        }
    }

    /// The worker is done with it: it waits for its callback.
    pub(crate) fn leave_worker(mut self) {
        let under_way = self.under_way.take();
        let mailbox = self.group.mailbox();
        mailbox.post(self);
        // Only now: what goes into the device from here on is called back later.
        under_way.iter().for_each(|under_way| under_way.leaves_worker());
    }

    /// Calls back, on this thread, and counts the task as done; a panic in the work goes no further.
    fn deliver(self) {
        let Self { group, work, .. } = self;
        let weight = work.weight();
        with_inside(|inside| inside.push(group.clone()));
        // The work guards its own callbacks; what unwinds here is a defect that must not end the thread.
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.deliver())));
        with_inside(Vec::pop);
        group.landed(weight);
    }
}

/// Whether this thread is inside any callback.
fn is_inside() -> bool {
    with_inside(|inside| !inside.is_empty()).unwrap_or(false)
}

/// How many callbacks of `group` this thread is inside of.
fn inside(group: &Arc<Group>) -> usize {
    with_inside(|inside| inside.iter().filter(|other| Arc::ptr_eq(other, group)).count()).unwrap_or(0)
}

/// None in a thread that is ending, which is inside of nothing.
fn with_inside<R>(work: impl FnOnce(&mut Vec<Arc<Group>>) -> R) -> Option<R> {
    INSIDE.try_with(|inside| work(&mut inside.borrow_mut())).ok()
}

/// Waits until nothing of `group` is in flight but the callbacks that this thread is inside of. Its callbacks wait in its
/// mailbox, or, from before it entered poll mode, in that of its accelerator.
///
/// What nobody else may deliver is delivered here: by whoever closes a client in poll mode, and by a thread inside a
/// callback, which others may be waiting for. Such a thread does not wait for a callback that is on a thread that waits,
/// too: that one may be waiting for this one.
pub(crate) fn wait_for(group: &Arc<Group>, accelerators: &Mailbox) {
    let own = inside(group);
    loop {
        if let Some(device) = group.accelerator().device() {
            device.advance();
        }
        // Asked for each time: another thread may be entering poll mode.
        let mailboxes = [&*group.mailbox(), accelerators];
        let ours = |mailbox: &&&Mailbox| mailbox.signal.is_some() || is_inside();
        if group.in_flight().0 <= own {
            return;
        }
        if let Some(task) = mailboxes.iter().filter(ours).find_map(|mailbox| mailbox.take_of(group)) {
            task.deliver();
            continue;
        }
        // The rest is with a worker, or inside a callback.
        let _waiting = Waiting::new();
        let (in_flight, waiting) = group.in_flight();
        if is_inside() && in_flight == waiting {
            return;
        }
        group.wait_until(own);
    }
}

/// This thread waits, inside whatever callbacks it is inside of.
struct Waiting(Vec<Arc<Group>>);

impl Waiting {
    fn new() -> Self {
        let groups = with_inside(|inside| inside.clone()).unwrap_or_default();
        groups.iter().for_each(|group| group.waits(true));
        Self(groups)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.iter().for_each(|group| group.waits(false));
    }
}

impl Mailbox {
    /// A mailbox with a descriptor to poll, which is readable when one of `others` is, too.
    pub(crate) fn with_signal(others: &[BorrowedFd<'_>]) -> Result<Self, Error> {
        const NONE: Error = Error::System("event descriptor");
        let here = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|_| NONE)?;
        let anywhere = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|_| NONE)?;
        for source in others.iter().copied().chain([here.as_fd()]) {
            epoll::add(&anywhere, source, epoll::EventData::new_u64(0), epoll::EventFlags::IN).map_err(|_| NONE)?;
        }
        Ok(Self { signal: Some(Signal { here, anywhere }), ..Self::default() })
    }

    /// The descriptor to poll.
    pub(crate) fn descriptor(&self) -> Option<i32> {
        self.signal.as_ref().map(|signal| signal.anywhere.as_raw_fd())
    }

    /// Adds a callback.
    pub(crate) fn post(&self, task: Task) {
        let mut state = self.state.lock();
        state.waiting.push_back(task);
        if let Some(signal) = &self.signal
            && state.waiting.len() == 1
        {
            // Cannot fail: the counter is 0 or 1.
            let _ = rustix::io::write(&signal.here, &1u64.to_ne_bytes());
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Lets the thread that empties the mailbox end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Takes the callback that `place` finds, and the signal back when it was the last.
    fn take_from(&self, place: impl FnOnce(&VecDeque<Task>) -> Option<usize>) -> Option<Task> {
        let mut state = self.state.lock();
        let place = place(&state.waiting)?;
        let task = state.waiting.remove(place)?;
        if let Some(signal) = &self.signal
            && state.waiting.is_empty()
        {
            let _ = rustix::io::read(&signal.here, &mut [0; 8]);
        }
        Some(task)
    }

    /// Takes the oldest callback.
    fn take(&self) -> Option<Task> {
        self.take_from(|_| Some(0))
    }

    /// Takes the oldest callback of `group`, past those of others.
    fn take_of(&self, group: &Arc<Group>) -> Option<Task> {
        self.take_from(|waiting| waiting.iter().position(|task| Arc::ptr_eq(&task.group, group)))
    }

    /// Delivers what waits, at most `limit`; how many were delivered.
    pub(crate) fn deliver(&self, limit: usize) -> usize {
        (0..limit).map_while(|_| self.take()).map(Task::deliver).count()
    }

    /// Delivers until the mailbox is closed and empty: the life of an accelerator's callback thread.
    pub(crate) fn serve(&self) {
        loop {
            let mut state = self.state.lock();
            while state.waiting.is_empty() {
                if state.closed {
                    return;
                }
                self.arrived.wait(&mut state);
            }
            drop(state);
            self.deliver(1);
        }
    }
}
