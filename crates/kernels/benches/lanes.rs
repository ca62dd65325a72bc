//! Time per batch of 32 packets: CBC encryption and decryption, CTR and HMAC, for
//! every available backend. Divide by 32 for the time per packet.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gipsec_kernels::cbc::{DecryptKey, EncryptKey, Job};
use gipsec_kernels::ctr;
use gipsec_kernels::gcm::Backend;
use gipsec_kernels::hmac::{Message, Sha1Key, Sha256Key};
use std::hint::black_box;
use std::time::Duration;

const IV: [u8; 16] = [3; 16];
const LENGTHS: [usize; 4] = [64, 512, 1420, 8192];
const BATCH: usize = 32;

fn batches(criterion: &mut Criterion) {
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
        let mut group = criterion.benchmark_group(backend.name());
        group.warm_up_time(Duration::from_millis(100));
        group.measurement_time(Duration::from_millis(400));
        for len in LENGTHS {
            group.throughput(Throughput::Elements(BATCH as u64));
            let payload = vec![9; len];
            // The payload, two bytes of trailer, and padding.
            let body_len = (len + 2).next_multiple_of(16);
            let mut bodies: Vec<_> = (0..BATCH).map(|_| vec![7; body_len]).collect();
            for key_bits in [128, 256] {
                let encrypt = EncryptKey::with_backend(&vec![7; key_bits / 8], backend).expect("available");
                let mut jobs: Vec<_> =
                    bodies.iter_mut().map(|body| Job { iv: IV, payload: Some(&payload), body }).collect();
                group.bench_function(BenchmarkId::new(format!("cbc-{key_bits}-encrypt"), len), |bencher| {
                    bencher.iter(|| black_box(&encrypt).encrypt(&mut jobs));
                });
                let decrypt = DecryptKey::with_backend(&vec![7; key_bits / 8], backend).expect("available");
                group.bench_function(BenchmarkId::new(format!("cbc-{key_bits}-decrypt"), len), |bencher| {
                    bencher.iter(|| {
                        for body in &mut bodies {
                            black_box(&decrypt).decrypt_in_place(&IV, body);
                        }
                    });
                });
                let key = ctr::Key::with_backend(&vec![7; key_bits / 8], backend).expect("available");
                group.bench_function(BenchmarkId::new(format!("ctr-{key_bits}-seal"), len), |bencher| {
                    bencher.iter(|| {
                        for body in &mut bodies {
                            // CTR pads to 4 bytes only.
                            black_box(&key).seal(&IV, Some(&payload), &mut body[..(len + 2).next_multiple_of(4)]);
                        }
                    });
                });
                group.bench_function(BenchmarkId::new(format!("ctr-{key_bits}-open"), len), |bencher| {
                    bencher.iter(|| {
                        for body in &mut bodies {
                            black_box(&key).apply_in_place(&IV, &mut body[..(len + 2).next_multiple_of(4)]);
                        }
                    });
                });
            }
            let messages: Vec<_> = bodies.iter().map(|body| Message { head: body, tail: &[1, 2, 3, 4] }).collect();
            let short = Sha1Key::with_backend(&[7; 20], backend).expect("available");
            let mut tags = [[0; 20]; BATCH];
            group.bench_function(BenchmarkId::new("hmac-sha1", len), |bencher| {
                bencher.iter(|| black_box(&short).compute(&messages, &mut tags));
            });
            let long = Sha256Key::with_backend(&[7; 32], backend).expect("available");
            let mut tags = [[0; 32]; BATCH];
            group.bench_function(BenchmarkId::new("hmac-sha256", len), |bencher| {
                bencher.iter(|| black_box(&long).compute(&messages, &mut tags));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, batches);
criterion_main!(benches);
