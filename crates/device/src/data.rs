//! Data requests: bytes in, bytes out. A hostile driver can change its memory at any time: what decides anything is copied
//! once and looked at in the copy. Packets of the usual SA go from the driver's memory to the driver's memory, others by way
//! of private memory. Each worker has its own [`Scratch`]; nothing here takes a lock that others hold for long, allocates
//! once the buffers have grown, or writes what other workers write but the counters of the SAs themselves.

use std::time::Instant;

use arrayvec::ArrayVec;
use gipsec_engine::{Buffers, Call, Direction, Events, PacketError, Verdict, VolatileBuffers, process_together};
use gipsec_virtio::message::{
    RequestStatus,
    data::{
        AnswerHeader, DUMMY, MAX_BATCH, MAX_ROOM, PacketEntry, PacketResult, RequestHeader, answer_prefix,
        request_prefix,
    },
    feature, packet_status,
    status::{BAD_ENTRY, NO_SA},
};
use zerocopy::IntoBytes;
use zeroize::{Zeroize, Zeroizing};

use crate::{client::Client, request::Request, table::Found};

/// Where what has to be copied lies until it is processed, and results until they are written back.
#[derive(Default)]
pub struct Scratch {
    packets: Zeroizing<Vec<u8>>,
    results: Zeroizing<Vec<u8>>,
}

impl Scratch {
    /// Overwrites it.
    pub fn wipe(&mut self) {
        for bytes in [&mut self.packets, &mut self.results] {
            if !bytes.is_empty() {
                bytes.zeroize();
            }
        }
    }
}

/// Has at least that many bytes.
fn grow(bytes: &mut Zeroizing<Vec<u8>>, length: usize) {
    if bytes.len() < length {
        // Growing would leave a copy behind.
        bytes.zeroize();
        bytes.resize(length, 0);
    }
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

/// Where all packets are shorter, copying them takes less time than what is done to work where they are.
const SHORT: usize = 192;

/// Packets of a request that follow each other and have one SA.
struct Run {
    owner: Found,
    count: usize,
    /// Bytes of the longest one.
    longest: usize,
    events: Events,
}

/// Processes a request, which came to a queue of that direction. Returns the used length. `told` is set when events are
/// waiting.
pub fn handle(
    client: &Client,
    scratch: &mut Scratch,
    direction: Direction,
    request: &Request<'_>,
    told: &mut bool,
) -> usize {
    if request.writable.length() < size_of::<AnswerHeader>() {
        refuse(client);
        return 0;
    }
    let mut packets = ArrayVec::new();
    match lay_out(client, direction, request, &mut packets) {
        Ok(dummies) => Batch { client, direction, request, packets: &mut packets, told }.run(scratch, dummies),
        Err(status) => {
            refuse(client);
            let header = AnswerHeader { status: (status as u32).into(), reserved: 0.into() };
            request.writable.cursor().write(0, header.as_bytes());
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
    request: &Request<'_>,
    packets: &mut ArrayVec<Packet, MAX_BATCH>,
) -> Result<bool, RequestStatus> {
    if !client.is_attached() {
        return Err(RequestStatus::NotAttached);
    }
    let limits = client.limits();
    let most_bytes = u64::from(limits.bytes);
    let (readable, writable) = (request.readable.length(), request.writable.length());
    let (mut message, mut header) = (request.readable.cursor(), RequestHeader::default());
    if message.read(0, header.as_mut_bytes()) < size_of::<RequestHeader>() {
        return Err(RequestStatus::Invalid);
    }
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
    let mut entries = [PacketEntry::default(); MAX_BATCH];
    let entries = &mut entries[..count];
    if message.read(size_of::<RequestHeader>(), entries.as_mut_bytes()) < size_of_val(entries) {
        return Err(RequestStatus::Invalid);
    }
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
        let cut = start + present > readable as u64 || room_start + whole_room > writable as u64;
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
    request: &'a Request<'a>,
    packets: &'a mut [Packet],
    told: &'a mut bool,
}

/// What became of the packets that nothing was wrong with before.
type Verdicts = ArrayVec<Verdict, MAX_BATCH>;

impl Batch<'_> {
    fn run(&mut self, scratch: &mut Scratch, dummies: bool) -> usize {
        self.grant();
        let mut verdicts = Verdicts::new();
        // How many of them were processed where they are.
        let there = if dummies {
            self.make_dummies(scratch, &mut verdicts);
            0
        } else {
            self.process(scratch, &mut verdicts)
        };
        self.answer(&scratch.results, &verdicts, there)
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

    /// The packets that nothing was wrong with so far.
    fn sound(&self) -> impl Iterator<Item = Packet> + '_ {
        self.packets.iter().filter(|packet| packet.status == 0).copied()
    }

    /// Processes the packets that nothing was wrong with so far; how many of them where they are.
    fn process(&mut self, scratch: &mut Scratch, verdicts: &mut Verdicts) -> usize {
        // Neighbours with one SA make one call, which ends where another SA begins.
        let mut runs: ArrayVec<Run, MAX_BATCH> = ArrayVec::new();
        let mut known = None;
        for at in 0..self.packets.len() {
            let Packet { sa, status, length, .. } = self.packets[at];
            if status != 0 {
                continue;
            }
            if known != Some(sa) {
                let Some(owner) = self.find(sa) else {
                    self.packets[at].status = NO_SA;
                    continue;
                };
                runs.push(Run { owner, count: 0, longest: 0, events: Events::default() });
                known = Some(sa);
            }
            if let Some(Run { count, longest, .. }) = runs.last_mut() {
                (*count, *longest) = (*count + 1, length.max(*longest));
            }
            verdicts.push(Err(PacketError::Crypto));
        }
        let done = self.process_there(&mut runs, verdicts);
        let there = runs[..done].iter().map(|run| run.count).sum();
        if done < runs.len() {
            self.process_copies(scratch, &mut runs[done..], there, &mut verdicts[there..]);
        }
        for Run { owner, events, .. } in &runs {
            self.tell(owner.number, events);
        }
        there
    }

    /// Processes the first runs where their packets are; how many runs. The next one has to be copied.
    fn process_there(&self, runs: &mut [Run], verdicts: &mut [Verdict]) -> usize {
        let mut buffers: ArrayVec<VolatileBuffers<'_>, MAX_BATCH> = ArrayVec::new();
        let (mut message, mut rooms) = (self.request.readable.cursor(), self.request.writable.cursor());
        let (mut packets, mut verdicts) = (self.sound(), verdicts);
        for (done, Run { owner, count, longest, events }) in runs.iter_mut().enumerate() {
            if *longest < SHORT || !owner.sa.takes_volatile() {
                return done;
            }
            buffers.clear();
            for Packet { start, length, room_start, room, .. } in packets.by_ref().take(*count) {
                match (message.slice(start, length), rooms.slice(room_start, room)) {
                    (Some(input), Some(output)) => buffers.push(VolatileBuffers { input, output }),
                    _ => return done,
                }
            }
            let (theirs, others) = std::mem::take(&mut verdicts).split_at_mut(*count);
            verdicts = others;
            match owner.sa.process_volatile(&buffers, theirs) {
                Some(of_run) => *events = of_run,
                None => return done,
            }
        }
        runs.len()
    }

    /// Processes copies of the packets of some runs, before which come `skipped` packets.
    fn process_copies(&self, scratch: &mut Scratch, runs: &mut [Run], skipped: usize, verdicts: &mut [Verdict]) {
        let packets = || self.sound().skip(skipped);
        // They follow each other, but for those that are refused.
        let first = packets().next().map_or(0, |packet| packet.start);
        let end = packets().last().map_or(0, |packet| packet.start + packet.length);
        let length = end.saturating_sub(first);
        grow(&mut scratch.packets, length);
        grow(&mut scratch.results, packets().map(|packet| packet.room).sum());
        let (inputs, mut results) = (&mut scratch.packets[..length], &mut scratch.results[..]);
        self.request.readable.cursor().read(first, inputs);
        let mut buffers: ArrayVec<Buffers<'_>, MAX_BATCH> = ArrayVec::new();
        for Packet { start, length, room, .. } in packets() {
            let input = inputs.get(start - first..).and_then(|rest| rest.get(..length)).unwrap_or_default();
            let (output, others) = std::mem::take(&mut results).split_at_mut(room);
            results = others;
            buffers.push(Buffers::Apart { input, output });
        }
        match runs {
            [Run { owner, events, .. }] => *events = owner.sa.process(&mut buffers, verdicts),
            runs => together(runs, &mut buffers, verdicts),
        }
    }

    /// Makes dummy packets, likewise.
    fn make_dummies(&mut self, scratch: &mut Scratch, verdicts: &mut Verdicts) {
        grow(&mut scratch.results, self.sound().map(|packet| packet.room).sum());
        let mut results = &mut scratch.results[..];
        for at in 0..self.packets.len() {
            let Packet { sa, length, room, status, .. } = self.packets[at];
            if status != 0 {
                continue;
            }
            let Some(found) = self.find(sa) else {
                self.packets[at].status = NO_SA;
                continue;
            };
            match found.sa.make_dummy(length, &mut results[..room]) {
                Ok((verdict, events)) => {
                    verdicts.push(verdict);
                    results = &mut std::mem::take(&mut results)[room..];
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

    /// Writes what became of the packets; the used length. `verdicts` are those of packets with status 0, of which the first
    /// `there` have their results where they belong, and the others in `results`.
    fn answer(&self, results: &[u8], verdicts: &[Verdict], there: usize) -> usize {
        let mut front: ArrayVec<u8, { answer_prefix(MAX_BATCH) }> = ArrayVec::new();
        let header = AnswerHeader { status: (RequestStatus::Ok as u32).into(), reserved: 0.into() };
        put(&mut front, header.as_bytes());
        let mut used = answer_prefix(self.packets.len());
        let mut answer = self.request.writable.cursor();
        let (mut verdicts, mut results) = (verdicts.iter().enumerate(), results);
        for packet in self.packets.iter() {
            let mut status = packet.status;
            let mut length = 0;
            if status == 0 {
                let mut result = None;
                // There is one for each.
                let (number, verdict) = verdicts.next().unwrap_or((there, &Err(PacketError::Crypto)));
                if number >= there {
                    let (here, others) = results.split_at_checked(packet.room).unwrap_or_default();
                    (result, results) = (Some(here), others);
                }
                match verdict {
                    // The engine keeps to the room.
                    Ok(written) => length = (*written).min(packet.room),
                    Err(error) => status = packet_status(*error),
                }
                if let Some(result) = result {
                    answer.write(packet.room_start, result.get(..length).unwrap_or_default());
                }
                if length > 0 {
                    used = packet.room_start + length;
                }
            }
            if status != 0 {
                self.client.refuse(status);
            }
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            let outcome = PacketResult { status: status.into(), length: length.into() };
            put(&mut front, outcome.as_bytes());
        }
        answer.write(0, &front);
        used
    }
}

/// Appends; there is room.
fn put<const N: usize>(front: &mut ArrayVec<u8, N>, bytes: &[u8]) {
    let _ = front.try_extend_from_slice(bytes);
}

/// Has the engine process runs of several SAs.
fn together(runs: &mut [Run], buffers: &mut [Buffers<'_>], verdicts: &mut [Verdict]) {
    let mut calls: ArrayVec<Call<'_, '_>, MAX_BATCH> = ArrayVec::new();
    let (mut buffers, mut verdicts) = (buffers, verdicts);
    for Run { owner, count, events, .. } in runs {
        let (packets, others) = buffers.split_at_mut(*count);
        let (theirs, rest) = verdicts.split_at_mut(*count);
        calls.push(Call { sa: &owner.sa, packets, verdicts: theirs, events });
        (buffers, verdicts) = (others, rest);
    }
    process_together(&mut calls);
}
