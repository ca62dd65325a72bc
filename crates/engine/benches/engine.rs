//! Time of encapsulation and decapsulation without the C surface and the
//! accelerator around them: tunnel mode ESP, 32 packets in a call (divide by 32
//! for the time per packet) and one; and a packet for each of 32 SAs.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gipsec_engine::{
    Algorithms, Attributes, Buffers, BundleEntry, Call, Cipher, Combined, Endpoints, Events, Inbound, InboundRules,
    Integrity, Intervals, Keys, Lifetime, Mode, Notify, Outbound, OutboundRules, Protocol, Rules, Sa, process_together,
};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

const LENGTHS: [usize; 4] = [64, 512, 1420, 8192];
const BATCH: usize = 32;
/// More than ESP adds to a packet.
const OVERHEAD: usize = 128;

const TRANSFORMS: [(&str, Algorithms, usize, usize); 3] = [
    ("gcm-128", Algorithms::Combined(Combined::Gcm), 20, 0),
    ("cbc-128-sha1", Algorithms::Separate { cipher: Cipher::AesCbc, integrity: Integrity::HmacSha1 }, 16, 20),
    ("null-sha1", Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::HmacSha1 }, 0, 20),
];

fn attributes(algorithms: Algorithms, keys: &Keys, rules: Rules) -> Attributes {
    let tunnel = Endpoints::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(192, 0, 2, 2) };
    Attributes {
        spi: NonZeroU32::new(0x1000).expect("not 0"),
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Tunnel(tunnel),
        algorithms,
        key_lengths: keys.lengths(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        intervals: Intervals::default(),
        rules,
    }
}

/// An IPv4 packet of `len` bytes.
fn packet(len: usize) -> Vec<u8> {
    let mut packet = vec![9; len];
    let [high, low] = u16::try_from(len).expect("a packet's length").to_be_bytes();
    packet[..10].copy_from_slice(&[0x45, 0, high, low, 0, 0, 0, 0, 64, 17]);
    packet
}

fn apart<'a>(inputs: &'a [Vec<u8>], outputs: &'a mut [Vec<u8>]) -> Vec<Buffers<'a>> {
    inputs.iter().zip(outputs).map(|(input, output)| Buffers::Apart { input, output }).collect()
}

fn packets(criterion: &mut Criterion) {
    for (name, algorithms, cipher_key, integrity_key) in TRANSFORMS {
        let keys = Keys { cipher: vec![7; cipher_key].into(), integrity: vec![7; integrity_key].into() };
        let rules = Rules::Outbound(OutboundRules::default());
        let outbound = Outbound::new(attributes(algorithms, &keys, rules), &keys).expect("an SA");
        let rules = Rules::Inbound(InboundRules::default());
        let inbound = Inbound::new(attributes(algorithms, &keys, rules), &keys).expect("an SA");
        let mut group = criterion.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600)).nresamples(10_000);
        for len in LENGTHS {
            for batch in [BATCH, 1] {
                group.throughput(Throughput::Elements(batch as u64));
                let plain = vec![packet(len); batch];
                let mut sealed = vec![vec![0; len + OVERHEAD]; batch];
                let mut verdicts = vec![Ok(0); batch];
                let mut buffers = apart(&plain, &mut sealed);
                group.bench_function(BenchmarkId::new(format!("encapsulate-{batch}"), len), |bencher| {
                    bencher.iter(|| black_box(&outbound).encapsulate(black_box(&mut buffers), &mut verdicts));
                });
                outbound.encapsulate(&mut buffers, &mut verdicts);
                for (packet, verdict) in sealed.iter_mut().zip(&verdicts) {
                    packet.truncate(verdict.expect("encapsulated"));
                }
                let mut opened = vec![vec![0; len + OVERHEAD]; batch];
                let mut buffers = apart(&sealed, &mut opened);
                inbound.decapsulate(&mut buffers, &mut verdicts);
                assert!(verdicts.iter().all(|verdict| *verdict == Ok(len)), "decapsulated: {verdicts:?}");
                group.bench_function(BenchmarkId::new(format!("decapsulate-{batch}"), len), |bencher| {
                    bencher.iter(|| black_box(&inbound).decapsulate(black_box(&mut buffers), &mut verdicts));
                });
            }
        }
        group.finish();
    }
}

/// A packet for each of 32 SAs, one after the other and together.
fn many_sas(criterion: &mut Criterion) {
    for (name, algorithms, cipher_key, integrity_key) in TRANSFORMS {
        let sas: Vec<Box<Sa>> = (0..32)
            .map(|number| {
                let keys =
                    Keys { cipher: vec![number; cipher_key].into(), integrity: vec![number; integrity_key].into() };
                let rules = Rules::Outbound(OutboundRules::default());
                let parameters = attributes(algorithms, &keys, rules).into();
                Sa::new(vec![BundleEntry { parameters, keys }]).expect("an SA")
            })
            .collect();
        let mut group = criterion.benchmark_group(format!("{name}, 32 SAs"));
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600)).nresamples(10_000);
        for len in [64, 1420] {
            group.throughput(Throughput::Elements(sas.len() as u64));
            let plain = vec![packet(len); sas.len()];
            let mut sealed = vec![vec![0; len + OVERHEAD]; sas.len()];
            let mut verdicts = vec![Ok(0); sas.len()];
            let mut events = vec![Events::default(); sas.len()];
            let mut buffers = apart(&plain, &mut sealed);
            for together in [false, true] {
                let how = if together { "together" } else { "one-by-one" };
                group.bench_function(BenchmarkId::new(how, len), |bencher| {
                    bencher.iter(|| {
                        let mut calls: Vec<Call<'_, '_>> = sas
                            .iter()
                            .zip(buffers.chunks_mut(1))
                            .zip(verdicts.chunks_mut(1).zip(&mut events))
                            .map(|((sa, packets), (verdicts, events))| Call { sa, packets, verdicts, events })
                            .collect();
                        if together {
                            process_together(&mut calls);
                        } else {
                            calls
                                .iter_mut()
                                .for_each(|call| *call.events = call.sa.process(call.packets, call.verdicts));
                        }
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, packets, many_sas);
criterion_main!(benches);
