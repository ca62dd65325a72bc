//! Packets on their way through the device.

use arrayvec::ArrayVec;
use gipsec_engine::{Buffers, PacketError, Verdict};
use zerocopy::{FromBytes, IntoBytes};

use super::{Gone, Inner, deferred::Deferrals, slab::Slab};
use crate::{
    memory::Memory,
    message::{
        Config, RequestStatus,
        data::{AnswerHeader, MAX_ROOM, PacketEntry, PacketResult, RequestHeader, answer_prefix, request_prefix},
        verdict,
    },
    queue::{DESCRIPTOR, Piece, Queue},
    window::Window,
};

/// Packets of a request at most.
pub(super) const MAX_PACKETS: usize = 32;
/// When so many bytes were copied for a request it is sent: the device begins while the next one is made ready.
const ENOUGH: usize = 12 * 1024;
/// Pieces of a request at most: on each side, every packet and something before it.
const MAX_PIECES: usize = 4 * MAX_PACKETS + 2;
/// Bytes of the shortest IP header.
const IP_HEADER: usize = 20;

/// A packet on its way.
pub struct Item<'a, 'b> {
    sa: u64,
    /// Bytes of the packet, or those that a dummy stands for.
    len: usize,
    /// Where it is, and where its result goes.
    buffers: &'a mut Buffers<'b>,
    verdict: &'a mut Verdict,
    /// Bytes for its result.
    room: usize,
}

impl<'a, 'b> Item<'a, 'b> {
    /// A packet for an SA; its result has no more than `most` bytes.
    pub(super) fn new(sa: u64, most: usize, buffers: &'a mut Buffers<'b>, verdict: &'a mut Verdict) -> Self {
        let (len, room) = (buffers.input().len(), buffers.capacity().min(most).min(MAX_ROOM));
        Self { sa, len, buffers, verdict, room }
    }

    /// A dummy packet as long as one that carries `len` bytes.
    pub(super) fn dummy(sa: u64, len: usize, buffers: &'a mut Buffers<'b>, verdict: &'a mut Verdict) -> Self {
        Self { len, ..Self::new(sa, MAX_ROOM, buffers, verdict) }
    }
}

/// A request in flight.
#[derive(Clone, Copy, Default)]
pub(super) struct Request {
    /// Which packets it has, of whose: the number of a deferred call, or nothing of the caller who waits.
    pub owner: Option<u64>,
    pub first: usize,
    pub count: usize,
    answer: usize,
    /// What of the slab it has.
    kept: u64,
}

/// A data queue, and the memory in which its requests are made.
pub(super) struct DataQueue {
    pub(super) queue: Queue,
    window: Window,
    pub(super) slab: Slab,
    /// By id.
    requests: Box<[Request]>,
    pub(super) deferrals: Deferrals,
    /// Whether packets may lie where the application has them: each takes a descriptor for itself and one for its result.
    direct: bool,
    max_packets: usize,
    max_bytes: usize,
}

/// Pieces of one side of a request, as they follow each other.
struct Side {
    pieces: ArrayVec<Piece, { MAX_PIECES / 2 }>,
    writable: bool,
}

impl Side {
    fn push(&mut self, memory: &Memory, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        // A message is far below 4 GiB.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let touches = |last: &Piece| last.offset + last.len as usize == offset;
        let is_one = |last: &Piece| memory.is_one_piece(last.offset, (last.len + len) as usize);
        match self.pieces.last_mut() {
            Some(last) if touches(last) && is_one(last) => last.len += len,
            _ => self.pieces.push(Piece { offset, len, writable: self.writable }),
        }
    }
}

impl DataQueue {
    pub(super) fn new(mut queue: Queue, slab: Slab, deferrals: Deferrals, config: &Config) -> Self {
        queue.disarm();
        let limit = |value: u32| usize::try_from(value).unwrap_or(usize::MAX).max(1);
        // A chain is never longer than the queue (VIRTIO 1.2, section 2.7.5.3.1): two heads, and two pieces of each packet.
        let in_chain = queue.size().saturating_sub(2) / 2;
        let direct = in_chain > 0;
        let most = if direct { in_chain.min(MAX_PACKETS) } else { MAX_PACKETS };
        Self {
            requests: vec![Request::default(); queue.size()].into(),
            queue,
            window: Window::default(),
            slab,
            deferrals,
            direct,
            max_packets: limit(config.max_batch.get()).min(most),
            max_bytes: limit(config.max_bytes.get()),
        }
    }

    /// Has packets processed; when the device is lost, those that did not come back are gone.
    pub(super) fn run(&mut self, device: &Inner, flags: u16, items: &mut [Item<'_, '_>]) {
        items.iter_mut().for_each(|item| *item.verdict = Err(PacketError::Gone));
        if device.is_lost() {
            return;
        }
        // Those that were not settled stay gone.
        let _ = self.clear(device).and_then(|()| self.try_run(device, flags, items));
        if !self.deferrals.is_empty() {
            self.advance(device);
        }
    }

    /// Waits until no deferred call is in flight: the device would take them first in any case.
    fn clear(&mut self, device: &Inner) -> Result<(), Gone> {
        self.disarm();
        let mut waiting = None;
        while self.queue.in_flight() > 0 {
            let id = device.next(&mut self.queue, &mut self.window, &mut waiting)?;
            self.settle_deferred(device, id)?;
        }
        Ok(())
    }

    fn try_run(&mut self, device: &Inner, flags: u16, items: &mut [Item<'_, '_>]) -> Result<(), Gone> {
        // The deadline is that of all, from the first time that somebody waits.
        let (mut next, mut waiting) = (0, None);
        loop {
            while next < items.len() {
                match self.submit(device.transport.memory(), None, flags, &mut items[next..], next) {
                    0 => break,
                    count => next += count,
                }
                device.publish(&mut self.queue);
                // What is back is taken while the device works on the rest.
                while let Some((id, _)) = self.queue.pop().map_err(|_| device.lose())? {
                    self.settle_some(device, id, items)?;
                }
            }
            if self.queue.in_flight() > 0 {
                let id = device.next(&mut self.queue, &mut self.window, &mut waiting)?;
                self.settle_some(device, id, items)?;
                continue;
            }
            let Some(item) = items.get_mut(next) else { return Ok(()) };
            // It does not fit an empty slab.
            item.refuse(PacketError::NoRoom);
            next += 1;
        }
    }

    /// Takes in what became of some of these packets.
    fn settle_some(&mut self, device: &Inner, id: u16, items: &mut [Item<'_, '_>]) -> Result<(), Gone> {
        let &Request { first, count, .. } = self.request(id);
        let items = items.get_mut(first..first + count).ok_or_else(|| device.lose())?;
        self.settle(device, id, items)
    }

    /// How many packets make up the next request.
    fn count(&self, memory: &Memory, items: &[Item<'_, '_>]) -> usize {
        let seen = self.direct.then_some(memory);
        let (mut bytes, mut rooms, mut copied, mut count) = (0, 0, 0, 0);
        for item in items {
            (bytes, rooms) = (bytes + item.len, rooms + item.room);
            // A result is about as long.
            if item.direct_input(seen).is_none() || item.direct_output(seen).is_none() {
                copied += item.len;
            }
            let fits = count < self.max_packets && bytes <= self.max_bytes && rooms <= self.max_bytes;
            if !fits || count > 0 && copied > ENOUGH {
                break;
            }
            count += 1;
        }
        count
    }

    /// Puts the next request in line: how many packets it has, 0 when there is no room for one now. `first` is the place of
    /// the first of `items` among those of their owner.
    pub(super) fn submit(
        &mut self,
        memory: &Memory,
        owner: Option<u64>,
        flags: u16,
        items: &mut [Item<'_, '_>],
        first: usize,
    ) -> usize {
        // None: the packet is longer than what the device takes at all.
        let mut count = self.count(memory, items);
        while count > 0 {
            let mark = self.slab.mark();
            match self.make(memory, flags, &mut items[..count]) {
                Some((id, request)) => {
                    let kept = self.slab.keep(mark);
                    self.requests[usize::from(id)] = Request { owner, first, count, kept, ..request };
                    break;
                }
                None => {
                    self.slab.rewind(mark);
                    // Fewer have more room only when what is in flight is back.
                    count = if self.slab.restart() {
                        count
                    } else if self.slab.is_empty() {
                        count / 2
                    } else {
                        0
                    };
                }
            }
        }
        count
    }

    fn make(&mut self, memory: &Memory, flags: u16, items: &mut [Item<'_, '_>]) -> Option<(u16, Request)> {
        let (granule, count) = (memory.granule(), items.len());
        let bytes = |item: &Item<'_, '_>| item.buffers.input().len();
        let seen = self.direct.then_some(memory);
        let copied = items.iter().filter(|item| item.direct_input(seen).is_none()).map(bytes).sum::<usize>();
        let rooms = items.iter().filter(|item| item.direct_output(seen).is_none()).map(|item| item.room).sum::<usize>();
        let request = self.slab.take(request_prefix(count) + copied, granule)?;
        let answer = self.slab.take(answer_prefix(count) + rooms, granule)?;

        let mut head: ArrayVec<u8, { request_prefix(MAX_PACKETS) }> = ArrayVec::new();
        let header =
            RequestHeader { count: u16::try_from(count).ok()?.into(), flags: flags.into(), reserved: 0.into() };
        head.try_extend_from_slice(header.as_bytes()).ok()?;
        let (mut readable, mut writable) =
            (Side { pieces: ArrayVec::new(), writable: false }, Side { pieces: ArrayVec::new(), writable: true });
        readable.push(memory, request, request_prefix(count));
        writable.push(memory, answer, answer_prefix(count));
        let (mut input_at, mut room_at) = (request + request_prefix(count), answer + answer_prefix(count));
        for item in items.iter() {
            let entry = PacketEntry {
                sa: item.sa.into(),
                length: u32::try_from(item.len).ok()?.into(),
                room: u32::try_from(item.room).ok()?.into(),
            };
            head.try_extend_from_slice(entry.as_bytes()).ok()?;
            let input = item.buffers.input();
            match item.direct_input(seen) {
                Some(offset) => readable.push(memory, offset, input.len()),
                None => {
                    memory.write(input_at, input);
                    readable.push(memory, input_at, input.len());
                    input_at += input.len();
                }
            }
            match item.direct_output(seen) {
                Some(offset) => writable.push(memory, offset, item.room),
                None => {
                    writable.push(memory, room_at, item.room);
                    room_at += item.room;
                }
            }
        }
        memory.write(request, &head);
        // What a device does not write is no answer.
        memory.store_relaxed(answer, u32::MAX);
        let mut pieces: ArrayVec<Piece, MAX_PIECES> = ArrayVec::new();
        pieces.try_extend_from_slice(&readable.pieces).ok()?;
        pieces.try_extend_from_slice(&writable.pieces).ok()?;
        let table = match self.queue.wants_table(pieces.len()) {
            true => Some(self.slab.take(DESCRIPTOR * pieces.len(), granule)?),
            false => None,
        };
        let id = self.queue.add(&pieces, table)?;
        Some((id, Request { answer, ..Request::default() }))
    }

    /// What was asked with this id, if that is in flight.
    pub(super) fn request(&self, id: u16) -> &Request {
        &self.requests[usize::from(id)]
    }

    /// Takes in what became of a request, whose packets are `items`.
    pub(super) fn settle(&mut self, device: &Inner, id: u16, items: &mut [Item<'_, '_>]) -> Result<(), Gone> {
        let memory: &Memory = device.transport.memory();
        let &Request { count, answer, kept, .. } = self.request(id);
        // One copy, which is looked at alone.
        let mut bytes = [0; answer_prefix(MAX_PACKETS)];
        memory.read(answer, &mut bytes[..answer_prefix(count)]);
        let Ok((header, results)) = AnswerHeader::read_from_prefix(&bytes) else { return Err(device.lose()) };
        // Nobody takes it before this returns.
        self.slab.give_back(kept);
        match RequestStatus::from_code(header.status.get()) {
            RequestStatus::Ok => {}
            // The device has forgotten us.
            RequestStatus::NotAttached => return Err(device.lose()),
            _ => {
                items.iter_mut().for_each(|item| *item.verdict = Err(PacketError::Crypto));
                return Ok(());
            }
        }
        let mut results = results;
        // What goes out begins with an IP header.
        let least = if self.queue.number().is_multiple_of(2) { 0 } else { IP_HEADER };
        let seen = self.direct.then_some(memory);
        let mut room_at = answer + answer_prefix(count);
        for item in items {
            let Ok((result, rest)) = PacketResult::read_from_prefix(results) else { return Err(device.lose()) };
            results = rest;
            let len = usize::try_from(result.length.get()).unwrap_or(usize::MAX);
            let verdict = verdict(result.status.get(), len);
            if verdict.is_ok() && !(least..=item.room).contains(&len) {
                return Err(device.lose());
            }
            // As it was when the request was made.
            if item.direct_output(seen).is_none() {
                if let Ok(len) = verdict {
                    memory.read(room_at, &mut item.output()[..len]);
                }
                room_at += item.room;
            }
            *item.verdict = verdict;
        }
        Ok(())
    }
}

impl Item<'_, '_> {
    /// The packet goes nowhere.
    pub(super) fn refuse(&mut self, error: PacketError) {
        *self.verdict = Err(error);
    }

    /// The room for the result.
    fn output(&mut self) -> &mut [u8] {
        match self.buffers {
            Buffers::Apart { output, .. } => output,
            Buffers::InPlace { buffer, .. } => buffer,
        }
    }

    /// Where the packet is, if the device sees it there.
    fn direct_input(&self, memory: Option<&Memory>) -> Option<usize> {
        let input = self.buffers.input();
        memory?.offset_of(input.as_ptr(), input.len())
    }

    /// Where the result's room is, if the device sees it.
    fn direct_output(&self, memory: Option<&Memory>) -> Option<usize> {
        let start = match &*self.buffers {
            Buffers::Apart { output, .. } => output.as_ptr(),
            Buffers::InPlace { buffer, .. } => buffer.as_ptr(),
        };
        memory?.offset_of(start, self.room)
    }
}
