//! The thread that a device has of its own: it takes events, and notices when the device is lost. Callbacks of
//! applications are only posted from here.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::Ordering::{Acquire, Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use gipsec_engine::Events as SaEvents;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    DriverError, Inner, LOSS,
    layout::{EVENT_BYTES, Layout},
    timespec,
};
use crate::{
    message::event::Event,
    queue::{Piece, Queue},
    threads,
};

/// Whoever is told what an SA has to say.
pub(super) type Listener = Arc<dyn Fn(&SaEvents) + Send + Sync>;

/// Who listens to which SA.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Told>);

#[derive(Default)]
struct Told {
    listeners: HashMap<u64, Listener>,
    /// What came before its listener: a device may be quicker than whoever adds the SA.
    early: Vec<(u64, SaEvents)>,
}

/// Events that are kept for listeners to come.
const MAX_EARLY: usize = 1024;

impl Listeners {
    pub(super) fn add(&self, sa: u64, listener: &Listener) {
        let mut told = self.0.lock();
        let (now, later) = std::mem::take(&mut told.early).into_iter().partition(|(other, _)| *other == sa);
        told.early = later;
        told.listeners.insert(sa, listener.clone());
        drop(told);
        let now: Vec<(u64, SaEvents)> = now;
        now.iter().for_each(|(_, events)| listener(events));
    }

    pub(super) fn remove(&self, sa: u64) {
        let removed = self.0.lock().listeners.remove(&sa);
        // It may hold the last reference to what locks this again.
        drop(removed);
    }

    fn tell(&self, event: Event) {
        let (sa, events) = match event {
            Event::SequenceOverflow { sa, last } => {
                (sa, SaEvents { sequence_margin: Some(last), ..SaEvents::default() })
            }
            Event::SequencePeriodic { sa, last } => {
                (sa, SaEvents { sequence_periodic: Some(last), ..SaEvents::default() })
            }
            Event::Lifetime { sa, kilobytes } => {
                (sa, SaEvents { soft_lifetime: Some(kilobytes), ..SaEvents::default() })
            }
            // Only what comes again is ever lost.
            Event::Lost(_) => return,
        };
        let mut told = self.0.lock();
        let listener = told.listeners.get(&sa).cloned();
        if listener.is_none() && told.early.len() < MAX_EARLY {
            told.early.push((sa, events));
        }
        drop(told);
        if let Some(listener) = listener {
            listener(&events);
        }
    }
}

/// The event queue, and its buffers.
pub(super) struct Events {
    queue: Queue,
    /// Where each request's buffer is, by id.
    buffers: Vec<usize>,
}

impl Events {
    pub(super) fn new(queue: Queue, layout: &Layout) -> Self {
        let size = usize::from(layout.places[queue.number()].size);
        Self { queue, buffers: (0..size).map(|at| layout.events + at * EVENT_BYTES as usize).collect() }
    }

    fn offer(&mut self, buffer: usize) {
        let piece = Piece { offset: buffer, len: EVENT_BYTES, writable: true };
        if let Some(place) = self.queue.add(&[piece], None).and_then(|id| self.buffers.get_mut(usize::from(id))) {
            *place = buffer;
        }
    }

    /// Takes what has come, and tells it.
    fn take(&mut self, device: &Inner) {
        loop {
            let id = match self.queue.pop() {
                Ok(Some((id, _))) => id,
                Ok(None) => break,
                Err(_) => {
                    device.lose();
                    return;
                }
            };
            let Some(buffer) = self.buffers.get(usize::from(id)).copied() else { continue };
            let mut bytes = [0; EVENT_BYTES as usize];
            device.transport.memory().read(buffer, &mut bytes);
            self.offer(buffer);
            if let Some(event) = Event::read(&bytes) {
                device.listeners.tell(event);
            }
        }
        device.publish(&mut self.queue);
    }
}

/// Starts the thread. `lost` is called when the device is lost after it was `attached`, and before it is closed.
pub(super) fn start(
    device: Arc<Inner>,
    mut events: Events,
    attached: Arc<OnceLock<()>>,
    lost: Box<dyn FnOnce() + Send>,
) -> Result<JoinHandle<()>, DriverError> {
    for buffer in events.buffers.clone() {
        events.offer(buffer);
    }
    let body = move || {
        device.publish(&mut events.queue);
        while !device.is_lost() && !device.closing.load(Relaxed) {
            watch(&device, &mut events);
        }
        let closing = device.closing.load(Acquire);
        // Nothing of the device is kept while applications are told.
        drop((events, device));
        if !closing && attached.get().is_some() {
            lost();
        }
    };
    threads::spawn("gipsec-device", body).map_err(|_| DriverError::System("thread"))
}

/// Sleeps until something happens, and takes it.
fn watch(device: &Inner, events: &mut Events) {
    if events.queue.arm() {
        let number = events.queue.number();
        let Some(interrupt) = device.transport.interrupt(number) else {
            device.lose();
            return;
        };
        let shared = device.transport.shares_interrupts();
        let mut fds = [
            PollFd::from_borrowed_fd(interrupt, PollFlags::IN),
            PollFd::from_borrowed_fd(device.transport.loss(), LOSS),
            PollFd::new(&device.wake, PollFlags::IN),
        ];
        // An interrupt that another thread takes may have been for an event.
        let most = if shared { Duration::from_millis(50) } else { Duration::from_secs(60) };
        let _ = poll(&mut fds, Some(&timespec(most)));
        let ready = fds.each_ref().map(|fd| !fd.revents().is_empty());
        if ready[0] && !shared {
            device.transport.take_interrupt(number);
        }
        if (ready[1] || shared) && device.transport.is_lost() {
            device.lose();
            return;
        }
        if ready[0] && shared {
            // Others may be waiting for it, each at most a millisecond.
            device.transport.take_interrupt(number);
        }
    }
    events.take(device);
}
