//! What stands around every exported function: no panic crosses into C, and the last error can be read as text.

use std::{
    cell::{Cell, RefCell},
    ffi::{CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
};

use gipsec_accelerator::{Error, OpenError};

use crate::errno;

thread_local! {
    /// The last error, and how many there were.
    static LAST: Cell<(u64, Option<Error>)> = const { Cell::new((0, None)) };
    /// What there is to say about one of them, by its number, beyond what it says itself.
    static EXPLAINED: RefCell<(u64, Option<String>)> = const { RefCell::new((0, None)) };
    static TEXT: RefCell<CString> = RefCell::new(CString::default());
}

/// Runs the body of an exported function: its number, or minus an errno. A panic is a defect of ours; it becomes -EIO.
#[inline]
pub(crate) fn guarded(body: impl FnOnce() -> Result<i32, Error>) -> i32 {
    // What comes out of the guard goes through memory, and is therefore a number.
    caught(|| Ok(body().unwrap_or_else(failed))).unwrap_or_else(failed)
}

/// Runs `body`; a panic becomes an error.
#[inline]
pub(crate) fn caught<T>(body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(Error::Defect))
}

/// Remembers an error for this thread; its errno.
#[cold]
pub(crate) fn failed(error: Error) -> i32 {
    // A thread that is ending has nobody to ask.
    let _ = LAST.try_with(|last| last.set((last.get().0.wrapping_add(1), Some(error))));
    errno::of(error)
}

/// Why an accelerator cannot be opened, as the error that comes next; the rest of the explanation is kept for who asks.
#[cold]
pub(crate) fn explained(refused: OpenError) -> Error {
    let next = LAST.try_with(|last| last.get().0.wrapping_add(1)).unwrap_or_default();
    // A thread that is ending has nobody to ask.
    let _ = EXPLAINED.try_with(|explained| explained.replace((next, refused.why)));
    refused.error
}

/// This thread's last error as text, valid until the thread asks again.
pub(crate) fn last_error() -> *const c_char {
    let (number, error) = LAST.try_with(Cell::get).unwrap_or_default();
    let explanation = || EXPLAINED.try_with(|explained| explained.borrow().clone()).ok();
    let text = error.map_or_else(String::new, |error| match explanation() {
        Some((about, Some(why))) if about == number => why,
        _ => error.to_string(),
    });
    let keep = |kept: &RefCell<CString>| {
        *kept.borrow_mut() = CString::new(text).unwrap_or_default();
        kept.borrow().as_ptr()
    };
    // A thread that is ending keeps nothing.
    TEXT.try_with(keep).unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn text() -> String {
        // SAFETY: the text is ours, NUL-terminated, and valid until this thread asks again.
        unsafe { CStr::from_ptr(last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn a_panic_becomes_eio_and_goes_no_further() {
        assert_eq!(guarded(|| panic!("a defect")), -libc::EIO);
        assert_eq!(guarded(|| Ok(7)), 7);
    }

    #[test]
    fn an_explanation_is_of_one_error() {
        let unreached = Error::NoDevice("the accelerator cannot be reached");
        let why = Some("ipsec7: nobody listens".to_owned());
        assert_eq!(guarded(|| Err(explained(OpenError { error: unreached, why }))), -libc::ENODEV);
        assert_eq!(text(), "ipsec7: nobody listens");
        guarded(|| Err(unreached));
        assert_eq!(text(), "the accelerator cannot be reached", "another one of the kind");
        guarded(|| Err(explained(unreached.into())));
        assert_eq!(text(), "the accelerator cannot be reached");
    }

    #[test]
    fn the_last_error_is_this_threads_own() {
        assert_eq!(guarded(|| Err(Error::Invalid("the SPI is 0"))), -libc::EINVAL);
        assert_eq!(text(), "the SPI is 0");
        std::thread::spawn(|| assert_eq!(text(), "")).join().unwrap();
    }
}
