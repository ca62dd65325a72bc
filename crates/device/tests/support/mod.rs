//! A driver of the tests' own: vhost-user messages by the `vhost` crate's frontend, memory of a memfd, and split rings
//! written by hand, so that they can also be written wrongly.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod sas;

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use gipsec_device::{
    accelerator::Accelerator,
    backend::DRAIN,
    settings::{AcceleratorTable, Settings},
};
use gipsec_engine::Direction;
use gipsec_virtio::message::{
    Config, RequestStatus,
    control::{AttachMode, Command, ControlAnswer, NAME_SIZE, Totals},
    data::{PacketEntry, PacketResult, RequestHeader, answer_prefix},
    event::Event,
    feature,
};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo, VringConfigData,
    vhost_user::{
        Frontend, VhostUserFrontend,
        message::{VhostUserConfigFlags, VhostUserProtocolFeatures, VhostUserVirtioFeatures},
    },
};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use zerocopy::{FromBytes, IntoBytes};

/// Where the driver's memory begins, as the device sees it and as it says.
pub(crate) const BASE: u64 = 0x10_0000;
const USER: u64 = 0x7f00_0000_0000;
/// Bytes of it.
pub(crate) const MEMORY: u64 = 32 << 20;
/// Memory of a queue: rings, then indirect tables, then what the requests are.
const QUEUE: u64 = 4 << 20;
const AVAIL: u64 = 0x4000;
const USED: u64 = 0x6000;
const TABLES: u64 = 0x1_0000;
pub(crate) const ROOM: u64 = 0x4_0000;
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// A queue as the driver has it.
pub(crate) struct Queue {
    pub(crate) index: usize,
    pub(crate) size: u16,
    base: u64,
    pub(crate) next_avail: u16,
    pub(crate) last_used: u16,
    pub(crate) kick: EventFd,
    pub(crate) call: EventFd,
}

pub(crate) struct Driver {
    pub(crate) frontend: Frontend,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) file: File,
    pub(crate) queues: Vec<Queue>,
    pub(crate) features: u64,
}

/// How a driver sets itself up.
pub(crate) struct Setup {
    pub(crate) features: u64,
    pub(crate) queue_size: u16,
    pub(crate) pairs: usize,
    pub(crate) memfd: MemfdFlags,
}

impl Default for Setup {
    fn default() -> Self {
        let features = feature::ALL | feature::INDIRECT_DESC | feature::EVENT_IDX | feature::VERSION_1;
        Self { features, queue_size: 256, pairs: 1, memfd: MemfdFlags::ALLOW_SEALING }
    }
}

/// An accelerator of this process, with its directory.
pub(crate) struct Local {
    pub(crate) directory: tempfile::TempDir,
    accelerator: Option<Accelerator>,
}

impl Local {
    pub(crate) fn start(table: AcceleratorTable) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = Some(directory.path().join("ipsec0.sock"));
        let table = AcceleratorTable { socket, ..table };
        let settings = Settings::new(vec![table], Path::new("/"), None).unwrap().accelerators.remove(0);
        Self { accelerator: Some(Accelerator::start(settings).unwrap()), directory }
    }

    pub(crate) fn accelerator(&self) -> &Accelerator {
        self.accelerator.as_ref().unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("ipsec0.sock")
    }

    /// Ends it: the time that took.
    pub(crate) fn end(&mut self) -> Duration {
        let start = Instant::now();
        if let Some(mut accelerator) = self.accelerator.take() {
            accelerator.stop();
            accelerator.finish(Instant::now() + DRAIN);
        }
        start.elapsed()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.end();
    }
}

/// Calls `done` until it says yes.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Driver {
    /// Connects, and sets up memory and queues.
    pub(crate) fn connect(path: &Path, setup: &Setup) -> Self {
        Self::try_connect(path, setup).unwrap()
    }

    /// As [`Driver::connect`], and attached.
    pub(crate) fn attached(path: &Path, mode: AttachMode) -> Self {
        let mut driver = Self::connect(path, &Setup::default());
        driver.attach(mode).unwrap();
        driver
    }

    pub(crate) fn try_connect(path: &Path, setup: &Setup) -> Result<Self, vhost::Error> {
        let count = 2 + 2 * setup.pairs;
        let mut frontend = Frontend::connect(path, 64)?;
        frontend.set_owner()?;
        let offered = frontend.get_features()?;
        assert_eq!(setup.features & !offered, 0, "all that is asked for is offered");
        frontend.set_features(setup.features | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits())?;
        let protocol = frontend.get_protocol_features()?;
        assert!(protocol.contains(VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::REPLY_ACK));
        frontend.set_protocol_features(protocol)?;
        frontend.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
        let file: File = memfd_create("driver", setup.memfd).unwrap().into();
        ftruncate(&file, MEMORY).unwrap();
        let size = usize::try_from(MEMORY).unwrap();
        let ours = FileOffset::new(file.try_clone().unwrap(), 0);
        let memory = GuestMemoryMmap::from_ranges_with_files([(GuestAddress(BASE), size, Some(ours))]).unwrap();
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: BASE,
            memory_size: MEMORY,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: file.as_raw_fd(),
        };
        frontend.set_mem_table(&[region])?;
        let mut driver = Self { frontend, memory, file, queues: Vec::new(), features: setup.features };
        for index in 0..count {
            let queue = Queue {
                index,
                size: setup.queue_size,
                base: BASE + QUEUE * index as u64,
                next_avail: 0,
                last_used: 0,
                kick: EventFd::new(EFD_NONBLOCK).unwrap(),
                call: EventFd::new(EFD_NONBLOCK).unwrap(),
            };
            driver.queues.push(queue);
            driver.start_queue(index, 0)?;
        }
        Ok(driver)
    }

    /// Starts a queue, or starts it again.
    pub(crate) fn start_queue(&mut self, index: usize, base: u16) -> Result<(), vhost::Error> {
        let queue = &self.queues[index];
        self.frontend.set_vring_num(index, queue.size)?;
        self.frontend.set_vring_base(index, base)?;
        let user = |address: u64| address - BASE + USER;
        let config = VringConfigData {
            queue_max_size: queue.size,
            queue_size: queue.size,
            flags: 0,
            desc_table_addr: user(queue.base),
            used_ring_addr: user(queue.base + USED),
            avail_ring_addr: user(queue.base + AVAIL),
            log_addr: None,
        };
        self.frontend.set_vring_addr(index, &config)?;
        self.frontend.set_vring_call(index, &queue.call)?;
        self.frontend.set_vring_kick(index, &queue.kick)?;
        self.frontend.set_vring_enable(index, true)
    }

    /// Reads the configuration space.
    pub(crate) fn config(&mut self) -> Config {
        read_config(&mut self.frontend)
    }

    /// Whether the device has hung up.
    pub(crate) fn is_over(&mut self) -> bool {
        self.frontend.get_features().is_err()
    }

    // The rings.

    pub(crate) fn write_descriptor(&self, table: u64, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.memory.write_slice(&bytes, GuestAddress(table + 16 * u64::from(index))).unwrap();
    }

    /// The descriptor table of a queue.
    pub(crate) fn table(&self, queue: usize) -> u64 {
        self.queues[queue].base
    }

    /// A table of the queue's for indirect descriptors.
    pub(crate) fn indirect(&self, queue: usize, slot: u16) -> u64 {
        self.queues[queue].base + TABLES + 64 * u64::from(slot)
    }

    /// Memory of the queue's for requests.
    pub(crate) fn room(&self, queue: usize) -> u64 {
        self.queues[queue].base + ROOM
    }

    /// Makes a chain available.
    pub(crate) fn publish(&mut self, queue: usize, head: u16) {
        let queue = &mut self.queues[queue];
        let entry = queue.base + AVAIL + 4 + 2 * u64::from(queue.next_avail % queue.size);
        self.memory.store(head.to_le(), GuestAddress(entry), Ordering::Release).unwrap();
        queue.next_avail = queue.next_avail.wrapping_add(1);
        let (number, index) = (queue.index, queue.next_avail);
        self.set_avail_index(number, index);
    }

    pub(crate) fn set_avail_index(&self, queue: usize, index: u16) {
        let address = GuestAddress(self.queues[queue].base + AVAIL + 2);
        self.memory.store(index.to_le(), address, Ordering::SeqCst).unwrap();
    }

    /// Asks for a call when the next request comes back.
    pub(crate) fn ask_for_call(&self, queue: usize) {
        let queue = &self.queues[queue];
        let address = GuestAddress(queue.base + AVAIL + 4 + 2 * u64::from(queue.size));
        self.memory.store(queue.last_used.to_le(), address, Ordering::SeqCst).unwrap();
    }

    pub(crate) fn kick(&self, queue: usize) {
        self.queues[queue].kick.write(1).unwrap();
    }

    /// The next request that came back: its id and its used length.
    pub(crate) fn used(&mut self, queue: usize) -> Option<(u32, u32)> {
        let queue = &mut self.queues[queue];
        let index: u16 = self.memory.load(GuestAddress(queue.base + USED + 2), Ordering::Acquire).unwrap();
        if u16::from_le(index) == queue.last_used {
            return None;
        }
        let entry = queue.base + USED + 4 + 8 * u64::from(queue.last_used % queue.size);
        let read = |address: u64| u32::from_le(self.memory.load(GuestAddress(address), Ordering::Relaxed).unwrap());
        queue.last_used = queue.last_used.wrapping_add(1);
        Some((read(entry), read(entry + 4)))
    }

    /// Waits for it.
    pub(crate) fn wait(&mut self, queue: usize) -> (u32, u32) {
        let start = Instant::now();
        loop {
            if let Some(used) = self.used(queue) {
                return used;
            }
            assert!(start.elapsed() < PATIENCE, "queue {queue} does not answer");
            std::thread::yield_now();
        }
    }

    // Requests.

    /// Makes a request available in one indirect chain: `message` at `at`, and `room` writable bytes after it.
    pub(crate) fn submit_at(&mut self, queue: usize, slot: u16, at: u64, message: &[u8], room: u32) {
        self.memory.write_slice(message, GuestAddress(at)).unwrap();
        let length = u32::try_from(message.len()).unwrap();
        let (table, answer) = (self.indirect(queue, slot), at + message.len() as u64);
        self.write_descriptor(table, 0, at, length, NEXT, 1);
        self.write_descriptor(table, 1, answer, room, WRITE, 0);
        self.write_descriptor(self.table(queue), slot, table, 32, INDIRECT, 0);
        self.publish(queue, slot);
        self.kick(queue);
    }

    /// A request and its answer, which is all of the writable part.
    pub(crate) fn request(&mut self, queue: usize, message: &[u8], room: u32) -> Vec<u8> {
        let at = self.room(queue);
        self.submit_at(queue, 0, at, message, room);
        let (id, used) = self.wait(queue);
        assert!(id == 0 && used <= room, "{id} {used}");
        let mut answer = vec![0; usize::try_from(room).unwrap()];
        self.memory.read_slice(&mut answer, GuestAddress(at + message.len() as u64)).unwrap();
        answer
    }

    /// The answer to a control request.
    pub(crate) fn control(&mut self, message: &[u8], room: u32) -> (u32, Vec<u8>) {
        let answer = self.request(0, message, room + 16);
        let (header, body) = ControlAnswer::read_from_prefix(&answer).unwrap();
        (header.status.get(), body[..usize::try_from(header.length.get()).unwrap()].to_vec())
    }

    pub(crate) fn command(&mut self, command: &Command, group: u32) -> Result<Vec<u8>, RequestStatus> {
        let (status, answer) = self.control(&command.encode(group).unwrap(), 65_536);
        match RequestStatus::from_code(status) {
            RequestStatus::Ok => Ok(answer),
            status => Err(status),
        }
    }

    pub(crate) fn attach(&mut self, mode: AttachMode) -> Result<(), RequestStatus> {
        let mut name = [0; NAME_SIZE];
        name[..4].copy_from_slice(b"test");
        self.command(&Command::Attach { mode, name }, 0).map(drop)
    }

    pub(crate) fn totals(&mut self) -> Totals {
        Totals::read_from_bytes(&self.command(&Command::Statistics, 0).unwrap()).unwrap()
    }

    /// Packets to a data queue: for each its status and its result.
    pub(crate) fn packets(
        &mut self,
        queue: usize,
        packets: &[(u64, &[u8])],
        room: u32,
    ) -> Result<Vec<(u32, Vec<u8>)>, RequestStatus> {
        let message = data_message(packets, room);
        let count = packets.len();
        let size = answer_prefix(count) + count * usize::try_from(room).unwrap();
        let answer = self.request(queue, &message, u32::try_from(size).unwrap());
        read_data_answer(&answer, count, room)
    }

    /// Puts a buffer into eventq and waits for the event.
    pub(crate) fn event(&mut self) -> Option<Event> {
        let answer = self.request(1, &[], 24);
        Event::read(&answer)
    }
}

pub(crate) fn read_config(frontend: &mut Frontend) -> Config {
    let (_, bytes) = frontend.get_config(0, 64, VhostUserConfigFlags::WRITABLE, &[0; 64]).unwrap();
    Config::read_from_bytes(&bytes).unwrap()
}

/// A data queue of the first pair.
pub(crate) fn queue_of(direction: Direction) -> usize {
    gipsec_virtio::message::data_queue(0, direction)
}

pub(crate) fn data_message(packets: &[(u64, &[u8])], room: u32) -> Vec<u8> {
    let count = u16::try_from(packets.len()).unwrap();
    let header = RequestHeader { count: count.into(), flags: 0.into(), reserved: 0.into() };
    let mut message = header.as_bytes().to_vec();
    for (sa, packet) in packets {
        let length = u32::try_from(packet.len()).unwrap();
        let entry = PacketEntry { sa: (*sa).into(), length: length.into(), room: room.into() };
        message.extend_from_slice(entry.as_bytes());
    }
    packets.iter().for_each(|(_, packet)| message.extend_from_slice(packet));
    message
}

pub(crate) fn read_data_answer(answer: &[u8], count: usize, room: u32) -> Result<Vec<(u32, Vec<u8>)>, RequestStatus> {
    let status = u32::from_le_bytes(answer[..4].try_into().unwrap());
    if status != 0 {
        return Err(RequestStatus::from_code(status));
    }
    let (results, _) = <[PacketResult]>::ref_from_prefix_with_elems(&answer[8..], count).unwrap();
    let rooms = answer[answer_prefix(count)..].chunks(usize::try_from(room).unwrap().max(1));
    let of = |(result, room): (&PacketResult, &[u8])| {
        (result.status.get(), room[..usize::try_from(result.length.get()).unwrap()].to_vec())
    };
    Ok(results.iter().zip(rooms).map(of).collect())
}
