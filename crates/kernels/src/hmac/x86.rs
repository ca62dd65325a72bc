//! The x86-64 backends: key storage and dispatch.

mod abreast;
mod avx512;
mod lanes;
mod sha_ni;
mod transpose;

use zeroize::{Zeroize, ZeroizeOnDrop};

use self::abreast::{MOST, Shape};
use self::lanes::{BLOCK, Hash, Narrow, Wide, compute, hash_pad};
use super::portable::shorten;
use super::{Message, TOGETHER};
use crate::gcm::Backend;

/// Proof that the processor has what the SHA instruction kernels need.
#[derive(Clone, Copy)]
pub(super) struct ShaNi(());

impl ShaNi {
    /// Must cover the `target_feature` lists of `sha_ni`.
    fn detect() -> Option<Self> {
        (is_x86_feature_detected!("sha") && is_x86_feature_detected!("avx")).then_some(Self(()))
    }
}

/// Proof that the processor has what the AVX-512 kernels need.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// Must cover the `target_feature` lists of `avx512` and `transpose`.
    fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
    }
}

/// The states after the inner and the outer pad.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(in crate::hmac) struct Pads<const WORDS: usize> {
    inner: [u32; WORDS],
    outer: [u32; WORDS],
}

/// The pads of each message; those of the last one also for all that follow it.
#[derive(Clone, Copy)]
pub(in crate::hmac) struct Keyring<'a, const WORDS: usize>(&'a [&'a Pads<WORDS>]);

impl<'a, const WORDS: usize> Keyring<'a, WORDS> {
    /// The pads of message `index`. A keyring is never empty.
    #[inline]
    fn of(self, index: usize) -> &'a Pads<WORDS> {
        self.0[index.min(self.0.len() - 1)]
    }

    /// The pads of the messages from `count` on.
    #[inline]
    fn after(self, count: usize) -> Self {
        Self(&self.0[count.min(self.0.len() - 1)..])
    }

    /// The pads that all messages have.
    #[inline]
    fn single(self) -> Option<&'a Pads<WORDS>> {
        match self.0 {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// The instructions to use. A value exists only if the processor has them.
#[derive(Clone, Copy)]
enum Instructions {
    Streams(ShaNi),
    Lanes(ShaNi, Avx512),
}

/// A key for hash function `H`, whose state has `WORDS` words.
pub(super) struct VectorKey<H, const WORDS: usize> {
    pads: Pads<WORDS>,
    instructions: Instructions,
    hash: core::marker::PhantomData<H>,
}

/// SHA-1.
pub(super) struct Sha1;
/// SHA-256.
pub(super) struct Sha256;

pub(super) type VectorSha1Key = VectorKey<Sha1, 5>;
pub(super) type VectorSha256Key = VectorKey<Sha256, 8>;

impl<H: Hash<WORDS>, const WORDS: usize> VectorKey<H, WORDS> {
    /// Expands a key; `None` if the processor lacks the instructions.
    pub(super) fn new(key: &[u8], backend: Backend) -> Option<Self> {
        let streams = ShaNi::detect()?;
        let instructions = match (backend, Avx512::detect()) {
            (Backend::Portable, _) => return None,
            (Backend::VaesAvx512, Some(lanes)) => Instructions::Lanes(streams, lanes),
            _ => Instructions::Streams(streams),
        };
        let mut block = [0; BLOCK];
        shorten::<H::Portable>(key, &mut block);
        let inner = hash_pad::<H, WORDS>(streams, &block, 0x36);
        let outer = hash_pad::<H, WORDS>(streams, &block, 0x5c);
        block.zeroize();
        Some(Self { pads: Pads { inner, outer }, instructions, hash: core::marker::PhantomData })
    }

    /// The slices must have the same length.
    pub(super) fn compute<T: AsMut<[u8]>>(&self, messages: &[Message<'_>], tags: &mut [T]) {
        compute_all::<H, T, WORDS>(self.instructions, Keyring(&[&self.pads]), messages, tags);
    }

    /// As [`VectorKey::compute`], of at most [`TOGETHER`] messages with keys of their own.
    pub(super) fn compute_together<T: AsMut<[u8]>>(keys: &[&Self], messages: &[Message<'_>], tags: &mut [T]) {
        let Some(first) = keys.first() else { return };
        let mut pads = [&first.pads; TOGETHER];
        for (pads, key) in pads.iter_mut().zip(keys) {
            *pads = &key.pads;
        }
        // All backends of a process are one, but for tests.
        compute_all::<H, T, WORDS>(first.instructions, Keyring(&pads), messages, tags);
    }
}

/// The slices must have the same length.
fn compute_all<H: Hash<WORDS>, T: AsMut<[u8]>, const WORDS: usize>(
    instructions: Instructions,
    mut keys: Keyring<'_, WORDS>,
    mut messages: &[Message<'_>],
    mut tags: &mut [T],
) {
    match instructions {
        Instructions::Lanes(streams, lanes) if messages.len() >= H::FEWEST_LANES => {
            if let Some(shape) = Shape::common(messages) {
                while messages.len() >= H::FEWEST_LANES {
                    let count = messages.len().min(MOST);
                    let (now, later) = messages.split_at(count);
                    let (tags_now, tags_later) = tags.split_at_mut(count);
                    H::abreast(lanes, keys, now, tags_now, shape);
                    (messages, tags, keys) = (later, tags_later, keys.after(count));
                }
            }
            compute::<H, _, T, WORDS, { avx512::LANES }>(Wide(streams, lanes), keys, messages, tags);
        }
        Instructions::Lanes(streams, _) | Instructions::Streams(streams) => {
            compute::<H, _, T, WORDS, { sha_ni::MAX_STREAMS }>(Narrow(streams), keys, messages, tags);
        }
    }
}

#[cfg(test)]
mod tests {
    //! What cannot be seen from outside the crate.

    use core::mem::MaybeUninit;

    use super::Pads;

    #[test]
    fn dropped_keys_are_wiped() {
        let mut slot = MaybeUninit::new(Pads::<8> { inner: [0x42; 8], outer: [0x42; 8] });
        // SAFETY: the words stay allocated and initialised after the drop.
        let after = unsafe {
            slot.assume_init_drop();
            slot.as_ptr().cast::<[u32; 16]>().read()
        };
        assert_eq!(after, [0; 16]);
    }
}
