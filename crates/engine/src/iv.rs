//! Initialisation vectors (R29): an IV is used once for a key.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use ::cipher::{Block, BlockCipherEncrypt, KeyInit};
use aes::Aes128Enc;
use arrayvec::ArrayVec;
use rand::Rng;
use zeroize::Zeroizing;

use crate::{SaError, batch::MAX_BATCH};

/// The longest IV on the wire, in bytes.
pub(crate) const MAX_IV: usize = 16;

/// How an algorithm wants its IVs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It has none.
    None,
    /// Unpredictable, this many bytes: CBC.
    Random(usize),
    /// Never the same, 8 bytes: counter modes.
    Counter,
}

impl Kind {
    /// Bytes on the wire.
    #[inline]
    pub(crate) fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Random(len) => len,
            Self::Counter => 8,
        }
    }
}

/// The IVs of one outbound SA.
pub(crate) enum Source {
    None,
    Random {
        fixed: Box<Random>,
        next: AtomicU64,
        /// Whether the given one has still to be used.
        first_waits: AtomicBool,
    },
    /// The SA's own counter: it starts anywhere, goes up by one for each packet, and nothing sets it back.
    Counter(AtomicU64),
}

/// Unpredictable IVs: a counter, encrypted with a key that is drawn for the SA and used for nothing else (NIST
/// SP 800-38A appendix C, with a key of its own).
pub(crate) struct Random {
    key: Aes128Enc,
    /// The one that was given for the first packet.
    first: [u8; MAX_IV],
}

impl Random {
    fn new(first: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; 16]);
        rand::rng().fill_bytes(&mut *key);
        let mut padded = [0; MAX_IV];
        padded[..first.len()].copy_from_slice(first);
        Self { key: Aes128Enc::new((&*key).into()), first: padded }
    }

    /// The IVs of these numbers; the first of them may be the given one instead.
    fn fill(&self, numbers: Range<u64>, first_given: bool, batch: &mut Batch) {
        for number in numbers {
            let mut block = Block::<Aes128Enc>::default();
            block[..8].copy_from_slice(&number.to_le_bytes());
            batch.blocks.push(block);
        }
        self.key.encrypt_blocks(&mut batch.blocks);
        batch.first_given = first_given;
        if let (true, Some(block)) = (first_given, batch.blocks.first_mut()) {
            *block = self.first.into();
        }
    }
}

impl Source {
    pub(crate) fn new(kind: Kind, first: Option<&[u8]>) -> Result<Self, SaError> {
        if first.is_some_and(|first| first.len() != kind.len()) {
            return Err(SaError::Invalid("the IV's length does not fit the algorithm"));
        }
        Ok(match kind {
            Kind::None => Self::None,
            Kind::Random(_) => Self::Random {
                fixed: Box::new(Random::new(first.unwrap_or_default())),
                next: AtomicU64::new(0),
                first_waits: AtomicBool::new(first.is_some()),
            },
            Kind::Counter => Self::Counter(AtomicU64::new(match first.and_then(|first| first.first_chunk()) {
                Some(first) => u64::from_be_bytes(*first),
                None => rand::rng().next_u64(),
            })),
        })
    }

    /// IVs for `count` packets, at most [`MAX_BATCH`].
    #[inline]
    pub(crate) fn take(&self, count: usize, batch: &mut Batch) {
        match self {
            Self::None => {}
            Self::Counter(next) => batch.start = next.fetch_add(count as u64, Relaxed),
            Self::Random { fixed, next, first_waits } => {
                let count = count.min(MAX_BATCH) as u64;
                let start = next.fetch_add(count, Relaxed);
                let first_given = first_waits.load(Relaxed) && count > 0 && first_waits.swap(false, Relaxed);
                fixed.fill(start..start + count, first_given, batch);
            }
        }
    }

    /// Says that only the first `used` of a batch were used. Of those left a given one is used later, the others never.
    #[cold]
    pub(crate) fn give_back(&self, batch: &Batch, used: usize) {
        if let (Self::Random { first_waits, .. }, 0, true) = (self, used, batch.first_given) {
            first_waits.store(true, Relaxed);
        }
    }
}

/// The IVs of one batch.
#[derive(Default)]
pub(crate) struct Batch {
    /// Of a counter: the first, and up by one.
    start: u64,
    /// Unpredictable ones.
    blocks: ArrayVec<Block<Aes128Enc>, MAX_BATCH>,
    /// Whether the first of them is the one that was given.
    first_given: bool,
}

impl Batch {
    /// Writes the IV of packet `index` of the batch; `iv` is as long as the kind says.
    #[inline(always)]
    pub(crate) fn write(&self, index: usize, iv: &mut [u8]) {
        match (self.blocks.get(index), iv.first_chunk_mut::<MAX_IV>()) {
            (Some(block), Some(iv)) => *iv = (*block).into(),
            (Some(block), None) => iv.copy_from_slice(&block[..iv.len()]),
            (None, _) => {
                if let Some(iv) = iv.first_chunk_mut() {
                    *iv = self.start.wrapping_add(index as u64).to_be_bytes();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn counters_never_repeat_and_wrap() {
        let source = Source::new(Kind::Counter, Some(&[0xff; 8])).unwrap();
        let mut seen = HashSet::new();
        for count in [1, 64, 3] {
            let mut batch = Batch::default();
            source.take(count, &mut batch);
            for index in 0..count {
                let mut iv = [0; 8];
                batch.write(index, &mut iv);
                assert!(seen.insert(iv));
            }
        }
        assert!(seen.contains(&[0xff; 8]) && seen.contains(&[0; 8]));
    }

    #[test]
    fn a_given_cbc_iv_is_used_once() {
        let source = Source::new(Kind::Random(16), Some(&[7; 16])).unwrap();
        let ivs: Vec<[u8; 16]> = (0..3)
            .map(|_| {
                let mut iv = [0; 16];
                let mut batch = Batch::default();
                source.take(1, &mut batch);
                batch.write(0, &mut iv);
                iv
            })
            .collect();
        assert_eq!(ivs[0], [7; 16]);
        assert!(ivs[1] != ivs[0] && ivs[2] != ivs[1]);
        assert!(Source::new(Kind::Random(16), Some(&[7; 8])).is_err());
    }
}
