//! Registers of a device, mapped from the bus. The device may show anything at any time, so that each access reads a number
//! and checks nothing else. Any thread.

use std::sync::atomic::Ordering::Relaxed;

use rustix::mm::{MapFlags, ProtFlags};
use vm_memory::{AtomicAccess, Bytes, FileOffset, MmapRegion, VolatileMemory};

use super::{Bus, Window};
use crate::transport::TransportError;

/// A mapped window of a BAR.
pub(super) struct Mapped {
    region: MmapRegion,
    /// Where the window begins in the region, which begins with a page.
    start: usize,
    length: usize,
}

impl Mapped {
    /// Maps a window, which is within its BAR.
    pub(super) fn new(bus: &dyn Bus, window: Window) -> Result<Self, TransportError> {
        let failed = |why: &dyn std::fmt::Display| {
            TransportError::new(&format!("mapping BAR {} of the device", window.bar), why)
        };
        let (file, base) = bus.bar(window.bar)?;
        let start = window.offset % rustix::param::page_size() as u64;
        let sizes = (usize::try_from(start), usize::try_from(window.length));
        let (Ok(start), Ok(length)) = sizes else { return Err(failed(&"it is too long")) };
        let from = FileOffset::new(file, base + window.offset - start as u64);
        let (access, flags) = ((ProtFlags::READ | ProtFlags::WRITE).bits(), MapFlags::SHARED.bits());
        let region = MmapRegion::build(Some(from), start + length, access.cast_signed(), flags.cast_signed())
            .map_err(|why| failed(&why))?;
        Ok(Self { region, start, length })
    }

    /// Bytes of the window.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Reads a register; 0 where there is none.
    pub(super) fn load<T: AtomicAccess + Default>(&self, offset: usize) -> T {
        let slice = self.region.get_slice(self.start + offset, size_of::<T>());
        slice.and_then(|slice| slice.load(0, Relaxed)).unwrap_or_default()
    }

    /// Writes a register.
    pub(super) fn store<T: AtomicAccess>(&self, offset: usize, value: T) {
        if let Ok(slice) = self.region.get_slice(self.start + offset, size_of::<T>()) {
            let _ = slice.store(value, 0, Relaxed);
        }
    }
}
