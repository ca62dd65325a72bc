//! Memory next to inaccessible pages.

/// Two accessible pages between two inaccessible ones.
pub(crate) struct GuardedPages {
    base: *mut u8,
    page: usize,
}

impl GuardedPages {
    pub(crate) fn new() -> Self {
        // SAFETY: asks for a constant of the system.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        // SAFETY: a new anonymous mapping, then a change of protection inside it.
        let base = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let base = libc::mmap(std::ptr::null_mut(), 4 * page, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(base.byte_add(page), 2 * page, protection), 0);
            base.cast()
        };
        Self { base, page }
    }

    /// The accessible bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped, zero-initialised, and borrowed from `self`.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(self.page), 2 * self.page) }
    }

    /// The last `len` accessible bytes.
    pub(crate) fn end(&mut self, len: usize) -> &mut [u8] {
        let bytes = self.bytes();
        let start = bytes.len() - len;
        &mut bytes[start..]
    }

    /// The first `len` accessible bytes.
    pub(crate) fn start(&mut self, len: usize) -> &mut [u8] {
        &mut self.bytes()[..len]
    }
}

impl Drop for GuardedPages {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `new`, not used any more.
        unsafe { libc::munmap(self.base.cast(), 4 * self.page) };
    }
}
