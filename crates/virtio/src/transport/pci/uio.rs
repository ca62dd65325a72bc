//! A device that `uio_pci_generic` holds: its BARs and its configuration space are files of sysfs, its interrupt line is
//! counted by /dev/uioN, and the device reaches all memory of the machine. Needs root. Any thread.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll::EventFlags, poll},
    fs::{FlockOperation, OFlags},
};

use super::{Bus, Mapped, PciDevice, Vectors, capability, dma};
use crate::{memory::Memory, transport::TransportError};

/// The command register of the configuration space, and its bits.
const COMMAND: u64 = 4;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_NO_LINE: u16 = 1 << 10;
/// The interrupt status: the configuration has changed.
const ISR_CONFIG: u8 = 2;
/// A line of `resource` that is memory.
const RESOURCE_MEMORY: u64 = 0x200;

/// A device that is ours.
pub(super) struct Uio {
    device: PciDevice,
    /// /dev/uioN.
    events: File,
    /// The configuration space, locked; taken for each change of a register.
    config: Mutex<File>,
    bars: [u64; 6],
    isr: Option<Mapped>,
}

/// A file, opened for reading and writing.
fn open(path: &Path) -> Result<File, TransportError> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|why| TransportError::new(&path.display().to_string(), why))
}

/// The configuration space of a device, locked for us. /dev/uioN is not touched before: whoever closes it, if only after a look,
/// takes the memory away from the device.
pub(super) fn claim(device: &PciDevice) -> Result<File, TransportError> {
    let config = open(&device.directory.join("config"))?;
    rustix::fs::flock(&config, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| TransportError("somebody else has it open".into()))?;
    Ok(config)
}

/// The node that counts a device's interrupts.
fn node(device: &PciDevice) -> Result<File, TransportError> {
    let nodes = fs::read_dir(device.directory.join("uio")).ok();
    let node = nodes.and_then(|mut nodes| nodes.next()?.ok());
    let node = node.ok_or_else(|| TransportError("uio_pci_generic has no node for it".into()))?;
    open(&Path::new("/dev").join(node.file_name()))
}

/// The sizes of the BARs that are memory, from the lines `first last flags` of the attribute `resource`.
fn bar_sizes(resource: &str) -> [u64; 6] {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let size = |line: &str| {
        let mut numbers = line.split_whitespace().map(number);
        let (first, last, flags) = (numbers.next()??, numbers.next()??, numbers.next()??);
        if flags & RESOURCE_MEMORY == 0 || first == 0 { None } else { last.checked_sub(first)?.checked_add(1) }
    };
    let mut lines = resource.lines();
    std::array::from_fn(|_| lines.next().and_then(size).unwrap_or(0))
}

impl Uio {
    /// Opens a device that nobody else has open.
    pub(super) fn open(device: &PciDevice) -> Result<Self, TransportError> {
        let read = |name: &str| {
            fs::read_to_string(device.directory.join(name))
                .map_err(|why| TransportError::new(&format!("its {name}"), why))
        };
        if read("irq")?.trim() == "0" {
            return Err(TransportError("it has no interrupt line, so that uio_pci_generic cannot serve it".into()));
        }
        let config = Mutex::new(claim(device)?);
        let events = node(device)?;
        let bars = bar_sizes(&read("resource")?);
        Ok(Self { device: device.clone(), events, config, bars, isr: None })
    }

    /// Changes the command register.
    fn command(&self, change: impl FnOnce(u16) -> u16) -> io::Result<()> {
        let config = self.config.lock();
        let mut bytes = [0; 2];
        config.read_exact_at(&mut bytes, COMMAND)?;
        config.write_all_at(&change(u16::from_le_bytes(bytes)).to_le_bytes(), COMMAND)
    }
}

impl Bus for Uio {
    fn config_space(&self) -> Result<Vec<u8>, TransportError> {
        let mut space = vec![0; capability::SPACE];
        let failed = |why| TransportError::new("its configuration space", why);
        self.config.lock().read_exact_at(&mut space, 0).map_err(failed)?;
        Ok(space)
    }

    fn bar_sizes(&self) -> [u64; 6] {
        self.bars
    }

    fn bar(&self, index: u8) -> Result<(File, u64), TransportError> {
        Ok((open(&self.device.directory.join(format!("resource{index}")))?, 0))
    }

    fn set_mastering(&self, on: bool) -> Result<(), TransportError> {
        let change = |command| match on {
            true => command | COMMAND_MEMORY | COMMAND_MASTER,
            false => command & !COMMAND_MASTER,
        };
        self.command(change).map_err(|why| TransportError::new("its command register", why))
    }

    fn memory(&mut self, bytes: usize, physical: bool) -> Result<Arc<Memory>, TransportError> {
        // A device that says so goes through the IOMMU, which uio_pci_generic has nothing entered into.
        let group = fs::read_to_string(self.device.directory.join("iommu_group/type")).unwrap_or_default();
        if !physical && group.starts_with("DMA") {
            return Err(TransportError("an IOMMU keeps it from the memory; it needs vfio-pci".into()));
        }
        let region = dma::huge_pages(bytes)?;
        let addresses = dma::physical(&region).map_err(|unknown| match unknown {
            dma::Unknown::Hidden => {
                TransportError("the kernel hides where pages are; uio_pci_generic needs root".into())
            }
            dma::Unknown::Wrong(why) => TransportError(why),
        })?;
        let memory =
            Memory::pages(region, dma::HUGE, addresses).map_err(|why| TransportError::new("huge pages", why))?;
        Ok(Arc::new(memory))
    }

    fn interrupts(&mut self, queues: usize, isr: Mapped) -> Result<Vectors, TransportError> {
        self.isr = Some(isr);
        self.command(|command| command & !COMMAND_NO_LINE)
            .map_err(|why| TransportError::new("enabling its interrupt line", why))?;
        Ok(Vectors::line(queues))
    }

    fn interrupt(&self, _vector: u16) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn take_interrupt(&self, _vector: u16) -> bool {
        let mut count = [0; 4];
        match rustix::io::read(&self.events, &mut count) {
            Ok(_) => {}
            // Somebody else has taken it, and enables the line again.
            Err(why) => return why.kind() != ErrorKind::WouldBlock,
        }
        let isr = self.isr.as_ref().map_or(0, |isr| isr.load::<u8>(0));
        // The kernel has masked the line when it counted; what has come since then raises it at once.
        let _ = self.command(|command| command & !COMMAND_NO_LINE);
        isr & ISR_CONFIG != 0
    }

    fn loss(&self) -> Vec<(BorrowedFd<'_>, EventFlags)> {
        vec![(self.events.as_fd(), EventFlags::empty())]
    }

    fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.events, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) || !self.device.is_present()
    }

    fn revoke(&self) {
        let _ = self.command(|command| command & !COMMAND_MASTER | COMMAND_NO_LINE);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_memory_has_a_size() {
        let resource = "0x0000000000006000 0x000000000000607f 0x0000000000040101\n\
            0x00000000febd4000 0x00000000febd4fff 0x0000000000040200\n\
            0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
            0x0000000000000000 0x0000000000003fff 0x0000000000140204\n\
            0x000000fe00000000 0x000000fe00003fff 0x000000000014220c\n\
            nonsense\n";
        assert_eq!(super::bar_sizes(resource), [0, 0x1000, 0, 0, 0x4000, 0]);
        assert_eq!(super::bar_sizes(""), [0; 6]);
        assert_eq!(super::bar_sizes("0x2 0x1 0x200"), [0; 6]);
        assert_eq!(super::bar_sizes("0x1 0xffffffffffffffff 0x200"), [u64::MAX, 0, 0, 0, 0, 0]);
    }
}
