//! One accelerator with those who have it open.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

use parking_lot::Mutex;

use crate::{Accelerator, Error, Key, service::Service};

/// How an accelerator is opened (document 6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// By one application alone.
    Exclusive,
    /// By any number of applications.
    Shared,
}

#[derive(Default)]
struct Occupancy {
    clients: Vec<Key>,
    exclusive: bool,
}

/// An accelerator that has been found.
pub(crate) struct Slot {
    pub name: String,
    pub instance_id: u32,
    /// PCI vendor and device, or what stands for them.
    pub identity: (u16, u16),
    pub backend: Box<dyn Accelerator>,
    pub service: Service,
    gone: AtomicBool,
    occupancy: Mutex<Occupancy>,
}

impl Slot {
    pub(crate) fn new(name: String, instance_id: u32, identity: (u16, u16), backend: Box<dyn Accelerator>) -> Self {
        Self {
            name,
            instance_id,
            identity,
            backend,
            service: Service::new(),
            gone: AtomicBool::new(false),
            occupancy: Mutex::default(),
        }
    }

    /// Whether the accelerator was removed.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Acquire)
    }

    /// Takes the accelerator away from everybody; those who have it open.
    pub(crate) fn remove(&self) -> Vec<Key> {
        let occupancy = self.occupancy.lock();
        self.gone.store(true, Release);
        occupancy.clients.clone()
    }

    /// Whether an open in some mode would succeed.
    pub(crate) fn is_available(&self) -> bool {
        !self.is_gone() && !self.occupancy.lock().exclusive
    }

    /// Occupies the accelerator for the client that `make` makes (R24).
    pub(crate) fn occupy(self: &Arc<Self>, mode: OpenMode, make: impl FnOnce() -> Option<Key>) -> Result<Key, Error> {
        let mut occupancy = self.occupancy.lock();
        if self.is_gone() {
            return Err(crate::error::GONE);
        }
        if occupancy.exclusive || mode == OpenMode::Exclusive && !occupancy.clients.is_empty() {
            return Err(Error::Busy);
        }
        let key = make().ok_or(Error::Full("handles"))?;
        occupancy.exclusive = mode == OpenMode::Exclusive;
        occupancy.clients.push(key);
        Ok(key)
    }

    /// Ends an occupation.
    pub(crate) fn leave(&self, client: Key) {
        let mut occupancy = self.occupancy.lock();
        occupancy.clients.retain(|other| *other != client);
        occupancy.exclusive = false;
    }
}
