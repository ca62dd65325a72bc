//! AES-GCM (NIST SP 800-38D) and GMAC for IPsec ESP and AH (RFC 4106,
//! RFC 4543): keys, sealing, opening and the tag comparison.
//!
//! # Backends
//!
//! There is a kernel for 512-bit vectors, and one that is instantiated for 256-bit
//! and 128-bit vectors. The portable backend is composed of the `aes`, `ctr` and
//! `ghash` crates. All of them produce identical bytes.
//!
//! # Constant time
//!
//! Time depends only on public quantities: the lengths of the key, of the
//! associated data and of the packet, and the alignment of the buffers. The
//! x86-64 kernels compute AES with the processor's AES instructions and GHASH
//! with carry-less multiplication; these have no data-dependent timing, there
//! are no table look-ups indexed by secret values and no branches on them. The
//! only tables are the round keys, the powers of the hash key and a few counters,
//! which are read at positions given by the packet's length. The portable backend relies
//! on crates that make the same promise (bit-sliced AES or processor
//! instructions). Tags are compared without an early exit; whether a tag
//! matched is public.
//!
//! # Secrets in memory
//!
//! Round keys and powers of the hash key are wiped when a key is dropped.
//! Vector registers and stack slots used during a call are not wiped
//! afterwards.

mod backend;
mod job;
mod portable;
mod volatile;
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
pub(crate) mod x86;

use core::fmt;

use subtle::ConstantTimeEq;

pub use backend::Backend;
use backend::Implementation;
pub use job::{OpenJob, SealJob};
pub use volatile::{VolatileJob, are_apart, wipe};

/// Bytes in a nonce: the salt of the security association and the explicit IV.
pub const NONCE_LEN: usize = 12;

/// Bytes in a full authentication tag.
pub const TAG_LEN: usize = 16;

/// The authentication tag did not match, or had an unsupported length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagMismatch;

impl fmt::Display for TagMismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("authentication tag mismatch")
    }
}

impl core::error::Error for TagMismatch {}

/// An AES-GCM or GMAC key: the expanded AES key and the powers of the hash key.
///
/// The key material is wiped when the value is dropped and is never printed.
pub struct GcmKey {
    implementation: Implementation,
}

impl GcmKey {
    /// Expands a key of 16, 24 or 32 bytes; any other length gives `None`.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        Self::with_backend(key, Backend::current())
    }

    /// Like [`GcmKey::new`] with a chosen backend; `None` also if this
    /// processor cannot run it. Meant for tests and measurements.
    #[doc(hidden)]
    #[must_use]
    pub fn with_backend(key: &[u8], backend: Backend) -> Option<Self> {
        let implementation = Implementation::new(key, backend)?;
        Some(Self { implementation })
    }

    /// Encrypts a packet whose payload lies in one buffer and whose trailer was
    /// already written to another.
    ///
    /// On entry `output[payload.len()..]` holds the plaintext that follows the
    /// payload (for ESP: padding, pad length, next header). On return `output`
    /// is the ciphertext of the payload and that tail. The payload is read
    /// once and its ciphertext written straight to `output`. Returns the full
    /// tag; the caller may truncate it.
    ///
    /// `output` must be at least as long as `payload`. If it is not, debug
    /// builds panic; release builds encrypt the first `output.len()` bytes of
    /// the payload, so that nothing is left in the clear.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], payload: &[u8], output: &mut [u8]) -> [u8; TAG_LEN] {
        debug_assert!(payload.len() <= output.len(), "output is too short");
        let payload = payload.get(..output.len()).unwrap_or(payload);
        self.implementation.seal(nonce, aad, payload, output)
    }

    /// Encrypts `buffer` in place and returns the full tag.
    #[must_use]
    pub fn seal_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        self.implementation.seal(nonce, aad, &[], buffer)
    }

    /// Decrypts `ciphertext` into `output`, which must have the same length.
    ///
    /// The tag may be truncated to 8 or 12 bytes. Decryption and
    /// authentication happen in one pass, so `output` holds unauthenticated
    /// plaintext while the call runs; it must not be visible to others
    /// before the call returns.
    ///
    /// # Errors
    ///
    /// [`TagMismatch`] if the tag is wrong, if its length is not 8, 12 or 16,
    /// or if the buffers differ in length. `output` is then all zero.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
        output: &mut [u8],
    ) -> Result<(), TagMismatch> {
        if ciphertext.len() != output.len() {
            output.fill(0);
            return Err(TagMismatch);
        }
        let expected = self.implementation.open(nonce, aad, ciphertext, output);
        finish_open(&expected, tag, output)
    }

    /// Decrypts `buffer` in place; otherwise like [`GcmKey::open`].
    ///
    /// # Errors
    ///
    /// [`TagMismatch`] if the tag is wrong or its length is not 8, 12 or 16.
    /// `buffer` is then all zero.
    pub fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        tag: &[u8],
        buffer: &mut [u8],
    ) -> Result<(), TagMismatch> {
        let expected = self.implementation.open_in_place(nonce, aad, buffer);
        finish_open(&expected, tag, buffer)
    }

    /// Encrypts packets. Several short ones, which follow each other and have about the same length, take
    /// less time than one by one.
    pub fn seal_many(&self, jobs: &mut [SealJob<'_>]) {
        for job in &*jobs {
            debug_assert!(job.payload.is_none_or(|payload| payload.len() <= job.output.len()), "output is too short");
        }
        match jobs {
            [SealJob { nonce, aad, payload, output, tag }] => {
                *tag = match payload {
                    Some(payload) => self.seal(nonce, aad, payload, output),
                    None => self.seal_in_place(nonce, aad, output),
                };
            }
            jobs => self.implementation.seal_many(jobs),
        }
    }

    /// Decrypts packets, each like [`GcmKey::open`] or [`GcmKey::open_in_place`] but with the result in the
    /// job. Several short ones, which follow each other and have about the same length, take less time than
    /// one by one.
    pub fn open_many(&self, jobs: &mut [OpenJob<'_>]) {
        match jobs {
            [OpenJob { nonce, aad, ciphertext, tag, output, result }] => {
                *result = match ciphertext {
                    Some(ciphertext) => self.open(nonce, aad, ciphertext, tag, output),
                    None => self.open_in_place(nonce, aad, tag, output),
                };
            }
            jobs => self.implementation.open_many(jobs),
        }
    }

    /// As [`GcmKey::seal_many`], in memory that others may change.
    pub fn seal_volatile(&self, jobs: &mut [VolatileJob<'_>]) {
        self.implementation.crypt_volatile::<true>(jobs);
    }

    /// Decrypts packets in memory that others may change, each of which is to be verified then
    /// ([`VolatileJob::verify`]).
    pub fn open_volatile(&self, jobs: &mut [VolatileJob<'_>]) {
        self.implementation.crypt_volatile::<false>(jobs);
    }

    /// GMAC: the tag over the concatenation of `parts`, without any plaintext
    /// (RFC 4543).
    #[must_use]
    pub fn mac(&self, nonce: &[u8; NONCE_LEN], parts: &[&[u8]]) -> [u8; TAG_LEN] {
        self.implementation.mac(nonce, parts)
    }

    /// The addresses of what only long packets need of the key.
    #[must_use]
    #[inline]
    pub fn for_long_packets(&self) -> core::ops::Range<usize> {
        self.implementation.for_long_packets()
    }

    /// The backend this key was expanded for.
    #[doc(hidden)]
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.implementation.backend()
    }
}

impl fmt::Debug for GcmKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GcmKey").finish_non_exhaustive()
    }
}

/// Compares the tags in constant time and wipes the plaintext on a mismatch.
#[inline]
fn finish_open(expected: &[u8; TAG_LEN], tag: &[u8], plaintext: &mut [u8]) -> Result<(), TagMismatch> {
    if tags_match(expected, tag) {
        return Ok(());
    }
    plaintext.fill(0);
    Err(TagMismatch)
}

/// Whether `tag` is `expected` cut to 8, 12 or 16 bytes.
#[inline]
fn tags_match(expected: &[u8; TAG_LEN], tag: &[u8]) -> bool {
    let mut received = [0; TAG_LEN];
    let kept_bits = match tag.len() {
        8 => u128::MAX >> 64,
        12 => u128::MAX >> 32,
        16 => u128::MAX,
        _ => return false,
    };
    received[..tag.len()].copy_from_slice(tag);
    let difference = (u128::from_le_bytes(*expected) ^ u128::from_le_bytes(received)) & kept_bits;
    bool::from(difference.ct_eq(&0))
}
