//! What a worker does with its rings: takes requests, has them done, gives them back. One thread serves controlq and
//! eventq of a client, one more each pair of data queues. A driver's rings are hostile: what the `virtio-queue` crate
//! finds wrong with one ends the connection.

use std::{
    sync::atomic::{Ordering, fence},
    thread,
    time::{Duration, Instant},
};

use gipsec_engine::Direction;
use gipsec_virtio::window::Window;
use parking_lot::MutexGuard;
use virtio_queue::{Error, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use zerocopy::IntoBytes;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    client::Client,
    control, data,
    rate::Bucket,
    request::{Places, Request},
    ring::Ring,
};

/// Requests that are taken from one ring before the worker looks at the other one.
const BURST: usize = 32;
/// Bytes of them, up to which one more is taken: whoever stops a ring waits for a burst.
const BURST_BYTES: usize = 8 << 20;
/// Bytes of a buffer in eventq at least.
const EVENT_SIZE: usize = size_of::<gipsec_virtio::message::event::EventRecord>();
/// VRING_AVAIL_F_NO_INTERRUPT.
const NO_INTERRUPT: u16 = 1;

/// A ring that cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// As the crate says.
    #[error("{0}")]
    Ring(#[from] Error),
    /// Not in the driver's memory.
    #[error("a ring is not in the driver's memory")]
    Outside,
    /// The available ring cannot be read.
    #[error("an available entry is no descriptor")]
    Entry,
    /// Nothing can be waited for.
    #[error("its kicks cannot be waited for: {0}")]
    Wait(rustix::io::Errno),
}

/// What a worker keeps.
pub struct Worker {
    kind: Kind,
    /// The copy of a command.
    message: Zeroizing<Vec<u8>>,
    answer: Vec<u8>,
    scratch: data::Scratch,
    /// How long to look for more work before sleeping.
    window: Window,
    /// When it last fell asleep.
    asleep: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Control,
    Data,
}

/// What is done with the requests of a ring.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Control,
    Event,
    Data(Direction),
}

impl Worker {
    /// The worker of controlq and eventq.
    pub fn control() -> Self {
        Self::new(Kind::Control)
    }

    /// The worker of a pair of data queues.
    pub fn data() -> Self {
        Self::new(Kind::Data)
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            message: Zeroizing::default(),
            answer: Vec::new(),
            scratch: data::Scratch::default(),
            window: Window::default(),
            asleep: None,
        }
    }

    /// Overwrites what is left of packets.
    pub fn wipe(&mut self) {
        if !self.message.is_empty() {
            self.message.zeroize();
        }
        self.scratch.wipe();
    }

    /// Was woken, having slept for lack of work; `most` is how long it may look for some.
    pub fn wake(&mut self, most: Duration) {
        if let Some(asleep) = self.asleep.take() {
            self.window.slept(asleep.elapsed() + self.window.time(), most);
        }
    }

    /// How long to look for more work.
    pub fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    /// Falls asleep.
    pub fn sleep(&mut self) {
        self.asleep = Some(Instant::now());
    }

    fn role(&self, ring: usize) -> Role {
        match (self.kind, ring) {
            (Kind::Control, 0) => Role::Control,
            (Kind::Control, _) => Role::Event,
            (Kind::Data, 0) => Role::Data(Direction::Inbound),
            (Kind::Data, _) => Role::Data(Direction::Outbound),
        }
    }

    /// Takes up to a burst of requests from one of the worker's rings, and tells the driver once. Whether there were any.
    /// `told` is set when there are events for the driver.
    pub fn serve(
        &mut self,
        client: &Client,
        memory: &GuestMemoryMmap,
        number: usize,
        ring: &Ring,
        told: &mut bool,
    ) -> Result<bool, Broken> {
        let role = self.role(number);
        let memory = &Places::new(memory);
        let mut state = ring.lock();
        let mut request = Request::default();
        let (mut served, mut bytes) = (0, 0);
        while state.runs() && served < BURST && bytes < BURST_BYTES {
            if role == Role::Event && client.events().is_empty() {
                break;
            }
            let Some((head, sound)) = take(memory, &mut state.queue, &mut request)? else { break };
            let size = request.readable.length().saturating_add(request.writable.length());
            if !sound {
                // A broken chain is an empty message, which is refused.
                request.readable.clear();
            }
            // Whoever changes the ring meanwhile need not wait for the request.
            let used = MutexGuard::unlocked(&mut state, || {
                if let Some(wait) = client.bucket().and_then(Bucket::wait) {
                    // A long one longer.
                    thread::sleep(wait * u32::try_from(1 + (size >> 20)).unwrap_or(1).min(50));
                }
                match role {
                    Role::Control => self.control_request(client, &request),
                    Role::Event => write_event(client, &request),
                    Role::Data(direction) => data::handle(client, &mut self.scratch, direction, &request, told),
                }
            });
            // Not more than a chain can hold.
            let used = u32::try_from(used).unwrap_or(u32::MAX);
            state.queue.add_used(memory, head, used)?;
            served += 1;
            bytes += size;
        }
        let tells = served > 0 && wants_to_know(memory, &mut state.queue)?;
        drop(state);
        if tells {
            ring.call();
        }
        Ok(served > 0)
    }

    fn control_request(&mut self, client: &Client, request: &Request<'_>) -> usize {
        if let Some(bucket) = client.bucket() {
            bucket.charge(Instant::now());
        }
        let length = request.readable.length().min(control::MAX_REQUEST);
        if self.message.len() < length {
            self.message.zeroize();
            self.message.resize(length, 0);
        }
        request.readable.read(&mut self.message[..length]);
        control::handle(client, &self.message[..length], request.writable.length(), &mut self.answer);
        // There may be keys in it.
        self.message[..length].zeroize();
        request.writable.cursor().write(0, &self.answer);
        self.answer.len()
    }
}

/// Takes the next request; its head, and whether its chain is sound.
fn take<'m>(memory: &Places<'m>, queue: &mut Queue, request: &mut Request<'m>) -> Result<Option<(u16, bool)>, Broken> {
    let (table, size) = (GuestAddress(queue.desc_table()), queue.size());
    if queue.avail_idx(memory, Ordering::Relaxed)?.0 == queue.next_avail() {
        return Ok(None);
    }
    let Some(chain) = queue.iter(memory)?.next() else {
        return if queue.is_valid(memory) { Ok(None) } else { Err(Broken::Outside) };
    };
    let head = chain.head_index();
    if head >= size {
        return Err(Broken::Entry);
    }
    let sound = request.take(memory, table, size, head);
    Ok(Some((head, sound)))
}

/// Fills a buffer of eventq with the oldest event; one that is too short for any comes back empty.
fn write_event(client: &Client, request: &Request<'_>) -> usize {
    if request.writable.length() < EVENT_SIZE {
        client.refuse_request();
        return 0;
    }
    match client.events().take() {
        Some(event) => {
            request.writable.cursor().write(0, event.record().as_bytes());
            EVENT_SIZE
        }
        // Not reached: only this worker takes events.
        None => 0,
    }
}

/// Whether the driver wants to be told that requests came back.
fn wants_to_know(memory: &Places<'_>, queue: &mut Queue) -> Result<bool, Broken> {
    if queue.event_idx_enabled() {
        return Ok(queue.needs_notification(memory)?);
    }
    fence(Ordering::SeqCst);
    let flags: u16 = memory.load(GuestAddress(queue.avail_ring()), Ordering::Relaxed).map_err(|_| Broken::Outside)?;
    Ok(u16::from_le(flags) & NO_INTERRUPT == 0)
}

/// Before a worker takes requests: the driver need not kick for as long.
pub fn stop_kicks(memory: &GuestMemoryMmap, ring: &Ring) -> Result<(), Broken> {
    let mut state = ring.lock();
    let queue = &mut state.queue;
    if queue.ready() {
        if !queue.is_valid(memory) {
            return Err(Broken::Outside);
        }
        queue.disable_notification(memory)?;
    }
    Ok(())
}

/// Before a worker sleeps: asks for kicks. Whether something has become available meanwhile.
pub fn ask_for_kicks(memory: &GuestMemoryMmap, ring: &Ring) -> Result<bool, Broken> {
    let mut state = ring.lock();
    Ok(state.runs() && state.queue.enable_notification(memory)?)
}
