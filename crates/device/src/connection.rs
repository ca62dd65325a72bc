//! The life of one connection: a thread for each worker, and one for its messages, which cleans up at the end.

use std::{
    io,
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use vhost::vhost_user::BackendReqHandler;

use crate::{
    backend::{Backend, Offer},
    client::Client,
    limits::Limits,
    messages::Messages,
    place::Place,
};

/// How long cleaning up takes at most.
const CLEANING: Duration = Duration::from_secs(1);

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process that connected; 0: one of a namespace that is not seen from here.
    pub process: i32,
    /// Its user.
    pub user: u32,
}

impl Peer {
    /// Of a connection.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        Ok(Self { process: credentials.pid(), user: credentials.uid() })
    }

    /// Whether both are one process, as far as can be told.
    pub fn is_same(self, other: Self) -> bool {
        self.process == other.process && (self.process != 0 || self.user == other.user)
    }
}

/// A connection, as its accelerator knows it.
pub struct Connection {
    peer: Peer,
    backend: Arc<Backend>,
    since: Instant,
    /// Everything is cleaned up.
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Connection {
    /// Serves a connection; `gone` is called when it has ended. Errors: no more file descriptors, or threads; nothing is
    /// left then.
    pub fn start(
        stream: UnixStream,
        peer: Peer,
        offer: Offer,
        limits: Limits,
        place: Arc<Place>,
        gone: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let name = offer.accelerator.clone();
        let client = Arc::new(Client::new(limits, place.clone()));
        let backend = Arc::new(Backend::new(offer, client, place, stream.try_clone()?)?);
        let over = Arc::new(AtomicBool::new(false));
        let mut workers = Vec::new();
        let mut started = Ok(());
        for number in 0..backend.rings().len() / 2 {
            let its = backend.clone();
            let worker = thread::Builder::new().name(format!("{name:.10}-{number}")).spawn(move || its.run(number));
            match worker {
                Ok(worker) => workers.push(worker),
                Err(error) => started = Err(error),
            }
        }
        let (its, is_over) = (backend.clone(), over.clone());
        let life = move || {
            live(&its, stream, &workers);
            drop(its);
            is_over.store(true, Ordering::Release);
            gone();
        };
        match started.and_then(|()| thread::Builder::new().name(format!("{name:.10}-msg")).spawn(life)) {
            Ok(thread) => Ok(Self { peer, backend, since: Instant::now(), over, thread }),
            Err(error) => {
                // They have not begun anything, and end by themselves.
                backend.stop();
                Err(error)
            }
        }
    }

    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        self.backend.client()
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.peer
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

    /// After [`Connection::stop`]: waits until they are, but not longer than until `deadline`, and hangs up.
    pub fn drain(&self, deadline: Instant) {
        wait_until(deadline, || self.backend.has_stopped());
        self.backend.hang_up();
    }

    /// After [`Connection::drain`]: waits until everything is cleaned up; false when that is not until a little after
    /// `deadline`.
    pub fn finish(self, deadline: Instant) -> bool {
        let clean = wait_until(deadline + CLEANING, || self.is_over());
        if clean {
            // A panic there is told by the hook.
            drop(self.thread.join());
        }
        clean
    }
}

/// Whether it is `done` before the deadline.
fn wait_until(deadline: Instant, done: impl Fn() -> bool) -> bool {
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Handles messages until the connection ends, and cleans up.
fn live(backend: &Arc<Backend>, stream: UnixStream, workers: &[JoinHandle<()>]) {
    let mut messages = BackendReqHandler::from_stream(stream, Arc::new(Mutex::new(Messages::new(backend.clone()))));
    // How it ends makes no difference, and a panic is told by the hook.
    drop(catch_unwind(AssertUnwindSafe(|| while messages.handle_request().is_ok() {})));
    backend.stop();
    backend.hang_up();
    // At once: a worker may be stuck, and others want the place.
    backend.client().close();
    let mut pause = Duration::from_millis(1);
    while !workers.iter().all(JoinHandle::is_finished) {
        backend.release();
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
