//! A device that `vfio-pci` holds: an IOMMU lets it reach nothing but the memory that is entered here, and interrupts are
//! messages that signal event descriptors. Needs the right to open the group in /dev/vfio. Any thread.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll::EventFlags, eventfd, poll};
use vfio_bindings::bindings::vfio::{
    VFIO_API_VERSION, VFIO_GROUP_FLAGS_VIABLE, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ERR_IRQ_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX, VFIO_REGION_INFO_FLAG_MMAP,
    vfio_region_info,
};
use vm_memory::MmapRegion;

use super::{Bus, Mapped, PciDevice, Vectors, capability, dma, ioctl};
use crate::{memory::Memory, transport::TransportError};

/// The command register of the configuration space, and its bits.
const COMMAND: u64 = 4;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
/// The interrupt status: the configuration has changed.
const ISR_CONFIG: u8 = 2;
/// Where the IOMMU shows memory to a device: above what 32 bits address, and the windows that are kept there.
const LINEAR: u64 = 1 << 32;

/// A device that is ours.
pub(super) struct Vfio {
    device: PciDevice,
    /// With an interrupt line: what acknowledges it.
    line: Option<Mapped>,
    // The order in which they are closed.
    file: File,
    _group: File,
    container: File,
    bars: [Option<vfio_region_info>; 6],
    config: vfio_region_info,
    /// Signalled when the device is to go, or has failed.
    going: OwnedFd,
    /// By vector.
    events: Vec<OwnedFd>,
    /// What the device may reach: address and bytes.
    entered: Mutex<Vec<(u64, u64)>>,
}

/// A node of /dev/vfio.
fn open(name: &str) -> Result<File, TransportError> {
    let path = format!("/dev/vfio/{name}");
    OpenOptions::new().read(true).write(true).open(&path).map_err(|why| match why.kind() {
        ErrorKind::ResourceBusy => TransportError::new(&path, "somebody else has it open"),
        ErrorKind::NotFound => TransportError::new(&path, "there is none; is vfio-pci loaded, and an IOMMU enabled?"),
        _ => TransportError::new(&path, why),
    })
}

/// The group of a device, opened for us.
pub(super) fn group(device: &PciDevice) -> Result<File, TransportError> {
    let number = fs::read_link(device.directory.join("iommu_group")).ok();
    let number = number.as_ref().and_then(|link| link.file_name()?.to_str());
    let number = number.ok_or_else(|| TransportError("it is in no IOMMU group; is an IOMMU enabled?".into()))?;
    let group = open(number)?;
    let flags = ioctl::group_flags(group.as_fd()).map_err(failed("the state of its IOMMU group"))?;
    if flags & VFIO_GROUP_FLAGS_VIABLE == 0 {
        let why = "all of its devices have to be bound to vfio-pci, or to nothing";
        return Err(TransportError::new(&format!("its IOMMU group {number} is not viable"), why));
    }
    Ok(group)
}

/// Something that fails in the words of VFIO.
fn failed(what: &'static str) -> impl Fn(io::Error) -> TransportError {
    move |why| TransportError::new(what, why)
}

/// An event descriptor.
fn event() -> Result<OwnedFd, TransportError> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|why| TransportError::new("an event descriptor", why))
}

impl Vfio {
    /// Opens a device that nobody else has open.
    pub(super) fn open(device: &PciDevice) -> Result<Self, TransportError> {
        let container = open("vfio")?;
        if ioctl::api_version(container.as_fd()).ok() != VFIO_API_VERSION.try_into().ok() {
            return Err(TransportError("/dev/vfio/vfio speaks another version of VFIO".into()));
        }
        if !ioctl::has_iommu(container.as_fd()).map_err(failed("asking VFIO for its IOMMU"))? {
            return Err(TransportError("VFIO has no IOMMU; is vfio_iommu_type1 loaded?".into()));
        }
        let group = group(device)?;
        ioctl::set_container(group.as_fd(), container.as_fd()).map_err(failed("taking its IOMMU group"))?;
        ioctl::set_iommu(container.as_fd()).map_err(failed("setting up the IOMMU"))?;
        let name = CString::new(device.name.as_str()).map_err(|why| TransportError::new("its name", why))?;
        let file: File = ioctl::device(group.as_fd(), &name).map_err(failed("opening it in its IOMMU group"))?.into();

        let region = |index| ioctl::region(file.as_fd(), index);
        let config = region(VFIO_PCI_CONFIG_REGION_INDEX).map_err(failed("its configuration space"))?;
        let mut index = 0..6;
        let bars = std::array::from_fn(|_| {
            let found = index.next().and_then(|index| region(index).ok());
            found.filter(|bar| bar.flags & VFIO_REGION_INFO_FLAG_MMAP != 0)
        });
        let going = event()?;
        for index in [VFIO_PCI_REQ_IRQ_INDEX, VFIO_PCI_ERR_IRQ_INDEX] {
            // Not every kernel and device has them: its registers tell, too.
            let _ = ioctl::signal(file.as_fd(), index, &[going.as_fd()]);
        }
        let (device, entered) = (device.clone(), Mutex::default());
        Ok(Self { device, file, _group: group, container, bars, config, going, events: vec![], line: None, entered })
    }

    /// Changes the command register.
    fn command(&self, change: impl FnOnce(u16) -> u16) -> io::Result<()> {
        let _one_at_a_time = self.entered.lock();
        let mut bytes = [0; 2];
        let at = self.config.offset + COMMAND;
        self.file.read_exact_at(&mut bytes, at)?;
        self.file.write_all_at(&change(u16::from_le_bytes(bytes)).to_le_bytes(), at)
    }

    /// Lets the device reach a part of a mapping.
    fn enter(&self, region: &MmapRegion, part: (usize, usize), address: u64) -> Result<(), TransportError> {
        ioctl::map(self.container.as_fd(), region, part, address).map_err(|why| match why.kind() {
            ErrorKind::OutOfMemory => TransportError::new("locking memory for it (see `ulimit -l`)", why),
            _ => TransportError::new(&format!("memory for it at {address:#x}"), why),
        })?;
        self.entered.lock().push((address, part.1 as u64));
        Ok(())
    }

    /// Huge pages at the machine's own addresses, or else one after the other.
    fn huge(&self, region: MmapRegion, physical: bool) -> Result<Arc<Memory>, TransportError> {
        let addresses = match physical {
            true => dma::physical(&region).map_err(|unknown| match unknown {
                dma::Unknown::Wrong(why) => TransportError(why),
                dma::Unknown::Hidden => TransportError(
                    "it ignores the IOMMU (no VIRTIO_F_ACCESS_PLATFORM), so that it needs root, which sees where pages are"
                        .into(),
                ),
            })?,
            false => (0..region.size() / dma::HUGE).map(|page| LINEAR + (page * dma::HUGE) as u64).collect(),
        };
        for (page, address) in addresses.iter().enumerate() {
            self.enter(&region, (page * dma::HUGE, dma::HUGE), *address)?;
        }
        Memory::pages(region, dma::HUGE, addresses).map(Arc::new).map_err(failed("huge pages"))
    }

    /// Signals an event for each of `count` interrupts of a kind.
    fn signal(&mut self, index: u32, count: usize) -> Result<(), TransportError> {
        self.events = (0..count).map(|_| event()).collect::<Result<_, _>>()?;
        let events: Vec<_> = self.events.iter().map(AsFd::as_fd).collect();
        ioctl::signal(self.file.as_fd(), index, &events).map_err(failed("enabling its interrupts"))
    }
}

impl Bus for Vfio {
    fn config_space(&self) -> Result<Vec<u8>, TransportError> {
        let mut space = vec![0; capability::SPACE];
        self.file.read_exact_at(&mut space, self.config.offset).map_err(failed("its configuration space"))?;
        Ok(space)
    }

    fn bar_sizes(&self) -> [u64; 6] {
        self.bars.each_ref().map(|bar| bar.as_ref().map_or(0, |bar| bar.size))
    }

    fn bar(&self, index: u8) -> Result<(File, u64), TransportError> {
        let bar = self.bars.get(usize::from(index)).and_then(Option::as_ref);
        let bar = bar.ok_or_else(|| TransportError("it has no such BAR".into()))?;
        Ok((self.file.try_clone().map_err(failed("its descriptor"))?, bar.offset))
    }

    fn set_mastering(&self, on: bool) -> Result<(), TransportError> {
        let change = |command| match on {
            true => command | COMMAND_MEMORY | COMMAND_MASTER,
            false => command & !COMMAND_MASTER,
        };
        self.command(change).map_err(failed("its command register"))
    }

    fn memory(&mut self, bytes: usize, physical: bool) -> Result<Arc<Memory>, TransportError> {
        match dma::huge_pages(bytes) {
            Ok(region) => self.huge(region, physical),
            Err(why) if physical => Err(why),
            // The IOMMU makes any memory one piece.
            Err(_) => {
                let region = dma::small_pages(bytes)?;
                let size = region.size();
                self.enter(&region, (0, size), LINEAR)?;
                Memory::pages(region, size, vec![LINEAR]).map(Arc::new).map_err(failed("memory to share"))
            }
        }
    }

    fn interrupts(&mut self, queues: usize, isr: Mapped) -> Result<Vectors, TransportError> {
        let count = ioctl::interrupts(self.file.as_fd(), VFIO_PCI_MSIX_IRQ_INDEX).unwrap_or(0);
        let vectors = Vectors::messages(queues, count);
        // The kernel may be told to use no messages, or have too few left.
        if count > 0 && self.signal(VFIO_PCI_MSIX_IRQ_INDEX, vectors.count()).is_ok() {
            return Ok(vectors);
        }
        self.signal(VFIO_PCI_INTX_IRQ_INDEX, 1)?;
        self.line = Some(isr);
        Ok(Vectors::line(queues))
    }

    fn interrupt(&self, vector: u16) -> Option<BorrowedFd<'_>> {
        self.events.get(usize::from(vector)).map(AsFd::as_fd)
    }

    fn take_interrupt(&self, vector: u16) -> bool {
        let Some(event) = self.events.get(usize::from(vector)) else { return false };
        if rustix::io::read(event, &mut [0; 8]).is_err() {
            return false;
        }
        let Some(isr) = &self.line else { return false };
        let changed = isr.load::<u8>(0) & ISR_CONFIG != 0;
        // The kernel has masked the line when it signalled; what has come since then raises it at once.
        let _ = ioctl::unmask(self.file.as_fd(), VFIO_PCI_INTX_IRQ_INDEX);
        changed
    }

    fn loss(&self) -> Vec<(BorrowedFd<'_>, EventFlags)> {
        vec![(self.going.as_fd(), EventFlags::IN)]
    }

    fn is_gone(&self) -> bool {
        // It is never taken: who is to go does not stay.
        let mut fds = [PollFd::new(&self.going, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) || !self.device.is_present()
    }

    fn revoke(&self) {
        let _ = self.set_mastering(false);
        for (address, length) in self.entered.lock().drain(..) {
            let _ = ioctl::unmap(self.container.as_fd(), address, length);
        }
    }
}
