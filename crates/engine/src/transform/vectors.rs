//! Known answers of the RFCs: the bare ciphers, MACs and combined modes, and whole ESP packets. The vectors and where
//! each comes from are in `tests/data/vectors.txt`, which the conformance tests recompute with another library.
//!
//! RFC 3610 and NIST SP 800-38C have no example with the 11-byte nonce of ESP; the CCM vectors are those of NIST's
//! validation program that do. RFC 4543 has no vectors; GMAC's are from the same place.

use std::{collections::HashMap, num::NonZeroU32};

use ::cipher::inout::InOutBuf;

use super::{aead::AeadKey, cipher::CipherKey, integrity::IntegrityKey, *};
use crate::{InboundRules, Intervals, KeyLengths, Lifetime, Mode, Notify, OutboundRules, Protocol, Rules, iv::MAX_IV};

const FILE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/vectors.txt"));

/// One vector: its source, and its fields.
struct Vector {
    source: &'static str,
    fields: HashMap<&'static str, &'static str>,
}

impl Vector {
    fn text(&self, name: &str) -> &'static str {
        self.fields.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.source))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let digits = self.text(name);
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }
}

/// The vectors of one kind; there must be as many as `count`.
fn vectors(kind: &str, count: usize) -> Vec<Vector> {
    let vectors: Vec<Vector> = FILE
        .split("\n\n")
        .filter(|block| block.lines().any(|line| line.strip_prefix("kind: ") == Some(kind)))
        .map(|block| Vector {
            source: block.lines().next().unwrap_or_default().trim_start_matches("# "),
            fields: block
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name, value.trim()))
                .collect(),
        })
        .collect();
    assert_eq!(vectors.len(), count);
    vectors
}

fn cipher(name: &str) -> Cipher {
    match name {
        "aes-cbc" => Cipher::AesCbc,
        "aes-ctr" => Cipher::AesCtr,
        "des" => Cipher::DesCbc,
        "3des" => Cipher::TripleDesCbc,
        _ => panic!("{name}"),
    }
}

#[test]
fn ciphers() {
    for vector in vectors("cipher", 17) {
        let (kind, key) = (cipher(vector.text("algorithm")), vector.bytes("key"));
        let (plaintext, ciphertext) = (vector.bytes("plaintext"), vector.bytes("ciphertext"));
        let mut iv = [0; MAX_IV];
        let given = vector.bytes("iv");
        iv[..given.len()].copy_from_slice(&given);

        let encrypt = CipherKey::new(kind, &key, Direction::Outbound).unwrap();
        assert_eq!(encrypt.iv().len(), given.len());
        let mut apart = vec![0; plaintext.len()];
        encrypt.encrypt(&iv, Some(&plaintext), &mut apart);
        assert_eq!(apart, ciphertext, "{}", vector.source);
        let mut in_place = plaintext.clone();
        encrypt.encrypt(&iv, None, &mut in_place);
        assert_eq!(in_place, ciphertext, "{}", vector.source);
        // With a payload that ends anywhere, the rest being in place already, as the trailer is.
        for split in 0..plaintext.len() {
            let mut mixed = plaintext.clone();
            mixed[..split].fill(0xee);
            encrypt.encrypt(&iv, Some(&plaintext[..split]), &mut mixed);
            assert_eq!(mixed, ciphertext, "{} {split}", vector.source);
        }

        let decrypt = CipherKey::new(kind, &key, Direction::Inbound).unwrap();
        let mut out = vec![0; ciphertext.len()];
        decrypt.decrypt(&iv, Body::Apart { input: &ciphertext, output: &mut out });
        assert_eq!(out, plaintext, "{}", vector.source);
        decrypt.decrypt(&iv, Body::InPlace(&mut in_place));
        assert_eq!(in_place, plaintext, "{}", vector.source);
    }
}

#[test]
fn integrity() {
    for vector in vectors("mac", 51) {
        let kind = match vector.text("algorithm") {
            "md5" => Integrity::HmacMd5,
            "sha1" => Integrity::HmacSha1,
            "sha256" => Integrity::HmacSha256,
            "sha384" => Integrity::HmacSha384,
            "sha512" => Integrity::HmacSha512,
            "xcbc" => Integrity::AesXcbc,
            name => panic!("{name}"),
        };
        let key = IntegrityKey::of_any_length(kind, &vector.bytes("key")).unwrap();
        let (message, tag) = (vector.bytes("message"), vector.bytes("tag"));
        let computed = key.compute(&[&message]);
        assert_eq!(computed[..tag.len()], tag, "{}", vector.source);
        assert!(computed[tag.len()..].iter().all(|byte| *byte == 0));
        for split in [1, 15, 16, 17, 33, message.len() / 2, message.len()] {
            let (front, back) = message.split_at(split.min(message.len()));
            assert_eq!(key.compute(&[front, &[], back]), computed, "{} {split}", vector.source);
        }
    }
}

#[test]
fn ccm() {
    for vector in vectors("ccm", 9) {
        let (nonce, aad) = (vector.bytes("nonce"), vector.bytes("aad"));
        let (plaintext, sealed) = (vector.bytes("plaintext"), vector.bytes("ciphertext"));
        let (ciphertext, tag) = sealed.split_at(plaintext.len());
        let mut salt_and_key = nonce[..3].to_vec();
        salt_and_key.extend(vector.bytes("key"));
        let key = AeadKey::ccm(&salt_and_key, tag.len()).unwrap();

        let mut body = plaintext.clone();
        let mut icv = vec![0; tag.len()];
        key.seal(&nonce[3..], &aad, &mut body, &mut icv);
        assert_eq!((&body[..], &icv[..]), (ciphertext, tag), "{}", vector.source);
        assert_eq!(key.open(&nonce[3..], &aad, tag, InOutBuf::from(&mut body[..])), Ok(()));
        assert_eq!(body, plaintext, "{}", vector.source);
        icv[0] ^= 1;
        assert!(key.open(&nonce[3..], &aad, &icv, InOutBuf::from(&mut body[..])).is_err());
    }
}

#[test]
fn gmac() {
    for vector in vectors("gmac", 9) {
        let nonce = vector.bytes("nonce");
        let mut key = nonce[..4].to_vec();
        key.extend(vector.bytes("key"));
        let transform = transform(Algorithms::Combined(Combined::Gmac), &key, false, Direction::Outbound);
        let (message, tag) = (vector.bytes("message"), vector.bytes("tag"));
        for split in 0..message.len() {
            let (front, back) = message.split_at(split);
            assert_eq!(transform.authenticate(&nonce[4..], &[front, back])[..16], tag, "{} {split}", vector.source);
        }
    }
}

#[test]
fn esp_packets() {
    for vector in vectors("esp", 18) {
        let algorithms = match vector.text("algorithm") {
            "gcm" => Algorithms::Combined(Combined::Gcm),
            name => Algorithms::Separate { cipher: cipher(name), integrity: Integrity::None },
        };
        let (key, sequence, packet) = (vector.bytes("key"), vector.bytes("sequence"), vector.bytes("packet"));
        let plaintext = vector.bytes("plaintext");
        let high = (sequence.len() == 8).then(|| u32::from_be_bytes(*sequence.first_chunk().unwrap()));
        let outbound = transform(algorithms, &key, high.is_some(), Direction::Outbound);
        let inbound = transform(algorithms, &key, high.is_some(), Direction::Inbound);
        let body = esp::HEADER + outbound.iv.len()..packet.len() - outbound.icv_len;
        assert_eq!(packet[body.clone()].len(), plaintext.len());

        let mut sealed = packet.clone();
        sealed[body.clone()].copy_from_slice(&plaintext);
        sealed[body.end..].fill(0xee);
        outbound.seal(&mut [Seal { payload: None, packet: &mut sealed, high }]);
        assert_eq!(sealed, packet, "{}", vector.source);
        // The payload apart, its trailer in place.
        let payload = &plaintext[..esp::Trailer::parse(&plaintext).unwrap().payload_len];
        sealed[body.clone()].copy_from_slice(&plaintext);
        sealed[body.start..body.start + payload.len()].fill(0xee);
        outbound.seal(&mut [Seal { payload: Some(payload), packet: &mut sealed, high }]);
        assert_eq!(sealed, packet, "{}", vector.source);

        let mut opened = vec![0; plaintext.len()];
        assert_eq!(open(&inbound, &packet, high, &mut opened), Ok(()), "{}", vector.source);
        assert_eq!(opened, plaintext);
        assert_eq!(open_one(&inbound, Sealed::InPlace(&mut sealed), high), Ok(()), "{}", vector.source);
        assert_eq!(sealed[body.clone()], plaintext);

        if outbound.icv_len > 0 {
            for at in 0..packet.len() {
                let mut changed = packet.clone();
                changed[at] ^= 0x80;
                opened.fill(0xee);
                assert_eq!(open(&inbound, &changed, high, &mut opened), Err(Forged), "{} {at}", vector.source);
                assert!(opened.iter().all(|byte| *byte == 0xee) || opened.iter().all(|byte| *byte == 0));
            }
            assert_eq!(open(&inbound, &packet, high.map(|high| high ^ 1), &mut opened).is_err(), high.is_some());
        }
    }
}

fn open(inbound: &Transform, packet: &[u8], high: Option<u32>, output: &mut [u8]) -> Result<(), Forged> {
    open_one(inbound, Sealed::Apart { packet, output }, high)
}

fn open_one(inbound: &Transform, packet: Sealed<'_>, high: Option<u32>) -> Result<(), Forged> {
    let mut results = [Err(Forged)];
    inbound.open(&mut [Open { packet, high }], &mut results);
    results[0]
}

fn transform(algorithms: Algorithms, key: &[u8], extended_sequence: bool, direction: Direction) -> Transform {
    let rules = match direction {
        Direction::Outbound => Rules::Outbound(OutboundRules::default()),
        Direction::Inbound => Rules::Inbound(InboundRules::default()),
    };
    let keys = Keys { cipher: key.to_vec().into(), ..Keys::default() };
    let attributes = Attributes {
        spi: NonZeroU32::MIN,
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Transport,
        algorithms,
        key_lengths: KeyLengths::default(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        intervals: Intervals::default(),
        rules,
    };
    Transform::new(&attributes, &keys).unwrap()
}
