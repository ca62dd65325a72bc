//! What the driver owes to a device that sees memory in pages, has small queues, or takes its time.

mod mock;

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use gipsec_engine::{Buffers, Direction, FlowPadding, OutboundRules, PacketError, Parameters, Rules};
use gipsec_virtio::{
    driver::{DriverError, SharedBuffer},
    memory::Memory,
    message::Config,
    transport::{QueuePlace, Transport, TransportError},
};
use mock::{
    Mock, Reply, Script,
    traffic::{entry, open, packet, process},
};
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory};

/// The bytes of a buffer.
#[expect(unsafe_code)]
fn bytes(buffer: &mut SharedBuffer) -> &mut [u8] {
    // SAFETY: the memory is this buffer's alone, which is borrowed as long.
    unsafe { std::slice::from_raw_parts_mut(buffer.start(), buffer.len()) }
}

#[test]
fn what_touches_in_two_pages_is_two_pieces() {
    let mock = Mock::paged();
    let start = mock.memory().start().addr();
    let (device, _) = open(mock).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let mut buffers: Vec<_> = std::iter::from_fn(|| device.allocate(2048)).collect();
    buffers.sort_by_key(|buffer| buffer.start().addr());
    let begins_page = |buffer: &SharedBuffer| (buffer.start().addr() - start).is_multiple_of(2 << 20);
    let at = buffers.iter().skip(1).position(begins_page).unwrap() + 1;
    let inner = packet(1900);
    let mut verdicts = [Err(PacketError::Crypto); 2];
    // Two results whose rooms touch where a page ends: the mock looks at what it is given.
    let mut packets: Vec<_> =
        buffers[at - 1..=at].iter_mut().map(|buffer| Buffers::Apart { input: &inner, output: bytes(buffer) }).collect();
    outbound.process(&mut packets, &mut verdicts);
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
}

#[test]
fn no_chain_is_longer_than_the_queue() {
    let (device, _) = open(Mock::new(None)).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let mut inputs: Vec<_> = (0..32).map(|_| device.allocate(512).unwrap()).collect();
    let mut outputs: Vec<_> = (0..32).map(|_| device.allocate(1024).unwrap()).collect();
    let mut packets: Vec<_> = inputs
        .iter_mut()
        .zip(&mut outputs)
        .map(|(input, output)| {
            let input = &mut bytes(input)[..100];
            input.copy_from_slice(&packet(100));
            Buffers::Apart { input, output: &mut bytes(output)[..1000] }
        })
        .collect();
    let mut verdicts = vec![Err(PacketError::Crypto); 32];
    outbound.process(&mut packets, &mut verdicts);
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
}

#[test]
fn more_room_than_the_driver_has_is_given_in_turns() {
    let (device, _) = open(Mock::new(None)).unwrap();
    let mut padded = entry(Direction::Outbound);
    if let Parameters::Ipsec(attributes) = &mut padded.parameters {
        // Results may be of any length.
        let flow_padding = FlowPadding { to: 256, multiple: 0 };
        attributes.rules = Rules::Outbound(OutboundRules { flow_padding, ..OutboundRules::default() });
    }
    let outbound = device.add_sa(vec![padded]).unwrap();
    let (_, verdicts) = process(&outbound, &vec![packet(100); 14], 65_535);
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
}

/// A device that works in threads of its own.
struct Slow(Arc<Mock>);

impl Transport for Slow {
    fn features(&self) -> u64 {
        self.0.features()
    }

    fn config(&self) -> Config {
        self.0.config()
    }

    fn max_queue_size(&self, queue: usize) -> u16 {
        self.0.max_queue_size(queue)
    }

    fn memory(&self) -> &Arc<Memory> {
        self.0.memory()
    }

    fn start(&mut self, features: u64, queues: &[QueuePlace]) -> Result<(), TransportError> {
        Arc::get_mut(&mut self.0).unwrap().start(features, queues)
    }

    fn kick(&self, queue: usize) {
        let mock = self.0.clone();
        if queue < 2 {
            return mock.kick(queue);
        }
        std::thread::spawn(move || mock.kick(queue));
    }

    fn interrupt(&self, queue: usize) -> Option<BorrowedFd<'_>> {
        self.0.interrupt(queue)
    }

    fn take_interrupt(&self, queue: usize) {
        self.0.take_interrupt(queue);
    }

    fn shares_interrupts(&self) -> bool {
        true
    }

    fn loss(&self) -> BorrowedFd<'_> {
        self.0.loss()
    }

    fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    fn stop(&self) {}
}

#[test]
fn a_device_that_trickles_misses_the_deadline() {
    let script: Script = Box::new(|queue, _, reply| {
        if queue > 1 {
            std::thread::sleep(Duration::from_millis(60));
        }
        reply
    });
    let (device, _) = open(Slow(Arc::new(Mock::new(Some(script))))).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let start = Instant::now();
    let (_, verdicts) = process(&outbound, &vec![packet(13_000); 16], 14_000);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    assert!(verdicts.contains(&Err(PacketError::Gone)) && device.is_lost(), "{verdicts:?}");
}

#[test]
fn what_a_lost_device_writes_is_not_seen() {
    let mock = Mock::new(None);
    let (memory, loss) = (mock.memory().clone(), mock.loss.clone());
    // The same memory as another process has it.
    let (file, len) = (memory.file().unwrap().as_fd().try_clone_to_owned().unwrap(), memory.len());
    let theirs = MmapRegion::<()>::from_file(FileOffset::new(file.into(), 0), len).unwrap();
    let write = |at: usize| theirs.as_volatile_slice().write_slice(&[0x66; 64], at).unwrap();
    let (device, lost) = open(mock).unwrap();
    let mut buffers: Vec<_> = (0..8).map(|_| device.allocate(10_000).unwrap()).collect();
    drop(buffers.swap_remove(3));
    let places: Vec<_> = buffers.iter().map(|buffer| buffer.start().addr() - memory.start().addr()).collect();
    buffers.iter_mut().for_each(|buffer| bytes(buffer).fill(0x11));
    write(places[0]);
    assert_eq!(bytes(&mut buffers[0])[..65], [[0x66; 64].as_slice(), &[0x11]].concat(), "the memory is shared");
    rustix::io::write(&*loss, &1u64.to_ne_bytes()).unwrap();
    let start = Instant::now();
    while lost.load(SeqCst) == 0 {
        assert!(start.elapsed() < Duration::from_secs(2), "not noticed");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(bytes(&mut buffers[0])[..65], [[0x66; 64].as_slice(), &[0x11]].concat(), "what was there stays");
    for (buffer, place) in buffers.iter_mut().zip(places) {
        bytes(buffer).fill(0x22);
        (0..10_000 - 64).step_by(512).for_each(|at| write(place + at));
        assert!(bytes(buffer).iter().all(|byte| *byte == 0x22));
    }
    assert!(device.allocate(64).is_none(), "what is allocated now is memory like any other");
}

#[test]
fn who_uses_shared_memory_while_the_device_is_lost_loses_nothing() {
    const LEN: usize = 1 << 20;
    for _ in 0..10 {
        let mock = Mock::new(None);
        let loss = mock.loss.clone();
        let (device, lost) = open(mock).unwrap();
        let mut buffer = device.allocate(LEN).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let bytes = bytes(&mut buffer);
                for round in 0u8.. {
                    bytes.fill(round);
                    let done = lost.load(SeqCst) > 0;
                    assert!(bytes.iter().all(|byte| *byte == round));
                    if done || round == u8::MAX {
                        break;
                    }
                }
            });
            std::thread::sleep(Duration::from_millis(2));
            rustix::io::write(&*loss, &1u64.to_ne_bytes()).unwrap();
            writer.join().unwrap();
        });
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let script: Script = Box::new(|queue, request, mut reply| {
        if queue == 0 && request.starts_with(&[3, 2]) {
            // A reading without entries.
            reply.bytes[24..].fill(0);
        }
        reply
    });
    let (device, _) = open(Mock::new(Some(script))).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    assert!(outbound.read().is_err());
    let silent: Script = Box::new(|queue, request, reply| Reply {
        step: u16::from(!(queue == 0 && request.starts_with(&[3, 2]))),
        ..reply
    });
    let (device, _) = open(Mock::new(Some(silent))).unwrap();
    let outbound = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    assert!(matches!(outbound.read(), Err(DriverError::Gone)));
}
