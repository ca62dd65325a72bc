//! One connection: what the device offers, its rings, and what its worker threads do.

use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use gipsec_virtio::message::{CONTROL_QUEUE, EVENT_QUEUE};
use parking_lot::{Mutex, MutexGuard};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use virtio_queue::QueueT;
use vm_memory::GuestMemoryMmap;
use zerocopy::IntoBytes;

use crate::{
    client::Client,
    config,
    memory::MemoryRule,
    place::Place,
    ring::{Event, Ring, State},
    say::Gate,
    worker::{self, Broken, Worker},
};

/// Entries of a ring at most.
pub const QUEUE_SIZE: usize = 1024;
/// Pairs of data queues at most.
pub const MAX_PAIRS: usize = 31;
/// How long a worker may take to complete what it has taken.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Kicks in a row that bring no work, after which the next one waits: an eventfd can be made to kick for ever.
const VAIN: u32 = 64;
/// How long it does.
const PAUSE: Duration = Duration::from_millis(10);

/// What is the same for all connections of an accelerator that begin now.
#[derive(Clone)]
pub struct Offer {
    /// Its name.
    pub accelerator: Arc<str>,
    /// Pairs of data queues.
    pub pairs: usize,
    /// How long a worker looks at its rings after it had work, before it sleeps.
    pub polling: Duration,
    /// Which memory is taken.
    pub memory: MemoryRule,
    /// Drawn when the device started.
    pub instance: u64,
    /// What is said of its connections.
    pub gate: Arc<Gate>,
}

/// A worker, and what wakes it.
struct Seat {
    worker: Mutex<Worker>,
    wake: Event,
}

/// Where controlq was stopped: its index, and its addresses.
type Stop = (u16, [u64; 3]);

/// A connection.
pub struct Backend {
    offer: Offer,
    client: Arc<Client>,
    place: Arc<Place>,
    /// What the workers use: never memory that was refused.
    memory: ArcSwap<GuestMemoryMmap>,
    rings: Vec<Ring>,
    seats: Vec<Seat>,
    running: AtomicUsize,
    /// Requests that were taken are completed, and no more are taken.
    ending: AtomicBool,
    stream: UnixStream,
    /// The client has said something.
    spoke: AtomicBool,
    stopped: Mutex<Option<Stop>>,
}

impl Backend {
    /// A connection for a client. Errors: no more file descriptors.
    pub fn new(offer: Offer, client: Arc<Client>, place: Arc<Place>, stream: UnixStream) -> io::Result<Self> {
        let workers = std::iter::once(Worker::control()).chain(std::iter::repeat_with(Worker::data));
        let seats = workers
            .take(1 + offer.pairs)
            .map(|worker| Ok(Seat { worker: Mutex::new(worker), wake: Event::new()? }))
            .collect::<io::Result<Vec<_>>>()?;
        let rings = (0..2 * seats.len()).map(|_| Ring::new(QUEUE_SIZE).map_err(io::Error::other));
        Ok(Self {
            rings: rings.collect::<io::Result<_>>()?,
            running: AtomicUsize::new(seats.len()),
            seats,
            client,
            place,
            offer,
            memory: ArcSwap::from_pointee(GuestMemoryMmap::new()),
            ending: AtomicBool::new(false),
            stream,
            spoke: AtomicBool::new(false),
            stopped: Mutex::new(None),
        })
    }

    /// What was offered.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The rings: two for each worker.
    pub fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// The driver's memory.
    pub fn memory(&self) -> Arc<GuestMemoryMmap> {
        self.memory.load_full()
    }

    /// Changes it.
    pub fn set_memory(&self, memory: GuestMemoryMmap) {
        self.memory.store(Arc::new(memory));
    }

    /// The client says something.
    pub fn spoke(&self) {
        self.spoke.store(true, Ordering::Relaxed);
    }

    /// Whether the client has said anything.
    pub fn has_spoken(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// Has the workers complete what they have taken, and end.
    pub fn stop(&self) {
        self.ending.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Whether the connection ends.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Whether all workers have ended.
    pub fn has_stopped(&self) -> bool {
        self.running.load(Ordering::Acquire) == 0
    }

    /// Ends the connection.
    pub fn hang_up(&self) {
        // It may have ended by itself.
        drop(self.stream.shutdown(Shutdown::Both));
    }

    /// Ends the connection for a reason.
    pub fn end_after(&self, why: &dyn std::fmt::Display) {
        // A client chooses its name: no line breaks, no escape sequences.
        let (accelerator, client) = (&self.offer.accelerator, self.client.name());
        self.offer.gate.warn(format_args!("Ending a connection to {accelerator} (client {client:?}): {why}"));
        self.stop();
        self.hang_up();
    }

    /// Has a worker look at its rings.
    pub fn wake(&self, worker: usize) {
        if let Some(seat) = self.seats.get(worker) {
            seat.wake.write();
        }
    }

    /// Has all of them do so.
    pub fn wake_all(&self) {
        self.seats.iter().for_each(|seat| seat.wake.write());
    }

    /// Waits until a worker has seen what was changed before, and has completed what it had taken.
    pub fn wait_for_worker(&self, worker: usize) -> io::Result<()> {
        let Some(seat) = self.seats.get(worker) else { return Ok(()) };
        if seat.worker.try_lock_for(DRAIN).is_none() {
            // The driver may hold it, by its eventfd.
            self.end_after(&"a worker is stuck");
            return Err(io::Error::other("a worker is stuck"));
        }
        Ok(())
    }

    /// Waits for all of them.
    pub fn wait_for_workers(&self) -> io::Result<()> {
        (0..self.seats.len()).try_for_each(|worker| self.wait_for_worker(worker))
    }

    /// Once the driver is gone: frees workers that it holds.
    pub fn release(&self) {
        self.rings.iter().for_each(Ring::release);
    }

    /// Bytes of the configuration space. Beyond its end, it reads as zeros.
    pub fn config(&self, offset: u32, size: u32) -> Vec<u8> {
        let space = config::space(self.offer.pairs, self.client.limits(), self.place.open_modes(), self.offer.instance);
        let bytes = space.as_bytes();
        (offset..offset.saturating_add(size))
            .map(|at| usize::try_from(at).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0))
            .collect()
    }

    /// What a worker's thread runs, until the connection ends.
    pub fn run(&self, thread: usize) {
        let mut vain = 0;
        while !self.is_ending() {
            let round = || self.wait(thread).and_then(|kicked| Ok((kicked, self.serve(thread)?)));
            match catch_unwind(AssertUnwindSafe(round)) {
                Ok(Ok((kicked, worked))) => vain = if worked { 0 } else { vain + u32::from(kicked) },
                Ok(Err(broken)) => {
                    self.end_after(&format_args!("queue {} or {} is broken: {broken}", 2 * thread, 2 * thread + 1));
                }
                Err(_) => self.end_after(&"a defect of the device was caught"),
            }
            if vain >= VAIN {
                thread::sleep(PAUSE);
            }
        }
        self.running.fetch_sub(1, Ordering::AcqRel);
    }

    /// Waits until a worker is woken or kicked; whether it was kicked.
    fn wait(&self, thread: usize) -> Result<bool, Broken> {
        let wake = &self.seats[thread].wake;
        let runs = |ring: &&Ring| ring.lock().runs();
        let kicks: ArrayVec<Event, 2> =
            self.rings[2 * thread..][..2].iter().filter(runs).filter_map(Ring::kick).collect();
        let mut polled: ArrayVec<PollFd<'_>, 3> =
            std::iter::once(wake).chain(&kicks).map(|event| PollFd::new(event, PollFlags::IN)).collect();
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Broken::Wait(error)),
        }
        // Whatever they say: the rings are looked at.
        let mut kicked = false;
        for (number, (event, polled)) in std::iter::once(wake).chain(&kicks).zip(&polled).enumerate() {
            if !polled.revents().is_empty() {
                event.read();
                kicked |= number > 0;
            }
        }
        Ok(kicked)
    }

    /// Serves a worker's rings until there is nothing to do; whether there was anything.
    fn serve(&self, thread: usize) -> Result<bool, Broken> {
        let rings = &self.rings[2 * thread..][..2];
        let mut worker = self.seats[thread].worker.lock();
        let mut attached = self.client.is_attached();
        worker.wake(self.offer.polling);
        let (mut quiet, mut any): (Option<Instant>, bool) = (None, false);
        {
            let memory = self.memory.load();
            rings.iter().try_for_each(|ring| worker::stop_kicks(&memory, ring))?;
        }
        loop {
            let memory = self.memory.load();
            let (mut worked, mut told) = (false, false);
            for (number, ring) in rings.iter().enumerate() {
                worked |= worker.serve(&self.client, &memory, number, ring, &mut told)?;
            }
            let was_attached = std::mem::replace(&mut attached, self.client.is_attached());
            if thread == 0 && was_attached && !attached {
                // Data workers forget what they have.
                self.wake_all();
            }
            if told {
                self.wake(0);
            }
            // Who stops a ring waits until its requests are completed.
            MutexGuard::bump(&mut worker);
            any |= worked;
            if self.is_ending() {
                return Ok(any);
            }
            if worked {
                if quiet.take().is_some() {
                    worker.window().found();
                }
                continue;
            }
            let polling = worker.window().time();
            if !polling.is_zero() && quiet.get_or_insert_with(Instant::now).elapsed() < polling {
                std::hint::spin_loop();
                continue;
            }
            let mut more = false;
            for (number, ring) in rings.iter().enumerate() {
                // Buffers in eventq are not work: they wait for events, and events wake the worker.
                let is_work = thread != 0 || number == CONTROL_QUEUE || !self.client.events().is_empty();
                more |= worker::ask_for_kicks(&memory, ring)? && is_work;
            }
            if !more {
                if !attached {
                    worker.wipe();
                }
                worker.sleep();
                return Ok(any);
            }
            quiet = None;
        }
    }

    /// controlq has stopped.
    pub fn controlq_stopped(&self) {
        let state = self.rings[CONTROL_QUEUE].lock();
        *self.stopped.lock() = Some((state.queue.next_avail(), addresses(&state)));
    }

    /// A driver that sets controlq up anew from index 0, where the one before had not got to, has been reset, as a guest
    /// that boots. Indices wrap: after a multiple of 65,536 commands, a driver that goes on does so from index 0 too. A new
    /// one that comes then, and has its ring at the very same place, is not recognized; its ATTACH is refused, and the SAs
    /// stay until VHOST_USER_RESET_DEVICE or the end of the connection.
    pub fn controlq_starts(&self) {
        let state = self.rings[CONTROL_QUEUE].lock();
        if state.queue.ready() {
            return;
        }
        let Some((index, places)) = self.stopped.lock().take() else { return };
        let is_new = state.queue.next_avail() == 0 && (index != 0 || places != addresses(&state));
        drop(state);
        if is_new {
            self.client.detach();
            // Data workers forget what they have.
            self.wake_all();
        }
    }
}

fn addresses(state: &State) -> [u64; 3] {
    [state.queue.desc_table(), state.queue.avail_ring(), state.queue.used_ring()]
}

const _: () = assert!(CONTROL_QUEUE == 0 && EVENT_QUEUE == 1);
