//! AES-CTR (NIST SP 800-38A) for IPsec ESP (RFC 3686): the blocks of a packet
//! are encrypted in parallel.
//!
//! The last four bytes of the counter block count, big-endian and modulo 2^32;
//! the others stay the same. Encryption and decryption are the same operation.
//! Whoever calls must never use a counter block with the same key twice.
//!
//! # Backends
//!
//! The x86-64 backends encrypt 32 counter blocks (512-bit vectors), 16
//! (256-bit) or 8 (128-bit) at a time. The portable backend is composed of the
//! `aes` and `ctr` crates. All of them produce identical bytes.
//!
//! # Constant time
//!
//! Time depends only on public quantities: the lengths of the key, of the
//! packet and of its payload, and the alignment of the buffers. The x86-64
//! kernels compute AES with the processor's AES instructions, whose timing does
//! not depend on data; no table look-up is indexed by a secret and no branch is
//! taken on one. The portable backend relies on crates that make the same
//! promise.
//!
//! # Secrets in memory
//!
//! Round keys are wiped when a key is dropped. Vector registers and stack slots
//! used during a call are not wiped afterwards.

mod portable;
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
mod x86;

use core::fmt;

use self::portable::PortableKey;
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
use self::x86::VectorKey;
use crate::gcm::Backend;

/// Bytes in a block.
const BLOCK: usize = 16;

/// An AES-CTR key.
///
/// The key material is wiped when the value is dropped and is never printed.
pub struct Key {
    implementation: Implementation,
}

#[allow(clippy::large_enum_variant, reason = "the portable variant is the rare one")]
enum Implementation {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    Vector(VectorKey),
    Portable(Box<PortableKey>),
}

impl Key {
    /// Expands a key of 16, 24 or 32 bytes; any other length gives `None`.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        Self::with_backend(key, Backend::current())
    }

    /// Like [`Key::new`] with a chosen backend; `None` also if this processor
    /// cannot run it. Meant for tests and measurements.
    #[doc(hidden)]
    #[must_use]
    pub fn with_backend(key: &[u8], backend: Backend) -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
        if backend != Backend::Portable {
            return Some(Self { implementation: Implementation::Vector(VectorKey::new(key, backend)?) });
        }
        if backend != Backend::Portable {
            return None;
        }
        let key = PortableKey::new(key)?;
        Some(Self { implementation: Implementation::Portable(Box::new(key)) })
    }

    /// Encrypts or decrypts `input` into `output`; `counter` is the first
    /// counter block.
    ///
    /// The two should have the same length. If not, debug builds panic; release
    /// builds process as many bytes as both have.
    pub fn apply(&self, counter: &[u8; BLOCK], input: &[u8], output: &mut [u8]) {
        debug_assert_eq!(input.len(), output.len(), "the buffers differ in length");
        let len = input.len().min(output.len());
        self.crypt(counter, &input[..len], &mut output[..len]);
    }

    /// Encrypts or decrypts `buffer` in place; `counter` is the first counter
    /// block.
    pub fn apply_in_place(&self, counter: &[u8; BLOCK], buffer: &mut [u8]) {
        self.crypt(counter, &[], buffer);
    }

    /// Encrypts a packet into `body`; `counter` is the first counter block.
    ///
    /// With a `payload` the plaintext is the payload and then
    /// `body[payload.len()..]`, which holds what follows it (for ESP: padding,
    /// pad length, next header). The payload is read once and its ciphertext
    /// written straight to `body`. Without a payload the plaintext is all of
    /// `body`.
    ///
    /// A payload must not be longer than `body`: debug builds panic, release
    /// builds ignore the excess.
    pub fn seal(&self, counter: &[u8; BLOCK], payload: Option<&[u8]>, body: &mut [u8]) {
        let payload = payload.unwrap_or_default();
        debug_assert!(payload.len() <= body.len(), "the payload exceeds the body");
        self.crypt(counter, &payload[..payload.len().min(body.len())], body);
    }

    /// `source` must not be longer than `output`; what follows it is in `output`.
    fn crypt(&self, counter: &[u8; BLOCK], source: &[u8], output: &mut [u8]) {
        match &self.implementation {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
            Implementation::Vector(key) => key.crypt(counter, source, output),
            Implementation::Portable(key) => key.crypt(counter, source, output),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").finish_non_exhaustive()
    }
}
