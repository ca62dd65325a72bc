//! A device for tests that is nothing but memory: what is written to a register stays there, and is read again. Tests change
//! what a hostile device would.

use std::{
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll::EventFlags, eventfd, poll},
    fd::OwnedFd,
    fs::MemfdFlags,
};

use super::{Bus, Mapped, Pci, Vectors, capability::SPACE};
use crate::{
    memory::Memory,
    message::{Config, feature},
    transport::{QueuePlace, Transport, TransportError},
};

const BAR: u64 = 0x4000;
const NOTIFY: u64 = 0x3000;

/// The device.
struct Fake {
    registers: Arc<File>,
    space: Vec<u8>,
    vectors: usize,
    event: OwnedFd,
    gone: Arc<AtomicBool>,
    revoked: Arc<AtomicBool>,
}

/// What a test keeps of it.
struct Hold {
    registers: Arc<File>,
    gone: Arc<AtomicBool>,
    revoked: Arc<AtomicBool>,
}

impl Hold {
    fn write(&self, at: u64, bytes: &[u8]) {
        self.registers.write_all_at(bytes, at).unwrap();
    }

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.registers.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }
}

/// A device with four queues and two vectors, as far as `change` leaves it so.
fn fake(change: impl FnOnce(&Hold, &mut Vec<u8>)) -> (Box<dyn Bus>, Hold) {
    let registers: File = rustix::fs::memfd_create("registers", MemfdFlags::CLOEXEC).unwrap().into();
    registers.set_len(BAR).unwrap();
    let mut space = vec![0; SPACE];
    space[6] = 0x10;
    space[0x34] = 0x40;
    for (kind, (offset, length)) in
        [(0u32, 0x1000u32), (0x3000, 0x1000), (0x1000, 0x1000), (0x2000, 0x1000)].iter().enumerate()
    {
        let at = 0x40 + 20 * kind;
        let next = if kind == 3 { 0 } else { at + 20 };
        space[at..at + 5].copy_from_slice(&[9, u8::try_from(next).unwrap(), 20, u8::try_from(kind + 1).unwrap(), 4]);
        space[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
        space[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
        space[at + 16..at + 20].copy_from_slice(&4u32.to_le_bytes());
    }
    let (gone, revoked) = (Arc::default(), Arc::default());
    let hold = Hold { registers: Arc::new(registers), gone, revoked };
    hold.write(4, &1u32.to_le_bytes()); // bits 0 and 32: either half is the same
    hold.write(18, &4u16.to_le_bytes());
    hold.write(24, &256u16.to_le_bytes());
    hold.write(30, &3u16.to_le_bytes());
    hold.write(0x2000, &7u32.to_le_bytes());
    hold.write(0x2014, &[1, 2, 3, 4]);
    change(&hold, &mut space);
    let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let fake = Fake {
        registers: hold.registers.clone(),
        space,
        vectors: 2,
        event,
        gone: hold.gone.clone(),
        revoked: hold.revoked.clone(),
    };
    (Box::new(fake), hold)
}

impl Bus for Fake {
    fn config_space(&self) -> Result<Vec<u8>, TransportError> {
        Ok(self.space.clone())
    }

    fn bar_sizes(&self) -> [u64; 6] {
        [0, 0, 0, 0, BAR, 0]
    }

    fn bar(&self, _index: u8) -> Result<(File, u64), TransportError> {
        Ok((self.registers.try_clone().unwrap(), 0))
    }

    fn set_mastering(&self, _on: bool) -> Result<(), TransportError> {
        Ok(())
    }

    fn memory(&mut self, bytes: usize, physical: bool) -> Result<Arc<Memory>, TransportError> {
        assert!(physical, "bit 33 is not offered");
        Ok(Arc::new(Memory::shared(bytes, 0x12_0000_0000).unwrap()))
    }

    fn interrupts(&mut self, queues: usize, _isr: Mapped) -> Result<Vectors, TransportError> {
        Ok(Vectors::messages(queues, self.vectors))
    }

    fn interrupt(&self, _vector: u16) -> Option<BorrowedFd<'_>> {
        Some(self.event.as_fd())
    }

    fn take_interrupt(&self, _vector: u16) -> bool {
        false
    }

    fn loss(&self) -> Vec<(BorrowedFd<'_>, EventFlags)> {
        vec![]
    }

    fn is_gone(&self) -> bool {
        self.gone.load(SeqCst)
    }

    fn revoke(&self) {
        std::thread::sleep(Duration::from_millis(20));
        self.revoked.store(true, SeqCst);
    }
}

const PLACE: QueuePlace = QueuePlace { queue: 1, size: 16, descriptors: 0x1000, available: 0x2000, used: 0x3000 };

/// What opening and starting a device says that `change` has changed before.
fn said(change: impl FnOnce(&Hold, &mut Vec<u8>)) -> String {
    let (bus, _hold) = fake(change);
    let why = Pci::open(bus, 1 << 20).and_then(|mut device| device.start(feature::VERSION_1, &[PLACE]));
    why.err().map_or_else(String::new, |why| why.0)
}

#[test]
fn a_device_is_set_up_by_its_registers() {
    let (bus, hold) = fake(|_, _| ());
    let mut device = Pci::open(bus, 1 << 20).unwrap();
    assert_eq!(device.features(), 1 << 32 | 1);
    assert_eq!((device.config().data_pairs.get(), device.config().features.get()), (7, 0x201));
    assert_eq!((device.config().open_modes, device.config().reserved), (3, 4));
    assert_eq!((device.max_queue_size(3), device.max_queue_size(4)), (256, 0));
    assert!(!device.is_lost());
    device.start(feature::VERSION_1, &[PLACE]).unwrap();
    assert_eq!(hold.read(20), [15], "ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK");
    assert_eq!(hold.read(12), 1u32.to_le_bytes(), "the upper half of the accepted features");
    assert_eq!((hold.read(22), hold.read(24)), (1u16.to_le_bytes(), 16u16.to_le_bytes()));
    assert_eq!((hold.read(16), hold.read(26)), (1u16.to_le_bytes(), 0u16.to_le_bytes()), "the vectors");
    assert_eq!(hold.read(28), 1u16.to_le_bytes());
    let address = |register| u64::from_le_bytes(hold.read(register));
    assert_eq!([32, 40, 48].map(address), [0x12_0000_1000, 0x12_0000_2000, 0x12_0000_3000]);
    device.kick(1);
    device.kick(0);
    assert_eq!(hold.read(NOTIFY + 12), 1u16.to_le_bytes());
    assert!(device.interrupt(1).is_some() && device.interrupt(0).is_none());
    assert!(!device.is_lost());
    assert!(device.start(feature::VERSION_1, &[PLACE]).is_err(), "once");
    assert!(hold.revoked.load(SeqCst));
}

#[test]
fn a_lost_device_is_noticed() {
    let started = || {
        let (bus, hold) = fake(|_, _| ());
        let mut device = Pci::open(bus, 1 << 20).unwrap();
        device.start(feature::VERSION_1, &[PLACE]).unwrap();
        assert!(!device.is_lost());
        (device, hold)
    };
    for status in [0, 0xff, 15 | 64, 11] {
        let (device, hold) = started();
        hold.write(20, &[status]);
        assert!(device.is_lost(), "{status}");
        assert!(device.is_lost(), "and stays so");
    }
    let (device, hold) = started();
    hold.gone.store(true, SeqCst);
    assert!(device.is_lost());
    let (device, hold) = started();
    device.stop();
    assert_eq!(hold.read(20), [0]);
    assert!(hold.revoked.load(SeqCst));
}

#[test]
fn whoever_stops_a_device_waits_until_it_is_stopped() {
    let (bus, hold) = fake(|_, _| ());
    let mut device = Pci::open(bus, 1 << 20).unwrap();
    device.start(feature::VERSION_1, &[PLACE]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                device.stop();
                assert!(hold.revoked.load(SeqCst));
            });
        }
    });
    let mut loss = [PollFd::from_borrowed_fd(device.loss(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut loss, Some(&now)), Ok(1), "those who sleep are woken");
}

#[test]
fn what_a_hostile_device_shows_is_refused() {
    assert_eq!(said(|_, _| ()), "");
    assert!(said(|hold, _| hold.write(4, &[0; 4])).contains("VERSION_1"));
    assert!(said(|hold, _| hold.write(18, &1u16.to_le_bytes())).contains("queue 1"), "no such queue");
    assert!(said(|hold, _| hold.write(24, &8u16.to_le_bytes())).contains("fewer descriptors"));
    assert!(said(|hold, _| hold.write(30, &0x400u16.to_le_bytes())).contains("where there is nothing"));
    assert_eq!(said(|hold, _| hold.write(30, &0x3ffu16.to_le_bytes())), "");
    assert_eq!(said(|hold, _| hold.write(18, &u16::MAX.to_le_bytes())), "", "as many queues as there may be");
    assert!(said(|_, space| space[6] = 0).contains("no capabilities"));
    assert!(said(|_, space| space[0x40 + 13] = 0x41).contains("beyond its BAR"));
}

#[test]
fn what_the_driver_must_not_ask_for_is_refused() {
    let refused = |features, place| {
        let (bus, hold) = fake(|_, _| ());
        let mut device = Pci::open(bus, 1 << 20).unwrap();
        let refused = device.start(features, &[place]).is_err();
        assert_eq!(refused, hold.read(20) == [0], "a device that does not start is reset");
        refused
    };
    assert!(!refused(feature::VERSION_1, PLACE));
    assert!(refused(feature::VERSION_1 | 2, PLACE), "a feature that is not offered");
    assert!(refused(feature::VERSION_1, QueuePlace { size: 12, ..PLACE }));
    assert!(refused(feature::VERSION_1, QueuePlace { size: 512, ..PLACE }));
    assert!(refused(feature::VERSION_1, QueuePlace { used: (1 << 20) - 128, ..PLACE }));
    assert!(refused(feature::VERSION_1, QueuePlace { descriptors: usize::MAX - 8, ..PLACE }));
    assert_eq!(size_of::<Config>(), 64);
}
