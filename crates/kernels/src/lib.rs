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
