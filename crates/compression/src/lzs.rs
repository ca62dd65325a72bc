//! LZS (Stac; ANSI X3.241-1994) as RFC 2395 uses it, from its table of tokens, first bit first:
//!
//! ```text
//!  literal      0 bbbbbbbb
//!  match        1 1 ooooooo      length    offset 1 to 127
//!               1 0 ooooooooooo  length    offset 1 to 2047
//!  end          1 1 0000000
//!
//!  length       00 01 10                           2, 3, 4
//!               1100 1101 1110                     5, 6, 7
//!               1111 nnnn                          8 to 22
//!               1111 1111 nnnn                     23 to 37, and 15 more for each further 1111
//! ```
//!
//! The offset counts back from the next byte of plaintext; a match longer than its offset repeats itself.

use std::cell::Cell;

use crate::{Error, Spare, with_spare};

/// Bytes that a match can reach back over, and one.
const HISTORY: u32 = 2048;
/// Longest offset of the short form.
const SHORT_OFFSET: u32 = 127;
/// The end marker: the short form with an offset of zero.
const END: u64 = 0b1_1000_0000;
/// Shortest match: 11 or 15 bits, where two literals are 18.
const MIN_MATCH: usize = 2;

/// Earlier places that are looked at for a match: 16 find nothing more in packets of HTTP headers, 4 are hardly faster. It
/// also bounds the work for packets made to be slow.
const CHAIN: usize = 8;
/// A match this long is taken without looking further.
const LONG_ENOUGH: usize = 32;
/// Binary logarithm of the places that a hash can have.
const HASH_BITS: u32 = 12;

thread_local! {
    static FINDER: Spare<Finder> = const { Cell::new(None) };
}

/// See [`crate::compress`].
pub(crate) fn compress(input: &[u8], output: &mut [u8]) -> Option<usize> {
    with_spare(&FINDER, Finder::new, |finder| finder.compress(input, Writer::new(output)))
}

/// Where bytes of the packet have stood before. Places are counted over all packets of the thread with a gap of
/// [`HISTORY`] between packets: what is left of earlier packets is out of reach, and no table is cleared for a packet.
struct Finder {
    /// Place of the next packet's first byte.
    next: u32,
    /// Last place of two bytes, by their hash.
    pairs: [u32; 1 << HASH_BITS],
    /// Last place of three bytes, by their hash.
    triples: [u32; 1 << HASH_BITS],
    /// For each place, modulo the history, the one before it with the same hash of three bytes.
    earlier: [u32; HISTORY as usize],
}

/// A match that was found; `length` is zero if none was.
#[derive(Clone, Copy, Default)]
struct Match {
    offset: u32,
    length: usize,
}

impl Finder {
    fn new() -> Self {
        Self { next: HISTORY, pairs: [0; 1 << HASH_BITS], triples: [0; 1 << HASH_BITS], earlier: [0; HISTORY as usize] }
    }

    /// Reserves places for a packet; returns that of its first byte. `None`: longer than any packet.
    fn begin(&mut self, len: usize) -> Option<u32> {
        let places = u32::try_from(len).ok()?.checked_add(HISTORY)?;
        let (first, end) = match self.next.checked_add(places) {
            Some(end) => (self.next, end),
            None => {
                *self = Self::new();
                (self.next, self.next.checked_add(places)?)
            }
        };
        self.next = end;
        Some(first)
    }

    fn compress(&mut self, input: &[u8], mut writer: Writer<'_>) -> Option<usize> {
        let mut place = self.begin(input.len())?;
        let mut at = 0;
        while let Some(word) = word_at(input, at) {
            let found = self.find_and_insert(input, at, place, word);
            if found.length < MIN_MATCH {
                writer.literal(input[at])?;
                at += 1;
                place += 1;
                continue;
            }
            writer.copy(found)?;
            let end = at + found.length;
            loop {
                at += 1;
                place += 1;
                if at == end {
                    break;
                }
                if let Some(word) = word_at(input, at) {
                    self.insert(place, word);
                }
            }
        }
        // Too few bytes for a hash.
        for &byte in &input[at..] {
            writer.literal(byte)?;
        }
        writer.put(END, 9)?;
        writer.finish()
    }

    /// The best match for what stands at `at`, which becomes known in turn.
    #[inline]
    fn find_and_insert(&mut self, input: &[u8], at: usize, place: u32, word: u32) -> Match {
        let mut best = Match::default();
        let mut candidate = self.triples[hash_triple(word)];
        for _ in 0..CHAIN {
            let offset = place - candidate;
            if offset >= HISTORY {
                break;
            }
            let length = common(input, at - offset as usize, at);
            if length > best.length {
                best = Match { offset, length };
                if length >= LONG_ENOUGH {
                    break;
                }
            }
            candidate = self.earlier[(candidate % HISTORY) as usize];
        }
        if best.length < MIN_MATCH {
            let offset = place - self.pairs[hash_pair(word)];
            if offset < HISTORY {
                best = Match { offset, length: common(input, at - offset as usize, at) };
            }
        }
        self.insert(place, word);
        best
    }

    #[inline]
    fn insert(&mut self, place: u32, word: u32) {
        let last = &mut self.triples[hash_triple(word)];
        self.earlier[(place % HISTORY) as usize] = *last;
        *last = place;
        self.pairs[hash_pair(word)] = place;
    }
}

/// Four bytes, the first one lowest.
#[inline]
fn word_at(input: &[u8], at: usize) -> Option<u32> {
    input.get(at..).and_then(|rest| rest.first_chunk()).map(|bytes| u32::from_le_bytes(*bytes))
}

/// Fibonacci hash of the first two bytes of a word.
#[inline]
fn hash_pair(word: u32) -> usize {
    ((word << 16).wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

/// Fibonacci hash of the first three bytes of a word.
#[inline]
fn hash_triple(word: u32) -> usize {
    ((word << 8).wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

/// How many bytes from `earlier` on are as from `at` on.
#[inline]
fn common(input: &[u8], earlier: usize, at: usize) -> usize {
    let here = &input[at..];
    let there = &input[earlier..][..here.len()];
    let mut length = 0;
    while let (Some(a), Some(b)) = (here[length..].first_chunk(), there[length..].first_chunk()) {
        let difference = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if difference != 0 {
            return length + difference.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + here[length..].iter().zip(&there[length..]).take_while(|(a, b)| a == b).count()
}

/// Puts bits into a buffer. Every method returns `None` when the buffer is full.
struct Writer<'a> {
    output: &'a mut [u8],
    at: usize,
    /// Bits that are not written yet, in the lower end.
    word: u64,
    /// How many: fewer than 32 between calls.
    held: u32,
}

impl<'a> Writer<'a> {
    fn new(output: &'a mut [u8]) -> Self {
        Self { output, at: 0, word: 0, held: 0 }
    }

    /// Appends the lower `count` bits, at most 32, of `bits`, which has no others.
    #[inline]
    fn put(&mut self, bits: u64, count: u32) -> Option<()> {
        self.word = self.word << count | bits;
        self.held += count;
        if self.held >= 32 {
            self.held -= 32;
            let whole = (self.word >> self.held) & 0xffff_ffff;
            let [.., a, b, c, d] = whole.to_be_bytes();
            *self.output.get_mut(self.at..)?.first_chunk_mut()? = [a, b, c, d];
            self.at += 4;
        }
        Some(())
    }

    #[inline]
    fn literal(&mut self, byte: u8) -> Option<()> {
        self.put(u64::from(byte), 9)
    }

    #[inline]
    fn copy(&mut self, found: Match) -> Option<()> {
        let offset = u64::from(found.offset);
        if found.offset <= SHORT_OFFSET {
            self.put(0b11 << 7 | offset, 9)?;
        } else {
            self.put(0b10 << 11 | offset, 13)?;
        }
        match found.length {
            length @ ..5 => self.put((length - MIN_MATCH) as u64, 2),
            length @ 5..8 => self.put(0b1100 + (length - 5) as u64, 4),
            length => {
                self.put(0b1111, 4)?;
                let mut rest = length - 8;
                while rest >= 15 {
                    self.put(0b1111, 4)?;
                    rest -= 15;
                }
                self.put(rest as u64, 4)
            }
        }
    }

    /// Writes what is held, zero bits up to a whole byte; returns the length.
    fn finish(self) -> Option<usize> {
        let bytes = self.held.div_ceil(8) as usize;
        let held = self.word << 1 << (63 - self.held);
        let end = self.at + bytes;
        self.output.get_mut(self.at..end)?.copy_from_slice(&held.to_be_bytes()[..bytes]);
        Some(end)
    }
}

/// See [`crate::decompress`].
pub(crate) fn decompress(input: &[u8], output: &mut [u8]) -> Result<usize, Error> {
    let mut reader = Reader { rest: input, word: 0, held: 0 };
    let mut at = 0;
    loop {
        reader.refill();
        if reader.peek(1) == 0 {
            let byte = reader.peek(9).to_le_bytes()[0];
            reader.consume(9)?;
            *output.get_mut(at).ok_or(Error::TooLong)? = byte;
            at += 1;
            continue;
        }
        let offset;
        if reader.peek(2) == 0b11 {
            offset = reader.peek(9) & 0x7f;
            reader.consume(9)?;
            if offset == 0 {
                return Ok(at);
            }
        } else {
            offset = reader.peek(13) & 0x7ff;
            reader.consume(13)?;
        }
        if offset == 0 || offset > at {
            return Err(Error::Corrupt);
        }
        let length = reader.length(output.len() - at)?;
        repeat(output, at, offset, length);
        at += length;
    }
}

/// Takes bits from a buffer, first bit first.
struct Reader<'a> {
    rest: &'a [u8],
    /// Bits that were read, in the upper end; after them zeros, or bits that the next refill reads again.
    word: u64,
    /// How many are counted as read.
    held: u32,
}

impl Reader<'_> {
    /// Holds 56 bits or more, or all that are left.
    #[inline]
    fn refill(&mut self) {
        if let Some(next) = self.rest.first_chunk() {
            self.word |= u64::from_be_bytes(*next) >> self.held;
            self.rest = &self.rest[(63 - self.held) as usize / 8..];
            self.held |= 56;
            return;
        }
        while self.held <= 56
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.word |= u64::from(*byte) << (56 - self.held);
            self.held += 8;
            self.rest = rest;
        }
    }

    /// The next `count` bits, at most 16; zeros after the last.
    #[inline]
    fn peek(&self, count: u32) -> usize {
        (self.word >> 48) as usize >> (16 - count)
    }

    /// Goes past `count` bits, if they were all there.
    #[inline]
    fn consume(&mut self, count: u32) -> Result<(), Error> {
        self.held = self.held.checked_sub(count).ok_or(Error::Corrupt)?;
        self.word <<= count;
        Ok(())
    }

    /// The length of a match, at most `room`. A long one is refused as soon as it is too long.
    #[inline]
    fn length(&mut self, room: usize) -> Result<usize, Error> {
        let length = match self.peek(4) {
            code @ ..0b1100 => {
                self.consume(2)?;
                MIN_MATCH + code / 4
            }
            code @ ..0b1111 => {
                self.consume(4)?;
                5 + code - 0b1100
            }
            _ => {
                self.consume(4)?;
                let mut length = 8;
                loop {
                    self.refill();
                    let more = self.peek(4);
                    self.consume(4)?;
                    length += more;
                    if more != 15 || length > room {
                        break length;
                    }
                }
            }
        };
        if length <= room { Ok(length) } else { Err(Error::TooLong) }
    }
}

/// Copies `length` bytes from `offset` before `at` to `at`, as if one after the other: those that were copied are
/// copied again where the match is longer than its offset. All of them are inside `output`.
#[inline]
fn repeat(output: &mut [u8], at: usize, offset: usize, length: usize) {
    /// Bytes that are copied in one go.
    const WIDE: usize = 16;
    let from = at - offset;
    if length <= WIDE && offset >= WIDE && output.len() - at >= WIDE {
        // More than asked for, in constant time: what follows overwrites the rest.
        let (before, after) = output.split_at_mut(at);
        after[..WIDE].copy_from_slice(&before[from..from + WIDE]);
        return;
    }
    // Each round doubles what there is of the pattern.
    let mut done = 0;
    while done < length {
        let count = (offset + done).min(length - done);
        output.copy_within(from..from + count, at + done);
        done += count;
    }
}

#[cfg(test)]
mod tests;
