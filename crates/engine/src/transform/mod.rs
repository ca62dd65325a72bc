//! What an SA does to the bytes of a packet: encryption and integrity, for one direction.
//!
//! An ESP packet is handed over from its SPI to the end of its ICV, with SPI, sequence number, IV and trailer in place:
//! the output of [`Transform::seal`] is complete, and goes from the input straight to the output. [`Transform::open`]
//! leaves plaintext only where the ICV matched. Both take a batch at a time: packets go abreast where that is faster.
//!
//! What is kept for a batch is filled where it lies: such an array is too large to be moved.

mod aead;
mod cipher;
mod gcm;
mod integrity;
#[cfg(test)]
mod published;
mod together;
#[cfg(test)]
mod vectors;

use std::ops::Range;

use arrayvec::ArrayVec;
use gipsec_kernels::hmac::Message;
use gipsec_wire::esp;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::{
    Algorithms, Attributes, Cipher, Combined, Direction, Integrity, Keys, PacketError, SaError, batch::MAX_BATCH, iv,
    scratch::leaving_nothing,
};
use aead::AeadKey;
use cipher::{Body, CipherKey};
use gcm::SaltedKey;
pub(crate) use gcm::{ICV, Icvs, Volatile};
use integrity::{IntegrityKey, Tags};
pub(crate) use integrity::{NO_TAG, Tag};
pub(crate) use together::{open_together, seal_together};

/// The ICV does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

impl From<Forged> for PacketError {
    fn from(_: Forged) -> Self {
        Self::BadIcv
    }
}

/// Algorithms with their keys, ready to run.
pub(crate) struct Transform {
    algorithm: Algorithm,
    /// Bytes of ICV on the wire.
    pub icv_len: usize,
    /// How IVs are made.
    pub iv: iv::Kind,
    /// The IV is the sequence number, and not in the packet (RFC 8750).
    implicit_iv: bool,
    /// Payload and trailer are padded to a multiple of this.
    pub alignment: usize,
}

enum Algorithm {
    Separate { cipher: CipherKey, integrity: IntegrityKey },
    Gcm(SaltedKey),
    Gmac(SaltedKey),
    Aead(AeadKey),
}

/// The additional authenticated data of combined modes (RFC 4106 section 5): SPI and sequence number, 64-bit with ESN.
struct AdditionalData {
    bytes: [u8; 12],
    len: usize,
}

impl AdditionalData {
    #[inline]
    fn new(head: [u8; esp::HEADER], high: Option<u32>) -> Self {
        let mut bytes = [0; 12];
        match high {
            None => {
                bytes[..8].copy_from_slice(&head);
                Self { bytes, len: 8 }
            }
            Some(high) => {
                bytes[..4].copy_from_slice(&head[..4]);
                bytes[4..8].copy_from_slice(&high.to_be_bytes());
                bytes[8..].copy_from_slice(&head[4..]);
                Self { bytes, len: 12 }
            }
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// An ESP packet to be encrypted and authenticated. Its SPI, sequence number, IV and, at the end of the plaintext, trailer
/// are in place; so is the payload unless it is given apart.
pub(crate) struct Seal<'a> {
    /// The payload, where it is apart.
    pub payload: Option<&'a [u8]>,
    /// From the SPI to the end of the ICV, at least [`Transform::overhead`] long.
    pub packet: &'a mut [u8],
    /// The high half of the sequence number under ESN.
    pub high: Option<u32>,
}

/// A batch of them.
pub(crate) type Seals<'a> = ArrayVec<Seal<'a>, MAX_BATCH>;

/// An ESP packet to be verified and decrypted.
pub(crate) struct Open<'a> {
    /// From the SPI to the end of the ICV, at least [`Transform::overhead`] long, and where its plaintext goes.
    pub packet: Sealed<'a>,
    /// The high half of the sequence number under ESN.
    pub high: Option<u32>,
}

/// A batch of them.
pub(crate) type Opens<'a> = ArrayVec<Open<'a>, MAX_BATCH>;

/// An ESP packet, and where its plaintext goes.
pub(crate) enum Sealed<'a> {
    /// To `output`, which is as long as what is encrypted.
    Apart { packet: &'a [u8], output: &'a mut [u8] },
    /// To the place of the ciphertext.
    InPlace(&'a mut [u8]),
}

impl Open<'_> {
    fn packet(&self) -> &[u8] {
        match &self.packet {
            Sealed::Apart { packet, .. } => packet,
            Sealed::InPlace(packet) => packet,
        }
    }
}

/// What is not encrypted of an ESP packet, what is, and the ICV.
struct Parts<'a> {
    front: &'a [u8],
    body: Body<'a>,
    icv: &'a [u8],
}

impl Transform {
    /// Checks keys and lengths, and expands the keys for `direction`.
    pub(crate) fn new(attributes: &Attributes, keys: &Keys) -> Result<Self, SaError> {
        let direction = attributes.direction();
        match attributes.algorithms {
            Algorithms::Separate { .. } | Algorithms::Combined(Combined::Gmac) if attributes.implicit_iv => {
                Err(SaError::Invalid("an implicit IV needs AES-GCM, AES-CCM or ChaCha20-Poly1305"))
            }
            Algorithms::Separate { cipher, integrity } => {
                Self::separate(cipher, integrity, keys, attributes.icv_len, direction)
            }
            Algorithms::Combined(combined) => {
                Self::combined(combined, keys, attributes.icv_len, attributes.implicit_iv)
            }
        }
    }

    fn separate(
        cipher: Cipher,
        integrity: Integrity,
        keys: &Keys,
        icv_len: Option<usize>,
        direction: Direction,
    ) -> Result<Self, SaError> {
        let cipher = leaving_nothing(|| CipherKey::new(cipher, &keys.cipher, direction))?;
        let icv_len = integrity::icv_len(integrity, icv_len)?;
        let integrity = leaving_nothing(|| IntegrityKey::new(integrity, &keys.integrity))?;
        let (iv, alignment) = (cipher.iv(), cipher.alignment());
        Ok(Self { algorithm: Algorithm::Separate { cipher, integrity }, icv_len, iv, implicit_iv: false, alignment })
    }

    fn combined(combined: Combined, keys: &Keys, icv_len: Option<usize>, implicit_iv: bool) -> Result<Self, SaError> {
        const KEY: SaError = SaError::Invalid("the combined mode key is not the salt and a key of the algorithm");
        if !keys.integrity.is_empty() {
            return Err(SaError::Invalid("a combined mode algorithm takes no integrity key"));
        }
        let icv_len = match (combined, icv_len.unwrap_or(16)) {
            (_, 16) => 16,
            (Combined::Gcm | Combined::Ccm, length @ (8 | 12)) => length,
            _ => return Err(SaError::Invalid("the ICV length does not fit the algorithm")),
        };
        let algorithm = match combined {
            Combined::Gcm | Combined::Gmac => {
                let key = SaltedKey::new(&keys.cipher).ok_or(KEY)?;
                if combined == Combined::Gcm { Algorithm::Gcm(key) } else { Algorithm::Gmac(key) }
            }
            Combined::Ccm => Algorithm::Aead(leaving_nothing(|| AeadKey::ccm(&keys.cipher, icv_len)).ok_or(KEY)?),
            Combined::ChaCha20Poly1305 => {
                Algorithm::Aead(leaving_nothing(|| AeadKey::chacha20_poly1305(&keys.cipher)).ok_or(KEY)?)
            }
        };
        let iv = if implicit_iv { iv::Kind::None } else { iv::Kind::Counter };
        Ok(Self { algorithm, icv_len, iv, implicit_iv, alignment: 4 })
    }

    /// Bytes of an ESP packet that are not payload, padding or trailer: SPI, sequence number, IV and ICV.
    #[inline]
    pub(crate) fn overhead(&self) -> usize {
        esp::HEADER + self.iv.len() + self.icv_len
    }

    /// The addresses of what only long packets need.
    #[inline]
    pub(crate) fn for_long_packets(&self) -> Range<usize> {
        match &self.algorithm {
            Algorithm::Gcm(key) => key.for_long_packets(),
            _ => 0..0,
        }
    }

    /// Encrypts and authenticates a batch of at most [`MAX_BATCH`] packets.
    pub(crate) fn seal(&self, batch: &mut [Seal<'_>]) {
        match &self.algorithm {
            Algorithm::Gcm(key) => self.seal_gcm(key, batch),
            Algorithm::Separate { cipher, integrity } => {
                cipher.encrypt_all(batch.iter_mut().map(|Seal { payload, packet, .. }| {
                    let (front, body, _) = self.split_mut(packet);
                    (&front[esp::HEADER..], *payload, body)
                }));
                let mut tags = Tags::new();
                self.tags(integrity, batch.iter().map(|Seal { packet, high, .. }| (&**packet, *high)), &mut tags);
                for (Seal { packet, .. }, tag) in batch.iter_mut().zip(&tags) {
                    let (_, _, icv) = self.split_mut(packet);
                    put(icv, tag);
                }
            }
            Algorithm::Gmac(key) => {
                for Seal { payload, packet, high } in batch {
                    let (front, body, icv) = self.split_mut(packet);
                    place(*payload, body);
                    let tag = key.mac(self.iv(front, *high), &[aad(front, *high).bytes(), &front[esp::HEADER..], body]);
                    icv.copy_from_slice(&tag[..icv.len()]);
                }
            }
            Algorithm::Aead(key) => {
                for Seal { payload, packet, high } in batch {
                    let (front, body, icv) = self.split_mut(packet);
                    place(*payload, body);
                    key.seal(&self.iv(front, *high), aad(front, *high).bytes(), body, icv);
                }
            }
        }
    }

    /// Verifies and decrypts a batch of at most [`MAX_BATCH`] packets; `results`, as many, say whose ICVs matched. Of the
    /// others nothing of the plaintext is left.
    pub(crate) fn open(&self, batch: &mut [Open<'_>], results: &mut [Result<(), Forged>]) {
        match &self.algorithm {
            Algorithm::Gcm(key) => self.open_gcm(key, batch, results),
            Algorithm::Separate { cipher, integrity } => {
                let mut tags = Tags::new();
                self.tags(integrity, batch.iter().map(|open| (open.packet(), open.high)), &mut tags);
                for ((Open { packet, .. }, result), tag) in batch.iter_mut().zip(results).zip(&tags) {
                    let Parts { front, body, icv } = self.parts(packet);
                    *result = matches(&tag[..icv.len()], icv);
                    if result.is_ok() {
                        cipher.decrypt(&front[esp::HEADER..], body);
                    }
                }
            }
            Algorithm::Gmac(key) => {
                for (Open { packet, high }, result) in batch.iter_mut().zip(results) {
                    let Parts { front, body, icv } = self.parts(packet);
                    let aad = aad(front, *high);
                    let parts = &[aad.bytes(), &front[esp::HEADER..], body.input()];
                    *result = matches(&key.mac(self.iv(front, *high), parts)[..icv.len()], icv);
                    if result.is_ok() {
                        body.copy();
                    }
                }
            }
            Algorithm::Aead(key) => {
                for (Open { packet, high }, result) in batch.iter_mut().zip(results) {
                    let Parts { front, body, icv } = self.parts(packet);
                    let mut body = body.in_out();
                    *result = key.open(&self.iv(front, *high), aad(front, *high).bytes(), icv, body.reborrow());
                    if result.is_err() {
                        body.get_out().zeroize();
                    }
                }
            }
        }
    }

    /// Appends the full tags of packets to `tags`, which is empty: each from the SPI to the end of the ICV, with the high
    /// half of its sequence number.
    fn tags<'p>(
        &self,
        integrity: &IntegrityKey,
        packets: impl Iterator<Item = (&'p [u8], Option<u32>)> + Clone,
        tags: &mut Tags,
    ) {
        let mut highs: ArrayVec<[u8; 4], MAX_BATCH> = ArrayVec::new();
        highs.extend(packets.clone().map(|(_, high)| high_bytes(high)));
        let mut messages: ArrayVec<Message<'_>, MAX_BATCH> = ArrayVec::new();
        messages.extend(packets.zip(&highs).map(|((packet, high), bytes)| Message {
            head: &packet[..packet.len() - self.icv_len],
            tail: &bytes[..high_len(high)],
        }));
        integrity.compute_all(&messages, tags);
    }

    /// The IV of a combined mode: explicit, or the sequence number (RFC 8750).
    #[inline(always)]
    fn iv(&self, front: &[u8], high: Option<u32>) -> [u8; 8] {
        if self.implicit_iv {
            implicit_iv(front, high)
        } else {
            front.get(esp::HEADER..).and_then(|iv| iv.first_chunk()).copied().unwrap_or_default()
        }
    }

    /// What is not encrypted, what is, and the ICV.
    #[inline(always)]
    fn split_mut<'a>(&self, packet: &'a mut [u8]) -> (&'a mut [u8], &'a mut [u8], &'a mut [u8]) {
        let (front, rest) = packet.split_at_mut(esp::HEADER + self.iv.len());
        let (body, icv) = rest.split_at_mut(rest.len() - self.icv_len);
        (front, body, icv)
    }

    /// The same of a packet that is to be opened.
    #[inline(always)]
    fn parts<'a>(&self, packet: &'a mut Sealed<'_>) -> Parts<'a> {
        match packet {
            Sealed::Apart { packet, output } => {
                let (front, rest) = packet.split_at(esp::HEADER + self.iv.len());
                let (input, icv) = rest.split_at(rest.len() - self.icv_len);
                Parts { front, body: Body::Apart { input, output }, icv }
            }
            Sealed::InPlace(packet) => {
                let (front, body, icv) = self.split_mut(packet);
                Parts { front, body: Body::InPlace(body), icv }
            }
        }
    }

    /// The integrity of AH: `parts` in order, IV beside them.
    pub(crate) fn authenticate(&self, iv: &[u8], parts: &[&[u8]]) -> Tag {
        match &self.algorithm {
            Algorithm::Separate { integrity, .. } => integrity.compute(parts),
            Algorithm::Gmac(key) => {
                let mut tag = NO_TAG;
                tag[..16].copy_from_slice(&key.mac(iv.first_chunk().copied().unwrap_or_default(), parts));
                tag
            }
            Algorithm::Gcm(_) | Algorithm::Aead(_) => NO_TAG, // not reached: AH does not encrypt
        }
    }
}

/// SPI and sequence number of a packet.
#[inline(always)]
fn head(front: &[u8]) -> [u8; esp::HEADER] {
    front.first_chunk().copied().unwrap_or_default()
}

#[inline(always)]
fn aad(front: &[u8], high: Option<u32>) -> AdditionalData {
    AdditionalData::new(head(front), high)
}

/// Writes as much of a tag as the ICV has of it. The usual lengths are not copied by a call.
#[inline]
fn put(icv: &mut [u8], tag: &[u8]) {
    match (icv.len(), icv.first_chunk_mut::<12>(), tag.first_chunk::<12>()) {
        (12, Some(icv), Some(tag)) => *icv = *tag,
        _ => match (icv.len(), icv.first_chunk_mut::<16>(), tag.first_chunk::<16>()) {
            (16, Some(icv), Some(tag)) => *icv = *tag,
            _ => icv.copy_from_slice(&tag[..icv.len()]),
        },
    }
}

/// Compares in constant time; ICVs are a whole number of 4-byte words.
#[inline]
pub(crate) fn matches(expected: &[u8], icv: &[u8]) -> Result<(), Forged> {
    let ((expected, []), (icv, [])) = (expected.as_chunks::<4>(), icv.as_chunks::<4>()) else { return Err(Forged) };
    if expected.len() != icv.len() {
        return Err(Forged);
    }
    let difference =
        expected.iter().zip(icv).fold(0, |sum, (a, b)| sum | u32::from_ne_bytes(*a) ^ u32::from_ne_bytes(*b));
    if bool::from(difference.ct_eq(&0)) { Ok(()) } else { Err(Forged) }
}

/// RFC 8750 section 4: the sequence number, with zeros before one of 32 bits.
fn implicit_iv(front: &[u8], high: Option<u32>) -> [u8; 8] {
    let mut iv = [0; 8];
    iv[..4].copy_from_slice(&high.unwrap_or(0).to_be_bytes());
    iv[4..].copy_from_slice(&head(front)[4..]);
    iv
}

/// The high half of the sequence number, which the ICV covers under ESN although it is not sent.
fn high_bytes(high: Option<u32>) -> [u8; 4] {
    high.unwrap_or(0).to_be_bytes()
}

fn high_len(high: Option<u32>) -> usize {
    if high.is_some() { 4 } else { 0 }
}

/// Puts the payload in front of the trailer, for algorithms that work in place.
#[inline]
fn place(payload: Option<&[u8]>, body: &mut [u8]) {
    if let Some(payload) = payload {
        body[..payload.len()].copy_from_slice(payload);
    }
}
