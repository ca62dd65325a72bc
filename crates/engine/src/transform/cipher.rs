//! Encryption algorithms that go with a separate integrity algorithm.

use ::cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, inout::InOutBuf};
use arrayvec::ArrayVec;
use des::{Des, TdesEde3};
use gipsec_kernels::{cbc, ctr};
use zeroize::ZeroizeOnDrop;

use crate::{Cipher, Direction, SaError, batch::MAX_BATCH, iv};

type CbcEncryptor<'a, C> = ::cbc::Encryptor<&'a C>;
type CbcDecryptor<'a, C> = ::cbc::Decryptor<&'a C>;

/// A key, expanded for one direction.
pub(super) enum CipherKey {
    Null,
    Des(Des),
    TripleDes(Box<TdesEde3>),
    CbcEncrypt(cbc::EncryptKey),
    CbcDecrypt(cbc::DecryptKey),
    Ctr { key: ctr::Key, nonce: CtrNonce },
}

/// The nonce of RFC 3686 section 4, agreed with the key.
#[derive(ZeroizeOnDrop)]
pub(super) struct CtrNonce([u8; 4]);

/// What is decrypted: from one place to another, or in place.
pub(super) enum Body<'a> {
    Apart { input: &'a [u8], output: &'a mut [u8] },
    InPlace(&'a mut [u8]),
}

impl<'a> Body<'a> {
    /// The same as RustCrypto has it; both places are of one length.
    pub(super) fn in_out(self) -> InOutBuf<'a, 'a, u8> {
        match self {
            Self::Apart { input, output } => {
                let length = input.len().min(output.len());
                let (input, output) = (&input[..length], &mut output[..length]);
                InOutBuf::new(input, output).unwrap_or_else(|_| InOutBuf::from(&mut [][..]))
            }
            Self::InPlace(body) => InOutBuf::from(body),
        }
    }

    /// What is to be decrypted.
    pub(super) fn input(&self) -> &[u8] {
        match self {
            Self::Apart { input, .. } => input,
            Self::InPlace(body) => body,
        }
    }

    /// Leaves the plaintext of an algorithm that does not encrypt.
    pub(super) fn copy(self) {
        if let Self::Apart { input, output } = self {
            output.copy_from_slice(input);
        }
    }
}

impl CipherKey {
    pub(super) fn new(cipher: Cipher, key: &[u8], direction: Direction) -> Result<Self, SaError> {
        const LENGTH: SaError = SaError::Invalid("the cipher key's length does not fit the algorithm");
        match (cipher, direction) {
            (Cipher::Null, _) if key.is_empty() => Some(Self::Null),
            (Cipher::Null, _) => None,
            (Cipher::DesCbc, _) => Des::new_from_slice(key).ok().map(Self::Des),
            (Cipher::TripleDesCbc, _) => TdesEde3::new_from_slice(key).ok().map(|key| Self::TripleDes(Box::new(key))),
            (Cipher::AesCbc, Direction::Outbound) => cbc::EncryptKey::new(key).map(Self::CbcEncrypt),
            (Cipher::AesCbc, Direction::Inbound) => cbc::DecryptKey::new(key).map(Self::CbcDecrypt),
            (Cipher::AesCtr, _) => key
                .split_last_chunk()
                .and_then(|(key, nonce)| Some(Self::Ctr { key: ctr::Key::new(key)?, nonce: CtrNonce(*nonce) })),
        }
        .ok_or(LENGTH)
    }

    pub(super) fn iv(&self) -> iv::Kind {
        match self {
            Self::Null => iv::Kind::None,
            Self::Des(_) | Self::TripleDes(_) => iv::Kind::Random(8),
            Self::CbcEncrypt(_) | Self::CbcDecrypt(_) => iv::Kind::Random(16),
            Self::Ctr { .. } => iv::Kind::Counter,
        }
    }

    /// RFC 4303 section 2.4: at least 4 bytes, and the cipher's block.
    pub(super) fn alignment(&self) -> usize {
        match self {
            Self::Null | Self::Ctr { .. } => 4,
            Self::Des(_) | Self::TripleDes(_) => 8,
            Self::CbcEncrypt(_) | Self::CbcDecrypt(_) => 16,
        }
    }

    /// Encrypts `body`, a whole number of blocks, whose first bytes are `payload` when that is given apart.
    pub(super) fn encrypt(&self, iv: &[u8], payload: Option<&[u8]>, body: &mut [u8]) {
        match self {
            Self::Null | Self::CbcDecrypt(_) => super::place(payload, body),
            Self::Des(key) => {
                encrypt_blocks(CbcEncryptor::<Des>::inner_iv_init(key, block::<8>(iv).into()), payload, body);
            }
            Self::TripleDes(key) => {
                encrypt_blocks(CbcEncryptor::<TdesEde3>::inner_iv_init(key, block::<8>(iv).into()), payload, body);
            }
            Self::CbcEncrypt(key) => key.encrypt(&mut [cbc::Job { iv: *block(iv), payload, body }]),
            Self::Ctr { key, nonce } => key.seal(&nonce.counter_block(iv), payload, body),
        }
    }

    /// Encrypts a batch, each packet with its IV.
    pub(super) fn encrypt_all<'a>(&self, batch: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, &'a mut [u8])>) {
        if let Self::CbcEncrypt(key) = self {
            let mut jobs: ArrayVec<cbc::Job<'_>, MAX_BATCH> = ArrayVec::new();
            jobs.extend(batch.map(|(iv, payload, body)| cbc::Job { iv: *block(iv), payload, body }));
            key.encrypt(&mut jobs);
        } else {
            batch.for_each(|(iv, payload, body)| self.encrypt(iv, payload, body));
        }
    }

    /// Decrypts; a body that is no whole number of blocks was refused before.
    pub(super) fn decrypt(&self, iv: &[u8], body: Body<'_>) {
        match self {
            Self::Null | Self::CbcEncrypt(_) => body.copy(),
            Self::Des(key) => {
                decrypt_blocks(CbcDecryptor::<Des>::inner_iv_init(key, block::<8>(iv).into()), body.in_out());
            }
            Self::TripleDes(key) => {
                decrypt_blocks(CbcDecryptor::<TdesEde3>::inner_iv_init(key, block::<8>(iv).into()), body.in_out());
            }
            Self::CbcDecrypt(key) => match body {
                Body::Apart { input, output } => key.decrypt(block(iv), input, output),
                Body::InPlace(body) => key.decrypt_in_place(block(iv), body),
            },
            Self::Ctr { key, nonce } => match body {
                Body::Apart { input, output } => key.apply(&nonce.counter_block(iv), input, output),
                Body::InPlace(body) => key.apply_in_place(&nonce.counter_block(iv), body),
            },
        }
    }
}

impl CtrNonce {
    /// RFC 3686 section 4: nonce, IV, and a block counter that starts at one.
    fn counter_block(&self, iv: &[u8]) -> [u8; 16] {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&self.0);
        block[4..12].copy_from_slice(&iv[..8]);
        block[15] = 1;
        block
    }
}

/// The IV of a cipher with blocks of `N` bytes; as long as [`CipherKey::iv`] says, which this checks.
fn block<const N: usize>(iv: &[u8]) -> &[u8; N] {
    iv.first_chunk().unwrap_or(&[0; N])
}

/// CBC from the payload straight to the body, and in place for the block that payload and trailer share, and the rest.
fn encrypt_blocks<M: BlockModeEncrypt>(mut mode: M, payload: Option<&[u8]>, body: &mut [u8]) {
    let mut done = 0;
    if let Some(payload) = payload {
        let block = size_of::<Block<M>>();
        let whole = payload.len() / block * block;
        if let Ok(blocks) = InOutBuf::new(&payload[..whole], &mut body[..whole]) {
            mode.encrypt_blocks_inout(blocks.into_chunks().0);
        }
        body[whole..payload.len()].copy_from_slice(&payload[whole..]);
        done = whole;
    }
    mode.encrypt_blocks_inout(InOutBuf::from(&mut body[done..]).into_chunks().0);
}

fn decrypt_blocks<M: BlockModeDecrypt>(mut mode: M, body: InOutBuf<'_, '_, u8>) {
    mode.decrypt_blocks_inout(body.into_chunks().0);
}
