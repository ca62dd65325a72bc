//! Calls that nobody waits for, and a device that is slow, silent, lost, or does what it ought not to.

mod mock;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use gipsec_engine::{Buffers, Direction, PacketError, Sa};
use gipsec_virtio::{driver::Options, transport::Transport};
use mock::{
    Mock, Reply, Script,
    bench::{Bench, bench, packets, patient},
    calls::{ANY, Call},
    held::Held,
    traffic::{entry, options, packet, process},
    wrong::{hostile, rules_broken},
};

#[test]
fn silence_loses_the_device() {
    let mut bench = bench(Held::new(Mock::new(None)), options());
    let sa = bench.outbound.clone();
    // Longer ago than a deadline when the calls come.
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    (0..40).for_each(|_| bench.caller.defer(&sa, ANY, &packets(3), 1700));
    bench.is_told_once();
    assert!((200..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let calls = bench.caller.look();
    assert_eq!(calls.len(), 40);
    assert!(calls.iter().all(|call| call.verdicts == [Err(PacketError::Gone); 3]));
    bench.caller.defer(&sa, ANY, &packets(2), 1700);
    assert_eq!(bench.caller.finished()[0].verdicts, [Err(PacketError::Gone); 2]);
    assert!(bench.caller.look().is_empty());
}

#[test]
fn slow_is_not_silent() {
    for looks in [true, false] {
        let mut bench =
            bench(Held::new(Mock::new(None)), Options { deadline: Duration::from_millis(400), ..options() });
        let sa = bench.outbound.clone();
        (0..16).for_each(|_| bench.caller.defer(&sa, ANY, &[packet(60)], 300));
        let mut calls = Vec::new();
        for _ in 0..16 {
            std::thread::sleep(Duration::from_millis(50));
            assert!(bench.mock.answer(0));
            if looks {
                calls.extend(bench.caller.look());
            }
        }
        calls.extend(bench.caller.look());
        assert_eq!(calls.iter().filter(|call| call.is_all_ok()).count(), 16, "{looks}");
        assert_eq!(bench.lost.load(SeqCst), 0);
    }
}

#[test]
fn nobody_looks_at_a_device_that_is_done() {
    let mut bench = bench(Held::new(Mock::new(None)), options());
    let sa = bench.outbound.clone();
    for count in [1, 16] {
        (0..count).for_each(|_| bench.caller.defer(&sa, ANY, &[packet(60)], 300));
        while bench.mock.answer(0) {}
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(bench.caller.look().iter().filter(|call| call.is_all_ok()).count(), count);
    }
    assert_eq!(bench.lost.load(SeqCst), 0);
}

#[test]
fn an_interrupt_that_never_came_is_not_waited_for() {
    let mut bench = bench(Held::new(Mock::new(None)), options());
    let sa = bench.outbound.clone();
    bench.caller.defer(&sa, ANY, &[packet(60)], 300);
    bench.mock.answer(0);
    bench.mock.take_interrupt(3);
    assert!(bench.caller.sleep(Duration::from_secs(1)));
    assert!(bench.caller.finished()[0].is_all_ok());
}

#[test]
fn who_waits_behind_calls_that_never_end_ends_them() {
    let mut bench = bench(Held::new(Mock::new(None)), Options { deadline: Duration::from_millis(50), ..options() });
    let sa = bench.outbound.clone();
    (0..40).for_each(|_| bench.caller.defer(&sa, ANY, &packets(2), 1700));
    assert_eq!(process(&sa, &packets(3), 1700).1, [Err(PacketError::Gone); 3]);
    let calls = bench.caller.finished();
    assert_eq!(calls.len(), 40);
    assert!(calls.iter().all(|call| call.verdicts == [Err(PacketError::Gone); 2]));
    bench.is_told_once();
}

#[test]
fn a_device_that_stops_halfway_is_lost() {
    let mut bench = bench(Held::new(Mock::new(None)), options());
    let sa = bench.outbound.clone();
    (0..16).for_each(|_| bench.caller.defer(&sa, ANY, &[packet(60)], 300));
    (0..3).for_each(|_| assert!(bench.mock.answer(0)));
    bench.is_told_once();
    let calls = bench.caller.look_until(16, || {});
    let done = calls.iter().filter(|call| call.is_all_ok()).count();
    assert_eq!(done, 3);
    assert!(calls.iter().filter(|call| !call.is_all_ok()).all(|call| call.verdicts == [Err(PacketError::Gone)]));
}

#[test]
fn a_device_that_goes_away_takes_what_it_has_along() {
    let mut bench = bench(Held::new(Mock::new(None)), patient());
    let sa = bench.outbound.clone();
    (0..50).for_each(|_| bench.caller.defer(&sa, ANY, &packets(2), 1700));
    assert!(bench.mock.answer(0));
    assert_eq!(bench.caller.look().len(), 1);
    rustix::io::write(&*bench.mock.loss, &1u64.to_ne_bytes()).unwrap();
    bench.is_told_once();
    while bench.mock.answer(0) {}
    let calls = bench.caller.look();
    assert_eq!(calls.len(), 49);
    assert!(calls.iter().all(|call| call.verdicts == [Err(PacketError::Gone); 2]));
}

/// The calls that a device that does this finishes, when it answers at once and when it does later.
fn finished(script: impl Fn() -> Script, options: Options) -> impl Iterator<Item = (Bench, Vec<Call>)> {
    let at_once = Held(Arc::new(Mock::new(Some(script()))));
    let later = Held::new(Mock::new(Some(script())));
    [at_once, later].into_iter().map(move |held| {
        let mut bench = bench(held, options);
        let sa = bench.outbound.clone();
        (0..30).for_each(|at| bench.caller.defer(&sa, ANY, &packets(1 + at * 3), 1700));
        let calls = bench.caller.look_until(30, || while bench.mock.answer(0) {});
        assert!(bench.caller.look().is_empty());
        (bench, calls)
    })
}

#[test]
fn a_device_that_breaks_the_rules_finishes_each_call_once() {
    for which in 0..rules_broken().len() {
        for (bench, mut calls) in finished(|| rules_broken().swap_remove(which), options()) {
            calls.sort_by_key(|call| call.number);
            let engine = Sa::new(vec![entry(Direction::Inbound)]).unwrap();
            for (at, call) in calls.iter().enumerate() {
                assert_eq!((call.number, call.verdicts.len()), (at, 1 + at * 3));
                let results = call.results();
                let each = call.verdicts.iter().zip(&results).zip(packets(1 + at * 3));
                for ((_, sealed), inner) in each.filter(|((verdict, _), _)| verdict.is_ok()) {
                    let (mut output, mut verdict) = (vec![0; 1700], [Err(PacketError::Crypto)]);
                    engine.process(&mut [Buffers::Apart { input: sealed, output: &mut output }], &mut verdict);
                    assert_eq!(output[..verdict[0].unwrap()], inner, "done");
                }
            }
            assert!(calls.iter().flat_map(|call| &call.verdicts).any(|verdict| *verdict == Err(PacketError::Gone)));
            bench.is_told_once();
        }
    }
}

#[test]
fn what_a_device_does_not_answer_has_failed() {
    let refuses = || {
        hostile(|mut reply| {
            reply.bytes[0] = 8;
            reply
        })
    };
    let writes_nothing = || hostile(|reply| Reply { bytes: Vec::new(), len: Some(u32::MAX), ..reply });
    let crypto = |calls: &[Call]| {
        calls.iter().flat_map(|call| &call.verdicts).all(|verdict| *verdict == Err(PacketError::Crypto))
    };
    assert!(finished(refuses, patient()).all(|(bench, calls)| crypto(&calls) && !bench.caller.device.is_lost()));
    assert!(finished(writes_nothing, patient()).all(|(bench, calls)| crypto(&calls) && !bench.caller.device.is_lost()));
}
