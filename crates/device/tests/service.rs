//! What clients get: attaching, SAs, packets, events, many at once.

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use gipsec_device::settings::{AcceleratorTable, Mode};
use gipsec_engine::{Direction, Intervals, Notify};
use gipsec_virtio::message::{
    RequestStatus,
    control::{AttachMode, Command, NAME_SIZE, ReadFrom},
    event::Event,
    reading, status,
};
use support::{BASE, Driver, Local, MEMORY, NEXT, Setup, WRITE, eventually, queue_of, read_config, sas};
use vhost::{
    VhostBackend,
    vhost_user::{Frontend, VhostUserFrontend, message::VhostUserProtocolFeatures},
};

fn shared(clients: usize) -> AcceleratorTable {
    AcceleratorTable { mode: Mode::Shared, max_clients: Some(clients), ..AcceleratorTable::default() }
}

#[test]
fn packets_go_through_the_device_and_come_back() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    driver.round_trip(0x1000, 32);
    let totals = driver.totals();
    assert_eq!((totals.packets_in.get(), totals.packets_out.get()), (32, 32), "also those of SAs that are gone");
    assert_eq!((totals.sas.get(), totals.packets_refused.get(), totals.requests_refused.get()), (0, 0, 0));
    assert_eq!(totals.bytes_in, totals.bytes_out);
}

#[test]
fn sixty_four_clients_at_once_see_their_own() {
    let device = Local::start(AcceleratorTable { pairs: Some(1), ..shared(64) });
    let path = device.path();
    thread::scope(|scope| {
        let clients: Vec<_> = (1..=64u32)
            .map(|number| {
                let path = &path;
                scope.spawn(move || {
                    let mut driver = Driver::attached(path, AttachMode::Shared);
                    driver.round_trip(number, 8);
                    driver.round_trip(number, 8);
                    let totals = driver.totals();
                    assert_eq!((totals.packets_in.get(), totals.packets_out.get()), (16, 16));
                    driver
                })
            })
            .collect();
        let clients: Vec<Driver> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        let mut late = Driver::connect(&path, &Setup::default());
        assert_eq!(late.attach(AttachMode::Shared), Err(RequestStatus::Full));
        drop(clients);
        eventually("a place", || late.attach(AttachMode::Shared) == Ok(()));
    });
}

#[test]
fn modes_that_conflict_are_busy() {
    let device = Local::start(AcceleratorTable { exclusive: true, ..shared(2) });
    let mut first = Driver::connect(&device.path(), &Setup::default());
    let mut second = Driver::connect(&device.path(), &Setup::default());
    assert_eq!(first.config().open_modes, 3);
    assert_eq!(first.command(&Command::Statistics, 0), Err(RequestStatus::NotAttached));
    first.attach(AttachMode::Exclusive).unwrap();
    assert_eq!(first.attach(AttachMode::Exclusive), Err(RequestStatus::Invalid));
    assert_eq!(second.attach(AttachMode::Shared), Err(RequestStatus::Busy));
    assert_eq!(second.config().open_modes, 0);
    drop(first);
    eventually("the place", || second.attach(AttachMode::Shared) == Ok(()));
    let mut third = Driver::connect(&device.path(), &Setup::default());
    assert_eq!(third.attach(AttachMode::Exclusive), Err(RequestStatus::Busy));
    assert_eq!(third.config().open_modes, 2);
    third.attach(AttachMode::Shared).unwrap();
}

#[test]
fn nobody_has_what_is_shared_alone() {
    let device = Local::start(shared(2));
    let mut first = Driver::connect(&device.path(), &Setup::default());
    assert_eq!(first.config().open_modes, 2);
    assert_eq!(first.attach(AttachMode::Exclusive), Err(RequestStatus::Busy));
    first.attach(AttachMode::Shared).unwrap();
    Driver::attached(&device.path(), AttachMode::Shared);
}

#[test]
fn who_detaches_makes_place_and_has_nothing_left() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    let sa = driver.add(Direction::Outbound, 1, 0);
    assert_eq!(driver.command(&Command::Detach, 7), Err(RequestStatus::Invalid), "of no group");
    driver.command(&Command::Detach, 0).unwrap();
    for command in [Command::Statistics, Command::SaDelete(sa), Command::Detach] {
        assert_eq!(driver.command(&command, 0), Err(RequestStatus::NotAttached));
    }
    let packet = sas::packet(64, 0);
    let sent = driver.packets(queue_of(Direction::Outbound), &[(sa, &packet)], 200);
    assert_eq!(sent, Err(RequestStatus::NotAttached));
    let mut other = Driver::attached(&device.path(), AttachMode::Exclusive);
    other.round_trip(1, 2);
    other.command(&Command::Detach, 0).unwrap();
    driver.attach(AttachMode::Exclusive).unwrap();
    assert_eq!(driver.totals().sas.get(), 0);
    driver.round_trip(2, 2);
}

#[test]
fn a_probe_reads_the_configuration_and_goes() {
    let device = Local::start(AcceleratorTable { max_sas: Some(77), ..AcceleratorTable::default() });
    let instances: Vec<u64> = (0..20)
        .map(|_| {
            let mut frontend = Frontend::connect(device.path(), 64).unwrap();
            frontend.get_features().unwrap();
            frontend.set_features(1 << 30).unwrap();
            frontend.get_protocol_features().unwrap();
            frontend.set_protocol_features(VhostUserProtocolFeatures::CONFIG).unwrap();
            let config = read_config(&mut frontend);
            assert_eq!((config.max_sas.get(), config.data_pairs.get(), config.open_modes), (77, 2, 1));
            config.instance.get()
        })
        .collect();
    assert!(instances.iter().all(|instance| *instance == instances[0]));
    Driver::attached(&device.path(), AttachMode::Exclusive).round_trip(1, 1);
}

#[test]
fn every_command_does_what_it_says() {
    let device =
        Local::start(AcceleratorTable { max_groups: Some(2), max_sas: Some(4), ..AcceleratorTable::default() });
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    let name = [0; NAME_SIZE];
    let create = |driver: &mut Driver| {
        let answer = driver.command(&Command::GroupCreate { name }, 0)?;
        Ok::<u32, RequestStatus>(u32::from_le_bytes(answer[..4].try_into().unwrap()))
    };
    let (one, two) = (create(&mut driver).unwrap(), create(&mut driver).unwrap());
    assert!(one != two && one != 0 && two != 0);
    assert_eq!(create(&mut driver), Err(RequestStatus::Full));
    let sas = [0, 1, 2].map(|number| driver.add(Direction::Outbound, 10 + number, one));
    assert!(sas[0] < sas[1] && sas[1] < sas[2]);
    let inbound = driver.add(Direction::Inbound, 20, 0);
    let entries = vec![sas::entry(Direction::Inbound, 21)];
    let add = Command::SaAdd { direction: Direction::Inbound, entries };
    assert_eq!(driver.command(&add, 0), Err(RequestStatus::Full));

    // Reading, in their age, a group's.
    let read = |driver: &mut Driver, from, count, group| {
        let command = Command::SaRead { from, direction: Direction::Outbound, count };
        let answer = driver.command(&command, group)?;
        let mut rest = &answer[8..];
        let count = u32::from_le_bytes(answer[..4].try_into().unwrap());
        let numbers: Vec<u64> = (0..count).map(|_| reading::decode(&mut rest).unwrap().sa).collect();
        assert!(rest.is_empty());
        Ok::<_, RequestStatus>(numbers)
    };
    assert_eq!(read(&mut driver, ReadFrom::First, 2, one), Ok(sas[..2].to_vec()));
    assert_eq!(read(&mut driver, ReadFrom::After(sas[0]), 9, one), Ok(sas[1..].to_vec()));
    assert_eq!(read(&mut driver, ReadFrom::After(sas[2]), 9, one), Err(RequestStatus::NotFound));
    assert_eq!(read(&mut driver, ReadFrom::Exact(sas[1]), 1, one), Ok(vec![sas[1]]));
    assert_eq!(read(&mut driver, ReadFrom::Exact(sas[1]), 1, two), Err(RequestStatus::NotFound));
    assert_eq!(read(&mut driver, ReadFrom::Exact(inbound), 1, 0), Err(RequestStatus::NotFound));

    // The longest inner packet.
    let answer = driver.command(&Command::SaInnerLength { sa: sas[0], limit: 1500 }, one).unwrap();
    let longest = sas::local(Direction::Outbound, 10).largest_inner(1500).unwrap().unwrap() as u64;
    assert_eq!(u64::from_le_bytes(answer.try_into().unwrap()), longest);
    assert_eq!(driver.command(&Command::SaInnerLength { sa: sas[0], limit: 20 }, one), Err(RequestStatus::NotFound));

    // Deleting, one and many.
    assert_eq!(driver.command(&Command::SaDelete(sas[0]), two), Err(RequestStatus::NotFound));
    assert_eq!(driver.command(&Command::SaDelete(sas[0]), one).map(|done| done.len()), Ok(16));
    assert_eq!(driver.command(&Command::SaStatistics(sas[0]), one), Err(RequestStatus::NotFound));
    driver.command(&Command::GroupDelete, one).unwrap();
    assert_eq!(driver.command(&Command::GroupDelete, one), Err(RequestStatus::NotFound));
    assert_eq!(driver.totals().sas.get(), 1);
    assert_eq!(driver.command(&Command::Flush { all: true }, one), Err(RequestStatus::Invalid));
    driver.command(&Command::Flush { all: false }, two).unwrap();
    assert_eq!(driver.totals().sas.get(), 1);
    driver.command(&Command::Flush { all: true }, 0).unwrap();
    assert_eq!(driver.totals().sas.get(), 0);
    assert_ne!(create(&mut driver).unwrap(), one, "a number is not given again");
}

#[test]
fn what_was_not_negotiated_is_unsupported() {
    let device = Local::start(AcceleratorTable::default());
    let mut setup = Setup::default();
    setup.features &= !gipsec_virtio::message::feature::ANTI_REPLAY;
    let mut driver = Driver::connect(&device.path(), &setup);
    driver.attach(AttachMode::Exclusive).unwrap();
    let add = Command::SaAdd { direction: Direction::Inbound, entries: vec![sas::entry(Direction::Inbound, 1)] };
    assert_eq!(driver.command(&add, 0), Err(RequestStatus::Unsupported));
    driver.add(Direction::Outbound, 1, 0);
}

#[test]
fn a_batch_of_many_sas_keeps_packets_apart() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    let sas: Vec<u64> = (1..=8)
        .map(|number| driver.add_entry(Direction::Outbound, sas::cbc_entry(Direction::Outbound, number), 0))
        .collect();
    let gcm = driver.add(Direction::Outbound, 99, 0);
    let plain: Vec<Vec<u8>> = (0..20).map(|fill| sas::packet(60 + 7 * usize::from(fill), fill)).collect();
    // Runs of different lengths, an SA that is not there, one of another kind.
    let of = |at: usize| match at {
        5 => gcm,
        9 => sas[0] ^ 1 << 40,
        at => sas[at / 2 % 8],
    };
    let requests: Vec<(u64, &[u8])> = plain.iter().enumerate().map(|(at, packet)| (of(at), &packet[..])).collect();
    let sealed = driver.packets(queue_of(Direction::Outbound), &requests, 2048).unwrap();
    for (at, (code, sealed)) in sealed.iter().enumerate() {
        if at == 9 {
            assert_eq!((*code, sealed.len()), (status::NO_SA, 0));
            continue;
        }
        assert_eq!(*code, 0, "{at}");
        let (number, entry) = match at {
            5 => (99, sas::entry(Direction::Inbound, 99)),
            at => {
                let number = u32::try_from(at / 2 % 8 + 1).unwrap();
                (number, sas::cbc_entry(Direction::Inbound, number))
            }
        };
        let here = gipsec_engine::Sa::new(vec![entry]).unwrap();
        assert_eq!(sas::process(&here, sealed).as_ref(), Ok(&plain[at]), "{at}, SA {number}");
    }
}

#[test]
fn events_wait_for_a_buffer() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    let entry = sas::attributes(Direction::Outbound, 5, |attributes| {
        attributes.notify = Notify { sequence_periodic: true, ..Notify::default() };
        attributes.intervals = Intervals { periodic: 4, ..Intervals::default() };
    });
    let sa = driver.add_entry(Direction::Outbound, entry, 0);
    let packet = sas::packet(100, 1);
    for _ in 0..9 {
        driver.packets(queue_of(Direction::Outbound), &[(sa, &packet)], 256).unwrap();
    }
    assert_eq!(driver.event(), Some(Event::SequencePeriodic { sa, last: 4 }));
    assert_eq!(driver.event(), Some(Event::SequencePeriodic { sa, last: 8 }));
    // A buffer that waits for an event.
    let at = driver.room(1);
    driver.submit_at(1, 0, at, &[], 24);
    thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(driver.used(1), None);
    for _ in 0..3 {
        driver.packets(queue_of(Direction::Outbound), &[(sa, &packet)], 256).unwrap();
    }
    assert_eq!(driver.wait(1).1, 24);
}

#[test]
fn requests_that_wait_for_the_rate_keep_no_message_waiting() {
    let table = AcceleratorTable { packets_per_second: Some(1), ..AcceleratorTable::default() };
    let device = Local::start(table);
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    // Large ones wait longest.
    let queue = queue_of(Direction::Outbound);
    let ring = driver.table(queue);
    let large = u32::try_from(MEMORY - (1 << 20)).unwrap();
    driver.write_descriptor(ring, 0, BASE, large, NEXT, 1);
    driver.write_descriptor(ring, 1, BASE + u64::from(large), 64, WRITE, 0);
    (0..200).for_each(|_| driver.publish(queue, 0));
    driver.kick(queue);
    thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    for enabled in [true; 20] {
        driver.frontend.set_vring_enable(queue, enabled).unwrap();
        driver.frontend.get_features().unwrap();
    }
    assert!(start.elapsed() < Duration::from_millis(150), "{:?}", start.elapsed());
}

#[test]
fn beyond_its_rate_a_client_is_told_so() {
    let table = AcceleratorTable { packets_per_second: Some(100), ..AcceleratorTable::default() };
    let device = Local::start(table);
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    let sa = driver.add(Direction::Outbound, 5, 0);
    let packet = sas::packet(100, 1);
    let answer = driver.packets(queue_of(Direction::Outbound), &[(sa, &packet[..]); 32], 256).unwrap();
    let full = status::packet_status(gipsec_engine::PacketError::QueueFull);
    let granted = answer.iter().take_while(|(status, _)| *status == 0).count();
    // Ten at once, of which commands have taken two.
    assert!((8..=12).contains(&granted), "{granted}");
    assert!(answer[granted..].iter().all(|(status, result)| *status == full && result.is_empty()));
    assert_eq!(driver.totals().packets_refused.get(), 32 - granted as u64);
}

#[test]
fn ten_thousand_sas_are_added_in_a_second() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    let start = Instant::now();
    for number in 1..=10_000 {
        driver.add(Direction::Outbound, number, 0);
    }
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(driver.totals().sas.get(), 10_000);
    eprintln!("10,000 SAs in {seconds:.3} s");
    // Generous: this is a debug build on a busy machine.
    assert!(seconds < 10.0, "{seconds}");
}

#[test]
fn a_reset_detaches() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    driver.add(Direction::Outbound, 5, 0);
    driver.frontend.reset_device().unwrap();
    let mut other = Driver::attached(&device.path(), AttachMode::Exclusive);
    assert_eq!(other.totals().sas.get(), 0);
}

#[test]
fn a_driver_that_starts_anew_is_detached_and_one_that_pauses_is_not() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    let base = driver.frontend.get_vring_base(0).unwrap();
    assert_eq!(base, 1);
    driver.start_queue(0, 1).unwrap();
    // Also while the device looks for more work.
    for _ in 0..50 {
        for _ in 0..10 {
            assert_eq!(driver.totals().sas.get(), 0, "it is attached still");
        }
        driver.frontend.get_vring_base(0).unwrap();
        let used_index = vm_memory::GuestAddress(driver.table(0) + 0x6002);
        vm_memory::Bytes::write_obj(&driver.memory, 0u16, used_index).unwrap();
        driver.set_avail_index(0, 0);
        (driver.queues[0].next_avail, driver.queues[0].last_used) = (0, 0);
        driver.start_queue(0, 0).unwrap();
        assert_eq!(driver.command(&Command::Statistics, 0), Err(RequestStatus::NotAttached));
        driver.attach(AttachMode::Exclusive).unwrap();
    }
}

#[test]
fn a_pause_where_the_index_wraps_is_no_reset() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::connect(&device.path(), &Setup::default());
    driver.frontend.get_vring_base(0).unwrap();
    driver.queues[0].next_avail = 65_534;
    driver.set_avail_index(0, 65_534);
    driver.start_queue(0, 65_534).unwrap();
    driver.attach(AttachMode::Exclusive).unwrap();
    driver.totals();
    assert_eq!(driver.frontend.get_vring_base(0).unwrap(), 0);
    driver.start_queue(0, 0).unwrap();
    driver.totals();
}

#[test]
fn a_reset_forgets_the_features() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    driver.frontend.reset_device().unwrap();
    // Rings are enabled by whoever has negotiated that, which is so no longer.
    assert!(driver.frontend.set_vring_enable(0, true).is_err());
}

#[test]
fn the_driver_is_called_when_it_asks() {
    let device = Local::start(AcceleratorTable::default());
    for features in [0, gipsec_virtio::message::feature::EVENT_IDX] {
        let mut setup = Setup::default();
        setup.features &= !gipsec_virtio::message::feature::EVENT_IDX | features;
        let mut driver = Driver::connect(&device.path(), &setup);
        driver.ask_for_call(0);
        eventually("a place", || driver.attach(AttachMode::Exclusive) == Ok(()));
        eventually("a call", || driver.queues[0].call.read().is_ok());
        // Not asked for again: with event-idx, silence.
        driver.totals();
        thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(driver.queues[0].call.read().is_err(), features != 0);
        // Long after the worker has gone to sleep.
        thread::sleep(std::time::Duration::from_millis(50));
        driver.round_trip(9, 4);
    }
}
