//! HMAC of messages that have as many blocks as each other, which the packets of a
//! batch usually do: no lane waits for another one, so nothing has to be kept track
//! of. Two groups of sixteen lanes go through the rounds in step, because each of
//! them has to wait for its own results.

use core::arch::x86_64::{
    __m512i, _mm512_mask_loadu_epi8, _mm512_mask_mov_epi8, _mm512_mask_set1_epi64, _mm512_mask_storeu_epi8,
    _mm512_maskz_loadu_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setzero_si512,
};

use super::avx512::{LANES, load_states, sha1_block, sha256_block};
use super::lanes::{BLOCK, States, fits_closing_blocks};
use super::transpose::{load_words, swap_words, transpose};
use super::{Keyring, Pads};
use crate::hmac::Message;

/// Messages in two groups of lanes.
pub(super) const MOST: usize = 2 * LANES;

/// How many blocks messages have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::hmac) struct Shape {
    /// Whole blocks of the head.
    whole: usize,
    /// Blocks after these, with the rest of the head, the tail and the padding.
    closing: usize,
}

impl Shape {
    /// The shape of a message, unless its tail is too long.
    #[inline]
    fn of(message: &Message<'_>) -> Option<Self> {
        let filled = message.head.len() % BLOCK + message.tail.len() + 9;
        let closing = if filled <= BLOCK { 1 } else { 2 };
        fits_closing_blocks(message).then_some(Self { whole: message.head.len() / BLOCK, closing })
    }

    /// The shape that all messages have.
    #[inline]
    pub(super) fn common(messages: &[Message<'_>]) -> Option<Self> {
        let (first, others) = messages.split_first()?;
        let shape = Self::of(first)?;
        others.iter().all(|message| Self::of(message) == Some(shape)).then_some(shape)
    }
}

/// Block `number` after the whole blocks of a message's head.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn closing_block(message: &Message<'_>, number: usize, shape: Shape) -> __m512i {
    let (_, rest) = message.head.as_chunks::<BLOCK>();
    let start = number * BLOCK;
    let (rest_end, tail_end) = (rest.len(), rest.len() + message.tail.len());
    let from_rest = bits_below(rest_end, start);
    let from_tail = bits_below(tail_end, start) & !from_rest;
    // The byte after the tail.
    let end = bits_below(tail_end + 1, start) & !from_rest & !from_tail;
    let tail = message.tail.as_ptr().wrapping_add(start).wrapping_sub(rest_end);
    // SAFETY: bytes are read where the masks have bits, and these are the bytes of the
    // rest, which has none after the first block, and of the tail.
    let block = unsafe {
        let block = _mm512_maskz_loadu_epi8(from_rest, rest.as_ptr().cast());
        _mm512_mask_loadu_epi8(block, from_tail, tail.cast())
    };
    let block = _mm512_mask_mov_epi8(block, end, _mm512_set1_epi8(i8::MIN));
    if number + 1 < shape.closing {
        return block;
    }
    let bits = ((BLOCK + message.head.len() + message.tail.len()) as u64).wrapping_mul(8);
    _mm512_mask_set1_epi64(block, 0x80, bits.swap_bytes().cast_signed())
}

/// The positions in the block that starts at `start` which are below `end`.
#[inline]
fn bits_below(end: usize, start: usize) -> u64 {
    match end.saturating_sub(start) {
        count @ 0..BLOCK => (1 << count) - 1,
        _ => u64::MAX,
    }
}

/// One of the pads of each message of a group of lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pads<const WORDS: usize>(
    keys: Keyring<'_, WORDS>,
    group: usize,
    pad: impl Fn(&Pads<WORDS>) -> &[u32; WORDS],
) -> [__m512i; WORDS] {
    if let Some(pads) = keys.single() {
        return pad(pads).map(|word| _mm512_set1_epi32(word.cast_signed()));
    }
    let mut states = States([[0; LANES]; WORDS]);
    for lane in 0..LANES {
        states.set(lane, pad(keys.of(group * LANES + lane)));
    }
    load_states(&states)
}

macro_rules! abreast {
    ($name:ident, $words:literal, $block:ident) => {
        /// Computes the tags of up to `GROUPS * LANES` messages of that shape.
        #[target_feature(enable = "avx512f,avx512bw")]
        pub(super) fn $name<T: AsMut<[u8]>, const GROUPS: usize>(
            keys: Keyring<'_, $words>,
            messages: &[Message<'_>],
            tags: &mut [T],
            shape: Shape,
        ) {
            let Some(last) = messages.len().checked_sub(1) else { return };
            // Lanes without a message do the work of the last one again.
            let message = |group: usize, lane: usize| &messages[(group * LANES + lane).min(last)];
            let heads: [[*const u8; LANES]; GROUPS] =
                core::array::from_fn(|group| core::array::from_fn(|lane| message(group, lane).head.as_ptr()));
            let mut states = core::array::from_fn(|group| pads(keys, group, |pads| &pads.inner));
            let mut words = [[_mm512_setzero_si512(); LANES]; GROUPS];
            let blocks = shape.whole + shape.closing;
            for block in 0..=blocks {
                for (group, words) in words.iter_mut().enumerate() {
                    if block < shape.whole {
                        // SAFETY: every head has more than `block` blocks.
                        *words = unsafe { load_words(&heads[group], block * BLOCK) };
                    } else if block < blocks {
                        let mut rows = [_mm512_setzero_si512(); LANES];
                        for (lane, row) in rows.iter_mut().enumerate() {
                            *row = swap_words(closing_block(message(group, lane), block - shape.whole, shape));
                        }
                        *words = transpose(&rows);
                    } else {
                        // The inner digest, after the outer pad.
                        *words = [_mm512_setzero_si512(); LANES];
                        words[..$words].copy_from_slice(&states[group]);
                        words[$words] = _mm512_set1_epi32(i32::MIN);
                        words[LANES - 1] = _mm512_set1_epi32((64 + 4 * $words) * 8);
                        states[group] = pads(keys, group, |pads| &pads.outer);
                    }
                }
                $block(&mut states, &mut words);
            }
            for (tags, digests) in tags.chunks_mut(LANES).zip(&states) {
                let mut words = [_mm512_setzero_si512(); LANES];
                for (word, digests) in words.iter_mut().zip(digests) {
                    *word = swap_words(*digests);
                }
                for (tag, digest) in tags.iter_mut().zip(transpose(&words)) {
                    let tag = tag.as_mut();
                    let bytes = bits_below(tag.len().min(4 * $words), 0);
                    // SAFETY: the tag has the bytes for which the mask has bits.
                    unsafe { _mm512_mask_storeu_epi8(tag.as_mut_ptr().cast(), bytes, digest) };
                }
            }
        }
    };
}

abreast!(sha1, 5, sha1_block);
abreast!(sha256, 8, sha256_block);
