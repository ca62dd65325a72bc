//! The kernels beside intel-ipsec-mb and OpenSSL: what of 32 ESP packets is
//! encrypted and authenticated, without framing. Measured and printed as
//! `benches/measure.h` does it, for `scripts/bench.sh`.

use gipsec_kernels::cbc::{DecryptKey, EncryptKey, Job};
use gipsec_kernels::gcm::GcmKey;
use gipsec_kernels::hmac::{Message, Sha1Key, Sha256Key};
use std::hint::black_box;
use std::time::Instant;

const BATCH: usize = 32;
const SIZES: [usize; 6] = [64, 256, 512, 1024, 1420, 8192];
const ROUNDS: usize = 9;
const ROUND_NANOSECONDS: f64 = 1e6;
const SAMPLES: std::ops::RangeInclusive<usize> = 5..=1000;
const ESP: [u8; 8] = [5; 8];
const NONCE: [u8; 12] = [3; 12];
const IV: [u8; 16] = [3; 16];

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn time(work: &mut dyn FnMut()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1e9
}

fn measure(transform: &str, operation: &str, size: usize, mut work: impl FnMut()) {
    let overhead = median(&mut [0.0; 1000].map(|_: f64| time(&mut || ())));
    let mut rounds: Vec<f64> = (0..=ROUNDS)
        .map(|_| {
            let (mut samples, mut total) = (Vec::new(), 0.0);
            while samples.len() < *SAMPLES.start() || (samples.len() < *SAMPLES.end() && total < ROUND_NANOSECONDS) {
                samples.push(time(&mut work));
                total += samples.last().expect("just pushed");
            }
            (median(&mut samples) - overhead) / BATCH as f64
        })
        .skip(1) // warms up
        .collect();
    let middle = median(&mut rounds);
    println!("kernels,{transform},{operation},{BATCH},{size},{:.1},{middle:.1}", rounds[0]);
}

fn gcm(transform: &str, key_len: usize) {
    let key = GcmKey::new(&vec![7; key_len]).expect("a length that AES has");
    for size in SIZES {
        let payload = vec![9; size];
        let mut bodies = vec![vec![1; (size + 2).next_multiple_of(4)]; BATCH];
        let mut tags = [[0; 16]; BATCH];
        measure(transform, "seal", size, || {
            for (body, tag) in bodies.iter_mut().zip(&mut tags) {
                *tag = key.seal(&NONCE, &ESP, black_box(&payload), body);
            }
        });
        for (body, tag) in bodies.iter_mut().zip(&mut tags) {
            *tag = key.seal(&NONCE, &ESP, &payload, body);
        }
        let mut opened = bodies.clone();
        measure(transform, "open", size, || {
            for ((body, tag), opened) in bodies.iter().zip(&tags).zip(&mut opened) {
                black_box(key.open(&NONCE, &ESP, black_box(body), tag, opened)).expect("the tag of this packet");
            }
        });
    }
}

/// `compute` authenticates messages.
fn cbc<const TAG: usize>(transform: &str, icv_len: usize, compute: impl Fn(&[Message<'_>], &mut [[u8; TAG]])) {
    let encrypt = EncryptKey::new(&[7; 16]).expect("a length that AES has");
    let decrypt = DecryptKey::new(&[7; 16]).expect("a length that AES has");
    for size in SIZES {
        let payload = vec![9; size];
        let body_len = (size + 2).next_multiple_of(16);
        let mut packets = vec![vec![1; ESP.len() + IV.len() + body_len]; BATCH];
        let mut tags = [[0; TAG]; BATCH];
        measure(transform, "seal", size, || {
            let mut rest = packets.iter_mut();
            let mut jobs: [Job<'_>; BATCH] = std::array::from_fn(|_| {
                let body = &mut rest.next().expect("32 packets")[ESP.len() + IV.len()..];
                Job { iv: IV, payload: Some(black_box(&payload)), body }
            });
            encrypt.encrypt(&mut jobs);
            compute(
                &std::array::from_fn::<_, BATCH, _>(|index| Message { head: &packets[index], tail: &[] }),
                &mut tags,
            );
        });
        let mut opened = vec![vec![0; body_len]; BATCH];
        measure(transform, "open", size, || {
            let mut again = [[0; TAG]; BATCH];
            compute(
                &std::array::from_fn::<_, BATCH, _>(|index| Message { head: &packets[index], tail: &[] }),
                &mut again,
            );
            assert!(tags.iter().zip(&again).all(|(tag, again)| tag[..icv_len] == again[..icv_len]));
            for (packet, opened) in packets.iter().zip(&mut opened) {
                decrypt.decrypt(&IV, &packet[ESP.len() + IV.len()..], opened);
            }
        });
    }
}

fn main() {
    gcm("gcm128", 16);
    gcm("gcm256", 32);
    let key = Sha1Key::new(&[7; 20]);
    cbc("cbcsha1", 12, |messages, tags: &mut [[u8; 20]]| key.compute(messages, tags));
    let key = Sha256Key::new(&[7; 32]);
    cbc("cbcsha256", 16, |messages, tags: &mut [[u8; 32]]| key.compute(messages, tags));
}
