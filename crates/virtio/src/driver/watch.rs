//! The thread that a device has of its own: it takes events, and notices when the device is lost. Callbacks of
//! applications are only posted from here.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

use super::{
    ATTACHED, DriverError, Inner, LOSS,
    layout::{EVENT_BYTES, Layout},
    timespec,
};
use crate::{
    message::event::Event,
    queue::{Piece, Queue},
    threads,
};

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

    /// Takes what has come, and tells it. A device that is quicker than we are does not keep us from looking elsewhere.
    fn take(&mut self, device: &Inner) {
        for _ in 0..self.queue.size() {
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

/// Starts the thread. `lost` is called when the device is lost after it was attached, and before it is closed.
pub(super) fn start(
    device: Arc<Inner>,
    mut events: Events,
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
        let tells = device.state.load(Acquire) & ATTACHED != 0 && !device.closing.load(Acquire);
        // Nothing of the device is kept while applications are told.
        drop((events, device));
        if tells {
            lost();
        }
    };
    threads::spawn("gipsec-device", body).map_err(|_| DriverError::System("thread"))
}

/// Sleeps until something happens, and takes it.
fn watch(device: &Inner, events: &mut Events) {
    let number = events.queue.number();
    let Some(interrupt) = device.transport.interrupt(number) else {
        device.lose();
        return;
    };
    let shared = device.transport.shares_interrupts();
    // An interrupt that another thread takes may have been for an event.
    let watches_deferred = device.watches_deferred.load(Acquire);
    let most = match events.queue.arm() {
        false => Duration::ZERO,
        true if shared => Duration::from_millis(50),
        true if watches_deferred => device.options.deadline / 4,
        true => Duration::from_secs(60),
    };
    let mut fds = [
        PollFd::from_borrowed_fd(interrupt, PollFlags::IN),
        PollFd::from_borrowed_fd(device.transport.loss(), LOSS),
        PollFd::new(&device.wake, PollFlags::IN),
    ];
    let _ = poll(&mut fds, Some(&timespec(most)));
    let ready = fds.each_ref().map(|fd| !fd.revents().is_empty());
    if ready[2] {
        let _ = rustix::io::read(&device.wake, &mut [0; 8]);
    }
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
    events.take(device);
    if watches_deferred {
        watch_deferred(device);
    }
}

/// Nobody waits for deferred calls, and so nobody else notices that a deadline is missed.
fn watch_deferred(device: &Inner) {
    // Before it is looked: whoever defers a call later sees it, and wakes this thread.
    device.watches_deferred.store(false, Relaxed);
    for lane in device.lanes.iter().flatten() {
        // Whoever has it looks at the device.
        let is_deferring = lane.queue.try_lock().is_none_or(|mut queue| {
            // What is back, and was only not looked for, says nothing against the device.
            if queue.is_deferring() {
                queue.advance(device);
            }
            if queue.is_stuck(device.options.deadline) {
                drop(queue);
                device.lose();
                return true;
            }
            queue.is_deferring()
        });
        if is_deferring {
            device.watches_deferred.store(true, Relaxed);
        }
    }
}
