//! HMAC of every available backend: known answers, and the RustCrypto crates as
//! the oracle.

mod support;

use gipsec_kernels::gcm::Backend;
use gipsec_kernels::hmac::{Message, Sha1Key, Sha256Key};
use hmac::{Hmac, KeyInit, Mac};
use support::pages::GuardedPages;
use support::{Generator, available};

fn oracle<M: Mac + KeyInit>(key: &[u8], message: &Message<'_>) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
    mac.update(message.head);
    mac.update(message.tail);
    mac.finalize().into_bytes().to_vec()
}

/// Computes all tags in one call, with both hash functions.
fn check(key: &[u8], backend: Backend, messages: &[Message<'_>]) {
    let mut short = vec![[0xa5; 20]; messages.len()];
    let mut long = vec![[0xa5; 32]; messages.len()];
    Sha1Key::with_backend(key, backend).unwrap().compute(messages, &mut short);
    Sha256Key::with_backend(key, backend).unwrap().compute(messages, &mut long);
    for (index, message) in messages.iter().enumerate() {
        let context = (backend, key.len(), index, messages.len(), message.head.len(), message.tail.len());
        assert_eq!(short[index][..], oracle::<Hmac<sha1::Sha1>>(key, message), "SHA-1 {context:?}");
        assert_eq!(long[index][..], oracle::<Hmac<sha2::Sha256>>(key, message), "SHA-256 {context:?}");
    }
}

#[test]
fn every_length() {
    let mut generator = Generator::new(41);
    let key = generator.bytes(20);
    let data = generator.bytes(70_000);
    let tail = generator.bytes(4);
    for backend in available() {
        for len in (0..=2048).chain([4095, 4096, 8192, 65_535, 65_536]) {
            let start = generator.below(64);
            let head = &data[start..start + len];
            let messages: Vec<_> = (0..=4).map(|tail_len| Message { head, tail: &tail[..tail_len] }).collect();
            check(&key, backend, &messages[..1]);
            check(&key, backend, &messages[4..]);
            check(&key, backend, &messages);
            let lanes: Vec<_> = messages.iter().copied().cycle().take(17).collect();
            check(&key, backend, &lanes);
        }
    }
}

#[test]
fn messages_with_as_many_blocks() {
    let mut generator = Generator::new(48);
    let key = generator.bytes(32);
    let data = generator.bytes(8000);
    for backend in available() {
        for whole in [0, 1, 2, 22] {
            for count in (0..=70).chain([96, 97, 128]) {
                // Of a group, all have one closing block, or all have two, or some have one.
                for (shortest, longest, tail_len) in [(0, 55, 0), (56, 63, 0), (0, 51, 4), (52, 63, 4), (40, 63, 4)] {
                    let messages: Vec<_> = (0..count)
                        .map(|_| {
                            let len = 64 * whole + shortest + generator.below(longest - shortest + 1);
                            let (start, tail) = (generator.below(4000), generator.below(4000));
                            Message { head: &data[start..start + len], tail: &data[tail..tail + tail_len] }
                        })
                        .collect();
                    check(&key, backend, &messages);
                }
            }
        }
    }
}

#[test]
fn every_key_length() {
    let mut generator = Generator::new(42);
    let data = generator.bytes(100);
    for backend in available() {
        for len in (0..=140).chain([1000]) {
            let key = generator.bytes(len);
            check(&key, backend, &[Message { head: &data, tail: &[] }]);
        }
    }
}

#[test]
fn long_tails() {
    let mut generator = Generator::new(43);
    let key = generator.bytes(32);
    let data = generator.bytes(1000);
    for backend in available() {
        let messages: Vec<_> = (0..400)
            .map(|tail_len| Message { head: &data[..generator.below(200)], tail: &data[500..500 + tail_len] })
            .collect();
        for messages in messages.chunks(37) {
            check(&key, backend, messages);
        }
    }
}

#[test]
fn every_tail_behind_every_rest_of_a_block() {
    let mut generator = Generator::new(47);
    let key = generator.bytes(32);
    let data = generator.bytes(400);
    for backend in available() {
        let messages: Vec<_> = (0..=128)
            .flat_map(|head| (0..=140).map(move |tail| (head, tail)))
            .map(|(head, tail)| Message { head: &data[..head], tail: &data[200..200 + tail] })
            .collect();
        for messages in messages.chunks(64) {
            check(&key, backend, messages);
        }
    }
}

#[test]
fn mixed_batches() {
    let mut generator = Generator::new(44);
    let key = generator.bytes(32);
    let data = generator.bytes(20_000);
    for backend in available() {
        for count in (0..=64).chain([65, 96, 200]) {
            for most in [60, 130, 1500, 9000] {
                let equal = generator.below(4) == 0;
                let messages: Vec<_> = (0..count)
                    .map(|_| {
                        let len = if equal { most } else { generator.below(most) };
                        let start = generator.below(10_000);
                        Message { head: &data[start..start + len], tail: &data[..4 * generator.below(2)] }
                    })
                    .collect();
                check(&key, backend, &messages);
            }
        }
    }
}

#[test]
fn guarded_pages() {
    let mut generator = Generator::new(45);
    let key = generator.bytes(20);
    let data = generator.bytes(8192);
    let mut pages: Vec<_> = (0..20).map(|_| GuardedPages::new()).collect();
    for page in &mut pages {
        let bytes = page.bytes();
        bytes.copy_from_slice(&data[..bytes.len()]);
    }
    let mut tails = GuardedPages::new();
    for backend in available() {
        for len in (0..=300).chain([1420, 4096]) {
            for at_end in [true, false] {
                let tail_len = 4 * (len % 2);
                let tail = if at_end { tails.end(tail_len) } else { tails.start(tail_len) };
                tail.copy_from_slice(&data[..tail_len]);
                let messages: Vec<_> = pages
                    .iter_mut()
                    .map(|pages| Message { head: if at_end { pages.end(len) } else { pages.start(len) }, tail })
                    .collect();
                for count in [1, 2, 3, 4, 5, 7, 20] {
                    check(&key, backend, &messages[..count]);
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

/// Keys and messages that RFC 2202 and RFC 4231 share in form.
const LONG_KEY_MESSAGE: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";

/// RFC 2202, section 3.
#[test]
fn sha1_known_answers() {
    let counting: Vec<u8> = (1..=25).collect();
    let long: &[u8] = b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
    let cases: [(&[u8], &[u8], &str); 7] = [
        (&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
        (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (&[0xaa; 20], &[0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
        (&counting, &[0xcd; 50], "4c9007f4026250c6bc8414f9bf50c86c2d7235da"),
        (&[0x0c; 20], b"Test With Truncation", "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"),
        (&[0xaa; 80], LONG_KEY_MESSAGE, "aa4ae5e15272d00e95705637ce8a3b55ed402112"),
        (&[0xaa; 80], long, "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"),
    ];
    for backend in available() {
        for (key, head, tag) in cases {
            let mut tags = [[0; 20]; 17];
            Sha1Key::with_backend(key, backend).unwrap().compute(&[Message { head, tail: &[] }; 17], &mut tags);
            assert!(tags.iter().all(|computed| computed[..] == bytes(tag)), "{backend:?} {tag}");
        }
    }
}

/// RFC 4231, section 4.
#[test]
fn sha256_known_answers() {
    let counting: Vec<u8> = (1..=25).collect();
    let long: &[u8] = b"This is a test using a larger than block-size key and a larger than block-size data. \
        The key needs to be hashed before being used by the HMAC algorithm.";
    let cases: [(&[u8], &[u8], &str); 6] = [
        (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (&counting, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        (&[0xaa; 131], LONG_KEY_MESSAGE, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
        (&[0xaa; 131], long, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
    ];
    for backend in available() {
        for (key, head, tag) in cases {
            let mut tags = [[0; 32]; 17];
            Sha256Key::with_backend(key, backend).unwrap().compute(&[Message { head, tail: &[] }; 17], &mut tags);
            assert!(tags.iter().all(|computed| computed[..] == bytes(tag)), "{backend:?} {tag}");
        }
    }
}

#[test]
fn keys_are_not_printed() {
    let text = format!("{:?} {:?}", Sha1Key::new(&[77; 20]), Sha256Key::new(&[77; 32]));
    assert!(!text.contains("77"));
}

#[test]
fn messages_with_keys_of_their_own() {
    let mut generator = Generator::new(53);
    let data = generator.bytes(8000);
    let keys: Vec<Vec<u8>> = (0..80).map(|at| generator.bytes([20, 32, 64, 100][at % 4])).collect();
    for backend in available() {
        let short: Vec<_> = keys.iter().map(|key| Sha1Key::with_backend(key, backend).unwrap()).collect();
        let long: Vec<_> = keys.iter().map(|key| Sha256Key::with_backend(key, backend).unwrap()).collect();
        for count in (0..=40).chain([64, 65, 80]) {
            for mixed in [false, true] {
                let messages: Vec<_> = (0..count)
                    .map(|at| {
                        let len = if mixed { generator.below(700) } else { 204 };
                        Message { head: &data[at..at + len], tail: &data[..4 * (at % 2 * usize::from(mixed))] }
                    })
                    .collect();
                let (mut short_tags, mut long_tags) = (vec![[0xa5; 20]; count], vec![[0xa5; 64]; count]);
                let (short, long): (Vec<_>, Vec<_>) = (short[..count].iter().collect(), long[..count].iter().collect());
                Sha1Key::compute_together(&short, &messages, &mut short_tags);
                Sha256Key::compute_together(&long, &messages, &mut long_tags);
                for (at, message) in messages.iter().enumerate() {
                    let context = (backend, count, at, mixed);
                    let key = &keys[at];
                    assert_eq!(short_tags[at][..], oracle::<Hmac<sha1::Sha1>>(key, message), "SHA-1 {context:?}");
                    assert_eq!(long_tags[at][..32], oracle::<Hmac<sha2::Sha256>>(key, message), "SHA-256 {context:?}");
                    assert_eq!(long_tags[at][32..], [0xa5; 32]);
                }
            }
        }
    }
}
