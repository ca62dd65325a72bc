//! The calls of Linux' VFIO, each in a function that no argument makes unsafe: the only unsafe code of the PCI transport.
//! `vfio-ioctls` has them too, but panics when a device has gone from sysfs before it is closed. Any thread.

use std::{
    ffi::{CStr, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, VFIO_TYPE, VFIO_TYPE1v2_IOMMU,
    vfio_group_status, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap, vfio_irq_info, vfio_region_info,
};
use vm_memory::MmapRegion;

/// A call by its number after the first one, and what it is given.
struct Call(u32, *mut c_void);

// SAFETY: whoever makes one upholds what `call` asks for; the result is the number that the kernel returns.
unsafe impl Ioctl for Call {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::none(VFIO_TYPE, 0) + VFIO_BASE as Opcode + self.0 as Opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.1
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _argument: *mut c_void) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

/// A call whose argument is a number, or a pointer.
///
/// # Safety
///
/// The argument is what the call takes; a pointer is valid for as many bytes as the call reads or writes there.
unsafe fn call(fd: BorrowedFd<'_>, number: u32, argument: *mut c_void) -> io::Result<i32> {
    // SAFETY: the same contract.
    Ok(unsafe { rustix::ioctl::ioctl(fd, Call(number, argument)) }?)
}

/// A call that takes a number, not a pointer.
///
/// # Safety
///
/// The call is one that dereferences nothing.
unsafe fn call_number(fd: BorrowedFd<'_>, number: u32, argument: u32) -> io::Result<i32> {
    // SAFETY: the same contract.
    unsafe { call(fd, number, std::ptr::without_provenance_mut(argument as usize)) }
}

/// A call that takes a structure, and may change it.
///
/// # Safety
///
/// The structure is VFIO's for this call; what says how long it is says no more than that.
unsafe fn call_with<T>(fd: BorrowedFd<'_>, number: u32, argument: &mut T) -> io::Result<i32> {
    // SAFETY: the reference is valid for as many bytes as the structure has.
    unsafe { call(fd, number, std::ptr::from_mut(argument).cast()) }
}

/// The size of a structure, as VFIO wants it.
#[expect(clippy::cast_possible_truncation, reason = "structures of a few bytes")]
const fn size<T>() -> u32 {
    size_of::<T>() as u32
}

/// The version of VFIO.
pub(super) fn api_version(container: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: VFIO_GET_API_VERSION takes nothing.
    unsafe { call_number(container, 0, 0) }
}

/// Whether the container knows the usual kind of IOMMU.
pub(super) fn has_iommu(container: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: VFIO_CHECK_EXTENSION takes a number.
    Ok(unsafe { call_number(container, 1, VFIO_TYPE1v2_IOMMU) }? == 1)
}

/// Gives the container that kind of IOMMU.
pub(super) fn set_iommu(container: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: VFIO_SET_IOMMU takes a number.
    unsafe { call_number(container, 2, VFIO_TYPE1v2_IOMMU) }.map(|_| ())
}

/// The flags of a group.
pub(super) fn group_flags(group: BorrowedFd<'_>) -> io::Result<u32> {
    let mut status = vfio_group_status { argsz: size::<vfio_group_status>(), flags: 0 };
    // SAFETY: VFIO_GROUP_GET_STATUS takes this structure, which says its size.
    unsafe { call_with(group, 3, &mut status) }?;
    Ok(status.flags)
}

/// Puts a group into a container.
pub(super) fn set_container(group: BorrowedFd<'_>, container: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: VFIO_GROUP_SET_CONTAINER takes a pointer to a descriptor, an `int`, and reads it.
    unsafe { call_with(group, 4, &mut container.as_raw_fd()) }.map(|_| ())
}

/// A device of a group, by its address on the bus.
pub(super) fn device(group: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the name ends with a 0, and the kernel only reads it.
    let fd = unsafe { call(group, 6, name.as_ptr().cast_mut().cast()) }?;
    // SAFETY: the kernel has made this descriptor for us, and nobody else knows of it.
    let device = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::CLOEXEC)?;
    Ok(device)
}

/// What a region of a device is.
pub(super) fn region(device: BorrowedFd<'_>, index: u32) -> io::Result<vfio_region_info> {
    let mut info = vfio_region_info { argsz: size::<vfio_region_info>(), index, ..Default::default() };
    // SAFETY: VFIO_DEVICE_GET_REGION_INFO takes this structure, which says its size.
    unsafe { call_with(device, 8, &mut info) }?;
    Ok(info)
}

/// How many interrupts of a kind a device has.
pub(super) fn interrupts(device: BorrowedFd<'_>, index: u32) -> io::Result<usize> {
    let mut info = vfio_irq_info { argsz: size::<vfio_irq_info>(), index, ..Default::default() };
    // SAFETY: VFIO_DEVICE_GET_IRQ_INFO takes this structure, which says its size.
    unsafe { call_with(device, 9, &mut info) }?;
    Ok(info.count as usize)
}

/// What the call that sets interrupts takes: a header, and one descriptor for each.
fn set_interrupts(
    device: BorrowedFd<'_>,
    flags: u32,
    index: u32,
    count: u32,
    events: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut words = vec![0, flags, index, 0, count];
    words.extend(events.iter().map(|event| event.as_raw_fd().cast_unsigned()));
    words[0] = u32::try_from(size_of_val(words.as_slice())).map_err(io::Error::other)?;
    // SAFETY: a `vfio_irq_set` is five words, of which the first is the length of all that follow it; the kernel reads them.
    unsafe { call(device, 10, words.as_mut_ptr().cast()) }.map(|_| ())
}

/// Has the interrupts of a kind, from the first one on, signal events.
pub(super) fn signal(device: BorrowedFd<'_>, index: u32, events: &[BorrowedFd<'_>]) -> io::Result<()> {
    let count = u32::try_from(events.len()).map_err(io::Error::other)?;
    set_interrupts(device, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, count, events)
}

/// Lets an interrupt line that has been signalled signal again.
pub(super) fn unmask(device: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    set_interrupts(device, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, index, 1, &[])
}

/// Lets the devices of a container reach a part of a mapping at an address. The pages stay until [`unmap`] or the end of the
/// container, even when the mapping goes before.
pub(super) fn map(
    container: BorrowedFd<'_>,
    region: &MmapRegion,
    part: (usize, usize),
    address: u64,
) -> io::Result<()> {
    let (offset, length) = part;
    if offset.checked_add(length).is_none_or(|end| end > region.size()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut map = vfio_iommu_type1_dma_map {
        argsz: size::<vfio_iommu_type1_dma_map>(),
        flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        vaddr: (region.as_ptr().expose_provenance() + offset) as u64,
        iova: address,
        size: length as u64,
    };
    // SAFETY: VFIO_IOMMU_MAP_DMA takes this structure, which says its size; the memory is a part of the mapping.
    unsafe { call_with(container, 13, &mut map) }.map(|_| ())
}

/// Takes memory away again.
pub(super) fn unmap(container: BorrowedFd<'_>, address: u64, length: u64) -> io::Result<()> {
    let argsz = size::<vfio_iommu_type1_dma_unmap>();
    let mut unmap = vfio_iommu_type1_dma_unmap { argsz, iova: address, size: length, ..Default::default() };
    // SAFETY: VFIO_IOMMU_UNMAP_DMA takes this structure, which says its size.
    unsafe { call_with(container, 14, &mut unmap) }.map(|_| ())
}
