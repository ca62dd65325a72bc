//! Packets that are processed where others may change them: as in private copies, or not at all.

#[path = "../cases/mod.rs"]
mod cases;
mod changing;
mod packets;
mod random;
mod single;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    ops::Range,
};

use cases::*;
use gipsec_engine::*;
use gipsec_wire::protocol;
use proptest::prelude::*;
use vm_memory::VolatileSlice;

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
