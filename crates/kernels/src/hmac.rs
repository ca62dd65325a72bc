//! HMAC-SHA1 and HMAC-SHA256 (RFC 2104, RFC 2404, RFC 4868) for IPsec ESP and
//! AH: many packets are authenticated abreast.
//!
//! # Backends
//!
//! Hashing a packet is serial: each block depends on the one before. On
//! processors with AVX-512 sixteen packets are hashed side by side, one in each
//! 32-bit lane of a vector, and thirty-two in two vectors if all packets have as
//! many blocks; fewer packets, and all packets on other processors, go in up to
//! four interleaved streams through the SHA instructions. When a packet ends, the
//! next one takes its lane. The portable backend, which
//! processors without SHA instructions use too, is composed of the `hmac`,
//! `sha1` and `sha2` crates. All of them produce identical bytes.
//!
//! # Constant time
//!
//! Time depends only on public quantities: the lengths of the key and of the
//! messages, their number, and the alignment of the buffers. The hash functions
//! consist of additions, rotations and logic; no table look-up is indexed by a
//! secret and no branch is taken on one. The caller compares tags, and has to do
//! that in constant time.
//!
//! # Secrets in memory
//!
//! What the key was expanded to is wiped when it is dropped. Vector registers
//! and stack slots used during a call are not wiped afterwards.

mod portable;
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
mod x86;

use core::fmt;

use self::portable::{PortableSha1Key, PortableSha256Key};
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
use self::x86::{VectorSha1Key, VectorSha256Key};
use crate::gcm::Backend;

/// A message: the concatenation of `head` and `tail`.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The packet.
    pub head: &'a [u8],
    /// What follows it: the high half of an extended sequence number, or
    /// nothing. More than 56 bytes are allowed, but slow.
    pub tail: &'a [u8],
}

/// Messages with keys of their own that are handed on at a time.
const TOGETHER: usize = 64;

macro_rules! hmac_key {
    ($name:ident, $implementation:ident, $vector:ident, $portable:ident, $tag:literal, $documentation:literal) => {
        #[doc = $documentation]
        ///
        /// The key material is wiped when the value is dropped and is never
        /// printed.
        pub struct $name {
            implementation: $implementation,
        }

        enum $implementation {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
            Vector($vector),
            Portable(Box<$portable>),
        }

        impl $name {
            /// Expands a key of any length.
            #[must_use]
            pub fn new(key: &[u8]) -> Self {
                Self::with_backend(key, Backend::current()).unwrap_or_else(|| Self {
                    implementation: $implementation::Portable(Box::new($portable::new(key))),
                })
            }

            /// Like `new` with a chosen backend; `None` if this processor
            /// cannot run it. Meant for tests and measurements.
            #[doc(hidden)]
            #[must_use]
            pub fn with_backend(key: &[u8], backend: Backend) -> Option<Self> {
                if !backend.is_available() {
                    return None;
                }
                #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
                if let Some(key) = $vector::new(key, backend) {
                    return Some(Self { implementation: $implementation::Vector(key) });
                }
                Some(Self { implementation: $implementation::Portable(Box::new($portable::new(key))) })
            }

            /// Writes the tag of each message to the entry of `tags` with the
            /// same index. Their lengths may differ.
            ///
            /// A tag that is longer is filled up to that length, a shorter
            /// one gets the first bytes.
            ///
            /// There should be as many tags as messages. If not, debug builds
            /// panic; release builds ignore the excess.
            pub fn compute(&self, messages: &[Message<'_>], tags: &mut [impl AsMut<[u8]>]) {
                debug_assert_eq!(messages.len(), tags.len(), "not as many tags as messages");
                let count = messages.len().min(tags.len());
                let (messages, tags) = (&messages[..count], &mut tags[..count]);
                match &self.implementation {
                    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
                    $implementation::Vector(key) => key.compute(messages, tags),
                    $implementation::Portable(key) => key.compute(messages, tags),
                }
            }

            /// As `compute`, of messages with keys of their own; as many keys.
            pub fn compute_together(keys: &[&Self], messages: &[Message<'_>], tags: &mut [impl AsMut<[u8]>]) {
                debug_assert!(keys.len() == messages.len() && messages.len() == tags.len(), "not as many as messages");
                for ((keys, messages), tags) in
                    keys.chunks(TOGETHER).zip(messages.chunks(TOGETHER)).zip(tags.chunks_mut(TOGETHER))
                {
                    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
                    if let Some($implementation::Vector(first)) = keys.first().map(|key| &key.implementation) {
                        let mut vectors = [first; TOGETHER];
                        let all = keys.iter().zip(&mut vectors).all(|(key, vector)| match &key.implementation {
                            $implementation::Vector(key) => {
                                *vector = key;
                                true
                            }
                            $implementation::Portable(_) => false,
                        });
                        let count = keys.len().min(messages.len()).min(tags.len());
                        if all {
                            $vector::compute_together(&vectors[..count], &messages[..count], &mut tags[..count]);
                            continue;
                        }
                    }
                    for ((key, message), tag) in keys.iter().zip(messages).zip(tags) {
                        key.compute(core::slice::from_ref(message), core::slice::from_mut(tag));
                    }
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

hmac_key!(Sha1Key, Sha1, VectorSha1Key, PortableSha1Key, 20, "An HMAC-SHA1 key.");
hmac_key!(Sha256Key, Sha256, VectorSha256Key, PortableSha256Key, 32, "An HMAC-SHA256 key.");
