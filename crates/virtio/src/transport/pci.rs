//! A device on the PCI bus, driven from this process: `uio_pci_generic` or `vfio-pci` holds it for us. Its registers are
//! mapped from the bus, the memory is of huge pages, and the device is lost when it is unplugged, resets itself or says that
//! it needs a reset.
//!
//! Nothing that the device shows is trusted: the capability list, sizes, offsets and registers are checked, and no answer of
//! it is waited for without a bound. With `uio_pci_generic` the device reaches all memory of the machine; only `vfio-pci`
//! keeps it to what was given to it.
//!
//! [`find`] and [`open`] are called from control calls; any thread may use what they return.

mod bar;
mod capability;
mod common;
mod discovery;
mod dma;
#[cfg(test)]
mod fake;
#[expect(unsafe_code, reason = "VFIO is ioctls, and memory maps for a device")]
mod ioctl;
mod uio;
mod vfio;
mod virtio;

pub use capability::{Layout, Window, read as read_capabilities};
pub use discovery::{BoundDriver, DEFAULT_ID, IDS_VARIABLE, PciDevice, find, ids, look, parse_ids};
pub use virtio::Pci;

use std::{fs::File, os::fd::BorrowedFd, sync::Arc};

use crate::{memory::Memory, transport::TransportError};
use bar::Mapped;

/// What a kernel driver gives us of a device. Dropping it gives the device back.
trait Bus: Send + Sync {
    /// The first 256 bytes of the configuration space.
    fn config_space(&self) -> Result<Vec<u8>, TransportError>;

    /// Bytes that can be mapped of each BAR; 0: none.
    fn bar_sizes(&self) -> [u64; 6];

    /// Where a BAR can be mapped from: a file, and an offset in it.
    fn bar(&self, index: u8) -> Result<(File, u64), TransportError>;

    /// Answers memory accesses, and reads and writes memory, or stops doing the latter.
    fn set_mastering(&self, on: bool) -> Result<(), TransportError>;

    /// Memory that the device reaches. `physical`: at the addresses that the machine itself uses.
    fn memory(&mut self, bytes: usize, physical: bool) -> Result<Arc<Memory>, TransportError>;

    /// Interrupts for so many queues. `isr` is what a shared line is acknowledged with.
    fn interrupts(&mut self, queues: usize, isr: Mapped) -> Result<Vectors, TransportError>;

    /// The interrupt of a vector.
    fn interrupt(&self, vector: u16) -> Option<BorrowedFd<'_>>;

    /// Takes an interrupt; whether the device's configuration may have changed.
    fn take_interrupt(&self, vector: u16) -> bool;

    /// What hangs up or becomes readable when the device goes; which of the two counts.
    fn loss(&self) -> Vec<(BorrowedFd<'_>, rustix::event::epoll::EventFlags)>;

    /// Whether the device is going, or gone, as the kernel sees it.
    fn is_gone(&self) -> bool;

    /// Takes all memory away from the device.
    fn revoke(&self);
}

/// How interrupts were handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Vectors {
    /// Whether they are messages (MSI-X), which the device is told of.
    messages: bool,
    /// The vector of each queue.
    queues: Vec<u16>,
    /// The vector of changes to the configuration.
    config: Option<u16>,
}

impl Vectors {
    /// A line for all.
    fn line(queues: usize) -> Self {
        Self { messages: false, queues: vec![0; queues], config: None }
    }

    /// `count` messages among the queues and the configuration. The queues share one when there is none left for the
    /// configuration otherwise: only it tells of an idle device that needs a reset.
    fn messages(queues: usize, count: usize) -> Self {
        let each = count > queues;
        let vector = |queue: usize| if each { u16::try_from(queue).unwrap_or(0) } else { 0 };
        let last = if each { queues } else { 1 };
        Self {
            messages: true,
            queues: (0..queues).map(vector).collect(),
            config: u16::try_from(last).ok().filter(|_| count > last),
        }
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.queues.iter().chain(&self.config).max().map_or(0, |highest| usize::from(*highest) + 1)
    }

    /// Whether one stands for several queues.
    fn shared(&self) -> bool {
        self.queues.len() > 1 && self.queues.iter().all(|vector| *vector == 0)
    }
}

/// Opens a device with `pool_bytes` of memory to share, or a little more.
pub fn open(device: &PciDevice, pool_bytes: usize) -> Result<Pci, TransportError> {
    let named = |why: TransportError| TransportError::new(&device.name, why);
    let bus: Box<dyn Bus> = match device.driver {
        BoundDriver::Uio => Box::new(uio::Uio::open(device).map_err(named)?),
        BoundDriver::Vfio => Box::new(vfio::Vfio::open(device).map_err(named)?),
    };
    Pci::open(bus, pool_bytes).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::Vectors;

    #[test]
    fn vectors_are_handed_out_as_far_as_they_go() {
        let handed = |count| {
            let vectors = Vectors::messages(4, count);
            (vectors.queues.clone(), vectors.config, vectors.count(), vectors.shared())
        };
        assert_eq!(handed(1), (vec![0; 4], None, 1, true));
        assert_eq!(handed(2), (vec![0; 4], Some(1), 2, true));
        assert_eq!(handed(4), (vec![0; 4], Some(1), 2, true));
        assert_eq!(handed(5), (vec![0, 1, 2, 3], Some(4), 5, false));
        assert_eq!(handed(9), (vec![0, 1, 2, 3], Some(4), 5, false));
        assert_eq!(Vectors::messages(1, 1), Vectors { messages: true, queues: vec![0], config: None });
    }
}
