//! The life of one connection: a `VhostUserDaemon` of its own, which has a thread for messages and one for each worker, and
//! a thread here that waits for the end and cleans up.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use vhost::vhost_user::Listener;
use vhost_user_backend::VhostUserDaemon;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::{
    backend::{Backend, Offer},
    client::Client,
    limits::Limits,
    place::Place,
};

/// How long workers have to complete what they have taken when the device ends.
const DRAIN: Duration = Duration::from_secs(5);

/// A connection, as its accelerator knows it.
pub struct Connection {
    backend: Arc<Backend>,
    since: Instant,
    /// Everything is cleaned up.
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Connection {
    /// Takes the connection that waits at `listener`; `gone` is called when it has ended.
    pub fn accept(
        listener: &mut Listener,
        offer: Offer,
        limits: Limits,
        place: Arc<Place>,
        gone: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let name = format!("{:.10}-msg", offer.accelerator);
        let client = Arc::new(Client::new(limits, place.clone()));
        let backend = Arc::new(Backend::new(offer, client, place)?);
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let mut daemon =
            VhostUserDaemon::new(name, backend.clone(), memory).map_err(|error| io::Error::other(error.to_string()))?;
        // The crate's own exit event would leak a file descriptor for each worker. An event that the crate does not know
        // is handed to the backend, whose error ends the worker.
        let registered = daemon.get_epoll_handlers().iter().enumerate().try_for_each(|(number, handler)| {
            let (end, event) = backend.end();
            handler.register_listener(end.as_raw_fd(), EventSet::IN, event)?;
            let (events, event) = backend.events();
            if number == 0 { handler.register_listener(events.as_raw_fd(), EventSet::IN, event) } else { Ok(()) }
        });
        let started =
            registered.and_then(|()| daemon.start(listener).map_err(|error| io::Error::other(error.to_string())));
        if let Err(error) = started {
            backend.stop();
            return Err(error);
        }
        if let Some(handle) = daemon.shutdown_handle() {
            backend.set_connection(handle);
        }
        let (its, over) = (backend.clone(), Arc::new(AtomicBool::new(false)));
        let is_over = over.clone();
        let thread = thread::Builder::new().name("connection".into()).spawn(move || {
            // How it ended makes no difference.
            drop(daemon.wait());
            its.stop();
            // Waits for the workers.
            drop(daemon);
            its.client().detach();
            drop(its);
            is_over.store(true, Ordering::Release);
            gone();
        });
        match thread {
            Ok(thread) => Ok(Self { backend, since: Instant::now(), over, thread }),
            Err(error) => {
                backend.stop();
                backend.hang_up();
                Err(error)
            }
        }
    }

    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        self.backend.client()
    }

    /// How long it has been there without being attached; None: it is attached.
    pub fn unattached_for(&self) -> Option<Duration> {
        (!self.client().is_attached()).then(|| self.since.elapsed())
    }

    /// How long it has been there without a word; None: it has spoken.
    pub fn silent_for(&self) -> Option<Duration> {
        (!self.backend.has_spoken()).then(|| self.since.elapsed())
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Hangs up.
    pub fn hang_up(&self) {
        self.backend.hang_up();
    }

    /// Has requests that were taken completed.
    pub fn stop(&self) {
        self.backend.stop();
    }

    /// After [`Connection::stop`]: hangs up when they are, and waits until everything is cleaned up.
    pub fn finish(self) {
        let deadline = Instant::now() + DRAIN;
        while !self.backend.has_stopped() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.backend.hang_up();
        // A panic there is told by the hook.
        drop(self.thread.join());
    }
}
