//! AES-CBC (NIST SP 800-38A) for IPsec ESP (RFC 3602): many packets are
//! encrypted abreast, each packet is decrypted with its blocks in parallel.
//!
//! # Backends
//!
//! Encrypting a packet is serial: each block depends on the one before. The
//! x86-64 backends therefore encrypt up to 32 packets (512-bit vectors), 16
//! (256-bit) or 8 (128-bit) at a time, one block of each per step; when a
//! packet ends, the next one takes its lane. Decryption needs no lanes. The
//! portable backend is composed of the `aes` and `cbc` crates. All of them
//! produce identical bytes.
//!
//! # Constant time
//!
//! Time depends only on public quantities: the lengths of the key, of the
//! packets and of their payloads, their number, and the alignment of the
//! buffers. The x86-64 kernels compute AES with the processor's AES
//! instructions, whose timing does not depend on data; no table look-up is
//! indexed by a secret and no branch is taken on one. The portable backend
//! relies on crates that make the same promise. Padding is not looked at here:
//! the caller authenticates a packet before it decrypts it.
//!
//! # Secrets in memory
//!
//! Round keys are wiped when a key is dropped. Vector registers and stack slots
//! used during a call are not wiped afterwards.

mod portable;
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
mod x86;

use core::fmt;

use self::portable::{PortableDecryptKey, PortableEncryptKey};
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
use self::x86::{VectorDecryptKey, VectorEncryptKey};
use crate::gcm::Backend;

/// Bytes in a block.
const BLOCK: usize = 16;

/// A packet to encrypt.
///
/// With a `payload` the plaintext is the payload and then
/// `body[payload.len()..]`, which holds what follows it (for ESP: padding, pad
/// length, next header). The payload is read once and its ciphertext written
/// straight to `body`. Without a payload the plaintext is all of `body`.
///
/// `body` should be a whole number of blocks; a partial block at its end is
/// left untouched. A payload must not be longer than `body`: debug builds
/// panic, release builds ignore the excess.
pub struct Job<'a> {
    /// The initialisation vector.
    pub iv: [u8; BLOCK],
    /// Plaintext that is not yet in `body`.
    pub payload: Option<&'a [u8]>,
    /// The rest of the plaintext; then the ciphertext.
    pub body: &'a mut [u8],
}

impl Job<'_> {
    /// The whole blocks of the payload and those of the body. Payload bytes of
    /// a block that continues in the body are copied there.
    #[inline]
    fn prepare(&mut self) -> (&[[u8; BLOCK]], &mut [[u8; BLOCK]]) {
        let len = self.body.len();
        let (body, _) = self.body.as_chunks_mut::<BLOCK>();
        let Some(payload) = self.payload else {
            return (&[], body);
        };
        let (blocks, rest) = payload.as_chunks::<BLOCK>();
        match body.get_mut(blocks.len()) {
            Some(mixed) => copy_short(mixed, rest),
            None => debug_assert!(payload.len() <= len, "the payload exceeds the body"),
        }
        (&blocks[..blocks.len().min(body.len())], body)
    }
}

/// Copies fewer bytes than a block. Calling the library for so few would take longer.
#[inline]
fn copy_short(block: &mut [u8; BLOCK], bytes: &[u8]) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        block[..8].copy_from_slice(first);
        block[bytes.len() - 8..bytes.len()].copy_from_slice(last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        block[..4].copy_from_slice(first);
        block[bytes.len() - 4..bytes.len()].copy_from_slice(last);
    } else {
        for (byte, from) in block.iter_mut().zip(bytes).take(3) {
            *byte = *from;
        }
    }
}

/// An AES-CBC key for encryption.
///
/// The key material is wiped when the value is dropped and is never printed.
pub struct EncryptKey {
    implementation: Encrypt,
}

#[allow(clippy::large_enum_variant, reason = "the portable variant is the rare one")]
enum Encrypt {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    Vector(VectorEncryptKey),
    Portable(Box<PortableEncryptKey>),
}

impl EncryptKey {
    /// Expands a key of 16, 24 or 32 bytes; any other length gives `None`.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        Self::with_backend(key, Backend::current())
    }

    /// Like [`EncryptKey::new`] with a chosen backend; `None` also if this
    /// processor cannot run it. Meant for tests and measurements.
    #[doc(hidden)]
    #[must_use]
    pub fn with_backend(key: &[u8], backend: Backend) -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
        if backend != Backend::Portable {
            return Some(Self { implementation: Encrypt::Vector(VectorEncryptKey::new(key, backend)?) });
        }
        if backend != Backend::Portable {
            return None;
        }
        let key = PortableEncryptKey::new(key)?;
        Some(Self { implementation: Encrypt::Portable(Box::new(key)) })
    }

    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    fn vector(&self) -> Option<&VectorEncryptKey> {
        match &self.implementation {
            Encrypt::Vector(key) => Some(key),
            Encrypt::Portable(_) => None,
        }
    }

    fn is_portable(&self) -> bool {
        matches!(self.implementation, Encrypt::Portable(_))
    }

    /// Encrypts every job. The more jobs, the more of them run abreast; their
    /// lengths may differ.
    pub fn encrypt(&self, jobs: &mut [Job<'_>]) {
        match &self.implementation {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
            Encrypt::Vector(key) => key.encrypt(jobs),
            Encrypt::Portable(key) => key.encrypt(jobs),
        }
    }
}

/// Encrypts every job with its own key. The more jobs have keys of one length, the more of them run abreast.
pub fn encrypt_together(jobs: &mut [(&EncryptKey, Job<'_>)]) {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    for index in 0..jobs.len() {
        let kind_of = |job: &(&EncryptKey, Job<'_>)| job.0.vector().map(VectorEncryptKey::kind);
        let kind = kind_of(&jobs[index]);
        let is_theirs = |job: &(&EncryptKey, Job<'_>)| kind_of(job) == kind;
        // Those of a kind are encrypted when the first of them comes.
        if let Some(kind) = kind
            && !jobs[..index].iter().any(is_theirs)
        {
            if jobs[index..].iter().filter(|job| is_theirs(job)).count() > 1 {
                x86::encrypt_together(kind, jobs.iter_mut().filter_map(|(key, job)| Some((key.vector()?, job))));
            } else {
                encrypt_one(&mut jobs[index]);
            }
        }
    }
    jobs.iter_mut().filter(|(key, _)| key.is_portable()).for_each(encrypt_one);
}

fn encrypt_one((key, job): &mut (&EncryptKey, Job<'_>)) {
    key.encrypt(core::slice::from_mut(job));
}

impl fmt::Debug for EncryptKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EncryptKey").finish_non_exhaustive()
    }
}

/// An AES-CBC key for decryption.
///
/// The key material is wiped when the value is dropped and is never printed.
pub struct DecryptKey {
    implementation: Decrypt,
}

#[allow(clippy::large_enum_variant, reason = "the portable variant is the rare one")]
enum Decrypt {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    Vector(VectorDecryptKey),
    Portable(Box<PortableDecryptKey>),
}

impl DecryptKey {
    /// Expands a key of 16, 24 or 32 bytes; any other length gives `None`.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        Self::with_backend(key, Backend::current())
    }

    /// Like [`DecryptKey::new`] with a chosen backend; `None` also if this
    /// processor cannot run it. Meant for tests and measurements.
    #[doc(hidden)]
    #[must_use]
    pub fn with_backend(key: &[u8], backend: Backend) -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
        if backend != Backend::Portable {
            return Some(Self { implementation: Decrypt::Vector(VectorDecryptKey::new(key, backend)?) });
        }
        if backend != Backend::Portable {
            return None;
        }
        let key = PortableDecryptKey::new(key)?;
        Some(Self { implementation: Decrypt::Portable(Box::new(key)) })
    }

    /// Decrypts the whole blocks of `ciphertext` into `output`.
    ///
    /// The two should have the same length, a whole number of blocks. If not,
    /// debug builds panic; release builds decrypt the blocks that both have.
    pub fn decrypt(&self, iv: &[u8; BLOCK], ciphertext: &[u8], output: &mut [u8]) {
        debug_assert_eq!(ciphertext.len(), output.len(), "the buffers differ in length");
        let (input, _) = ciphertext.as_chunks::<BLOCK>();
        let (output, _) = output.as_chunks_mut::<BLOCK>();
        let blocks = input.len().min(output.len());
        let (input, output) = (&input[..blocks], &mut output[..blocks]);
        match &self.implementation {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
            Decrypt::Vector(key) => key.decrypt(iv, input, output),
            Decrypt::Portable(key) => key.decrypt(iv, input, output),
        }
    }

    /// Decrypts the whole blocks of `body` in place; a partial block at its end
    /// is left untouched.
    pub fn decrypt_in_place(&self, iv: &[u8; BLOCK], body: &mut [u8]) {
        let (blocks, _) = body.as_chunks_mut::<BLOCK>();
        match &self.implementation {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
            Decrypt::Vector(key) => key.decrypt_in_place(iv, blocks),
            Decrypt::Portable(key) => key.decrypt_in_place(iv, blocks),
        }
    }
}

impl fmt::Debug for DecryptKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DecryptKey").finish_non_exhaustive()
    }
}
