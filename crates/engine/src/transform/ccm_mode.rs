//! AES-CCM (RFC 4309): the `ccm` crate with the nonce and the tag lengths of ESP.

use ::cipher::{
    KeyInit,
    consts::{U8, U11, U12, U16},
    inout::InOutBuf,
};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use ccm::{Ccm, aead::AeadInOut};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Forged;

/// Bytes of salt before the key (R18).
const SALT: usize = 3;

type Nonce = [u8; 11];

/// One key with one tag length.
trait Sized11: Send + Sync {
    fn seal(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), ccm::aead::Error>;
    fn open(&self, nonce: &Nonce, aad: &[u8], icv: &[u8], body: InOutBuf<'_, '_, u8>) -> Result<(), ccm::aead::Error>;
}

impl<T> Sized11 for T
where
    T: AeadInOut + ccm::aead::AeadCore<NonceSize = U11> + Send + Sync,
{
    fn seal(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), ccm::aead::Error> {
        let tag = self.encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(body))?;
        icv.copy_from_slice(&tag);
        Ok(())
    }

    fn open(&self, nonce: &Nonce, aad: &[u8], icv: &[u8], body: InOutBuf<'_, '_, u8>) -> Result<(), ccm::aead::Error> {
        let tag = icv.try_into().map_err(|_| ccm::aead::Error)?;
        self.decrypt_inout_detached(nonce.into(), aad, body, tag)
    }
}

/// Key and salt.
#[derive(ZeroizeOnDrop)]
pub(super) struct CcmKey {
    salt: [u8; SALT],
    #[zeroize(skip)] // zeroises itself
    cipher: Box<dyn Sized11>,
}

impl CcmKey {
    /// From the salt followed by the key; None for lengths that AES or CCM does not have.
    pub(super) fn new(salt_and_key: &[u8], icv_len: usize) -> Option<Self> {
        let (salt, key) = salt_and_key.split_first_chunk()?;
        let cipher: Box<dyn Sized11> = match (key.len(), icv_len) {
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
        Some(Self { salt: *salt, cipher })
    }

    fn nonce(&self, iv: &[u8]) -> Nonce {
        let mut nonce = [0; 11];
        nonce[..SALT].copy_from_slice(&self.salt);
        nonce[SALT..].copy_from_slice(&iv[..8]);
        nonce
    }

    /// Encrypts `body` in place and writes the ICV, which is as long as the key was made for.
    pub(super) fn seal(&self, iv: &[u8], aad: &[u8], body: &mut [u8], icv: &mut [u8]) {
        if self.cipher.seal(&self.nonce(iv), aad, body, icv).is_err() {
            // Not reached: CCM's length field has four bytes, a packet's length two. Never let plaintext out.
            body.zeroize();
            icv.zeroize();
        }
    }

    /// Decrypts; on error the output is not to be used.
    pub(super) fn open(&self, iv: &[u8], aad: &[u8], icv: &[u8], body: InOutBuf<'_, '_, u8>) -> Result<(), Forged> {
        self.cipher.open(&self.nonce(iv), aad, icv, body).map_err(|_| Forged)
    }
}
