//! Packets of several transforms with a separate integrity algorithm, abreast.

use arrayvec::ArrayVec;
use gipsec_kernels::{cbc, hmac::Message};
use gipsec_wire::esp;

use super::{
    Algorithm, Forged, Open, Parts, Seal, Transform,
    cipher::CipherKey,
    high_bytes, high_len,
    integrity::{IntegrityKey, Tags},
    matches, put,
};
use crate::batch::MAX_BATCH;

impl Transform {
    /// Whether packets take less time together, also with those of other keys: all that takes long goes abreast.
    pub(crate) fn works_abreast(&self) -> bool {
        match &self.algorithm {
            Algorithm::Separate { cipher, integrity } => {
                !matches!(cipher, CipherKey::Des(_) | CipherKey::TripleDes(_))
                    && matches!(integrity, IntegrityKey::Sha1(_) | IntegrityKey::Sha256(_))
            }
            Algorithm::Gcm(_) | Algorithm::Gmac(_) | Algorithm::Aead(_) => false,
        }
    }
}

/// The transform of each packet: that of the first `count` ones, and so on.
fn each<'t>(owners: &[(&'t Transform, usize)]) -> impl Iterator<Item = &'t Transform> + Clone {
    owners.iter().flat_map(|(transform, count)| std::iter::repeat_n(*transform, *count))
}

/// As [`Transform::seal`], for packets of several transforms that work abreast: those of each one lie together.
pub(crate) fn seal_together(owners: &[(&Transform, usize)], seals: &mut [Seal<'_>]) {
    let mut jobs: ArrayVec<(&cbc::EncryptKey, cbc::Job<'_>), MAX_BATCH> = ArrayVec::new();
    for (Seal { payload, packet, .. }, transform) in seals.iter_mut().zip(each(owners)) {
        let Algorithm::Separate { cipher, .. } = &transform.algorithm else { continue };
        let (front, body, _) = transform.split_mut(packet);
        let iv = &front[esp::HEADER..];
        match cipher {
            CipherKey::CbcEncrypt(key) => {
                jobs.push((
                    key,
                    cbc::Job { iv: iv.first_chunk().copied().unwrap_or_default(), payload: *payload, body },
                ));
            }
            cipher => cipher.encrypt(iv, *payload, body),
        }
    }
    cbc::encrypt_together(&mut jobs);
    drop(jobs);
    let mut tags = Tags::new();
    tag_together(owners, seals.iter().map(|Seal { packet, high, .. }| (&**packet, *high)), &mut tags);
    for ((Seal { packet, .. }, transform), tag) in seals.iter_mut().zip(each(owners)).zip(&tags) {
        let (_, _, icv) = transform.split_mut(packet);
        put(icv, tag);
    }
}

/// As [`Transform::open`], likewise.
pub(crate) fn open_together(
    owners: &[(&Transform, usize)],
    opens: &mut [Open<'_>],
    results: &mut [Result<(), Forged>],
) {
    let mut tags = Tags::new();
    tag_together(owners, opens.iter().map(|open| (open.packet(), open.high)), &mut tags);
    for (((Open { packet, .. }, transform), tag), result) in opens.iter_mut().zip(each(owners)).zip(&tags).zip(results)
    {
        let Algorithm::Separate { cipher, .. } = &transform.algorithm else { continue };
        let Parts { front, body, icv } = transform.parts(packet);
        *result = matches(&tag[..icv.len()], icv);
        if result.is_ok() {
            cipher.decrypt(&front[esp::HEADER..], body);
        }
    }
}

/// Appends the full tags of packets, each from the SPI to the end of the ICV.
fn tag_together<'p>(
    owners: &[(&Transform, usize)],
    packets: impl Iterator<Item = (&'p [u8], Option<u32>)> + Clone,
    tags: &mut Tags,
) {
    let mut highs: ArrayVec<[u8; 4], MAX_BATCH> = ArrayVec::new();
    highs.extend(packets.clone().map(|(_, high)| high_bytes(high)));
    let mut messages: ArrayVec<(&IntegrityKey, Message<'_>), MAX_BATCH> = ArrayVec::new();
    for (((packet, high), bytes), transform) in packets.zip(&highs).zip(each(owners)) {
        let Algorithm::Separate { integrity, .. } = &transform.algorithm else { continue };
        let (head, tail) = (&packet[..packet.len() - transform.icv_len], &bytes[..high_len(high)]);
        messages.push((integrity, Message { head, tail }));
    }
    IntegrityKey::compute_together(&messages, tags);
}
