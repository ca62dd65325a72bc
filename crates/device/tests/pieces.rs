//! Data requests give the same results whichever way their bytes lie in the driver's memory: packets in one piece are
//! processed where they are, others by way of private memory.

mod support;

use std::sync::Arc;

use gipsec_device::{
    client::Client,
    control, data,
    limits::Limits,
    place::Place,
    request::{Part, Request},
};
use gipsec_engine::{BundleEntry, Direction, PacketError, Sa};
use gipsec_virtio::message::{
    control::{AttachMode, Command},
    data::{AnswerHeader, PacketEntry, PacketResult, RequestHeader, answer_prefix},
    feature, packet_status,
    status::NO_SA,
};
use proptest::prelude::*;
use support::sas;
use vm_memory::VolatileSlice;
use zerocopy::{FromBytes, IntoBytes};

/// One packet of a request.
#[derive(Clone, Debug)]
struct Case {
    /// Which SA it is for.
    which: usize,
    length: usize,
    /// Where packet and room are cut into two pieces; 0: nowhere.
    cuts: (usize, usize),
    /// The room begins where the packet does.
    in_place: bool,
    /// It is for no SA.
    strange: bool,
    /// A bit of it was changed on its way.
    damaged: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let cut = || prop_oneof![3 => Just(0), 1 => 1usize..1500];
    let rarely = || prop::bool::weighted(0.1);
    (0..SAS.len(), 20usize..1500, cut(), cut(), rarely(), rarely(), rarely()).prop_map(
        |(which, length, input, output, in_place, strange, damaged)| Case {
            which,
            length,
            cuts: (input, output),
            in_place,
            strange,
            damaged,
        },
    )
}

/// The SAs of a client: packets of the first and of the last one can be processed where they are.
const SAS: [fn(Direction, u32) -> BundleEntry; 3] = [sas::entry, sas::cbc_entry, sas::entry];

/// A client with them; their numbers, and the other ends of them here.
fn client(direction: Direction) -> (Client, Vec<(u64, Box<Sa>)>) {
    let client = Client::new(Limits::default(), Arc::new(Place::new(0, true)));
    client.set_features(feature::ALL | feature::VERSION_1);
    let mut answer = Vec::new();
    let attach = Command::Attach { mode: AttachMode::Exclusive, name: [0; 64] }.encode(0).unwrap();
    control::handle(&client, &attach, 100, &mut answer);
    let other = if direction == Direction::Outbound { Direction::Inbound } else { Direction::Outbound };
    let sas = SAS.into_iter().zip(7..).map(|(entry, spi)| {
        let add = Command::SaAdd { direction, entries: vec![entry(direction, spi)] }.encode(0).unwrap();
        control::handle(&client, &add, 100, &mut answer);
        let there = Sa::new(vec![entry(other, spi)]).unwrap();
        (u64::from_le_bytes(answer[16..].try_into().unwrap()), there)
    });
    let sas = sas.collect();
    (client, sas)
}

/// Places in memory, apart from each other.
struct Places {
    next: usize,
}

impl Places {
    fn take(&mut self, length: usize) -> usize {
        let start = self.next;
        self.next += length + 13;
        start
    }
}

/// The pieces of `length` bytes from `start` on.
fn pieces(start: usize, length: usize, cut: usize) -> Vec<(usize, usize)> {
    if cut == 0 || cut >= length {
        return vec![(start, length)];
    }
    vec![(start, cut), (start + cut, length - cut)]
}

/// More than any result is longer than its packet.
const GROWTH: usize = 100;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn results_do_not_depend_on_how_the_bytes_lie(
        cases in prop::collection::vec(case(), 1..16),
        outbound: bool,
        head_cut in prop_oneof![Just(0usize), 1usize..150],
    ) {
        let direction = if outbound { Direction::Outbound } else { Direction::Inbound };
        let (client, sas) = client(direction);
        let inner: Vec<Vec<u8>> = cases.iter().zip(1..).map(|(case, fill)| sas::packet(case.length, fill)).collect();
        let packets: Vec<Vec<u8>> = cases
            .iter()
            .zip(&inner)
            .map(|(case, inner)| {
                let mut packet = if outbound { inner.clone() } else { sas::process(&sas[case.which].1, inner).unwrap() };
                if case.damaged && !outbound {
                    *packet.last_mut().unwrap() ^= 1;
                }
                packet
            })
            .collect();

        let count = u16::try_from(cases.len()).unwrap().into();
        let mut message = RequestHeader { count, ..RequestHeader::default() }.as_bytes().to_vec();
        for (case, packet) in cases.iter().zip(&packets) {
            let small = |length: usize| u32::try_from(length).unwrap().into();
            let entry = PacketEntry {
                sa: (sas[case.which].0 + 1000 * u64::from(case.strange)).into(),
                length: small(packet.len()),
                room: small(packet.len() + GROWTH),
            };
            message.extend(entry.as_bytes());
        }

        let mut places = Places { next: 0 };
        let head = places.take(message.len());
        let front = places.take(answer_prefix(cases.len()));
        let mut readable = pieces(head, message.len(), head_cut);
        let mut writable = pieces(front, answer_prefix(cases.len()), 0);
        let (mut starts, mut rooms) = (Vec::new(), Vec::new());
        for (case, packet) in cases.iter().zip(&packets) {
            let room = packet.len() + GROWTH;
            let start = places.take(room);
            let room_start = if case.in_place { start } else { places.take(room) };
            readable.extend(pieces(start, packet.len(), case.cuts.0));
            writable.extend(pieces(room_start, room, case.cuts.1));
            starts.push(start);
            rooms.push(room_start);
        }
        let mut memory = vec![0xee; places.next];
        memory[head..][..message.len()].copy_from_slice(&message);
        for (start, packet) in starts.iter().zip(&packets) {
            memory[*start..][..packet.len()].copy_from_slice(packet);
        }
        let before = memory.clone();
        let all = VolatileSlice::from(&mut memory[..]);
        let part = |pieces: &[(usize, usize)]| Part::of(pieces.iter().map(|(start, len)| all.subslice(*start, *len).unwrap()));
        let mut request = Request::default();
        (request.readable, request.writable) = (part(&readable), part(&writable));
        let used = data::handle(&client, &mut data::Scratch::default(), direction, &request, &mut false);
        prop_assert!(used <= request.writable.length());
        drop(request);

        let (header, results) = AnswerHeader::read_from_prefix(&memory[front..]).unwrap();
        prop_assert_eq!(header.status.get(), 0);
        let results = <[PacketResult]>::ref_from_prefix_with_elems(results, cases.len()).unwrap().0.to_vec();
        let mut sequence = [0; SAS.len()];
        for (number, (case, result)) in cases.iter().zip(&results).enumerate() {
            let room = &memory[rooms[number]..][..packets[number].len() + GROWTH];
            let length = usize::try_from(result.length.get()).unwrap();
            match result.status.get() {
                0 if outbound => {
                    sequence[case.which] += 1u32;
                    prop_assert_eq!(&room[24..28], &sequence[case.which].to_be_bytes());
                    prop_assert_eq!(&sas::process(&sas[case.which].1, &room[..length]).unwrap(), &inner[number]);
                }
                0 => prop_assert_eq!(&room[..length], &inner[number][..]),
                NO_SA => prop_assert!(case.strange),
                status => {
                    prop_assert!(case.damaged && !outbound && status == packet_status(PacketError::BadIcv));
                    // It went where others may look while it was opened: nothing is left.
                    let was = &before[rooms[number]..][..room.len()];
                    prop_assert!(room.iter().zip(was).all(|(now, was)| now == was || *now == 0));
                }
            }
            let is_sound = !case.strange && (outbound || !case.damaged);
            prop_assert_eq!(result.status.get() == 0, is_sound);
        }
        // Nothing is written but answers and rooms.
        let mut may = vec![false; memory.len()];
        for (start, length) in writable {
            may[start..start + length].fill(true);
        }
        prop_assert!((0..memory.len()).all(|at| may[at] || memory[at] == before[at]));
    }
}
