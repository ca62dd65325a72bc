//! Cryptographic kernels for IPsec packets, chosen at run time by processor
//! features.
//!
//! * [`gcm`]: AES-GCM and GMAC, one packet per call.
//! * [`cbc`]: AES-CBC, encrypting many packets per call.
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
pub mod gcm;
pub mod hmac;

/// Name of the backend that new keys use in this process: `"vaes-avx512"`,
/// `"vaes-avx2"`, `"aes-ni"` or `"portable"`.
#[must_use]
pub fn backend() -> &'static str {
    gcm::Backend::current().name()
}

/// Asks for the cache lines of a value before they are needed, so that they arrive together.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        let start = core::ptr::from_ref(value).cast::<i8>();
        for offset in (0..size_of::<T>()).step_by(64) {
            // SAFETY: within the value; and a prefetch reads nothing and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
