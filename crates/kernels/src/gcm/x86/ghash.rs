//! The GHASH part of the kernel, written once for every vector width; see
//! `kernel` for how it is used.
//!
//! GHASH of blocks X1..Xn is X1*H^n + ... + Xn*H. The products of a run of
//! blocks are summed unreduced and reduced once. Blocks are byte-reversed and
//! the powers of H shifted by one bit beforehand, so the bit-reflected products
//! need no shifting, and the reduction is two carry-less multiplications
//! (Gueron's Montgomery-like folding).
//!
//! In the main loop each lane hashes every `LANES`-th block on its own, as a
//! polynomial in H^LANES; the accumulator is not folded across lanes between
//! chunks. Its lanes line up with the next blocks at any time. Only the last
//! run, which includes the block of lengths, multiplies the lanes with
//! different powers and folds them. For this the last run must have at least
//! `LANES` blocks, so the main loop stops early enough.

macro_rules! ghash_kernel {
    ($features:literal) => {
        /// Bytes in a vector.
        const WIDTH: usize = BLOCK * LANES;
        /// Bytes in a chunk of the main loop.
        const CHUNK: usize = WIDTH * GROUP;
        /// Longest text that is left to the last run.
        const LAST_RUN: usize = CHUNK + BLOCK * (LANES - 1);
        const _: () = assert!(LAST_RUN / BLOCK + 2 <= NARROW_POWERS);

        /// A sum of 256-bit carry-less products, not reduced.
        #[derive(Clone, Copy)]
        struct Products {
            low: Vector,
            middle: Vector,
            high: Vector,
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn no_products() -> Products {
            Products { low: zero(), middle: zero(), high: zero() }
        }

        /// The sum of the halves of each lane, in its first half.
        #[inline]
        #[target_feature(enable = $features)]
        fn sum_halves(vector: Vector) -> Vector {
            xor(vector, swap_halves(vector))
        }

        /// Adds the products of the lanes of `left` and `right`, with
        /// Karatsuba's three multiplications: `middle` gets the product of the
        /// sums of the halves.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_products(sum: Products, left: Vector, right: Vector) -> Products {
            let middle = carryless::<0x00>(sum_halves(left), sum_halves(right));
            Products {
                low: xor(sum.low, carryless::<0x00>(left, right)),
                middle: xor(sum.middle, middle),
                high: xor(sum.high, carryless::<0x11>(left, right)),
            }
        }

        /// Reduces each lane modulo the field polynomial.
        #[inline]
        #[target_feature(enable = $features)]
        fn reduce(sum: Products) -> Vector {
            let polynomial = splat(_mm_set_epi64x(0xc2_i64 << 56, 1));
            let middle = xor3(sum.middle, sum.low, sum.high);
            let folded = carryless::<0x01>(polynomial, sum.low);
            let middle = xor3(middle, swap_halves(sum.low), folded);
            let folded = carryless::<0x01>(polynomial, middle);
            xor3(sum.high, swap_halves(middle), folded)
        }

        /// Round key `round` in every lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn round_key(tables: &Tables, round: usize) -> Vector {
            // SAFETY: the address is that of a table entry of 16 bytes.
            unsafe { load_splat(tables.round_key(round)) }
        }

        /// H^`exponent` in every lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn power_splat(tables: &Tables, exponent: usize) -> Vector {
            // SAFETY: the address is that of a table entry of 16 bytes.
            unsafe { load_splat(tables.power(exponent)) }
        }

        /// H^`exponent` in the first lane and lower powers in the others;
        /// zero in lanes after H^1.
        #[inline]
        #[target_feature(enable = $features)]
        fn power_run(tables: &Tables, exponent: usize) -> Vector {
            // SAFETY: three zero entries follow H^1, as many as a vector that
            // starts there can have after it.
            unsafe { load(tables.power(exponent)) }
        }

        /// Hashes a chunk, lane by lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn hash_chunk(tables: &Tables, accumulator: Vector, chunk: &[Vector; GROUP]) -> Vector {
            let mut sum = no_products();
            for index in (0..GROUP).rev() {
                sum = add_chunk_part(tables, sum, accumulator, chunk, index);
            }
            reduce(sum)
        }

        /// Adds the products of one vector of a chunk. The first vector, which
        /// waits for the accumulator, is best added last.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_chunk_part(
            tables: &Tables,
            sum: Products,
            accumulator: Vector,
            chunk: &[Vector; GROUP],
            index: usize,
        ) -> Products {
            let mut data = chunk[index];
            if index == 0 {
                data = xor(data, accumulator);
            }
            add_products(sum, data, power_splat(tables, LANES * (GROUP - index)))
        }

        /// Hashes whole blocks.
        #[inline]
        #[target_feature(enable = $features)]
        fn hash_blocks(tables: &Tables, accumulator: __m128i, mut blocks: &[[u8; BLOCK]]) -> __m128i {
            let mut lanes = from_block(accumulator);
            while blocks.len() > LAST_RUN / BLOCK {
                let mut chunk = [zero(); GROUP];
                for (vector, source) in chunk.iter_mut().zip(blocks.chunks_exact(LANES)) {
                    // SAFETY: the source has the length of a vector.
                    *vector = swap_bytes(unsafe { load(source.as_ptr().cast()) });
                }
                lanes = hash_chunk(tables, lanes, &chunk);
                blocks = &blocks[CHUNK / BLOCK..];
            }
            let mut exponent = blocks.len();
            if exponent == 0 {
                return accumulator;
            }
            let mut sum = no_products();
            for source in blocks.chunks(LANES) {
                // SAFETY: as many bytes as the source has.
                let data = unsafe { load_partial(source.as_ptr().cast(), source.len() * BLOCK) };
                let data = xor(swap_bytes(data), lanes);
                lanes = zero();
                sum = add_products(sum, data, power_run(tables, exponent));
                exponent = exponent.saturating_sub(LANES);
            }
            fold(reduce(sum))
        }

        /// Hashes the concatenation of `parts`, padded with zeros to whole
        /// blocks, but without the multiplication that follows the last block.
        /// Returns the hash and the length of the parts.
        #[target_feature(enable = $features)]
        fn hash_parts(tables: &Tables, parts: &[&[u8]]) -> (__m128i, usize) {
            let mut total = 0;
            let mut hash = _mm_setzero_si128();
            // The last 1 to 16 bytes so far.
            let mut pending = [0; BLOCK];
            let mut filled = 0;
            for part in parts {
                total += part.len();
                let (joined, rest) = part.split_at(part.len().min((BLOCK - filled) % BLOCK));
                pending[filled..filled + joined.len()].copy_from_slice(joined);
                filled += joined.len();
                let Some(last) = rest.len().checked_sub(1) else {
                    continue;
                };
                if filled == BLOCK {
                    hash = hash_blocks(tables, hash, &[pending]);
                }
                let (whole, rest) = rest.split_at(last / BLOCK * BLOCK);
                hash = hash_blocks(tables, hash, whole.as_chunks().0);
                pending = [0; BLOCK];
                filled = rest.len();
                pending[..filled].copy_from_slice(rest);
            }
            let pending = swap_block_bytes(load_block(&pending));
            (_mm_xor_si128(hash, pending), total)
        }
    };
}
