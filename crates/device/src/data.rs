//! Data requests: bytes in, bytes out. What comes in is a private copy of a hostile driver's message, what goes out leaves
//! through a closure, and lies in private memory until then. Each worker has its own [`Scratch`]; nothing here takes a lock
//! that others hold for long, allocates once the buffers have grown, or writes what other workers write but the counters
//! of the SAs themselves.

use std::time::Instant;

use arrayvec::ArrayVec;
use gipsec_engine::{Buffers, Call, Direction, Events, PacketError, Verdict, process_together};
use gipsec_virtio::message::{
    RequestStatus,
    data::{
        AnswerHeader, DUMMY, MAX_BATCH, MAX_ROOM, PacketEntry, PacketResult, RequestHeader, answer_prefix,
        request_prefix,
    },
    feature, packet_status,
    status::{BAD_ENTRY, NO_SA},
};
use zerocopy::{FromBytes, IntoBytes};
use zeroize::{Zeroize, Zeroizing};

use crate::{client::Client, limits::Limits, table::Found};

/// Where results lie until they are written back.
#[derive(Default)]
pub struct Scratch {
    results: Zeroizing<Vec<u8>>,
}

impl Scratch {
    /// Overwrites it.
    pub fn wipe(&mut self) {
        self.results.zeroize();
    }
}

/// Bytes of a request that are read at most.
pub fn most_to_read(limits: &Limits) -> usize {
    request_prefix(MAX_BATCH) + usize::try_from(limits.bytes).unwrap_or(usize::MAX - request_prefix(MAX_BATCH))
}

/// A packet of a request.
#[derive(Clone, Copy)]
struct Packet {
    sa: u64,
    /// Where it begins in the request, and its bytes.
    start: usize,
    length: usize,
    /// Where its room begins in the writable part, and what of it can be used.
    room_start: usize,
    room: usize,
    status: u32,
}

/// Processes the request `message`, which came to a queue of that direction, and hands what is to be written into a
/// writable part of `room` bytes to `write`, offset and bytes, with offsets that only grow but for the header, which is
/// last. Returns the used length. `told` is set when events are waiting.
pub fn handle(
    client: &Client,
    scratch: &mut Scratch,
    direction: Direction,
    message: &[u8],
    room: usize,
    mut write: impl FnMut(usize, &[u8]),
    told: &mut bool,
) -> usize {
    if room < size_of::<AnswerHeader>() {
        refuse(client);
        return 0;
    }
    let mut packets = ArrayVec::new();
    match lay_out(client, direction, message, room, &mut packets) {
        Ok(dummies) => {
            Batch { client, direction, message, packets: &mut packets, told }.run(scratch, dummies, &mut write)
        }
        Err(status) => {
            refuse(client);
            let header = AnswerHeader { status: (status as u32).into(), reserved: 0.into() };
            write(0, header.as_bytes());
            size_of::<AnswerHeader>()
        }
    }
}

/// A request that has no packets: it is charged all the same.
#[cold]
fn refuse(client: &Client) {
    client.refuse_request();
    if let Some(bucket) = client.bucket() {
        bucket.charge(Instant::now());
    }
}

/// Checks the request, and says where its packets are; whether they are to be made.
fn lay_out(
    client: &Client,
    direction: Direction,
    message: &[u8],
    writable: usize,
    packets: &mut ArrayVec<Packet, MAX_BATCH>,
) -> Result<bool, RequestStatus> {
    if !client.is_attached() {
        return Err(RequestStatus::NotAttached);
    }
    let limits = client.limits();
    let most_bytes = u64::from(limits.bytes);
    let (header, rest) = RequestHeader::read_from_prefix(message).map_err(|_| RequestStatus::Invalid)?;
    let (count, flags) = (usize::from(header.count.get()), header.flags.get());
    let most = MAX_BATCH.min(usize::try_from(limits.batch).unwrap_or(MAX_BATCH));
    if !(1..=most).contains(&count) || flags & !DUMMY != 0 || header.reserved.get() != 0 {
        return Err(RequestStatus::Invalid);
    }
    let dummies = flags & DUMMY != 0;
    if dummies && direction == Direction::Inbound {
        return Err(RequestStatus::Invalid);
    }
    if dummies && client.features() & feature::TFC == 0 {
        return Err(RequestStatus::Unsupported);
    }
    let (entries, _) = <[PacketEntry]>::ref_from_prefix_with_elems(rest, count).map_err(|_| RequestStatus::Invalid)?;
    if writable < answer_prefix(count) {
        return Err(RequestStatus::NoRoom);
    }
    let (mut start, mut room_start) = (request_prefix(count) as u64, answer_prefix(count) as u64);
    let (mut lengths, mut rooms) = (0u64, 0u64);
    for entry in entries {
        let (length, whole_room) = (u64::from(entry.length.get()), u64::from(entry.room.get()));
        let usable = whole_room.min(MAX_ROOM as u64);
        (lengths, rooms) = (lengths + length, rooms + usable);
        if lengths > most_bytes || rooms > most_bytes {
            return Err(RequestStatus::Invalid);
        }
        let present = if dummies { 0 } else { length };
        let cut = start + present > message.len() as u64 || room_start + whole_room > writable as u64;
        let small = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        packets.push(Packet {
            sa: entry.sa.get(),
            start: small(start),
            length: small(length),
            room_start: small(room_start),
            room: small(usable),
            status: if cut { BAD_ENTRY } else { 0 },
        });
        (start, room_start) = (start + present, room_start + whole_room);
    }
    Ok(dummies)
}

struct Batch<'a> {
    client: &'a Client,
    direction: Direction,
    message: &'a [u8],
    packets: &'a mut [Packet],
    told: &'a mut bool,
}

impl Batch<'_> {
    fn run(&mut self, scratch: &mut Scratch, dummies: bool, write: &mut impl FnMut(usize, &[u8])) -> usize {
        self.grant();
        let room: usize = self.packets.iter().map(|packet| packet.room).sum();
        if scratch.results.len() < room {
            // Growing would leave a copy behind.
            scratch.results.zeroize();
            scratch.results.resize(room, 0);
        }
        let mut verdicts: ArrayVec<Verdict, MAX_BATCH> = ArrayVec::new();
        if dummies {
            self.make_dummies(&mut scratch.results, &mut verdicts);
        } else {
            self.process(&mut scratch.results, &mut verdicts);
        }
        self.answer(&scratch.results, &verdicts, write)
    }

    /// Refuses what is beyond the client's rate.
    fn grant(&mut self) {
        let Some(bucket) = self.client.bucket() else { return };
        let granted = bucket.take(self.packets.iter().map(|packet| packet.length), Instant::now());
        for packet in self.packets.iter_mut().skip(granted) {
            packet.status = packet_status(PacketError::QueueFull);
        }
    }

    /// The SA of a packet, if it has this queue's direction.
    fn find(&self, number: u64) -> Option<Found> {
        self.client.find(number).filter(|entry| entry.direction() == self.direction)
    }

    /// Processes the packets that nothing was wrong with so far; `verdicts` gets what became of those.
    fn process(&mut self, results: &mut [u8], verdicts: &mut ArrayVec<Verdict, MAX_BATCH>) {
        // Neighbours with one SA make one call, which ends where another SA begins.
        let mut owners: ArrayVec<(Found, usize), MAX_BATCH> = ArrayVec::new();
        let mut buffers: ArrayVec<Buffers<'_>, MAX_BATCH> = ArrayVec::new();
        let (mut results, mut known) = (results, None);
        for at in 0..self.packets.len() {
            let Packet { sa, start, length, room, status, .. } = self.packets[at];
            let (result, others) = std::mem::take(&mut results).split_at_mut(room);
            results = others;
            if status != 0 {
                continue;
            }
            if known != Some(sa) {
                let Some(found) = self.find(sa) else {
                    self.packets[at].status = NO_SA;
                    continue;
                };
                owners.push((found, 0));
                known = Some(sa);
            }
            // Checked when it was laid out.
            let input = self.message.get(start..start + length).unwrap_or_default();
            buffers.push(Buffers::Apart { input, output: result });
            if let Some((_, count)) = owners.last_mut() {
                *count += 1;
            }
        }
        verdicts.extend(buffers.iter().map(|_| Err(PacketError::Crypto)));
        let mut events: ArrayVec<Events, MAX_BATCH> = owners.iter().map(|_| Events::default()).collect();
        match (&owners[..], &mut events[..]) {
            ([(only, _)], [events]) => *events = only.sa.process(&mut buffers, verdicts),
            (owners, events) => together(owners, &mut buffers, verdicts, events),
        }
        for ((owner, _), events) in owners.iter().zip(&events) {
            self.tell(owner.number, events);
        }
    }

    /// Makes dummy packets, likewise.
    fn make_dummies(&mut self, results: &mut [u8], verdicts: &mut ArrayVec<Verdict, MAX_BATCH>) {
        let mut results = results;
        for at in 0..self.packets.len() {
            let Packet { sa, length, room, status, .. } = self.packets[at];
            let (result, others) = std::mem::take(&mut results).split_at_mut(room);
            results = others;
            if status != 0 {
                continue;
            }
            let Some(found) = self.find(sa) else {
                self.packets[at].status = NO_SA;
                continue;
            };
            match found.sa.make_dummy(length, result) {
                Ok((verdict, events)) => {
                    verdicts.push(verdict);
                    self.tell(sa, &events);
                }
                // The SA makes no dummies, or none of that length.
                Err(_) => self.packets[at].status = BAD_ENTRY,
            }
        }
    }

    #[inline]
    fn tell(&mut self, number: u64, events: &Events) {
        if !events.is_empty() {
            self.client.tell(number, events);
            *self.told = true;
        }
    }

    /// Writes what became of the packets; the used length. `verdicts` are those of packets with status 0.
    fn answer(&self, results: &[u8], verdicts: &[Verdict], write: &mut impl FnMut(usize, &[u8])) -> usize {
        let mut front: ArrayVec<u8, { answer_prefix(MAX_BATCH) }> = ArrayVec::new();
        let header = AnswerHeader { status: (RequestStatus::Ok as u32).into(), reserved: 0.into() };
        front.extend(header.as_bytes().iter().copied());
        let mut used = answer_prefix(self.packets.len());
        let mut verdicts = verdicts.iter();
        let mut results = results;
        for packet in self.packets.iter() {
            let (result, others) = results.split_at(packet.room);
            results = others;
            let (status, length) = match packet.status {
                0 => match verdicts.next() {
                    // The engine keeps to the room.
                    Some(Ok(length)) => (0, (*length).min(packet.room)),
                    Some(Err(error)) => (packet_status(*error), 0),
                    None => (packet_status(PacketError::Crypto), 0),
                },
                status => (status, 0),
            };
            if length > 0 {
                write(packet.room_start, &result[..length]);
                used = packet.room_start + length;
            }
            if status != 0 {
                self.client.refuse(status);
            }
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            let outcome = PacketResult { status: status.into(), length: length.into() };
            front.extend(outcome.as_bytes().iter().copied());
        }
        write(0, &front);
        used
    }
}

/// Has the engine process calls of several SAs.
fn together(owners: &[(Found, usize)], buffers: &mut [Buffers<'_>], verdicts: &mut [Verdict], events: &mut [Events]) {
    let mut calls: ArrayVec<Call<'_, '_>, MAX_BATCH> = ArrayVec::new();
    let (mut buffers, mut verdicts) = (buffers, verdicts);
    for ((owner, count), events) in owners.iter().zip(events) {
        let (packets, others) = buffers.split_at_mut(*count);
        let (theirs, rest) = verdicts.split_at_mut(*count);
        calls.push(Call { sa: &owner.sa, packets, verdicts: theirs, events });
        (buffers, verdicts) = (others, rest);
    }
    process_together(&mut calls);
}
