//! Who is attached to an accelerator, and who may be. Control workers of all its connections ask.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use gipsec_virtio::message::{
    RequestStatus,
    config::{OPEN_EXCLUSIVE, OPEN_SHARED},
    control::AttachMode,
};
use parking_lot::Mutex;

#[derive(Clone, Copy)]
enum Taken {
    Free,
    Exclusively,
    Shared(usize),
}

/// The places of one accelerator.
pub struct Place {
    taken: Mutex<Taken>,
    /// Clients in shared mode at most; 0: only exclusive ones.
    shared: AtomicUsize,
    /// Whether one may have all of it.
    exclusive: AtomicBool,
}

impl Place {
    /// For this many clients in shared mode, and for one in exclusive mode.
    pub fn new(shared: usize, exclusive: bool) -> Self {
        Self { taken: Mutex::new(Taken::Free), shared: shared.into(), exclusive: exclusive.into() }
    }

    /// Changes who may attach; those that are there stay.
    pub fn change(&self, shared: usize, exclusive: bool) {
        self.shared.store(shared, Relaxed);
        self.exclusive.store(exclusive, Relaxed);
    }

    /// Takes a place.
    pub fn attach(&self, mode: AttachMode) -> Result<(), RequestStatus> {
        let mut taken = self.taken.lock();
        let shared = self.shared.load(Relaxed);
        *taken = match (mode, *taken) {
            (AttachMode::Exclusive, Taken::Free) if self.exclusive.load(Relaxed) => Taken::Exclusively,
            (AttachMode::Shared, Taken::Free) if shared > 0 => Taken::Shared(1),
            (AttachMode::Shared, Taken::Shared(count)) if shared > 0 => match count < shared {
                true => Taken::Shared(count + 1),
                false => return Err(RequestStatus::Full),
            },
            _ => return Err(RequestStatus::Busy),
        };
        Ok(())
    }

    /// Gives it back.
    pub fn detach(&self) {
        let mut taken = self.taken.lock();
        *taken = match *taken {
            Taken::Shared(count) if count > 1 => Taken::Shared(count - 1),
            _ => Taken::Free,
        };
    }

    /// What an ATTACH would get now, as the configuration space has it.
    pub fn open_modes(&self) -> u8 {
        let shared = self.shared.load(Relaxed);
        let of_shared = |count| if count < shared { OPEN_SHARED } else { 0 };
        match *self.taken.lock() {
            Taken::Free if self.exclusive.load(Relaxed) => OPEN_EXCLUSIVE | of_shared(0),
            Taken::Free => of_shared(0),
            Taken::Shared(count) => of_shared(count),
            Taken::Exclusively => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttachMode::{Exclusive, Shared};

    #[test]
    fn one_alone_or_several_together() {
        let place = Place::new(2, true);
        assert_eq!(place.open_modes(), OPEN_EXCLUSIVE | OPEN_SHARED);
        assert_eq!(place.attach(Shared), Ok(()));
        assert_eq!(place.attach(Exclusive), Err(RequestStatus::Busy));
        assert_eq!(place.open_modes(), OPEN_SHARED);
        assert_eq!(place.attach(Shared), Ok(()));
        assert_eq!(place.open_modes(), 0);
        assert_eq!(place.attach(Shared), Err(RequestStatus::Full));
        place.detach();
        place.detach();
        assert_eq!(place.attach(Exclusive), Ok(()));
        assert_eq!(place.attach(Exclusive), Err(RequestStatus::Busy));
        assert_eq!(place.attach(Shared), Err(RequestStatus::Busy));
        assert_eq!(place.open_modes(), 0);
        place.detach();
        assert_eq!(place.open_modes(), OPEN_EXCLUSIVE | OPEN_SHARED);
    }

    #[test]
    fn a_device_that_is_not_shared_takes_one() {
        let place = Place::new(0, true);
        assert_eq!(place.open_modes(), OPEN_EXCLUSIVE);
        assert_eq!(place.attach(Shared), Err(RequestStatus::Busy));
        assert_eq!(place.attach(Exclusive), Ok(()));
        assert_eq!(place.attach(Exclusive), Err(RequestStatus::Busy));
    }

    #[test]
    fn one_that_is_shared_alone_is_nobodys() {
        let place = Place::new(2, false);
        assert_eq!(place.open_modes(), OPEN_SHARED);
        assert_eq!(place.attach(Exclusive), Err(RequestStatus::Busy));
        assert_eq!(place.attach(Shared), Ok(()));
        place.detach();
        place.change(2, true);
        assert_eq!(place.attach(Exclusive), Ok(()));
    }
}
