//! What clients get: attaching, SAs, packets, events, many at once.

mod support;

use std::thread;

use gipsec_device::settings::{AcceleratorTable, Mode};
use gipsec_engine::{Direction, Intervals, Notify, Sa};
use gipsec_virtio::message::{
    RequestStatus,
    control::{AttachMode, Command, ReadFrom},
    event::Event,
    reading, status,
};
use support::{Driver, Local, Setup, eventually, queue_of, read_config, sas};
use vhost::{VhostBackend, vhost_user::{Frontend, VhostUserFrontend}};

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
