//! A virtqueue as `vhost-user-backend` keeps it, with descriptors that cannot hold a worker: what the driver passes as an
//! eventfd may be anything, and reading or writing it must not block.

use std::{fs::File, io, sync::MutexGuard};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use vhost_user_backend::{VringMutex, VringState, VringStateGuard, VringStateMutGuard, VringT};
use virtio_queue::Error;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

/// The memory of a driver, as the handler of vhost-user messages changes it.
pub type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// A virtqueue, shared by its worker and the handler of messages.
#[derive(Clone)]
pub struct Ring(VringMutex<Memory>);

/// Makes sure that the descriptor does not block; a driver's eventfd that cannot be made so is not used.
fn nonblocking(file: Option<File>) -> Option<File> {
    file.filter(|file| fcntl_getfl(file).and_then(|flags| fcntl_setfl(file, flags | OFlags::NONBLOCK)).is_ok())
}

impl<'a> VringStateGuard<'a, Memory> for Ring {
    type G = MutexGuard<'a, VringState<Memory>>;
}

impl<'a> VringStateMutGuard<'a, Memory> for Ring {
    type G = MutexGuard<'a, VringState<Memory>>;
}

impl VringT<Memory> for Ring {
    fn new(memory: Memory, max_queue_size: u16) -> Result<Self, Error> {
        VringMutex::new(memory, max_queue_size).map(Self)
    }

    fn get_ref(&self) -> MutexGuard<'_, VringState<Memory>> {
        self.0.get_ref()
    }

    fn get_mut(&self) -> MutexGuard<'_, VringState<Memory>> {
        self.0.get_mut()
    }

    fn read_kick(&self) -> io::Result<bool> {
        match self.0.read_kick() {
            // Somebody else has read it: the queue is looked at all the same.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(self.0.get_ref().is_enabled()),
            result => result,
        }
    }

    fn set_kick(&self, file: Option<File>) {
        self.0.set_kick(nonblocking(file));
    }

    fn set_call(&self, file: Option<File>) {
        self.0.set_call(nonblocking(file));
    }

    fn set_err(&self, file: Option<File>) {
        self.0.set_err(nonblocking(file));
    }

    fn add_used(&self, desc_index: u16, len: u32) -> Result<(), Error> {
        self.0.add_used(desc_index, len)
    }

    fn signal_used_queue(&self) -> io::Result<()> {
        self.0.signal_used_queue()
    }

    fn enable_notification(&self) -> Result<bool, Error> {
        self.0.enable_notification()
    }

    fn disable_notification(&self) -> Result<(), Error> {
        self.0.disable_notification()
    }

    fn needs_notification(&self) -> Result<bool, Error> {
        self.0.needs_notification()
    }

    fn set_enabled(&self, enabled: bool) {
        self.0.set_enabled(enabled);
    }

    fn set_queue_info(&self, desc_table: u64, avail_ring: u64, used_ring: u64) -> Result<(), Error> {
        self.0.set_queue_info(desc_table, avail_ring, used_ring)
    }

    fn queue_next_avail(&self) -> u16 {
        self.0.queue_next_avail()
    }

    fn set_queue_next_avail(&self, base: u16) {
        self.0.set_queue_next_avail(base);
    }

    fn set_queue_next_used(&self, idx: u16) {
        self.0.set_queue_next_used(idx);
    }

    fn queue_used_idx(&self) -> Result<u16, Error> {
        self.0.queue_used_idx()
    }

    fn set_queue_size(&self, num: u16) {
        self.0.set_queue_size(num);
    }

    fn set_queue_event_idx(&self, enabled: bool) {
        self.0.set_queue_event_idx(enabled);
    }

    fn set_queue_ready(&self, ready: bool) {
        self.0.set_queue_ready(ready);
    }
}
