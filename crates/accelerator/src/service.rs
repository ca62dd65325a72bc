//! Asynchronous service: worker threads that run what was submitted, in order for each SA, and a thread that calls back.
//! Threads start on first use and end with the accelerator.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
};

use gipsec_engine::{Buffers, Verdict};
use gipsec_virtio::threads::spawn;
use parking_lot::Mutex;

use crate::{
    Entry, Error, Key, SaEntry,
    group::Group,
    mailbox::{Mailbox, Task},
    queue::{Class, Place, Queue},
    worker,
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

    /// The packets of a packet call; a call without any is run by itself.
    fn packets(&mut self) -> Option<&mut dyn Packets> {
        None
    }

    /// Whether it takes less time together with other such calls than alone.
    fn gains_together(&self) -> bool {
        false
    }

    /// How much waits with it, in packets: what a group may have in flight is bounded by that, too.
    fn weight(&self) -> usize {
        1
    }
}

/// A packet call that can be processed together with others, instead of being run.
pub trait Packets {
    /// Its packets, the same each time, unless they have to be processed by themselves.
    fn parts(&mut self) -> Option<Parts<'_>>;

    /// Says what became of them.
    fn settle(&mut self);
}

/// The packets of a call.
pub struct Parts<'a> {
    /// The SA they are for.
    pub sa: &'a Entry<SaEntry>,
    /// Where they are, and where their results go.
    pub packets: &'a mut [Buffers<'static>],
    /// As many: what became of each; a failure, until somebody says otherwise.
    pub verdicts: &'a mut [Verdict],
}

/// What is kept in order: work in one lane runs in the order in which it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Calls that concern no SA.
    Control,
    /// Calls that concern this SA.
    Sa(Key),
    /// Calls that need not wait for any other.
    AnyOrder,
}

/// The threads of one accelerator.
pub(crate) struct Service {
    mailbox: Arc<Mailbox>,
    queues: Vec<Arc<Queue>>,
    /// Numbers the calls that need not wait for any other.
    tickets: AtomicU64,
    workers: Threads,
    deliverer: Threads,
}

/// Threads that are started on first use. What the system refuses once is tried again the next time.
#[derive(Default)]
struct Threads {
    all_started: AtomicBool,
    started: Mutex<usize>,
}

impl Threads {
    /// Starts those of `count` threads that are not there yet.
    fn start(&self, count: usize, spawn: impl Fn(usize) -> bool) -> Result<(), Error> {
        if self.all_started.load(Acquire) {
            return Ok(());
        }
        let mut started = self.started.lock();
        while *started < count {
            if !spawn(*started) {
                return Err(Error::System("thread"));
            }
            *started += 1;
        }
        self.all_started.store(true, Release);
        Ok(())
    }
}

impl Service {
    pub(crate) fn new() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        Self {
            mailbox: Arc::default(),
            queues: (0..workers).map(|_| Arc::default()).collect(),
            tickets: AtomicU64::new(0),
            workers: Threads::default(),
            deliverer: Threads::default(),
        }
    }

    /// Where callbacks wait unless a client polls.
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Starts the thread that calls back, if it is not there yet.
    pub(crate) fn start_delivery(&self) -> Result<(), Error> {
        self.deliverer.start(1, |_| {
            let mailbox = self.mailbox.clone();
            spawn("gipsec-callback", move || mailbox.serve()).is_ok()
        })
    }

    fn start_workers(&self) -> Result<(), Error> {
        self.workers.start(self.queues.len(), |number| {
            let queue = self.queues[number].clone();
            spawn("gipsec-worker", move || worker::serve(&queue)).is_ok()
        })
    }

    /// Queues `work`, which is then delivered exactly once; or gives it back.
    pub(crate) fn submit(
        &self,
        group: &Arc<Group>,
        lane: Lane,
        class: Class,
        work: Box<dyn Work>,
    ) -> Result<(), (Error, Box<dyn Work>)> {
        let begun = self
            .start_workers()
            .and_then(|()| self.start_delivery())
            .and_then(|()| group.begin_call(class, work.weight()));
        if let Err(error) = begun {
            return Err((error, work));
        }
        let workers = self.queues.len();
        let (worker, place) = match lane {
            Lane::Control => (0, Place::Control),
            Lane::Sa(key) => (key.slot as usize % workers, Place::Sa(key)),
            Lane::AnyOrder => {
                let ticket = self.tickets.fetch_add(1, Relaxed);
                // The remainder is below a usize.
                (usize::try_from(ticket % workers as u64).unwrap_or(0), Place::Own(ticket))
            }
        };
        let task = match lane {
            Lane::Sa(key) if group.accelerator().device().is_some() => {
                Task::for_worker(group.clone(), work, group.under_way(key))
            }
            _ => Task::new(group.clone(), work),
        };
        self.queues[worker].push(place, class, task);
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.close());
        self.mailbox.close();
    }
}
