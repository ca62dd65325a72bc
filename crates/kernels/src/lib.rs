//! Cryptographic kernels for IPsec packets, chosen at run time by processor
//! features.
//!
//! * [`gcm`]: AES-GCM and GMAC, one packet per call or, for short packets, many.
//! * [`cbc`]: AES-CBC, encrypting many packets per call.
//! * [`ctr`]: AES-CTR, the blocks of a packet in parallel.
//! * [`hmac`]: HMAC-SHA1 and HMAC-SHA256, many packets per call.
//!
//! A process uses one backend, picked on first use and reported by
//! [`backend`]. Setting the environment variable `G_IPSEC_LA_PORTABLE_CRYPTO`
//! to anything but an empty string or `0` before that first use selects the
//! portable backend; the cargo feature `portable` compiles the
//! processor-specific code out.

#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
#[macro_use]
mod unrolled;

#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
mod aes_keys;
pub mod cbc;
pub mod ctr;
pub mod gcm;
pub mod hmac;

/// Name of the backend that new keys use in this process: `"vaes-avx512"`,
/// `"vaes-avx2"`, `"aes-ni"` or `"portable"`.
#[must_use]
pub fn backend() -> &'static str {
    gcm::Backend::current().name()
}

/// Asks for the cache lines of a value before they are needed, so that they arrive together; not for those at the
/// addresses `except`.
#[inline]
pub fn prefetch<T>(value: &T, except: core::ops::Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        const LINE: usize = 64;
        let start = core::ptr::from_ref(value).cast::<i8>();
        let fetch = |offset: usize| {
            // SAFETY: a prefetch reads nothing and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset)) };
        };
        let size = size_of::<T>();
        let gap = except.start.wrapping_sub(start.addr()).min(size);
        (0..gap).step_by(LINE).for_each(fetch);
        (except.end.wrapping_sub(start.addr()).min(size)..size).step_by(LINE).for_each(fetch);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, except);
}
