//! Combined modes that RustCrypto has as they are: AES-CCM (RFC 4309) and ChaCha20-Poly1305 (RFC 7634), with the nonce and
//! the tag lengths of ESP.

use ::cipher::{
    KeyInit,
    consts::{U8, U11, U12, U16},
    inout::InOutBuf,
};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use ccm::{
    Ccm,
    aead::{self, AeadInOut},
};
use chacha20poly1305::ChaCha20Poly1305;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Forged;

/// Bytes of salt before a CCM key (R18).
const CCM_SALT: usize = 3;
/// Bytes of salt before a ChaCha20 key (RFC 7634 section 2).
const CHACHA_SALT: usize = 4;
/// Bytes of IV behind the salt.
const IV: usize = 8;

/// One key with one nonce and one tag length.
trait Keyed: Send + Sync {
    fn seal(&self, nonce: &[u8], aad: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), aead::Error>;
    fn open(&self, nonce: &[u8], aad: &[u8], icv: &[u8], body: InOutBuf<'_, '_, u8>) -> Result<(), aead::Error>;
}

impl<T: AeadInOut + Send + Sync> Keyed for T {
    fn seal(&self, nonce: &[u8], aad: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), aead::Error> {
        let nonce = nonce.try_into().map_err(|_| aead::Error)?;
        let tag = self.encrypt_inout_detached(nonce, aad, InOutBuf::from(body))?;
        icv.copy_from_slice(&tag);
        Ok(())
    }

    fn open(&self, nonce: &[u8], aad: &[u8], icv: &[u8], body: InOutBuf<'_, '_, u8>) -> Result<(), aead::Error> {
        let nonce = nonce.try_into().map_err(|_| aead::Error)?;
        let tag = icv.try_into().map_err(|_| aead::Error)?;
        self.decrypt_inout_detached(nonce, aad, body, tag)
    }
}

/// Key and salt.
#[derive(ZeroizeOnDrop)]
pub(super) struct AeadKey {
    /// The salt, and room for the IV behind it.
    nonce: [u8; CHACHA_SALT + IV],
    salt_len: usize,
    #[zeroize(skip)] // zeroises itself
    cipher: Box<dyn Keyed>,
}

impl AeadKey {
    /// AES-CCM, from the salt followed by the key; None for lengths that AES or CCM does not have.
    pub(super) fn ccm(salt_and_key: &[u8], icv_len: usize) -> Option<Self> {
        let (salt, key) = salt_and_key.split_at_checked(CCM_SALT)?;
        let cipher: Box<dyn Keyed> = match (key.len(), icv_len) {
            (16, 8) => Box::new(Ccm::<Aes128Enc, U8, U11>::new_from_slice(key).ok()?),
            (16, 12) => Box::new(Ccm::<Aes128Enc, U12, U11>::new_from_slice(key).ok()?),
            (16, 16) => Box::new(Ccm::<Aes128Enc, U16, U11>::new_from_slice(key).ok()?),
            (24, 8) => Box::new(Ccm::<Aes192Enc, U8, U11>::new_from_slice(key).ok()?),
            (24, 12) => Box::new(Ccm::<Aes192Enc, U12, U11>::new_from_slice(key).ok()?),
            (24, 16) => Box::new(Ccm::<Aes192Enc, U16, U11>::new_from_slice(key).ok()?),
            (32, 8) => Box::new(Ccm::<Aes256Enc, U8, U11>::new_from_slice(key).ok()?),
            (32, 12) => Box::new(Ccm::<Aes256Enc, U12, U11>::new_from_slice(key).ok()?),
            (32, 16) => Box::new(Ccm::<Aes256Enc, U16, U11>::new_from_slice(key).ok()?),
            _ => return None,
        };
        Some(Self::new(salt, cipher))
    }

    /// ChaCha20-Poly1305, from the salt followed by the key of 32 bytes.
    pub(super) fn chacha20_poly1305(salt_and_key: &[u8]) -> Option<Self> {
        let (salt, key) = salt_and_key.split_at_checked(CHACHA_SALT)?;
        Some(Self::new(salt, Box::new(ChaCha20Poly1305::new_from_slice(key).ok()?)))
    }

    fn new(salt: &[u8], cipher: Box<dyn Keyed>) -> Self {
        let mut nonce = [0; CHACHA_SALT + IV];
        nonce[..salt.len()].copy_from_slice(salt);
        Self { nonce, salt_len: salt.len(), cipher }
    }

    /// The salt, then the IV.
    fn with_nonce<R>(&self, iv: &[u8], work: impl FnOnce(&[u8]) -> R) -> R {
        let mut nonce = self.nonce;
        let end = self.salt_len + IV;
        nonce[self.salt_len..end].copy_from_slice(&iv[..IV]);
        work(&nonce[..end])
    }

    /// Encrypts `body` in place and writes the ICV, which is as long as the key was made for.
    pub(super) fn seal(&self, iv: &[u8], aad: &[u8], body: &mut [u8], icv: &mut [u8]) {
        if self.with_nonce(iv, |nonce| self.cipher.seal(nonce, aad, body, icv)).is_err() {
            // Not reached: the length fields of both have four bytes or more, a packet's two. Never let plaintext out.
            body.zeroize();
            icv.zeroize();
        }
    }

    /// Decrypts; on error the output is not to be used.
    pub(super) fn open(&self, iv: &[u8], aad: &[u8], icv: &[u8], body: InOutBuf<'_, '_, u8>) -> Result<(), Forged> {
        self.with_nonce(iv, |nonce| self.cipher.open(nonce, aad, icv, body)).map_err(|_| Forged)
    }
}
