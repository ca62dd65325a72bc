//! What work leaves behind: keys on the stack, and a thread's spare buffers. Those are for packets between the entries of a bundle, for what has to be looked at before it may be
//! written, for the rare packet whose plaintext does not fit its output before the padding is cut off.

use std::cell::RefCell;

use arrayvec::ArrayVec;
use zeroize::Zeroize;

/// How many may be in use at a time without another one being allocated: a bundle's, and that of an entry of it.
const DEPTH: usize = 2;

thread_local! {
    /// All of them zero.
    static SPARE: RefCell<ArrayVec<Vec<u8>, DEPTH>> = const { RefCell::new(ArrayVec::new_const()) };
}

/// Calls `work` with `length` bytes of this thread's own, zero before and wiped after.
pub(crate) fn with<R>(length: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    let spare = SPARE.try_with(|spare| spare.try_borrow_mut().map(|mut spare| spare.pop()));
    // A thread that is ending has none.
    let mut spare = spare.ok().and_then(Result::ok).flatten().unwrap_or_default();
    if spare.len() < length {
        // Nothing of what it held is left behind: it is zero.
        spare.resize(length, 0);
    }
    let result = work(&mut spare[..length]);
    spare[..length].zeroize();
    let _ = SPARE.try_with(|kept| kept.try_borrow_mut().map(|mut kept| kept.try_push(spare)));
    result
}

/// Bytes of stack that expanding keys uses; without optimization that is more.
const STACK: usize = if cfg!(debug_assertions) { 128 } else { 48 } * 1024;

/// Does what handles keys, and then wipes the part of the stack that it used: values that move leave copies behind. And
/// other values take what lies where they are made along, in bytes that they do not use.
pub(crate) fn leaving_nothing<R>(work: impl FnOnce() -> R) -> R {
    let result = apart(work);
    wipe_stack();
    result
}

#[inline(never)]
fn apart<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn wipe_stack() {
    // One fill of memory, which stays because somebody seems to read it.
    std::hint::black_box(&mut [0u8; STACK]);
}

#[cfg(test)]
mod tests {
    use super::with;

    #[test]
    fn a_spare_buffer_is_zero_whatever_was_in_it() {
        for (outer, inner) in [(100, 50), (50, 3000), (3000, 0), (10, 3000)] {
            with(outer, |spare| {
                assert!(spare.len() == outer && spare.iter().all(|byte| *byte == 0));
                spare.fill(7);
                with(inner, |other| {
                    assert!(other.len() == inner && other.iter().all(|byte| *byte == 0));
                    other.fill(9);
                });
                assert!(spare.iter().all(|byte| *byte == 7));
            });
        }
    }
}
