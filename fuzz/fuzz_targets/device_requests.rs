//! The device's requests from a hostile driver, control and data, without sockets: whatever comes in, an answer stays
//! within its room, and says what it must. SAs and groups that a request made live on to the next one.
//!
//! The input is a list of requests: which queue, how much room, how long, and the bytes.

#![no_main]

use std::sync::Arc;

use gipsec_device::{
    client::Client,
    control, data,
    limits::Limits,
    place::Place,
    request::{Part, Request},
};
use gipsec_engine::Direction;
use gipsec_virtio::message::{
    control::{AttachMode, Command},
    feature,
};
use libfuzzer_sys::fuzz_target;
use vm_memory::VolatileSlice;

/// Bytes behind the room that nobody may write.
const GUARD: usize = 64;

fuzz_target!(|input: &[u8]| {
    let limits = Limits { sas: 8, groups: 4, ..Limits::default() };
    let client = Client::new(limits, Arc::new(Place::new(1, true)));
    client.set_features(feature::ALL | feature::VERSION_1);
    let mut answer = Vec::new();
    let attach = Command::Attach { mode: AttachMode::Shared, name: [0; 64] }.encode(0).unwrap();
    control::handle(&client, &attach, 16, &mut answer);
    let (mut scratch, mut last, mut rest) = (data::Scratch::default(), 0u64, input);
    while let [queue, room, length, others @ ..] = rest {
        let room = usize::from(*room) * 8;
        let (bytes, others) = others.split_at((usize::from(*length) * 4).min(others.len()));
        rest = others;
        let mut message = bytes.to_vec();
        // Numbers cannot be guessed: a mark stands for the last one that was given.
        for word in message.chunks_exact_mut(8).filter(|word| word.starts_with(b"SSSS")) {
            word.copy_from_slice(&last.to_le_bytes());
        }
        if queue % 3 == 0 {
            control::handle(&client, &message, room, &mut answer);
            assert!(answer.len() <= room && (room < 16) == answer.is_empty());
            if answer.len() == 24 && answer[0] == 0 {
                last = u64::from_le_bytes(answer[16..].try_into().unwrap());
            }
        } else {
            let direction = if queue % 3 == 1 { Direction::Inbound } else { Direction::Outbound };
            // In one piece, in pieces that end anywhere, or with the room where the message is.
            let cut = usize::from(queue / 3) * 16;
            let overlap = if queue & 0x80 == 0 { 0 } else { message.len().min(room) };
            let length = message.len();
            message.resize(length - overlap + room, 0xee);
            message.extend([0xee; GUARD]);
            let before = message.clone();
            let all = VolatileSlice::from(&mut message[..]);
            let part = |start: usize, length: usize| {
                let cut = cut.min(length);
                let pieces = [(start, cut), (start + cut, length - cut)];
                Part::of(pieces.into_iter().filter_map(|(start, length)| all.subslice(start, length).ok()))
            };
            let room_start = length - overlap;
            let mut request = Request::default();
            (request.readable, request.writable) = (part(0, length), part(room_start, room));
            let used = data::handle(&client, &mut scratch, direction, &request, &mut false);
            drop(request);
            assert!(used <= room && (room < 8) == (used == 0));
            assert!(message[..room_start] == before[..room_start], "a write before the room");
            assert!(message[room_start + room..] == before[room_start + room..], "a write behind the room");
        }
    }
    let totals = client.snapshot().totals;
    assert!(totals.sas.get() <= 8 && totals.groups.get() <= 4);
});
