//! Calls that are processed together do what they would do one after the other, whatever SAs they are for.

mod cases;

use std::num::NonZeroU32;

use cases::*;
use gipsec_engine::*;
use proptest::prelude::*;

/// Both SAs of a case, with a hard lifetime of 2 kB where it has a window.
fn pair(case: &Case) -> (Box<Sa>, Box<Sa>) {
    let [outbound, inbound] = [
        Rules::Outbound(OutboundRules { ecn: true, ..OutboundRules::default() }),
        Rules::Inbound(InboundRules {
            propagate_ecn: case.tunnel.is_some(),
            replay_window: case.window,
            ..InboundRules::default()
        }),
    ]
    .map(|rules| {
        let (mut attributes, keys) = case.attributes(rules);
        let limit = case.window.and_then(|_| NonZeroU32::new(2));
        attributes.lifetime = Lifetime { soft_kilobytes: limit.and(NonZeroU32::new(1)), hard_kilobytes: limit };
        attributes.notify.soft_lifetime = true;
        Sa::new(vec![BundleEntry { parameters: attributes.into(), keys }]).unwrap()
    });
    (outbound, inbound)
}

/// Has each packet processed with the SA of that index, in calls of consecutive packets with the same SA, and says what
/// came of it.
fn process(
    sas: &[Box<Sa>],
    packets: &[(usize, Vec<u8>)],
    room: usize,
    together: bool,
) -> (Vec<Result<Vec<u8>, PacketError>>, Vec<Events>) {
    let mut outputs = vec![vec![0; room]; packets.len()];
    let mut verdicts = vec![Err(PacketError::Crypto); packets.len()];
    let mut events = vec![Events::default(); packets.len()];
    let mut buffers: Vec<Buffers<'_>> = packets
        .iter()
        .zip(&mut outputs)
        .map(|((_, packet), output)| Buffers::Apart { input: packet, output })
        .collect();
    let mut calls = Vec::new();
    let (mut rest, mut left) = (&mut buffers[..], &mut verdicts[..]);
    for (same, events) in packets.chunk_by(|a, b| a.0 == b.0).zip(&mut events) {
        let (packets, others) = rest.split_at_mut(same.len());
        let (verdicts, later) = left.split_at_mut(same.len());
        calls.push(Call { sa: &sas[same[0].0], packets, verdicts, events });
        (rest, left) = (others, later);
    }
    if together {
        process_together(&mut calls);
    } else {
        for call in &mut calls {
            *call.events = call.sa.process(call.packets, call.verdicts);
        }
    }
    drop(calls);
    drop(buffers);
    let results = outputs
        .into_iter()
        .zip(verdicts)
        .map(|(mut output, verdict)| {
            if verdict.is_err() {
                assert!(output.iter().all(|byte| *byte == 0), "a refused packet left bytes behind");
            }
            output.truncate(verdict?);
            Ok(output)
        })
        .collect();
    (results, events)
}

fn statistics(sas: &[Box<Sa>]) -> Vec<(Statistics, Drops)> {
    sas.iter().flat_map(|sa| sa.read()).map(|reading| (reading.statistics, reading.drops)).collect()
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn calls_are_processed_together_as_one_by_one(
        cases in proptest::collection::vec(cases(0usize..1500), 1..7),
        order in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..10, any::<prop::sample::Index>()), 1..80),
    ) {
        let (outbound, inbound): (Vec<Box<Sa>>, Vec<Box<Sa>>) = cases.iter().map(pair).unzip();
        let (outbound_again, again): (Vec<Box<Sa>>, Vec<Box<Sa>>) = cases.iter().map(pair).unzip();
        // Some are no packets.
        let packets: Vec<(usize, Vec<u8>)> = order
            .iter()
            .map(|(which, kind, _)| {
                let which = which.index(cases.len());
                (which, if *kind == 0 { vec![0x30; 40] } else { cases[which].packet.clone() })
            })
            .collect();
        let room = cases.iter().map(|case| case.packet.len()).max().unwrap_or(0) + 400;
        let (sealed, events) = process(&outbound, &packets, room, true);
        let (sealed_again, events_again) = process(&outbound_again, &packets, room, false);
        let lengths = |sealed: &[Result<Vec<u8>, PacketError>]| -> Vec<_> {
            sealed.iter().map(|sealed| sealed.as_ref().map(Vec::len).map_err(|error| *error)).collect()
        };
        prop_assert_eq!(lengths(&sealed), lengths(&sealed_again));
        prop_assert_eq!(events, events_again);
        prop_assert_eq!(statistics(&outbound), statistics(&outbound_again));
        // Some are changed on the way, some come twice.
        let mut received: Vec<(usize, Vec<u8>)> = Vec::new();
        for (((which, packet), (_, kind, at)), sealed) in packets.iter().zip(&order).zip(&sealed) {
            match sealed {
                Ok(sealed) => {
                    let mut sealed = sealed.clone();
                    if *kind == 1 {
                        let at = at.index(sealed.len());
                        sealed[at] ^= 0x10;
                    }
                    received.push((*which, sealed.clone()));
                    if *kind == 2 {
                        received.push((*which, sealed));
                    }
                }
                Err(error) => prop_assert!(*kind == 0 || *error == PacketError::LifetimeExpired, "{} bytes", packet.len()),
            }
        }
        let (opened, events) = process(&inbound, &received, room, true);
        let (opened_again, events_again) = process(&again, &received, room, false);
        prop_assert_eq!(&opened, &opened_again);
        prop_assert_eq!(events, events_again);
        prop_assert_eq!(statistics(&inbound), statistics(&again));
        let intact = order.iter().zip(&sealed).filter(|((_, kind, _), sealed)| *kind > 2 && sealed.is_ok()).count();
        let authentic = cases.iter().all(|case| case.transform.is_authentic());
        let limited = cases.iter().any(|case| case.window.is_some());
        prop_assert!(!authentic || limited || opened.iter().filter(|opened| opened.is_ok()).count() >= intact);
        let processed: u64 = statistics(&outbound).iter().map(|(statistics, _)| statistics.packets_processed).sum();
        prop_assert_eq!(processed, sealed.iter().filter(|sealed| sealed.is_ok()).count() as u64);
    }
}

#[test]
fn those_gain_from_company_whose_slow_parts_all_go_abreast() {
    use std::net::Ipv4Addr;

    let ends = Endpoints::V4 { source: Ipv4Addr::LOCALHOST, destination: Ipv4Addr::LOCALHOST };
    let sha1 = |cipher| Algorithms::Separate { cipher, integrity: Integrity::HmacSha1 };
    for (protocol, algorithms, cipher_key, integrity_key, gains) in [
        (Protocol::Esp, sha1(Cipher::AesCbc), 16, 20, true),
        (Protocol::Esp, sha1(Cipher::Null), 0, 20, true),
        (Protocol::Ah, sha1(Cipher::Null), 0, 20, false),
        (Protocol::Esp, sha1(Cipher::TripleDesCbc), 24, 20, false),
        (Protocol::Esp, Algorithms::Combined(Combined::Gcm), 20, 0, false),
    ] {
        let transform = TransformCase {
            protocol,
            algorithms,
            icv_len: None,
            cipher_key: vec![7; cipher_key],
            integrity_key: vec![7; integrity_key],
            implicit_iv: false,
        };
        let case = Case {
            transform,
            tunnel: Some(ends),
            extended: false,
            udp: None,
            window: None,
            start: 0,
            packet: Vec::new(),
            wrapped: false,
            flow_padding: FlowPadding::default(),
        };
        let (outbound, inbound) = pair(&case);
        assert_eq!((outbound.works_abreast(), inbound.works_abreast()), (gains, gains), "{algorithms:?}");
    }
}
