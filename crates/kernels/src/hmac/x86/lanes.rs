//! Which message runs in which lane, and what is hashed of it.

use super::abreast::Shape;
use super::avx512::LANES;
use super::sha_ni::MAX_STREAMS;
use super::{Avx512, Keyring, Pads, ShaNi};
use crate::hmac::Message;

/// Bytes in a block of either hash function.
pub(super) const BLOCK: usize = 64;

/// The states of all lanes: word by word, so that a vector of one word of each
/// lane is contiguous.
#[repr(C, align(64))]
pub(in crate::hmac) struct States<const WORDS: usize>(pub(super) [[u32; LANES]; WORDS]);

impl<const WORDS: usize> States<WORDS> {
    #[inline]
    pub(super) fn get(&self, lane: usize) -> [u32; WORDS] {
        core::array::from_fn(|word| self.0[word][lane])
    }

    #[inline]
    pub(super) fn set(&mut self, lane: usize, state: &[u32; WORDS]) {
        for (row, word) in self.0.iter_mut().zip(state) {
            row[lane] = *word;
        }
    }
}

/// The kernels of a hash function. They hash the first `blocks` blocks of each
/// input; inputs must be that long.
pub(in crate::hmac) trait Hash<const WORDS: usize> {
    const INITIAL: [u32; WORDS];

    /// From so many messages on, vector lanes beat streams.
    const FEWEST_LANES: usize;

    /// Hashes long keys.
    type Portable: hmac::digest::Digest;

    /// Hashes in the lanes from 0, with SHA instructions.
    fn streams<const STREAMS: usize>(
        token: ShaNi,
        states: &mut States<WORDS>,
        inputs: &[&[u8]; STREAMS],
        blocks: usize,
    );

    /// Computes the tags of messages of that shape, at most [`super::abreast::MOST`].
    fn abreast<T: AsMut<[u8]>>(
        token: Avx512,
        keys: Keyring<'_, WORDS>,
        messages: &[Message<'_>],
        tags: &mut [T],
        shape: Shape,
    );

    /// Hashes in all lanes, with AVX-512.
    fn lanes(token: Avx512, states: &mut States<WORDS>, inputs: &[&[u8]; LANES], blocks: usize);
}

/// How the lanes in use are hashed.
pub(super) trait Engine<H: Hash<WORDS>, const WORDS: usize, const CAPACITY: usize>: Copy {
    /// How many of the first `active` lanes are hashed together.
    fn together(active: usize) -> usize;

    /// Hashes in the lanes that have an input, from 0; the other inputs are
    /// copies.
    fn hash(self, states: &mut States<WORDS>, inputs: &[&[u8]; CAPACITY], used: usize, blocks: usize);
}

/// Streams only.
#[derive(Clone, Copy)]
pub(super) struct Narrow(pub(super) ShaNi);

impl<H: Hash<WORDS>, const WORDS: usize, const CAPACITY: usize> Engine<H, WORDS, CAPACITY> for Narrow {
    #[inline]
    fn together(active: usize) -> usize {
        active.min(MAX_STREAMS)
    }

    #[inline]
    fn hash(self, states: &mut States<WORDS>, inputs: &[&[u8]; CAPACITY], used: usize, blocks: usize) {
        match (used, inputs.first_chunk::<4>(), inputs.first_chunk::<2>()) {
            (3.., Some(inputs), _) => H::streams(self.0, states, inputs, blocks),
            (2, _, Some(inputs)) => H::streams(self.0, states, inputs, blocks),
            _ => H::streams(self.0, states, &[inputs[0]], blocks),
        }
    }
}

/// Vector lanes while enough of them are in use, then streams.
#[derive(Clone, Copy)]
pub(super) struct Wide(pub(super) ShaNi, pub(super) Avx512);

impl<H: Hash<WORDS>, const WORDS: usize> Engine<H, WORDS, LANES> for Wide {
    #[inline]
    fn together(active: usize) -> usize {
        if active >= H::FEWEST_LANES { active } else { active.min(MAX_STREAMS) }
    }

    #[inline]
    fn hash(self, states: &mut States<WORDS>, inputs: &[&[u8]; LANES], used: usize, blocks: usize) {
        if used >= H::FEWEST_LANES {
            H::lanes(self.1, states, inputs, blocks);
        } else {
            Engine::<H, WORDS, LANES>::hash(Narrow(self.0), states, inputs, used, blocks);
        }
    }
}

/// What a lane is hashing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Whole blocks of the head.
    Head,
    /// The rest of the message, with padding.
    Closing,
    /// The inner digest, after the outer pad.
    Outer,
}

/// A message in a lane.
#[derive(Clone, Copy)]
struct Lane<'m> {
    index: usize,
    phase: Phase,
    /// Whole blocks of the head that are left.
    head: &'m [u8],
    /// The blocks to hash after the head, up to `closing_end`.
    closing: [u8; 2 * BLOCK],
    closing_start: usize,
    closing_end: usize,
}

/// Whether what the head leaves, the tail, and the padding (at least 9 bytes) fit
/// in the closing blocks. Where they do not, head and tail fill at least one more
/// block together.
pub(super) fn fits_closing_blocks(message: &Message<'_>) -> bool {
    message.head.len() % BLOCK + message.tail.len() + 9 <= 2 * BLOCK
}

impl<'m> Lane<'m> {
    const EMPTY: Self =
        Self { index: 0, phase: Phase::Head, head: &[], closing: [0; 2 * BLOCK], closing_start: 0, closing_end: 0 };

    /// What is left to hash in this phase: at least a block.
    #[inline]
    fn input(&self) -> &[u8] {
        match self.phase {
            Phase::Head => self.head,
            Phase::Closing | Phase::Outer => &self.closing[self.closing_start..self.closing_end],
        }
    }

    /// Begins with a message whose tail is not too long, after `hashed` bytes
    /// that the state contains already.
    #[inline]
    fn start(&mut self, index: usize, hashed: usize, message: &Message<'m>) {
        let (head, rest) = message.head.split_at(message.head.len() / BLOCK * BLOCK);
        self.index = index;
        self.head = head;
        self.phase = Phase::Head;
        let tail = message.tail;
        self.closing[..rest.len()].copy_from_slice(rest);
        self.closing[rest.len()..rest.len() + tail.len()].copy_from_slice(tail);
        self.close(rest.len() + tail.len(), hashed + message.head.len() + tail.len());
        if head.is_empty() {
            self.phase = Phase::Closing;
        }
    }

    /// Pads the closing blocks, of which `filled` bytes are there. `len` bytes
    /// were hashed after a pad block.
    #[inline]
    fn close(&mut self, filled: usize, len: usize) {
        let end = if filled + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        self.closing[filled] = 0x80;
        self.closing[filled + 1..end - 8].fill(0);
        let bits = ((BLOCK + len) as u64).wrapping_mul(8);
        self.closing[end - 8..end].copy_from_slice(&bits.to_be_bytes());
        self.closing_start = 0;
        self.closing_end = end;
    }

    /// Moves on by `bytes`. When a phase ends, the next one begins; returns
    /// whether the message has ended, with the outer digest in the state.
    #[inline]
    fn advance<const WORDS: usize>(
        &mut self,
        bytes: usize,
        lane: usize,
        states: &mut States<WORDS>,
        pads: &Pads<WORDS>,
    ) -> bool {
        if self.phase == Phase::Head {
            self.head = &self.head[bytes..];
            if self.head.is_empty() {
                self.phase = Phase::Closing;
            }
            return false;
        }
        self.closing_start += bytes;
        if self.closing_start < self.closing_end {
            return false;
        }
        if self.phase == Phase::Outer {
            return true;
        }
        self.phase = Phase::Outer;
        write_words(&mut self.closing, &states.get(lane));
        self.close(4 * WORDS, 4 * WORDS);
        states.set(lane, &pads.outer);
        false
    }
}

/// Writes words in big-endian order.
#[inline]
fn write_words(bytes: &mut [u8], words: &[u32]) {
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
}

/// Computes the tags of all messages, in up to `CAPACITY` lanes. The slices
/// must have the same length.
#[inline]
pub(super) fn compute<H, E, T, const WORDS: usize, const CAPACITY: usize>(
    engine: E,
    keys: Keyring<'_, WORDS>,
    messages: &[Message<'_>],
    tags: &mut [T],
) where
    H: Hash<WORDS>,
    E: Engine<H, WORDS, CAPACITY>,
    T: AsMut<[u8]>,
{
    let mut states = States([[0; LANES]; WORDS]);
    let mut lanes = [Lane::EMPTY; CAPACITY];
    let mut active = 0;
    let mut waiting = messages.iter().enumerate();
    loop {
        while active < CAPACITY
            && let Some((index, message)) = waiting.next()
        {
            if fits_closing_blocks(message) {
                states.set(active, &keys.of(index).inner);
                lanes[active].start(index, 0, message);
            } else {
                let (state, rest) = hash_head(engine, keys.of(index), message);
                let hashed = message.head.len() + message.tail.len() - rest.len();
                states.set(active, &state);
                lanes[active].start(index, hashed, &Message { head: rest, tail: &[] });
            }
            active += 1;
        }
        if active == 0 {
            return;
        }
        let used = E::together(active);
        let mut inputs = [lanes[0].input(); CAPACITY];
        let mut bytes = inputs[0].len();
        for (input, lane) in inputs.iter_mut().zip(&lanes[..used]).skip(1) {
            *input = lane.input();
            bytes = bytes.min(input.len());
        }
        engine.hash(&mut states, &inputs, used, bytes / BLOCK);
        for lane in (0..used).rev() {
            let pads = keys.of(lanes[lane].index);
            if !lanes[lane].advance(bytes, lane, &mut states, pads) {
                continue;
            }
            if let Some(tag) = tags.get_mut(lanes[lane].index) {
                write_words(tag.as_mut(), &states.get(lane));
            }
            // The last lane in use moves here. It has been moved on already,
            // or has not been hashed this time.
            active -= 1;
            if lane < active {
                lanes[lane] = lanes[active];
                let state = states.get(active);
                states.set(lane, &state);
            }
        }
    }
}

/// The state after the head of a message with a long tail and the tail's first
/// bytes, up to a whole block; and the rest of the tail.
#[cold]
fn hash_head<'m, H, E, const WORDS: usize, const CAPACITY: usize>(
    engine: E,
    pads: &Pads<WORDS>,
    message: &Message<'m>,
) -> ([u32; WORDS], &'m [u8])
where
    H: Hash<WORDS>,
    E: Engine<H, WORDS, CAPACITY>,
{
    let mut states = States([[0; LANES]; WORDS]);
    states.set(0, &pads.inner);
    let (blocks, rest) = message.head.split_at(message.head.len() / BLOCK * BLOCK);
    let (begin, tail) = message.tail.split_at(message.tail.len().min(BLOCK - rest.len()));
    let mut mixed = [0; BLOCK];
    mixed[..rest.len()].copy_from_slice(rest);
    mixed[rest.len()..rest.len() + begin.len()].copy_from_slice(begin);
    for input in [blocks, &mixed] {
        engine.hash(&mut states, &[input; CAPACITY], 1, input.len() / BLOCK);
    }
    (states.get(0), tail)
}

/// The state after a key block combined with the byte of a pad.
pub(super) fn hash_pad<H: Hash<WORDS>, const WORDS: usize>(token: ShaNi, key: &[u8; BLOCK], pad: u8) -> [u32; WORDS] {
    let mut states = States([[0; LANES]; WORDS]);
    states.set(0, &H::INITIAL);
    let mut block = key.map(|byte| byte ^ pad);
    H::streams(token, &mut states, &[&block[..]], 1);
    zeroize::Zeroize::zeroize(&mut block);
    let state = states.get(0);
    zeroize::Zeroize::zeroize(&mut states.0);
    state
}
