//! Where finished work waits for its callback. Each accelerator has one, emptied by a thread of its own; a client in poll
//! mode has one that the application empties.
//!
//! A thread that is delivering may close a client: what is left of that client's is then delivered by the same thread,
//! in order, before the close returns.

use std::{cell::RefCell, collections::VecDeque, sync::Arc};

use parking_lot::{Condvar, Mutex};
use rustix::{
    event::{EventfdFlags, eventfd},
    fd::{AsRawFd, OwnedFd},
};

use crate::{Error, group::Group, service::Work};

/// A callback that is due.
pub(crate) struct Task {
    /// Whose it is; counted in flight until it is delivered.
    pub group: Arc<Group>,
    pub work: Box<dyn Work>,
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
    /// Readable while something waits, in poll mode.
    signal: Option<OwnedFd>,
}

thread_local! {
    /// Whose callbacks this thread is inside of, and the address of the mailbox that each came from; the innermost last.
    static INSIDE: RefCell<Vec<(Arc<Group>, usize)>> = const { RefCell::new(Vec::new()) };
}

impl Task {
    /// Calls back, on this thread, and counts the task as done; a panic in the work goes no further.
    fn deliver(self, from: &Mailbox) {
        let Self { group, work } = self;
        group.landing();
        INSIDE.with_borrow_mut(|inside| inside.push((group.clone(), from.address())));
        // The work guards its own callbacks; what unwinds here is a defect that must not end the thread.
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.deliver())));
        INSIDE.with_borrow_mut(Vec::pop);
        group.landed();
    }
}

/// Whether this thread is inside any callback.
fn is_inside() -> bool {
    INSIDE.with_borrow(|inside| !inside.is_empty())
}

/// How many callbacks of `group` this thread is inside of.
pub(crate) fn inside(group: &Arc<Group>) -> usize {
    INSIDE.with_borrow(|inside| inside.iter().filter(|(other, _)| Arc::ptr_eq(other, group)).count())
}

impl Mailbox {
    /// A mailbox with a descriptor to poll.
    pub(crate) fn with_signal() -> Result<Self, Error> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|_| Error::System("event descriptor"))?;
        Ok(Self { signal: Some(signal), ..Self::default() })
    }

    /// The descriptor to poll.
    pub(crate) fn descriptor(&self) -> Option<i32> {
        self.signal.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Adds a callback.
    pub(crate) fn post(&self, task: Task) {
        let mut state = self.state.lock();
        state.waiting.push_back(task);
        if let Some(signal) = &self.signal
            && state.waiting.len() == 1
        {
            // Cannot fail: the counter is 0 or 1.
            let _ = rustix::io::write(signal, &1u64.to_ne_bytes());
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Lets the thread that empties the mailbox end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// What tells this mailbox from others; never followed.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether this thread is inside a callback from this mailbox, so that nobody else can deliver what waits.
    fn is_emptied_here(&self) -> bool {
        INSIDE.with_borrow(|inside| inside.iter().any(|(_, from)| *from == self.address()))
    }

    fn take(&self) -> Option<Task> {
        let mut state = self.state.lock();
        let task = state.waiting.pop_front();
        if let Some(signal) = &self.signal
            && task.is_some()
            && state.waiting.is_empty()
        {
            let _ = rustix::io::read(signal, &mut [0; 8]);
        }
        task
    }

    /// Delivers what waits, at most `limit`; how many were delivered.
    pub(crate) fn deliver(&self, limit: usize) -> usize {
        (0..limit).map_while(|_| self.take()).map(|task| task.deliver(self)).count()
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

    /// Takes the oldest callback of `group`, past those of others.
    fn take_of(&self, group: &Arc<Group>) -> Option<Task> {
        let mut state = self.state.lock();
        let place = state.waiting.iter().position(|task| Arc::ptr_eq(&task.group, group))?;
        state.waiting.remove(place)
    }

    /// Waits until nothing of `group` is in flight but the callbacks that this thread is inside of.
    ///
    /// Who delivers keeps delivering: a thread inside a callback from here, and whoever closes a client in poll mode. A
    /// thread inside a callback from elsewhere delivers what is left of `group`, and does not wait for a callback that
    /// another thread is inside of: that one may be waiting for this one.
    pub(crate) fn wait_for(&self, group: &Arc<Group>) {
        let own = inside(group);
        loop {
            let (in_flight, landing) = group.in_flight();
            if in_flight <= own {
                return;
            }
            let task = if self.signal.is_some() || self.is_emptied_here() {
                self.take()
            } else if is_inside() {
                self.take_of(group)
            } else {
                None
            };
            match task {
                Some(task) => task.deliver(self),
                None if is_inside() && in_flight == landing => return,
                // The rest is with a worker, or inside a callback.
                None => group.wait_until(own),
            }
        }
    }
}
