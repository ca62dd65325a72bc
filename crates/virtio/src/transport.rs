//! How the driver reaches a device: over a vhost-user socket, or on the PCI bus.

pub mod pci;
pub mod vhost_user;

use std::{os::fd::BorrowedFd, sync::Arc};

use crate::{memory::Memory, message::Config};

/// Why a device cannot be reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

impl TransportError {
    /// What was tried, and how it failed.
    pub fn new(what: &str, why: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

/// Where a queue lies: offsets into the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlace {
    /// Its number.
    pub queue: usize,
    /// Descriptors, a power of 2.
    pub size: u16,
    /// The descriptor table.
    pub descriptors: usize,
    /// The available ring.
    pub available: usize,
    /// The used ring.
    pub used: usize,
}

/// A device, and the memory that it shares with us. Any thread may use it.
pub trait Transport: Send + Sync {
    /// The features that it offers.
    fn features(&self) -> u64;

    /// Its configuration, as it was when it was reached.
    fn config(&self) -> Config;

    /// How many descriptors a queue may have; 0: there is no such queue.
    fn max_queue_size(&self, queue: usize) -> u16;

    /// The memory that both sides map.
    fn memory(&self) -> &Arc<Memory>;

    /// Accepts features, sets up queues, and sets DRIVER_OK. Once.
    fn start(&mut self, features: u64, queues: &[QueuePlace]) -> Result<(), TransportError>;

    /// Tells the device to look at a queue.
    fn kick(&self, queue: usize);

    /// Readable when the device has used buffers of a queue and was asked to say so.
    fn interrupt(&self, queue: usize) -> Option<BorrowedFd<'_>>;

    /// Takes an interrupt, so that its descriptor is no longer readable.
    fn take_interrupt(&self, queue: usize);

    /// Whether one interrupt may stand for several queues, and whoever takes it may take another thread's.
    fn shares_interrupts(&self) -> bool;

    /// Readable, or hung up, when the device may be lost; then [`Transport::is_lost`] says whether it is.
    fn loss(&self) -> BorrowedFd<'_>;

    /// Whether the device is gone, or wants to be reset.
    fn is_lost(&self) -> bool;

    /// Takes the memory away from the device: afterwards it touches none of it that is not another process's, too. Whoever
    /// calls this waits until that is so.
    fn stop(&self);
}
