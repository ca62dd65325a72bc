//! Memory that another thread changes while packets in it are processed.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use vm_memory::{MmapRegion, VolatileMemory};

use super::{packets::*, *};

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
