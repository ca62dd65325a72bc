//! The portable backend: the RustCrypto crates, one packet at a time. It is the
//! fallback on other processors and the reference that the other backends are
//! tested against.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128Dec, Aes128Enc, Aes192Dec, Aes192Enc, Aes256Dec, Aes256Enc};
use cbc::cipher::array::Array;
use cbc::cipher::consts::U16;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit};

use super::{BLOCK, Job};

/// An expanded key, by key length. Its parts wipe themselves when dropped.
pub(super) enum PortableEncryptKey {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
}

impl PortableEncryptKey {
    /// Expands a key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128Enc::new_from_slice(key).ok().map(Self::Aes128),
            24 => Aes192Enc::new_from_slice(key).ok().map(Self::Aes192),
            32 => Aes256Enc::new_from_slice(key).ok().map(Self::Aes256),
            _ => None,
        }
    }

    pub(super) fn encrypt(&self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            match self {
                Self::Aes128(aes) => encrypt(aes, job),
                Self::Aes192(aes) => encrypt(aes, job),
                Self::Aes256(aes) => encrypt(aes, job),
            }
        }
    }
}

fn encrypt<Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(aes: &Aes, job: &mut Job<'_>) {
    let mut mode = cbc::Encryptor::<&Aes>::inner_iv_init(aes, &job.iv.into());
    let (payload, body) = job.prepare();
    let (head, tail) = body.split_at_mut(payload.len());
    for (block, output) in payload.iter().zip(head) {
        mode.encrypt_block_b2b(block.into(), output.into());
    }
    mode.encrypt_blocks(Array::cast_slice_from_core_mut(tail));
}

/// An expanded key, by key length. Its parts wipe themselves when dropped.
pub(super) enum PortableDecryptKey {
    Aes128(Aes128Dec),
    Aes192(Aes192Dec),
    Aes256(Aes256Dec),
}

impl PortableDecryptKey {
    /// Expands a key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128Dec::new_from_slice(key).ok().map(Self::Aes128),
            24 => Aes192Dec::new_from_slice(key).ok().map(Self::Aes192),
            32 => Aes256Dec::new_from_slice(key).ok().map(Self::Aes256),
            _ => None,
        }
    }

    /// The slices must have the same length.
    pub(super) fn decrypt(&self, iv: &[u8; BLOCK], input: &[[u8; BLOCK]], output: &mut [[u8; BLOCK]]) {
        output.copy_from_slice(input);
        self.decrypt_in_place(iv, output);
    }

    pub(super) fn decrypt_in_place(&self, iv: &[u8; BLOCK], body: &mut [[u8; BLOCK]]) {
        match self {
            Self::Aes128(aes) => decrypt(aes, iv, body),
            Self::Aes192(aes) => decrypt(aes, iv, body),
            Self::Aes256(aes) => decrypt(aes, iv, body),
        }
    }
}

fn decrypt<Aes: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>>(
    aes: &Aes,
    iv: &[u8; BLOCK],
    body: &mut [[u8; BLOCK]],
) {
    let mut mode = cbc::Decryptor::<&Aes>::inner_iv_init(aes, iv.into());
    mode.decrypt_blocks(Array::cast_slice_from_core_mut(body));
}
