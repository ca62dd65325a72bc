//! A device in the same thread: what the driver makes available is looked at when it kicks. It is as plain as can be, and
//! does what a script tells it to do wrong. What it answers it may be made to hold back.

#![allow(dead_code, unreachable_pub, reason = "each user needs another part")]

mod answers;
pub mod bench;
pub mod calls;
pub mod held;
pub mod traffic;
pub mod wrong;

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex,
        atomic::{Ordering::SeqCst, fence},
    },
};

use gipsec_engine::Sa;
use gipsec_virtio::{
    memory::Memory,
    message::{Config, event::Event, feature},
    transport::{QueuePlace, Transport, TransportError},
};
use rustix::event::{EventfdFlags, eventfd};
use vm_memory::MmapRegion;
use zerocopy::IntoBytes;

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
    /// What was not answered yet.
    held: Vec<Answer>,
    /// Requests that were seen.
    pub requests: usize,
}

/// What becomes of a request.
struct Answer {
    place: QueuePlace,
    head: usize,
    parts: Vec<Part>,
    reply: Reply,
}

/// The device, and how it is reached.
pub struct Mock {
    memory: Arc<Memory>,
    pub state: Arc<Mutex<State>>,
    /// Of each queue.
    interrupts: [OwnedFd; 6],
    pub loss: Arc<OwnedFd>,
    features: u64,
    config: Config,
    /// Bytes that the device sees as one piece: between two of them are as many that are nobody's.
    page: usize,
    /// Whether it looks at the event queue by itself.
    pub looks_at_events: bool,
    /// Whether queues have interrupts of their own, and only those that the driver asks for.
    pub interrupts_apart: bool,
    /// Whether what data queues are asked is answered by [`Mock::answer`] only.
    pub holds: bool,
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
            memory: Arc::new(Memory::shared(8 << 20, BASE).unwrap()),
            state: Arc::new(Mutex::new(State { script, ..State::default() })),
            interrupts: [(); 6].map(|()| event_fd()),
            loss: Arc::new(event_fd()),
            features,
            config,
            page: 1 << 40,
            looks_at_events: true,
            interrupts_apart: false,
            holds: false,
        }
    }

    /// A device with two pairs of data queues.
    pub fn wide() -> Self {
        let mock = Self::new(None);
        Self { config: Config { data_pairs: 2.into(), ..mock.config }, ..mock }
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

    /// Takes its queues.
    fn begin(&self, features: u64, queues: &[QueuePlace]) {
        assert_eq!(features & !self.features, 0);
        let mut state = self.state.lock().unwrap();
        state.places = queues.to_vec();
        state.seen = vec![0; queues.len()];
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
        let old = u16::try_from(index).unwrap();
        let new = old.wrapping_add(reply.step);
        self.memory.store(place.used + 2, new.to_le());
        fence(SeqCst);
        if !self.interrupts_apart || self.is_asked_to_interrupt(place, old, new) {
            self.raise(place.queue);
        }
    }

    fn is_asked_to_interrupt(&self, place: &QueuePlace, old: u16, new: u16) -> bool {
        if self.features & feature::EVENT_IDX == 0 {
            return self.number(place.available) & 1 == 0;
        }
        let event = u16::try_from(self.number(place.available + 4 + 2 * usize::from(place.size))).unwrap();
        new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
    }

    /// Interrupts.
    pub fn raise(&self, queue: usize) {
        let queue = if self.interrupts_apart { queue } else { 0 };
        rustix::io::write(&self.interrupts[queue], &1u64.to_ne_bytes()).unwrap();
    }

    /// The same.
    fn answer_one(&self, state: &mut State, which: usize) {
        let Some(last) = state.held.len().checked_sub(1) else { return };
        let Answer { place, head, parts, reply } = state.held.remove(which.min(last));
        self.write_parts(&parts, &reply.bytes);
        self.use_request(&place, head, &reply);
    }

    /// Answers the `which`-th of what is held, or the last; whether there was any.
    pub fn answer(&self, which: usize) -> bool {
        let Ok(mut state) = self.state.lock() else { return false };
        let is_held = !state.held.is_empty();
        self.answer_one(&mut state, which);
        is_held
    }

    /// Requests that are held.
    pub fn held(&self) -> usize {
        self.state.lock().unwrap().held.len()
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
            state.held.push(Answer { place, head, parts, reply });
            if !self.holds || queue == 0 {
                self.answer_one(&mut state, usize::MAX);
            }
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
}

impl Transport for Mock {
    fn features(&self) -> u64 {
        self.features
    }

    fn config(&self) -> Config {
        self.config
    }

    fn max_queue_size(&self, queue: usize) -> u16 {
        if queue < 2 + 2 * self.config.data_pairs.get() as usize { 64 } else { 0 }
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    fn start(&mut self, features: u64, queues: &[QueuePlace]) -> Result<(), TransportError> {
        self.begin(features, queues);
        Ok(())
    }

    fn kick(&self, queue: usize) {
        if queue != 1 || self.looks_at_events {
            self.look(queue);
        }
    }

    fn interrupt(&self, queue: usize) -> Option<BorrowedFd<'_>> {
        Some(self.interrupts[if self.interrupts_apart { queue } else { 0 }].as_fd())
    }

    fn take_interrupt(&self, queue: usize) {
        let _ = rustix::io::read(&self.interrupts[if self.interrupts_apart { queue } else { 0 }], &mut [0; 8]);
    }

    fn shares_interrupts(&self) -> bool {
        !self.interrupts_apart
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
