//! Asynchronous service: worker threads that run what was submitted, in order for each SA, and a thread that calls back.
//! Threads start on first use and end with the accelerator.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    thread,
};

use nix::sys::signal::{SigSet, SigmaskHow};
use parking_lot::{Condvar, Mutex};

use crate::{
    Error, Key,
    group::{Group, MAX_IN_FLIGHT},
    mailbox::{Mailbox, Task},
};

/// Workers of an accelerator at most.
const MAX_WORKERS: usize = 4;

/// How a piece of work is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Do it.
    Run,
    /// The accelerator is gone: it can no longer be done.
    Gone,
}

/// A call that is answered later.
pub trait Work: Send {
    /// Does it, on a worker thread.
    fn run(&mut self, outcome: Outcome);

    /// Says so, on the thread that delivers callbacks. Must not unwind.
    fn deliver(self: Box<Self>);
}

/// What is kept in order: work in one lane runs in the order in which it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Calls that concern no SA.
    Control,
    /// Calls that concern this SA.
    Sa(Key),
}

#[derive(Default)]
struct Queue {
    state: Mutex<(VecDeque<Task>, bool)>,
    arrived: Condvar,
}

impl Queue {
    fn close(&self) {
        self.state.lock().1 = true;
        self.arrived.notify_all();
    }

    /// The next task; None when the queue is closed and empty.
    fn next(&self) -> Option<Task> {
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.0.pop_front() {
                return Some(task);
            }
            if state.1 {
                return None;
            }
            self.arrived.wait(&mut state);
        }
    }

    fn serve(&self) {
        while let Some(mut task) = self.next() {
            let outcome = if task.group.is_gone() { Outcome::Gone } else { Outcome::Run };
            // The work turns its own defects into results; one that escapes must not end the worker.
            drop(catch_unwind(AssertUnwindSafe(|| task.work.run(outcome))));
            task.group.mailbox().post(task);
        }
    }
}

/// The threads of one accelerator.
pub(crate) struct Service {
    mailbox: Arc<Mailbox>,
    queues: Vec<Arc<Queue>>,
    /// Whether the threads could be started.
    workers: OnceLock<bool>,
    deliverer: OnceLock<bool>,
}

/// Starts a thread in which no signal is delivered: signals are the application's, for its own threads. A thread
/// inherits the mask of the one that starts it.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> bool {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = thread::Builder::new().name(name.to_owned()).spawn(body).is_ok();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    started
}

impl Service {
    pub(crate) fn new() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        Self {
            mailbox: Arc::default(),
            queues: (0..workers).map(|_| Arc::default()).collect(),
            workers: OnceLock::new(),
            deliverer: OnceLock::new(),
        }
    }

    /// Where callbacks wait unless a client polls.
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Starts the thread that calls back, if it is not there yet.
    pub(crate) fn start_delivery(&self) -> Result<(), Error> {
        let started = *self.deliverer.get_or_init(|| {
            let mailbox = self.mailbox.clone();
            spawn("gipsec-callback", move || mailbox.serve())
        });
        if started { Ok(()) } else { Err(Error::System("thread")) }
    }

    fn start_workers(&self) -> Result<(), Error> {
        let started = *self.workers.get_or_init(|| {
            self.queues.iter().all(|queue| {
                let queue = queue.clone();
                spawn("gipsec-worker", move || queue.serve())
            })
        });
        if started { Ok(()) } else { Err(Error::System("thread")) }
    }

    /// Queues `work`, which is then delivered exactly once; or gives it back.
    pub(crate) fn submit(
        &self,
        group: &Arc<Group>,
        lane: Lane,
        work: Box<dyn Work>,
    ) -> Result<(), (Error, Box<dyn Work>)> {
        let begun = self.start_workers().and_then(|()| self.start_delivery()).and_then(|()| group.begin(MAX_IN_FLIGHT));
        if let Err(error) = begun {
            return Err((error, work));
        }
        let queue = match lane {
            Lane::Control => 0,
            Lane::Sa(key) => key.slot as usize % self.queues.len(),
        };
        let queue = &self.queues[queue];
        queue.state.lock().0.push_back(Task { group: group.clone(), work });
        queue.arrived.notify_one();
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.close());
        self.mailbox.close();
    }
}
