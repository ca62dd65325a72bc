//! Whether the memory that a driver passes can be used. A file that shrinks under a mapping, or has no page left for it,
//! ends a process that touches the mapping, and with it what it does for everybody else.

use rustix::fs::{SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs};
use vm_memory::{FileOffset, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// The type of hugetlbfs, from statfs(2).
const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;

/// Regions at most: each is a file descriptor of the daemon's.
pub const MAX_REGIONS: usize = 32;

/// Which memory is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MemoryRule {
    /// Files that cannot shrink: of memfd_create(2), sealed or sealable, and not of huge pages.
    #[default]
    Sealed,
    /// Any: whoever passes it can end the daemon.
    Any,
}

/// What is wrong with a driver's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Too much.
    #[error("it is {0} bytes, and {1} are allowed (max_memory)")]
    TooMuch(u64, u64),
    /// In too many pieces.
    #[error("it is {0} regions, and {MAX_REGIONS} are allowed")]
    TooMany(usize),
    /// A region without a file.
    #[error("a region has no file")]
    NoFile,
    /// A file that can shrink.
    #[error(
        "it can shrink under the device: it must come from memfd_create with MFD_ALLOW_SEALING and not be of huge pages, \
         or the accelerator be configured with memory = \"any\""
    )]
    CanShrink,
    /// A region that goes past its file's end.
    #[error("a region goes past the end of its file")]
    PastEnd,
}

/// Checks all of a driver's memory.
pub fn check(memory: &GuestMemoryMmap, rule: MemoryRule, limit: u64) -> Result<(), MemoryError> {
    let total = memory.iter().fold(0u64, |sum, region| sum.saturating_add(region.len()));
    if total > limit {
        return Err(MemoryError::TooMuch(total, limit));
    }
    if memory.num_regions() > MAX_REGIONS {
        return Err(MemoryError::TooMany(memory.num_regions()));
    }
    memory.iter().try_for_each(|region| {
        let file = region.file_offset().ok_or(MemoryError::NoFile)?;
        if rule == MemoryRule::Sealed {
            seal(file)?;
        }
        let end = file.start().checked_add(region.len()).ok_or(MemoryError::PastEnd)?;
        let size = fstat(file.file()).map_err(|_| MemoryError::PastEnd)?.st_size;
        if u64::try_from(size).is_ok_and(|size| end <= size) { Ok(()) } else { Err(MemoryError::PastEnd) }
    })
}

/// Makes sure that the file cannot shrink any more, and has all the pages it can have.
fn seal(file: &FileOffset) -> Result<(), MemoryError> {
    let file = file.file();
    let huge = fstatfs(file).is_ok_and(|system| system.f_type == HUGETLBFS_MAGIC);
    let sealed = |seals: SealFlags| seals.contains(SealFlags::SHRINK);
    let now = fcntl_get_seals(file).map_err(|_| MemoryError::CanShrink)?;
    if huge || !sealed(now) && fcntl_add_seals(file, SealFlags::SHRINK).is_err() {
        return Err(MemoryError::CanShrink);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::fs::File;
    use vm_memory::GuestAddress;

    const SIZE: usize = 1 << 16;

    fn memory(file: File, size: usize) -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges_with_files([(GuestAddress(0), size, Some(FileOffset::new(file, 0)))]).unwrap()
    }

    fn memfd(flags: MemfdFlags) -> File {
        let file = memfd_create("test", flags).unwrap();
        ftruncate(&file, SIZE as u64).unwrap();
        file.into()
    }

    #[test]
    fn memory_that_was_checked_cannot_shrink() {
        let file = memfd(MemfdFlags::ALLOW_SEALING);
        let ours = memory(file.try_clone().unwrap(), SIZE);
        assert_eq!(check(&ours, MemoryRule::Sealed, SIZE as u64), Ok(()));
        assert!(ftruncate(&file, 0).is_err());
        assert_eq!(check(&ours, MemoryRule::Sealed, SIZE as u64), Ok(()), "again");
        let refused = check(&ours, MemoryRule::Sealed, SIZE as u64 - 1);
        assert_eq!(refused, Err(MemoryError::TooMuch(SIZE as u64, SIZE as u64 - 1)));
    }

    #[test]
    fn memory_that_can_shrink_is_refused() {
        let ours = memory(memfd(MemfdFlags::empty()), SIZE);
        assert_eq!(check(&ours, MemoryRule::Sealed, 1 << 30), Err(MemoryError::CanShrink));
        assert_eq!(check(&ours, MemoryRule::Any, 1 << 30), Ok(()));
        let ours =
            memory(tempfile::tempfile().and_then(|file| file.set_len(SIZE as u64).map(|()| file)).unwrap(), SIZE);
        assert_eq!(check(&ours, MemoryRule::Sealed, 1 << 30), Err(MemoryError::CanShrink));
    }

    #[test]
    fn memory_in_too_many_pieces_is_refused() {
        let file = memfd(MemfdFlags::ALLOW_SEALING);
        let pieces = |count: u64| {
            let of = |at: u64| (GuestAddress(0x1000 * at), 0x1000, Some(FileOffset::new(file.try_clone().unwrap(), 0)));
            check(&GuestMemoryMmap::from_ranges_with_files((0..count).map(of)).unwrap(), MemoryRule::Sealed, 1 << 30)
        };
        assert_eq!(pieces(32), Ok(()));
        assert_eq!(pieces(33), Err(MemoryError::TooMany(33)));
    }

    #[test]
    fn memory_that_has_shrunk_is_refused() {
        let file = memfd(MemfdFlags::ALLOW_SEALING);
        let ours = memory(file.try_clone().unwrap(), SIZE);
        ftruncate(&file, 4096).unwrap();
        for rule in [MemoryRule::Sealed, MemoryRule::Any] {
            assert_eq!(check(&ours, rule, 1 << 30), Err(MemoryError::PastEnd));
        }
    }
}
