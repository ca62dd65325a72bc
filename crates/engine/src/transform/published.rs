//! Vectors of NIST's validation programs and of the Wycheproof project, through what an SA runs. AES-GCM, and every
//! backend of the kernels: `crates/kernels/tests/published.rs`.
//!
//! Wycheproof's `AesCmac` and `ChaCha20Poly1305` wait until the engine has them: a line in `integrity` and in `wycheproof_ccm`.

#[path = "../../../kernels/tests/support/response.rs"]
mod response;

use ::cipher::inout::InOutBuf;
use wycheproof::{aead as sealed, mac};

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
fn wycheproof_hmac() {
    let mut tally = Tally::default();
    for (name, kind, set, counted) in [
        ("sha1", Integrity::HmacSha1, mac::TestName::HmacSha1, false),
        ("sha256", Integrity::HmacSha256, mac::TestName::HmacSha256, false),
        ("sha384", Integrity::HmacSha384, mac::TestName::HmacSha384, true),
        ("sha512", Integrity::HmacSha512, mac::TestName::HmacSha512, true),
    ] {
        for group in mac::TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
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

/// One AES-CCM vector; without a plaintext the tag is wrong. The nonce has the 11 bytes of ESP.
fn check_ccm(
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    plaintext: Option<&[u8]>,
    ciphertext: &[u8],
    tag: &[u8],
    name: &str,
) {
    let (salt, iv) = nonce.split_at(3);
    let key = AeadKey::ccm(&[salt, key].concat(), tag.len()).unwrap();
    let mut body = ciphertext.to_vec();
    let result = key.open(iv, aad, tag, InOutBuf::from(&mut body[..]));
    let Some(plaintext) = plaintext else {
        assert!(result.is_err(), "{name}");
        return;
    };
    assert_eq!(result, Ok(()), "{name}");
    assert_eq!(body, plaintext, "{name}");
    let mut icv = vec![0; tag.len()];
    key.seal(iv, aad, &mut body, &mut icv);
    assert_eq!((&body[..], &icv[..]), (ciphertext, tag), "{name}");
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
            check_ccm(&key, &nonce, aad, Some(&plaintext), ciphertext, tag, record.text("COUNT"));
            tally.add(format!("aes{bits}-ccm-{}", tag.len() * 8));
        }
    }
    tally.report("NIST");
}

#[test]
fn wycheproof_ccm() {
    let mut tally = Tally::default();
    for group in sealed::TestSet::load(sealed::TestName::AesCcm).unwrap().test_groups {
        for test in group.tests {
            if test.nonce.len() != 11 || ![8, 12, 16].contains(&test.tag.len()) {
                continue;
            }
            let plaintext = (!test.result.must_fail()).then_some(&test.pt[..]);
            check_ccm(&test.key, &test.nonce, &test.aad, plaintext, &test.ct, &test.tag, &test.tc_id.to_string());
            tally.add(format!("aes{}-ccm-{}", test.key.len() * 8, test.tag.len() * 8));
        }
    }
    tally.report("Wycheproof");
}
