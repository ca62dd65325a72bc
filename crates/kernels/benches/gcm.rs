//! Time per packet of sealing and opening, and time per batch of 32 packets of sealing them together, for
//! every available backend.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gipsec_kernels::gcm::{Backend, GcmKey, SealJob};
use std::hint::black_box;
use std::time::Duration;

const NONCE: [u8; 12] = [3; 12];
const AAD: [u8; 8] = [5; 8];
const BATCH: usize = 32;

fn packets(criterion: &mut Criterion) {
    for backend in Backend::ALL {
        for key_bits in [128, 256] {
            let Some(key) = GcmKey::with_backend(&vec![7; key_bits / 8], backend) else {
                continue;
            };
            let name = format!("{}/aes-{key_bits}", backend.name());
            let mut group = criterion.benchmark_group(name);
            group.warm_up_time(Duration::from_millis(300));
            group.measurement_time(Duration::from_secs(1));
            for len in [64, 256, 512, 1420, 8192] {
                group.throughput(Throughput::Bytes(len as u64));
                let payload = vec![9; len];
                let mut output = vec![0; len];
                group.bench_function(BenchmarkId::new("seal", len), |bencher| {
                    bencher.iter(|| black_box(&key).seal(&NONCE, &AAD, black_box(&payload), &mut output));
                });
                let mut outputs = vec![vec![0; len]; BATCH];
                let mut jobs: Vec<_> = outputs
                    .iter_mut()
                    .map(|output| SealJob { nonce: NONCE, aad: &AAD, payload: Some(&payload), output, tag: [0; 16] })
                    .collect();
                group.bench_function(BenchmarkId::new("seal-many", len), |bencher| {
                    bencher.iter(|| black_box(&key).seal_many(&mut jobs));
                });
                let mut ciphertext = payload.clone();
                let tag = key.seal_in_place(&NONCE, &AAD, &mut ciphertext);
                group.bench_function(BenchmarkId::new("open", len), |bencher| {
                    bencher.iter(|| black_box(&key).open(&NONCE, &AAD, black_box(&ciphertext), &tag, &mut output));
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, packets);
criterion_main!(benches);
