//! A thread's spare buffer, for the rare packet whose plaintext does not fit its output before the padding is cut off.

use std::cell::RefCell;

use zeroize::Zeroize;

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `length` bytes of this thread's own, zero before and wiped after.
pub(crate) fn with<R>(length: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    SPARE.with(|spare| match spare.try_borrow_mut() {
        Ok(mut spare) => {
            spare.clear();
            spare.resize(length, 0);
            let result = work(&mut spare);
            spare.as_mut_slice().zeroize();
            result
        }
        // Not reached: `work` is a transform and does not come back here.
        Err(_) => work(&mut vec![0; length]),
    })
}
