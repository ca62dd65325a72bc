//! What the device adds to a packet, beside the engine alone: `cargo test --release -p gipsec-device --test overhead --
//! --ignored --nocapture`. A request goes through a ring in this thread: no socket, nobody to wake.

mod support;

use std::{sync::Arc, time::Instant};

use gipsec_device::{client::Client, control, limits::Limits, place::Place, ring::Ring, worker::Worker};
use gipsec_engine::{Buffers, Direction, Verdict};
use gipsec_virtio::message::{
    control::{AttachMode, Command},
    data::answer_prefix,
    feature,
};
use support::{INDIRECT, NEXT, WRITE, data_message, sas};
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const TABLE: u64 = 0x1000;
const AVAIL: u64 = 0x3000;
const USED: u64 = 0x4000;
const INNER: u64 = 0x6000;
const MESSAGE: u64 = 0x1_0000;
const ANSWER: u64 = 0x10_0000;

/// A client with an outbound SA, and its number.
fn client() -> (Client, u64) {
    let client = Client::new(Limits::default(), Arc::new(Place::new(0, true)));
    client.set_features(feature::ALL | feature::VERSION_1);
    let mut answer = Vec::new();
    let attach = Command::Attach { mode: AttachMode::Exclusive, name: [0; 64] }.encode(0).unwrap();
    control::handle(&client, &attach, 100, &mut answer);
    let entries = vec![sas::entry(Direction::Outbound, 1)];
    let add = Command::SaAdd { direction: Direction::Outbound, entries }.encode(0).unwrap();
    control::handle(&client, &add, 100, &mut answer);
    (client, u64::from_le_bytes(answer[16..].try_into().unwrap()))
}

fn best(rounds: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..40 {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        best = best.min(start.elapsed().as_secs_f64() / rounds as f64);
    }
    best * 1e9
}

#[test]
#[ignore = "a measurement"]
fn nanoseconds_a_packet() {
    for length in [64, 1420] {
        for count in [1usize, 8, 32] {
            let (client, sa) = client();
            let packet = sas::packet(length, 7);
            let room = u32::try_from(length + 80).unwrap();
            let message = data_message(&vec![(sa, &packet[..]); count], room);
            let answer_length = u32::try_from(answer_prefix(count) + count * (length + 80)).unwrap();
            let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 4 << 20)]).unwrap();
            memory.write_slice(&message, GuestAddress(MESSAGE)).unwrap();
            let descriptor = |at: u64, address: u64, length: u32, flags: u16, next: u16| {
                let parts = (address.to_le_bytes(), length.to_le_bytes(), flags.to_le_bytes(), next.to_le_bytes());
                let bytes = [&parts.0[..], &parts.1, &parts.2, &parts.3].concat();
                memory.write_slice(&bytes, GuestAddress(at)).unwrap();
            };
            descriptor(TABLE, INNER, 32, INDIRECT, 0);
            descriptor(INNER, MESSAGE, u32::try_from(message.len()).unwrap(), NEXT, 1);
            descriptor(INNER + 16, ANSWER, answer_length, WRITE, 0);
            let ring = Ring::new(256).unwrap();
            {
                let mut state = ring.lock();
                state.queue.try_set_desc_table_address(GuestAddress(TABLE)).unwrap();
                state.queue.try_set_avail_ring_address(GuestAddress(AVAIL)).unwrap();
                state.queue.try_set_used_ring_address(GuestAddress(USED)).unwrap();
                state.queue.set_event_idx(true);
                state.queue.set_ready(true);
                state.enabled = true;
            }
            let mut worker = Worker::data();
            let (mut index, mut told) = (0u16, false);
            let device = best(2000 / count, || {
                index = index.wrapping_add(1);
                memory.write_obj(index.to_le(), GuestAddress(AVAIL + 2)).unwrap();
                assert!(worker.serve(&client, &memory, 1, &ring, &mut told).unwrap());
            });
            let status: u32 = memory.read_obj(GuestAddress(ANSWER + 8)).unwrap();
            assert_eq!(status, 0, "packets are processed");
            let here = sas::local(Direction::Outbound, 1);
            let inputs = vec![packet.clone(); count];
            let mut outputs = vec![vec![0; length + 80]; count];
            let mut verdicts: Vec<Verdict> = vec![Ok(0); count];
            let engine = best(2000 / count, || {
                let mut buffers: Vec<Buffers<'_>> =
                    inputs.iter().zip(&mut outputs).map(|(input, output)| Buffers::Apart { input, output }).collect();
                here.process(&mut buffers, &mut verdicts);
            });
            let packets = count as f64;
            println!(
                "{length} bytes, {count} in a request: device {:.1} ns, engine {:.1} ns, difference {:.1} ns a packet",
                device / packets,
                engine / packets,
                (device - engine) / packets
            );
        }
    }
}
