//! Encapsulation and decapsulation over random SAs and packets: what goes in comes out, what was changed on the way does
//! not, and nothing that a packet can hold makes the engine panic or count it wrongly.

mod cases;

use cases::*;
use gipsec_engine::*;
use gipsec_wire::esp;
use proptest::prelude::*;

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn what_goes_in_comes_out_in_every_kind_of_buffer(case in cases(sizes()), spare in 1usize..300) {
        let length = case.sealed().unwrap().len();
        let (outbound, inbound) = (case.outbound(), case.inbound());
        let payload = case.payload_len();

        // One byte too little: nothing is written, no sequence number is lost.
        prop_assert_eq!(encapsulate(&outbound, &case.packet, length - 1), Err(PacketError::NoRoom));
        let (kept, verdict) = in_place(&case.packet, length - 1, |p, v| { outbound.encapsulate(p, v); });
        prop_assert_eq!(verdict, Err(PacketError::NoRoom));
        prop_assert_eq!(&kept[..case.packet.len()], &case.packet[..]);
        prop_assert_eq!(outbound.statistics(), Statistics { no_tail_room: 2, ..Statistics::default() });

        let exact = encapsulate(&outbound, &case.packet, length).unwrap();
        let larger = encapsulate(&outbound, &case.packet, length + spare).unwrap();
        let (buffer, verdict) = in_place(&case.packet, length + spare, |p, v| { outbound.encapsulate(p, v); });
        prop_assert_eq!(verdict, Ok(length));
        prop_assert!(buffer[length..].iter().all(|byte| *byte == 0xaa), "written past the result");
        let replaced = buffer[..length].to_vec();
        prop_assert_eq!((exact.len(), larger.len()), (length, length));
        let expected = Statistics { packets_processed: 3, bytes_processed: 3 * payload, no_tail_room: 2, ..Statistics::default() };
        prop_assert_eq!(outbound.statistics(), expected);

        // One byte too little: nothing is written, and the packet may come again.
        let size = case.packet.len();
        prop_assert_eq!(decapsulate(&inbound, &exact, size - 1), Err(PacketError::NoRoom));
        prop_assert_eq!(&decapsulate(&inbound, &exact, size).unwrap(), &case.packet);
        prop_assert_eq!(&decapsulate(&inbound, &larger, length.max(size) + spare).unwrap(), &case.packet);
        let (buffer, verdict) = in_place(&replaced, length + spare, |p, v| { inbound.decapsulate(p, v); });
        prop_assert_eq!(verdict, Ok(size));
        prop_assert_eq!(&buffer[..size], &case.packet[..]);
        let mut expected = Statistics { no_tail_room: 1, ..expected };
        prop_assert_eq!(inbound.statistics(), expected);

        // Once more.
        if case.window.is_some() {
            for again in [&exact, &larger, &replaced] {
                prop_assert_eq!(decapsulate(&inbound, again, size), Err(PacketError::Replayed));
                expected.anti_replay_replay_pkt += 1;
                prop_assert_eq!(inbound.statistics(), expected);
            }
        } else if !case.extended {
            prop_assert_eq!(&decapsulate(&inbound, &exact, size).unwrap(), &case.packet);
        }
    }

    #[test]
    fn link_padding_behind_the_packet_is_ignored(case in cases(0usize..200), padding in 1usize..40) {
        let mut padded = case.packet.clone();
        padded.resize(padded.len() + padding, 0x55);
        let mut sealed = encapsulate(&case.outbound(), &padded, 65_535).unwrap();
        sealed.resize(sealed.len() + padding, 0x55);
        prop_assert_eq!(decapsulate(&case.inbound(), &sealed, 65_535).unwrap(), case.packet);
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn up_to_the_largest_packet(case in cases(65_300usize..65_500)) {
        let outbound = case.outbound();
        match encapsulate(&outbound, &case.packet, 70_000) {
            Ok(sealed) => {
                prop_assert!(sealed.len() <= 65_535);
                prop_assert_eq!(decapsulate(&case.inbound(), &sealed, case.packet.len()).unwrap(), case.packet);
            }
            Err(error) => {
                prop_assert_eq!(error, PacketError::NoRoom);
                prop_assert_eq!(outbound.statistics(), Statistics { no_tail_room: 1, ..Statistics::default() });
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(
        case in cases(prop_oneof![0usize..80, 500usize..600])
            .prop_filter("not authentic", |case| case.transform.is_authentic()),
        bit in 0u32..8,
    ) {
        let sealed = case.sealed().unwrap();
        let inbound = case.inbound();
        let protected = case.ipsec_start(&sealed)..sealed.len();
        let addresses = match (case.transform.protocol, sealed[0] >> 4) {
            (Protocol::Esp, _) => 0..0,
            (Protocol::Ah, 4) => 12..16, // a source route would replace the destination
            (Protocol::Ah, _) => 8..24,
        };
        let payload = &case.packet[case.packet.len().saturating_sub(24)..];
        for (attempt, at) in protected.chain(addresses).enumerate() {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            let result = decapsulate(&inbound, &changed, 65_535);
            prop_assert!(result.is_err(), "byte {} of {}", at, sealed.len());
            let (buffer, verdict) = in_place(&changed, changed.len(), |p, v| { inbound.decapsulate(p, v); });
            prop_assert_eq!(verdict.err(), result.err());
            let discloses = case.transform.is_secret() && case.payload_len() >= 24
                && buffer.windows(payload.len()).any(|window| window == payload);
            prop_assert!(!discloses, "byte {at} of {}", sealed.len());
            let statistics = inbound.statistics();
            prop_assert_eq!((statistics.packets_processed, refused(&statistics)), (0, 2 * (attempt as u64 + 1)));
        }
        // None of that moved the window.
        prop_assert_eq!(decapsulate(&inbound, &sealed, 65_535).unwrap(), case.packet);
    }

    #[test]
    fn a_truncated_packet_is_refused_at_every_length(case in cases(0usize..150)) {
        let sealed = case.sealed().unwrap();
        let inbound = case.inbound();
        for length in 0..sealed.len() {
            prop_assert!(decapsulate(&inbound, &sealed[..length], 65_535).is_err(), "{length} of {}", sealed.len());
            let statistics = inbound.statistics();
            prop_assert_eq!(statistics.packets_processed, 0);
            prop_assert_eq!(u64::from(statistics.invalid_ipsec_pkt), length as u64 + 1);
            prop_assert_eq!(refused(&statistics), length as u64 + 1);
        }
        // With IP and UDP lengths that agree with what is left, the ICV or what it covers is wrong.
        let mut attempts = refused(&inbound.statistics());
        for length in case.ipsec_start(&sealed)..sealed.len() {
            let mut cut = sealed[..length].to_vec();
            let short = u16::try_from(length).unwrap();
            if sealed[0] >> 4 == 4 {
                cut[2..4].copy_from_slice(&short.to_be_bytes());
            } else {
                cut[4..6].copy_from_slice(&(short - 40).to_be_bytes());
            }
            if case.udp.is_some() {
                let at = upper(&sealed);
                cut[at + 4..at + 6].copy_from_slice(&(short - u16::try_from(at).unwrap()).to_be_bytes());
            }
            let result = decapsulate(&inbound, &cut, 65_535);
            if case.transform.is_authentic() {
                prop_assert!(result.is_err(), "{length} of {}", sealed.len());
                attempts += 1;
                prop_assert_eq!(refused(&inbound.statistics()), attempts);
                prop_assert_eq!(inbound.statistics().packets_processed, 0);
            }
        }
    }

    #[test]
    fn a_packet_for_another_sa_is_refused(case in cases(0usize..200), other in cases(0usize..200)) {
        let sealed = other.sealed().unwrap();
        let inbound = case.inbound();
        let result = decapsulate(&inbound, &sealed, 65_535);
        let statistics = inbound.statistics();
        prop_assert_eq!(refused(&statistics), u64::from(result.is_err()));
        if case.transform.is_authentic() && case.transform.cipher_key != other.transform.cipher_key {
            prop_assert!(result.is_err());
        }
    }

    #[test]
    fn changed_ipv6_and_ipv4_headers_never_panic(case in cases(0usize..100), at in 0usize..120, value: u8) {
        let mut sealed = case.sealed().unwrap();
        let at = at % sealed.len();
        sealed[at] = value;
        let inbound = case.inbound();
        let result = decapsulate(&inbound, &sealed, 65_535);
        let statistics = inbound.statistics();
        prop_assert_eq!(statistics.packets_processed + refused(&statistics), 1);
        prop_assert_eq!(statistics.packets_processed == 1, result.is_ok());
        let mut packet = case.packet.clone();
        let at = at % packet.len();
        packet[at] = value;
        let outbound = case.outbound();
        let result = encapsulate(&outbound, &packet, 65_535);
        let statistics = outbound.statistics();
        prop_assert_eq!(statistics.packets_processed + refused(&statistics), 1);
        prop_assert_eq!(statistics.packets_processed == 1, result.is_ok());
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn random_bytes_give_one_error_each(
        case in cases(0usize..4),
        garbage in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..160), 1..20),
        shape in 0u8..6,
    ) {
        let (inbound, outbound) = (case.inbound(), case.outbound());
        let (mut accepted, mut encapsulated) = (0, 0);
        for bytes in &garbage {
            let mut bytes = bytes.clone();
            // Most random bytes fail at the first nibble; these get further.
            match (shape, bytes.len()) {
                (1, 20..) => {
                    let length = u16::try_from(bytes.len()).unwrap();
                    bytes[0] = 0x45;
                    bytes[2..4].copy_from_slice(&length.to_be_bytes());
                    bytes[6..8].fill(0);
                    bytes[9] = [50, 51, 17][usize::from(bytes[9]) % 3];
                }
                (2, 48..) => {
                    let length = u16::try_from(bytes.len() - 40).unwrap();
                    bytes[0] = 0x60;
                    bytes[4..6].copy_from_slice(&length.to_be_bytes());
                    bytes[6] = [0, 43, 44, 60, 50, 51, 17][usize::from(bytes[6]) % 7];
                    bytes[40] = [0, 43, 44, 60, 50, 51, 17][usize::from(bytes[40]) % 7];
                    bytes[41] %= 4;
                }
                (3, 48..) => {
                    let length = u16::try_from(bytes.len()).unwrap();
                    bytes[..2].copy_from_slice(&[0x45, 0]);
                    bytes[2..4].copy_from_slice(&length.to_be_bytes());
                    bytes[6..8].fill(0);
                    bytes[9] = if case.transform.protocol == Protocol::Esp { 50 } else { 51 };
                    bytes[20..28].copy_from_slice(&[0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1]);
                }
                _ => {}
            }
            accepted += u64::from(decapsulate(&inbound, &bytes, 300).is_ok());
            encapsulated += u64::from(encapsulate(&outbound, &bytes, 400).is_ok());
            let (_, verdict) = in_place(&bytes, bytes.len(), |p, v| { inbound.decapsulate(p, v); });
            accepted += u64::from(verdict.is_ok());
        }
        let (inward, outward) = (inbound.statistics(), outbound.statistics());
        prop_assert_eq!(inward.packets_processed, accepted);
        prop_assert_eq!(refused(&inward), 2 * garbage.len() as u64 - accepted);
        prop_assert_eq!(outward.packets_processed, encapsulated);
        prop_assert_eq!(refused(&outward), garbage.len() as u64 - encapsulated);
        if case.transform.is_authentic() {
            prop_assert_eq!(accepted, 0);
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn batches_are_taken_in_order_whatever_is_in_them(
        case in cases(0usize..100),
        others in proptest::collection::vec((packets(0usize..100), 0u8..8), 1..200),
    ) {
        // Now and then a packet that is none, or whose result has no room.
        let inputs: Vec<Vec<u8>> = others
            .iter()
            .map(|(packet, kind)| if *kind == 0 { packet[..packet.len() - 1].to_vec() } else { packet.clone() })
            .collect();
        let mut outputs: Vec<Vec<u8>> =
            others.iter().map(|(_, kind)| vec![0; if *kind == 1 { 30 } else { 3000 }]).collect();
        let mut verdicts = vec![Err(PacketError::Gone); inputs.len()];
        let outbound = case.outbound();
        let mut buffers: Vec<Buffers<'_>> = inputs
            .iter()
            .zip(&mut outputs)
            .map(|(input, output)| Buffers::Apart { input, output })
            .collect();
        outbound.encapsulate(&mut buffers, &mut verdicts);
        drop(buffers);

        let good: Vec<usize> = (0..inputs.len()).filter(|index| verdicts[*index].is_ok()).collect();
        let statistics = outbound.statistics();
        prop_assert_eq!(statistics.packets_processed, good.len() as u64);
        prop_assert_eq!(refused(&statistics), (inputs.len() - good.len()) as u64);
        for (index, (_, kind)) in others.iter().enumerate() {
            let expected = match kind {
                0 => Some("truncated"),
                1 => Some("no room"),
                _ => None,
            };
            prop_assert_eq!(verdicts[index].is_err(), expected.is_some(), "packet {}: {:?}", index, verdicts[index]);
            if verdicts[index].is_err() {
                prop_assert!(outputs[index].iter().all(|byte| *byte == 0));
            }
        }

        let inbound = case.inbound();
        for (order, index) in good.iter().enumerate() {
            let sealed = &outputs[*index][..verdicts[*index].unwrap()];
            let at = case.ipsec_start(sealed) + if case.transform.protocol == Protocol::Ah { 4 } else { 0 };
            let head = esp::Header::parse(&sealed[at..]).unwrap();
            prop_assert_eq!(u64::from(head.sequence), (case.start + 1 + order as u64) & 0xffff_ffff);
            prop_assert_eq!(&decapsulate(&inbound, sealed, 1000).unwrap(), &inputs[*index]);
        }
        prop_assert_eq!(inbound.statistics().packets_processed, good.len() as u64);
    }
}

#[test]
fn a_packet_that_fails_while_ah_is_computed_is_counted_once() {
    let mut headers = v6_headers(1, 0, 0);
    headers[43] = 9; // an option that is longer than its header: nobody looks at it before the ICV is computed
    let transform = TransformCase {
        protocol: Protocol::Ah,
        algorithms: Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::HmacSha256 },
        icv_len: None,
        cipher_key: Vec::new(),
        integrity_key: vec![7; 32],
        implicit_iv: false,
    };
    let case = Case {
        transform,
        tunnel: None,
        extended: false,
        udp: None,
        window: None,
        start: 0,
        packet: headers,
        wrapped: false,
        flow_padding: FlowPadding::default(),
    };
    let outbound = case.outbound();
    assert!(encapsulate(&outbound, &case.packet, 1000).is_err());
    assert_eq!(outbound.statistics(), Statistics { invalid_ipsec_pkt: 1, ..Statistics::default() });
}
