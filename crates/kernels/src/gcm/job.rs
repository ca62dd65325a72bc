//! Packets that are sealed or opened together.

use super::{NONCE_LEN, TAG_LEN, TagMismatch, finish_open};

/// A packet to seal.
///
/// With a `payload` the plaintext is the payload and then `output[payload.len()..]`, as in
/// [`GcmKey::seal`](super::GcmKey::seal). Without one it is all of `output`.
pub struct SealJob<'a> {
    /// The nonce.
    pub nonce: [u8; NONCE_LEN],
    /// The associated data.
    pub aad: &'a [u8],
    /// Plaintext that is not yet in `output`. Must not be longer than `output`: debug builds panic, release
    /// builds ignore the excess.
    pub payload: Option<&'a [u8]>,
    /// The rest of the plaintext; then the ciphertext.
    pub output: &'a mut [u8],
    /// The full tag, after the call.
    pub tag: [u8; TAG_LEN],
}

/// A packet to open.
pub struct OpenJob<'a> {
    /// The nonce.
    pub nonce: [u8; NONCE_LEN],
    /// The associated data.
    pub aad: &'a [u8],
    /// The ciphertext, of the length of `output`, unless it is in `output`.
    pub ciphertext: Option<&'a [u8]>,
    /// The received tag, which may be truncated to 8 or 12 bytes.
    pub tag: &'a [u8],
    /// The plaintext, after the call; all zero if the packet was rejected.
    pub output: &'a mut [u8],
    /// Whether the packet is authentic, after the call.
    pub result: Result<(), TagMismatch>,
}

impl OpenJob<'_> {
    /// Whether the buffers have the same length.
    #[inline]
    pub(super) fn is_consistent(&self) -> bool {
        self.ciphertext.is_none_or(|ciphertext| ciphertext.len() == self.output.len())
    }

    /// Compares the tags and wipes the plaintext on a mismatch.
    #[inline]
    pub(super) fn conclude(&mut self, expected: &[u8; TAG_LEN]) {
        let tag = if self.is_consistent() { self.tag } else { &[] };
        self.result = finish_open(expected, tag, self.output);
    }
}
