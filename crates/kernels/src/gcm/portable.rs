//! The portable backend: AES in counter mode, then GHASH, from the RustCrypto
//! crates. It is the fallback on other processors and the reference that the
//! other backends are tested against.

use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit, StreamCipher};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use ctr::Ctr32BE;
use ctr::cipher::InnerIvInit;
use ctr::cipher::consts::U16;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use vm_memory::VolatileSlice;
use zeroize::Zeroize;

use super::job::{OpenJob, SealJob};
use super::volatile::VolatileJob;
use super::{NONCE_LEN, TAG_LEN};

/// Bytes of a packet in foreign memory that are worked on at a time: whole blocks.
const PIECE: usize = 512;

/// The expanded AES key, by key length.
enum Cipher {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
}

/// A key for the portable backend. Its parts wipe themselves when dropped.
pub(super) struct PortableKey {
    cipher: Cipher,
    hash: GHash,
}

impl PortableKey {
    /// Expands a key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let cipher = match key.len() {
            16 => Cipher::Aes128(Aes128Enc::new_from_slice(key).ok()?),
            24 => Cipher::Aes192(Aes192Enc::new_from_slice(key).ok()?),
            32 => Cipher::Aes256(Aes256Enc::new_from_slice(key).ok()?),
            _ => return None,
        };
        let mut hash_key = ghash::Key::default();
        match &cipher {
            Cipher::Aes128(aes) => aes.encrypt_block(&mut hash_key),
            Cipher::Aes192(aes) => aes.encrypt_block(&mut hash_key),
            Cipher::Aes256(aes) => aes.encrypt_block(&mut hash_key),
        }
        let hash = GHash::new(&hash_key);
        hash_key.zeroize();
        Some(Self { cipher, hash })
    }

    /// Encrypts `payload` and the tail already in `output`; returns the tag.
    /// `payload` must not be longer than `output`.
    pub(super) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], payload: &[u8], output: &mut [u8]) -> [u8; TAG_LEN] {
        let mask = self.crypt(nonce, payload, output);
        self.tag(mask, &[aad], output)
    }

    pub(super) fn seal_many(&self, jobs: &mut [SealJob<'_>]) {
        for job in jobs {
            let payload = job.payload.unwrap_or_default();
            let payload = payload.get(..job.output.len()).unwrap_or(payload);
            job.tag = self.seal(&job.nonce, job.aad, payload, job.output);
        }
    }

    pub(super) fn open_many(&self, jobs: &mut [OpenJob<'_>]) {
        for job in jobs {
            let expected = match job.ciphertext {
                _ if !job.is_consistent() => [0; TAG_LEN],
                Some(ciphertext) => self.open(&job.nonce, job.aad, ciphertext, job.output),
                None => self.open_in_place(&job.nonce, job.aad, job.output),
            };
            job.conclude(&expected);
        }
    }

    pub(super) fn crypt_volatile<const SEAL: bool>(&self, jobs: &mut [VolatileJob<'_>]) {
        for job in jobs {
            job.tag = match &self.cipher {
                Cipher::Aes128(aes) => self.by_pieces::<SEAL, _>(aes, job),
                Cipher::Aes192(aes) => self.by_pieces::<SEAL, _>(aes, job),
                Cipher::Aes256(aes) => self.by_pieces::<SEAL, _>(aes, job),
            };
        }
    }

    /// Encrypts (`SEAL`) or decrypts what others may change; returns the tag over
    /// the associated data and the ciphertext. Each piece is copied, worked on, and
    /// copied back.
    fn by_pieces<const SEAL: bool, Aes>(&self, aes: &Aes, job: &VolatileJob<'_>) -> [u8; TAG_LEN]
    where
        Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
    {
        let VolatileJob { source, output, .. } = job;
        let (mut keystream, mask) = keystream(aes, job.nonce());
        let mut hash = self.hash.clone();
        let aad_len = update_concatenated(&mut hash, &[job.aad()]);
        let mut room = [0; PIECE];
        for start in (0..output.len()).step_by(PIECE) {
            let piece = &mut room[..PIECE.min(output.len() - start)];
            // The beginning at the source; what follows it in the output.
            let split = source.len().saturating_sub(start).min(piece.len());
            let (head, tail) = piece.split_at_mut(split);
            copy_to(source, start, head);
            copy_to(output, start + split, tail);
            if !SEAL {
                hash.update_padded(piece);
            }
            keystream.apply_keystream(piece);
            if SEAL {
                hash.update_padded(piece);
            }
            if let Ok(place) = output.offset(start) {
                place.copy_from(piece);
            }
        }
        room.zeroize();
        finish(hash, mask, aad_len, output.len())
    }

    /// Decrypts `ciphertext` into `output` of the same length; returns the tag
    /// that the ciphertext should have had.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let mask = self.crypt(nonce, ciphertext, output);
        self.tag(mask, &[aad], ciphertext)
    }

    /// Decrypts `buffer` in place; returns the tag that it should have had.
    pub(super) fn open_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        let mask = self.crypt(nonce, &[], &mut []);
        let tag = self.tag(mask, &[aad], buffer);
        let _ = self.crypt(nonce, &[], buffer);
        tag
    }

    /// The tag over the concatenation of `parts` without any plaintext.
    pub(super) fn mac(&self, nonce: &[u8; NONCE_LEN], parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let mask = self.crypt(nonce, &[], &mut []);
        self.tag(mask, parts, &[])
    }

    /// Runs the counter mode over `payload` and the tail in `output`; returns
    /// the encrypted first counter block, which masks the tag.
    fn crypt(&self, nonce: &[u8; NONCE_LEN], payload: &[u8], output: &mut [u8]) -> [u8; TAG_LEN] {
        match &self.cipher {
            Cipher::Aes128(aes) => counter_mode(aes, nonce, payload, output),
            Cipher::Aes192(aes) => counter_mode(aes, nonce, payload, output),
            Cipher::Aes256(aes) => counter_mode(aes, nonce, payload, output),
        }
    }

    /// GHASH over the associated data and the ciphertext, masked.
    fn tag(&self, mask: [u8; TAG_LEN], aad: &[&[u8]], ciphertext: &[u8]) -> [u8; TAG_LEN] {
        let mut hash = self.hash.clone();
        let aad_len = update_concatenated(&mut hash, aad);
        hash.update_padded(ciphertext);
        finish(hash, mask, aad_len, ciphertext.len())
    }
}

/// Hashes the lengths in bytes, and masks the hash.
fn finish(mut hash: GHash, mask: [u8; TAG_LEN], aad_len: usize, len: usize) -> [u8; TAG_LEN] {
    let mut lengths = ghash::Block::default();
    lengths[..8].copy_from_slice(&bit_count(aad_len));
    lengths[8..].copy_from_slice(&bit_count(len));
    hash.update(&[lengths]);
    let mut tag = mask;
    for (byte, hashed) in tag.iter_mut().zip(hash.finalize()) {
        *byte ^= hashed;
    }
    tag
}

/// Copies from `start` on.
fn copy_to(slice: &VolatileSlice<'_>, start: usize, bytes: &mut [u8]) {
    if let Ok(rest) = slice.offset(start) {
        rest.copy_to(bytes);
    }
}

/// A length in bytes as GHASH encodes it: in bits, big-endian.
fn bit_count(bytes: usize) -> [u8; 8] {
    (bytes as u64).wrapping_mul(8).to_be_bytes()
}

/// See [`PortableKey::crypt`].
fn counter_mode<Aes>(aes: &Aes, nonce: &[u8; NONCE_LEN], payload: &[u8], output: &mut [u8]) -> [u8; TAG_LEN]
where
    Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let (mut keystream, mask) = keystream(aes, nonce);
    let (head, tail) = output.split_at_mut(payload.len());
    keystream.apply_keystream_b2b(payload, head);
    keystream.apply_keystream(tail);
    mask
}

/// The counter mode after its first block, and that block encrypted, which masks the tag.
fn keystream<'k, Aes>(aes: &'k Aes, nonce: &[u8; NONCE_LEN]) -> (Ctr32BE<&'k Aes>, [u8; TAG_LEN])
where
    Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let mut first_counter = [0; 16];
    first_counter[..NONCE_LEN].copy_from_slice(nonce);
    first_counter[15] = 1;
    let core = ctr::CtrCore::inner_iv_init(aes, &first_counter.into());
    let mut keystream: Ctr32BE<&Aes> = Ctr32BE::from_core(core);
    let mut mask = [0; TAG_LEN];
    keystream.apply_keystream(&mut mask);
    (keystream, mask)
}

/// Hashes the concatenation of `parts`, zero-padded to whole blocks, and
/// returns its length in bytes.
fn update_concatenated(hash: &mut GHash, parts: &[&[u8]]) -> usize {
    let mut total = 0;
    let mut block = ghash::Block::default();
    let mut filled = 0;
    for part in parts {
        total += part.len();
        let mut rest = *part;
        while !rest.is_empty() {
            if filled == 0 && rest.len() >= block.len() {
                let whole = rest.len() - rest.len() % block.len();
                hash.update_padded(&rest[..whole]);
                rest = &rest[whole..];
                continue;
            }
            let taken = rest.len().min(block.len() - filled);
            block[filled..filled + taken].copy_from_slice(&rest[..taken]);
            filled += taken;
            rest = &rest[taken..];
            if filled == block.len() {
                hash.update(&[block]);
                filled = 0;
            }
        }
    }
    hash.update_padded(&block[..filled]);
    total
}
