//! An accelerator: a socket, and the connections to it. One thread accepts; connections have threads of their own.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use vhost::vhost_user::Listener;
use vmm_sys_util::{
    epoll::{ControlOperation, Epoll, EpollEvent, EventSet},
    eventfd::{EFD_NONBLOCK, EventFd},
};

use crate::{
    backend::Offer,
    client::Snapshot,
    connection::Connection,
    place::Place,
    say::Gate,
    settings,
    socket::{self, SocketFile},
};

/// Connections beside those of attached clients.
const SPARE: usize = 8;
/// After this, a connection that has not said a word is closed, and one that is not attached makes place when another one
/// needs it.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Somebody connects.
const LISTENER: u64 = 0;
/// A connection has ended, or the accelerator ends.
const WAKE: u64 = 1;

struct Shared {
    settings: ArcSwap<settings::Accelerator>,
    place: Arc<Place>,
    instance: u64,
    connections: Mutex<Vec<(u64, Connection)>>,
    ending: AtomicBool,
    wake: EventFd,
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
        let shared = Arc::new(Shared {
            place: Arc::new(Place::new(settings.shared)),
            settings: ArcSwap::from_pointee(settings),
            instance: getrandom::u64().map_err(io::Error::other)?,
            connections: Mutex::default(),
            ending: AtomicBool::new(false),
            wake: EventFd::new(EFD_NONBLOCK)?,
            refused: AtomicU64::new(0),
            gate: Gate::default(),
        });
        let its = shared.clone();
        let thread = thread::Builder::new()
            .name("accept".into())
            .spawn(move || accept_all(&its, &mut Listener::from(listener)))?;
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
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there is told by the hook.
            drop(thread.join());
        }
        self.shared.connections.lock().iter().for_each(|(_, connection)| connection.stop());
    }

    /// After [`Accelerator::stop`]: waits until everything is cleaned up.
    pub fn finish(self) {
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        connections.into_iter().for_each(|(_, connection)| connection.finish());
    }
}

impl Shared {
    fn wake(&self) {
        // When it is full, it wakes all the same.
        drop(self.wake.write(1));
    }

    fn say(&self, line: std::fmt::Arguments<'_>) {
        if self.gate.opens() {
            tracing::warn!("{}: {line}.", self.settings.load().name);
        }
    }
}

fn accept_all(shared: &Arc<Shared>, listener: &mut Listener) {
    if let Err(error) = try_accept_all(shared, listener) {
        tracing::error!("{}: no more connections are taken: {error}.", shared.settings.load().name);
    }
}

fn try_accept_all(shared: &Arc<Shared>, listener: &mut Listener) -> io::Result<()> {
    let mut number = 0;
    let epoll = Epoll::new()?;
    for (fd, event) in [(listener.as_raw_fd(), LISTENER), (shared.wake.as_raw_fd(), WAKE)] {
        epoll.ctl(ControlOperation::Add, fd, EpollEvent::new(EventSet::IN, event))?;
    }
    while !shared.ending.load(Ordering::Acquire) {
        let soon = if sweep(shared) { 250 } else { -1 };
        let mut events = [EpollEvent::default(); 2];
        // A signal: look again.
        let ready = epoll.wait(soon, &mut events).unwrap_or(0);
        // Whatever it says.
        drop(shared.wake.read());
        if events[..ready].iter().any(|event| event.data() == LISTENER) && !shared.ending.load(Ordering::Acquire) {
            number += 1;
            take(shared, listener, number);
        }
    }
    Ok(())
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

/// Takes the connection that waits, or turns it away.
fn take(shared: &Arc<Shared>, listener: &mut Listener, number: u64) {
    let settings = shared.settings.load_full();
    if !make_place(shared, settings.clients + SPARE) {
        turn_away(shared, listener, &format_args!("a connection was turned away: there are too many"));
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
            shared.wake();
        }
    };
    match Connection::accept(listener, offer, settings.limits, shared.place.clone(), gone) {
        Ok(connection) => shared.connections.lock().push((number, connection)),
        Err(error) => turn_away(shared, listener, &format_args!("a connection cannot be served: {error}")),
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

fn turn_away(shared: &Shared, listener: &Listener, why: &std::fmt::Arguments<'_>) {
    shared.refused.fetch_add(1, Ordering::Relaxed);
    shared.say(*why);
    // It may be gone already, or have been taken; then there is nothing to close.
    if listener.set_nonblocking(true).is_ok() {
        drop(listener.accept());
        // Otherwise the next one that waits is taken without waiting.
        drop(listener.set_nonblocking(false));
    }
}
