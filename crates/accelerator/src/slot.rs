//! One accelerator with those who have it open.

use std::{
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire},
        },
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{Accelerator, Error, Found, Key, OpenError, Provider, seam::OnLost, service::Service};

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
    /// There as long as somebody has it open.
    accelerator: Option<Arc<dyn Accelerator>>,
    /// There as long as the accelerator is ours, which may be a little longer than somebody has it open.
    ours: Weak<()>,
}

/// How long an accelerator that was left may stay ours: somebody still ends a call.
const LEAVING: Duration = Duration::from_millis(200);

/// An accelerator that has been found.
pub(crate) struct Slot {
    pub name: String,
    pub instance_id: u32,
    /// PCI vendor and device, or what stands for them.
    pub identity: (u16, u16),
    /// Whether it comes and goes by itself.
    pub discovered: bool,
    provider: Box<dyn Provider>,
    pub service: Service,
    gone: AtomicBool,
    occupancy: Mutex<Occupancy>,
}

impl Slot {
    pub(crate) fn new(found: Found, instance_id: u32, discovered: bool) -> Self {
        Self {
            name: found.name,
            instance_id,
            identity: found.identity,
            provider: found.provider,
            discovered,
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

    /// Takes the accelerator away from everybody; those who have it open, unless it was removed before.
    pub(crate) fn remove(&self) -> Option<Vec<Key>> {
        let occupancy = self.occupancy.lock();
        let removed_before = self.gone.swap(true, AcqRel);
        (!removed_before).then(|| occupancy.clients.clone())
    }

    /// Whether an open in some mode would succeed.
    pub(crate) fn is_available(&self) -> bool {
        if self.is_gone() {
            return false;
        }
        let occupancy = self.occupancy.lock();
        if !occupancy.clients.is_empty() {
            return !occupancy.exclusive;
        }
        // Asking takes time, which nobody else has to wait for.
        drop(occupancy);
        self.provider.is_available()
    }

    /// Whether nobody has it open, or is about to. Does not wait: others wait for whoever asks.
    pub(crate) fn is_free(&self) -> bool {
        self.occupancy.try_lock().is_some_and(|occupancy| occupancy.clients.is_empty())
    }

    /// Occupies the accelerator for the client that `make` makes (R24).
    pub(crate) fn occupy(
        self: &Arc<Self>,
        mode: OpenMode,
        application: &str,
        on_lost: impl Fn() -> OnLost,
        make: impl FnOnce(Arc<dyn Accelerator>) -> Option<Key>,
    ) -> Result<Key, OpenError> {
        // Dropped after the guard: leaving a device waits for its thread, which may be about to remove it here.
        let accelerator;
        let mut occupancy = self.occupancy.lock();
        if self.is_gone() {
            return Err(crate::error::GONE.into());
        }
        if occupancy.exclusive || mode == OpenMode::Exclusive && !occupancy.clients.is_empty() {
            return Err(Error::Busy.into());
        }
        accelerator = match &occupancy.accelerator {
            Some(accelerator) => accelerator.clone(),
            None => self.take(&mut occupancy, mode, application, on_lost)?,
        };
        let key = make(Arc::clone(&accelerator)).ok_or(Error::Full("handles"))?;
        occupancy.exclusive = mode == OpenMode::Exclusive;
        occupancy.clients.push(key);
        occupancy.accelerator = Some(accelerator);
        Ok(key)
    }

    /// Takes the accelerator. It is busy as long as it has not heard that we have left it.
    fn take(
        &self,
        occupancy: &mut Occupancy,
        mode: OpenMode,
        application: &str,
        on_lost: impl Fn() -> OnLost,
    ) -> Result<Arc<dyn Accelerator>, OpenError> {
        let begun = Instant::now();
        loop {
            // Whoever is told of a loss is dropped when the accelerator has been left.
            let (ours, tell) = (Arc::new(()), on_lost());
            let mark = Arc::downgrade(&ours);
            let on_lost = Box::new(move || {
                tell();
                drop(ours);
            });
            match self.provider.open(mode, application, on_lost) {
                Err(OpenError { error: Error::Busy, .. })
                    if occupancy.ours.strong_count() > 0 && begun.elapsed() < LEAVING =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                opened => {
                    if opened.is_ok() {
                        occupancy.ours = mark;
                    }
                    return opened;
                }
            }
        }
    }

    /// Ends an occupation.
    pub(crate) fn leave(&self, client: Key) {
        let mut occupancy = self.occupancy.lock();
        occupancy.clients.retain(|other| *other != client);
        occupancy.exclusive = false;
        let last = if occupancy.clients.is_empty() { occupancy.accelerator.take() } else { None };
        // Not under the guard, as above.
        drop(occupancy);
        drop(last);
    }
}
