//! AES-GCM as ESP has it (RFC 4106). A batch is laid out first and goes through the kernel then, so that the kernel reads
//! nothing that was written a moment ago.

use arrayvec::ArrayVec;
use gipsec_kernels::gcm::GcmKey;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{AdditionalData, Forged, cipher::Body};
use crate::batch::MAX_BATCH;

/// The salt, in bytes.
const SALT: usize = 4;

/// The part of a nonce that is agreed with the key.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Salt([u8; SALT]);

/// A key and its salt.
pub(super) struct SaltedKey {
    salt: Salt,
    key: GcmKey,
}

/// A packet to be sealed.
pub(super) struct SealJob<'a> {
    pub nonce: [u8; 12],
    pub aad: AdditionalData,
    /// The payload, where it is apart.
    pub payload: Option<&'a [u8]>,
    pub body: &'a mut [u8],
    pub icv: &'a mut [u8],
}

/// A packet to be opened.
pub(super) struct OpenJob<'a> {
    pub nonce: [u8; 12],
    pub aad: AdditionalData,
    pub body: Body<'a>,
    pub icv: &'a [u8],
}

impl SaltedKey {
    /// From the salt followed by the key; None for lengths that AES does not have.
    pub(super) fn new(salt_and_key: &[u8]) -> Option<Self> {
        let (salt, key) = salt_and_key.split_first_chunk()?;
        Some(Self { salt: Salt(*salt), key: GcmKey::new(key)? })
    }

    /// RFC 4106 section 4: salt, then IV.
    #[inline]
    pub(super) fn nonce(&self, iv: [u8; 8]) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..SALT].copy_from_slice(&self.salt.0);
        nonce[SALT..].copy_from_slice(&iv);
        nonce
    }

    /// GMAC over `parts`.
    pub(super) fn mac(&self, iv: [u8; 8], parts: &[&[u8]]) -> [u8; 16] {
        self.key.mac(&self.nonce(iv), parts)
    }

    #[inline]
    pub(super) fn seal<'a>(&self, jobs: impl Iterator<Item = SealJob<'a>>) {
        let mut batch: ArrayVec<SealJob<'_>, MAX_BATCH> = ArrayVec::new();
        batch.extend(jobs);
        for SealJob { nonce, aad, payload, body, icv } in &mut batch {
            let tag = match payload {
                Some(payload) => self.key.seal(nonce, aad.bytes(), payload, body),
                None => self.key.seal_in_place(nonce, aad.bytes(), body),
            };
            match icv.first_chunk_mut() {
                Some(icv) => *icv = tag,
                None => icv.copy_from_slice(&tag[..icv.len()]),
            }
        }
    }

    #[inline]
    pub(super) fn open<'a>(&self, jobs: impl Iterator<Item = OpenJob<'a>>, results: &mut [Result<(), Forged>]) {
        let mut batch: ArrayVec<OpenJob<'_>, MAX_BATCH> = ArrayVec::new();
        batch.extend(jobs);
        for (OpenJob { nonce, aad, body, icv }, result) in batch.iter_mut().zip(results) {
            let opened = match body {
                Body::Apart { input, output } => self.key.open(nonce, aad.bytes(), input, icv, output),
                Body::InPlace(body) => self.key.open_in_place(nonce, aad.bytes(), icv, body),
            };
            *result = opened.map_err(|_| Forged);
        }
    }
}
