//! What is processed where it is, and what has to be copied, case by case.

use std::num::NonZeroU16;

use super::{packets::*, *};

#[test]
fn usual_packets_are_never_copied() {
    for (case, count) in [false, true]
        .into_iter()
        .flat_map(|six| [(six, false), (six, true)])
        .flat_map(|(six, extended)| [(six, extended, false), (six, extended, true)])
        .flat_map(|(six, extended, implicit)| {
            [16, 24, 32].into_iter().flat_map(move |key| {
                [None, Some(8), Some(12), Some(16)].map(|icv| plain_case(six, extended, implicit, key, icv))
            })
        })
        .zip([1, 2, 63, 64, 65, 70].into_iter().cycle())
    {
        // With congestion marked on some, and inner packets that take it.
        let jobs: Vec<Job> = (0..count)
            .map(|index| {
                let packet = match index % 4 {
                    0 => v4(20 + 37 * index % 1400, 2),
                    1 => v6(40 + 41 * index % 1400, 0xba),
                    2 => longest_header(1),
                    _ => v6(40, 3),
                };
                let room = packet.len() + 100;
                (packet, room)
            })
            .collect();
        let (outcome, is_there) =
            compare(&outbound(&case, &NO_LIMITS), &outbound(&case, &NO_LIMITS), &jobs, 0, true).unwrap();
        assert!(is_there, "{case:?}");
        let sealed: Vec<Job> = outcome
            .rooms
            .iter()
            .zip(&outcome.verdicts)
            .enumerate()
            .map(|(index, (room, verdict))| {
                let mut packet = room[..verdict.unwrap()].to_vec();
                if index % 3 == 0 {
                    packet[1] |= if packet[0] >> 4 == 4 { 3 } else { 0x30 };
                }
                let room = packet.len();
                (packet, room)
            })
            .collect();
        let (opened, is_there) =
            compare(&inbound(&case, &NO_LIMITS), &inbound(&case, &NO_LIMITS), &sealed, 0, true).unwrap();
        assert!(is_there, "{case:?}");
        for (index, ((packet, _), (room, verdict))) in
            jobs.iter().zip(opened.rooms.iter().zip(&opened.verdicts)).enumerate()
        {
            assert_eq!(*verdict, Ok(packet.len()));
            assert!(index % 3 == 0 || room[..packet.len()] == packet[..]);
        }
    }
}

#[test]
fn every_padding_is_read() {
    for (six, mut number) in [(false, 0), (true, 1 << 32)] {
        let case = Case { start: number, ..plain_case(six, six, false, 16, None) };
        let (sa, twin) = (inbound(&case, &NO_LIMITS), inbound(&case, &NO_LIMITS));
        for (payload, next_header) in
            [(longest_header(2), protocol::IPV4), (v6(41, 2), protocol::IPV6), (Vec::new(), protocol::NO_NEXT_HEADER)]
        {
            for (lengths, changed, expected) in
                [(0..=255, 0, Ok(payload.len())), (1..=255, 0x80, Err(PacketError::BadPadding))]
            {
                let jobs: Vec<Job> = lengths
                    .map(|len| {
                        number += 1;
                        let mut padding = padding(len);
                        if let Some(byte) = padding.get_mut(usize::from(len / 2)) {
                            *byte ^= changed;
                        }
                        let packet = Handmade {
                            number,
                            payload: &payload,
                            padding: &padding,
                            next_header,
                            class: 3,
                            options: 0,
                        };
                        let packet = packet.make(&case);
                        let room = packet.len();
                        (packet, room)
                    })
                    .collect();
                let (outcome, is_there) = compare(&sa, &twin, &jobs, 0, true).unwrap();
                assert!(is_there);
                assert_eq!(outcome.verdicts, vec![expected; jobs.len()]);
            }
        }
    }
}

#[test]
fn packets_that_overlap_their_rooms_have_to_be_copied() {
    let case = plain_case(false, false, false, 16, None);
    let packet = outbound_copy(&case);
    for sa in [outbound(&case, &NO_LIMITS), inbound(&case, &NO_LIMITS)] {
        let before = read(&sa);
        let at = packet.len();
        for start in 1..2 * at {
            let mut memory = vec![0; 4 * at];
            memory[at..2 * at].copy_from_slice(&packet);
            let unchanged = memory.clone();
            let all = VolatileSlice::from(&mut memory[..]);
            let good = || (all.subslice(at, at).unwrap(), all.subslice(2 * at, at + 20).unwrap());
            let bad = (all.subslice(at, at).unwrap(), all.subslice(start, at).unwrap());
            let packets = [good(), bad, good()].map(|(input, output)| VolatileBuffers { input, output });
            let mut verdicts = [Ok(7); 3];
            assert_eq!(sa.process_volatile(&packets, &mut verdicts), None);
            assert_eq!(verdicts, [Ok(7); 3]);
            assert!(memory == unchanged);
            assert_eq!(read(&sa), before);
        }
    }
}

#[test]
fn unusual_packets_have_to_be_copied() {
    let case = plain_case(true, true, false, 16, None);
    let sealed = outbound_copy(&case);
    // Behind an extension header.
    let mut extended = sealed.clone();
    extended[6] = protocol::HOP_BY_HOP;
    extended.splice(40..40, [protocol::ESP, 0, 1, 4, 0, 0, 0, 0]);
    let [high, low] = u16::try_from(extended.len() - 40).unwrap().to_be_bytes();
    extended[4..6].copy_from_slice(&[high, low]);
    for (packet, room) in
        [(extended, 1000), (sealed.clone(), sealed.len() - 1), (Vec::new(), 1000), (vec![0x45; 9], 1000)]
    {
        let jobs = [(sealed.clone(), sealed.len()), (packet, room)];
        let (sa, twin) = (inbound(&case, &NO_LIMITS), inbound(&case, &NO_LIMITS));
        let (_, is_there) = compare(&sa, &twin, &jobs, 0, true).unwrap();
        assert!(!is_there);
    }
}

#[test]
fn packets_of_bundles_have_to_be_copied() {
    let case = plain_case(false, false, false, 16, None);
    let bundle = |esps: usize, compressions: usize| {
        let compression = Compression {
            algorithm: CompressionAlgorithm::Deflate,
            cpi: NonZeroU16::MAX,
            mode: Mode::Tunnel(ends(false)),
            lifetime: Lifetime::default(),
            notify: Notify::default(),
            rules: Rules::Outbound(OutboundRules::default()),
        };
        let compression = BundleEntry { parameters: compression.into(), keys: Keys::default() };
        let mut entries: Vec<_> = std::iter::once(compression).take(compressions).collect();
        for spi in 0..esps {
            let rules = OutboundRules { first_iv: Some(vec![0; 8]), ..OutboundRules::default() };
            let (mut attributes, keys) = case.attributes(Rules::Outbound(rules));
            attributes.spi = NonZeroU32::MIN.saturating_add(u32::try_from(spi).unwrap());
            entries.push(BundleEntry { parameters: attributes.into(), keys });
        }
        Sa::new(entries).unwrap()
    };
    for (esps, compressions) in [(2, 0), (1, 1), (0, 1)] {
        let jobs = [(case.packet.clone(), 1000)];
        let (outcome, is_there) =
            compare(&bundle(esps, compressions), &bundle(esps, compressions), &jobs, 0, true).unwrap();
        assert!(!is_there && outcome.verdicts[0].is_ok());
    }
}

#[test]
fn packets_in_each_others_memory_leave_the_rest_alone() {
    const LEN: usize = 8000;
    let case = Case { window: None, ..plain_case(false, false, false, 16, None) };
    let sealed = outbound_copy(&case);
    let mut generator = Generator(7);
    let sas = [(outbound(&case, &NO_LIMITS), &case.packet), (inbound(&case, &NO_LIMITS), &sealed)];
    let (mut accepted, mut refused) = (0, 0);
    for (round, (sa, packet)) in (0..600).zip(sas.iter().cycle()) {
        let mut memory: Vec<u8> = (0..LEN).map(|_| generator.byte()).collect();
        let room = packet.len() + [0, 10, 100][generator.below(3)];
        let count = 1 + generator.below(LEN / packet.len());
        let places: Vec<_> = (0..count)
            .map(|index| {
                let input = index * packet.len()..(index + 1) * packet.len();
                memory[input.clone()].copy_from_slice(packet);
                // Before the packet or behind it.
                let (before, behind) = (input.start.checked_sub(room), (LEN - input.end).checked_sub(room));
                let start = match (before, behind) {
                    (Some(most), None) => generator.below(most + 1),
                    (Some(most), Some(_)) if generator.below(2) == 0 => generator.below(most + 1),
                    (_, most) => input.end + generator.below(most.unwrap() + 1),
                };
                (input, start..start + room)
            })
            .collect();
        let before = memory.clone();
        let all = VolatileSlice::from(&mut memory[..]);
        let slice = |range: &Range<usize>| all.subslice(range.start, range.len()).unwrap();
        let packets: Vec<_> = places
            .iter()
            .map(|(input, output)| VolatileBuffers { input: slice(input), output: slice(output) })
            .collect();
        let mut verdicts = vec![Ok(usize::MAX); count];
        assert!(sa.process_volatile(&packets, &mut verdicts).is_some());
        assert!(verdicts.iter().all(|verdict| verdict.is_ok_and(|len| len <= room) || verdict.is_err()));
        accepted += verdicts.iter().filter(|verdict| verdict.is_ok()).count();
        refused += verdicts.iter().filter(|verdict| verdict.is_err()).count();
        let is_output = |at: usize| places.iter().any(|(_, output)| output.contains(&at));
        let changed = (0..LEN).find(|at| memory[*at] != before[*at] && !is_output(*at));
        assert_eq!(changed, None, "round {round}: {places:?}");
    }
    assert!(accepted > 0 && refused > 0);
}
