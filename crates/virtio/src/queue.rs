//! The driver's side of a split virtqueue (virtio 1.2 section 2.7), with indirect descriptors and event indices where the
//! device has them. Whoever holds it mutably is the only one to touch its rings on our side.
//!
//! What the device may write is marked so below. Of that, nothing leads anywhere: a used index is believed as far as
//! requests are in flight, a used id when it is that of one. Tables are written, never read back.
//!
//! ```text
//!     descriptors   16 bytes each: le64 address, le32 length, le16 flags, le16 next
//!     available     le16 flags, le16 index, le16 ring[size], le16 used_event
//!     used          le16 flags, le16 index, (le32 id, le32 length)[size], le16 avail_event       written by the device
//! ```

use std::sync::{
    Arc,
    atomic::{Ordering::SeqCst, fence},
};

use virtio_bindings::virtio_ring::{
    VRING_AVAIL_F_NO_INTERRUPT, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, VRING_USED_F_NO_NOTIFY,
};
use zerocopy::{
    Immutable, IntoBytes,
    little_endian::{U16, U32, U64},
};

use crate::{memory::Memory, message::feature, transport::QueuePlace};

/// Bytes of a descriptor.
pub(crate) const DESCRIPTOR: usize = size_of::<Descriptor>();

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Descriptor {
    address: U64,
    length: U32,
    flags: U16,
    next: U16,
}

/// A part of a buffer: an offset into the memory, in one piece for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub offset: usize,
    pub len: u32,
    /// Whether the device writes it.
    pub writable: bool,
}

/// The device has broken the rules of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Bytes that the three parts of a queue take, in order, from a place aligned to 16.
pub(crate) fn footprint(size: u16) -> usize {
    let size = usize::from(size);
    let rings = DESCRIPTOR * size + 6 + 2 * size;
    rings.next_multiple_of(4) + 6 + 8 * size
}

/// Where the parts of a queue lie that begins at `offset`.
pub(crate) fn place(queue: usize, size: u16, offset: usize) -> QueuePlace {
    let available = offset + DESCRIPTOR * usize::from(size);
    let used = (available + 6 + 2 * usize::from(size)).next_multiple_of(4);
    QueuePlace { queue, size, descriptors: offset, available, used }
}

/// A virtqueue.
pub(crate) struct Queue {
    memory: Arc<Memory>,
    place: QueuePlace,
    indirect: bool,
    event_idx: bool,
    /// Descriptors that are free.
    free: Vec<u16>,
    /// For each descriptor that is the head of a request in flight, how many that one takes; 0: it is none.
    in_flight: Box<[u16]>,
    /// For each descriptor of a chain but the last, the next one.
    next: Box<[u16]>,
    count: u16,
    /// What the available index will be.
    available: u16,
    /// What it was when the device was last told.
    told: u16,
    /// Used entries that were taken.
    used: u16,
}

impl Queue {
    /// An empty queue in memory that is zero there.
    pub(crate) fn new(memory: Arc<Memory>, place: QueuePlace, features: u64) -> Self {
        Self {
            memory,
            place,
            indirect: features & feature::INDIRECT_DESC != 0,
            event_idx: features & feature::EVENT_IDX != 0,
            free: (0..place.size).rev().collect(),
            in_flight: vec![0; usize::from(place.size)].into(),
            next: vec![0; usize::from(place.size)].into(),
            count: 0,
            available: 0,
            told: 0,
            used: 0,
        }
    }

    /// The queue's number.
    pub(crate) fn number(&self) -> usize {
        self.place.queue
    }

    /// Its descriptors.
    pub(crate) fn size(&self) -> usize {
        usize::from(self.place.size)
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether a table of descriptors is wanted for a request of so many pieces. Two find their place in the ring itself:
    /// the device has one cache line less to wait for.
    pub(crate) fn wants_table(&self, pieces: usize) -> bool {
        self.indirect && pieces > 2
    }

    fn write(&self, at: usize, piece: Piece, more: Option<u16>, flags: u32) {
        let flag = |condition: bool, flag: u32| if condition { flag } else { 0 };
        let flags = flags | flag(piece.writable, VRING_DESC_F_WRITE) | flag(more.is_some(), VRING_DESC_F_NEXT);
        let descriptor = Descriptor {
            address: self.memory.device_address(piece.offset).into(),
            length: piece.len.into(),
            // All three are below 8.
            flags: u16::try_from(flags).unwrap_or(0).into(),
            next: more.unwrap_or(0).into(),
        };
        self.memory.write(at, descriptor.as_bytes());
    }

    /// Puts a request in line, readable pieces first; its id. `table` is room for as many descriptors. None: no descriptor
    /// is free now, there are more pieces than descriptors in all, or a piece is several to the device.
    pub(crate) fn add(&mut self, pieces: &[Piece], table: Option<usize>) -> Option<u16> {
        let descriptors = usize::from(self.place.size);
        let is_one = |piece: &Piece| self.memory.is_one_piece(piece.offset, piece.len as usize);
        if pieces.len() > descriptors || !pieces.iter().all(is_one) {
            return None;
        }
        let (head, taken) = match table.filter(|_| self.wants_table(pieces.len())) {
            Some(table) => {
                if !self.memory.is_one_piece(table, DESCRIPTOR * pieces.len()) {
                    return None;
                }
                let head = self.free.pop()?;
                for (number, piece) in (1u16..).zip(pieces) {
                    let at = table + DESCRIPTOR * usize::from(number - 1);
                    self.write(at, *piece, Some(number).filter(|next| usize::from(*next) < pieces.len()), 0);
                }
                let len = u32::try_from(DESCRIPTOR * pieces.len()).ok()?;
                let whole = Piece { offset: table, len, writable: false };
                self.write(self.place.descriptors + DESCRIPTOR * usize::from(head), whole, None, VRING_DESC_F_INDIRECT);
                (head, 1)
            }
            None => {
                if pieces.len() > self.free.len() {
                    return None;
                }
                // From the last one to the head: each says which one is next.
                let mut next = None;
                for piece in pieces.iter().rev() {
                    let descriptor = self.free.pop()?;
                    let place = self.place.descriptors + DESCRIPTOR * usize::from(descriptor);
                    self.write(place, *piece, next, 0);
                    self.next[usize::from(descriptor)] = next.unwrap_or(descriptor);
                    next = Some(descriptor);
                }
                (next?, u16::try_from(pieces.len()).ok()?)
            }
        };
        self.in_flight[usize::from(head)] = taken;
        self.count += 1;
        let entry = self.place.available + 4 + 2 * (usize::from(self.available) % descriptors);
        self.memory.store_relaxed(entry, head.to_le());
        self.available = self.available.wrapping_add(1);
        Some(head)
    }

    /// Makes what is in line available; whether the device wants to be told.
    pub(crate) fn publish(&mut self) -> bool {
        self.memory.store(self.place.available + 2, self.available.to_le());
        // The index must be there before we look whether the device sleeps: it does the same the other way round.
        fence(SeqCst);
        let told = std::mem::replace(&mut self.told, self.available);
        let number = |offset| self.memory.load::<u16>(offset).map_or(0, u16::from_le);
        if self.event_idx {
            let event = number(self.place.used + 4 + 8 * usize::from(self.place.size));
            self.available.wrapping_sub(event).wrapping_sub(1) < self.available.wrapping_sub(told)
        } else {
            u32::from(number(self.place.used)) & VRING_USED_F_NO_NOTIFY == 0
        }
    }

    /// The next request that the device is done with: its id, and how many bytes it says it has written.
    pub(crate) fn pop(&mut self) -> Result<Option<(u16, u32)>, Broken> {
        let index = self.memory.load::<u16>(self.place.used + 2).map(u16::from_le).ok_or(Broken)?;
        let ready = index.wrapping_sub(self.used);
        if ready == 0 {
            return Ok(None);
        }
        if ready > self.count {
            return Err(Broken);
        }
        let entry = self.place.used + 4 + 8 * (usize::from(self.used) % usize::from(self.place.size));
        let number = |offset| self.memory.load::<u32>(offset).map(u32::from_le).ok_or(Broken);
        let (id, length) = (number(entry)?, number(entry + 4)?);
        let head = u16::try_from(id).map_err(|_| Broken)?;
        let taken = self.in_flight.get_mut(usize::from(head)).map_or(0, std::mem::take);
        if taken == 0 {
            return Err(Broken);
        }
        self.used = self.used.wrapping_add(1);
        self.count -= 1;
        let mut descriptor = head;
        for _ in 0..taken {
            self.free.push(descriptor);
            descriptor = self.next[usize::from(descriptor)];
        }
        Ok(Some((head, length)))
    }

    /// Asks to be interrupted when the next request is done; whether there is none yet.
    pub(crate) fn arm(&mut self) -> bool {
        self.arm_after(0)
    }

    /// Asks to be interrupted when one more request than `count` is done; whether they are not yet. A device without event
    /// indices interrupts for each.
    pub(crate) fn arm_after(&mut self, count: usize) -> bool {
        let count = if self.event_idx { u16::try_from(count).unwrap_or(0) } else { 0 };
        if self.event_idx {
            let used_event = self.place.available + 4 + 2 * usize::from(self.place.size);
            self.memory.store(used_event, self.used.wrapping_add(count).to_le());
        } else {
            self.memory.store(self.place.available, 0u16);
        }
        fence(SeqCst);
        let index = self.memory.load::<u16>(self.place.used + 2).map(u16::from_le);
        index.is_some_and(|index| index.wrapping_sub(self.used) <= count)
    }

    /// Asks not to be interrupted.
    pub(crate) fn disarm(&mut self) {
        if self.event_idx {
            // Half the numbers away.
            let used_event = self.place.available + 4 + 2 * usize::from(self.place.size);
            self.memory.store(used_event, self.used.wrapping_sub(0x8000).to_le());
        } else if let Ok(flag) = u16::try_from(VRING_AVAIL_F_NO_INTERRUPT) {
            self.memory.store(self.place.available, flag.to_le());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u16 = 8;

    /// Has the device be done with the next request; whether it interrupts.
    fn complete(memory: &Memory, place: &QueuePlace, id: u16, event_idx: bool) -> bool {
        let number = |offset| memory.load::<u16>(offset).unwrap();
        let index = number(place.used + 2);
        memory.store(place.used + 4 + 8 * usize::from(index % SIZE), u32::from(id));
        memory.store(place.used + 2, index.wrapping_add(1));
        // What is used is counted from 0, as it is taken.
        let event = number(place.available + 4 + 2 * usize::from(SIZE));
        if event_idx { event == index } else { number(place.available) == 0 }
    }

    #[test]
    fn a_device_interrupts_when_one_more_is_done() {
        for event_idx in [true, false] {
            let memory = Arc::new(Memory::shared(4096, 0).unwrap());
            let place = place(2, SIZE, 0);
            let mut queue = Queue::new(memory.clone(), place, if event_idx { feature::EVENT_IDX } else { 0 });
            let piece = Piece { offset: 1024, len: 64, writable: true };
            // Round and round, until numbers begin again.
            for round in 0..20_000usize {
                let in_flight = 1 + round % usize::from(SIZE);
                let ids: Vec<_> = (0..in_flight).map(|_| queue.add(&[piece], None).unwrap()).collect();
                queue.publish();
                let (after, early) = (round / 8 % in_flight, round / 64 % (in_flight + 1));
                let told_after = if event_idx { after } else { 0 };
                let (before, later) = ids.split_at(early);
                queue.disarm();
                assert!(!before.iter().any(|id| complete(&memory, &place, *id, event_idx)));
                assert_eq!(queue.arm_after(after), early <= told_after);
                for (done, id) in (early..).zip(later) {
                    let interrupts = complete(&memory, &place, *id, event_idx);
                    assert_eq!(interrupts, if event_idx { done == after } else { true });
                }
                for id in ids {
                    assert_eq!(queue.pop(), Ok(Some((id, 0))));
                }
                assert_eq!((queue.pop(), queue.in_flight()), (Ok(None), 0));
            }
        }
    }

    #[test]
    fn an_index_that_cannot_be_is_looked_at() {
        let memory = Arc::new(Memory::shared(4096, 0).unwrap());
        let place = place(2, SIZE, 0);
        let mut queue = Queue::new(memory.clone(), place, feature::EVENT_IDX);
        queue.add(&[Piece { offset: 1024, len: 64, writable: true }], None).unwrap();
        memory.store(place.used + 2, 0xffffu16);
        assert!(!queue.arm_after(0));
        assert_eq!(queue.pop(), Err(Broken));
    }
}
