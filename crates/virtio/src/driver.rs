//! The driver: a device that is attached, its SAs, and packets on their way through it.
//!
//! Any thread may use it. Who processes packets holds a data queue until they are back, so that what is in flight there is
//! always one caller's; who sends a command holds the control queue. A thread of the device's own sleeps until there are
//! events, or the device is lost.
//!
//! Nothing that the device writes is trusted: `queue.rs` has the rings, `data.rs` and `control.rs` the answers.

mod control;
mod data;
mod deferred;
mod lanes;
mod layout;
mod listeners;
mod sa;
mod slab;
mod watch;

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8, AtomicUsize,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use gipsec_engine::{BundleEntry, SaError};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::{
    message::{
        Config, RequestStatus,
        control::{AttachMode, Command, NAME_SIZE},
        feature,
    },
    queue::{Broken, Queue},
    threads,
    transport::{Transport, TransportError},
    window::Window,
};
use control::ControlQueue;
use data::DataQueue;
pub use data::Item;
use deferred::Deferrals;
pub use deferred::{Deferred, Line, Rank};
use lanes::Lane;
use layout::Layout;
pub use layout::SharedBuffer;
use listeners::Listeners;
pub use sa::{DeviceSa, Process};
use slab::Slab;

/// How a device is used.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A request that takes longer means that the device is lost.
    pub deadline: Duration,
    /// How long the driver looks for an answer at most, before it sleeps: as long as answers come within it, and less and
    /// less when they do not.
    pub poll: Duration,
    /// Pairs of data queues at most.
    pub pairs: usize,
    /// Makes what deferred calls wait in, for each data queue.
    pub line: fn() -> Box<dyn Line>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            // Longer than it takes to wake somebody: else each side sleeps while it waits for the other to wake.
            poll: Duration::from_micros(200),
            pairs: std::thread::available_parallelism().map_or(1, usize::from).min(4),
            line: || Box::new(VecDeque::new()),
        }
    }
}

/// Why the driver cannot do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DriverError {
    /// The device is lost.
    #[error("the device went away")]
    Gone,
    /// The device cannot be reached, or is none.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The device said no.
    #[error("the device refused a command: {0:?}")]
    Refused(RequestStatus),
    /// An SA that cannot be.
    #[error(transparent)]
    Sa(#[from] SaError),
    /// The system gave no descriptor or thread.
    #[error("the system gave no {0}")]
    System(&'static str),
}

/// The device is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl From<RequestStatus> for DriverError {
    fn from(status: RequestStatus) -> Self {
        Self::Refused(status)
    }
}

impl From<Gone> for DriverError {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// A device that is attached.
pub struct Device {
    inner: Arc<Inner>,
    watcher: Option<JoinHandle<()>>,
}

/// What the watching thread shares.
pub(crate) struct Inner {
    transport: Box<dyn Transport>,
    config: Config,
    /// What was negotiated.
    features: u64,
    options: Options,
    /// Inbound and outbound queue of each pair.
    lanes: Vec<[Lane; 2]>,
    /// Whether the watching thread looks at deferred calls.
    watches_deferred: AtomicBool,
    /// Which pair the next caller waits for when all are taken.
    turn: AtomicUsize,
    control: Mutex<ControlQueue>,
    listeners: Listeners,
    layout: Arc<Layout>,
    /// [`ATTACHED`] and [`LOST`].
    state: AtomicU8,
    closing: AtomicBool,
    /// Wakes the watching thread.
    wake: OwnedFd,
}

/// The device has been attached to, and was not lost before: from then on its loss is told.
const ATTACHED: u8 = 1;
/// The device is lost.
const LOST: u8 = 2;

/// What the driver uses of what a device offers.
const WANTED: u64 = feature::ALL | feature::VERSION_1 | feature::INDIRECT_DESC | feature::EVENT_IDX;

impl Device {
    /// Attaches to a device. `lost` is called once, by a thread of the device's own, when it is lost before it is dropped.
    pub fn open(
        mut transport: Box<dyn Transport>,
        mode: AttachMode,
        name: &str,
        options: Options,
        lost: Box<dyn FnOnce() + Send>,
    ) -> Result<Arc<Self>, DriverError> {
        let config = transport.config();
        let features = transport.features() & WANTED;
        if features & feature::VERSION_1 == 0 {
            return Err(TransportError("the device is older than virtio 1".into()).into());
        }
        let layout = Arc::new(Layout::new(&*transport, &config, options.pairs)?);
        transport.start(features, &layout.places)?;
        let queue = |number: usize| Queue::new(transport.memory().clone(), layout.places[number], features);
        let lane = |number: usize, place: usize| {
            let slab = Slab::new(layout.slabs[place].clone());
            Lane::new(DataQueue::new(queue(number), slab, Deferrals::new((options.line)()), &config))
        };
        let lanes =
            (0..layout.pairs).map(|pair| [lane(2 + 2 * pair, 2 * pair), lane(3 + 2 * pair, 2 * pair + 1)]).collect();
        let control = Mutex::new(ControlQueue::new(queue(0), &layout));
        let events = watch::Events::new(queue(1), &layout);
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|_| DriverError::System("event descriptor"))?;
        let inner = Arc::new(Inner {
            lanes,
            watches_deferred: AtomicBool::new(false),
            control,
            listeners: Listeners::default(),
            layout,
            config,
            features,
            options,
            turn: AtomicUsize::new(0),
            state: AtomicU8::new(0),
            closing: AtomicBool::new(false),
            wake,
            transport,
        });
        let watcher = watch::start(inner.clone(), events, lost)?;
        // From here on the watching thread ends with the device.
        let device = Arc::new(Self { inner, watcher: Some(watcher) });
        device.exchange(&Command::Attach { mode, name: padded(name) })?;
        match device.inner.state.compare_exchange(0, ATTACHED, AcqRel, Acquire) {
            Ok(_) => Ok(device),
            // Lost since it answered.
            Err(_) => Err(DriverError::Gone),
        }
    }

    /// The configuration, as it was when the device was opened.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The features that were negotiated.
    pub fn features(&self) -> u64 {
        self.inner.features
    }

    /// Whether the device is lost.
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    /// Adds an SA, or a bundle.
    pub fn add_sa(self: &Arc<Self>, entries: Vec<BundleEntry>) -> Result<DeviceSa, DriverError> {
        DeviceSa::add(self.clone(), entries)
    }

    /// Memory that packets travel in without being copied; None: there is none left.
    pub fn allocate(&self, len: usize) -> Option<SharedBuffer> {
        Layout::allocate(&self.inner.layout, self.inner.transport.memory(), len)
    }

    /// Sends a command; what the device answered.
    pub(crate) fn exchange(&self, command: &Command) -> Result<Vec<u8>, DriverError> {
        self.inner.control.lock().exchange(&self.inner, command, 0)
    }
}

impl Drop for Device {
    /// Leaves the device to others.
    fn drop(&mut self) {
        // What is refused now no longer matters.
        let _ = self.exchange(&Command::Detach);
        self.inner.closing.store(true, Release);
        self.inner.wake();
        self.inner.stop();
        if let Some(watcher) =
            self.watcher.take().filter(|watcher| watcher.thread().id() != std::thread::current().id())
        {
            let _ = watcher.join();
        }
    }
}

impl Inner {
    pub(crate) fn is_lost(&self) -> bool {
        self.state.load(Acquire) & LOST != 0
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Gives the device up: everything that waits for it ends. Whoever calls this waits until the device is stopped, so
    /// that it touches no packet of a call that has ended.
    #[cold]
    pub(crate) fn lose(&self) -> Gone {
        let before = self.state.fetch_or(LOST, AcqRel);
        self.stop();
        if before & LOST == 0 {
            self.wake();
        }
        Gone
    }

    /// Takes all memory away from the device.
    fn stop(&self) {
        self.transport.stop();
        self.layout.retire(self.transport.memory());
    }

    /// Tells the device of what is in line, if it wants to know.
    fn publish(&self, queue: &mut Queue) {
        if queue.publish() {
            self.transport.kick(queue.number());
        }
    }

    /// The next request that the device is done with: looks for it a while, and then sleeps. Loses the device when it
    /// breaks the rules, or takes too long: `waiting` is when whatever is in flight was first waited for.
    fn next(&self, queue: &mut Queue, window: &mut Window, waiting: &mut Option<Instant>) -> Result<u16, Gone> {
        let mut since: Option<Instant> = None;
        let (mut turns, mut slept) = (0u32, false);
        loop {
            match queue.pop() {
                Ok(Some((id, _))) => {
                    if slept {
                        window.slept(since.map_or(Duration::ZERO, |since| since.elapsed()), self.options.poll);
                    } else if turns > 0 {
                        window.found();
                    }
                    return Ok(id);
                }
                Ok(None) => {}
                Err(Broken) => return Err(self.lose()),
            }
            turns = turns.wrapping_add(1);
            if !slept && !turns.is_multiple_of(32) {
                threads::pause();
                continue;
            }
            let now = Instant::now();
            let all = now - *waiting.get_or_insert(now);
            if self.is_lost() || all > self.options.deadline {
                return Err(self.lose());
            }
            if now - *since.get_or_insert(now) >= window.time() {
                self.sleep(queue, self.options.deadline - all)?;
                slept = true;
            }
        }
    }

    /// Sleeps until the device may be done with something.
    #[cold]
    fn sleep(&self, queue: &mut Queue, most: Duration) -> Result<(), Gone> {
        if queue.arm() {
            let Some(interrupt) = self.transport.interrupt(queue.number()) else { return Err(self.lose()) };
            // Another thread may take an interrupt that is ours, too.
            let most = if self.transport.shares_interrupts() { most.min(Duration::from_millis(1)) } else { most };
            let mut fds = [
                PollFd::from_borrowed_fd(interrupt, PollFlags::IN),
                PollFd::from_borrowed_fd(self.transport.loss(), LOSS),
            ];
            // A signal is as good as an interrupt: we look again.
            let _ = poll(&mut fds, Some(&timespec(most)));
            let lost = !fds[1].revents().is_empty() && self.transport.is_lost();
            if !fds[0].revents().is_empty() {
                self.transport.take_interrupt(queue.number());
            }
            if lost {
                return Err(self.lose());
            }
        }
        queue.disarm();
        Ok(())
    }
}

/// What a descriptor of loss is watched for.
const LOSS: PollFlags = PollFlags::IN.union(PollFlags::PRI).union(PollFlags::RDHUP);

fn timespec(duration: Duration) -> Timespec {
    // Deadlines are seconds, not ages.
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

/// A name as commands carry it; what is too long is cut between two characters.
fn padded(name: &str) -> [u8; NAME_SIZE] {
    let mut bytes = [0; NAME_SIZE];
    let end = (0..NAME_SIZE).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    let name = name.get(..end).unwrap_or(name);
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}
