//! Memory that a device on the bus reaches: huge pages, each of which lies in one piece in the machine's memory and stays where
//! it is, and the addresses that the machine itself has for them. Called when a device is opened.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::mm::{MapFlags, ProtFlags};
use vm_memory::{MmapRegion, mmap::MmapRegionError};

use crate::transport::TransportError;

/// Bytes of a huge page.
pub(super) const HUGE: usize = 2 << 20;
/// Bytes of the pages that the kernel speaks of.
const FRAME: usize = 4096;
/// Whatever size is the machine's usual one.
const HUGE_2MB: MapFlags = MapFlags::HUGE_2MB;

/// Why the machine's addresses are not known.
pub(super) enum Unknown {
    /// The kernel does not say.
    Hidden,
    /// It says what cannot be.
    Wrong(String),
}

/// Bytes in whole huge pages.
pub(super) fn whole(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(HUGE)
}

/// Memory of nobody else's, but kept by a child of this process, as the device keeps it.
fn anonymous(bytes: usize, flags: MapFlags) -> Result<MmapRegion, MmapRegionError> {
    let access = (ProtFlags::READ | ProtFlags::WRITE).bits().cast_signed();
    let flags = (MapFlags::SHARED | flags).bits().cast_signed() | libc::MAP_ANONYMOUS;
    MmapRegion::build(None, bytes, access, flags)
}

/// Pages of any size, `bytes` in all.
pub(super) fn small_pages(bytes: usize) -> Result<MmapRegion, TransportError> {
    let bytes = bytes.max(1).next_multiple_of(rustix::param::page_size());
    anonymous(bytes, MapFlags::empty()).map_err(|why| TransportError::new("memory to share", why))
}

/// Huge pages of `bytes` in all.
pub(super) fn huge_pages(bytes: usize) -> Result<MmapRegion, TransportError> {
    // Without MAP_NORESERVE the kernel says now whether there are enough, and not by a signal later.
    let flags = MapFlags::POPULATE | MapFlags::HUGETLB | HUGE_2MB;
    anonymous(whole(bytes), flags).map_err(|why| {
        let pages = whole(bytes) / HUGE;
        let free = free_pages().map_or_else(String::new, |free| format!(", {free} are free"));
        let what = format!("{pages} huge pages of 2 MiB are needed{free} (see /proc/sys/vm/nr_hugepages)");
        TransportError::new(&what, why)
    })
}

/// Huge pages that nobody has.
fn free_pages() -> Option<usize> {
    std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").ok()?.trim().parse().ok()
}

/// The machine's addresses of huge pages, in their order.
pub(super) fn physical(region: &MmapRegion) -> Result<Vec<u64>, Unknown> {
    let failed = |why: io::Error| Unknown::Wrong(format!("reading /proc/self/pagemap: {why}"));
    let pagemap = File::open("/proc/self/pagemap").map_err(failed)?;
    let first = region.as_ptr().addr();
    (0..region.size() / HUGE)
        .map(|page| {
            // All frames of the page, of which only the first and the last one are looked at.
            let entry = |frame: usize| {
                let mut bytes = [0; 8];
                let at = (first + page * HUGE) / FRAME + frame;
                pagemap.read_exact_at(&mut bytes, at as u64 * 8).map_err(failed)?;
                Ok(u64::from_ne_bytes(bytes))
            };
            address(entry(0)?, entry(HUGE / FRAME - 1)?)
        })
        .collect()
}

/// The address of a huge page, from what the kernel says of its first and its last frame.
fn address(first: u64, last: u64) -> Result<u64, Unknown> {
    const PRESENT: u64 = 1 << 63;
    const NUMBER: u64 = (1 << 55) - 1;
    let frames = (HUGE / FRAME) as u64;
    if first & PRESENT == 0 || last & PRESENT == 0 {
        return Err(Unknown::Wrong("a huge page is not in memory".into()));
    }
    let (first, last) = (first & NUMBER, last & NUMBER);
    if first == 0 && last == 0 {
        return Err(Unknown::Hidden);
    }
    if first % frames != 0 || last != first + frames - 1 {
        return Err(Unknown::Wrong("a huge page is not in one piece".into()));
    }
    Ok(first * FRAME as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_whole_huge_pages() {
        const PRESENT: u64 = 1 << 63;
        let of = |first: u64, last: u64| match address(first, last) {
            Ok(address) => format!("{address:#x}"),
            Err(Unknown::Hidden) => "hidden".into(),
            Err(Unknown::Wrong(why)) => why,
        };
        assert_eq!(of(PRESENT | 512, PRESENT | 1023), "0x200000");
        assert_eq!(of(PRESENT | 1 << 61 | 1024, PRESENT | 1535), "0x400000", "flags are no part of the number");
        assert_eq!(of(PRESENT, PRESENT), "hidden");
        assert_eq!(of(512, 1023), "a huge page is not in memory");
        assert_eq!(of(PRESENT | 513, PRESENT | 1024), "a huge page is not in one piece");
        assert_eq!(of(PRESENT | 512, PRESENT | 1024), "a huge page is not in one piece");
    }

    #[test]
    fn lengths_are_whole_pages() {
        assert_eq!([0, 1, HUGE, HUGE + 1].map(whole), [HUGE, HUGE, HUGE, 2 * HUGE]);
    }
}
