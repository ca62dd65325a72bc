//! Several SAs applied to a packet one after the other (R33). Between two of them a packet lies in the thread's spare
//! buffer: the caller's output holds results, and nothing else.

use arrayvec::ArrayVec;
use gipsec_wire::{MAX_PACKET, ip};

use crate::{
    Buffers, Events, MAX_ENTRIES, PacketError, SaError, Verdict,
    batch::MAX_BATCH,
    outbound::Payload,
    scratch,
    stage::{Stage, Trace},
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
    let mut passed = Passed::default();
    let traces = packets.iter().map(|packet| first.trace(packet.input())).collect();
    let mut step: ArrayVec<Buffers<'_>, MAX_BATCH> = packets
        .iter()
        .zip(regions.iter_mut())
        .map(|(packet, region)| Buffers::Apart { input: packet.input(), output: region })
        .collect();
    let mut events = first.process(payload, &mut step, verdicts);
    drop(step);
    passed.note(first, traces, verdicts);
    for stage in middle {
        let traces =
            regions.iter().zip(&*verdicts).map(|(region, verdict)| stage.trace(packet_in(region, *verdict))).collect();
        let within = regions.iter_mut().zip(&*verdicts).map(|(region, verdict)| {
            let capacity = region.len();
            (*verdict, Buffers::InPlace { buffer: region, length: verdict.unwrap_or(0), capacity })
        });
        let results = go_on(stage, within, &mut events);
        passed.take_back(verdicts, &results);
        verdicts.copy_from_slice(&results);
        passed.note(stage, traces, verdicts);
    }
    let back = packets.iter_mut().zip(regions.iter()).zip(&*verdicts).map(|((packet, region), verdict)| {
        (*verdict, Buffers::Apart { input: packet_in(region, *verdict), output: packet.room() })
    });
    let results = go_on(last, back, &mut events);
    passed.take_back(verdicts, &results);
    verdicts.copy_from_slice(&results);
    events
}

/// What a stage left in a region.
fn packet_in(region: &[u8], verdict: Verdict) -> &[u8] {
    region.get(..verdict.unwrap_or(0)).unwrap_or(region)
}

/// The stages that packets have passed. What a later one refuses is taken back: it was not processed, whatever part of it
/// was authentic, and nobody who changed the rest on the way has used up its sequence number.
#[derive(Default)]
struct Passed<'a>(ArrayVec<(&'a Stage, Traces, ArrayVec<Verdict, MAX_BATCH>), MAX_ENTRIES>);

/// Of each packet of a batch.
type Traces = ArrayVec<Trace, MAX_BATCH>;

impl<'a> Passed<'a> {
    fn note(&mut self, stage: &'a Stage, traces: Traces, verdicts: &[Verdict]) {
        self.0.push((stage, traces, verdicts.iter().copied().collect()));
    }

    /// Takes back what went on `before`, and was refused `after`.
    fn take_back(&self, before: &[Verdict], after: &[Verdict]) {
        let refused =
            before.iter().zip(after).enumerate().filter(|(_, (before, after))| before.is_ok() && after.is_err());
        for (at, _) in refused {
            for (stage, traces, verdicts) in &self.0 {
                stage.take_back(&traces[at], verdicts[at].unwrap_or(0));
            }
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
