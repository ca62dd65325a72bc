//! Drivers that do what they must not. The device answers, or hangs up; it serves others all the while.

mod support;

use std::{
    io::Write,
    os::{fd::AsRawFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use gipsec_device::settings::{AcceleratorTable, Mode};
use gipsec_engine::Direction;
use gipsec_virtio::message::{
    RequestStatus,
    control::{AttachMode, Command},
    status,
};
use rustix::fs::{MemfdFlags, ftruncate};
use support::{BASE, Driver, INDIRECT, Local, MEMORY, NEXT, Setup, WRITE, data_message, eventually, queue_of, sas};
use vhost::{VhostUserMemoryRegionInfo, vhost_user::VhostUserFrontend};
use vm_memory::{Bytes, GuestAddress};

/// A device with a good driver, which is tried at the end, and a bad one.
fn with_witness(attack: impl FnOnce(&Local, Driver)) {
    let table = AcceleratorTable { mode: Mode::Shared, max_clients: Some(4), ..AcceleratorTable::default() };
    let device = Local::start(table);
    let mut witness = Driver::attached(&device.path(), AttachMode::Shared);
    let sa = witness.add(Direction::Outbound, 1, 0);
    attack(&device, Driver::attached(&device.path(), AttachMode::Shared));
    witness.round_trip(2, 4);
    assert_eq!(witness.totals().sas.get(), 1);
    witness.command(&Command::SaDelete(sa), 0).unwrap();
}

/// The status in an answer's room.
fn status_at(driver: &Driver, address: u64) -> u32 {
    u32::from_le(driver.memory.read_obj(GuestAddress(address)).unwrap())
}

/// Has the device take a chain that was written; the used length.
fn chain(driver: &mut Driver, queue: usize, head: u16) -> u32 {
    driver.publish(queue, head);
    driver.kick(queue);
    let (id, used) = driver.wait(queue);
    assert_eq!(id, u32::from(head));
    used
}

#[test]
fn descriptors_that_loop_or_lead_outside_are_refused() {
    with_witness(|_, mut driver| {
        for queue in [0, 2, 3] {
            let (table, room) = (driver.table(queue), driver.room(queue));
            let inner = driver.indirect(queue, 9);
            let invalid = RequestStatus::Invalid as u32;
            // A loop of two.
            driver.write_descriptor(table, 0, room, 16, NEXT, 1);
            driver.write_descriptor(table, 1, room, 16, NEXT, 0);
            assert_eq!(chain(&mut driver, queue, 0), 0);
            // A loop with a writable end, which takes the status.
            driver.memory.write_obj(77u32, GuestAddress(room)).unwrap();
            driver.write_descriptor(table, 0, room, 64, WRITE | NEXT, 0);
            assert!(chain(&mut driver, queue, 0) > 0);
            assert_eq!(status_at(&driver, room), invalid);
            // A next that is no descriptor.
            driver.write_descriptor(table, 0, room, 16, NEXT, 0xffff);
            assert_eq!(chain(&mut driver, queue, 0), 0);
            // Tables: nested, of odd length, empty, outside.
            driver.write_descriptor(inner, 0, inner, 16, INDIRECT, 0);
            for (address, length) in [(inner, 16), (inner, 17), (inner, 0), (BASE + MEMORY, 16), (u64::MAX - 7, 32)] {
                driver.write_descriptor(table, 0, address, length, INDIRECT, 0);
                assert_eq!(chain(&mut driver, queue, 0), 0, "{address:x} {length}");
            }
            // Addresses outside, past the end, and around it.
            for address in [0, BASE - 1, BASE + MEMORY - 8, BASE + MEMORY, u64::MAX - 3] {
                driver.write_descriptor(table, 0, address, 16, NEXT, 1);
                driver.write_descriptor(table, 1, room, 64, WRITE, 0);
                assert!(chain(&mut driver, queue, 0) > 0, "{address:x}");
                assert_eq!(status_at(&driver, room), invalid);
                driver.write_descriptor(table, 0, room, 16, NEXT, 1);
                driver.write_descriptor(table, 1, address, 64, WRITE, 0);
                assert_eq!(chain(&mut driver, queue, 0), 0, "{address:x}");
            }
            // Readable after writable.
            driver.write_descriptor(table, 0, room, 64, WRITE | NEXT, 1);
            driver.write_descriptor(table, 1, room + 64, 64, 0, 0);
            assert!(chain(&mut driver, queue, 0) > 0);
            assert_eq!(status_at(&driver, room), invalid);
            // No room for a status.
            for length in [0, 1, 7] {
                driver.write_descriptor(table, 0, room, 16, NEXT, 1);
                driver.write_descriptor(table, 1, room + 64, length, WRITE, 0);
                assert_eq!(chain(&mut driver, queue, 0), 0);
            }
        }
        assert!(driver.totals().requests_refused.get() > 50);
        driver.round_trip(7, 3);
    });
}

#[test]
fn an_index_that_jumps_ends_the_connection() {
    // Nobody looks at eventq before there is an event.
    for queue in [0, 2] {
        with_witness(|_, mut driver| {
            driver.set_avail_index(queue, driver.queues[queue].next_avail.wrapping_add(257));
            driver.kick(queue);
            eventually("the end", || driver.is_over());
        });
        with_witness(|_, mut driver| {
            let outside = 4000;
            driver.publish(queue, outside);
            driver.kick(queue);
            eventually("the end", || driver.is_over());
        });
    }
}

#[test]
fn messages_that_cannot_be_get_a_status() {
    with_witness(|_, mut driver| {
        let statistics = Command::Statistics.encode(0).unwrap();
        for cut in 0..statistics.len() {
            assert_ne!(driver.control(&statistics[..cut], 100).0, 0, "{cut}");
        }
        for command in [0u16, 0x0004, 0xffff] {
            let mut message = statistics.to_vec();
            message[..2].copy_from_slice(&command.to_le_bytes());
            assert_eq!(driver.control(&message, 100), (RequestStatus::Unsupported as u32, Vec::new()));
        }
        for reserved in [2, 12, 15] {
            let mut message = statistics.to_vec();
            message[reserved] = 1;
            assert_eq!(driver.control(&message, 100).0, RequestStatus::Invalid as u32);
        }
        let mut message = statistics.to_vec();
        message[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(driver.control(&message, 100).0, RequestStatus::Invalid as u32);
        // No room: no effect.
        let entries = || vec![sas::entry(Direction::Outbound, 1)];
        let add = Command::SaAdd { direction: Direction::Outbound, entries: entries() }.encode(0).unwrap();
        assert_eq!(driver.control(&add, 7).0, RequestStatus::NoRoom as u32);
        assert_eq!(driver.control(&add[..add.len() - 1], 8).0, RequestStatus::Invalid as u32);
        assert_eq!(driver.totals().sas.get(), 0);
    });
}

#[test]
fn data_requests_that_cannot_be_get_a_status() {
    with_witness(|_, mut driver| {
        let sa = driver.add(Direction::Outbound, 1, 0);
        let queue = queue_of(Direction::Outbound);
        let packet = sas::packet(100, 3);
        let good = data_message(&[(sa, &packet), (sa, &packet)], 200);
        let invalid = RequestStatus::Invalid as u32;
        let request = |driver: &mut Driver, message: &[u8], room| {
            let answer = driver.request(queue, message, room);
            u32::from_le_bytes(answer[..4].try_into().unwrap())
        };
        for (at, value) in [(0, 0u16), (0, 65), (0, 0xffff), (2, 2), (4, 1)] {
            let mut message = good.clone();
            message[at..at + 2].copy_from_slice(&value.to_le_bytes());
            assert_eq!(request(&mut driver, &message, 424), invalid, "{at} {value}");
        }
        // Longer than the limit, each alone and in sum.
        for (at, value) in [(16, u32::MAX), (20, u32::MAX), (16, 1 << 20)] {
            let mut message = good.clone();
            message[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let status = request(&mut driver, &message, 424);
            // What a room has beyond the longest packet does not count, but the descriptors do not have it.
            assert_eq!(status, if at == 20 { 0 } else { invalid }, "{at} {value}");
        }
        assert_eq!(request(&mut driver, &good, 23), RequestStatus::NoRoom as u32);
        // Cut within the second packet, and room for one result alone.
        let of = |answer: &[u8]| [8, 16].map(|at| u32::from_le_bytes(answer[at..at + 4].try_into().unwrap()));
        let answer = driver.request(queue, &good[..good.len() - 1], 424);
        assert_eq!(of(&answer), [0, status::BAD_ENTRY]);
        let answer = driver.request(queue, &good, 423);
        assert_eq!(of(&answer), [0, status::BAD_ENTRY]);
        // The wrong queue: there is no such SA in that direction.
        let answer = driver.packets(queue_of(Direction::Inbound), &[(sa, &packet)], 200).unwrap();
        assert_eq!(answer[0].0, status::NO_SA);
        // A short room is written to up to its end, and not behind.
        let answer = driver.packets(queue, &[(sa, &packet), (sa, &packet)], 120).unwrap();
        let no_room = status::packet_status(gipsec_engine::PacketError::NoRoom);
        assert!(answer.iter().all(|(status, result)| *status == no_room && result.is_empty()));
    });
}

#[test]
fn results_are_written_where_they_belong_and_nowhere_else() {
    with_witness(|_, mut driver| {
        let sa = driver.add(Direction::Outbound, 1, 0);
        let (queue, packet) = (queue_of(Direction::Outbound), sas::packet(100, 3));
        let message = data_message(&[(sa, &packet), (sa ^ 1 << 50, &packet), (sa, &packet)], 300);
        let (at, length) = (driver.room(queue), u32::try_from(message.len()).unwrap());
        let answer = at + 0x1_0000;
        driver.memory.write_slice(&[0xee; 2000], GuestAddress(answer)).unwrap();
        driver.memory.write_slice(&message, GuestAddress(at)).unwrap();
        // In many pieces: a byte, then 50 bytes each.
        let table = driver.table(queue);
        driver.write_descriptor(table, 0, at, 3, NEXT, 1);
        driver.write_descriptor(table, 1, at + 3, length - 3, NEXT, 2);
        driver.write_descriptor(table, 2, answer, 1, WRITE | NEXT, 3);
        for piece in 0..19u16 {
            let flags = if piece == 18 { WRITE } else { WRITE | NEXT };
            let place = answer + 1 + 50 * u64::from(piece);
            driver.write_descriptor(table, 3 + piece, place, 50, flags, 4 + piece);
        }
        chain(&mut driver, queue, 0);
        let mut bytes = vec![0; 2000];
        driver.memory.read_slice(&mut bytes, GuestAddress(answer)).unwrap();
        let results = support::read_data_answer(&bytes[..932], 3, 300).unwrap();
        assert_eq!(results.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [0, status::NO_SA, 0]);
        let here = sas::local(Direction::Inbound, 1);
        for (number, (_, result)) in results.iter().enumerate().filter(|(number, _)| *number != 1) {
            assert_eq!(sas::process(&here, result).as_ref(), Ok(&packet));
            let behind = 32 + 300 * number + result.len();
            assert!(bytes[behind..32 + 300 * (number + 1)].iter().all(|byte| *byte == 0xee), "{number}");
        }
        assert!(bytes[332..632].iter().chain(&bytes[932..]).all(|byte| *byte == 0xee));
    });
}

#[test]
fn another_ones_numbers_lead_nowhere() {
    with_witness(|device, mut driver| {
        let mut other = Driver::attached(&device.path(), AttachMode::Shared);
        let theirs = other.add(Direction::Outbound, 5, 0);
        let answer = other.command(&Command::GroupCreate { name: [0; 64] }, 0).unwrap();
        let group = u32::from_le_bytes(answer[..4].try_into().unwrap());
        let grouped = other.add(Direction::Outbound, 6, group);
        let packet = sas::packet(64, 0);
        for sa in [theirs, grouped, 0, 1, u64::MAX, theirs + (1 << 20), theirs + 1] {
            for number in [0, group] {
                for command in [Command::SaDelete(sa), Command::SaStatistics(sa)] {
                    assert_eq!(driver.command(&command, number), Err(RequestStatus::NotFound));
                }
            }
            let answer = driver.packets(queue_of(Direction::Outbound), &[(sa, &packet)], 200).unwrap();
            assert_eq!(answer, [(status::NO_SA, Vec::new())]);
        }
        assert_eq!(driver.command(&Command::GroupDelete, group), Err(RequestStatus::NotFound));
        assert_eq!(driver.command(&Command::Flush { all: false }, group), Err(RequestStatus::NotFound));
        driver.command(&Command::Flush { all: true }, 0).unwrap();
        assert_eq!(other.totals().sas.get(), 2);
    });
}

#[test]
fn a_client_that_vanishes_in_the_middle_takes_nothing_along() {
    with_witness(|device, driver| {
        drop(driver);
        for round in 0..20 {
            let mut driver = Driver::connect(&device.path(), &Setup::default());
            eventually("a place", || driver.attach(AttachMode::Shared) == Ok(()));
            let sa = driver.add(Direction::Outbound, 1, 0);
            let packet = sas::packet(1400, round);
            let message = data_message(&vec![(sa, &packet[..]); 32], 1500);
            let queue = queue_of(Direction::Outbound);
            for slot in 0..16u16 {
                let at = driver.room(queue) + 0x2_0000 * u64::from(slot);
                driver.submit_at(queue, slot, at, &message, 33_000 + 20_000);
            }
        }
    });
}

#[test]
fn silence_and_nonsense_at_the_socket_hold_nobody_up() {
    with_witness(|device, driver| {
        drop(driver);
        let silent: Vec<UnixStream> = (0..40).filter_map(|_| UnixStream::connect(device.path()).ok()).collect();
        let mut rubbish = UnixStream::connect(device.path()).unwrap();
        // It may be turned away.
        drop(rubbish.write_all(&[0xff; 4096]));
        thread::sleep(Duration::from_millis(2600));
        Driver::connect(&device.path(), &Setup::default()).attach(AttachMode::Shared).unwrap();
        drop(silent);
    });
}

#[test]
fn memory_that_can_shrink_is_not_taken() {
    with_witness(|device, driver| {
        // Sealed by the device.
        assert!(ftruncate(&driver.file, 0).is_err());
        let unsealed = Setup { memfd: MemfdFlags::empty(), ..Setup::default() };
        assert!(Driver::try_connect(&device.path(), &unsealed).is_err());
    });
}

#[test]
fn memory_comes_and_goes_and_is_limited() {
    with_witness(|_, mut driver| {
        assert_eq!(driver.frontend.get_max_mem_slots().unwrap(), 32);
        let region = |number: u64| VhostUserMemoryRegionInfo {
            guest_phys_addr: (1 << 40) + 4096 * number,
            memory_size: 4096,
            userspace_addr: (1 << 41) + 4096 * number,
            mmap_offset: 0,
            mmap_handle: driver.file.as_raw_fd(),
        };
        let regions: Vec<_> = (0..32).map(region).collect();
        let add = |driver: &mut Driver| {
            for region in &regions[..31] {
                driver.frontend.add_mem_region(region).unwrap();
            }
        };
        for _ in 0..20 {
            add(&mut driver);
            regions[..31].iter().for_each(|region| driver.frontend.remove_mem_region(region).unwrap());
        }
        driver.round_trip(5, 2);
        add(&mut driver);
        assert!(driver.frontend.add_mem_region(&regions[31]).is_err());
        eventually("the end", || driver.is_over());
    });
}

#[test]
fn a_flood_of_requests_is_answered_in_order() {
    with_witness(|_, mut driver| {
        let statistics = Command::Statistics.encode(0).unwrap();
        for round in 0..50 {
            for slot in 0..256u16 {
                let at = driver.room(0) + 256 * u64::from(slot);
                driver.submit_at(0, slot, at, &statistics, 88);
            }
            for slot in 0..256u32 {
                assert_eq!(driver.wait(0), (slot, 88), "{round}");
            }
        }
    });
}
