//! AES-CTR of every available backend: known answers, and the RustCrypto crates
//! as the oracle.

mod support;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use ctr::Ctr32BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use gipsec_kernels::ctr::Key;
use gipsec_kernels::gcm::Backend;
use support::pages::GuardedPages;
use support::{Generator, available};

const KEY_LENGTHS: [usize; 3] = [16, 24, 32];

fn oracle_with<C: KeyIvInit + StreamCipher>(key: &[u8], counter: &[u8; 16], text: &mut [u8]) {
    C::new_from_slices(key, counter).unwrap().apply_keystream(text);
}

fn oracle(key: &[u8], counter: &[u8; 16], text: &mut [u8]) {
    match key.len() {
        16 => oracle_with::<Ctr32BE<Aes128>>(key, counter, text),
        24 => oracle_with::<Ctr32BE<Aes192>>(key, counter, text),
        _ => oracle_with::<Ctr32BE<Aes256>>(key, counter, text),
    }
}

fn counter(generator: &mut Generator) -> [u8; 16] {
    generator.bytes(16).try_into().unwrap()
}

fn expand(key: &[u8], backend: Backend) -> Key {
    Key::with_backend(key, backend).expect("the backend is available")
}

/// Apart, in place and with each of these payloads.
fn check(key: &Key, counter: &[u8; 16], plaintext: &[u8], expected: &[u8], payloads: &[usize], backend: Backend) {
    let len = plaintext.len();
    let mut output = vec![0x5a; len];
    key.apply(counter, plaintext, &mut output);
    assert!(output == expected, "apart {backend:?} {len}");
    key.apply_in_place(counter, &mut output);
    assert!(output == plaintext, "in place {backend:?} {len}");
    key.seal(counter, None, &mut output);
    assert!(output == expected, "without a payload {backend:?} {len}");
    for &payload in payloads {
        output.copy_from_slice(plaintext);
        output[..payload].fill(0xa5);
        key.seal(counter, Some(&plaintext[..payload]), &mut output);
        assert!(output == expected, "with a payload {backend:?} {len} {payload}");
    }
}

#[test]
fn every_length() {
    let mut generator = Generator::new(41);
    let plaintext = generator.bytes(65_536);
    let longer = [2049, 4095, 4096, 4097, 8194, 9000, 16_384, 65_520, 65_521, 65_535, 65_536];
    for key_len in KEY_LENGTHS {
        let key = generator.bytes(key_len);
        let counter = counter(&mut generator);
        // What comes later does not change what comes before.
        let mut expected = plaintext.clone();
        oracle(&key, &counter, &mut expected);
        for backend in available() {
            let key = expand(&key, backend);
            for len in (0..=2048).chain(longer) {
                let payloads = [0, len, len - generator.below(20).min(len), generator.below(len + 1)];
                check(&key, &counter, &plaintext[..len], &expected[..len], &payloads, backend);
            }
        }
    }
}

#[test]
fn every_split() {
    let mut generator = Generator::new(42);
    for key_len in KEY_LENGTHS {
        let key = generator.bytes(key_len);
        let counter = counter(&mut generator);
        let plaintext = generator.bytes(1100);
        let mut expected = plaintext.clone();
        oracle(&key, &counter, &mut expected);
        for backend in available() {
            let key = expand(&key, backend);
            for len in (0..=140).chain([255, 256, 257, 511, 512, 513, 1024, 1030, 1100]) {
                let payloads: Vec<_> = (0..=len).collect();
                check(&key, &counter, &plaintext[..len], &expected[..len], &payloads, backend);
            }
        }
    }
}

/// The keystream from the definition: a block cipher and a counter of 32 bits.
fn keystream<C: BlockCipherEncrypt + KeyInit>(key: &[u8], counter: &[u8; 16], blocks: u32) -> Vec<u8> {
    let aes = C::new_from_slice(key).unwrap();
    let (fixed, start) = counter.split_at(12);
    let start = u32::from_be_bytes(start.try_into().unwrap());
    (0..blocks)
        .flat_map(|number| {
            let mut block = aes::cipher::Block::<C>::default();
            block[..12].copy_from_slice(fixed);
            block[12..].copy_from_slice(&start.wrapping_add(number).to_be_bytes());
            aes.encrypt_block(&mut block);
            block.to_vec()
        })
        .collect()
}

#[test]
fn the_counter_wraps() {
    let mut generator = Generator::new(43);
    for key_len in KEY_LENGTHS {
        let key = generator.bytes(key_len);
        for before in 0..=70_u32 {
            let mut counter = counter(&mut generator);
            if before % 2 == 0 {
                // A carry would be seen here.
                counter[..12].fill(0xff);
            }
            counter[12..].copy_from_slice(&0_u32.wrapping_sub(before).to_be_bytes());
            let expected = match key_len {
                16 => keystream::<Aes128>(&key, &counter, 80),
                24 => keystream::<Aes192>(&key, &counter, 80),
                _ => keystream::<Aes256>(&key, &counter, 80),
            };
            let zeros = vec![0; expected.len()];
            for backend in available() {
                let key = expand(&key, backend);
                let len = expected.len() - generator.below(17);
                check(&key, &counter, &zeros[..len], &expected[..len], &[len - 4], backend);
            }
        }
    }
}

#[test]
fn guarded_pages() {
    let mut generator = Generator::new(44);
    let (mut source, mut target) = (GuardedPages::new(), GuardedPages::new());
    for key_len in KEY_LENGTHS {
        let key = generator.bytes(key_len);
        let counter = counter(&mut generator);
        let plaintext = generator.bytes(1300);
        let mut expected = plaintext.clone();
        oracle(&key, &counter, &mut expected);
        for backend in available() {
            let key = expand(&key, backend);
            for (len, at_end) in (0..=1300).flat_map(|len| [(len, true), (len, false)]) {
                let (plaintext, expected) = (&plaintext[..len], &expected[..len]);
                let few = len - generator.below(20).min(len);
                for split in [few, generator.below(len + 1)] {
                    let payload = if at_end { source.end(split) } else { source.start(split) };
                    payload.copy_from_slice(&plaintext[..split]);
                    let all = target.bytes();
                    all.fill(0xc3);
                    let start = if at_end { all.len() - len } else { 0 };
                    let body = &mut all[start..start + len];
                    body[split..].copy_from_slice(&plaintext[split..]);
                    key.seal(&counter, Some(payload), body);
                    assert!(body == expected, "{backend:?} {len} {split}");
                    let output = if at_end { source.end(len) } else { source.start(len) };
                    key.apply(&counter, body, output);
                    assert!(output == plaintext, "{backend:?} {len}");
                    key.apply_in_place(&counter, body);
                    assert!(body == plaintext, "{backend:?} {len}");
                    let rest = if at_end { &all[..start] } else { &all[len..] };
                    assert!(rest.iter().all(|byte| *byte == 0xc3), "written outside: {backend:?} {len}");
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

/// RFC 3686, section 6: key, nonce, IV and ciphertext.
const RFC_3686: [[&str; 4]; 9] = [
    ["ae6852f8121067cc4bf7a5765577f39e", "00000030", "0000000000000000", "e4095d4fb7a7b3792d6175a3261311b8"],
    [
        "7e24067817fae0d743d6ce1f32539163",
        "006cb6db",
        "c0543b59da48d90b",
        "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
    ],
    [
        "7691be035e5020a8ac6e618529f9a0dc",
        "00e0017b",
        "27777f3f4a1786f0",
        "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f",
    ],
    [
        "16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb78515",
        "00000048",
        "36733c147d6d93cb",
        "4b55384fe259c9c84e7935a003cbe928",
    ],
    [
        "7c5cb2401b3dc33c19e7340819e0f69c678c3db8e6f6a91a",
        "0096b03b",
        "020c6eadc2cb500d",
        "453243fc609b23327edfaafa7131cd9f8490701c5ad4a79cfc1fe0ff42f4fb00",
    ],
    [
        "02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe",
        "0007bdfd",
        "5cbd60278dcc0912",
        "96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935",
    ],
    [
        "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104",
        "00000060",
        "db5672c97aa8f0b2",
        "145ad01dbf824ec7560863dc71e3e0c0",
    ],
    [
        "f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a23884",
        "00faac24",
        "c1585ef15a43d875",
        "f05e231b3894612c49ee000b804eb2a9b8306b508f839d6a5530831d9344af1c",
    ],
    [
        "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
        "001cc5b7",
        "51a51d70a1c11148",
        "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8",
    ],
];

#[test]
fn known_answers() {
    for backend in available() {
        for [key, nonce, iv, ciphertext] in RFC_3686 {
            let expected = bytes(ciphertext);
            let plaintext = match expected.len() {
                16 => b"Single block msg".to_vec(),
                len => (0..u8::try_from(len).unwrap()).collect(),
            };
            let counter = [bytes(nonce), bytes(iv), vec![0, 0, 0, 1]].concat().try_into().unwrap();
            check(&expand(&bytes(key), backend), &counter, &plaintext, &expected, &[3, 16], backend);
        }
    }
}

#[test]
fn bad_key_lengths_are_refused() {
    for backend in available() {
        for len in (0..64).filter(|len| !KEY_LENGTHS.contains(len)) {
            assert!(Key::with_backend(&vec![1; len], backend).is_none());
        }
    }
}

#[test]
fn keys_are_not_printed() {
    let text = format!("{:?}", Key::new(&[77; 16]));
    assert!(!text.contains("77"));
}
