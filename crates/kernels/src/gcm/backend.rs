//! The choice of a backend and the dispatch of each operation to it.

use std::sync::OnceLock;

use super::job::{OpenJob, SealJob};
use super::portable::PortableKey;
use super::volatile::VolatileJob;
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
use super::x86::{VectorKey, VectorWidth};
use super::{NONCE_LEN, TAG_LEN};

/// Environment variable that selects the portable backend.
const PORTABLE_VARIABLE: &str = "G_IPSEC_LA_PORTABLE_CRYPTO";

/// An implementation of AES-GCM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// 512-bit vectors: VAES, VPCLMULQDQ and AVX-512.
    VaesAvx512,
    /// 256-bit vectors: VAES, VPCLMULQDQ and AVX2.
    VaesAvx2,
    /// 128-bit vectors: AES-NI, PCLMULQDQ and AVX.
    AesNi,
    /// No processor-specific code in this crate.
    Portable,
}

impl Backend {
    /// All backends, the fastest first.
    pub const ALL: [Self; 4] = [Self::VaesAvx512, Self::VaesAvx2, Self::AesNi, Self::Portable];

    /// The backend that new keys use in this process, chosen on first use.
    #[must_use]
    pub fn current() -> Self {
        static CURRENT: OnceLock<Backend> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            if portable_requested() {
                return Self::Portable;
            }
            Self::ALL.into_iter().find(|backend| backend.is_available()).unwrap_or(Self::Portable)
        })
    }

    /// Whether this processor and this build can run the backend.
    #[must_use]
    pub fn is_available(self) -> bool {
        #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
        if let Some(width) = self.vector_width() {
            return width.is_supported();
        }
        self == Self::Portable
    }

    /// The name that [`crate::backend`] reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VaesAvx512 => "vaes-avx512",
            Self::VaesAvx2 => "vaes-avx2",
            Self::AesNi => "aes-ni",
            Self::Portable => "portable",
        }
    }

    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    fn vector_width(self) -> Option<VectorWidth> {
        match self {
            Self::VaesAvx512 => Some(VectorWidth::Bits512),
            Self::VaesAvx2 => Some(VectorWidth::Bits256),
            Self::AesNi => Some(VectorWidth::Bits128),
            Self::Portable => None,
        }
    }
}

/// Whether the environment asks for the portable backend.
fn portable_requested() -> bool {
    std::env::var_os(PORTABLE_VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// A key expanded for one backend.
#[allow(clippy::large_enum_variant, reason = "the portable variant is the rare one")]
pub(super) enum Implementation {
    /// The processor-specific key is stored in place: it is read for every
    /// packet, and a pointer to it would cost another cache miss.
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    Vector(VectorKey),
    Portable(Box<PortableKey>),
}

/// Evaluates an expression with the key bound, whichever implementation it is.
macro_rules! with_key {
    ($implementation:expr, $key:ident => $call:expr) => {
        match $implementation {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
            Implementation::Vector($key) => $call,
            Implementation::Portable($key) => $call,
        }
    };
}

impl Implementation {
    /// Expands `key`; `None` for a bad length or an unavailable backend.
    pub(super) fn new(key: &[u8], backend: Backend) -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
        if let Some(width) = backend.vector_width() {
            return VectorKey::new(key, width).map(Self::Vector);
        }
        if backend != Backend::Portable {
            return None;
        }
        PortableKey::new(key).map(Box::new).map(Self::Portable)
    }

    #[inline]
    pub(super) fn for_long_packets(&self) -> core::ops::Range<usize> {
        match self {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
            Self::Vector(key) => key.for_long_packets(),
            Self::Portable(_) => 0..0,
        }
    }

    pub(super) fn backend(&self) -> Backend {
        match self {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
            Self::Vector(key) => match key.width() {
                VectorWidth::Bits512 => Backend::VaesAvx512,
                VectorWidth::Bits256 => Backend::VaesAvx2,
                VectorWidth::Bits128 => Backend::AesNi,
            },
            Self::Portable(_) => Backend::Portable,
        }
    }

    /// `payload` must not be longer than `output`.
    #[inline]
    pub(super) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], payload: &[u8], output: &mut [u8]) -> [u8; TAG_LEN] {
        with_key!(self, key => key.seal(nonce, aad, payload, output))
    }

    /// The slices must have the same length.
    #[inline]
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> [u8; TAG_LEN] {
        with_key!(self, key => key.open(nonce, aad, ciphertext, output))
    }

    #[inline]
    pub(super) fn open_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        with_key!(self, key => key.open_in_place(nonce, aad, buffer))
    }

    #[inline]
    pub(super) fn seal_many(&self, jobs: &mut [SealJob<'_>]) {
        with_key!(self, key => key.seal_many(jobs));
    }

    #[inline]
    pub(super) fn open_many(&self, jobs: &mut [OpenJob<'_>]) {
        with_key!(self, key => key.open_many(jobs));
    }

    #[inline]
    pub(super) fn crypt_volatile<const SEAL: bool>(&self, jobs: &mut [VolatileJob<'_>]) {
        with_key!(self, key => key.crypt_volatile::<SEAL>(jobs));
    }

    pub(super) fn mac(&self, nonce: &[u8; NONCE_LEN], parts: &[&[u8]]) -> [u8; TAG_LEN] {
        with_key!(self, key => key.mac(nonce, parts))
    }
}
