//! What the tests share: reproducible data and the backends to test.

#[allow(dead_code, reason = "not every test needs it")]
pub(crate) mod pages;

use gipsec_kernels::gcm::{Backend, GcmKey};

/// A small reproducible generator (xorshift64*).
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) struct Generator(u64);

#[allow(dead_code, reason = "not every test needs all of it")]
impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.number().to_be_bytes()[0]).collect()
    }

    pub(crate) fn nonce(&mut self) -> [u8; 12] {
        self.bytes(12).try_into().unwrap()
    }
}

/// The key expanded for the backend, which must be available.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn expand(key: &[u8], backend: Backend) -> GcmKey {
    let expanded = GcmKey::with_backend(key, backend).expect("the backend is available");
    assert_eq!(expanded.backend(), backend);
    expanded
}

/// All backends that this processor and this build can run.
pub(crate) fn available() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available()).collect()
}
