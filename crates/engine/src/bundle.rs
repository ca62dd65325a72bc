//! Several SAs applied to a packet one after the other (R33). Between two of them a packet lies in the thread's spare
//! buffer: the caller's output holds results, and nothing else.

use arrayvec::ArrayVec;
use gipsec_wire::{MAX_PACKET, ip};

use crate::{
    Buffers, Events, Inbound, MAX_ENTRIES, PacketError, SaError, Verdict, batch::MAX_BATCH, outbound::Payload,
    sa::Stage, scratch,
};

/// Bytes of spare buffer that packets share; a single one may need more.
const MAX_SPARE: usize = 512 * 1024;

/// Has packets go through all stages in order, of which there is at least one.
pub(crate) fn process(
    stages: &[Stage],
    payload: Payload,
    mut packets: &mut [Buffers<'_>],
    mut verdicts: &mut [Verdict],
) -> Events {
    // What a packet may grow by before the last stage; that one writes to the caller's output.
    let between = stages.split_last().map_or(stages, |(_, before)| before);
    let growth: Option<usize> = between.iter().map(Stage::growth).sum();
    let room = |packet: &Buffers<'_>| {
        let most = MAX_PACKET + ip::IPV6_HEADER;
        growth.map_or(most, |growth| (packet.input().len() + growth).min(most))
    };
    let mut events = Events::default();
    while !packets.is_empty() {
        let mut spare = 0;
        let count = packets
            .iter()
            .take(MAX_BATCH)
            .take_while(|packet| {
                spare += room(packet);
                spare <= MAX_SPARE
            })
            .count()
            .max(1);
        let (now, later) = packets.split_at_mut(count);
        let (verdicts_now, verdicts_later) = verdicts.split_at_mut(count);
        (packets, verdicts) = (later, verdicts_later);
        scratch::with(now.iter().map(room).sum(), |mut spare| {
            let mut regions: ArrayVec<&mut [u8], MAX_BATCH> = ArrayVec::new();
            for packet in &*now {
                let (region, rest) = spare.split_at_mut(room(packet));
                regions.push(region);
                spare = rest;
            }
            events.merge(walk(stages, payload, now, &mut regions, verdicts_now));
        });
    }
    events
}

/// Takes packets through the stages: from the caller to the spare regions, within them, and back.
fn walk(
    stages: &[Stage],
    payload: Payload,
    packets: &mut [Buffers<'_>],
    regions: &mut [&mut [u8]],
    verdicts: &mut [Verdict],
) -> Events {
    let [first, middle @ .., last] = stages else { return Events::default() };
    let mut accepted = Accepted::new();
    accepted.note(first, packets.iter().map(Buffers::input));
    let mut step: ArrayVec<Buffers<'_>, MAX_BATCH> = packets
        .iter()
        .zip(regions.iter_mut())
        .map(|(packet, region)| Buffers::Apart { input: packet.input(), output: region })
        .collect();
    let mut events = first.process(payload, &mut step, verdicts);
    drop(step);
    for stage in middle {
        accepted.note(stage, regions.iter().zip(&*verdicts).map(|(region, verdict)| packet_in(region, *verdict)));
        let within = regions.iter_mut().zip(&*verdicts).map(|(region, verdict)| {
            let capacity = region.len();
            (*verdict, Buffers::InPlace { buffer: region, length: verdict.unwrap_or(0), capacity })
        });
        let results = go_on(stage, within, &mut events);
        verdicts.copy_from_slice(&results);
    }
    let back = packets.iter_mut().zip(regions.iter()).zip(&*verdicts).map(|((packet, region), verdict)| {
        (*verdict, Buffers::Apart { input: packet_in(region, *verdict), output: packet.room() })
    });
    let results = go_on(last, back, &mut events);
    verdicts.copy_from_slice(&results);
    accepted.forget_what_found_no_room(verdicts);
    events
}

/// What a stage left in a region.
fn packet_in(region: &[u8], verdict: Verdict) -> &[u8] {
    region.get(..verdict.unwrap_or(0)).unwrap_or(region)
}

/// The sequence numbers that inbound stages accept, so that a packet that finds no room at last may come again.
struct Accepted<'a>(ArrayVec<(&'a Inbound, Numbers), MAX_ENTRIES>);

/// The number of each packet, where it has one.
type Numbers = ArrayVec<Option<u64>, MAX_BATCH>;

impl<'a> Accepted<'a> {
    fn new() -> Self {
        Self(ArrayVec::new())
    }

    /// Notes the numbers of packets that a stage is about to see.
    fn note<'p>(&mut self, stage: &'a Stage, packets: impl Iterator<Item = &'p [u8]>) {
        if let Stage::Inbound(sa) = stage {
            self.0.push((sa, packets.map(|packet| sa.number(packet)).collect()));
        }
    }

    fn forget_what_found_no_room(self, verdicts: &[Verdict]) {
        for (sa, numbers) in self.0 {
            let no_room = verdicts.iter().zip(numbers).filter(|(verdict, _)| **verdict == Err(PacketError::NoRoom));
            no_room.filter_map(|(_, number)| number).for_each(|number| sa.forget(number));
        }
    }
}

/// Has those packets processed that are still on their way: neither refused nor, as dummies, dropped.
fn go_on<'a>(
    stage: &Stage,
    packets: impl Iterator<Item = (Verdict, Buffers<'a>)>,
    events: &mut Events,
) -> ArrayVec<Verdict, MAX_BATCH> {
    let mut alive: ArrayVec<Buffers<'_>, MAX_BATCH> = ArrayVec::new();
    let mut results: ArrayVec<Verdict, MAX_BATCH> = ArrayVec::new();
    for (verdict, packet) in packets {
        if matches!(verdict, Ok(1..)) {
            alive.push(packet);
        }
        results.push(verdict);
    }
    let mut verdicts = [Err(PacketError::Crypto); MAX_BATCH];
    let count = alive.len();
    events.merge(stage.process(Payload::Packet, &mut alive, &mut verdicts[..count]));
    let went_on = results.iter_mut().filter(|verdict| matches!(verdict, Ok(1..)));
    went_on.zip(verdicts).for_each(|(result, verdict)| *result = verdict);
    results
}

/// Calls `work` with an IPv4 packet of `len` bytes that carries nothing and goes nowhere.
pub(crate) fn with_blank_packet<R>(len: usize, work: impl FnOnce(&[u8]) -> R) -> Result<R, SaError> {
    let total_len = u16::try_from(len).ok().filter(|_| len >= ip::IPV4_HEADER);
    let total_len = total_len.ok_or(SaError::Invalid("a dummy packet stands for 20 to 65,535 bytes"))?;
    // Not the thread's spare buffer, which the stages use: dummies are rare.
    let mut blank = vec![0; len];
    blank[0] = 0x45;
    blank[2..4].copy_from_slice(&total_len.to_be_bytes());
    Ok(work(&blank))
}
