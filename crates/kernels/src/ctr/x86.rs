//! The x86-64 backends: key storage and dispatch to the kernel instance for
//! the vector width and the key length.

#[macro_use]
mod kernel;
mod bits128;
mod bits256;
mod bits512;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::BLOCK;
use crate::aes_keys::{KeyLength, MAX_ROUND_KEYS, expand_round_keys};
use crate::gcm::Backend;
use crate::gcm::x86::Span;

/// The round keys in the order of use.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
struct RoundKeys([[u8; BLOCK]; MAX_ROUND_KEYS]);

/// The vector registers that a kernel instance works with.
#[derive(Clone, Copy)]
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
pub(super) struct VectorKey {
    round_keys: RoundKeys,
    length: KeyLength,
    width: Width,
}

impl VectorKey {
    /// Expands a key of 16, 24 or 32 bytes; `None` for other lengths and if
    /// the processor does not support the backend.
    pub(super) fn new(key: &[u8], backend: Backend) -> Option<Self> {
        let width = Width::of(backend)?;
        let length = KeyLength::of(key)?;
        let mut round_keys = RoundKeys([[0; BLOCK]; MAX_ROUND_KEYS]);
        // SAFETY: every vector backend includes AES-NI and AVX.
        unsafe { expand_round_keys(&mut round_keys.0, key) };
        Some(Self { round_keys, length, width })
    }

    /// `source` must not be longer than `output`; what follows it is in `output`.
    pub(super) fn crypt(&self, counter: &[u8; BLOCK], source: &[u8], output: &mut [u8]) {
        use KeyLength::{Bits128, Bits192, Bits256};
        let span = Span::between(source, output);
        let keys = &self.round_keys;
        // SAFETY: the processor supports the width of an existing key. The span
        // is made of slices that live until the call returns.
        unsafe {
            match (self.width, self.length) {
                (Width::Bits512, Bits128) => bits512::crypt::<11>(keys, counter, span),
                (Width::Bits512, Bits192) => bits512::crypt::<13>(keys, counter, span),
                (Width::Bits512, Bits256) => bits512::crypt::<15>(keys, counter, span),
                (Width::Bits256, Bits128) => bits256::crypt::<11>(keys, counter, span),
                (Width::Bits256, Bits192) => bits256::crypt::<13>(keys, counter, span),
                (Width::Bits256, Bits256) => bits256::crypt::<15>(keys, counter, span),
                (Width::Bits128, Bits128) => bits128::crypt::<11>(keys, counter, span),
                (Width::Bits128, Bits192) => bits128::crypt::<13>(keys, counter, span),
                (Width::Bits128, Bits256) => bits128::crypt::<15>(keys, counter, span),
            }
        }
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
