//! Bundles, IPComp among their entries: what goes in comes out, in every kind of buffer and in batches, and whatever
//! happens on the way, each packet is counted in one entry and leaves nothing behind.

mod cases;

use std::num::{NonZeroU16, NonZeroU32};

use cases::*;
use gipsec_engine::*;
use gipsec_wire::checksum;
use proptest::prelude::*;

/// One entry of a bundle, in both directions.
#[derive(Clone, Debug)]
enum EntryCase {
    Ipsec(Box<Case>),
    Compression { algorithm: CompressionAlgorithm, cpi: u16, tunnel: Option<Endpoints> },
}

impl EntryCase {
    fn entry(&self, spi: u32, direction: Direction) -> BundleEntry {
        let rules = match direction {
            Direction::Outbound => Rules::Outbound(OutboundRules::default()),
            Direction::Inbound => Rules::Inbound(InboundRules::default()),
        };
        match self {
            Self::Ipsec(case) => {
                let (attributes, keys) = case.attributes(match (rules, case.window) {
                    (Rules::Inbound(rules), replay_window) => Rules::Inbound(InboundRules { replay_window, ..rules }),
                    (Rules::Outbound(rules), _) => {
                        Rules::Outbound(OutboundRules { flow_padding: case.flow_padding, ..rules })
                    }
                });
                let attributes = Attributes { spi: NonZeroU32::new(spi).unwrap(), ..attributes };
                BundleEntry { parameters: Parameters::Ipsec(attributes), keys }
            }
            Self::Compression { algorithm, cpi, tunnel } => {
                let compression = Compression {
                    algorithm: *algorithm,
                    cpi: NonZeroU16::new(*cpi).unwrap(),
                    mode: tunnel.map_or(Mode::Transport, Mode::Tunnel),
                    lifetime: Lifetime::default(),
                    notify: Notify::default(),
                    rules,
                };
                BundleEntry { parameters: Parameters::Compression(compression), keys: Keys::default() }
            }
        }
    }

    fn is_numbered(&self) -> bool {
        matches!(self, Self::Ipsec(_))
    }

    fn is_authentic(&self) -> bool {
        matches!(self, Self::Ipsec(case) if case.transform.is_authentic())
    }
}

fn sa(entries: &[EntryCase], direction: Direction) -> Box<Sa> {
    let entries = entries.iter().zip(1000..).map(|(entry, spi)| entry.entry(spi, direction)).collect();
    Sa::new(entries).unwrap()
}

/// One to four entries, the first now and then compression.
fn bundles() -> impl Strategy<Value = Vec<EntryCase>> {
    let tunnel = cases(Just(0)).prop_map(|case| case.tunnel);
    let algorithm = prop_oneof![Just(CompressionAlgorithm::Deflate), Just(CompressionAlgorithm::Lzs)];
    let compression = (algorithm, 1u16.., tunnel).prop_map(|(algorithm, cpi, tunnel)| EntryCase::Compression {
        algorithm,
        cpi,
        tunnel,
    });
    (proptest::option::of(compression), proptest::collection::vec(cases(Just(0)), 0..4)).prop_filter_map(
        "no entries",
        |(first, cases)| {
            let last = cases.len().checked_sub(1);
            let cases = cases.into_iter().enumerate().map(|(at, mut case)| {
                case.start = 0;
                case.udp = case.udp.filter(|_| Some(at) == last);
                EntryCase::Ipsec(Box::new(case))
            });
            let entries: Vec<EntryCase> = first.into_iter().chain(cases).collect();
            (!entries.is_empty()).then_some(entries)
        },
    )
}

/// Packets that compress, and packets that do not.
fn contents(size: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Vec<u8>> {
    (packets(size), any::<bool>()).prop_map(|(mut packet, dull)| {
        let start = upper(&packet);
        if dull {
            packet[start..].iter_mut().enumerate().for_each(|(at, byte)| *byte = b"so it goes, "[at % 12]);
        }
        packet
    })
}

fn run(sa: &Sa, packet: &[u8], room: usize) -> Result<Vec<u8>, PacketError> {
    let mut output = vec![0; room];
    let mut verdict = [Ok(0)];
    sa.process(&mut [Buffers::Apart { input: packet, output: &mut output }], &mut verdict);
    let [verdict] = verdict;
    if verdict.is_err() {
        assert!(output.iter().all(|byte| *byte == 0), "a refused packet left bytes behind");
    }
    output.truncate(verdict?);
    Ok(output)
}

/// Packets that each entry refused.
fn refusals(sa: &Sa) -> Vec<u64> {
    let readings = sa.read();
    for reading in &readings {
        assert_eq!(reading.drops.iter().sum::<u64>(), refused(&reading.statistics));
    }
    readings.iter().map(|reading| refused(&reading.statistics)).collect()
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn what_goes_in_comes_out_of_a_bundle(entries in bundles(), packet in contents(prop_oneof![0usize..200, 200usize..3000])) {
        let (outbound, inbound) = (sa(&entries, Direction::Outbound), sa(&entries, Direction::Inbound));
        let sealed = run(&outbound, &packet, 65_535).unwrap();
        let sealed_exactly = run(&outbound, &packet, sealed.len()).unwrap();
        prop_assert_eq!(sealed.len(), sealed_exactly.len());
        prop_assert_eq!(run(&outbound, &packet, sealed.len() - 1), Err(PacketError::NoRoom));
        let (buffer, verdict) = in_place(&packet, 65_535, |p, v| { outbound.process(p, v); });
        prop_assert_eq!(verdict, Ok(sealed.len()));
        let replaced = &buffer[..sealed.len()];

        prop_assert_eq!(&run(&inbound, &sealed, 65_535).unwrap(), &packet);
        // The innermost entry alone knows that there is no room; the packet may come again through all of them, once.
        let no_room = run(&inbound, &sealed_exactly, packet.len() - 1);
        prop_assert_eq!(no_room, Err(PacketError::NoRoom));
        let (kept, verdict) = in_place(&sealed_exactly, packet.len() - 1, |p, v| { inbound.process(p, v); });
        prop_assert_eq!(verdict, Err(PacketError::NoRoom));
        prop_assert_eq!(&kept[..sealed_exactly.len()], &sealed_exactly[..], "nothing is written where there is no room");
        prop_assert_eq!(&run(&inbound, &sealed_exactly, packet.len()).unwrap(), &packet);
        if entries.iter().any(|entry| matches!(entry, EntryCase::Ipsec(case) if case.window.is_some())) {
            prop_assert_eq!(run(&inbound, &sealed_exactly, packet.len()), Err(PacketError::Replayed));
        }
        let (buffer, verdict) = in_place(replaced, replaced.len().max(packet.len()), |p, v| { inbound.process(p, v); });
        prop_assert_eq!(verdict, Ok(packet.len()));
        prop_assert_eq!(&buffer[..packet.len()], &packet[..]);

        prop_assert_eq!(outbound.done().0, 3);
        prop_assert_eq!(inbound.done().0, 3);
        prop_assert_eq!(refusals(&outbound).iter().sum::<u64>(), 1);
        let no_room: Vec<u32> = inbound.read().iter().map(|reading| reading.statistics.no_tail_room).collect();
        prop_assert_eq!((no_room[0], no_room.iter().sum::<u32>()), (2, 2));
        // What a later entry refused, no entry has processed.
        for sa in [&outbound, &inbound] {
            let readings = sa.read();
            prop_assert!(readings.iter().all(|reading| reading.statistics.packets_processed == 3));
            let bytes = |reading: &Reading| reading.statistics.bytes_processed;
            prop_assert_eq!(sa.done(), (3, bytes(&readings[0])));
        }
    }

    #[test]
    fn a_change_on_the_way_is_counted_in_one_entry(
        entries in bundles(), packet in contents(0usize..300), at: prop::sample::Index, value: u8,
    ) {
        let (outbound, inbound) = (sa(&entries, Direction::Outbound), sa(&entries, Direction::Inbound));
        let mut sealed = run(&outbound, &packet, 65_535).unwrap();
        let at = at.index(sealed.len());
        let sender_headers = upper(&sealed).max(upper(&packet));
        sealed[at] ^= value | 1;
        let result = run(&inbound, &sealed, 65_535);
        prop_assert_eq!(refusals(&inbound).iter().sum::<u64>(), u64::from(result.is_err()));
        prop_assert_eq!(inbound.done().0, u64::from(result.is_ok()));
        if at >= sender_headers + 24 && entries.last().is_some_and(EntryCase::is_authentic) {
            prop_assert!(result.is_err());
        }
        // Whoever changed it on the way has not used up the packet; without integrity, a sequence number is anybody's.
        sealed[at] ^= value | 1;
        if result.is_err() && entries.iter().all(|entry| entry.is_authentic() || !entry.is_numbered()) {
            prop_assert_eq!(run(&inbound, &sealed, 65_535).unwrap(), packet);
        }
    }

    #[test]
    fn cut_and_random_packets_are_errors(entries in bundles(), packet in contents(0usize..200), noise: Vec<u8>) {
        let (outbound, inbound) = (sa(&entries, Direction::Outbound), sa(&entries, Direction::Inbound));
        let sealed = run(&outbound, &packet, 65_535).unwrap();
        for length in 0..sealed.len() {
            prop_assert!(run(&inbound, &sealed[..length], 65_535).is_err());
        }
        prop_assert_eq!(refusals(&inbound).iter().sum::<u64>(), sealed.len() as u64);
        let _ = run(&inbound, &noise, 65_535);
        let _ = run(&outbound, &noise, 65_535);
    }

    #[test]
    fn the_largest_inner_packet_fits_and_no_larger_one_does(entries in bundles(), limit in 60usize..2000, six: bool) {
        let outbound = sa(&entries, Direction::Outbound);
        // Bytes that do not compress, without options and extension headers: what the hint speaks of.
        let packet = |size: usize| {
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let mut packet = if six { v6_headers(0, 0, size - 40) } else { v4_header(0, 0, size - 20) };
            packet.resize_with(size, || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state.to_le_bytes()[3] });
            packet
        };
        let fits = |size: usize| run(&outbound, &packet(size), limit).is_ok();
        let transport = match &entries[0] {
            EntryCase::Ipsec(case) => case.tunnel.is_none(),
            EntryCase::Compression { tunnel, .. } => tunnel.is_none(),
        };
        let compresses = matches!(entries[0], EntryCase::Compression { .. });
        match outbound.largest_inner(limit).unwrap() {
            Some(inner) if inner >= 40 => {
                prop_assert!(fits(inner));
                // In transport mode the hint is for both families, and headers may shrink.
                prop_assert!(transport || compresses || !fits(inner + 1));
            }
            _ => prop_assert!(!fits(80) || transport || compresses),
        }
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn a_batch_goes_through_a_bundle_in_order(entries in bundles(), inputs in proptest::collection::vec((contents(0usize..400), 0u8..6), 1..150)) {
        let (outbound, inbound) = (sa(&entries, Direction::Outbound), sa(&entries, Direction::Inbound));
        let inputs: Vec<(Vec<u8>, bool)> =
            inputs.into_iter().map(|(packet, kind)| if kind == 0 { (packet[1..].to_vec(), false) } else { (packet, true) }).collect();
        let through = |sa: &Sa, packets: &[Vec<u8>]| -> Vec<Result<Vec<u8>, PacketError>> {
            let mut outputs = vec![vec![0; 9000]; packets.len()];
            let mut verdicts = vec![Err(PacketError::Gone); packets.len()];
            let mut buffers: Vec<Buffers<'_>> =
                packets.iter().zip(&mut outputs).map(|(input, output)| Buffers::Apart { input, output }).collect();
            sa.process(&mut buffers, &mut verdicts);
            drop(buffers);
            outputs.into_iter().zip(verdicts).map(|(mut output, verdict)| { output.truncate(verdict?); Ok(output) }).collect()
        };
        let packets: Vec<Vec<u8>> = inputs.iter().map(|(packet, _)| packet.clone()).collect();
        let sealed = through(&outbound, &packets);
        for (sealed, (_, good)) in sealed.iter().zip(&inputs) {
            prop_assert!(sealed.is_ok() || !good);
        }
        let sealed: Vec<Vec<u8>> = sealed.into_iter().zip(&inputs).filter(|(_, (_, good))| *good).map(|(sealed, _)| sealed.unwrap()).collect();
        let good: Vec<&Vec<u8>> = inputs.iter().filter(|(_, good)| *good).map(|(packet, _)| packet).collect();
        for (opened, packet) in through(&inbound, &sealed).iter().zip(good) {
            prop_assert_eq!(opened.as_ref().unwrap(), packet);
        }
    }
}

#[test]
fn behind_a_nat_the_innermost_entry_corrects_checksums() {
    let ports = Some(Ports { source: 4500, destination: 4500 });
    let case = |udp| {
        let transform = TransformCase {
            protocol: Protocol::Esp,
            algorithms: Algorithms::Combined(Combined::Gcm),
            icv_len: None,
            cipher_key: vec![7; 20],
            integrity_key: Vec::new(),
            implicit_iv: false,
        };
        let (extended, window, start, packet) = (false, None, 0, Vec::new());
        let (wrapped, flow_padding) = (false, FlowPadding::default());
        Case { transform, tunnel: None, extended, udp, window, start, packet, wrapped, flow_padding }
    };
    let compression = EntryCase::Compression { algorithm: CompressionAlgorithm::Lzs, cpi: 9, tunnel: None };
    let [inner, outer] = [None, ports].map(|udp| EntryCase::Ipsec(Box::new(case(udp))));
    for entries in [vec![outer.clone()], vec![compression, outer.clone()], vec![inner, outer]] {
        let last = entries.len() - 1;
        let mut inbound: Vec<BundleEntry> =
            entries.iter().zip(1000..).map(|(entry, spi)| entry.entry(spi, Direction::Inbound)).collect();
        if let Parameters::Ipsec(Attributes { rules: Rules::Inbound(rules), .. }) = &mut inbound[last].parameters {
            rules.peer_original = Some([10, 0, 0, 1].into());
        }
        let inbound = Sa::new(inbound).unwrap();
        let outbound = sa(&entries, Direction::Outbound);
        for size in [30, 800] {
            // UDP with a right checksum for 10.0.0.1, as its sender makes it, and for 203.0.113.9, as it arrives.
            let packet = |source: [u8; 4]| {
                let mut packet = v4_header(0, 0, size);
                packet[9] = 17;
                packet[12..16].copy_from_slice(&source);
                packet.resize(20 + size, 0x61);
                packet[26..28].fill(0);
                packet[24..26].copy_from_slice(&u16::try_from(size).unwrap().to_be_bytes());
                let pseudo = checksum::sum(&packet[12..20], 17 + u32::try_from(size).unwrap());
                let sum = checksum::finish(checksum::sum(&packet[20..], pseudo));
                packet[26..28].copy_from_slice(&sum.to_be_bytes());
                packet[10..12].fill(0);
                let sum = checksum::finish(checksum::sum(&packet[..20], 0));
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                packet
            };
            let mut sealed = run(&outbound, &packet([10, 0, 0, 1]), 65_535).unwrap();
            sealed[12..16].copy_from_slice(&[203, 0, 113, 9]);
            assert_eq!(run(&inbound, &sealed, 65_535).unwrap(), packet([203, 0, 113, 9]));
        }
    }
}

#[test]
fn dummies_are_dropped_without_an_error() {
    let tunnel = Some(Endpoints::V4 { source: [192, 0, 2, 1].into(), destination: [192, 0, 2, 2].into() });
    let case = |protocol, tunnel| {
        EntryCase::Ipsec(Box::new(Case {
            transform: TransformCase {
                protocol,
                algorithms: Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::HmacSha256 },
                icv_len: None,
                cipher_key: Vec::new(),
                integrity_key: vec![7; 32],
                implicit_iv: false,
            },
            tunnel,
            extended: false,
            udp: None,
            window: Some(64),
            start: 0,
            packet: Vec::new(),
            wrapped: false,
            flow_padding: FlowPadding::default(),
        }))
    };
    let esp_and_ah = [case(Protocol::Esp, tunnel), case(Protocol::Ah, None)];
    for entries in [&esp_and_ah[..1], &esp_and_ah] {
        let (outbound, inbound) = (sa(entries, Direction::Outbound), sa(entries, Direction::Inbound));
        for len in [20, 1000] {
            let mut output = vec![0; 2000];
            let (verdict, _) = outbound.make_dummy(len, &mut output).unwrap();
            assert_eq!(run(&inbound, &output[..verdict.unwrap()], 0), Ok(Vec::new()));
        }
        assert!(outbound.make_dummy(19, &mut []).is_err() && outbound.make_dummy(65_536, &mut []).is_err());
        assert_eq!(outbound.make_dummy(20, &mut [0; 30]).unwrap().0, Err(PacketError::NoRoom));
        assert!(inbound.make_dummy(20, &mut [0; 100]).is_err());
    }
    assert!(sa(&esp_and_ah[1..], Direction::Outbound).make_dummy(20, &mut [0; 100]).is_err());
}

#[test]
fn tunnels_that_run_in_a_circle_are_refused() {
    let host = |last: u8| std::net::Ipv4Addr::new(192, 0, 2, last);
    let bundle = |ends: &[(u8, u8)]| {
        let entry = |(source, destination): &(u8, u8)| {
            let ends = Endpoints::V4 { source: host(*source), destination: host(*destination) };
            let transform = TransformCase {
                protocol: Protocol::Esp,
                algorithms: Algorithms::Combined(Combined::Gcm),
                icv_len: None,
                cipher_key: vec![7; 20],
                integrity_key: Vec::new(),
                implicit_iv: false,
            };
            EntryCase::Ipsec(Box::new(Case {
                transform,
                tunnel: Some(ends),
                extended: false,
                udp: None,
                window: None,
                start: 0,
                packet: Vec::new(),
                wrapped: false,
                flow_padding: FlowPadding::default(),
            }))
        };
        let entries = ends.iter().map(entry).zip(1000..);
        Sa::new(entries.map(|(entry, spi)| entry.entry(spi, Direction::Outbound)).collect()).is_ok()
    };
    assert!(bundle(&[(1, 2), (1, 3)]) && bundle(&[(1, 2), (1, 2)]) && bundle(&[(1, 2), (2, 3), (3, 4)]));
    assert!(bundle(&[(1, 1), (1, 2)]));
    assert!(!bundle(&[(1, 2), (2, 1)]) && !bundle(&[(1, 2), (2, 3), (3, 1)]));
    assert!(!bundle(&[(2, 3), (5, 6), (3, 4), (4, 2)]));
}

#[test]
fn a_soft_lifetime_is_told_once_however_often_it_is_reached() {
    let compression = EntryCase::Compression { algorithm: CompressionAlgorithm::Lzs, cpi: 9, tunnel: None };
    let mut first = compression.entry(1, Direction::Outbound);
    if let Parameters::Compression(compression) = &mut first.parameters {
        compression.lifetime.soft_kilobytes = NonZeroU32::new(1);
        compression.notify.soft_lifetime = true;
    }
    let keys = Keys { cipher: vec![7; 20].into(), ..Keys::default() };
    let attributes = Attributes {
        spi: NonZeroU32::MIN,
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Transport,
        algorithms: Algorithms::Combined(Combined::Gcm),
        key_lengths: keys.lengths(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        intervals: Intervals::default(),
        rules: Rules::Outbound(OutboundRules::default()),
    };
    let outbound = Sa::new(vec![first, BundleEntry { parameters: attributes.into(), keys }]).unwrap();
    let mut packet = v4_header(0, 0, 800);
    packet.resize(820, 7);
    let mut told = Vec::new();
    for room in [2000, 30, 30, 30, 2000, 2000] {
        let mut verdict = [Ok(0)];
        let mut output = vec![0; room];
        let events = outbound.process(&mut [Buffers::Apart { input: &packet, output: &mut output }], &mut verdict);
        assert_eq!(verdict[0].is_ok(), room == 2000);
        told.extend(events.soft_lifetime);
    }
    assert_eq!(told, [1]);
    assert_eq!(outbound.done(), (3, 2400));
}
