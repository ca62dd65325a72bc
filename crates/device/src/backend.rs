//! One connection as `vhost-user-backend` sees it: what the device offers, and what its worker threads do when they are
//! woken. The thread that handles the connection's messages calls everything but `handle_event`.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use gipsec_virtio::message::{CONTROL_QUEUE, EVENT_QUEUE, feature};
use parking_lot::{Mutex, MutexGuard};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{ShutdownHandle, VhostUserBackend, VringT};
use virtio_queue::QueueT;
use vm_memory::{GuestAddressSpace, GuestMemoryMmap};
use vmm_sys_util::{
    epoll::EventSet,
    eventfd::{EFD_NONBLOCK, EventFd},
};
use zerocopy::IntoBytes;

use crate::{
    client::Client,
    config,
    memory::{self, MemoryRule},
    place::Place,
    ring::{Memory, Ring},
    say::Gate,
    worker::{self, Broken, Worker},
};

/// Entries of a ring at most.
pub const QUEUE_SIZE: usize = 1024;
/// Pairs of data queues at most: `vhost-user-backend` has a bit for each of 64 queues.
pub const MAX_PAIRS: usize = 31;

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
}

/// A connection.
pub struct Backend {
    offer: Offer,
    client: Arc<Client>,
    place: Arc<Place>,
    /// What the workers use: never memory that was refused.
    memory: ArcSwap<GuestMemoryMmap>,
    workers: Vec<Mutex<Worker>>,
    running: AtomicUsize,
    /// Requests that were taken are completed, and no more are taken.
    ending: AtomicBool,
    /// Wakes all workers to end.
    end: EventFd,
    /// Wakes the control worker: there are events for the driver.
    events: EventFd,
    connection: OnceLock<ShutdownHandle>,
    /// The client has said something.
    spoke: AtomicBool,
    /// controlq was stopped: when it starts from the beginning, the driver is a new one.
    stopped: AtomicBool,
    gate: Gate,
}

impl Backend {
    /// A connection for a client. Errors: no more file descriptors.
    pub fn new(offer: Offer, client: Arc<Client>, place: Arc<Place>) -> io::Result<Self> {
        let mut workers = vec![Mutex::new(Worker::control())];
        workers.extend((0..offer.pairs).map(|_| Mutex::new(Worker::data())));
        Ok(Self {
            running: AtomicUsize::new(workers.len()),
            workers,
            client,
            place,
            offer,
            memory: ArcSwap::from_pointee(GuestMemoryMmap::new()),
            ending: AtomicBool::new(false),
            end: EventFd::new(EFD_NONBLOCK)?,
            events: EventFd::new(EFD_NONBLOCK)?,
            connection: OnceLock::new(),
            spoke: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            gate: Gate::default(),
        })
    }

    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whether the client has said anything.
    pub fn has_spoken(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// What wakes all workers to end, and its event.
    pub fn end(&self) -> (&EventFd, u64) {
        (&self.end, self.num_queues() as u64 + 1)
    }

    /// What wakes the control worker, and its event.
    pub fn events(&self) -> (&EventFd, u64) {
        (&self.events, self.num_queues() as u64 + 2)
    }

    /// How the connection is ended.
    pub fn set_connection(&self, connection: ShutdownHandle) {
        // It is set once.
        drop(self.connection.set(connection));
        if self.ending.load(Ordering::Acquire) {
            self.hang_up();
        }
    }

    /// Has the workers complete what they have taken, and end.
    pub fn stop(&self) {
        self.ending.store(true, Ordering::Release);
        // It cannot be full: it is written here alone.
        drop(self.end.write(1));
    }

    /// Whether all workers have ended.
    pub fn has_stopped(&self) -> bool {
        self.running.load(Ordering::Acquire) == 0
    }

    /// Ends the connection.
    pub fn hang_up(&self) {
        if let Some(connection) = self.connection.get() {
            connection.shutdown();
        }
    }

    /// Serves a worker's rings until there is nothing to do.
    fn serve(&self, thread: usize, rings: &[Ring]) -> Result<(), Broken> {
        let mut worker = self.workers[thread].lock();
        worker.wake(self.offer.polling);
        let mut quiet: Option<Instant> = None;
        if thread == 0 {
            self.look_for_reset(rings);
        }
        {
            let memory = self.memory.load();
            rings.iter().try_for_each(|ring| worker::stop_kicks(&memory, ring))?;
        }
        loop {
            let memory = self.memory.load_full();
            let (mut worked, mut told) = (false, false);
            for (number, ring) in rings.iter().enumerate() {
                worked |= worker.serve(&self.client, &memory, number, ring, &mut told)?;
            }
            if told {
                // It cannot be full for long: the control worker reads it.
                drop(self.events.write(1));
            }
            // Who stops a ring waits until its requests are completed.
            MutexGuard::bump(&mut worker);
            if self.ending.load(Ordering::Acquire) {
                return Ok(());
            }
            if worked {
                quiet = None;
                continue;
            }
            let polling = worker.window();
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
                worker.sleep();
                return Ok(());
            }
            quiet = None;
        }
    }

    /// A driver that sets controlq up anew from index 0 after it was stopped has been reset, as a guest that boots.
    fn look_for_reset(&self, rings: &[Ring]) {
        let Some(control) = rings.first() else { return };
        let state = control.get_ref();
        if state.get_queue().ready()
            && self.stopped.swap(false, Ordering::AcqRel)
            && state.get_queue().next_avail() == 0
        {
            self.client.detach();
        }
    }

    fn end_after(&self, why: &dyn std::fmt::Display) {
        if self.gate.opens() {
            tracing::warn!(
                "Ending a connection to {} (client \"{}\"): {why}.",
                self.offer.accelerator,
                self.client.name()
            );
        }
        self.stop();
        self.hang_up();
    }
}

/// A worker that has ended.
fn ended() -> io::Error {
    io::Error::other("the connection ends")
}

impl VhostUserBackend for Backend {
    type Bitmap = ();
    type Vring = Ring;

    fn num_queues(&self) -> usize {
        2 + 2 * self.offer.pairs
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        self.spoke.store(true, Ordering::Relaxed);
        feature::ALL
            | feature::INDIRECT_DESC
            | feature::EVENT_IDX
            | feature::VERSION_1
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn acked_features(&self, features: u64) {
        self.client.set_features(features);
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
    }

    fn reset_device(&self) {
        for worker in &self.workers {
            // What was taken is completed.
            drop(worker.lock());
        }
        self.client.detach();
    }

    fn set_event_idx(&self, _enabled: bool) {
        // The rings know.
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let space = config::space(self.offer.pairs, self.client.limits(), self.place.open_modes(), self.offer.instance);
        let bytes = space.as_bytes();
        // Beyond its end, it reads as zeros.
        (offset..offset.saturating_add(size))
            .map(|at| usize::try_from(at).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0))
            .collect()
    }

    fn set_config(&self, _offset: u32, _bytes: &[u8]) -> io::Result<()> {
        Err(io::Error::other("the configuration space is read-only"))
    }

    fn update_memory(&self, memory: Memory) -> io::Result<()> {
        let new = memory.memory().clone();
        if let Err(error) = memory::check(&new, self.offer.memory, self.client.limits().memory) {
            // Nobody touches what was refused, nor what was there before.
            if let Ok(memory) = memory.lock() {
                memory.replace(GuestMemoryMmap::new());
            }
            self.memory.store(Arc::new(GuestMemoryMmap::new()));
            self.end_after(&format_args!("its memory cannot be used: {error}"));
            return Err(io::Error::other(error));
        }
        self.memory.store(Arc::new(GuestMemoryMmap::clone(&new)));
        Ok(())
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        (0..=self.offer.pairs).map(|thread| 0b11 << (2 * thread)).collect()
    }

    fn stop_vring(&self, queue: u32) -> io::Result<()> {
        let queue = usize::try_from(queue).unwrap_or(usize::MAX);
        if let Some(worker) = self.workers.get(queue / 2) {
            drop(worker.lock());
        }
        if queue == CONTROL_QUEUE {
            self.stopped.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn handle_event(&self, event: u16, _events: EventSet, rings: &[Ring], thread: usize) -> io::Result<()> {
        let event = u64::from(event);
        if event == self.events().1 {
            // Whatever it says: the events are looked at.
            drop(self.events.read());
        }
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(thread, rings)));
        match served {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => {
                self.end_after(&format_args!("queue {} or {} is broken: {broken}", 2 * thread, 2 * thread + 1));
            }
            Err(_) => self.end_after(&"a defect of the device was caught"),
        }
        if self.ending.load(Ordering::Acquire) {
            self.running.fetch_sub(1, Ordering::AcqRel);
            return Err(ended());
        }
        Ok(())
    }
}

const _: () = assert!(CONTROL_QUEUE == 0 && EVENT_QUEUE == 1 && 2 + 2 * MAX_PAIRS <= 64);
