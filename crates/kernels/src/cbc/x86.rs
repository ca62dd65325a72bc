//! The x86-64 backends: key storage and dispatch to the kernel instance for
//! the vector width and the key length.

#[macro_use]
mod kernel;
mod bits128;
mod bits256;
mod bits512;
mod lanes;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{BLOCK, Job};
use crate::aes_keys::{KeyLength, MAX_ROUND_KEYS, expand_round_keys, invert_round_keys};
use crate::gcm::Backend;

/// The round keys in the order of use.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
struct RoundKeys([[u8; BLOCK]; MAX_ROUND_KEYS]);

/// The vector registers that a kernel instance works with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits128,
    Bits256,
    Bits512,
}

impl Width {
    /// The width of an available vector backend. The features that
    /// [`Backend::is_available`] has checked then cover the `target_feature`
    /// lists of the key expansion and of the kernel instance.
    fn of(backend: Backend) -> Option<Self> {
        if !backend.is_available() {
            return None;
        }
        match backend {
            Backend::VaesAvx512 => Some(Self::Bits512),
            Backend::VaesAvx2 => Some(Self::Bits256),
            Backend::AesNi => Some(Self::Bits128),
            Backend::Portable => None,
        }
    }
}

/// Round keys, with what selects the kernel instance.
///
/// A value exists only if the processor supports its width: this is what makes
/// the calls into the kernels sound.
struct VectorKey {
    round_keys: RoundKeys,
    length: KeyLength,
    width: Width,
}

impl VectorKey {
    /// Expands a key for encryption.
    fn new(key: &[u8], backend: Backend) -> Option<Self> {
        let width = Width::of(backend)?;
        let length = KeyLength::of(key)?;
        let mut round_keys = RoundKeys([[0; BLOCK]; MAX_ROUND_KEYS]);
        // SAFETY: every vector backend includes AES-NI and AVX.
        unsafe { expand_round_keys(&mut round_keys.0, key) };
        Some(Self { round_keys, length, width })
    }
}

/// A kernel instance. A value exists only if the processor supports the width.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    width: Width,
    length: KeyLength,
}

/// Calls a kernel function of the instance for the key's width and length.
macro_rules! dispatch {
    ($key:expr, $function:ident $arguments:tt) => {{
        use KeyLength::{Bits128, Bits192, Bits256};
        match ($key.width, $key.length) {
            (Width::Bits512, Bits128) => bits512::$function::<11> $arguments,
            (Width::Bits512, Bits192) => bits512::$function::<13> $arguments,
            (Width::Bits512, Bits256) => bits512::$function::<15> $arguments,
            (Width::Bits256, Bits128) => bits256::$function::<11> $arguments,
            (Width::Bits256, Bits192) => bits256::$function::<13> $arguments,
            (Width::Bits256, Bits256) => bits256::$function::<15> $arguments,
            (Width::Bits128, Bits128) => bits128::$function::<11> $arguments,
            (Width::Bits128, Bits192) => bits128::$function::<13> $arguments,
            (Width::Bits128, Bits256) => bits128::$function::<15> $arguments,
        }
    }};
}

/// Whether lanes would cost more than they save: the processor overlaps a few
/// short packets by itself.
fn few(jobs: &[Job<'_>]) -> bool {
    const SHORT: usize = 128;
    jobs.len() <= 1 || (jobs.len() <= 5 && jobs.iter().all(|job| job.body.len() <= SHORT))
}

/// A key for encryption with one of the kernel instances.
pub(super) struct VectorEncryptKey(VectorKey);

impl VectorEncryptKey {
    /// Expands a key of 16, 24 or 32 bytes; `None` for other lengths and if
    /// the processor does not support the backend.
    pub(super) fn new(key: &[u8], backend: Backend) -> Option<Self> {
        VectorKey::new(key, backend).map(Self)
    }

    /// What keys must have in common for their packets to be encrypted together.
    pub(super) fn kind(&self) -> Kind {
        Kind { width: self.0.width, length: self.0.length }
    }

    pub(super) fn encrypt(&self, jobs: &mut [Job<'_>]) {
        if few(jobs) {
            // SAFETY: every vector backend includes AES-NI and AVX.
            unsafe {
                match self.0.length {
                    KeyLength::Bits128 => bits128::encrypt_each::<11>(&self.0.round_keys, jobs),
                    KeyLength::Bits192 => bits128::encrypt_each::<13>(&self.0.round_keys, jobs),
                    KeyLength::Bits256 => bits128::encrypt_each::<15>(&self.0.round_keys, jobs),
                }
            }
            return;
        }
        // SAFETY: the processor supports the width of an existing key.
        unsafe { dispatch!(self.0, encrypt(&self.0.round_keys, jobs)) }
    }
}

/// Encrypts those of the jobs whose keys are of that kind, each with its own key.
pub(super) fn encrypt_together<'j, 'a: 'j>(
    kind: Kind,
    jobs: impl Iterator<Item = (&'j VectorEncryptKey, &'j mut Job<'a>)>,
) {
    let jobs = jobs.filter(|(key, _)| key.kind() == kind).map(|(key, job)| (&key.0.round_keys, job));
    // SAFETY: the processor supports the width of an existing key; all keys have
    // as many round keys as that kind.
    unsafe { dispatch!(kind, encrypt_together(jobs)) }
}

/// A key for decryption with one of the kernel instances.
pub(super) struct VectorDecryptKey(VectorKey);

impl VectorDecryptKey {
    /// Expands a key of 16, 24 or 32 bytes; `None` for other lengths and if
    /// the processor does not support the backend.
    pub(super) fn new(key: &[u8], backend: Backend) -> Option<Self> {
        let mut key = VectorKey::new(key, backend)?;
        // SAFETY: every vector backend includes AES-NI and AVX.
        unsafe { invert_round_keys(&mut key.round_keys.0, key.length) };
        Some(Self(key))
    }

    /// The slices must have the same length.
    pub(super) fn decrypt(&self, iv: &[u8; BLOCK], input: &[[u8; BLOCK]], output: &mut [[u8; BLOCK]]) {
        let blocks = input.len().min(output.len());
        let (source, output) = (input.as_ptr().cast(), output.as_mut_ptr().cast());
        // SAFETY: the processor supports the width of an existing key; both
        // slices have this many blocks and do not overlap.
        unsafe { dispatch!(self.0, decrypt(&self.0.round_keys, iv, source, output, blocks)) }
    }

    pub(super) fn decrypt_in_place(&self, iv: &[u8; BLOCK], body: &mut [[u8; BLOCK]]) {
        let output: *mut u8 = body.as_mut_ptr().cast();
        // SAFETY: the processor supports the width of an existing key; the
        // slice has this many blocks; source and output are the same address.
        unsafe { dispatch!(self.0, decrypt(&self.0.round_keys, iv, output.cast_const(), output, body.len())) }
    }
}

#[cfg(test)]
mod tests {
    //! What cannot be seen from outside the crate.

    use core::mem::MaybeUninit;

    use super::{BLOCK, MAX_ROUND_KEYS, RoundKeys};

    #[test]
    fn dropped_keys_are_wiped() {
        let mut slot = MaybeUninit::new(RoundKeys([[0x42; BLOCK]; MAX_ROUND_KEYS]));
        // SAFETY: the bytes stay allocated and initialised after the drop.
        let after = unsafe {
            slot.assume_init_drop();
            slot.as_ptr().cast::<[[u8; BLOCK]; MAX_ROUND_KEYS]>().read()
        };
        assert_eq!(after, [[0; BLOCK]; MAX_ROUND_KEYS]);
    }
}
