//! Throughput of both algorithms in both directions, in bytes of plaintext, for packets like those of HTTP.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gipsec_compression::{Algorithm, compress, decompress};
use std::hint::black_box;
use std::time::Duration;

/// Headers as browsers and servers send them, with numbers that differ, up to `len` bytes.
fn text(len: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut number = 12_345_u32;
    while text.len() < len {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += &format!(
            "GET /articles/{}/images/{:x}.png HTTP/1.1\r\nHost: www{}.example.org\r\nUser-Agent: Mozilla/5.0 (X11; \
             Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,\
             application/xml;q=0.9,*/*;q=0.8\r\nCookie: session={:08x}{:08x}\r\nAge: {}\r\n\r\n",
            number % 977,
            number,
            number % 7,
            number.rotate_left(9) ^ 0x5bd1_e995,
            number.wrapping_mul(97),
            number % 3600,
        );
    }
    text.truncate(len);
    text.into_bytes()
}

fn packets(criterion: &mut Criterion) {
    for (name, algorithm) in [("deflate", Algorithm::Deflate), ("lzs", Algorithm::Lzs)] {
        let mut group = criterion.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(1));
        for len in [256, 1400, 8192] {
            group.throughput(Throughput::BytesDecimal(len as u64));
            let payload = text(len);
            let mut packet = vec![0; len - 1];
            let packet_len = compress(algorithm, &payload, &mut packet).expect("text shrinks");
            println!("{name}: {len} bytes become {packet_len}");
            group.bench_function(BenchmarkId::new("compress", len), |bencher| {
                bencher.iter(|| compress(algorithm, black_box(&payload), &mut packet));
            });
            let mut output = vec![0; len];
            group.bench_function(BenchmarkId::new("decompress", len), |bencher| {
                bencher.iter(|| decompress(algorithm, black_box(&packet[..packet_len]), &mut output));
            });
        }
        // What does not shrink, to see what it costs to find out.
        let mut number = 1_u32;
        let noise: Vec<u8> = (0..1400)
            .map(|_| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                number.to_be_bytes()[0]
            })
            .collect();
        let mut packet = vec![0; noise.len() - 1];
        group.throughput(Throughput::BytesDecimal(noise.len() as u64));
        group.bench_function(BenchmarkId::new("compress noise", noise.len()), |bencher| {
            bencher.iter(|| compress(algorithm, black_box(&noise), &mut packet));
        });
        group.finish();
    }
}

criterion_group!(benches, packets);
criterion_main!(benches);
