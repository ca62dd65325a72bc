//! A virtqueue, shared by its worker and the handler of messages, and the eventfds that go with it.

use std::{
    fs::{File, read_link},
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use rustix::{
    event::{EventfdFlags, eventfd},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, ReadWriteFlags, preadv2},
};
use virtio_queue::{Error, Queue, QueueT};

/// An eventfd. Whether a write to one that is full waits is the driver's to say at any time, for the file is the driver's
/// too. So no lock that others need is held meanwhile, and [`Ring::release`] frees who is caught.
#[derive(Clone)]
pub struct Event(Arc<OwnedFd>);

impl Event {
    /// One of our own.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// The driver's. Reading and writing anything but an eventfd might never end, so anything else is an error.
    pub fn of_driver(file: File) -> io::Result<Self> {
        let kind = read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        if kind != Path::new("anon_inode:[eventfd]") {
            return Err(io::Error::other("a descriptor is not an eventfd"));
        }
        let event = Self(Arc::new(file.into()));
        event.unblock()?;
        Ok(event)
    }

    fn unblock(&self) -> io::Result<()> {
        Ok(fcntl_setfl(&self.0, fcntl_getfl(&self.0)? | OFlags::NONBLOCK)?)
    }

    /// Adds one. When it is full, whoever waits for it wakes all the same.
    pub fn write(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes what there is; whether there was anything. This never waits, whatever the driver does.
    pub fn read(&self) -> bool {
        let mut count = [0; 8];
        // There is no position, which -1 says.
        match preadv2(&self.0, &mut [IoSliceMut::new(&mut count)], u64::MAX, ReadWriteFlags::NOWAIT) {
            // Before Linux 5.8.
            Err(Errno::OPNOTSUPP) => self.unblock().is_ok() && rustix::io::read(&self.0, &mut count).is_ok(),
            result => result.is_ok(),
        }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a ring's worker and the handler of messages change.
pub struct State {
    /// The indices and addresses.
    pub queue: Queue,
    /// As VHOST_USER_SET_VRING_ENABLE says.
    pub enabled: bool,
}

impl State {
    /// Whether requests are taken.
    pub fn runs(&self) -> bool {
        self.enabled && self.queue.ready()
    }
}

/// A virtqueue.
pub struct Ring {
    state: Mutex<State>,
    kick: Mutex<Option<Event>>,
    call: Mutex<Option<Event>>,
    /// What is being written to.
    held: Mutex<Option<Event>>,
}

impl Ring {
    /// One that does not run.
    pub fn new(size: usize) -> Result<Self, Error> {
        let queue = Queue::new(u16::try_from(size).unwrap_or(u16::MAX))?;
        Ok(Self {
            state: Mutex::new(State { queue, enabled: false }),
            kick: Mutex::default(),
            call: Mutex::default(),
            held: Mutex::default(),
        })
    }

    /// Its state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What the driver kicks.
    pub fn kick(&self) -> Option<Event> {
        self.kick.lock().clone()
    }

    /// Changes it.
    pub fn set_kick(&self, event: Option<Event>) {
        *self.kick.lock() = event;
    }

    /// Changes what calls the driver.
    pub fn set_call(&self, event: Option<Event>) {
        *self.call.lock() = event;
    }

    /// Calls the driver. Only the ring's worker does.
    pub fn call(&self) {
        let call = self.call.lock().clone();
        if let Some(call) = call {
            *self.held.lock() = Some(call.clone());
            call.write();
            *self.held.lock() = None;
        }
    }

    /// Once the driver is gone: frees a worker that waits until its eventfd takes a word.
    pub fn release(&self) {
        // Others may wait beside it, and be first.
        const TIMES: usize = 1000;
        let held = self.held.lock().clone();
        if let Some(held) = held {
            (0..TIMES).take_while(|_| held.read()).for_each(drop);
        }
    }
}
