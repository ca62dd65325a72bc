//! The driver against a device that does what it ought to, and against one that does not.

mod mock;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use gipsec_engine::{Buffers, Direction, Events, PacketError};
use gipsec_virtio::{
    driver::{DeviceSa, DriverError, Process},
    message::feature,
};
use mock::{
    Mock, Reply, Script,
    traffic::{entry, open, packet, process},
    wrong::{hostile, rules_broken},
};

fn goes_there_and_back(mock: Mock) {
    let (device, lost) = open(mock).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let inbound = device.add_sa(vec![entry(Direction::Inbound)]).unwrap();
    for count in [1, 2, 31, 64, 200] {
        let packets: Vec<_> = (0..count).map(|at| packet(40 + at * 53 % 1400)).collect();
        let (sealed, verdicts) = process(&outbound, &packets, 1600);
        assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
        let (opened, verdicts) = process(&inbound, &sealed, 1600);
        assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
        assert_eq!(opened, packets);
        let (_, verdicts) = process(&inbound, &sealed[..1], 1600);
        assert!(matches!(verdicts[0], Err(PacketError::Replayed | PacketError::Late)));
    }
    // The longest packets, which fill more than the slab; one that does not fit; one that is none.
    let long = vec![packet(65_000); 20];
    let (sealed, verdicts) = process(&outbound, &long, 65_575);
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    assert_eq!(process(&inbound, &sealed, 65_575).0, long);
    assert_eq!(process(&outbound, &[packet(100)], 110).1, [Err(PacketError::NoRoom)]);
    assert!(process(&outbound, &[vec![0; 40]], 200).1[0].is_err());
    assert_eq!(inbound.read().unwrap()[0].statistics.packets_processed, 318);
    assert!(!device.is_lost());
    drop((outbound, inbound, device));
    assert_eq!(lost.load(SeqCst), 0);
}

#[test]
fn packets_go_there_and_back() {
    goes_there_and_back(Mock::new(None));
}

#[test]
fn packets_go_there_and_back_without_tables_and_event_indices() {
    goes_there_and_back(Mock::with(feature::ALL | feature::VERSION_1, None));
}

#[test]
fn packets_in_shared_memory_are_not_copied() {
    let (device, _) = open(Mock::new(None)).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let inbound = device.add_sa(vec![entry(Direction::Inbound)]).unwrap();
    let shared = device.allocate(64 * 2048).unwrap();
    // SAFETY: the memory is this test's alone, and lives to its end.
    #[expect(unsafe_code)]
    let bytes = unsafe { std::slice::from_raw_parts_mut(shared.start(), shared.len()) };
    let inner = packet(900);
    bytes.chunks_mut(2048).for_each(|slot| slot[..900].copy_from_slice(&inner));
    for sa in [&outbound, &inbound] {
        let lengths: Vec<usize> =
            bytes.chunks(2048).map(|slot| usize::from(u16::from_be_bytes([slot[2], slot[3]]))).collect();
        let in_place = |(buffer, length)| Buffers::InPlace { buffer, length, capacity: 2048 };
        let mut buffers: Vec<_> = bytes.chunks_mut(2048).zip(lengths).map(in_place).collect();
        let mut verdicts = vec![Err(PacketError::Crypto); 64];
        DeviceSa::process_together(&mut [Process { sa, packets: &mut buffers, verdicts: &mut verdicts }]);
        assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    }
    assert!(bytes.chunks(2048).all(|slot| slot[..900] == inner));
}

#[test]
fn shared_memory_is_given_back_and_wiped() {
    let (device, _) = open(Mock::new(None)).unwrap();
    let mut all: Vec<_> = std::iter::from_fn(|| device.allocate(100_000)).collect();
    assert!(all.len() > 10);
    let start = all[3].start();
    // SAFETY: the memory is this test's alone.
    #[expect(unsafe_code)]
    unsafe {
        start.write_bytes(7, 100_000);
    }
    drop(all.remove(3));
    let again = device.allocate(100_000).unwrap();
    assert_eq!(again.start(), start);
    // SAFETY: the same.
    #[expect(unsafe_code)]
    let bytes = unsafe { std::slice::from_raw_parts(start, 100_000) };
    assert!(bytes.iter().all(|byte| *byte == 0));
    drop((all, again));
    assert_eq!(device.allocate(900_000).map(|buffer| buffer.len()), Some(900_000));
}

#[test]
fn what_an_sa_has_to_say_is_heard() {
    let (device, _) = open(Mock::new(None)).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = heard.clone();
    process(&outbound, &vec![packet(60); 16], 200);
    let listener: Arc<dyn Fn(&Events) + Send + Sync> = Arc::new(move |events| {
        assert!(events.sequence_periodic.is_some());
        counter.fetch_add(1, SeqCst);
    });
    outbound.listen(&listener);
    // More than there are buffers at a time.
    for _ in 0..100 {
        process(&outbound, &vec![packet(60); 8], 200);
    }
    let start = Instant::now();
    while heard.load(SeqCst) < 102 {
        assert!(start.elapsed() < Duration::from_secs(5), "{heard:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the device was given up, everything answered, and the application told once.
fn is_given_up(script: Script) {
    let (device, lost) = open(Mock::new(Some(script))).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let start = Instant::now();
    let (_, verdicts) = process(&outbound, &vec![packet(1000); 64], 1600);
    assert!(verdicts.contains(&Err(PacketError::Gone)), "{verdicts:?}");
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(device.is_lost());
    let (_, verdicts) = process(&outbound, &[packet(1000)], 1600);
    assert_eq!(verdicts, [Err(PacketError::Gone)]);
    assert!(matches!(device.add_sa(vec![entry(Direction::Inbound)]), Err(DriverError::Gone)));
    while lost.load(SeqCst) == 0 {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(1));
    }
    drop((outbound, device));
    assert_eq!(lost.load(SeqCst), 1);
}

#[test]
fn a_device_that_breaks_the_rules_is_given_up() {
    rules_broken().into_iter().for_each(is_given_up);
}

#[test]
fn what_a_device_does_not_answer_has_failed() {
    for status in [1u32, 8, 77, u32::MAX] {
        let script = hostile(move |mut reply| {
            reply.bytes[..4].copy_from_slice(&status.to_le_bytes());
            reply
        });
        let (device, _) = open(Mock::new(Some(script))).unwrap();
        let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
        assert_eq!(process(&outbound, &[packet(100)], 300).1, [Err(PacketError::Crypto)]);
    }
    // Used, and nothing written.
    let script = hostile(|reply| Reply { bytes: Vec::new(), len: Some(u32::MAX), ..reply });
    let (device, _) = open(Mock::new(Some(script))).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    assert_eq!(process(&outbound, &vec![packet(100); 2], 300).1, [Err(PacketError::Crypto); 2]);
}

#[test]
fn a_device_that_goes_away_is_noticed_at_once() {
    let mock = Mock::new(None);
    let loss = mock.loss.clone();
    let (device, lost) = open(mock).unwrap();
    let start = Instant::now();
    rustix::io::write(&*loss, &1u64.to_ne_bytes()).unwrap();
    while lost.load(SeqCst) == 0 {
        assert!(start.elapsed() < Duration::from_millis(150), "not noticed");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(device.is_lost());
    drop(device);
    assert_eq!(lost.load(SeqCst), 1);
}

#[test]
fn a_device_that_refuses_to_be_attached_is_not_opened() {
    let refuse: Script = Box::new(|_, _, mut reply| {
        reply.bytes[0] = 5;
        reply
    });
    let error = open(Mock::new(Some(refuse))).err().unwrap();
    assert!(matches!(error, DriverError::Refused(gipsec_virtio::message::RequestStatus::Busy)), "{error}");
    let silent: Script = Box::new(|_, _, reply| Reply { step: 0, ..reply });
    assert!(matches!(open(Mock::new(Some(silent))), Err(DriverError::Gone)));
    assert!(matches!(open(Mock::with(feature::ALL, None)), Err(DriverError::Transport(_))));
}

#[test]
fn an_sa_that_cannot_be_is_refused_with_the_engines_words() {
    let (device, _) = open(Mock::new(None)).unwrap();
    let mut wrong = entry(Direction::Outbound);
    wrong.keys.cipher.pop();
    let error = device.add_sa(vec![wrong]).err().unwrap();
    assert!(matches!(error, DriverError::Sa(_)), "{error}");
    assert!(device.add_sa(vec![entry(Direction::Outbound), entry(Direction::Inbound)]).is_err());
}

#[test]
fn signals_are_the_applications() {
    let (_device, _) = open(Mock::new(None)).unwrap();
    let (hangup, user, terminate) = (1u64 << 0, 1 << 9, 1 << 14);
    let (start, mut seen) = (Instant::now(), 0);
    // A thread gives itself its name.
    while seen == 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "no thread of that name");
        for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            if read("comm").trim() != "gipsec-device" {
                continue;
            }
            let status = read("status");
            // It may have ended since: other tests have such threads, too.
            let Some(blocked) = status.lines().find_map(|line| line.strip_prefix("SigBlk:")) else { continue };
            let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
            assert_eq!(blocked & (hangup | user | terminate), hangup | user | terminate);
            seen += 1;
        }
    }
}
