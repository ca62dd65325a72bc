//! AES-CBC of every available backend: known answers, and the RustCrypto crates
//! as the oracle.

mod support;

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use gipsec_kernels::cbc::{DecryptKey, EncryptKey, Job, encrypt_together};
use gipsec_kernels::gcm::Backend;
use support::pages::GuardedPages;
use support::{Generator, available};

const KEY_LENGTHS: [usize; 3] = [16, 24, 32];

fn oracle_with<M: KeyIvInit + BlockModeEncrypt>(key: &[u8], iv: &[u8; 16], text: &mut [u8]) {
    let mut mode = M::new_from_slices(key, iv).unwrap();
    for block in text.chunks_exact_mut(16) {
        mode.encrypt_block(block.try_into().unwrap());
    }
}

fn oracle(key: &[u8], iv: &[u8; 16], text: &mut [u8]) {
    match key.len() {
        16 => oracle_with::<cbc::Encryptor<Aes128>>(key, iv, text),
        24 => oracle_with::<cbc::Encryptor<Aes192>>(key, iv, text),
        _ => oracle_with::<cbc::Encryptor<Aes256>>(key, iv, text),
    }
}

fn keys(key: &[u8], backend: Backend) -> (EncryptKey, DecryptKey) {
    (EncryptKey::with_backend(key, backend).unwrap(), DecryptKey::with_backend(key, backend).unwrap())
}

fn iv(generator: &mut Generator) -> [u8; 16] {
    generator.bytes(16).try_into().unwrap()
}

/// A packet, how much of it comes from a payload, and what it should become.
struct Packet {
    iv: [u8; 16],
    plaintext: Vec<u8>,
    payload: Option<usize>,
    body: Vec<u8>,
    expected: Vec<u8>,
}

impl Packet {
    fn new(generator: &mut Generator, key: &[u8], len: usize, payload: Option<usize>) -> Self {
        let iv = iv(generator);
        let plaintext = generator.bytes(len);
        let mut expected = plaintext.clone();
        oracle(key, &iv, &mut expected);
        let mut body = plaintext.clone();
        body[..payload.unwrap_or(0)].fill(0xa5);
        Self { iv, plaintext, payload, body, expected }
    }
}

/// Encrypts all packets in one call, then decrypts each.
fn check(key: &[u8], backend: Backend, packets: &mut [Packet]) {
    let (encrypt, decrypt) = keys(key, backend);
    let mut jobs: Vec<_> = packets
        .iter_mut()
        .map(|packet| Job {
            iv: packet.iv,
            payload: packet.payload.map(|len| &packet.plaintext[..len]),
            body: &mut packet.body,
        })
        .collect();
    encrypt.encrypt(&mut jobs);
    let count = packets.len();
    for (index, packet) in packets.iter().enumerate() {
        let context = (backend, index, count, packet.body.len(), packet.payload);
        assert!(packet.body == packet.expected, "ciphertext {context:?}");
        let mut output = vec![0x5a; packet.body.len()];
        decrypt.decrypt(&packet.iv, &packet.body, &mut output);
        assert!(output == packet.plaintext, "plaintext {context:?}");
        output.copy_from_slice(&packet.body);
        decrypt.decrypt_in_place(&packet.iv, &mut output);
        assert!(output == packet.plaintext, "plaintext in place {context:?}");
    }
}

#[test]
fn every_length() {
    let mut generator = Generator::new(31);
    for key_len in KEY_LENGTHS {
        let key = generator.bytes(key_len);
        for backend in available() {
            for blocks in (0..=128).chain([255, 256, 257, 511, 4096]) {
                let len = blocks * 16;
                let split = generator.below(40).min(len);
                let payloads = [None, Some(len), Some(len - split), Some(0)];
                let mut packets: Vec<_> =
                    payloads.into_iter().map(|payload| Packet::new(&mut generator, &key, len, payload)).collect();
                check(&key, backend, &mut packets[..1]);
                packets[0] = Packet::new(&mut generator, &key, len, None);
                check(&key, backend, &mut packets);
                let mut packets: Vec<_> = (0..if blocks > 600 { 9 } else { 33 })
                    .map(|index| Packet::new(&mut generator, &key, len, payloads[index % payloads.len()]))
                    .collect();
                check(&key, backend, &mut packets);
            }
        }
    }
}

#[test]
fn mixed_batches() {
    let mut generator = Generator::new(32);
    for key_len in KEY_LENGTHS {
        let key = generator.bytes(key_len);
        for backend in available() {
            for count in (0..=64).chain([65, 96, 200]) {
                let most = [2, 8, 100, 600][generator.below(4)];
                let equal = generator.below(4) == 0;
                let mut packets: Vec<_> = (0..count)
                    .map(|_| {
                        let len = 16 * if equal { most } else { generator.below(most) };
                        let payload = (generator.below(3) > 0).then(|| generator.below(len + 1));
                        Packet::new(&mut generator, &key, len, payload)
                    })
                    .collect();
                check(&key, backend, &mut packets);
            }
        }
    }
}

#[test]
fn every_split() {
    let mut generator = Generator::new(33);
    let key = generator.bytes(16);
    for backend in available() {
        let mut packets: Vec<_> = (0..=96).map(|split| Packet::new(&mut generator, &key, 96, Some(split))).collect();
        check(&key, backend, &mut packets);
    }
}

#[test]
fn partial_blocks_are_left_untouched() {
    let mut generator = Generator::new(34);
    let key = generator.bytes(16);
    for backend in available() {
        let (encrypt, decrypt) = keys(&key, backend);
        for len in [1, 15, 17, 40, 63, 100] {
            let whole = len / 16 * 16;
            let (iv, plaintext) = (iv(&mut generator), generator.bytes(len));
            let mut expected = plaintext.clone();
            oracle(&key, &iv, &mut expected[..whole]);
            let mut body = plaintext.clone();
            encrypt.encrypt(&mut [Job { iv, payload: None, body: &mut body }]);
            assert_eq!(body, expected, "{backend:?} {len}");
            decrypt.decrypt_in_place(&iv, &mut body);
            assert_eq!(body, plaintext, "{backend:?} {len}");
            for payload in [&plaintext[..whole], &plaintext] {
                let payload = Some(payload);
                encrypt.encrypt(&mut [Job { iv, payload, body: &mut body }]);
                assert_eq!(body, expected, "{backend:?} {len}");
            }
        }
    }
}

#[test]
fn guarded_pages() {
    let mut generator = Generator::new(35);
    for key_len in KEY_LENGTHS {
        let key = generator.bytes(key_len);
        for backend in available() {
            let (encrypt, decrypt) = keys(&key, backend);
            for (blocks, at_end) in (0..=100).flat_map(|blocks| [(blocks, true), (blocks, false)]) {
                let len = blocks * 16;
                let count = 1 + generator.below(9);
                let place = |pages: &mut GuardedPages, data: &[u8]| {
                    let room = if at_end { pages.end(data.len()) } else { pages.start(data.len()) };
                    room.copy_from_slice(data);
                };
                let mut sources: Vec<_> = (0..count).map(|_| GuardedPages::new()).collect();
                let mut targets: Vec<_> = (0..count).map(|_| GuardedPages::new()).collect();
                let split = len - generator.below(20).min(len);
                let packets: Vec<_> = (0..count).map(|_| Packet::new(&mut generator, &key, len, Some(split))).collect();
                for ((packet, source), target) in packets.iter().zip(&mut sources).zip(&mut targets) {
                    place(source, &packet.plaintext[..split]);
                    place(target, &packet.body);
                }
                let mut jobs: Vec<_> = packets
                    .iter()
                    .zip(&mut sources)
                    .zip(&mut targets)
                    .map(|((packet, source), target)| Job {
                        iv: packet.iv,
                        payload: Some(if at_end { source.end(split) } else { source.start(split) }),
                        body: if at_end { target.end(len) } else { target.start(len) },
                    })
                    .collect();
                encrypt.encrypt(&mut jobs);
                for ((packet, source), target) in packets.iter().zip(&mut sources).zip(&mut targets) {
                    let body = if at_end { target.end(len) } else { target.start(len) };
                    let output = if at_end { source.end(len) } else { source.start(len) };
                    assert!(body == packet.expected, "{backend:?} {len}");
                    decrypt.decrypt(&packet.iv, body, output);
                    assert!(output == packet.plaintext, "{backend:?} {len}");
                    decrypt.decrypt_in_place(&packet.iv, body);
                    assert!(body == packet.plaintext, "{backend:?} {len}");
                }
            }
        }
    }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    hexadecimal
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// SP 800-38A, F.2.
#[test]
fn known_answers() {
    let iv: [u8; 16] = core::array::from_fn(|index| u8::try_from(index).unwrap());
    let plaintext = bytes(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    let cases = [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
    ];
    for backend in available() {
        for (key, ciphertext) in cases {
            let (encrypt, decrypt) = keys(&bytes(key), backend);
            let mut body = plaintext.clone();
            encrypt.encrypt(&mut [Job { iv, payload: None, body: &mut body }]);
            assert_eq!(body, bytes(ciphertext), "{backend:?}");
            decrypt.decrypt_in_place(&iv, &mut body);
            assert_eq!(body, plaintext, "{backend:?}");
        }
    }
}

#[test]
fn bad_key_lengths_are_refused() {
    for backend in available() {
        for len in (0..64).filter(|len| !KEY_LENGTHS.contains(len)) {
            assert!(EncryptKey::with_backend(&vec![1; len], backend).is_none());
            assert!(DecryptKey::with_backend(&vec![1; len], backend).is_none());
        }
    }
}

#[test]
fn keys_are_not_printed() {
    let text = format!("{:?} {:?}", EncryptKey::new(&[77; 16]), DecryptKey::new(&[77; 16]));
    assert!(!text.contains("77"));
}

#[test]
fn packets_with_keys_of_their_own() {
    let mut generator = Generator::new(67);
    let keys: Vec<Vec<u8>> = (0..80).map(|at| generator.bytes([16, 16, 32, 16, 24][at % 5])).collect();
    for backend in available() {
        let expanded: Vec<_> = keys.iter().map(|key| EncryptKey::with_backend(key, backend).unwrap()).collect();
        for count in (0..=40).chain([64, 80]) {
            for mixed in [false, true] {
                let mut wanted = Vec::new();
                let mut bodies = Vec::new();
                let mut payloads = Vec::new();
                for (at, key) in keys.iter().take(count).enumerate() {
                    let blocks = if mixed { generator.below(40) } else { 7 };
                    let plaintext = generator.bytes(16 * blocks);
                    let payload_len = (at % 3 != 0).then(|| plaintext.len() - generator.below(17).min(plaintext.len()));
                    let iv: [u8; 16] = generator.bytes(16).try_into().unwrap();
                    let mut expected = plaintext.clone();
                    let oracle = EncryptKey::with_backend(key, Backend::Portable).unwrap();
                    oracle.encrypt(&mut [Job { iv, payload: None, body: &mut expected }]);
                    let mut body = plaintext.clone();
                    body[..payload_len.unwrap_or(0)].fill(0);
                    payloads.push(payload_len.map(|len| plaintext[..len].to_vec()));
                    bodies.push((iv, body));
                    wanted.push(expected);
                }
                let mut jobs: Vec<_> = expanded
                    .iter()
                    .zip(&mut bodies)
                    .zip(&payloads)
                    .map(|((key, (iv, body)), payload)| (key, Job { iv: *iv, payload: payload.as_deref(), body }))
                    .collect();
                encrypt_together(&mut jobs);
                for (at, ((_, body), wanted)) in bodies.iter().zip(&wanted).enumerate() {
                    assert_eq!(body, wanted, "{backend:?} {count} {at} {mixed}");
                }
            }
        }
    }
}
