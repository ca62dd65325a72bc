//! Encryption in lanes. Four blocks of a lane are read and written at a time, which is
//! a vector, and four vectors are transposed: each cache line is touched once, and
//! there are fewer instructions than if blocks were gathered and scattered.

use core::arch::asm;
use core::arch::x86_64::_mm512_shuffle_i64x2;

use super::{BLOCK, Lanes, Vector, WIDE, encrypt_last_round, encrypt_round, gather, load, scatter, store, xor3, zero};

/// Blocks of each of `WIDE` lanes: vectors of the first blocks, the second blocks, and so on; or, transposed,
/// vectors of the blocks of a lane.
type Square = [Vector; WIDE];

/// Encrypts a block of every lane, with other work after each round.
macro_rules! encrypt_step {
    ($rounds:ident, $keys:ident, $chain:ident, |$vector:ident| $text:expr, |$round:ident| $work:block) => {
        unrolled!(8: VECTORS, |index| {
            let $vector = index;
            $chain[index] = xor3($chain[index], $text, $keys[0]);
        });
        unrolled!(16: $rounds - 1, |number| {
            if number > 0 {
                unrolled!(8: VECTORS, |index| {
                    $chain[index] = encrypt_round($chain[index], $keys[number]);
                });
                let $round = number;
                $work
                keep_together(&mut $chain[..]);
            }
        });
        unrolled!(8: VECTORS, |index| {
            $chain[index] = encrypt_last_round($chain[index], $keys[$rounds - 1]);
        });
    };
}

/// Encrypts `blocks` blocks in each of the first `VECTORS * WIDE` lanes.
///
/// # Safety
///
/// In each of these lanes, that many blocks must be readable at the
/// source and writable at the output; no two lanes may overlap unless
/// they are the same; the output of a lane may overlap the source only
/// if they are the same.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn encrypt_lanes<const KEYS: usize, const VECTORS: usize>(
    keys: &[Vector; KEYS],
    lanes: &mut Lanes,
    blocks: usize,
) {
    let mut chain = [zero(); VECTORS];
    for (index, state) in chain.iter_mut().enumerate() {
        // SAFETY: `VECTORS * WIDE` is at most `MAX_LANES`.
        *state = unsafe { load(lanes.chains.as_ptr().add(index * WIDE).cast()) };
    }
    let squares = blocks / WIDE;
    if squares > 0 {
        let (mut even, mut odd) = ([[zero(); WIDE]; VECTORS], [[zero(); WIDE]; VECTORS]);
        let (mut these, mut others) = (&mut even, &mut odd);
        for (index, square) in these.iter_mut().enumerate() {
            // SAFETY: every lane has this many blocks.
            *square = unsafe { load_square(lanes, index, 0) };
        }
        for number in 0..squares {
            // SAFETY: below `blocks` blocks of each lane.
            unsafe { encrypt_squares(keys, lanes, &mut chain, these, others, number, squares) };
            (these, others) = (others, these);
        }
        for (index, square) in others.iter().enumerate() {
            // SAFETY: every lane has this many blocks.
            unsafe { store_square(lanes, index, squares - 1, square) };
        }
    }
    for block in squares * WIDE..blocks {
        // All lanes are read before any is written: copies of a lane
        // would read their own output otherwise.
        let mut text = [zero(); VECTORS];
        for (index, text) in text.iter_mut().enumerate() {
            // SAFETY: below `blocks` blocks of each lane.
            *text = unsafe { gather(lanes.sources.as_ptr().add(index * WIDE), block * BLOCK) };
        }
        encrypt_step!(KEYS, keys, chain, |vector| text[vector], |_round| {});
        for (index, state) in chain.iter().enumerate() {
            // SAFETY: below `blocks` blocks of each lane.
            unsafe { scatter(lanes.outputs.as_ptr().add(index * WIDE), block * BLOCK, *state) };
        }
    }
    for (index, state) in chain.iter().enumerate() {
        // SAFETY: `VECTORS * WIDE` is at most `MAX_LANES`.
        unsafe { store(lanes.chains.as_mut_ptr().add(index * WIDE).cast(), *state) };
    }
}

/// Encrypts the squares `number` of all lanes. Meanwhile the others, which are those before, are
/// written and replaced by those after. So whatever is read of a lane is read before it, or a copy of
/// it, is written.
///
/// # Safety
///
/// Each lane must have `squares` squares.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn encrypt_squares<const KEYS: usize, const VECTORS: usize>(
    keys: &[Vector; KEYS],
    lanes: &Lanes,
    chain: &mut [Vector; VECTORS],
    these: &mut [Square; VECTORS],
    others: &mut [Square; VECTORS],
    number: usize,
    squares: usize,
) {
    unrolled!(4: WIDE, |step| {
        encrypt_step!(KEYS, keys, chain, |vector| these[vector][step], |round| {
            // A quarter of the others in each step.
            let index = 2 * step + usize::from(round == 5);
            if (round == 2 || round == 5) && index < VECTORS {
                let square = &mut others[index];
                if number > 0 {
                    // SAFETY: every lane has this square.
                    unsafe { store_square(lanes, index, number - 1, square) };
                }
                if number + 1 < squares {
                    // SAFETY: every lane has this square.
                    *square = unsafe { load_square(lanes, index, number + 1) };
                }
            }
        });
        unrolled!(8: VECTORS, |vector| {
            these[vector][step] = chain[vector];
        });
    });
}

/// Reads square `number` of the lanes of a vector, transposed for encryption.
///
/// # Safety
///
/// The lanes must have that square.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_square(lanes: &Lanes, vector: usize, number: usize) -> Square {
    let mut rows = [zero(); WIDE];
    for (row, source) in rows.iter_mut().zip(&lanes.sources[vector * WIDE..]) {
        // SAFETY: the lane has that square.
        *row = unsafe { load(source.add(number * WIDE * BLOCK)) };
    }
    transpose(rows)
}

/// Writes square `number` of the lanes of a vector.
///
/// # Safety
///
/// The lanes must have that square.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store_square(lanes: &Lanes, vector: usize, number: usize, square: &Square) {
    for (row, output) in transpose(*square).into_iter().zip(&lanes.outputs[vector * WIDE..]) {
        // SAFETY: the lane has that square.
        unsafe { store(output.add(number * WIDE * BLOCK), row) };
    }
}

/// Swaps the roles of lanes and blocks.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn transpose([first, second, third, fourth]: Square) -> Square {
    let low = _mm512_shuffle_i64x2::<0x44>(first, second);
    let next_low = _mm512_shuffle_i64x2::<0x44>(third, fourth);
    let high = _mm512_shuffle_i64x2::<0xee>(first, second);
    let next_high = _mm512_shuffle_i64x2::<0xee>(third, fourth);
    [
        _mm512_shuffle_i64x2::<0x88>(low, next_low),
        _mm512_shuffle_i64x2::<0xdd>(low, next_low),
        _mm512_shuffle_i64x2::<0x88>(high, next_high),
        _mm512_shuffle_i64x2::<0xdd>(high, next_high),
    ]
}

/// Makes every vector depend on all of them, which keeps the compiler from finishing one after the other:
/// the processor would not find enough independent instructions to fill its AES units.
#[inline]
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512dq,avx512vl")]
fn keep_together(vectors: &mut [Vector]) {
    if let [a, b, c, d, e, f, g, h] = vectors {
        // SAFETY: there is only a comment.
        unsafe {
            asm!(
                "# {} {} {} {} {} {} {} {}",
                inout(zmm_reg) * a,
                inout(zmm_reg) * b,
                inout(zmm_reg) * c,
                inout(zmm_reg) * d,
                inout(zmm_reg) * e,
                inout(zmm_reg) * f,
                inout(zmm_reg) * g,
                inout(zmm_reg) * h,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
    }
}
