//! Every applicable vector of NIST's validation programs (CAVP) and of the
//! Wycheproof project, on every backend. `GIPSEC_CAVP_DIR` names the directory
//! of the Python package cryptography-vectors; Wycheproof is a crate.

#[path = "support/response.rs"]
mod response;
mod support;

use gipsec_kernels::{
    cbc::{DecryptKey, EncryptKey, Job},
    gcm::TagMismatch,
    hmac::{Message, Sha1Key, Sha256Key},
};
use response::{Tally, directory, records};
use support::{available, expand};
use wycheproof::{aead, cipher, mac};

/// The tag lengths of ESP, in bytes.
const TAGS: [usize; 3] = [8, 12, 16];

/// One AES-GCM vector; without a plaintext the tag is wrong.
struct Gcm<'a> {
    key: &'a [u8],
    nonce: [u8; 12],
    aad: &'a [u8],
    plaintext: Option<&'a [u8]>,
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

fn gcm(vector: &Gcm<'_>, name: &str) {
    for backend in available() {
        let context = format!("{name} on {backend:?}");
        let key = expand(vector.key, backend);
        let mut opened = vec![0xee; vector.ciphertext.len()];
        let result = key.open(&vector.nonce, vector.aad, vector.ciphertext, vector.tag, &mut opened);
        let Some(plaintext) = vector.plaintext else {
            assert_eq!(result, Err(TagMismatch), "{context}");
            assert!(opened.iter().all(|byte| *byte == 0), "{context}");
            continue;
        };
        assert_eq!(result, Ok(()), "{context}");
        assert_eq!(opened, plaintext, "{context}");
        let mut sealed = vec![0; plaintext.len()];
        let tag = key.seal(&vector.nonce, vector.aad, plaintext, &mut sealed);
        assert_eq!(sealed, vector.ciphertext, "{context}");
        assert_eq!(&tag[..vector.tag.len()], vector.tag, "{context}");
        if plaintext.is_empty() {
            // GMAC.
            let (front, back) = vector.aad.split_at(vector.aad.len() / 2);
            assert_eq!(key.mac(&vector.nonce, &[front, back]), tag, "{context}");
        }
    }
}

/// Counts a vector as AES-GCM's, and as AES-GMAC's too when there is nothing to encrypt.
fn count(tally: &mut Tally, vector: &Gcm<'_>) {
    let (bits, tag) = (vector.key.len() * 8, vector.tag.len() * 8);
    tally.add(format!("aes{bits}-gcm-{tag}"));
    if tag == 128 && vector.plaintext.is_some_and(<[u8]>::is_empty) {
        tally.add(format!("aes{bits}-gmac"));
    }
}

#[test]
fn nist_gcm() {
    let Some(_) = directory() else { return };
    let mut tally = Tally::default();
    for file in ["Decrypt128", "Decrypt192", "Decrypt256", "EncryptExtIV128", "EncryptExtIV192", "EncryptExtIV256"] {
        for record in records(&format!("ciphers/AES/GCM/gcm{file}.rsp")) {
            if record.number("IVLEN") != 96 || !TAGS.contains(&(record.number("TAGLEN") / 8)) {
                continue;
            }
            let [key, aad, ciphertext, tag] = ["KEY", "AAD", "CT", "TAG"].map(|name| record.bytes(name));
            let plaintext = (!record.has("FAIL")).then(|| record.bytes("PT"));
            let nonce = record.bytes("IV").try_into().unwrap();
            let vector = Gcm {
                key: &key,
                nonce,
                aad: &aad,
                plaintext: plaintext.as_deref(),
                ciphertext: &ciphertext,
                tag: &tag,
            };
            gcm(&vector, &format!("{file} {}", record.text("COUNT")));
            count(&mut tally, &vector);
        }
    }
    tally.report("NIST");
}

#[test]
fn wycheproof_gcm() {
    let mut tally = Tally::default();
    for group in aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups {
        for test in group.tests {
            let Ok(nonce) = <[u8; 12]>::try_from(&test.nonce[..]) else { continue };
            let vector = Gcm {
                key: &test.key,
                nonce,
                aad: &test.aad,
                plaintext: (!test.result.must_fail()).then_some(&test.pt[..]),
                ciphertext: &test.ct,
                tag: &test.tag,
            };
            gcm(&vector, &format!("Wycheproof {}", test.tc_id));
            count(&mut tally, &vector);
        }
    }
    tally.report("Wycheproof");
}

fn cbc(key: &[u8], iv: &[u8], plaintext: &[u8], ciphertext: &[u8], name: &str) {
    let iv: [u8; 16] = iv.try_into().unwrap();
    for backend in available() {
        let mut body = plaintext.to_vec();
        let encrypt = EncryptKey::with_backend(key, backend).unwrap();
        encrypt.encrypt(&mut [Job { iv, payload: None, body: &mut body }]);
        assert_eq!(body, ciphertext, "{name} on {backend:?}");
        let mut opened = vec![0; ciphertext.len()];
        let decrypt = DecryptKey::with_backend(key, backend).unwrap();
        decrypt.decrypt(&iv, ciphertext, &mut opened);
        assert_eq!(opened, plaintext, "{name} on {backend:?}");
    }
}

#[test]
fn nist_cbc() {
    let Some(_) = directory() else { return };
    let mut tally = Tally::default();
    for bits in [128, 192, 256] {
        for set in ["GFSbox", "KeySbox", "MMT", "VarKey", "VarTxt"] {
            for record in records(&format!("ciphers/AES/CBC/CBC{set}{bits}.rsp")) {
                let [key, iv, plaintext, ciphertext] =
                    ["KEY", "IV", "PLAINTEXT", "CIPHERTEXT"].map(|name| record.bytes(name));
                cbc(&key, &iv, &plaintext, &ciphertext, &format!("{set}{bits} {}", record.text("COUNT")));
                tally.add(format!("aes{bits}-cbc"));
            }
        }
    }
    tally.report("NIST");
}

/// The padding of PKCS #5 is ours to add: vectors that are about removing it are not for us.
#[test]
fn wycheproof_cbc() {
    let mut tally = Tally::default();
    for group in cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in group.tests.iter().filter(|test| !test.result.must_fail()) {
            let padding = 16 - test.pt.len() % 16;
            let mut plaintext = test.pt.to_vec();
            plaintext.resize(test.pt.len() + padding, u8::try_from(padding).unwrap());
            cbc(&test.key, &test.nonce, &plaintext, &test.ct, &format!("Wycheproof {}", test.tc_id));
            tally.add(format!("aes{}-cbc", test.key.len() * 8));
        }
    }
    tally.report("Wycheproof");
}

/// The tag of a message in one piece and in two, which have to agree, on every backend.
macro_rules! tags {
    ($key:ident, $length:literal, $secret:expr, $message:expr) => {{
        let (secret, message): (&[u8], &[u8]) = ($secret, $message);
        let (head, tail) = message.split_at(message.len() / 2);
        let mut all = Vec::new();
        for backend in available() {
            let mut tags = [[0; $length]; 2];
            let messages = [Message { head: message, tail: &[] }, Message { head, tail }];
            $key::with_backend(secret, backend).unwrap().compute(&messages, &mut tags);
            all.extend(tags);
        }
        all.dedup();
        assert_eq!(all.len(), 1, "the backends differ");
        all[0].to_vec()
    }};
}

#[test]
fn rfc_hmac() {
    let Some(_) = directory() else { return };
    let mut tally = Tally::default();
    for (name, file) in [("sha1", "rfc-2202-sha1"), ("sha256", "rfc-4231-sha256")] {
        for record in records(&format!("HMAC/{file}.txt")) {
            let [key, message, expected] = ["KEY", "MSG", "MD"].map(|name| record.bytes(name));
            let tag = match name {
                "sha1" => tags!(Sha1Key, 20, &key, &message),
                _ => tags!(Sha256Key, 32, &key, &message),
            };
            // RFC 4231 test case 5 is cut to 128 bits.
            assert_eq!(tag[..expected.len()], expected, "{file}");
            tally.add(name);
        }
    }
    tally.report("RFC 2202 and 4231");
}

#[test]
fn wycheproof_hmac() {
    let mut tally = Tally::default();
    for (name, set) in [("sha1", mac::TestName::HmacSha1), ("sha256", mac::TestName::HmacSha256)] {
        for group in mac::TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let tag = match name {
                    "sha1" => tags!(Sha1Key, 20, &test.key, &test.msg),
                    _ => tags!(Sha256Key, 32, &test.key, &test.msg),
                };
                let right = tag.get(..test.tag.len()).is_some_and(|tag| tag == &test.tag[..]);
                assert_eq!(right, !test.result.must_fail(), "Wycheproof {name} {}", test.tc_id);
                tally.add(name);
            }
        }
    }
    tally.report("Wycheproof");
}
