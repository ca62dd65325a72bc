//! Eventfds that are none, or that hold whoever reads or writes them.

mod support;

use std::{
    fs::File,
    io::Read,
    os::{fd::AsRawFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use gipsec_device::{
    backend::DRAIN,
    settings::{AcceleratorTable, Mode},
};
use gipsec_virtio::message::control::{AttachMode, Command};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    pipe::pipe,
};
use support::{Driver, Local, PATIENCE, Setup, eventually};
use vhost::VhostBackend;
use vmm_sys_util::{eventfd::EventFd, sock_ctrl_msg::ScmSocket};

const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;

/// The file behind an eventfd, through another descriptor.
fn same_file(event: &EventFd) -> File {
    let (here, there) = UnixStream::pair().unwrap();
    here.send_with_fd(&[0u8][..], event.as_raw_fd()).unwrap();
    there.recv_with_fd(&mut [0]).unwrap().1.unwrap()
}

/// Has controlq's worker wait until the driver's eventfd takes a word.
fn stick(driver: &mut Driver) {
    let call = &driver.queues[0].call;
    // Whatever the call for ATTACH has left.
    drop(call.read());
    call.write(u64::MAX - 1).unwrap();
    // As a client may at any time.
    let file = same_file(call);
    fcntl_setfl(&file, fcntl_getfl(&file).unwrap() - OFlags::NONBLOCK).unwrap();
    driver.ask_for_call(0);
    driver.command(&Command::Statistics, 0).unwrap();
    thread::sleep(Duration::from_millis(20));
}

#[test]
fn a_full_eventfd_holds_nothing_that_others_need() {
    let mut device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    stick(&mut driver);
    // It stays alive all the while.
    let _call = same_file(&driver.queues[0].call);
    drop(driver);
    let mut other = Driver::connect(&device.path(), &Setup::default());
    eventually("the place", || other.attach(AttachMode::Exclusive) == Ok(()));
    other.round_trip(1, 2);
    drop(other);
    assert!(device.end() < Duration::from_secs(1));
}

#[test]
fn a_ring_whose_worker_is_stuck_does_not_stop() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    stick(&mut driver);
    assert!(driver.frontend.get_vring_base(0).is_err());
    let mut other = Driver::connect(&device.path(), &Setup::default());
    eventually("the place", || other.attach(AttachMode::Exclusive) == Ok(()));
}

#[test]
fn workers_that_are_stuck_delay_the_end_once() {
    let mut device = Local::start(AcceleratorTable { mode: Mode::Shared, ..AcceleratorTable::default() });
    let mut drivers: Vec<Driver> = (0..3).map(|_| Driver::attached(&device.path(), AttachMode::Shared)).collect();
    drivers.iter_mut().for_each(stick);
    assert!(device.end() < DRAIN + Duration::from_secs(2));
}

#[test]
fn what_is_not_an_eventfd_ends_the_connection() {
    let device = Local::start(AcceleratorTable::default());
    let (reader, writer) = pipe().unwrap();
    let file = tempfile::tempfile().unwrap();
    for request in [SET_VRING_KICK, SET_VRING_CALL] {
        for fd in [reader.as_raw_fd(), writer.as_raw_fd(), file.as_raw_fd()] {
            let mut stream = UnixStream::connect(device.path()).unwrap();
            let header = [request, 1, 8, 2, 0].map(u32::to_le_bytes);
            stream.send_with_fd(&header.concat()[..], fd).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)));
            let mut driver = Driver::connect(&device.path(), &Setup::default());
            eventually("the place", || driver.attach(AttachMode::Exclusive) == Ok(()));
        }
    }
}

#[test]
fn the_kick_of_a_ring_that_runs_is_not_replaced() {
    let device = Local::start(AcceleratorTable::default());
    let mut driver = Driver::attached(&device.path(), AttachMode::Exclusive);
    let event = EventFd::new(0).unwrap();
    assert!(driver.frontend.set_vring_kick(2, &event).is_err());
    eventually("the end", || driver.is_over());
    // One that is stopped gets another.
    let mut driver = Driver::connect(&device.path(), &Setup::default());
    eventually("the place", || driver.attach(AttachMode::Exclusive) == Ok(()));
    driver.frontend.get_vring_base(2).unwrap();
    driver.queues[2].kick = event;
    driver.start_queue(2, 0).unwrap();
    driver.round_trip(1, 3);
}
