//! Keeps instructions in the order in which they were written.
//!
//! Left alone, the compiler finishes one vector after the other in order to use few registers. The
//! processor then has too few independent instructions at hand to fill its AES units.

use core::arch::asm;

use super::{Products, Vector};

/// Makes every vector and every part of the sum depend on all of them.
///
/// What is computed from one of them before this call stays before everything that is computed from
/// another one after it. More than eight vectors are left as they are.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn keep_together(vectors: &mut [Vector], sum: &mut Products) {
    let Products { low, middle, high } = sum;
    macro_rules! together {
        ($($vector:ident),*) => {
            // SAFETY: there is only a comment.
            unsafe {
                asm!(
                    concat!("# {low} {middle} {high}", $(" {", stringify!($vector), "}"),*),
                    low = inout(zmm_reg) *low,
                    middle = inout(zmm_reg) *middle,
                    high = inout(zmm_reg) *high,
                    $($vector = inout(zmm_reg) *$vector,)*
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        };
    }
    match vectors {
        [a] => together!(a),
        [a, b] => together!(a, b),
        [a, b, c] => together!(a, b, c),
        [a, b, c, d] => together!(a, b, c, d),
        [a, b, c, d, e] => together!(a, b, c, d, e),
        [a, b, c, d, e, f] => together!(a, b, c, d, e, f),
        [a, b, c, d, e, f, g] => together!(a, b, c, d, e, f, g),
        [a, b, c, d, e, f, g, h] => together!(a, b, c, d, e, f, g, h),
        _ => {}
    }
}

/// The same reference, of which the compiler does not know that it is. What was read through the other
/// one is then read again instead of being kept in registers that there are not enough of.
#[inline]
pub(super) fn forget<T>(reference: &T) -> &T {
    let mut pointer: *const T = reference;
    // SAFETY: there is only a comment; the pointer is that of the reference.
    unsafe {
        asm!("# {}", inout(reg) pointer, options(pure, readonly, nostack, preserves_flags));
        &*pointer
    }
}
