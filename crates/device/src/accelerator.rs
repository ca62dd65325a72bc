//! An accelerator: a socket, and the connections to it. One thread accepts; connections have threads of their own.

use std::{
    io,
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    backend::Offer,
    client::Snapshot,
    connection::Connection,
    place::Place,
    ring::Event,
    say::Gate,
    settings,
    socket::{self, SocketFile},
};

/// Connections beside those of attached clients.
const SPARE: usize = 8;
/// After this, a connection that has not said a word is closed, and one that is not attached makes place when another one
/// needs it.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// How long nobody is let in when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(250);

struct Shared {
    settings: ArcSwap<settings::Accelerator>,
    place: Arc<Place>,
    instance: u64,
    connections: Mutex<Vec<(u64, Connection)>>,
    ending: AtomicBool,
    /// A connection has ended, or the accelerator ends.
    wake: Event,
    /// Connections that were turned away.
    refused: AtomicU64,
    gate: Gate,
}

/// An accelerator that is running. It ends when this is dropped.
pub struct Accelerator {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
    file: Option<SocketFile>,
}

impl Accelerator {
    /// Listens. Errors: a socket that cannot be made.
    pub fn start(settings: settings::Accelerator) -> io::Result<Self> {
        let (listener, file) = socket::listen(&settings.socket, settings.permissions, settings.group)?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            place: Arc::new(Place::new(settings.shared)),
            settings: ArcSwap::from_pointee(settings),
            instance: getrandom::u64().map_err(io::Error::other)?,
            connections: Mutex::default(),
            ending: AtomicBool::new(false),
            wake: Event::new()?,
            refused: AtomicU64::new(0),
            gate: Gate::default(),
        });
        let its = shared.clone();
        let thread = thread::Builder::new().name("accept".into()).spawn(move || accept_all(&its, &listener))?;
        Ok(Self { shared, thread: Some(thread), file: Some(file) })
    }

    /// What it was made from, and is now.
    pub fn settings(&self) -> Arc<settings::Accelerator> {
        self.shared.settings.load_full()
    }

    /// Changes what holds for connections that begin from now on.
    pub fn change(&self, settings: settings::Accelerator) {
        self.shared.place.set_shared(settings.shared);
        self.shared.settings.store(Arc::new(settings));
    }

    /// Attached clients with a number each, and how many connections were turned away.
    pub fn snapshots(&self) -> (Vec<(u64, Snapshot)>, u64) {
        let clients: Vec<_> = self
            .shared
            .connections
            .lock()
            .iter()
            .map(|(number, connection)| (*number, connection.client().clone()))
            .collect();
        let attached = clients.iter().filter(|(_, client)| client.is_attached());
        let snapshots = attached.map(|(number, client)| (*number, client.snapshot())).collect();
        (snapshots, self.shared.refused.load(Ordering::Relaxed))
    }

    /// Takes no more connections, and has those that are there complete what was taken.
    pub fn stop(&mut self) {
        self.file = None;
        self.shared.ending.store(true, Ordering::Release);
        self.shared.wake.write();
        if let Some(thread) = self.thread.take() {
            // A panic there is told by the hook.
            drop(thread.join());
        }
        self.shared.connections.lock().iter().for_each(|(_, connection)| connection.stop());
    }

    /// After [`Accelerator::stop`]: waits until everything is cleaned up, and for requests not longer than until
    /// `deadline`.
    pub fn finish(self, deadline: Instant) {
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        connections.iter().for_each(|(_, connection)| connection.drain(deadline));
        let late =
            connections.into_iter().filter_map(|(_, connection)| (!connection.finish(deadline)).then_some(())).count();
        if late > 0 {
            tracing::error!("{}: {late} connections do not end.", self.settings().name);
        }
    }
}

impl Shared {
    fn turn_away(&self, why: std::fmt::Arguments<'_>) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.say(why);
    }

    fn say(&self, line: std::fmt::Arguments<'_>) {
        if self.gate.opens() {
            tracing::warn!("{}: {line}.", self.settings.load().name);
        }
    }
}

fn accept_all(shared: &Arc<Shared>, listener: &UnixListener) {
    let mut number = 0;
    let mut paused: Option<Instant> = None;
    while !shared.ending.load(Ordering::Acquire) {
        let silent = sweep(shared);
        paused = paused.filter(|until| Instant::now() < *until);
        // Without interest in it, the listener's state wakes nobody.
        let interest = if paused.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut polled = [PollFd::new(&shared.wake, PollFlags::IN), PollFd::new(listener, interest)];
        let soon = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
        if poll(&mut polled, (silent || paused.is_some()).then_some(&soon)).is_err() {
            // A signal, or no memory: look again, but not at once.
            thread::sleep(Duration::from_millis(1));
        }
        let waiting = polled[1].revents().contains(PollFlags::IN);
        shared.wake.read();
        if !waiting || shared.ending.load(Ordering::Acquire) {
            continue;
        }
        match listener.accept() {
            Ok((stream, _)) => {
                number += 1;
                take(shared, stream, number);
            }
            // It has gone again.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::CONNABORTED) => {}
            Err(error) => {
                shared.say(format_args!("nobody can connect for a while: {error}"));
                paused = Some(Instant::now() + PAUSE);
            }
        }
    }
}

/// Forgets connections that are over, and closes those that never said a word; whether there are young silent ones.
fn sweep(shared: &Shared) -> bool {
    let mut connections = shared.connections.lock();
    connections.retain(|(_, connection)| !connection.is_over());
    let mut silent = false;
    for (_, connection) in connections.iter() {
        match connection.silent_for() {
            Some(long) if long >= HANDSHAKE => connection.hang_up(),
            Some(_) => silent = true,
            None => {}
        }
    }
    silent
}

/// Serves a connection, or turns it away.
fn take(shared: &Arc<Shared>, stream: UnixStream, number: u64) {
    let settings = shared.settings.load_full();
    if !make_place(shared, settings.clients + SPARE) {
        shared.turn_away(format_args!("a connection was turned away: there are too many"));
        return;
    }
    let offer = Offer {
        accelerator: settings.name.as_str().into(),
        pairs: settings.pairs,
        polling: settings.polling,
        memory: settings.memory,
        instance: shared.instance,
    };
    let its = Arc::downgrade(shared);
    let gone = move || {
        if let Some(shared) = its.upgrade() {
            shared.wake.write();
        }
    };
    match Connection::start(stream, offer, settings.limits, shared.place.clone(), gone) {
        Ok(connection) => shared.connections.lock().push((number, connection)),
        Err(error) => shared.turn_away(format_args!("a connection cannot be served: {error}")),
    }
}

/// Whether there is place for one connection more, when need be that of one that is not attached for the longest time.
fn make_place(shared: &Shared, most: usize) -> bool {
    let connections = shared.connections.lock();
    let current = connections.iter().filter(|(_, connection)| !connection.is_over());
    if current.clone().count() < most {
        return true;
    }
    let oldest = current
        .filter_map(|(_, connection)| Some((connection.unattached_for()?, connection)))
        .filter(|(long, _)| *long >= HANDSHAKE)
        .max_by_key(|(long, _)| *long);
    match oldest {
        // Those that hang up are still counted, so that there are never many more.
        Some((_, connection)) if connections.len() < most + SPARE => {
            connection.hang_up();
            true
        }
        _ => false,
    }
}
