//! Integrity algorithms. Pad states are computed once for each key.

use ::cipher::{Block, BlockCipherEncrypt, KeyInit};
use ::hmac::{Hmac, Mac};
use aes::Aes128Enc;
use arrayvec::ArrayVec;
use cmac::Cmac;
use gipsec_kernels::hmac as abreast;
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroize;

use crate::{Integrity, SaError, batch::MAX_BATCH};

/// A full-length tag of any algorithm, in its first bytes.
pub(crate) type Tag = [u8; 64];

/// The tags of a batch.
pub(super) type Tags = ArrayVec<Tag, MAX_BATCH>;

/// A tag that nothing has been written to.
pub(crate) const NO_TAG: Tag = [0; 64];

/// ICV length in bytes: the usual one, or one that R18 allows; 96 bits of any SHA-2 for peers from before RFC 4868.
pub(super) fn icv_len(integrity: Integrity, asked: Option<usize>) -> Result<usize, SaError> {
    let allowed: &[usize] = match integrity {
        Integrity::None => &[0],
        Integrity::HmacMd5 => &[12, 16],
        Integrity::HmacSha1 => &[12, 20],
        Integrity::AesXcbc | Integrity::AesCmac => &[12],
        Integrity::HmacSha256 => &[16, 12, 32],
        Integrity::HmacSha384 => &[24, 12, 48],
        Integrity::HmacSha512 => &[32, 12, 64],
    };
    match asked {
        None => Ok(allowed[0]),
        Some(asked) if allowed.contains(&asked) => Ok(asked),
        Some(_) => Err(SaError::Invalid("the ICV length does not fit the algorithm")),
    }
}

/// A key with its pad states.
pub(super) enum IntegrityKey {
    None,
    Md5(Hmac<Md5>),
    Sha1(Box<Both<Hmac<Sha1>, abreast::Sha1Key>>),
    Sha256(Box<Both<Hmac<Sha256>, abreast::Sha256Key>>),
    Sha384(Box<Hmac<Sha384>>),
    Sha512(Box<Hmac<Sha512>>),
    Xcbc(Box<Xcbc>),
    Cmac(Box<Cmac<Aes128Enc>>),
}

/// A key twice: for a message in parts, and for many messages abreast.
pub(super) struct Both<P, A> {
    parts: P,
    abreast: A,
}

impl IntegrityKey {
    /// Key lengths are those of RFC 2403, 2404, 3566, 4494 and 4868: the length of the full tag.
    pub(super) fn new(integrity: Integrity, key: &[u8]) -> Result<Self, SaError> {
        let length = match integrity {
            Integrity::None => 0,
            Integrity::HmacMd5 | Integrity::AesXcbc | Integrity::AesCmac => 16,
            Integrity::HmacSha1 => 20,
            Integrity::HmacSha256 => 32,
            Integrity::HmacSha384 => 48,
            Integrity::HmacSha512 => 64,
        };
        if key.len() != length {
            return Err(SaError::Invalid("the integrity key's length does not fit the algorithm"));
        }
        Self::of_any_length(integrity, key)
    }

    /// As [`IntegrityKey::new`], for a key as long as HMAC itself allows.
    pub(super) fn of_any_length(integrity: Integrity, key: &[u8]) -> Result<Self, SaError> {
        match integrity {
            Integrity::None => Some(Self::None),
            Integrity::HmacMd5 => Hmac::new_from_slice(key).ok().map(Self::Md5),
            Integrity::HmacSha1 => Hmac::new_from_slice(key)
                .ok()
                .map(|parts| Self::Sha1(Box::new(Both { parts, abreast: abreast::Sha1Key::new(key) }))),
            Integrity::HmacSha256 => Hmac::new_from_slice(key)
                .ok()
                .map(|parts| Self::Sha256(Box::new(Both { parts, abreast: abreast::Sha256Key::new(key) }))),
            Integrity::HmacSha384 => Hmac::new_from_slice(key).ok().map(|key| Self::Sha384(Box::new(key))),
            Integrity::HmacSha512 => Hmac::new_from_slice(key).ok().map(|key| Self::Sha512(Box::new(key))),
            Integrity::AesXcbc => key.try_into().ok().map(|key| Self::Xcbc(Box::new(Xcbc::new(key)))),
            Integrity::AesCmac => Cmac::new_from_slice(key).ok().map(|key| Self::Cmac(Box::new(key))),
        }
        .ok_or(SaError::Invalid("the integrity key's length does not fit the algorithm"))
    }

    /// Appends the full tags of many messages, each in two parts, to `tags`, which is empty.
    pub(super) fn compute_all(&self, messages: &[abreast::Message<'_>], tags: &mut Tags) {
        match (self, messages) {
            // One message is faster in parts.
            (Self::Sha1(key), [_, _, ..]) => {
                tags.extend(messages.iter().map(|_| NO_TAG));
                key.abreast.compute(messages, tags);
            }
            (Self::Sha256(key), [_, _, ..]) => {
                tags.extend(messages.iter().map(|_| NO_TAG));
                key.abreast.compute(messages, tags);
            }
            _ => tags.extend(messages.iter().map(|message| self.compute(&[message.head, message.tail]))),
        }
    }

    /// Appends the full tags of messages with keys of any algorithm to `tags`, which is empty.
    pub(super) fn compute_together(messages: &[(&Self, abreast::Message<'_>)], tags: &mut Tags) {
        tags.extend(messages.iter().map(|(key, message)| match key {
            Self::Sha1(_) | Self::Sha256(_) => NO_TAG,
            key => key.compute(&[message.head, message.tail]),
        }));
        together(messages, tags, Self::sha1, |keys, messages, tags| {
            abreast::Sha1Key::compute_together(keys, messages, tags);
        });
        together(messages, tags, Self::sha256, |keys, messages, tags| {
            abreast::Sha256Key::compute_together(keys, messages, tags);
        });
    }

    fn sha1(&self) -> Option<&abreast::Sha1Key> {
        if let Self::Sha1(key) = self { Some(&key.abreast) } else { None }
    }

    fn sha256(&self) -> Option<&abreast::Sha256Key> {
        if let Self::Sha256(key) = self { Some(&key.abreast) } else { None }
    }

    /// The full tag over `parts` in order, in its first bytes.
    pub(super) fn compute(&self, parts: &[&[u8]]) -> Tag {
        match self {
            Self::None => NO_TAG,
            Self::Md5(key) => mac(key, parts),
            Self::Sha1(key) => mac(&key.parts, parts),
            Self::Sha256(key) => mac(&key.parts, parts),
            Self::Sha384(key) => mac(key.as_ref(), parts),
            Self::Sha512(key) => mac(key.as_ref(), parts),
            Self::Cmac(key) => mac(key.as_ref(), parts),
            Self::Xcbc(key) => key.compute(parts),
        }
    }
}

/// Has `compute` make the tags of those messages whose key `select` finds.
fn together<'k, K: 'k>(
    messages: &[(&'k IntegrityKey, abreast::Message<'_>)],
    tags: &mut Tags,
    select: impl Fn(&'k IntegrityKey) -> Option<&'k K>,
    compute: impl FnOnce(&[&K], &[abreast::Message<'_>], &mut [&mut [u8]]),
) {
    let (mut keys, mut selected) = (ArrayVec::<_, MAX_BATCH>::new(), ArrayVec::<_, MAX_BATCH>::new());
    let mut theirs: ArrayVec<&mut [u8], MAX_BATCH> = ArrayVec::new();
    for ((key, message), tag) in messages.iter().zip(tags) {
        if let Some(key) = select(key) {
            keys.push(key);
            selected.push(*message);
            theirs.push(tag);
        }
    }
    compute(&keys, &selected, &mut theirs);
}

fn mac<M: Mac + Clone>(key: &M, parts: &[&[u8]]) -> Tag {
    let mut mac = key.clone();
    for part in parts {
        mac.update(part);
    }
    let full = mac.finalize().into_bytes();
    let mut tag = NO_TAG;
    tag[..full.len()].copy_from_slice(&full);
    tag
}

type AesBlock = Block<Aes128Enc>;

/// AES-XCBC-MAC (RFC 3566 section 4).
pub(super) struct Xcbc {
    k1: Aes128Enc,
    /// Mixed into a last block that is whole.
    k2: AesBlock,
    /// Mixed into a last block that was padded.
    k3: AesBlock,
}

impl Xcbc {
    fn new(key: &[u8; 16]) -> Self {
        let cipher = Aes128Enc::new(key.into());
        let derive = |constant: u8| {
            let mut block = AesBlock::from([constant; 16]);
            cipher.encrypt_block(&mut block);
            block
        };
        let mut k1 = derive(1);
        let derived = Self { k1: Aes128Enc::new(&k1), k2: derive(2), k3: derive(3) };
        k1.zeroize();
        derived
    }

    fn compute(&self, parts: &[&[u8]]) -> Tag {
        let mut state = AesBlock::default();
        // How much of `state` the present block has been mixed into; a full block waits, since it may be the last.
        let mut filled = 0;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                if filled == 16 {
                    self.k1.encrypt_block(&mut state);
                    filled = 0;
                }
                let (now, later) = rest.split_at(rest.len().min(16 - filled));
                for (mixed, byte) in state[filled..].iter_mut().zip(now) {
                    *mixed ^= byte;
                }
                filled += now.len();
                rest = later;
            }
        }
        let last = if filled == 16 {
            &self.k2
        } else {
            state[filled] ^= 0x80;
            &self.k3
        };
        for (mixed, byte) in state.iter_mut().zip(last) {
            *mixed ^= byte;
        }
        self.k1.encrypt_block(&mut state);
        let mut tag = NO_TAG;
        tag[..16].copy_from_slice(&state);
        tag
    }
}

impl Drop for Xcbc {
    fn drop(&mut self) {
        self.k2.zeroize();
        self.k3.zeroize();
    }
}
