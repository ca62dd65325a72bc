//! What lies where in the memory that the device sees: rings, messages, packets on their way, and what applications allocate.

use std::{ops::Range, sync::Arc};

use parking_lot::Mutex;
use range_alloc::RangeAllocator;

use super::DriverError;
use crate::{
    memory::Memory,
    message::{CONTROL_QUEUE, Config, EVENT_QUEUE, MAX_PAIRS, control},
    queue::{footprint, place},
    transport::{QueuePlace, Transport, TransportError},
};

/// Descriptors of the control and event queues, and of each data queue.
const CONTROL_SIZE: u16 = 16;
const EVENT_SIZE: u16 = 64;
const DATA_SIZE: u16 = 256;
/// Bytes of an event buffer.
pub(super) const EVENT_BYTES: u32 = 32;
/// Bytes of a command, and of its answer, at most.
pub(super) const CONTROL_BYTES: usize = control::MAX_BODY + 64;
/// Packets of one caller on their way, with all that goes with them. No less than what a processor's own cache holds
/// (`slab.rs`).
const SLAB_BYTES: usize = 1024 * 1024;
/// What begins here shares no cache line with what ends there.
const LINE: usize = 64;

/// Where everything lies.
pub(super) struct Layout {
    /// Queues by number.
    pub places: Vec<QueuePlace>,
    /// Pairs of data queues.
    pub pairs: usize,
    /// A command.
    pub command: usize,
    /// Its answer.
    pub answer: usize,
    /// Event buffers.
    pub events: usize,
    /// Of each data queue.
    pub slabs: Vec<Range<usize>>,
    /// What applications have allocated; None when the device has been stopped.
    allocated: Mutex<Option<RangeAllocator<usize>>>,
}

/// Hands out places one after the other.
struct Cursor {
    at: usize,
    granule: usize,
}

impl Cursor {
    fn take(&mut self, len: usize) -> usize {
        let start = self.at.next_multiple_of(LINE);
        let start = match start.checked_rem(self.granule) {
            Some(within) if within + len > self.granule => start.next_multiple_of(self.granule),
            _ => start,
        };
        self.at = start + len;
        start
    }
}

impl Layout {
    pub(super) fn new(transport: &dyn Transport, config: &Config, pairs: usize) -> Result<Self, DriverError> {
        let offered = usize::try_from(config.data_pairs.get()).unwrap_or(0).min(MAX_PAIRS);
        let set_up = |pair: &usize| transport.max_queue_size(3 + 2 * pair) > 0;
        let pairs = (0..offered.min(pairs.max(1))).take_while(set_up).count();
        let mut cursor = Cursor { at: 0, granule: transport.memory().granule() };
        let mut places = Vec::new();
        for queue in 0..2 + 2 * pairs {
            let wanted = match queue {
                CONTROL_QUEUE => CONTROL_SIZE,
                EVENT_QUEUE => EVENT_SIZE,
                _ => DATA_SIZE,
            };
            let most = transport.max_queue_size(queue);
            // The largest power of 2 that both sides have.
            let size = wanted
                .min(most.checked_next_power_of_two().map_or(wanted, |next| if next > most { next / 2 } else { next }));
            if size < 2 {
                return Err(TransportError(format!("queue {queue} has fewer than 2 descriptors")).into());
            }
            places.push(place(queue, size, cursor.take(footprint(size))));
        }
        if pairs == 0 {
            return Err(TransportError("the device has no data queues".into()).into());
        }
        let (command, answer) = (cursor.take(CONTROL_BYTES), cursor.take(CONTROL_BYTES));
        let events = cursor.take(usize::from(EVENT_SIZE) * EVENT_BYTES as usize);
        let slabs = (0..2 * pairs).map(|_| cursor.take(SLAB_BYTES)).map(|start| start..start + SLAB_BYTES).collect();
        let (end, len) = (cursor.at.next_multiple_of(4096), transport.memory().len());
        if end > len {
            return Err(TransportError(format!("{len} bytes of memory are too few: {end} are needed")).into());
        }
        let allocated = Mutex::new(Some(RangeAllocator::new(end..len)));
        Ok(Self { places, pairs, command, answer, events, slabs, allocated })
    }

    /// Memory for an application; None: there is none left.
    pub(super) fn allocate(layout: &Arc<Self>, memory: &Arc<Memory>, len: usize) -> Option<SharedBuffer> {
        // Multiples of a line, so that what is left always begins with one.
        let rounded = len.max(1).checked_next_multiple_of(LINE)?;
        let granule = memory.granule();
        let mut allocated = layout.allocated.lock();
        let allocated = allocated.as_mut()?;
        let mut range = allocated.allocate_range(rounded).ok()?;
        let crosses = |range: &Range<usize>| range.start / granule != (range.end - 1) / granule;
        if crosses(&range) {
            // What lies across pages that the device sees apart is of no use; with so much room, some of it does not.
            allocated.free_range(range);
            range = allocated.allocate_range(rounded.checked_mul(2)?.max(granule.checked_add(rounded)?)).ok()?;
            let fits = range.start.next_multiple_of(granule);
            let start = if fits + rounded <= range.end { fits } else { range.start };
            let wanted = start..start + rounded;
            let around = [range.start..wanted.start, wanted.end..range.end];
            around.into_iter().filter(|part| !part.is_empty()).for_each(|part| allocated.free_range(part));
            range = wanted;
            if crosses(&range) {
                allocated.free_range(range);
                return None;
            }
        }
        Some(SharedBuffer { range, len, memory: memory.clone(), layout: layout.clone() })
    }

    /// What applications have allocated is from now on this process's alone, and there is no more of it.
    pub(super) fn retire(&self, memory: &Memory) {
        let mut allocated = self.allocated.lock();
        if let Some(allocator) = allocated.take().filter(|allocator| !allocator.is_empty()) {
            memory.part(allocator.initial_range().clone(), allocator.allocated_ranges());
        }
    }
}

/// Memory that an application has of a device's: packets in it are not copied. It stays valid when the device is lost.
pub struct SharedBuffer {
    range: Range<usize>,
    len: usize,
    memory: Arc<Memory>,
    layout: Arc<Layout>,
}

impl SharedBuffer {
    /// Where it is.
    pub fn start(&self) -> *mut u8 {
        self.memory.start().wrapping_add(self.range.start)
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for SharedBuffer {
    fn drop(&mut self) {
        // What was in it is nobody else's.
        self.memory.wipe(self.range.start, self.range.len());
        if let Some(allocated) = self.layout.allocated.lock().as_mut() {
            allocated.free_range(self.range.clone());
        }
    }
}
