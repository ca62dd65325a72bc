//! The PCI transport with a device of QEMU's own, in a VM: `scripts/vm-test.sh` runs this there. The device is a network card
//! (1af4:1041) without a peer, because it has several interrupt vectors, and knows when it is broken.

use std::{path::Path, time::Duration};

use gipsec_virtio::{
    message::feature,
    transport::{
        QueuePlace, Transport,
        pci::{self, BoundDriver, Pci, PciDevice},
    },
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const TRANSMIT: usize = 1;
const SIZE: u16 = 16;
const PACKET: usize = 0x9000;
/// A header of 12 bytes, and a frame.
const PACKET_BYTES: u32 = 12 + 60;

fn card() -> PciDevice {
    let found = pci::find(Path::new("/sys/bus/pci/devices"), &[(0x1af4, 0x1041)]);
    found.into_iter().next().expect("a network card that uio_pci_generic or vfio-pci holds")
}

fn place(queue: usize) -> QueuePlace {
    let start = 0x4000 * queue;
    QueuePlace { queue, size: SIZE, descriptors: start, available: start + 0x1000, used: start + 0x2000 }
}

fn started() -> Pci {
    let mut device = pci::open(&card(), 1 << 20).unwrap();
    assert!(device.features() & feature::VERSION_1 != 0);
    device.start(feature::VERSION_1, &[place(0), place(TRANSMIT)]).unwrap();
    device
}

/// Makes `index` the available index of the transmit queue, and says so.
fn offer(device: &Pci, index: u16) {
    let memory = device.memory();
    let place = place(TRANSMIT);
    memory.write(place.descriptors, &memory.device_address(PACKET).to_le_bytes());
    memory.write(place.descriptors + 8, &PACKET_BYTES.to_le_bytes());
    memory.write(place.descriptors + 12, &[0; 4]);
    memory.store(place.available + 2, index);
    device.kick(TRANSMIT);
}

fn is_ready(fd: impl std::os::fd::AsFd, within: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let within = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: within.subsec_nanos().into() };
    poll(&mut fds, Some(&within)).unwrap() > 0
}

const SOON: Duration = Duration::from_secs(5);
const NOW: Duration = Duration::ZERO;

#[test]
#[ignore = "needs a VM: scripts/vm-test.sh"]
fn a_card_sends_interrupts_breaks_and_is_reset() {
    for round in 0..3 {
        let device = started();
        println!("guest: round {round}: {:?}, shared interrupts: {}", card().driver, device.shares_interrupts());
        assert_eq!(device.shares_interrupts(), card().driver == BoundDriver::Uio);
        assert!(!card().is_free(), "it is ours");

        // Packets come back, each with an interrupt, and of its own queue if there are enough.
        for sent in 1..=20 {
            offer(&device, sent);
            let interrupt = device.interrupt(TRANSMIT).unwrap();
            assert!(is_ready(interrupt, SOON), "packet {sent}");
            assert_eq!(is_ready(device.interrupt(0).unwrap(), NOW), device.shares_interrupts());
            device.take_interrupt(TRANSMIT);
            assert!(!is_ready(interrupt, NOW), "taken");
            assert_eq!(device.memory().load::<u16>(place(TRANSMIT).used + 2), Some(sent));
        }
        assert!(!device.is_lost());
        assert!(!is_ready(device.loss(), NOW));

        // It says that it needs a reset when the ring cannot be: there is no such descriptor.
        device.memory().write(place(TRANSMIT).available + 4 + 2 * usize::from(20 % SIZE), &99u16.to_le_bytes());
        offer(&device, 21);
        if device.shares_interrupts() {
            assert!(is_ready(device.interrupt(TRANSMIT).unwrap(), SOON));
            device.take_interrupt(TRANSMIT);
        }
        assert!(is_ready(device.loss(), SOON));
        assert!(device.is_lost());
        assert!(is_ready(device.loss(), NOW), "and stays so");

        // After the reset it touches nothing: what would be a packet stays where it is.
        device.stop();
        let used = device.memory().load::<u16>(place(TRANSMIT).used + 2);
        offer(&device, 22);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(device.memory().load::<u16>(place(TRANSMIT).used + 2), used);
        drop(device);
        assert!(card().is_free());
    }
}
