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
    connection::{Connection, Peer},
    place::Place,
    ring::Event,
    say::Gate,
    settings,
    socket::{self, SocketFile},
};

/// Connections beside those of attached clients; as many more may be ending.
pub const SPARE: usize = 8;
/// After this, a connection that has not said a word is closed, and one that is not attached makes place for another
/// one, whoever made it.
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
    gate: Arc<Gate>,
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
        let (listener, file) = socket::listen(&settings.socket)?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            place: Arc::new(Place::new(settings.shared, settings.exclusive)),
            settings: ArcSwap::from_pointee(settings),
            instance: getrandom::u64().map_err(io::Error::other)?,
            connections: Mutex::default(),
            ending: AtomicBool::new(false),
            wake: Event::new()?,
            refused: AtomicU64::new(0),
            gate: Arc::default(),
        });
        let its = shared.clone();
        let thread = thread::Builder::new().name("accept".into()).spawn(move || accept_all(&its, &listener))?;
        Ok(Self { shared, thread: Some(thread), file: Some(file) })
    }

    /// What it was made from, and is now.
    pub fn settings(&self) -> Arc<settings::Accelerator> {
        self.shared.settings.load_full()
    }

    /// Changes what holds for connections that begin from now on. Errors: the socket's permissions or group cannot be
    /// changed; all else is.
    pub fn change(&self, settings: settings::Accelerator) -> io::Result<()> {
        self.shared.place.change(settings.shared, settings.exclusive);
        let changed = self.file.as_ref().map_or(Ok(()), |file| file.change(&settings.socket));
        self.shared.settings.store(Arc::new(settings));
        changed
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
        let clean = connections.into_iter().map(|(_, connection)| connection.finish(deadline));
        let late = clean.filter(|clean| !clean).count();
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
        self.gate.warn(format_args!("{}: {line}", self.settings.load().name));
    }
}

fn accept_all(shared: &Arc<Shared>, listener: &UnixListener) {
    let mut number = 0;
    let mut paused: Option<Instant> = None;
    while !shared.ending.load(Ordering::Acquire) {
        let (silent, crowded) = sweep(shared);
        paused = paused.filter(|until| Instant::now() < *until);
        // Who connects waits meanwhile.
        let interest = if paused.is_some() || crowded { PollFlags::empty() } else { PollFlags::IN };
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

/// Forgets connections that are over, and closes those that never said a word; whether there are young silent ones, and
/// whether so many are ending that no more are taken.
fn sweep(shared: &Shared) -> (bool, bool) {
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
    (silent, connections.len() >= shared.settings.load().clients + 2 * SPARE)
}

/// Serves a connection, or turns it away.
fn take(shared: &Arc<Shared>, stream: UnixStream, number: u64) {
    let settings = shared.settings.load_full();
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => return shared.turn_away(format_args!("a connection cannot be served: {error}")),
    };
    if !make_place(shared, peer, settings.clients + SPARE) {
        shared.turn_away(format_args!("a connection was turned away: there are too many"));
        return;
    }
    let offer = Offer {
        accelerator: settings.name.as_str().into(),
        pairs: settings.pairs,
        polling: settings.polling,
        memory: settings.memory,
        instance: shared.instance,
        gate: shared.gate.clone(),
    };
    let its = Arc::downgrade(shared);
    let gone = move || {
        if let Some(shared) = its.upgrade() {
            shared.wake.write();
        }
    };
    match Connection::start(stream, peer, offer, settings.limits, shared.place.clone(), gone) {
        Ok(connection) => shared.connections.lock().push((number, connection)),
        Err(error) => shared.turn_away(format_args!("a connection cannot be served: {error}")),
    }
}

/// Whether there is place for one connection more, when need be that of one that is not attached: of the process that has
/// most of those, then of the user, then the one that has not been for the longest time. What one client does is so at its
/// own cost.
fn make_place(shared: &Shared, peer: Peer, most: usize) -> bool {
    let connections = shared.connections.lock();
    let open = |connection: &&Connection| !connection.is_over() && !connection.client().is_closed();
    let open: Vec<_> = connections.iter().map(|(_, connection)| connection).filter(open).collect();
    if open.len() < most {
        return true;
    }
    let idle: Vec<_> =
        open.into_iter().filter_map(|connection| Some((connection.client().unattached_for()?, connection))).collect();
    // The new one counts.
    let peers: Vec<Peer> = idle.iter().map(|(_, connection)| connection.peer()).chain([peer]).collect();
    let processes = |of: Peer| peers.iter().filter(|other| other.is_same(of)).count();
    let users = |of: Peer| peers.iter().filter(|other| other.user == of.user).count();
    let mut candidates: Vec<_> = idle
        .iter()
        .map(|(long, connection)| (processes(connection.peer()), users(connection.peer()), *long, *connection))
        .filter(|(processes, theirs, long, _)| *processes > 1 || *theirs > users(peer) || *long >= HANDSHAKE)
        .collect();
    candidates.sort_by_key(|(processes, users, long, _)| std::cmp::Reverse((*processes, *users, *long)));
    // It may have attached meanwhile.
    let chosen = candidates.iter().find(|(.., connection)| connection.client().close_unattached());
    if let Some((.., connection)) = chosen {
        connection.hang_up();
    }
    chosen.is_some()
}
