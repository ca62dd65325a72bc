//! Every available backend against the portable one.

mod support;

use gipsec_kernels::gcm::{Backend, GcmKey, TagMismatch};
use support::{Generator, available, expand};

const KEY_LENGTHS: [usize; 3] = [16, 24, 32];

/// A message with what the portable backend makes of it.
struct Sealed {
    nonce: [u8; 12],
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: [u8; 16],
}

impl Sealed {
    fn new(generator: &mut Generator, oracle: &GcmKey, aad_len: usize, len: usize) -> Self {
        let nonce = generator.nonce();
        let aad = generator.bytes(aad_len);
        let plaintext = generator.bytes(len);
        let mut ciphertext = plaintext.clone();
        let tag = oracle.seal_in_place(&nonce, &aad, &mut ciphertext);
        Self { nonce, aad, plaintext, ciphertext, tag }
    }

    fn check_in_place(&self, key: &GcmKey) {
        let context = (key.backend(), self.plaintext.len(), self.aad.len());
        let mut buffer = self.plaintext.clone();
        let tag = key.seal_in_place(&self.nonce, &self.aad, &mut buffer);
        assert!(buffer == self.ciphertext, "ciphertext {context:?}");
        assert_eq!(tag, self.tag, "tag {context:?}");
        let opened = key.open_in_place(&self.nonce, &self.aad, &tag, &mut buffer);
        assert_eq!(opened, Ok(()), "{context:?}");
        assert!(buffer == self.plaintext, "plaintext {context:?}");
    }

    fn check_split(&self, key: &GcmKey, split: usize) {
        let context = (key.backend(), self.plaintext.len(), split);
        let mut output = self.plaintext.clone();
        output[..split].fill(0xa5);
        let tag = key.seal(&self.nonce, &self.aad, &self.plaintext[..split], &mut output);
        assert!(output == self.ciphertext, "ciphertext {context:?}");
        assert_eq!(tag, self.tag, "tag {context:?}");
    }

    fn check_open(&self, key: &GcmKey) {
        let context = (key.backend(), self.plaintext.len(), self.aad.len());
        let mut output = vec![0xa5; self.ciphertext.len()];
        let opened = key.open(&self.nonce, &self.aad, &self.ciphertext, &self.tag, &mut output);
        assert_eq!(opened, Ok(()), "{context:?}");
        assert!(output == self.plaintext, "plaintext {context:?}");
    }

    /// The portable and the tested key must both reject and wipe.
    fn check_rejected(&self, key: &GcmKey) {
        let context = (key.backend(), self.ciphertext.len(), self.aad.len());
        let mut output = vec![0xa5; self.ciphertext.len()];
        let opened = key.open(&self.nonce, &self.aad, &self.ciphertext, &self.tag, &mut output);
        assert_eq!(opened, Err(TagMismatch), "{context:?}");
        assert!(output.iter().all(|&byte| byte == 0), "{context:?}");
        let mut buffer = self.ciphertext.clone();
        let opened = key.open_in_place(&self.nonce, &self.aad, &self.tag, &mut buffer);
        assert_eq!(opened, Err(TagMismatch), "{context:?}");
        assert!(buffer.iter().all(|&byte| byte == 0), "{context:?}");
    }
}

/// Runs `check` for each key length and backend with the oracle and the key.
fn for_each_key(seed: u64, mut check: impl FnMut(&mut Generator, &GcmKey, &GcmKey)) {
    let mut generator = Generator::new(seed);
    for key_len in KEY_LENGTHS {
        let key = generator.bytes(key_len);
        let oracle = expand(&key, Backend::Portable);
        for backend in available() {
            check(&mut generator, &oracle, &expand(&key, backend));
        }
    }
}

#[test]
fn all_lengths() {
    for_each_key(1, |generator, oracle, key| {
        for len in 0..=2048 {
            let message = Sealed::new(generator, oracle, [8, 12][len % 2], len);
            message.check_in_place(key);
            message.check_open(key);
            message.check_split(key, len);
        }
    });
}

#[test]
fn large_lengths() {
    for_each_key(2, |generator, oracle, key| {
        for len in [4095, 4096, 4097, 8192, 9000, 16_383, 32_768, 65_519, 65_520, 65_535] {
            let message = Sealed::new(generator, oracle, 8, len);
            message.check_in_place(key);
            message.check_open(key);
            message.check_split(key, len - 17);
        }
    });
}

#[test]
fn aad_lengths() {
    for_each_key(3, |generator, oracle, key| {
        for aad_len in (0..=64).chain([255, 256, 257, 303, 304, 305, 1000, 5000]) {
            for len in [0, 1, 15, 16, 17, 64, 240, 256, 257, 304, 305, 320, 600] {
                let message = Sealed::new(generator, oracle, aad_len, len);
                message.check_in_place(key);
                message.check_open(key);
            }
        }
    });
}

#[test]
fn payload_and_tail() {
    for_each_key(4, |generator, oracle, key| {
        for len in (0..=130).chain([255, 256, 272, 273, 303, 304, 305, 368, 511, 512, 700]) {
            let message = Sealed::new(generator, oracle, 8, len);
            for split in 0..=len {
                message.check_split(key, split);
            }
        }
        for _ in 0..500 {
            let len = generator.below(3000);
            let split = len - generator.below(260).min(len);
            Sealed::new(generator, oracle, 12, len).check_split(key, split);
        }
    });
}

#[test]
fn truncated_tags() {
    for_each_key(5, |generator, oracle, key| {
        for len in [0, 13, 100, 1420] {
            let message = Sealed::new(generator, oracle, 8, len);
            for tag_len in 0..=16 {
                let mut buffer = message.ciphertext.clone();
                let tag = &message.tag[..tag_len];
                let opened = key.open_in_place(&message.nonce, &message.aad, tag, &mut buffer);
                if [8, 12, 16].contains(&tag_len) {
                    assert_eq!(opened, Ok(()));
                    assert_eq!(buffer, message.plaintext);
                } else {
                    assert_eq!(opened, Err(TagMismatch));
                    assert!(buffer.iter().all(|&byte| byte == 0));
                }
            }
            let mut long_tag = message.tag.to_vec();
            long_tag.push(0);
            let mut buffer = message.ciphertext.clone();
            let opened = key.open_in_place(&message.nonce, &message.aad, &long_tag, &mut buffer);
            assert_eq!(opened, Err(TagMismatch));
        }
    });
}

#[test]
fn flipped_bits() {
    for_each_key(6, |generator, oracle, key| {
        for len in [0, 1, 40, 64, 304, 305, 1437] {
            let mut message = Sealed::new(generator, oracle, 12, len);
            for bit in 0..8 * 16 {
                message.tag[bit / 8] ^= 1 << (bit % 8);
                message.check_rejected(key);
                message.tag[bit / 8] ^= 1 << (bit % 8);
            }
            for bit in 0..8 * 12 {
                message.aad[bit / 8] ^= 1 << (bit % 8);
                message.check_rejected(key);
                message.aad[bit / 8] ^= 1 << (bit % 8);
                message.nonce[bit / 8] ^= 1 << (bit % 8);
                message.check_rejected(key);
                message.nonce[bit / 8] ^= 1 << (bit % 8);
            }
            for byte in 0..len {
                let bit = 1 << generator.below(8);
                message.ciphertext[byte] ^= bit;
                message.check_rejected(key);
                message.ciphertext[byte] ^= bit;
            }
            // Each truncated tag must be compared to its last bit.
            for tag_len in [8, 12, 16] {
                let mut tag = message.tag[..tag_len].to_vec();
                tag[tag_len - 1] ^= 1;
                let mut buffer = message.ciphertext.clone();
                let opened = key.open_in_place(&message.nonce, &message.aad, &tag, &mut buffer);
                assert_eq!(opened, Err(TagMismatch));
            }
            message.check_open(key);
        }
    });
}

#[test]
fn mac_of_parts() {
    for_each_key(7, |generator, oracle, key| {
        for len in (0..=100).chain([255, 256, 304, 305, 320, 321, 1436, 4000]) {
            let nonce = generator.nonce();
            let data = generator.bytes(len);
            let expected = oracle.seal_in_place(&nonce, &data, &mut []);
            assert_eq!(key.mac(&nonce, &[&data]), expected);
            for _ in 0..20 {
                let mut parts: Vec<&[u8]> = Vec::new();
                let mut rest = data.as_slice();
                while !rest.is_empty() {
                    let limit = [4, 20, rest.len() + 1][generator.below(3)];
                    let (part, after) = rest.split_at(generator.below(limit).min(rest.len()));
                    parts.push(part);
                    rest = after;
                }
                assert_eq!(key.mac(&nonce, &parts), expected, "{:?} {len}", key.backend());
            }
        }
        assert_eq!(key.mac(&[7; 12], &[]), oracle.mac(&[7; 12], &[&[], &[]]));
    });
}

#[test]
fn mismatched_buffers() {
    for_each_key(8, |generator, oracle, key| {
        let message = Sealed::new(generator, oracle, 8, 100);
        for len in [0, 99, 101] {
            let mut output = vec![0xa5; len];
            let opened = key.open(&message.nonce, &message.aad, &message.ciphertext, &message.tag, &mut output);
            assert_eq!(opened, Err(TagMismatch));
            assert!(output.iter().all(|&byte| byte == 0));
        }
    });
}

#[test]
#[cfg(not(debug_assertions))]
fn short_output() {
    for_each_key(9, |generator, oracle, key| {
        let message = Sealed::new(generator, oracle, 8, 100);
        let mut payload = message.plaintext.clone();
        payload.extend_from_slice(&[1; 50]);
        let mut output = vec![0; 100];
        let tag = key.seal(&message.nonce, &message.aad, &payload, &mut output);
        assert_eq!(output, message.ciphertext);
        assert_eq!(tag, message.tag);
    });
}

#[test]
fn key_lengths() {
    for backend in available() {
        for len in 0..=64 {
            let expanded = GcmKey::with_backend(&vec![1; len], backend);
            assert_eq!(expanded.is_some(), KEY_LENGTHS.contains(&len));
        }
    }
}

#[test]
fn keys_are_small_shareable_and_opaque() {
    fn shareable<T: Send + Sync>() {}
    shareable::<GcmKey>();
    assert!(size_of::<GcmKey>() <= 2048);
    let key = GcmKey::new(&[0x5a; 16]).unwrap();
    assert_eq!(format!("{key:?}"), "GcmKey { .. }");
    println!("GcmKey: {} bytes; backends {:?}", size_of::<GcmKey>(), available());
}
