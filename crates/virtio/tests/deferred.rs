//! Calls that nobody waits for, against a device that answers when it is told to, and one with a thread of its own.

mod mock;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use gipsec_engine::{Buffers, Direction, PacketError};
use gipsec_virtio::{
    driver::{Options, Rank},
    message::feature,
};
use mock::{
    Mock,
    bench::{Bench, bench, packets, patient},
    calls::{ANY, ByClass, Call},
    held::Held,
    traffic::{entry, packet, process},
};

fn plain() -> Mock {
    Mock::with(feature::ALL | feature::VERSION_1, None)
}

/// Devices that answer by themselves; whether in order.
fn answering(mock: fn() -> Mock) -> [(Held, bool); 3] {
    let at_once = Held(Arc::new(mock()));
    [(at_once, true), (Held::with_thread(mock(), true), true), (Held::with_thread(mock(), false), false)]
}

/// The sequence number of an ESP packet in a tunnel.
fn sequence(sealed: &[u8]) -> u32 {
    u32::from_be_bytes(sealed[24..28].try_into().unwrap())
}

fn goes_there_and_back(mock: fn() -> Mock) {
    for (held, in_order) in answering(mock) {
        let mut bench = bench(held, patient());
        let (outbound, inbound) = (bench.outbound.clone(), bench.inbound.clone());
        let many: Vec<_> = (0..100).map(|at| packets(1 + at % 3)).collect();
        for calls in [vec![packets(1)], [1, 2, 31, 33, 64, 200].map(packets).to_vec(), many, vec![packets(200); 6]] {
            let sealed = bench.pass(&outbound, &calls, in_order);
            assert!(sealed.iter().flatten().is_sorted_by_key(|packet| sequence(packet)));
            assert_eq!(bench.pass(&inbound, &sealed, in_order), calls);
            assert!(bench.is_quiet());
        }
        assert_eq!(bench.lost.load(SeqCst), 0);
    }
}

#[test]
fn calls_go_there_and_back() {
    goes_there_and_back(|| Mock::new(None));
}

#[test]
fn calls_go_there_and_back_without_tables_and_event_indices() {
    goes_there_and_back(plain);
}

#[test]
fn calls_go_there_and_back_in_pages() {
    goes_there_and_back(Mock::paged);
}

#[test]
fn packets_in_shared_memory_are_not_copied() {
    let mut bench = bench(Held::with_thread(Mock::new(None), false), patient());
    let shared = Box::leak(Box::new(bench.caller.device.allocate(100 * 2048).unwrap()));
    // SAFETY: the memory is this test's alone, and never given back.
    #[expect(unsafe_code)]
    let bytes = unsafe { std::slice::from_raw_parts_mut(shared.start(), shared.len()) };
    let inner = packet(900);
    let mut slots: Vec<_> = bytes.chunks_mut(2048).collect();
    slots.iter_mut().for_each(|slot| slot[..900].copy_from_slice(&inner));
    for sa in [bench.outbound.clone(), bench.inbound.clone()] {
        let in_place = |buffer: &'static mut [u8]| {
            let length = usize::from(u16::from_be_bytes([buffer[2], buffer[3]]));
            Buffers::InPlace { buffer, length, capacity: 2048 }
        };
        let mut left = slots.into_iter().map(in_place);
        for count in [1, 60, 7, 32] {
            let call = bench.caller.call(&sa, ANY, left.by_ref().take(count).collect());
            bench.caller.device.defer(sa.direction(), 0, Box::new(call));
        }
        let mut calls = bench.caller.wait(4);
        calls.sort_by_key(|call| call.number);
        assert!(calls.iter().all(Call::is_all_ok));
        let buffer = |packet| match packet {
            Buffers::InPlace { buffer, .. } => buffer,
            Buffers::Apart { .. } => unreachable!(),
        };
        slots = calls.into_iter().flat_map(|call| call.packets).map(buffer).collect();
    }
    assert!(slots.iter().all(|slot| slot[..900] == inner));
}

#[test]
fn what_fits_nowhere_keeps_nothing_back() {
    let mut too_long = packet(100);
    // Longer than all that is in flight, and than what the device takes at all.
    too_long.resize(1_048_000, 0);
    let mut far_too_long = packet(100);
    far_too_long.resize(2 << 20, 0);
    let call = [too_long.clone(), packet(100), too_long.clone(), far_too_long, packet(1650), packet(300), too_long];
    let no_room = Err(PacketError::NoRoom);
    for held in [Held(Arc::new(Mock::new(None))), Held::with_thread(Mock::new(None), true)] {
        let mut bench = bench(held, patient());
        let sa = bench.outbound.clone();
        for _ in 0..5 {
            bench.caller.defer(&sa, ANY, &packets(3), 1700);
            bench.caller.defer(&sa, ANY, &call, 1700);
            bench.caller.defer(&sa, ANY, &[], 1700);
        }
        for call in bench.caller.wait(15) {
            match call.number % 3 {
                1 => {
                    let [a, Ok(b), c, d, e, Ok(f), g] = call.verdicts[..] else { panic!("{:?}", call.verdicts) };
                    assert_eq!([a, c, d, e, g], [no_room; 5]);
                    assert!(b < f);
                }
                _ => assert!(call.is_all_ok()),
            }
            call.results();
        }
        assert!(bench.is_quiet());
    }
}

#[test]
fn who_sleeps_is_woken() {
    for mock in [|| Mock::new(None), plain] {
        for in_order in [true, false] {
            let mut bench = bench(Held::with_thread(mock(), in_order), patient());
            let sa = bench.outbound.clone();
            for round in 0..150 {
                bench.pass(&sa, &vec![vec![packet(60)]; 1 + round % 5 * 9], in_order);
            }
            assert!(bench.is_quiet());
        }
    }
}

#[test]
fn who_sleeps_is_woken_while_there_is_still_work() {
    let mut bench = bench(Held::new(Mock::new(None)), patient());
    let sa = bench.outbound.clone();
    for in_flight in [1, 2, 3, 16] {
        (0..in_flight).for_each(|_| bench.caller.defer(&sa, ANY, &[packet(60)], 300));
        for _ in 0..usize::div_ceil(in_flight, 2) {
            assert!(!bench.caller.sleep(Duration::ZERO), "{in_flight}");
            bench.mock.answer(0);
        }
        assert!(bench.caller.sleep(Duration::ZERO), "{in_flight}");
        let back = bench.caller.look().len();
        while bench.mock.answer(0) {}
        assert_eq!(back + bench.caller.wait(in_flight - back).len(), in_flight);
    }
}

#[test]
fn who_waits_and_who_does_not_share_a_device() {
    for mock in [|| Mock::new(None), plain, Mock::paged] {
        let mut bench = bench(Held::with_thread(mock(), false), patient());
        let (device, sa) = (bench.caller.device.clone(), bench.outbound.clone());
        let synchronous = |rounds: usize| {
            let ours = [Direction::Outbound, Direction::Inbound].map(|way| device.add_sa(vec![entry(way)]).unwrap());
            for round in 0..rounds {
                let inner = packets(1 + round % 50);
                let (sealed, _) = process(&ours[0], &inner, 1700);
                assert_eq!(process(&ours[1], &sealed, 1700).0, inner);
            }
        };
        std::thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| synchronous(30))));
            for round in 0..40 {
                let calls: Vec<_> = (0..round % 30).map(|at| packets(1 + at * 3)).collect();
                calls.iter().for_each(|packets| bench.caller.defer(&sa, ANY, packets, 1700));
                if round % 3 == 0 {
                    assert!(process(&sa, &packets(20), 1700).1.iter().all(Result::is_ok));
                }
                assert!(bench.caller.wait(calls.len()).iter().all(Call::is_all_ok));
            }
        });
        assert!(bench.is_quiet());
        assert_eq!(bench.lost.load(SeqCst), 0);
    }
}

#[test]
fn an_interrupt_of_a_queue_without_calls_is_taken() {
    let mut bench = bench(Held::new(Mock::new(None)), patient());
    let sa = bench.outbound.clone();
    bench.caller.defer(&sa, ANY, &[packet(60)], 300);
    bench.mock.answer(0);
    bench.caller.wait(1);
    for queue in [2, 3] {
        bench.mock.raise(queue);
        assert!(bench.caller.sleep(Duration::ZERO));
        assert!(bench.is_quiet(), "{queue}");
    }
}

#[test]
fn the_line_says_who_is_next() {
    let options = Options { line: || Box::<ByClass>::default(), ..patient() };
    let mut bench = bench(Held::new(Mock::new(None)), options);
    let sa = bench.outbound.clone();
    for at in 0..60u8 {
        bench.caller.defer(&sa, Rank { class: at % 4, place: 0 }, &[packet(60)], 300);
    }
    let first = bench.mock.held();
    assert!((1..60).contains(&first));
    let mut calls = Vec::new();
    while calls.len() < 60 {
        assert!(bench.mock.answer(0));
        calls.extend(bench.caller.look());
        assert_eq!(bench.mock.held(), first.min(60 - calls.len()));
    }
    let (at_once, in_line) = calls.split_at(first);
    assert!(at_once.iter().map(|call| call.number).eq(0..first));
    assert!(in_line.is_sorted_by_key(|call| (u8::MAX - call.rank.class, call.number)));
}

#[test]
fn calls_of_one_place_keep_their_order() {
    let options = Options { pairs: 2, ..patient() };
    let mut bench = bench(Held::with_thread(Mock::wide(), true), options);
    let sas = [0, 1].map(|_| Arc::new(bench.caller.device.add_sa(vec![entry(Direction::Outbound)]).unwrap()));
    for _ in 0..20 {
        for at in 0..40 {
            let place = at % 3 % 2;
            bench.caller.defer(&sas[place], Rank { class: 0, place: place as u64 }, &packets(1 + at), 1700);
        }
        let calls = bench.caller.wait(40);
        for place in [0, 1] {
            let ours: Vec<_> = calls.iter().filter(|call| call.rank.place == place).collect();
            assert!(ours.is_sorted_by_key(|call| call.number));
            let sealed: Vec<_> = ours.iter().flat_map(|call| call.results()).collect();
            assert!(sealed.is_sorted_by_key(|packet| sequence(packet)));
        }
        assert!(calls.iter().all(Call::is_all_ok) && bench.is_quiet());
    }
    for queue in 2..6 {
        bench.mock.raise(queue);
        assert!(bench.caller.sleep(Duration::ZERO) && bench.is_quiet(), "{queue}");
    }
}

#[test]
fn the_thread_ends_with_the_device() {
    let Bench { mut caller, outbound, inbound, lost, .. } = bench(Held::with_thread(Mock::new(None), false), patient());
    (0..30).for_each(|_| caller.defer(&outbound, ANY, &packets(2), 1700));
    let calls = caller.wait(30);
    let start = Instant::now();
    drop((caller, outbound, inbound));
    assert_eq!(Arc::strong_count(&lost), 2, "calls keep their device");
    drop(calls);
    assert_eq!(Arc::strong_count(&lost), 1, "the thread has it no more");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(lost.load(SeqCst), 0);
}
