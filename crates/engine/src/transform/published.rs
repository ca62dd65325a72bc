//! Vectors of NIST's validation programs and of the Wycheproof project, through what an SA runs. AES-GCM, and every
//! backend of the kernels: `crates/kernels/tests/published.rs`.

#[path = "../../../kernels/tests/support/response.rs"]
mod response;

use ::cipher::inout::InOutBuf;
use wycheproof::{aead, mac};

use self::response::{Tally, directory, records};
use super::{
    aead::AeadKey,
    cipher::{Body, CipherKey},
    integrity::IntegrityKey,
};
use crate::{Cipher, Direction, Integrity};

fn check_cipher(kind: Cipher, key: &[u8], iv: &[u8], plaintext: &[u8], ciphertext: &[u8], name: &str) {
    let mut body = plaintext.to_vec();
    CipherKey::new(kind, key, Direction::Outbound).unwrap().encrypt(iv, None, &mut body);
    assert_eq!(body, ciphertext, "{name}");
    let mut opened = vec![0xee; ciphertext.len()];
    let decrypt = CipherKey::new(kind, key, Direction::Inbound).unwrap();
    decrypt.decrypt(iv, Body::Apart { input: ciphertext, output: &mut opened });
    assert_eq!(opened, plaintext, "{name}");
}

#[test]
fn nist_aes() {
    let Some(_) = directory() else { return };
    let mut tally = Tally::default();
    for bits in [128, 192, 256] {
        for record in records(&format!("ciphers/AES/CBC/CBCMMT{bits}.rsp")) {
            let [key, iv, plaintext, ciphertext] =
                ["KEY", "IV", "PLAINTEXT", "CIPHERTEXT"].map(|name| record.bytes(name));
            // Counted where all of them are run.
            check_cipher(Cipher::AesCbc, &key, &iv, &plaintext, &ciphertext, "CBC");
        }
        for record in records(&format!("ciphers/AES/CTR/aes-{bits}-ctr.txt")) {
            let [mut key, block, plaintext, ciphertext] =
                ["KEY", "IV", "PLAINTEXT", "CIPHERTEXT"].map(|name| record.bytes(name));
            let (nonce, iv) = block[..12].split_at(4);
            assert_eq!(block[12..], [0, 0, 0, 1]);
            key.extend_from_slice(nonce);
            check_cipher(Cipher::AesCtr, &key, iv, &plaintext, &ciphertext, "CTR");
            tally.add(format!("aes{bits}-ctr"));
        }
    }
    tally.report("RFC 3686");
}

/// DES is 3DES with one key three times, which is what the known-answer tests for 3DES use.
#[test]
fn nist_3des() {
    let Some(_) = directory() else { return };
    let mut tally = Tally::default();
    for file in ["MMT1", "MMT2", "MMT3", "invperm", "permop", "subtab", "varkey", "vartext"] {
        for record in records(&format!("ciphers/3DES/CBC/TCBC{file}.rsp")) {
            let [iv, plaintext, ciphertext] = ["IV", "PLAINTEXT", "CIPHERTEXT"].map(|name| record.bytes(name));
            let key = if record.has("KEYS") {
                record.bytes("KEYS").repeat(3)
            } else {
                ["KEY1", "KEY2", "KEY3"].map(|name| record.bytes(name)).concat()
            };
            check_cipher(Cipher::TripleDesCbc, &key, &iv, &plaintext, &ciphertext, file);
            tally.add("3des");
            if key[..8] == key[8..16] && key[8..16] == key[16..] {
                check_cipher(Cipher::DesCbc, &key[..8], &iv, &plaintext, &ciphertext, file);
                tally.add("des");
            }
        }
    }
    tally.report("NIST");
}

/// The published HMACs have keys of any length; what an SA takes is fixed.
fn tag(kind: Integrity, key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = IntegrityKey::of_any_length(kind, key).unwrap();
    let (front, back) = message.split_at(message.len() / 2);
    let computed = key.compute(&[message]);
    assert_eq!(key.compute(&[front, back]), computed);
    computed.to_vec()
}

#[test]
fn rfc_hmac() {
    let Some(_) = directory() else { return };
    let mut tally = Tally::default();
    for (name, kind, file, counted) in [
        ("md5", Integrity::HmacMd5, "rfc-2202-md5", true),
        ("sha1", Integrity::HmacSha1, "rfc-2202-sha1", false),
        ("sha256", Integrity::HmacSha256, "rfc-4231-sha256", false),
        ("sha384", Integrity::HmacSha384, "rfc-4231-sha384", true),
        ("sha512", Integrity::HmacSha512, "rfc-4231-sha512", true),
    ] {
        for record in records(&format!("HMAC/{file}.txt")) {
            let [key, message, expected] = ["KEY", "MSG", "MD"].map(|name| record.bytes(name));
            assert_eq!(tag(kind, &key, &message)[..expected.len()], expected, "{file}");
            if counted {
                tally.add(name);
            }
        }
    }
    tally.report("RFC 2202 and 4231");
}

#[test]
fn wycheproof_macs() {
    let mut tally = Tally::default();
    for (name, kind, set, counted) in [
        ("sha1", Integrity::HmacSha1, mac::TestName::HmacSha1, false),
        ("sha256", Integrity::HmacSha256, mac::TestName::HmacSha256, false),
        ("sha384", Integrity::HmacSha384, mac::TestName::HmacSha384, true),
        ("sha512", Integrity::HmacSha512, mac::TestName::HmacSha512, true),
        ("cmac", Integrity::AesCmac, mac::TestName::AesCmac, true),
    ] {
        for group in mac::TestSet::load(set).unwrap().test_groups {
            // An SA's CMAC has keys of 128 bits alone.
            for test in group.tests.into_iter().filter(|test| name != "cmac" || test.key.len() == 16) {
                let computed = tag(kind, &test.key, &test.msg);
                let right = computed[..test.tag.len()] == test.tag[..];
                assert_eq!(right, !test.result.must_fail(), "Wycheproof {name} {}", test.tc_id);
                if counted {
                    tally.add(name);
                }
            }
        }
    }
    tally.report("Wycheproof");
}

/// One vector of a combined mode; without a plaintext the tag is wrong.
struct Sealed<'a> {
    key: &'a AeadKey,
    iv: &'a [u8],
    aad: &'a [u8],
    plaintext: Option<&'a [u8]>,
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

impl Sealed<'_> {
    fn check(&self, name: &str) {
        let mut body = self.ciphertext.to_vec();
        let result = self.key.open(self.iv, self.aad, self.tag, InOutBuf::from(&mut body[..]));
        let Some(plaintext) = self.plaintext else {
            assert!(result.is_err(), "{name}");
            return;
        };
        assert_eq!(result, Ok(()), "{name}");
        assert_eq!(body, plaintext, "{name}");
        let mut icv = vec![0; self.tag.len()];
        self.key.seal(self.iv, self.aad, &mut body, &mut icv);
        assert_eq!((&body[..], &icv[..]), (self.ciphertext, self.tag), "{name}");
    }
}

#[test]
fn nist_ccm() {
    let Some(_) = directory() else { return };
    let mut tally = Tally::default();
    for bits in [128, 192, 256] {
        for record in records(&format!("ciphers/AES/CCM/VNT{bits}.rsp")) {
            if record.number("NLEN") != 11 {
                continue;
            }
            let [key, nonce, plaintext, sealed] = ["KEY", "NONCE", "PAYLOAD", "CT"].map(|name| record.bytes(name));
            let aad = &record.bytes("ADATA")[..record.number("ALEN")];
            let (ciphertext, tag) = sealed.split_at(plaintext.len());
            let (salt, iv) = nonce.split_at(3);
            let key = &AeadKey::ccm(&[salt, &key].concat(), tag.len()).unwrap();
            Sealed { key, iv, aad, plaintext: Some(&plaintext), ciphertext, tag }.check(record.text("COUNT"));
            tally.add(format!("aes{bits}-ccm-{}", tag.len() * 8));
        }
    }
    tally.report("NIST");
}

#[test]
fn wycheproof_combined_modes() {
    let mut tally = Tally::default();
    for (set, nonce_len, salt_len) in [(aead::TestName::AesCcm, 11, 3), (aead::TestName::ChaCha20Poly1305, 12, 4)] {
        for group in aead::TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                if test.nonce.len() != nonce_len {
                    continue;
                }
                let (salt, iv) = test.nonce.split_at(salt_len);
                let (key, icv) = ([salt, &test.key].concat(), test.tag.len());
                let (name, key) = match set {
                    aead::TestName::AesCcm => {
                        (format!("aes{}-ccm-{}", test.key.len() * 8, icv * 8), AeadKey::ccm(&key, icv))
                    }
                    _ => ("chacha20-poly1305".to_owned(), AeadKey::chacha20_poly1305(&key)),
                };
                // ESP has no other lengths of tags.
                let Some(key) = &key else { continue };
                let plaintext = (!test.result.must_fail()).then_some(&test.pt[..]);
                Sealed { key, iv, aad: &test.aad, plaintext, ciphertext: &test.ct, tag: &test.tag }
                    .check(&format!("Wycheproof {name} {}", test.tc_id));
                tally.add(name);
            }
        }
    }
    tally.report("Wycheproof");
}
