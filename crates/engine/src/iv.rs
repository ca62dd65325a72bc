//! Initialisation vectors (R29): an IV is used once for a key.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rand::Rng;

use crate::SaError;

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
#[derive(Debug)]
pub(crate) enum Source {
    None,
    Random {
        first: [u8; MAX_IV],
        /// Whether `first` has still to be used.
        first_waits: AtomicBool,
    },
    /// The SA's own counter: it starts anywhere, goes up by one for each packet, and nothing sets it back.
    Counter(AtomicU64),
}

impl Source {
    pub(crate) fn new(kind: Kind, first: Option<&[u8]>) -> Result<Self, SaError> {
        if first.is_some_and(|first| first.len() != kind.len()) {
            return Err(SaError::Invalid("the IV's length does not fit the algorithm"));
        }
        Ok(match kind {
            Kind::None => Self::None,
            Kind::Random(len) => {
                let mut padded = [0; MAX_IV];
                if let Some(first) = first {
                    padded[..len].copy_from_slice(first);
                }
                Self::Random { first: padded, first_waits: AtomicBool::new(first.is_some()) }
            }
            Kind::Counter => Self::Counter(AtomicU64::new(match first.and_then(|first| first.first_chunk()) {
                Some(first) => u64::from_be_bytes(*first),
                None => rand::rng().next_u64(),
            })),
        })
    }

    /// IVs for `count` packets.
    #[inline]
    pub(crate) fn take(&self, count: usize) -> Batch {
        match self {
            Self::None => Batch::None,
            Self::Counter(next) => Batch::Counter(next.fetch_add(count as u64, Relaxed)),
            Self::Random { first, first_waits, .. } => {
                let given = first_waits.load(Relaxed) && count > 0 && first_waits.swap(false, Relaxed);
                Batch::Random(given.then_some(*first))
            }
        }
    }
}

/// The IVs of one batch.
pub(crate) enum Batch {
    None,
    /// Each drawn when it is written, but the first, if it was given.
    Random(Option<[u8; MAX_IV]>),
    /// The first, and up by one.
    Counter(u64),
}

impl Batch {
    /// Writes the IV of packet `index` of the batch; `iv` is as long as the kind says.
    #[inline]
    pub(crate) fn write(&self, index: usize, iv: &mut [u8]) {
        match self {
            Self::None => {}
            Self::Random(Some(first)) if index == 0 => iv.copy_from_slice(&first[..iv.len()]),
            Self::Random(_) => rand::rng().fill_bytes(iv),
            Self::Counter(start) => iv.copy_from_slice(&start.wrapping_add(index as u64).to_be_bytes()),
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
            let batch = source.take(count);
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
                source.take(1).write(0, &mut iv);
                iv
            })
            .collect();
        assert_eq!(ivs[0], [7; 16]);
        assert!(ivs[1] != ivs[0] && ivs[2] != ivs[1]);
        assert!(Source::new(Kind::Random(16), Some(&[7; 8])).is_err());
    }
}
