//! Pointers from C, checked once. The header's contract for all of them: each is NULL, or valid for its type until the
//! call returns (asynchronous calls: until their callback is called).

use std::ffi::{CStr, c_char};

use gipsec_accelerator::Error;

/// NULL where a pointer is needed.
pub(crate) const NULL: Error = Error::Invalid("a pointer that is needed is NULL");

/// The value behind a pointer that is needed.
///
/// # Safety
/// `pointer` is NULL or valid for reading.
pub(crate) unsafe fn required<T: Copy>(pointer: *const T) -> Result<T, Error> {
    if pointer.is_null() {
        return Err(NULL);
    }
    // SAFETY: not NULL, and then valid by this function's contract. Unaligned, because C does not promise it.
    Ok(unsafe { pointer.read_unaligned() })
}

/// A pointer that is needed.
pub(crate) fn not_null<T>(pointer: *mut T) -> Result<*mut T, Error> {
    if pointer.is_null() { Err(NULL) } else { Ok(pointer) }
}

/// Text of fewer than `limit` bytes; NULL is none.
///
/// # Safety
/// `text` is NULL or NUL-terminated.
pub(crate) unsafe fn text(text: *const c_char, limit: usize) -> Result<Option<String>, Error> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and then NUL-terminated by this function's contract.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    if bytes.len() >= limit {
        return Err(Error::Invalid("a name is too long"));
    }
    Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
}

/// A name as C holds it: at most `N - 1` bytes, then NUL.
pub(crate) fn name<const N: usize>(text: &str) -> [c_char; N] {
    let mut name = [0; N];
    for (to, from) in name[..N - 1].iter_mut().zip(text.bytes()) {
        *to = from.cast_signed();
    }
    name
}

/// A pointer that the caller lends until a callback is called.
pub(crate) struct Lent<T>(pub *mut T);

impl<T> Clone for Lent<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Lent<T> {}

// SAFETY: the header's contract: what the pointer leads to is the library's until the callback, on whatever thread.
unsafe impl<T> Send for Lent<T> {}
// SAFETY: as above; the pointer itself is never changed.
unsafe impl<T> Sync for Lent<T> {}
