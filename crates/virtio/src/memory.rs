//! Memory that driver and device both map: rings, messages, packets. The device may write any of it at any time, so that it
//! is copied from and to, or read as atomic numbers; no reference to its bytes exists here. `vm-memory` does the accesses.

use std::{
    io,
    ops::Range,
    os::fd::AsFd,
    sync::atomic::{
        AtomicU8,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use rustix::{
    fs::{MemfdFlags, SealFlags},
    mm::{MapFlags, ProtFlags, mmap},
};
use vm_memory::{AtomicAccess, Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

/// How the device addresses the memory.
enum Addresses {
    /// In one piece, from here on.
    Linear(u64),
    /// In pages of this many bytes, each at its own address.
    Pages(usize, Vec<u64>),
}

/// Memory that both sides map.
pub struct Memory {
    region: MmapRegion,
    addresses: Addresses,
}

impl Memory {
    /// `len` bytes that can be handed to another process, zero at first. The device addresses them from `base` on.
    pub fn shared(len: usize, base: u64) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("gipsec", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, len as u64)?;
        // Nobody can take the memory away from under us.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let region = MmapRegion::from_file(FileOffset::new(file.into(), 0), len).map_err(io::Error::other)?;
        Ok(Self { region, addresses: Addresses::Linear(base) })
    }

    /// Pages that the device reaches each at its own address.
    pub fn pages(region: MmapRegion, page_size: usize, addresses: Vec<u64>) -> io::Result<Self> {
        if page_size == 0 || addresses.len().checked_mul(page_size) != Some(region.size()) {
            return Err(io::Error::other("as many addresses as pages"));
        }
        Ok(Self { region, addresses: Addresses::Pages(page_size, addresses) })
    }

    /// Its file, for a device in another process.
    pub fn file(&self) -> Option<impl AsFd> {
        self.region.file_offset().map(FileOffset::file)
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.region.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it begins in this process.
    pub fn start(&self) -> *mut u8 {
        self.region.as_ptr()
    }

    /// The place in it of what lies at an address of this process, if all of it does, and in one piece for the device.
    #[inline]
    pub fn offset_of(&self, address: *const u8, len: usize) -> Option<usize> {
        let offset = address.addr().checked_sub(self.region.as_ptr().addr())?;
        (offset < self.len() && len <= self.len() - offset && self.is_one_piece(offset, len)).then_some(offset)
    }

    /// Whether the device sees bytes as one piece.
    #[inline]
    pub fn is_one_piece(&self, offset: usize, len: usize) -> bool {
        match self.addresses {
            Addresses::Linear(_) => true,
            Addresses::Pages(size, _) => len <= size - offset % size,
        }
    }

    /// What the device calls the byte at an offset.
    #[inline]
    pub fn device_address(&self, offset: usize) -> u64 {
        match &self.addresses {
            Addresses::Linear(base) => base + offset as u64,
            Addresses::Pages(size, addresses) => {
                addresses.get(offset / size).map_or(0, |page| page + (offset % size) as u64)
            }
        }
    }

    /// Nothing that the device sees as one piece may cross a multiple of this.
    pub fn granule(&self) -> usize {
        match self.addresses {
            Addresses::Linear(_) => usize::MAX,
            Addresses::Pages(size, _) => size,
        }
    }

    /// Parts from the other process that maps an area, which begins with a page: what it writes there afterwards is not
    /// seen here, and what is in the ranges `kept` is as it was. Who uses it meanwhile notices nothing.
    #[expect(unsafe_code, reason = "a mapping takes the place of another one, and is touched")]
    pub fn part(&self, area: Range<usize>, kept: impl Iterator<Item = Range<usize>>) {
        let page = rustix::param::page_size();
        let Some(file) = self.region.file_offset().filter(|from| from.start() == 0) else { return };
        if area.is_empty() || area.end > self.len() || !area.start.is_multiple_of(page) {
            return;
        }
        let (start, access) = (self.start().wrapping_add(area.start), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: the area lies in the region, which unmaps whatever is there in the end. The same bytes of the same file are
        // mapped in its place at once, so that every pointer into it stays valid.
        let parted = unsafe {
            let flags = MapFlags::PRIVATE | MapFlags::FIXED;
            mmap(start.cast(), area.len(), access, flags, file.file(), area.start as u64)
        };
        if parted.is_err() {
            return;
        }
        for range in kept.filter(|range| area.start <= range.start && range.end <= area.end) {
            for at in (range.start / page * page..range.end).step_by(page) {
                // SAFETY: the byte lies in the area, which is mapped for reading and writing, and others may use it, too.
                let byte = unsafe { AtomicU8::from_ptr(self.start().wrapping_add(at)) };
                // Written as it is, the page becomes a copy. What another thread writes meanwhile is not lost.
                let now = byte.load(Relaxed);
                let _ = byte.compare_exchange(now, now, Relaxed, Relaxed);
            }
        }
    }

    fn slice(&self, offset: usize, len: usize) -> Option<VolatileSlice<'_>> {
        self.region.get_slice(offset, len).ok()
    }

    /// Copies bytes in. What does not fit is a defect of ours, and left out.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let slice = self.slice(offset, bytes.len());
        debug_assert!(slice.is_some());
        if let Some(slice) = slice {
            slice.copy_from(bytes);
        }
    }

    /// Copies bytes out; whether they are there.
    #[inline]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> bool {
        let slice = self.slice(offset, bytes.len());
        slice.map(|slice| slice.copy_to(bytes)).is_some()
    }

    /// Overwrites bytes with zeros.
    pub fn wipe(&self, offset: usize, len: usize) {
        const ZEROS: [u8; 256] = [0; 256];
        for at in (0..len).step_by(ZEROS.len()) {
            self.write(offset + at, &ZEROS[..ZEROS.len().min(len - at)]);
        }
    }

    /// Reads a number that the device writes, before whatever is read after it.
    #[inline]
    pub fn load<T: AtomicAccess>(&self, offset: usize) -> Option<T> {
        self.slice(offset, size_of::<T>())?.load(0, Acquire).ok()
    }

    /// Writes a number that the device reads, after whatever was written before it.
    #[inline]
    pub fn store<T: AtomicAccess>(&self, offset: usize, value: T) {
        if let Some(slice) = self.slice(offset, size_of::<T>()) {
            let _ = slice.store(value, 0, Release);
        }
    }

    /// Writes a number in no order.
    #[inline]
    pub fn store_relaxed<T: AtomicAccess>(&self, offset: usize, value: T) {
        if let Some(slice) = self.slice(offset, size_of::<T>()) {
            let _ = slice.store(value, 0, Relaxed);
        }
    }
}
