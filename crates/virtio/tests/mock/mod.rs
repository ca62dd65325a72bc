//! A device in the same thread: what the driver makes available is looked at when it kicks. It is as plain as can be, and
//! does what a script tells it to do wrong.

#![allow(dead_code, unreachable_pub, reason = "each user needs another part")]

pub mod traffic;

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex},
};

use gipsec_engine::{Buffers, Direction, PacketError, Sa};
use gipsec_virtio::{
    memory::Memory,
    message::{
        Config, RequestStatus,
        control::{Command, ControlAnswer, Done, ReadFrom},
        data::{AnswerHeader, DUMMY, PacketEntry, PacketResult, RequestHeader},
        event::Event,
        feature, packet_status, reading,
        status::NO_SA,
    },
    transport::{QueuePlace, Transport, TransportError},
};
use rustix::event::{EventfdFlags, eventfd};
use vm_memory::MmapRegion;
use zerocopy::{FromBytes, IntoBytes};

/// What the device does with a request.
pub struct Reply {
    /// What it writes.
    pub bytes: Vec<u8>,
    /// The used id, where it is not the request's.
    pub id: Option<u32>,
    /// The used length, where it is not that of what it wrote.
    pub len: Option<u32>,
    /// How far the used index goes on.
    pub step: u16,
}

impl Reply {
    /// What a device ought to do.
    pub fn honest(bytes: Vec<u8>) -> Self {
        Self { bytes, id: None, len: None, step: 1 }
    }
}

/// What the device does wrong: given the queue, the request and what would be right.
pub type Script = Box<dyn FnMut(usize, &[u8], Reply) -> Reply + Send>;

#[derive(Default)]
pub struct State {
    places: Vec<QueuePlace>,
    seen: Vec<u16>,
    sas: Vec<Option<Box<Sa>>>,
    events: Vec<Event>,
    script: Option<Script>,
    /// Requests that were seen.
    pub requests: usize,
}

/// The device, and how it is reached.
pub struct Mock {
    memory: Arc<Memory>,
    pub state: Arc<Mutex<State>>,
    interrupt: OwnedFd,
    pub loss: Arc<OwnedFd>,
    features: u64,
    config: Config,
    /// Bytes that the device sees as one piece: between two of them are as many that are nobody's.
    page: usize,
    /// Whether it looks at the event queue by itself.
    pub looks_at_events: bool,
}

/// Where the device sees the memory.
const BASE: u64 = 0x1_0000_0000;

fn event_fd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

impl Mock {
    pub fn new(script: Option<Script>) -> Self {
        Self::with(feature::ALL | feature::VERSION_1 | feature::INDIRECT_DESC | feature::EVENT_IDX, script)
    }

    pub fn with(features: u64, script: Option<Script>) -> Self {
        let config = Config {
            data_pairs: 1.into(),
            max_sas: 100.into(),
            max_batch: 64.into(),
            max_bytes: (1 << 20).into(),
            ..Config::default()
        };
        Self {
            memory: Arc::new(Memory::shared(4 << 20, BASE).unwrap()),
            state: Arc::new(Mutex::new(State { script, ..State::default() })),
            interrupt: event_fd(),
            loss: Arc::new(event_fd()),
            features,
            config,
            page: 1 << 40,
            looks_at_events: true,
        }
    }

    /// A device that sees the memory in pages, as one on the bus does.
    pub fn paged() -> Self {
        let (page, count) = (2 << 20, 6);
        let addresses = (0..count).map(|number| BASE + 2 * number * page as u64).collect();
        let region = MmapRegion::new(page * usize::try_from(count).unwrap()).unwrap();
        Self { memory: Arc::new(Memory::pages(region, page, addresses).unwrap()), page, ..Self::new(None) }
    }
}

/// A descriptor as the device reads it.
struct Part {
    offset: usize,
    len: usize,
    writable: bool,
}

impl Mock {
    fn number(&self, offset: usize) -> usize {
        usize::from(u16::from_le(self.memory.load::<u16>(offset).unwrap()))
    }

    /// The parts of a request; panics at what a driver must not do.
    fn parts(&self, place: &QueuePlace, head: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        let (mut table, mut size, mut at) = (place.descriptors, usize::from(place.size), head);
        loop {
            assert!(at < size, "a descriptor beyond its table");
            let mut bytes = [0; 16];
            assert!(self.memory.read(table + 16 * at, &mut bytes));
            let address = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
            let flags = u16::from_le_bytes(bytes[12..14].try_into().unwrap());
            let next = u16::from_le_bytes(bytes[14..].try_into().unwrap());
            let address = usize::try_from(address - BASE).unwrap();
            let (page, within) = (address / (2 * self.page), address % (2 * self.page));
            assert!(within + len <= self.page, "a descriptor beyond its page");
            let offset = page * self.page + within;
            assert!(offset + len <= self.memory.len(), "a descriptor beyond the memory");
            if flags & 4 != 0 {
                assert!(flags == 4 && table == place.descriptors && len.is_multiple_of(16) && len > 0);
                (table, size, at) = (offset, len / 16, 0);
                continue;
            }
            parts.push(Part { offset, len, writable: flags & 2 != 0 });
            if flags & 1 == 0 {
                break;
            }
            assert!(parts.len() < usize::from(place.size), "a chain longer than the queue, or a loop");
            at = usize::from(next);
        }
        assert!(parts.is_sorted_by_key(|part| part.writable), "what is readable comes first");
        parts
    }

    fn write_parts(&self, parts: &[Part], bytes: &[u8]) {
        let mut left = bytes;
        for part in parts.iter().filter(|part| part.writable) {
            let (now, later) = left.split_at(left.len().min(part.len));
            self.memory.write(part.offset, now);
            left = later;
        }
    }

    fn use_request(&self, place: &QueuePlace, head: usize, reply: &Reply) {
        let index = self.number(place.used + 2);
        let entry = place.used + 4 + 8 * (index % usize::from(place.size));
        self.memory.store(entry, reply.id.unwrap_or(u32::try_from(head).unwrap()).to_le());
        self.memory.store(entry + 4, reply.len.unwrap_or(u32::try_from(reply.bytes.len()).unwrap()).to_le());
        self.memory.store(place.used + 2, u16::try_from(index).unwrap().wrapping_add(reply.step).to_le());
        rustix::io::write(&self.interrupt, &1u64.to_ne_bytes()).unwrap();
    }

    /// Looks at what is available.
    fn look(&self, queue: usize) {
        // A defect that a test has found is told once.
        let Ok(mut state) = self.state.lock() else { return };
        let place = state.places[queue];
        while queue != 1 && usize::from(state.seen[queue]) != self.number(place.available + 2) {
            let head =
                self.number(place.available + 4 + 2 * (usize::from(state.seen[queue]) % usize::from(place.size)));
            state.seen[queue] = state.seen[queue].wrapping_add(1);
            state.requests += 1;
            let parts = self.parts(&place, head);
            let mut request = Vec::new();
            for part in parts.iter().filter(|part| !part.writable) {
                let start = request.len();
                request.resize(start + part.len, 0);
                self.memory.read(part.offset, &mut request[start..]);
            }
            let room: usize = parts.iter().filter(|part| part.writable).map(|part| part.len).sum();
            let right =
                Reply::honest(if queue == 0 { state.control(&request) } else { state.data(queue, &request, room) });
            let reply = match &mut state.script {
                Some(script) => script(queue, &request, right),
                None => right,
            };
            self.write_parts(&parts, &reply.bytes);
            self.use_request(&place, head, &reply);
            // Wants to be told of the next one, too.
            let avail_event = place.used + 4 + 8 * usize::from(place.size);
            self.memory.store(avail_event, state.seen[queue].to_le());
        }
        // Kept until there are buffers.
        let place = state.places[1];
        while usize::from(state.seen[1]) != self.number(place.available + 2) && !state.events.is_empty() {
            let head = self.number(place.available + 4 + 2 * (usize::from(state.seen[1]) % usize::from(place.size)));
            state.seen[1] = state.seen[1].wrapping_add(1);
            let reply = Reply::honest(state.events.remove(0).record().as_bytes().to_vec());
            self.write_parts(&self.parts(&place, head), &reply.bytes);
            self.use_request(&place, head, &reply);
        }
        let avail_event = place.used + 4 + 8 * usize::from(place.size);
        self.memory.store(avail_event, state.seen[1].to_le());
    }
}

impl State {
    /// Where a queue is.
    pub fn place(&self, queue: usize) -> QueuePlace {
        self.places[queue]
    }

    /// Says something that no SA has said, with the next kick.
    pub fn forge(&mut self, events: impl IntoIterator<Item = Event>) {
        self.events.extend(events);
    }

    fn control(&mut self, request: &[u8]) -> Vec<u8> {
        let answer = |status: RequestStatus, body: &[u8]| {
            let length = u32::try_from(body.len()).unwrap().into();
            let header = ControlAnswer { status: (status as u32).into(), length, reserved: 0.into() };
            [header.as_bytes(), body].concat()
        };
        let ok = |body: &[u8]| answer(RequestStatus::Ok, body);
        let place = |sa: u64| usize::try_from(sa).unwrap().wrapping_sub(1);
        let Ok((command, _)) = Command::decode(request) else { panic!("a command that cannot be") };
        match command {
            Command::Attach { .. } | Command::Detach => ok(&[]),
            Command::SaAdd { entries, .. } => match Sa::new(entries) {
                Ok(sa) => {
                    self.sas.push(Some(sa));
                    ok(&(self.sas.len() as u64).to_le_bytes())
                }
                Err(_) => answer(RequestStatus::Invalid, &[]),
            },
            Command::SaDelete(sa) | Command::SaStatistics(sa) | Command::SaModify(sa, _)
                if self.sas.get(place(sa)).is_none_or(Option::is_none) =>
            {
                answer(RequestStatus::NotFound, &[])
            }
            Command::SaRead { from: ReadFrom::Exact(sa), .. }
                if self.sas.get(place(sa)).is_none_or(Option::is_none) =>
            {
                answer(RequestStatus::NotFound, &[])
            }
            Command::SaDelete(sa) => {
                self.sas[place(sa)] = None;
                ok(Done::default().as_bytes())
            }
            Command::SaRead { from: ReadFrom::Exact(sa), direction, .. } => {
                let mut body = [1u64.to_le_bytes()].concat();
                reading::encode(sa, direction, &self.sas[place(sa)].as_ref().unwrap().read(), &mut body).unwrap();
                ok(&body)
            }
            Command::SaModify(sa, change) => match self.sas[place(sa)].as_ref().unwrap().modify(&change) {
                Ok(()) => ok(&[]),
                Err(_) => answer(RequestStatus::Invalid, &[]),
            },
            Command::SaStatistics(_) => ok(Done { packets: 3.into(), bytes: 4.into() }.as_bytes()),
            _ => answer(RequestStatus::Unsupported, &[]),
        }
    }

    fn data(&mut self, queue: usize, mut request: &[u8], room: usize) -> Vec<u8> {
        let header = RequestHeader::read_from_prefix(request).unwrap().0;
        request = &request[8..];
        let count = usize::from(header.count.get());
        let entries: Vec<PacketEntry> =
            (0..count).map(|at| PacketEntry::read_from_bytes(&request[16 * at..][..16]).unwrap()).collect();
        request = &request[16 * count..];
        let (mut results, mut rooms) = (Vec::new(), Vec::new());
        for entry in entries {
            let length = entry.length.get() as usize;
            let dummy = header.flags.get() == DUMMY;
            let (packet, rest) = request.split_at(if dummy { 0 } else { length });
            request = rest;
            let mut output = vec![0xee; entry.room.get() as usize];
            let sa = self.sas.get(usize::try_from(entry.sa.get()).unwrap().wrapping_sub(1)).and_then(Option::as_ref);
            let wanted = if queue.is_multiple_of(2) { Direction::Inbound } else { Direction::Outbound };
            let (status, length) = match sa.filter(|sa| sa.direction() == wanted) {
                None => (NO_SA, 0),
                Some(sa) => {
                    let mut verdicts = [Err(PacketError::Crypto)];
                    let events =
                        sa.process(&mut [Buffers::Apart { input: packet, output: &mut output }], &mut verdicts);
                    self.events.extend(Event::each(entry.sa.get(), &events));
                    verdicts[0].map_or_else(|error| (packet_status(error), 0), |length| (0, length))
                }
            };
            results.push(PacketResult { status: status.into(), length: u32::try_from(length).unwrap().into() });
            rooms.extend(output);
        }
        assert!(request.is_empty(), "bytes after the packets");
        let header = AnswerHeader { status: 0.into(), reserved: 0.into() };
        let answer = [header.as_bytes(), results.as_bytes(), &rooms].concat();
        assert_eq!(answer.len(), room, "the writable part is what the entries say");
        answer
    }
}

impl Transport for Mock {
    fn features(&self) -> u64 {
        self.features
    }

    fn config(&self) -> Config {
        self.config
    }

    fn max_queue_size(&self, queue: usize) -> u16 {
        if queue < 4 { 64 } else { 0 }
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    fn start(&mut self, features: u64, queues: &[QueuePlace]) -> Result<(), TransportError> {
        assert_eq!(features & !self.features, 0);
        let mut state = self.state.lock().unwrap();
        state.places = queues.to_vec();
        state.seen = vec![0; queues.len()];
        Ok(())
    }

    fn kick(&self, queue: usize) {
        if queue != 1 || self.looks_at_events {
            self.look(queue);
        }
    }

    fn interrupt(&self, _: usize) -> Option<BorrowedFd<'_>> {
        Some(self.interrupt.as_fd())
    }

    fn take_interrupt(&self, _: usize) {
        let _ = rustix::io::read(&self.interrupt, &mut [0; 8]);
    }

    fn shares_interrupts(&self) -> bool {
        true
    }

    fn loss(&self) -> BorrowedFd<'_> {
        self.loss.as_fd()
    }

    fn is_lost(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&*self.loss, PollFlags::IN)], Some(&now)).unwrap() > 0
    }

    fn stop(&self) {}
}
