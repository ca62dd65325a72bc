//! Packets in memory that somebody else may change at any time: a virtual machine's, another process's. They are never
//! borrowed as slices. What is read of them is text alone, which no branch and no address depends on: whoever changes a
//! packet while it is encrypted gets what the key's owner could have made anyway, and who changes one while it is decrypted
//! gets what nobody has authenticated. Associated data, nonces and tags are private.

use vm_memory::VolatileSlice;

use super::{NONCE_LEN, TAG_LEN, TagMismatch, tags_match};

/// A packet to seal or to open.
pub struct VolatileJob<'a> {
    nonce: [u8; NONCE_LEN],
    aad: &'a [u8],
    pub(super) source: VolatileSlice<'a>,
    pub(super) output: VolatileSlice<'a>,
    pub(super) tag: [u8; TAG_LEN],
}

impl<'a> VolatileJob<'a> {
    /// A packet with this nonce and associated data, that goes from `source` to `output`. To be sealed, it has the source
    /// first, and then what follows that place in the output, as in [`GcmKey::seal`](super::GcmKey::seal); to be opened, as
    /// many bytes as the output. None: the output is shorter than the source, or they overlap.
    #[must_use]
    #[inline]
    pub fn new(
        nonce: [u8; NONCE_LEN],
        aad: &'a [u8],
        source: VolatileSlice<'a>,
        output: VolatileSlice<'a>,
    ) -> Option<Self> {
        let fits = are_apart(&source, &output) && source.len() <= output.len();
        fits.then_some(Self { nonce, aad, source, output, tag: [0; TAG_LEN] })
    }

    #[inline]
    pub(super) fn nonce(&self) -> &[u8; NONCE_LEN] {
        &self.nonce
    }

    #[inline]
    pub(super) fn aad(&self) -> &[u8] {
        self.aad
    }

    /// The full tag of a packet that was sealed.
    #[must_use]
    #[inline]
    pub fn tag(&self) -> &[u8; TAG_LEN] {
        &self.tag
    }

    /// Whether a packet that was opened came with the right tag, which may be truncated to 8 or 12 bytes.
    ///
    /// # Errors
    ///
    /// [`TagMismatch`] if the tag is wrong, or its length is not 8, 12 or 16, or if source and output differed in length. The
    /// output is then all zero.
    #[inline]
    pub fn verify(&self, received: &[u8]) -> Result<(), TagMismatch> {
        if self.source.len() == self.output.len() && tags_match(&self.tag, received) {
            return Ok(());
        }
        wipe(&self.output);
        Err(TagMismatch)
    }
}

/// Whether no byte is in both.
#[must_use]
#[inline]
pub fn are_apart(one: &VolatileSlice<'_>, other: &VolatileSlice<'_>) -> bool {
    let start = |slice: &VolatileSlice<'_>| slice.ptr_guard().as_ptr().addr();
    let end = |slice: &VolatileSlice<'_>| start(slice) + slice.len();
    end(one) <= start(other) || end(other) <= start(one)
}

/// Fills memory with zeros.
#[cold]
pub fn wipe(slice: &VolatileSlice<'_>) {
    const ZEROS: [u8; 1024] = [0; 1024];
    let mut done = 0;
    while let Ok(rest) = slice.offset(done)
        && !rest.is_empty()
    {
        rest.copy_from(&ZEROS);
        done += rest.len().min(ZEROS.len());
    }
}
