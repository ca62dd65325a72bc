//! The portable backend: the RustCrypto crates. It is the fallback on other
//! processors and the reference that the other backends are tested against.

use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use ctr::Ctr32BE;
use ctr::cipher::consts::U16;
use ctr::cipher::{InnerIvInit, StreamCipher};

use super::BLOCK;

/// An expanded key, by key length. Its parts wipe themselves when dropped.
pub(super) enum PortableKey {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
}

impl PortableKey {
    /// Expands a key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128Enc::new_from_slice(key).ok().map(Self::Aes128),
            24 => Aes192Enc::new_from_slice(key).ok().map(Self::Aes192),
            32 => Aes256Enc::new_from_slice(key).ok().map(Self::Aes256),
            _ => None,
        }
    }

    /// `source` must not be longer than `output`; what follows it is in `output`.
    pub(super) fn crypt(&self, counter: &[u8; BLOCK], source: &[u8], output: &mut [u8]) {
        match self {
            Self::Aes128(aes) => crypt(aes, counter, source, output),
            Self::Aes192(aes) => crypt(aes, counter, source, output),
            Self::Aes256(aes) => crypt(aes, counter, source, output),
        }
    }
}

fn crypt<Aes>(aes: &Aes, counter: &[u8; BLOCK], source: &[u8], output: &mut [u8])
where
    Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let core = ctr::CtrCore::inner_iv_init(aes, counter.into());
    let mut keystream: Ctr32BE<&Aes> = Ctr32BE::from_core(core);
    let (head, tail) = output.split_at_mut(source.len());
    keystream.apply_keystream_b2b(source, head);
    keystream.apply_keystream(tail);
}
