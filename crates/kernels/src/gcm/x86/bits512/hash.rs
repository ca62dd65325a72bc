//! GHASH of a packet's vectors: products are summed over up to [`MAX_POWER`]
//! blocks and reduced once.

use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm512_inserti32x4, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64};

use super::{
    LANES, MAX_POWER, Products, Tables, Vector, add_products, carryless, fold, from_block, no_products, power_run,
    reduce, xor, xor3, zero,
};

/// The hash of the blocks so far.
#[derive(Clone, Copy)]
pub(super) struct Hash {
    pub(super) sum: Products,
    /// The hash before the blocks in `sum`, to add to the next block.
    carry: Vector,
    /// The power to multiply the next block with.
    exponent: usize,
    /// The power that would be needed without reductions on the way.
    left: usize,
}

impl Hash {
    /// Before the first block of `blocks`.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn new(blocks: usize) -> Self {
        Self { sum: no_products(), carry: zero(), exponent: Self::run(blocks), left: blocks }
    }

    /// How many of `left` blocks are hashed before a reduction. The block of lengths is not left alone.
    #[inline]
    fn run(left: usize) -> usize {
        if left <= MAX_POWER { left } else { MAX_POWER - 1 }
    }

    /// Before the first vector is added: adds the block of lengths, which comes last.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn add_lengths(&mut self, tables: &Tables, lengths: __m128i) {
        self.sum = add_products(self.sum, from_block(lengths), power_run(tables, 1));
    }

    /// Adds the vectors `first` and `first + 1` of `VECTORS` byte-reversed vectors, of
    /// which `first + 1` may not exist. The first lane of the `FIRST` vector of a short packet
    /// has the block of lengths, which comes last.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn add_pair<const VECTORS: usize, const FIRST: bool>(
        &mut self,
        tables: &Tables,
        data: &[Vector; VECTORS],
        first: usize,
    ) {
        let exponent = self.exponent - first * LANES;
        let mut left = data[first];
        if first == 0 {
            left = xor(left, self.carry);
        }
        let mut power = power_run(tables, exponent);
        if FIRST && first == 0 {
            // SAFETY: the address is that of a table entry of 16 bytes.
            power = _mm512_inserti32x4::<0>(power, unsafe { _mm_loadu_si128(tables.power(1).cast()) });
        }
        if first + 1 < VECTORS {
            let next_power = power_run(tables, exponent - LANES);
            self.sum = add_two_products(self.sum, [left, data[first + 1]], [power, next_power]);
        } else {
            self.sum = add_products(self.sum, left, power);
        }
    }

    /// Moves on by so many vectors after all of them were added. Reduces the sum when the
    /// powers are used up.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn advance(&mut self, vectors: usize) {
        self.exponent -= vectors * LANES;
        self.left -= vectors * LANES;
        self.carry = zero();
        if self.exponent == 0 {
            self.carry = from_block(fold(reduce(self.sum)));
            self.sum = no_products();
            self.exponent = Self::run(self.left);
        }
    }

    /// The hash, after all vectors.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn finish(&self) -> __m128i {
        fold(reduce(self.sum))
    }
}

/// Adds the products of two pairs of vectors. The sums of the halves share vectors.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,avx2,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn add_two_products(sum: Products, left: [Vector; 2], right: [Vector; 2]) -> Products {
    let sums =
        |pair: [Vector; 2]| xor(_mm512_unpacklo_epi64(pair[0], pair[1]), _mm512_unpackhi_epi64(pair[0], pair[1]));
    let (left_sums, right_sums) = (sums(left), sums(right));
    Products {
        low: xor3(sum.low, carryless::<0x00>(left[0], right[0]), carryless::<0x00>(left[1], right[1])),
        middle: xor3(sum.middle, carryless::<0x00>(left_sums, right_sums), carryless::<0x11>(left_sums, right_sums)),
        high: xor3(sum.high, carryless::<0x11>(left[0], right[0]), carryless::<0x11>(left[1], right[1])),
    }
}
