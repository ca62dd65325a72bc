//! Packets that are sealed and opened together, against the same packets one by one with the portable
//! backend.

mod support;

use gipsec_kernels::gcm::{Backend, GcmKey, OpenJob, SealJob, TagMismatch};
use support::pages::GuardedPages;
use support::{Generator, available, expand};

/// A packet and what should become of it.
struct Packet {
    nonce: [u8; 12],
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: [u8; 16],
    /// How much of the plaintext is a payload apart from the output.
    payload: Option<usize>,
    /// Whether the ciphertext is apart from the output.
    apart: bool,
    /// Bytes of the tag.
    tag_len: usize,
    /// Whether the packet is to be rejected.
    forged: bool,
}

impl Packet {
    fn new(generator: &mut Generator, oracle: &GcmKey, len: usize) -> Self {
        let nonce = generator.nonce();
        let aad_len = [8, 12, 0, 16, 17, 40][generator.below(40).saturating_sub(34)];
        let aad = generator.bytes(aad_len);
        let plaintext = generator.bytes(len);
        let mut ciphertext = plaintext.clone();
        let tag = oracle.seal_in_place(&nonce, &aad, &mut ciphertext);
        let payload = match generator.below(4) {
            0 => None,
            1 => Some(generator.below(len + 1)),
            _ => Some(len - generator.below(20).min(len)),
        };
        let tag_len = [16, 12, 8][generator.below(3)];
        Self {
            nonce,
            aad,
            plaintext,
            ciphertext,
            tag,
            payload,
            apart: generator.below(2) == 0,
            tag_len,
            forged: generator.below(9) == 0,
        }
    }
}

fn check(key: &GcmKey, packets: &mut [Packet]) {
    let mut outputs: Vec<_> = packets
        .iter()
        .map(|packet| {
            let mut output = packet.plaintext.clone();
            output[..packet.payload.unwrap_or(0)].fill(0xa5);
            output
        })
        .collect();
    let mut jobs: Vec<_> = packets
        .iter()
        .zip(&mut outputs)
        .map(|(packet, output)| SealJob {
            nonce: packet.nonce,
            aad: &packet.aad,
            payload: packet.payload.map(|len| &packet.plaintext[..len]),
            output,
            tag: [0xa5; 16],
        })
        .collect();
    key.seal_many(&mut jobs);
    let count = packets.len();
    for (index, (job, packet)) in jobs.iter().zip(&*packets).enumerate() {
        let context = (key.backend(), index, count, packet.plaintext.len(), packet.payload);
        assert!(*job.output == packet.ciphertext, "ciphertext {context:?}");
        assert_eq!(job.tag, packet.tag, "tag {context:?}");
    }
    for (index, packet) in packets.iter_mut().enumerate() {
        if packet.apart {
            outputs[index].fill(0xa5);
        }
        if packet.forged {
            packet.tag[index % packet.tag_len] ^= 1 << (index % 8);
        }
    }
    let mut jobs: Vec<_> = packets
        .iter()
        .zip(&mut outputs)
        .map(|(packet, output)| OpenJob {
            nonce: packet.nonce,
            aad: &packet.aad,
            ciphertext: packet.apart.then_some(&packet.ciphertext[..]),
            tag: &packet.tag[..packet.tag_len],
            output,
            result: Ok(()),
        })
        .collect();
    key.open_many(&mut jobs);
    for (index, (job, packet)) in jobs.iter().zip(&*packets).enumerate() {
        let context = (key.backend(), index, count, packet.plaintext.len(), packet.apart, packet.forged);
        if packet.forged {
            assert_eq!(job.result, Err(TagMismatch), "{context:?}");
            assert!(job.output.iter().all(|&byte| byte == 0), "{context:?}");
        } else {
            assert_eq!(job.result, Ok(()), "{context:?}");
            assert!(*job.output == packet.plaintext, "plaintext {context:?}");
        }
    }
}

/// Runs `check` for each key length and backend with the oracle and the key.
fn for_each_key(seed: u64, mut check: impl FnMut(&mut Generator, &GcmKey, &GcmKey)) {
    let mut generator = Generator::new(seed);
    for key_len in [16, 24, 32] {
        let key = generator.bytes(key_len);
        let oracle = expand(&key, Backend::Portable);
        for backend in available() {
            check(&mut generator, &oracle, &expand(&key, backend));
        }
    }
}

#[test]
fn equal_lengths() {
    for_each_key(61, |generator, oracle, key| {
        for len in (0..=700).chain([1420, 1424, 1504, 1505, 2048]) {
            let mut packets: Vec<_> = (0..7).map(|_| Packet::new(generator, oracle, len)).collect();
            check(key, &mut packets);
        }
    });
}

#[test]
fn mixed_lengths() {
    for_each_key(62, |generator, oracle, key| {
        for count in (0..=40).chain([64, 100]) {
            for most in [34, 100, 300, 2000] {
                let mut packets: Vec<_> = (0..count)
                    .map(|_| {
                        let len = generator.below(most);
                        Packet::new(generator, oracle, len)
                    })
                    .collect();
                check(key, &mut packets);
            }
        }
    });
}

#[test]
fn guarded_pages() {
    let mut sources: Vec<_> = (0..4).map(|_| GuardedPages::new()).collect();
    let mut targets: Vec<_> = (0..4).map(|_| GuardedPages::new()).collect();
    for_each_key(63, |generator, oracle, key| {
        for (len, at_end) in (0..=300).flat_map(|len| [(len, true), (len, false)]) {
            let packets: Vec<_> = (0..4).map(|_| Packet::new(generator, oracle, len)).collect();
            let split = len - generator.below(20).min(len);
            let mut jobs = Vec::new();
            for ((packet, source), target) in packets.iter().zip(&mut sources).zip(&mut targets) {
                let source = if at_end { source.end(split) } else { source.start(split) };
                source.copy_from_slice(&packet.plaintext[..split]);
                let output = if at_end { target.end(len) } else { target.start(len) };
                output.copy_from_slice(&packet.plaintext);
                output[..split].fill(0xa5);
                let payload = Some(&*source);
                jobs.push(SealJob { nonce: packet.nonce, aad: &packet.aad, payload, output, tag: [0; 16] });
            }
            key.seal_many(&mut jobs);
            for (job, packet) in jobs.iter().zip(&packets) {
                assert!(*job.output == packet.ciphertext, "{:?} {len}", key.backend());
                assert_eq!(job.tag, packet.tag, "{:?} {len}", key.backend());
            }
            let mut jobs = Vec::new();
            for ((packet, source), target) in packets.iter().zip(&mut sources).zip(&mut targets) {
                let source = if at_end { source.end(len) } else { source.start(len) };
                source.copy_from_slice(&packet.ciphertext);
                let output = if at_end { target.end(len) } else { target.start(len) };
                jobs.push(OpenJob {
                    nonce: packet.nonce,
                    aad: &packet.aad,
                    ciphertext: Some(source),
                    tag: &packet.tag,
                    output,
                    result: Err(TagMismatch),
                });
            }
            key.open_many(&mut jobs);
            for (job, packet) in jobs.iter().zip(&packets) {
                assert_eq!(job.result, Ok(()), "{:?} {len}", key.backend());
                assert!(*job.output == packet.plaintext, "{:?} {len}", key.backend());
            }
        }
    });
}

#[test]
fn mismatched_buffers() {
    for_each_key(64, |generator, oracle, key| {
        let packets: Vec<_> = (0..8).map(|_| Packet::new(generator, oracle, 100)).collect();
        let mut outputs: Vec<_> = (0..8).map(|index| vec![0xa5; [100, 99, 101, 0][index % 4]]).collect();
        let mut jobs: Vec<_> = packets
            .iter()
            .zip(&mut outputs)
            .map(|(packet, output)| OpenJob {
                nonce: packet.nonce,
                aad: &packet.aad,
                ciphertext: Some(&packet.ciphertext),
                tag: &packet.tag,
                output,
                result: Ok(()),
            })
            .collect();
        key.open_many(&mut jobs);
        for (index, job) in jobs.iter().enumerate() {
            assert_eq!(job.result.is_ok(), index % 4 == 0);
            assert!(index % 4 == 0 || job.output.iter().all(|&byte| byte == 0));
        }
    });
}
