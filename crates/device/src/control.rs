//! Control requests: bytes in, bytes out. What comes in is a private copy of a hostile driver's message. Run by the
//! client's control worker, one request at a time.

use std::ops::Bound;

use gipsec_engine::{BundleEntry, Direction, Sa, SaError};
use gipsec_virtio::message::{
    RequestStatus,
    control::{AttachMode, Command, ControlAnswer, ControlHeader, Done, MAX_BODY, NAME_SIZE, ReadFrom, Refused},
    feature, reading,
};
use zerocopy::IntoBytes;

use crate::client::Client;

/// Bytes of a request at most; what comes after them is not looked at.
pub const MAX_REQUEST: usize = size_of::<ControlHeader>() + MAX_BODY;
/// How an answer begins.
const HEADER: usize = size_of::<ControlAnswer>();
/// The command ATTACH, at the beginning of a message.
const ATTACH: [u8; 2] = [1, 0];

type Outcome = Result<(), RequestStatus>;

fn status_of(error: SaError) -> RequestStatus {
    match error {
        SaError::Invalid(_) => RequestStatus::Invalid,
        SaError::Unsupported(_) => RequestStatus::Unsupported,
    }
}

/// Does what `message` says. `answer` gets what goes to the front of a writable part of `room` bytes: nothing when that
/// is too short even for a status.
pub fn handle(client: &Client, message: &[u8], room: usize, answer: &mut Vec<u8>) {
    answer.clear();
    let Some(room) = room.checked_sub(HEADER) else {
        client.refuse_request();
        return;
    };
    answer.resize(HEADER, 0);
    let mut body = Body { answer, room };
    let status = match run(client, message, &mut body) {
        Ok(()) => RequestStatus::Ok,
        Err(status) => {
            client.refuse_request();
            answer.truncate(HEADER);
            status
        }
    };
    let length = u32::try_from(answer.len() - HEADER).unwrap_or(u32::MAX);
    let header = ControlAnswer { status: (status as u32).into(), length: length.into(), reserved: 0.into() };
    answer[..HEADER].copy_from_slice(header.as_bytes());
}

/// Where an answer's body goes.
struct Body<'a> {
    answer: &'a mut Vec<u8>,
    room: usize,
}

impl Body<'_> {
    /// Makes sure that an answer of `length` bytes will fit, before anything has changed.
    fn fits(&self, length: usize) -> Outcome {
        if length <= self.room { Ok(()) } else { Err(RequestStatus::NoRoom) }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.answer.extend_from_slice(bytes);
    }
}

fn run(client: &Client, message: &[u8], body: &mut Body<'_>) -> Outcome {
    if !client.is_attached() && !message.starts_with(&ATTACH) {
        return Err(RequestStatus::NotAttached);
    }
    let (command, group) = Command::decode(message).map_err(|refused| match refused {
        Refused::Malformed(_) => RequestStatus::Invalid,
        Refused::Unknown => RequestStatus::Unsupported,
    })?;
    match command {
        Command::Attach { .. }
        | Command::Detach
        | Command::Statistics
        | Command::GroupCreate { .. }
        | Command::Flush { all: true }
            if group != 0 =>
        {
            Err(RequestStatus::Invalid)
        }
        Command::Attach { mode, name } => attach(client, mode, &name),
        Command::Detach => {
            client.detach();
            Ok(())
        }
        Command::Statistics => {
            body.fits(72)?;
            let totals = client.totals(&client.state());
            body.write(totals.as_bytes());
            Ok(())
        }
        Command::GroupCreate { .. } => {
            body.fits(8)?;
            let group = client.create_group(&mut client.state())?;
            body.write(&u64::from(group).to_le_bytes());
            Ok(())
        }
        Command::GroupDelete => client.delete_group(&mut client.state(), group),
        Command::SaAdd { direction: _, entries } => add(client, group, entries, body),
        Command::SaDelete(sa) => {
            body.fits(size_of::<Done>())?;
            let done = client.delete(&mut client.state(), group, sa)?;
            write_done(done, body);
            Ok(())
        }
        Command::SaModify(sa, change) => client.find_in(group, sa)?.sa.modify(&change).map_err(status_of),
        Command::SaRead { from, direction, count } => read(client, group, from, direction, usize::from(count), body),
        Command::SaStatistics(sa) => {
            body.fits(size_of::<Done>())?;
            let done = client.find_in(group, sa)?.sa.done();
            write_done(done, body);
            Ok(())
        }
        Command::SaInnerLength { sa, limit } => {
            body.fits(8)?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let longest = client.find_in(group, sa)?.sa.largest_inner(limit).map_err(status_of)?;
            let longest = longest.ok_or(RequestStatus::NotFound)?;
            body.write(&(longest as u64).to_le_bytes());
            Ok(())
        }
        Command::Flush { all } => flush(client, group, all),
    }
}

fn attach(client: &Client, mode: AttachMode, name: &[u8; NAME_SIZE]) -> Outcome {
    client.attach(mode, name)
}

fn add(client: &Client, group: u32, entries: Vec<BundleEntry>, body: &mut Body<'_>) -> Outcome {
    body.fits(8)?;
    if feature::required(&entries) & !client.features() != 0 {
        return Err(RequestStatus::Unsupported);
    }
    let mut state = client.state();
    if !state.groups.contains_key(&group) {
        return Err(RequestStatus::NotFound);
    }
    // Before the keys are scheduled, which takes longer than finding out.
    if !client.has_room(&state) {
        return Err(RequestStatus::Full);
    }
    let sa = Sa::new(entries).map_err(status_of)?;
    let number = client.add(&mut state, group, sa)?;
    body.write(&number.to_le_bytes());
    Ok(())
}

fn write_done((packets, bytes): (u64, u64), body: &mut Body<'_>) {
    body.write(Done { packets: packets.into(), bytes: bytes.into() }.as_bytes());
}

fn read(
    client: &Client,
    group: u32,
    from: ReadFrom,
    direction: Direction,
    count: usize,
    body: &mut Body<'_>,
) -> Outcome {
    body.fits(size_of::<reading::ReadingsHeader>())?;
    let state = client.state();
    let sas = state.groups.get(&group).ok_or(RequestStatus::NotFound)?.sas(direction);
    let range = match from {
        ReadFrom::First => (Bound::Unbounded, Bound::Unbounded),
        // Greater numbers are younger.
        ReadFrom::After(sa) => (Bound::Excluded(sa), Bound::Unbounded),
        ReadFrom::Exact(sa) => (Bound::Included(sa), Bound::Included(sa)),
    };
    let start = body.answer.len();
    body.write(&[0; size_of::<reading::ReadingsHeader>()]);
    let mut read = 0u32;
    for number in sas.range(range).take(count) {
        let Some(entry) = client.find(*number) else { continue };
        let end = body.answer.len();
        reading::encode(*number, direction, &entry.sa.read(), body.answer).map_err(|_| RequestStatus::Failed)?;
        if body.fits(body.answer.len() - start).is_err() {
            if read == 0 {
                return Err(RequestStatus::NoRoom);
            }
            body.answer.truncate(end);
            break;
        }
        read += 1;
    }
    if read == 0 {
        return Err(RequestStatus::NotFound);
    }
    let header = reading::ReadingsHeader { count: read.into(), reserved: 0.into() };
    body.answer[start..start + header.as_bytes().len()].copy_from_slice(header.as_bytes());
    Ok(())
}

fn flush(client: &Client, group: u32, all: bool) -> Outcome {
    let mut state = client.state();
    if !state.groups.contains_key(&group) {
        return Err(RequestStatus::NotFound);
    }
    let groups: Vec<u32> = if all { state.groups.keys().copied().collect() } else { vec![group] };
    client.empty(&mut state, &groups);
    Ok(())
}
