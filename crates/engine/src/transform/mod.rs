//! What an SA does to the bytes of a packet: encryption and integrity, for one direction.
//!
//! An ESP packet is handed over from its SPI to the end of its ICV, with SPI, sequence number, IV and trailer in place:
//! the output of [`Transform::seal`] is complete, and goes from the input straight to the output. [`Transform::open`]
//! writes plaintext only where the ICV matched, or wipes it.

mod aead;
mod cipher;
mod integrity;
#[cfg(test)]
mod published;
#[cfg(test)]
mod vectors;

use arrayvec::ArrayVec;
use gipsec_kernels::{gcm::GcmKey, hmac::Message};
use gipsec_wire::esp;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    Algorithms, Attributes, Cipher, Combined, Direction, Integrity, Keys, PacketError, SaError, batch::MAX_BATCH, iv,
};
use aead::AeadKey;
use cipher::{Body, CipherKey};
use integrity::IntegrityKey;
pub(crate) use integrity::{NO_TAG, Tag};

/// The salt of GCM and GMAC, in bytes.
const GCM_SALT: usize = 4;

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
    Gcm { salt: Salt<GCM_SALT>, key: GcmKey },
    Gmac { salt: Salt<GCM_SALT>, key: GcmKey },
    Aead(AeadKey),
}

/// The part of a nonce that is agreed with the key.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Salt<const N: usize>([u8; N]);

type Nonce = [u8; 12];

impl Salt<GCM_SALT> {
    /// RFC 4106 section 4: salt, then IV.
    #[inline]
    fn nonce(&self, iv: &[u8]) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..GCM_SALT].copy_from_slice(&self.0);
        nonce[GCM_SALT..].copy_from_slice(&iv[..8]);
        nonce
    }
}

/// The additional authenticated data of combined modes (RFC 4106 section 5): SPI and sequence number, 64-bit with ESN.
struct AdditionalData {
    bytes: [u8; 12],
    len: usize,
}

impl AdditionalData {
    #[inline]
    fn new(head: &[u8; esp::HEADER], high: Option<u32>) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&head[..4]);
        match high {
            None => {
                bytes[4..8].copy_from_slice(&head[4..]);
                Self { bytes, len: 8 }
            }
            Some(high) => {
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

/// What of an ESP packet a transform reads but does not change: SPI and sequence number, IV, ICV, and under ESN the high
/// half of the sequence number.
struct Frame<'a> {
    head: &'a [u8; esp::HEADER],
    iv: &'a [u8],
    icv: &'a [u8],
    high: Option<u32>,
}

impl Frame<'_> {
    #[inline]
    fn aad(&self) -> AdditionalData {
        AdditionalData::new(self.head, self.high)
    }
}

/// An ESP packet whose ICV is to be computed.
pub(crate) struct Unverified<'a> {
    /// From the SPI to the end of the ICV.
    pub packet: &'a [u8],
    /// The high half of the sequence number under ESN.
    pub high: Option<u32>,
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
        let cipher = CipherKey::new(cipher, &keys.cipher, direction)?;
        let icv_len = integrity::icv_len(integrity, icv_len)?;
        let integrity = IntegrityKey::new(integrity, &keys.integrity)?;
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
                let (salt, key) = keys.cipher.split_first_chunk().ok_or(KEY)?;
                let key = GcmKey::new(key).ok_or(KEY)?;
                let salt = Salt(*salt);
                if combined == Combined::Gcm { Algorithm::Gcm { salt, key } } else { Algorithm::Gmac { salt, key } }
            }
            Combined::Ccm => Algorithm::Aead(AeadKey::ccm(&keys.cipher, icv_len).ok_or(KEY)?),
            Combined::ChaCha20Poly1305 => Algorithm::Aead(AeadKey::chacha20_poly1305(&keys.cipher).ok_or(KEY)?),
        };
        let iv = if implicit_iv { iv::Kind::None } else { iv::Kind::Counter };
        Ok(Self { algorithm, icv_len, iv, implicit_iv, alignment: 4 })
    }

    /// Bytes of an ESP packet that are not payload, padding or trailer: SPI, sequence number, IV and ICV.
    #[inline]
    pub(crate) fn overhead(&self) -> usize {
        esp::HEADER + self.iv.len() + self.icv_len
    }

    /// Whether packets that are sealed together take less time than one by one.
    #[inline]
    pub(crate) fn works_abreast(&self) -> bool {
        matches!(&self.algorithm, Algorithm::Separate { cipher, integrity }
            if cipher.works_abreast() || integrity.works_abreast())
    }

    /// Encrypts and authenticates a batch of at most [`MAX_BATCH`] packets.
    pub(crate) fn seal(&self, batch: &mut [Seal<'_>]) {
        match (&self.algorithm, batch) {
            (_, []) => {}
            (Algorithm::Separate { cipher, .. }, batch @ [_, _, ..]) => {
                cipher.encrypt_all(batch.iter_mut().map(|Seal { payload, packet, .. }| {
                    let (front, body, _) = self.split_mut(packet);
                    (&front[esp::HEADER..], *payload, body)
                }));
                let mut tags = [NO_TAG; MAX_BATCH];
                let sealed: ArrayVec<Unverified<'_>, MAX_BATCH> =
                    batch.iter().map(|Seal { packet, high, .. }| Unverified { packet, high: *high }).collect();
                self.expect(&sealed, &mut tags);
                drop(sealed);
                for (Seal { packet, .. }, tag) in batch.iter_mut().zip(tags) {
                    let (_, _, icv) = self.split_mut(packet);
                    icv.copy_from_slice(&tag[..icv.len()]);
                }
            }
            (_, batch) => {
                for Seal { payload, packet, high } in batch {
                    self.seal_one(Seal { payload: *payload, packet, high: *high });
                }
            }
        }
    }

    /// Encrypts and authenticates one packet.
    #[inline]
    pub(crate) fn seal_one(&self, Seal { payload, packet, high }: Seal<'_>) {
        let (front, body, icv) = self.split_mut(packet);
        let Some((head, iv)) = front.split_first_chunk() else { return };
        let implicit = self.implicit_iv.then(|| implicit_iv(head, high));
        let iv = implicit.as_ref().map_or(iv, <[u8; 8]>::as_slice);
        match &self.algorithm {
            Algorithm::Gcm { salt, key } => {
                let aad = AdditionalData::new(head, high);
                let nonce = salt.nonce(iv);
                let tag = match payload {
                    Some(payload) => key.seal(&nonce, aad.bytes(), payload, body),
                    None => key.seal_in_place(&nonce, aad.bytes(), body),
                };
                icv.copy_from_slice(&tag[..icv.len()]);
            }
            Algorithm::Separate { cipher, integrity } => {
                cipher.encrypt(iv, payload, body);
                let tag = integrity.compute(&[front, body, &high_bytes(high)[..high_len(high)]]);
                icv.copy_from_slice(&tag[..icv.len()]);
            }
            Algorithm::Gmac { salt, key } => {
                place(payload, body);
                let tag = key.mac(&salt.nonce(iv), &[AdditionalData::new(head, high).bytes(), iv, body]);
                icv.copy_from_slice(&tag[..icv.len()]);
            }
            Algorithm::Aead(key) => {
                place(payload, body);
                key.seal(iv, AdditionalData::new(head, high).bytes(), body, icv);
            }
        }
    }

    /// Whether the ICVs of packets that are computed together take less time than one by one.
    #[inline]
    pub(crate) fn verifies_abreast(&self) -> bool {
        matches!(&self.algorithm, Algorithm::Separate { integrity, .. } if integrity.works_abreast())
    }

    /// The ICVs that at most [`MAX_BATCH`] packets should have, where integrity is an algorithm of its own; as many `tags`
    /// at least.
    pub(crate) fn expect(&self, packets: &[Unverified<'_>], tags: &mut [Tag]) {
        let Algorithm::Separate { integrity, .. } = &self.algorithm else { return };
        let highs: ArrayVec<[u8; 4], MAX_BATCH> = packets.iter().map(|packet| high_bytes(packet.high)).collect();
        let messages: ArrayVec<Message<'_>, MAX_BATCH> = packets
            .iter()
            .zip(&highs)
            .map(|(Unverified { packet, high }, bytes)| Message {
                head: &packet[..packet.len() - self.icv_len],
                tail: &bytes[..high_len(*high)],
            })
            .collect();
        integrity.compute_all(&messages, tags);
    }

    /// Verifies `packet` and decrypts it into `output`, which is as long as what was encrypted. Where the ICV does not
    /// match, `output` holds nothing of the plaintext. `tag` is the ICV that the packet should have, where it is known.
    #[inline]
    pub(crate) fn open(
        &self,
        packet: &[u8],
        high: Option<u32>,
        output: &mut [u8],
        tag: Option<&Tag>,
    ) -> Result<(), Forged> {
        let (front, rest) = packet.split_at(esp::HEADER + self.iv.len());
        let (body, icv) = rest.split_at(rest.len() - self.icv_len);
        let (head, iv) = front.split_first_chunk().ok_or(Forged)?;
        let implicit = self.implicit_iv.then(|| implicit_iv(head, high));
        let frame = Frame { head, iv: implicit.as_ref().map_or(iv, <[u8; 8]>::as_slice), icv, high };
        let iv = frame.iv;
        if let Algorithm::Gcm { salt, key } = &self.algorithm {
            return key.open(&salt.nonce(iv), frame.aad().bytes(), body, icv, output).map_err(|_| Forged);
        }
        self.verify(&frame, body, tag)?;
        self.decrypt(&frame, Body::Apart { input: body, output })
    }

    /// As [`Transform::open`], with the plaintext in the place of the ciphertext.
    #[inline]
    pub(crate) fn open_in_place(&self, packet: &mut [u8], high: Option<u32>, tag: Option<&Tag>) -> Result<(), Forged> {
        let (front, body, icv) = self.split_mut(packet);
        let (head, iv) = front.split_first_chunk().ok_or(Forged)?;
        let implicit = self.implicit_iv.then(|| implicit_iv(head, high));
        let frame = Frame { head, iv: implicit.as_ref().map_or(iv, <[u8; 8]>::as_slice), icv, high };
        let iv = frame.iv;
        if let Algorithm::Gcm { salt, key } = &self.algorithm {
            return key.open_in_place(&salt.nonce(iv), frame.aad().bytes(), icv, body).map_err(|_| Forged);
        }
        self.verify(&frame, body, tag)?;
        self.decrypt(&frame, Body::InPlace(body))
    }

    /// What is not encrypted, what is, and the ICV.
    #[inline]
    fn split_mut<'a>(&self, packet: &'a mut [u8]) -> (&'a mut [u8], &'a mut [u8], &'a mut [u8]) {
        let (front, rest) = packet.split_at_mut(esp::HEADER + self.iv.len());
        let (body, icv) = rest.split_at_mut(rest.len() - self.icv_len);
        (front, body, icv)
    }

    /// The integrity of AH, or of anything else that is not encrypted: `parts` in order, IV beside them.
    pub(crate) fn authenticate(&self, iv: &[u8], parts: &[&[u8]]) -> Tag {
        match &self.algorithm {
            Algorithm::Separate { integrity, .. } => integrity.compute(parts),
            Algorithm::Gmac { salt, key } | Algorithm::Gcm { salt, key } => {
                let mut tag = NO_TAG;
                tag[..16].copy_from_slice(&key.mac(&salt.nonce(iv), parts));
                tag
            }
            Algorithm::Aead(_) => NO_TAG, // not reached: AH does not encrypt
        }
    }

    /// Checks the ICV where it can be checked before decryption.
    fn verify(&self, frame: &Frame<'_>, body: &[u8], tag: Option<&Tag>) -> Result<(), Forged> {
        if let Some(tag) = tag {
            return matches(&tag[..frame.icv.len()], frame.icv);
        }
        let expected = match &self.algorithm {
            Algorithm::Separate { integrity, .. } => {
                integrity.compute(&[frame.head, frame.iv, body, &high_bytes(frame.high)[..high_len(frame.high)]])
            }
            Algorithm::Gmac { .. } => self.authenticate(frame.iv, &[frame.aad().bytes(), frame.iv, body]),
            Algorithm::Gcm { .. } | Algorithm::Aead(_) => return Ok(()),
        };
        matches(&expected[..frame.icv.len()], frame.icv)
    }

    fn decrypt(&self, frame: &Frame<'_>, body: Body<'_>) -> Result<(), Forged> {
        match &self.algorithm {
            Algorithm::Separate { cipher, .. } => {
                cipher.decrypt(frame.iv, body);
                Ok(())
            }
            Algorithm::Gmac { .. } => {
                body.copy();
                Ok(())
            }
            Algorithm::Aead(key) => {
                let mut body = body.in_out();
                let result = key.open(frame.iv, frame.aad().bytes(), frame.icv, body.reborrow());
                if result.is_err() {
                    body.get_out().zeroize();
                }
                result
            }
            Algorithm::Gcm { .. } => Err(Forged), // not reached: opened in one step
        }
    }
}

/// Compares in constant time.
pub(crate) fn matches(expected: &[u8], icv: &[u8]) -> Result<(), Forged> {
    if bool::from(expected.ct_eq(icv)) { Ok(()) } else { Err(Forged) }
}

/// RFC 8750 section 4: the sequence number, with zeros before one of 32 bits.
#[inline]
fn implicit_iv(head: &[u8; esp::HEADER], high: Option<u32>) -> [u8; 8] {
    let mut iv = [0; 8];
    iv[..4].copy_from_slice(&high.unwrap_or(0).to_be_bytes());
    iv[4..].copy_from_slice(&head[4..]);
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
