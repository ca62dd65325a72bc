//! A thread's spare buffer, for the rare packet whose plaintext does not fit its output before the padding is cut off.

use std::cell::RefCell;

use zeroize::Zeroize;

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `length` bytes of this thread's own, zero before and wiped after.
pub(crate) fn with<R>(length: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    let spare = SPARE.try_with(|spare| spare.try_borrow_mut().map(|mut spare| std::mem::take(&mut *spare)));
    // A thread that is ending has none.
    let mut spare = spare.ok().and_then(Result::ok).unwrap_or_default();
    spare.clear();
    spare.resize(length, 0);
    let result = work(&mut spare);
    spare.as_mut_slice().zeroize();
    let _ = SPARE.try_with(|kept| kept.try_borrow_mut().map(|mut kept| *kept = spare));
    result
}
