//! The portable backend: the RustCrypto crates, one message at a time. It is
//! the fallback on other processors and the reference that the other backends
//! are tested against.

use hmac::digest::Digest;
use hmac::digest::consts::U64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroize;

use super::Message;

/// Bytes in a block of either hash function.
const BLOCK: usize = 64;

pub(super) type PortableSha1Key = PortableKey<Hmac<Sha1>>;
pub(super) type PortableSha256Key = PortableKey<Hmac<Sha256>>;

/// An HMAC, and the hash function that shortens its keys.
pub(super) trait Function: Mac + KeyInit<KeySize = U64> + Clone {
    type Hash: Digest;
}

impl Function for Hmac<Sha1> {
    type Hash = Sha1;
}

impl Function for Hmac<Sha256> {
    type Hash = Sha256;
}

/// A key whose pads are hashed. It wipes itself when dropped.
pub(super) struct PortableKey<F>(F);

impl<F: Function> PortableKey<F> {
    pub(super) fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        shorten::<F::Hash>(key, &mut block);
        let mac = <F as KeyInit>::new((&block).into());
        block.zeroize();
        Self(mac)
    }

    /// The slices must have the same length.
    pub(super) fn compute<T: AsMut<[u8]>>(&self, messages: &[Message<'_>], tags: &mut [T]) {
        for (message, tag) in messages.iter().zip(tags) {
            let mut mac = self.0.clone();
            mac.update(message.head);
            mac.update(message.tail);
            for (byte, computed) in tag.as_mut().iter_mut().zip(mac.finalize().into_bytes()) {
                *byte = computed;
            }
        }
    }
}

/// Writes a key, or the digest of one that is longer than a block, to the
/// beginning of `block`.
pub(super) fn shorten<H: Digest>(key: &[u8], block: &mut [u8; BLOCK]) {
    if let Some(room) = block.get_mut(..key.len()) {
        room.copy_from_slice(key);
        return;
    }
    for (byte, digest) in block.iter_mut().zip(H::digest(key)) {
        *byte = digest;
    }
}
