//! AES-GCM as ESP has it (RFC 4106). A batch is laid out first and goes through the kernel then, so that the kernel reads
//! nothing that was written a moment ago.

use std::ops::Range;

use arrayvec::ArrayVec;
use gipsec_kernels::gcm::{GcmKey, OpenJob, SealJob, TagMismatch, VolatileJob};
use gipsec_wire::esp;
use vm_memory::VolatileSlice;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{AdditionalData, Algorithm, Forged, Open, Parts, Seal, Transform, cipher::Body, head, put};
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

    /// The addresses of what only long packets need.
    #[inline]
    pub(super) fn for_long_packets(&self) -> Range<usize> {
        self.key.for_long_packets()
    }

    /// GMAC over `parts`.
    pub(super) fn mac(&self, iv: [u8; 8], parts: &[&[u8]]) -> [u8; 16] {
        self.key.mac(&self.nonce(iv), parts)
    }
}

/// The additional data of packets with an extended sequence number, which is not as it is in the packets; empty without.
type ExtendedData = ArrayVec<[u8; EXTENDED], MAX_BATCH>;

/// SPI and the whole sequence number, in bytes.
const EXTENDED: usize = 12;

/// The additional data of a packet: SPI and sequence number as they are in it, or else at that place.
#[inline(always)]
fn aad<'a>(front: &'a [u8], extended: &'a ExtendedData, index: usize) -> &'a [u8] {
    match extended.get(index) {
        None => &front[..esp::HEADER],
        Some(bytes) => bytes,
    }
}

fn extend<'p>(packets: impl Iterator<Item = (&'p [u8], Option<u32>)>, extended: &mut ExtendedData) {
    extended.extend(packets.map(|(packet, high)| AdditionalData::new(head(packet), high).bytes));
}

/// The longest ICV.
pub(crate) const ICV: usize = 16;

/// An ESP packet whose payload others may change.
pub(crate) struct Volatile<'a> {
    /// SPI, sequence number, IV: private.
    pub front: &'a [u8],
    /// The high half of the sequence number under ESN.
    pub high: Option<u32>,
    /// Payload or ciphertext.
    pub source: VolatileSlice<'a>,
    /// Where it goes, apart from the source. To be sealed, with the trailer behind the payload's place.
    pub body: VolatileSlice<'a>,
}

/// ICVs, of which as much counts as the algorithm has.
pub(crate) type Icvs = ArrayVec<[u8; ICV], MAX_BATCH>;

impl Transform {
    /// Whether it can work where others may change what it reads.
    #[inline]
    pub(crate) fn takes_volatile(&self) -> bool {
        matches!(self.algorithm, Algorithm::Gcm(_))
    }

    /// As [`Transform::seal`]; appends the ICVs to `icvs`.
    pub(crate) fn seal_volatile(&self, batch: &[Volatile<'_>], icvs: &mut Icvs) {
        self.with_volatile(batch, |key, jobs| {
            key.seal_volatile(jobs);
            icvs.extend(jobs.iter().map(|job| *job.tag()));
        });
    }

    /// As [`Transform::open`], with an ICV for each packet.
    pub(crate) fn open_volatile(&self, batch: &[Volatile<'_>], icvs: &Icvs, results: &mut [Result<(), Forged>]) {
        self.with_volatile(batch, |key, jobs| {
            key.open_volatile(jobs);
            for ((result, job), icv) in results.iter_mut().zip(jobs).zip(icvs) {
                *result = job.verify(&icv[..self.icv_len.min(ICV)]).map_err(|_| Forged);
            }
        });
    }

    /// Has something done with packets of AES-GCM.
    #[inline(always)]
    fn with_volatile(&self, batch: &[Volatile<'_>], work: impl FnOnce(&GcmKey, &mut [VolatileJob<'_>])) {
        let Algorithm::Gcm(key) = &self.algorithm else { return }; // not reached
        let mut extended = ExtendedData::new();
        if matches!(batch, [Volatile { high: Some(_), .. }, ..]) {
            extend(batch.iter().map(|packet| (packet.front, packet.high)), &mut extended);
        }
        let mut jobs: ArrayVec<VolatileJob<'_>, MAX_BATCH> = ArrayVec::new();
        for (index, Volatile { front, high, source, body }) in batch.iter().enumerate() {
            let nonce = key.nonce(self.iv(front, *high));
            // Not reached, and the others keep their order.
            let Some(job) = VolatileJob::new(nonce, aad(front, &extended, index), *source, *body) else { break };
            jobs.push(job);
        }
        work(&key.key, &mut jobs);
    }

    #[inline(always)]
    pub(super) fn seal_gcm(&self, key: &SaltedKey, batch: &mut [Seal<'_>]) {
        let mut extended = ExtendedData::new();
        if matches!(batch, [Seal { high: Some(_), .. }, ..]) {
            extend(batch.iter().map(|Seal { packet, high, .. }| (&**packet, *high)), &mut extended);
        }
        let mut jobs: ArrayVec<SealJob<'_>, MAX_BATCH> = ArrayVec::new();
        let mut icvs: ArrayVec<&mut [u8], MAX_BATCH> = ArrayVec::new();
        for (index, Seal { payload, packet, high }) in batch.iter_mut().enumerate() {
            let (front, output, icv) = self.split_mut(packet);
            let nonce = key.nonce(self.iv(front, *high));
            jobs.push(SealJob { nonce, aad: aad(front, &extended, index), payload: *payload, output, tag: [0; 16] });
            icvs.push(icv);
        }
        key.key.seal_many(&mut jobs);
        for (SealJob { tag, .. }, icv) in jobs.iter().zip(&mut icvs) {
            put(icv, tag);
        }
    }

    #[inline(always)]
    pub(super) fn open_gcm(&self, key: &SaltedKey, batch: &mut [Open<'_>], results: &mut [Result<(), Forged>]) {
        let mut extended = ExtendedData::new();
        if matches!(batch, [Open { high: Some(_), .. }, ..]) {
            extend(batch.iter().map(|open| (open.packet(), open.high)), &mut extended);
        }
        let mut jobs: ArrayVec<OpenJob<'_>, MAX_BATCH> = ArrayVec::new();
        for (index, Open { packet, high }) in batch.iter_mut().enumerate() {
            let Parts { front, body, icv: tag } = self.parts(packet);
            let nonce = key.nonce(self.iv(front, *high));
            let (ciphertext, output) = match body {
                Body::Apart { input, output } => (Some(input), output),
                Body::InPlace(body) => (None, body),
            };
            let result = Err(TagMismatch);
            jobs.push(OpenJob { nonce, aad: aad(front, &extended, index), ciphertext, tag, output, result });
        }
        key.key.open_many(&mut jobs);
        for (result, job) in results.iter_mut().zip(&jobs) {
            *result = job.result.map_err(|_| Forged);
        }
    }
}
