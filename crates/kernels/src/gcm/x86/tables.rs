//! What a key expands to: the AES round keys and the powers of the hash key.

use core::arch::x86_64::{__m128i, _mm_setzero_si128};

use zeroize::Zeroize;

use super::block::{load_block, store_block, swap_block_bytes};
use super::{VectorWidth, bits128};
use crate::aes_keys::{KeyLength, MAX_ROUND_KEYS, expand_round_keys};

/// The highest power of the hash key in the table: what the longest run of
/// blocks that is hashed with a single reduction needs. Only the kernel for
/// 512-bit vectors has such long runs.
pub(super) const MAX_POWER: usize = 97;

/// The highest power that the kernels for narrower vectors need.
pub(super) const NARROW_POWERS: usize = 21;

/// Zero entries after H^1, so that vectors may be read past it.
const ZERO_POWERS: usize = 3;

/// The expanded key.
///
/// The powers of the hash key H are in descending order, so that a run of
/// blocks and the powers to multiply it with are read in the same direction.
/// They are byte-reversed and multiplied by x, which lets the kernel multiply
/// bit-reflected blocks without shifting products. H^16 and H^96, where the
/// kernels read aligned vectors, are on cache line boundaries.
#[derive(Zeroize)]
#[repr(C, align(64))]
pub(super) struct Tables {
    round_keys: [[u8; 16]; MAX_ROUND_KEYS],
    powers: [[u8; 16]; MAX_POWER + ZERO_POWERS],
    // Stored here because the alignment leaves room for it.
    #[zeroize(skip)]
    length: KeyLength,
    #[zeroize(skip)]
    width: VectorWidth,
}

impl Tables {
    /// Expands `key`, which has length `length`, for kernels of `width`.
    #[target_feature(enable = "aes,pclmulqdq,avx")]
    pub(super) fn new(key: &[u8], length: KeyLength, width: VectorWidth) -> Self {
        let mut tables =
            Self { round_keys: [[0; 16]; MAX_ROUND_KEYS], powers: [[0; 16]; MAX_POWER + ZERO_POWERS], length, width };
        expand_round_keys(&mut tables.round_keys, key);
        let zero = _mm_setzero_si128();
        let hash_key = match length {
            KeyLength::Bits128 => bits128::encrypt_block::<11>(&tables, zero),
            KeyLength::Bits192 => bits128::encrypt_block::<13>(&tables, zero),
            KeyLength::Bits256 => bits128::encrypt_block::<15>(&tables, zero),
        };
        let first = times_x(swap_block_bytes(hash_key));
        let mut power = first;
        let used = if width == VectorWidth::Bits512 { MAX_POWER } else { NARROW_POWERS };
        for entry in tables.powers[..MAX_POWER].iter_mut().rev().take(used) {
            store_block(entry, power);
            power = bits128::multiply(power, first);
        }
        tables
    }

    /// The addresses of the powers above H^16.
    #[inline]
    pub(super) fn high_powers(&self) -> core::ops::Range<usize> {
        let start = self.powers.as_ptr().addr();
        start..start + (MAX_POWER - 16) * 16
    }

    /// The length of the key.
    #[inline]
    pub(super) fn length(&self) -> KeyLength {
        self.length
    }

    /// The vector width of the kernels that the key is used with.
    #[inline]
    pub(super) fn width(&self) -> VectorWidth {
        self.width
    }

    /// Address of round key `round`, below 15.
    #[inline]
    pub(super) fn round_key(&self, round: usize) -> *const u8 {
        debug_assert!(round < self.round_keys.len());
        self.round_keys.as_ptr().wrapping_add(round).cast()
    }

    /// Address of H^`exponent`; the lower powers and zeros follow it.
    /// The exponent must be between 1 and [`MAX_POWER`].
    #[inline]
    pub(super) fn power(&self, exponent: usize) -> *const u8 {
        debug_assert!((1..=MAX_POWER).contains(&exponent));
        self.powers.as_ptr().wrapping_add(MAX_POWER - exponent).cast()
    }
}

/// Multiplies a byte-reversed field element by x, without branches.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx")]
fn times_x(element: __m128i) -> __m128i {
    const POLYNOMIAL: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;
    let mut bytes = [0; 16];
    store_block(&mut bytes, element);
    let value = u128::from_le_bytes(bytes);
    let carry = (value >> 127).wrapping_neg();
    bytes = ((value << 1) ^ (carry & POLYNOMIAL)).to_le_bytes();
    let product = load_block(&bytes);
    bytes.zeroize();
    product
}
