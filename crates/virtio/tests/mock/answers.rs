//! What a device answers that does what it ought to.

use gipsec_engine::{Buffers, Direction, PacketError, Sa};
use gipsec_virtio::message::{
    RequestStatus,
    control::{Command, ControlAnswer, Done, ReadFrom},
    data::{AnswerHeader, DUMMY, PacketEntry, PacketResult, RequestHeader},
    event::Event,
    packet_status, reading,
    status::NO_SA,
};
use zerocopy::{FromBytes, IntoBytes};

use super::State;

impl State {
    pub(super) fn control(&mut self, request: &[u8]) -> Vec<u8> {
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

    pub(super) fn data(&mut self, queue: usize, mut request: &[u8], room: usize) -> Vec<u8> {
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
