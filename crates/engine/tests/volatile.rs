//! Packets that are processed where others may change them: as in private copies, or not at all.

mod cases;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU32},
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use cases::*;
use gipsec_engine::*;
use gipsec_kernels::gcm::GcmKey;
use gipsec_wire::protocol;
use proptest::{prelude::*, sample::Index};
use vm_memory::{MmapRegion, VolatileMemory, VolatileSlice};

/// A packet, and bytes of room for its result.
type Job = (Vec<u8>, usize);

/// What became of packets: all the bytes of their rooms, verdicts, and what was worth telling.
#[derive(Debug, PartialEq)]
struct Outcome {
    rooms: Vec<Vec<u8>>,
    verdicts: Vec<Verdict>,
    events: Events,
}

/// Bytes that belong to nobody between packets and rooms.
const GUARD: usize = 16;
const UNTOUCHED: u8 = 0xee;

/// Processes packets in private copies; their rooms have this byte everywhere.
fn copied(sa: &Sa, jobs: &[Job], fill: u8) -> Outcome {
    let mut rooms: Vec<Vec<u8>> = jobs.iter().map(|(_, room)| vec![fill; *room]).collect();
    let mut verdicts = vec![Err(PacketError::Crypto); jobs.len()];
    let mut buffers: Vec<Buffers<'_>> =
        jobs.iter().zip(&mut rooms).map(|((packet, _), output)| Buffers::Apart { input: packet, output }).collect();
    let events = sa.process(&mut buffers, &mut verdicts);
    Outcome { rooms, verdicts, events }
}

/// Processes packets where they are, between bytes that must not change. None: they have to be copied.
fn in_foreign_memory(sa: &Sa, jobs: &[Job], fill: u8) -> Option<Outcome> {
    let mut memory = vec![UNTOUCHED; GUARD];
    let mut places = Vec::new();
    for (index, (packet, room)) in jobs.iter().enumerate() {
        let mut place = |bytes: &[u8]| {
            let start = memory.len();
            memory.extend(bytes);
            memory.extend([UNTOUCHED; GUARD]);
            start..start + bytes.len()
        };
        let room = vec![fill; *room];
        places.push(if index % 2 == 0 {
            let input = place(packet);
            (input, place(&room))
        } else {
            let output = place(&room);
            (place(packet), output)
        });
    }
    let mut expected = memory.clone();
    let mut verdicts = vec![Ok(7); jobs.len()];
    let all = VolatileSlice::from(&mut memory[..]);
    let slice = |range: &Range<usize>| all.subslice(range.start, range.len()).unwrap();
    let packets: Vec<_> =
        places.iter().map(|(input, output)| VolatileBuffers { input: slice(input), output: slice(output) }).collect();
    let events = sa.process_volatile(&packets, &mut verdicts);
    let rooms: Vec<Vec<u8>> = places.iter().map(|(_, output)| memory[output.clone()].to_vec()).collect();
    if events.is_some() {
        for ((_, output), room) in places.iter().zip(&rooms) {
            expected[output.clone()].copy_from_slice(room);
        }
    } else {
        assert!(verdicts.iter().all(|verdict| *verdict == Ok(7)), "verdicts of packets that have to be copied");
    }
    assert!(memory == expected, "what belongs to nobody has changed");
    Some(Outcome { rooms, verdicts, events: events? })
}

/// Statistics, drops, and the window.
fn read(sa: &Sa) -> Vec<(Statistics, Drops, String)> {
    sa.read()
        .into_iter()
        .map(|reading| (reading.statistics, reading.drops, format!("{:?}", reading.parameters)))
        .collect()
}

/// Processes packets with `sa` where they are, or copies them when it wants that, and with `twin` in copies: the same
/// comes of it. Whether they were processed where they are.
fn compare(sa: &Sa, twin: &Sa, jobs: &[Job], fill: u8, is_exact: bool) -> Result<(Outcome, bool), TestCaseError> {
    let before = read(sa);
    let outcome = in_foreign_memory(sa, jobs, fill);
    let is_there = outcome.is_some();
    if !is_there {
        prop_assert_eq!(&before, &read(sa));
    }
    let outcome = outcome.unwrap_or_else(|| copied(sa, jobs, fill));
    let expected = copied(twin, jobs, fill);
    prop_assert_eq!(&outcome.verdicts, &expected.verdicts);
    prop_assert_eq!(outcome.events, expected.events);
    prop_assert!(!is_exact || outcome.rooms == expected.rooms);
    prop_assert_eq!(read(sa), read(twin));
    for (room, verdict) in outcome.rooms.iter().zip(&outcome.verdicts) {
        let is_clear = fill != 0 || room.iter().all(|byte| *byte == 0);
        prop_assert!(verdict.is_ok() || is_clear, "a refused packet left bytes behind");
    }
    Ok((outcome, is_there))
}

/// What both SAs of a case have beside it.
#[derive(Clone, Debug)]
struct Limits {
    hard_kilobytes: Option<u32>,
    /// How many sequence numbers are left.
    numbers: Option<u64>,
    check_outer: bool,
    copy_flow_label: bool,
}

const NO_LIMITS: Limits = Limits { hard_kilobytes: None, numbers: None, check_outer: true, copy_flow_label: false };

fn limits() -> impl Strategy<Value = Limits> {
    let rare = prop::bool::weighted(0.1);
    (proptest::option::weighted(0.2, 1u32..60), proptest::option::weighted(0.1, 0u64..90), any::<bool>(), rare)
        .prop_map(|(hard_kilobytes, numbers, check_outer, copy_flow_label)| Limits {
            hard_kilobytes,
            numbers,
            check_outer,
            copy_flow_label,
        })
}

/// Whether two outbound SAs of a case make the same bytes: it can be told their first IV, and that says the others.
fn is_repeatable(case: &Case) -> bool {
    match case.transform.algorithms {
        Algorithms::Combined(_) => true,
        Algorithms::Separate { cipher, .. } => matches!(cipher, Cipher::Null | Cipher::AesCtr),
    }
}

fn outbound(case: &Case, limits: &Limits) -> Box<Sa> {
    let has_iv = is_repeatable(case) && !case.transform.implicit_iv;
    let is_null = matches!(case.transform.algorithms, Algorithms::Separate { cipher: Cipher::Null, .. });
    let rules = OutboundRules {
        ecn: true,
        flow_padding: case.flow_padding,
        first_iv: (has_iv && !is_null).then(|| vec![0xfd; 8]),
        copy_flow_label: limits.copy_flow_label && case.tunnel.is_some(),
        ..OutboundRules::default()
    };
    let sa = make(case, limits, Rules::Outbound(rules));
    let limit = if case.extended { u64::MAX } else { u64::from(u32::MAX) };
    let last = limits.numbers.map_or(case.start, |left| limit - left);
    sa.modify(&Change::Replay { window: None, sequence: Some((last, 0)) }).unwrap();
    sa
}

fn inbound(case: &Case, limits: &Limits) -> Box<Sa> {
    let rules = InboundRules {
        propagate_ecn: case.tunnel.is_some(),
        replay_window: case.window,
        check_outer: limits.check_outer && case.tunnel.is_some(),
        ..InboundRules::default()
    };
    let sa = make(case, limits, Rules::Inbound(rules));
    if case.start > 0 {
        sa.modify(&Change::Replay { window: None, sequence: Some((case.start, u32::MAX)) }).unwrap();
    }
    sa
}

fn make(case: &Case, limits: &Limits, rules: Rules) -> Box<Sa> {
    let (mut attributes, keys) = case.attributes(rules);
    let hard_kilobytes = limits.hard_kilobytes.and_then(NonZeroU32::new);
    attributes.lifetime = Lifetime { soft_kilobytes: hard_kilobytes.and(NonZeroU32::new(1)), hard_kilobytes };
    attributes.notify = Notify { soft_lifetime: true, sequence_overflow: true, sequence_periodic: true };
    attributes.intervals = Intervals { overflow_margin: 40, periodic: 7 };
    Sa::new(vec![BundleEntry { parameters: attributes.into(), keys }]).unwrap()
}

/// AES-GCM in a tunnel, in every way there is.
fn usual() -> impl Strategy<Value = Case> {
    let key = prop_oneof![Just(16), Just(24), Just(32)];
    let icv = prop_oneof![Just(None), Just(Some(8)), Just(Some(12)), Just(Some(16))];
    let key = (key, proptest::collection::vec(any::<u8>(), 36));
    (cases(sizes()), key, icv, any::<bool>(), any::<bool>(), prop::bool::weighted(0.9)).prop_map(
        |(case, (key, mut cipher_key), icv_len, implicit_iv, six, is_plain)| {
            cipher_key.truncate(key + 4);
            Case {
                transform: TransformCase {
                    protocol: Protocol::Esp,
                    algorithms: Algorithms::Combined(Combined::Gcm),
                    icv_len,
                    cipher_key,
                    integrity_key: Vec::new(),
                    implicit_iv,
                },
                tunnel: Some(ends(six)),
                udp: None,
                wrapped: false,
                flow_padding: if is_plain { FlowPadding::default() } else { FlowPadding { to: 500, multiple: 64 } },
                ..case
            }
        },
    )
}

fn ends(six: bool) -> Endpoints {
    if six {
        Endpoints::V6 { source: Ipv6Addr::LOCALHOST, destination: Ipv6Addr::from(2) }
    } else {
        Endpoints::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(198, 51, 100, 2) }
    }
}

/// Whether the packets of an SA can be processed where they are, if they are usual ones.
fn is_usual(case: &Case) -> bool {
    case.transform.algorithms == Algorithms::Combined(Combined::Gcm)
        && case.tunnel.is_some()
        && case.udp.is_none()
        && !case.wrapped
}

/// A packet of AES-GCM made by hand, as no SA makes them.
struct Handmade<'a> {
    number: u64,
    payload: &'a [u8],
    padding: &'a [u8],
    next_header: u8,
    /// Of the outer header; its options are words of IPv4.
    class: u8,
    options: usize,
}

impl Handmade<'_> {
    fn make(&self, case: &Case) -> Vec<u8> {
        let [high, low] = [self.number >> 32, self.number & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
        let (salt, key) = case.transform.cipher_key.split_at(4);
        let spi = 0x1234_5678u32.to_be_bytes();
        let iv = if case.transform.implicit_iv {
            [if case.extended { high } else { 0 }.to_be_bytes(), low.to_be_bytes()].concat()
        } else {
            self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec()
        };
        let nonce = [salt, &iv].concat().try_into().unwrap();
        let aad = if case.extended {
            [spi, high.to_be_bytes(), low.to_be_bytes()].concat()
        } else {
            [spi, low.to_be_bytes()].concat()
        };
        let pad_len = u8::try_from(self.padding.len()).unwrap();
        let mut body = [self.payload, self.padding, &[pad_len, self.next_header]].concat();
        let tag = GcmKey::new(key).unwrap().seal_in_place(&nonce, &aad, &mut body);
        let iv = if case.transform.implicit_iv { &[][..] } else { &iv };
        let esp = [&spi, &low.to_be_bytes(), iv, &body, &tag[..case.transform.icv_len.unwrap_or(16)]].concat();
        [self.outer(case, esp.len()), esp].concat()
    }

    fn outer(&self, case: &Case, len: usize) -> Vec<u8> {
        match case.tunnel.unwrap() {
            Endpoints::V4 { source, destination } => {
                let header = 20 + 4 * self.options;
                let [high, low] = u16::try_from(header + len).unwrap().to_be_bytes();
                let first = 0x40 | u8::try_from(header / 4).unwrap();
                let fixed = [first, self.class, high, low, 0, 0, 0, 0, 64, protocol::ESP, 0, 0];
                [&fixed[..], &source.octets(), &destination.octets(), &vec![1; header - 20]].concat()
            }
            Endpoints::V6 { source, destination } => {
                let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
                let fixed = [0x60 | self.class >> 4, self.class << 4, 0, 0, high, low, protocol::ESP, 64];
                [&fixed[..], &source.octets(), &destination.octets()].concat()
            }
        }
    }
}

/// Padding of so many bytes.
fn padding(len: u8) -> Vec<u8> {
    (1..=len).collect()
}

/// What is done to a packet before it is processed.
#[derive(Clone, Debug)]
struct Fate {
    which: Index,
    kind: u8,
    at: Index,
    byte: u8,
    /// Bytes of room beyond what surely is enough; below 8, less than that.
    room: u8,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (any::<Index>(), 0u8..40, any::<Index>(), any::<u8>(), any::<u8>())
        .prop_map(|(which, kind, at, byte, room)| Fate { which, kind, at, byte, room });
    proptest::collection::vec(fate, 1..=70)
}

impl Fate {
    /// Damages a packet, or has it followed by others' bytes.
    fn damage(&self, packet: &mut Vec<u8>) {
        let at = self.at.index(packet.len().max(1));
        match self.kind {
            0 => packet.truncate(at),
            1 => packet.truncate(at.min(70)),
            2 if !packet.is_empty() => packet[at] ^= self.byte | 1,
            // Where headers are.
            3 if !packet.is_empty() => packet[at % 64] ^= self.byte | 1,
            4 => packet.extend(vec![self.byte; usize::from(self.byte)]),
            _ => {}
        }
    }

    /// Bytes of room for a packet whose result surely fits into so many.
    fn room(&self, enough: usize) -> usize {
        match self.room {
            0..4 => self.at.index(enough),
            4..8 => enough.saturating_sub(usize::from(self.byte)),
            more => enough + usize::from(more),
        }
    }
}

fn to_encapsulate(case: &Case, others: &[Vec<u8>], fates: &[Fate]) -> Vec<Job> {
    fates
        .iter()
        .map(|fate| {
            let which = fate.which.index(others.len() + 1);
            let mut packet = others.get(which).unwrap_or(&case.packet).clone();
            fate.damage(&mut packet);
            let room = fate.room(packet.len() + 700);
            (packet, room)
        })
        .collect()
}

/// Packets for the inbound SA of a case. Unless they are to be `wild`, all can be processed where they are if some can.
fn to_decapsulate(case: &Case, others: &[Vec<u8>], fates: &[Fate], wild: bool) -> Vec<Job> {
    let sealer = outbound(case, &NO_LIMITS);
    let mut number = case.start;
    let mut jobs: Vec<Job> = Vec::new();
    for fate in fates {
        let which = fate.which.index(others.len() + 1);
        let payload = others.get(which).unwrap_or(&case.packet);
        let family = if payload[0] >> 4 == 4 { protocol::IPV4 } else { protocol::IPV6 };
        // As far as the next one, sometimes back, or a leap.
        number = match fate.kind {
            5 => number.saturating_sub(u64::from(fate.byte)),
            6 => number + u64::from(fate.byte),
            _ => number + 1,
        };
        let mut packet = if is_usual(case) && fate.kind >= 7 {
            let usual = Handmade {
                number,
                payload,
                padding: &padding(fate.byte % 8),
                next_header: family,
                class: fate.byte >> 6,
                options: 0,
            };
            let padded = [&payload[..], &vec![0; usize::from(fate.byte)]].concat();
            let wrong = vec![fate.byte | 0x80; 1 + fate.at.index(20)];
            let handmade = match fate.kind {
                7 => Handmade { padding: &padding(fate.byte), ..usual },
                8 => Handmade { padding: &wrong, ..usual },
                9 => Handmade { next_header: protocol::NO_NEXT_HEADER, ..usual },
                10 => Handmade { next_header: fate.byte, ..usual },
                11 => Handmade { payload: &padded, ..usual },
                12 => Handmade { options: fate.at.index(11), ..usual },
                13 => Handmade { payload: &payload[..fate.at.index(payload.len())], ..usual },
                // Padding that is said to be longer than everything.
                14 => Handmade { payload: &[], padding: &[], next_header: 2, ..usual },
                _ => usual,
            };
            handmade.make(case)
        } else {
            let outcome = copied(&sealer, &[(payload.clone(), payload.len() + 2500)], 0);
            let mut sealed = outcome.rooms[0].clone();
            sealed.truncate(outcome.verdicts[0].unwrap());
            sealed
        };
        if fate.kind < 5 {
            fate.damage(&mut packet);
        }
        if wild && fate.kind == 15 {
            packet = fate.byte.to_be_bytes().repeat(fate.at.index(200));
        }
        if !wild && is_usual(case) {
            name_esp(&mut packet);
        }
        let room = if wild { fate.room(packet.len()) } else { packet.len() + usize::from(fate.room / 4) };
        if fate.kind == 16 {
            jobs.push((packet.clone(), room));
        }
        jobs.push((packet, room));
    }
    jobs
}

/// Damaged or not, what follows the IP header is ESP.
fn name_esp(packet: &mut Vec<u8>) {
    packet.resize(packet.len().max(10), 0);
    let at = if packet[0] >> 4 == 4 { 9 } else { 6 };
    packet[at] = protocol::ESP;
}

proptest! {
    #![proptest_config(config(1200))]

    #[test]
    fn packets_are_encapsulated_where_they_are_as_in_copies(
        case in prop_oneof![4 => usual().boxed(), 1 => cases(sizes()).boxed()],
        limits in limits(),
        others in proptest::collection::vec(packets(0usize..600), 0..4),
        fates in fates(),
        fill in prop_oneof![3 => Just(0), 1 => any::<u8>()],
    ) {
        let (sa, twin) = (outbound(&case, &limits), outbound(&case, &limits));
        let is_plain = is_usual(&case) && case.flow_padding == FlowPadding::default() && !limits.copy_flow_label;
        let jobs = to_encapsulate(&case, &others, &fates);
        for jobs in [&jobs[..], &jobs[..1]] {
            let (_, is_there) = compare(&sa, &twin, jobs, fill, is_repeatable(&case))?;
            prop_assert_eq!(is_there, is_plain);
        }
    }

    #[test]
    fn packets_are_decapsulated_where_they_are_as_in_copies(
        case in prop_oneof![4 => usual().boxed(), 1 => cases(sizes()).boxed()],
        limits in limits(),
        others in proptest::collection::vec(packets(0usize..600), 0..4),
        fates in fates(),
        wild in prop::bool::weighted(0.2),
        fill in prop_oneof![3 => Just(0), 1 => any::<u8>()],
    ) {
        let (sa, twin) = (inbound(&case, &limits), inbound(&case, &limits));
        let jobs = to_decapsulate(&case, &others, &fates, wild);
        // The second time, what was accepted is a replay.
        for _ in 0..2 {
            let (_, is_there) = compare(&sa, &twin, &jobs, fill, true)?;
            prop_assert!(is_there || wild || !is_usual(&case));
            prop_assert!(!is_there || is_usual(&case));
        }
    }
}

/// An SA of AES-GCM in a tunnel.
fn plain_case(six: bool, extended: bool, implicit_iv: bool, key: usize, icv_len: Option<usize>) -> Case {
    Case {
        transform: TransformCase {
            protocol: Protocol::Esp,
            algorithms: Algorithms::Combined(Combined::Gcm),
            icv_len,
            cipher_key: (0..).take(key + 4).collect(),
            integrity_key: Vec::new(),
            implicit_iv,
        },
        tunnel: Some(ends(six)),
        extended,
        udp: None,
        window: Some(64),
        start: if extended { (1 << 32) - 20 } else { 0 },
        packet: v4(100, 0),
        wrapped: false,
        flow_padding: FlowPadding::default(),
    }
}

/// A packet of so many bytes and a traffic class.
fn v4(len: usize, class: u8) -> Vec<u8> {
    let mut packet = v4_header(0, class, len - 20);
    packet.resize(len, 0x5a);
    packet
}

fn v6(len: usize, class: u8) -> Vec<u8> {
    let mut packet = v6_headers(0, class, len - 40);
    packet.resize(len, 0x5a);
    packet
}

/// All header there is: with 40 bytes of options.
fn longest_header(class: u8) -> Vec<u8> {
    let mut packet = v4(60, class);
    packet[0] = 0x4f;
    packet
}

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

/// The packet of a case, encapsulated.
fn outbound_copy(case: &Case) -> Vec<u8> {
    let room = case.packet.len() + 200;
    let outcome = copied(&outbound(case, &NO_LIMITS), &[(case.packet.clone(), room)], 0);
    outcome.rooms[0][..outcome.verdicts[0].unwrap()].to_vec()
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

/// A small reproducible generator (xorshift).
struct Generator(u64);

impl Generator {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 8) % limit as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
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

/// Memory that two threads use.
struct Shared(MmapRegion);

impl Shared {
    fn new(bytes: &[u8]) -> Self {
        let memory = Self(MmapRegion::new(bytes.len()).unwrap());
        memory.slice(&(0..bytes.len())).copy_from(bytes);
        memory
    }

    fn slice(&self, range: &Range<usize>) -> VolatileSlice<'_> {
        self.0.get_slice(range.start, range.len()).unwrap()
    }
}

/// Ends the other thread, after a failure, too.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Changes packets, and the rooms for results if they are given, until it is told to end. Now and then a packet is as
/// it was at first.
fn meddle(memory: &Shared, packets: &[(Range<usize>, &[u8])], rooms: &[Range<usize>], done: &AtomicBool) {
    let mut generator = Generator(11);
    while !done.load(Relaxed) {
        let (place, packet) = &packets[generator.below(packets.len())];
        let mut other = packet.to_vec();
        match generator.below(8) {
            0..4 => {}
            // For a moment.
            4 => {
                let at = generator.below(place.len());
                memory.slice(&(place.start + at..place.end)).copy_from(&[generator.byte()]);
            }
            5 => other[..20].fill(generator.byte()),
            // Lengths.
            6 => other[[2, 4][generator.below(2)]..][..2].copy_from_slice(&[generator.byte() % 8, generator.byte()]),
            _ => other.fill(generator.byte()),
        }
        if generator.below(20) > 0 {
            name_esp(&mut other);
        }
        memory.slice(place).copy_from(&other);
        if !rooms.is_empty() {
            let room = &rooms[generator.below(rooms.len())];
            let at = room.start + generator.below(room.len());
            // Padding lengths and next headers, among others.
            let bytes = [[255, 59], [255, 4], [0, 41], [generator.byte(), generator.byte()]][generator.below(4)];
            memory.slice(&(at..room.end)).copy_from(&bytes.repeat(1 + generator.below(20)));
        }
    }
}

/// What an SA said of packets that somebody changed meanwhile.
#[derive(Debug, Default)]
struct Said {
    accepted: u64,
    refused: u64,
}

/// Has packets processed again and again while another thread changes them, and the rooms for their results, too, or
/// else has `look` look at what each room holds after each batch. Nothing else changes.
fn while_changed(sa: &Sa, packets: &[Vec<u8>], rooms_too: bool, mut look: impl FnMut(Verdict, &[u8])) -> Said {
    let mut bytes = vec![UNTOUCHED; GUARD];
    let mut places = Vec::new();
    for packet in packets {
        let input = bytes.len()..bytes.len() + packet.len();
        bytes.extend(packet);
        bytes.extend([UNTOUCHED; GUARD]);
        let output = bytes.len()..bytes.len() + packet.len() + 100;
        bytes.resize(output.end, 0);
        bytes.extend([UNTOUCHED; GUARD]);
        places.push((input, output));
    }
    let inputs: Vec<_> = places.iter().map(|(input, _)| input.clone()).zip(packets.iter().map(Vec::as_slice)).collect();
    let outputs: Vec<_> = places.iter().map(|(_, output)| output.clone()).collect();
    let (memory, done) = (&Shared::new(&bytes), &AtomicBool::new(false));
    let (mut said, mut generator) = (Said::default(), Generator(13));
    std::thread::scope(|scope| {
        scope.spawn(|| meddle(memory, &inputs, if rooms_too { &outputs } else { &[] }, done));
        let _done = Done(done);
        let end = Instant::now() + Duration::from_millis(150);
        while Instant::now() < end {
            for places in places.chunks([1, 7, 70][generator.below(3)]) {
                if !rooms_too {
                    for (_, output) in places {
                        memory.slice(output).copy_from(&vec![0; output.len()]);
                    }
                }
                let buffers: Vec<_> = places
                    .iter()
                    .map(|(input, output)| VolatileBuffers { input: memory.slice(input), output: memory.slice(output) })
                    .collect();
                let mut verdicts = vec![Ok(usize::MAX); places.len()];
                if sa.process_volatile(&buffers, &mut verdicts).is_none() {
                    assert!(verdicts.iter().all(|verdict| *verdict == Ok(usize::MAX)));
                    continue;
                }
                for (verdict, (_, output)) in verdicts.into_iter().zip(places) {
                    match verdict {
                        Ok(len) => {
                            assert!(len <= output.len());
                            said.accepted += 1;
                        }
                        Err(_) => said.refused += 1,
                    }
                    if !rooms_too {
                        let mut room = vec![0; output.len()];
                        memory.slice(output).copy_to(&mut room);
                        look(verdict, &room);
                    }
                }
            }
        }
    });
    memory.slice(&(0..bytes.len())).copy_to(&mut bytes);
    for place in places.iter().flat_map(|(input, output)| [input, output]) {
        bytes[place.clone()].fill(UNTOUCHED);
    }
    assert!(bytes.iter().all(|byte| *byte == UNTOUCHED), "what belongs to nobody has changed");
    said
}

fn check_statistics(sa: &Sa, said: &Said) {
    let statistics = sa.read()[0].statistics;
    assert_eq!((statistics.packets_processed, refused(&statistics)), (said.accepted, said.refused));
    assert!(said.accepted > 0 && said.refused > 0, "{said:?}");
}

fn some_packets() -> Vec<Vec<u8>> {
    (0..70).map(|index| if index % 2 == 0 { v4(20 + 19 * index, 1) } else { v6(40 + 17 * index, 2) }).collect()
}

/// Whatever payloads come to: packets that the peer opens, each with a number of its own.
#[test]
fn packets_that_change_while_they_are_sealed_are_packets() {
    for (six, extended) in [(false, true), (true, false)] {
        let case = Case { window: Some(1024), ..plain_case(six, extended, false, 16, Some(12)) };
        let (sa, peer) = (outbound(&case, &NO_LIMITS), inbound(&case, &NO_LIMITS));
        let mut numbers = case.start & 0xffff_ffff;
        let said = while_changed(&sa, &some_packets(), false, |verdict, room| {
            let Ok(len) = verdict else {
                assert!(room.iter().all(|byte| *byte == 0), "a refused packet left bytes behind");
                return;
            };
            let at = if six { 44 } else { 24 };
            numbers = (numbers + 1) & 0xffff_ffff;
            assert_eq!(u64::from(u32::from_be_bytes(room[at..at + 4].try_into().unwrap())), numbers);
            let opened = copied(&peer, &[(room[..len].to_vec(), len)], 0).verdicts[0];
            // The inner header may have changed after it was looked at.
            let is_inner = matches!(
                opened,
                Ok(_) | Err(PacketError::Malformed(_) | PacketError::BadNextHeader | PacketError::Congestion)
            );
            assert!(is_inner, "{opened:?}");
        });
        check_statistics(&sa, &said);
        let said = while_changed(&sa, &some_packets(), true, |_, _| {});
        assert!(said.accepted > 0);
        let sent = sa.read()[0].statistics.packets_processed;
        let next = copied(&sa, &[(case.packet.clone(), 300)], 0);
        let number = next.rooms[0][if six { 44..48 } else { 24..28 }].try_into().unwrap();
        assert_eq!(u64::from(u32::from_be_bytes(number)), (case.start + sent + 1) & 0xffff_ffff);
    }
}

/// A packet that is refused leaves nothing, whatever it was before and after.
#[test]
fn packets_that_change_while_they_are_opened_stay_where_they_are() {
    for (six, extended) in [(false, true), (true, false)] {
        let case = Case { window: None, ..plain_case(six, extended, extended, 32, None) };
        let sealer = outbound(&case, &NO_LIMITS);
        let packets = some_packets().into_iter().map(|packet| {
            let room = packet.len() + 100;
            let outcome = copied(&sealer, &[(packet, room)], 0);
            outcome.rooms[0][..outcome.verdicts[0].unwrap()].to_vec()
        });
        let packets: Vec<_> = packets.collect();
        let sa = inbound(&case, &NO_LIMITS);
        let said = while_changed(&sa, &packets, false, |verdict, room| {
            assert!(verdict.is_ok() || room.iter().all(|byte| *byte == 0), "a refused packet left bytes behind");
        });
        check_statistics(&sa, &said);
        let sa = inbound(&case, &NO_LIMITS);
        let said = while_changed(&sa, &packets, true, |_, _| {});
        check_statistics(&sa, &said);
    }
}
