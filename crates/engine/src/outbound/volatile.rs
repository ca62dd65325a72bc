//! Encapsulation where others may change what is read, and see what is written: see `volatile.rs` of the crate.

use arrayvec::ArrayVec;
use gipsec_wire::{esp, ip};
use vm_memory::VolatileSlice;

use super::{Batch, Outbound, Payload, Tally, plan::Plan};
use crate::{
    Events, PacketError, Verdict, VolatileBuffers,
    batch::MAX_BATCH,
    transform::{ICV, Icvs, Volatile},
    volatile::Front,
};

/// Outer header, SPI, sequence number, and IV of the longest kind.
const FRONT: usize = ip::IPV6_HEADER + esp::HEADER + 8;

/// A packet with everything but its ciphertext and ICV. Its front stands apart: this is moved.
struct Framed<'m> {
    ipsec_start: usize,
    body_start: usize,
    /// No longer, as nothing is aligned to more than 4 bytes; ICVs have at least as many.
    trailer: [u8; esp::SHORT_TRAILER],
    trailer_len: usize,
    high: Option<u32>,
    payload: VolatileSlice<'m>,
    output: VolatileSlice<'m>,
}

/// Packets, and what stands before the payload of each.
#[derive(Default)]
struct AllFramed<'m> {
    packets: ArrayVec<Framed<'m>, MAX_BATCH>,
    fronts: ArrayVec<[u8; FRONT], MAX_BATCH>,
}

impl Outbound {
    /// As [`Outbound::encapsulate`], of packets that are apart from where they go. None: they have to be copied, and
    /// nothing was done.
    pub(crate) fn encapsulate_volatile(
        &self,
        packets: &[VolatileBuffers<'_>],
        verdicts: &mut [Verdict],
    ) -> Option<Events> {
        let route = self.route.load();
        if !self.takes_volatile() || !self.is_plain(&route, Payload::Packet) {
            return None;
        }
        let mut events = Events::default();
        for (packets, verdicts) in packets.chunks(MAX_BATCH).zip(verdicts.chunks_mut(MAX_BATCH)) {
            let mut all = AllFramed::default();
            let framed = self.number(&route, packets.len(), |numbers, ivs, tally| {
                let batch = Batch::<true> { sa: self, route: &route, payload: Payload::Packet, numbers, ivs, tally };
                batch.frame_volatile(packets, verdicts, &mut all)
            });
            self.seal_volatile(&all);
            events.merge(self.count(&framed));
        }
        Some(events)
    }

    fn seal_volatile(&self, all: &AllFramed<'_>) {
        let mut seals: ArrayVec<Volatile<'_>, MAX_BATCH> = ArrayVec::new();
        for (framed, front) in all.packets.iter().zip(&all.fronts) {
            // Not reached, and the others keep their order.
            let Some(seal) = write_around(framed, front) else { break };
            seals.push(seal);
        }
        let mut icvs = Icvs::new();
        self.transform.seal_volatile(&seals, &mut icvs);
        for (Framed { output, .. }, icv) in all.packets.iter().zip(&icvs) {
            let Ok(place) = output.offset(output.len() - self.transform.icv_len) else { continue }; // not reached
            // The usual length is not copied by a call.
            match place.subslice(0, ICV) {
                Ok(whole) => whole.copy_from(icv),
                Err(_) => place.copy_from(icv),
            }
        }
    }
}

/// Writes what stands around the ciphertext. In lengths that are known where all of it stays below what comes later; and
/// not at once when it was made, for reading it in larger pieces would have to wait for that.
#[inline(always)]
fn write_around<'a>(framed: &Framed<'a>, front: &'a [u8; FRONT]) -> Option<Volatile<'a>> {
    let Framed { ipsec_start, body_start, trailer, trailer_len, high, payload, output } = framed;
    match output.subslice(0, FRONT) {
        Ok(place) => place.copy_from(front),
        Err(_) => output.copy_from(front.get(..*body_start)?),
    }
    output.subslice(body_start + payload.len(), esp::SHORT_TRAILER).ok()?.copy_from(trailer);
    Some(Volatile {
        front: front.get(*ipsec_start..*body_start)?,
        high: *high,
        source: *payload,
        body: output.subslice(*body_start, payload.len() + trailer_len).ok()?,
    })
}

impl Batch<'_, true> {
    /// RFC 4303 section 3.3, up to the transform; `all` has room for all packets.
    fn frame_volatile<'m>(
        mut self,
        packets: &[VolatileBuffers<'m>],
        verdicts: &mut [Verdict],
        all: &mut AllFramed<'m>,
    ) -> Tally {
        let mut front = Front::EMPTY;
        for (packet, verdict) in packets.iter().zip(verdicts) {
            let begun = self.begin(front.read(&packet.input), packet.input.len(), packet.output.len());
            let framed = begun.and_then(|(plan, number, position)| {
                self.frame_one(&plan, number, position, packet, all).ok_or(PacketError::Crypto)?;
                Ok(plan)
            });
            *verdict = match framed {
                Ok(plan) => self.sent(&plan),
                Err(error) => Err(self.sa.refused(error)),
            };
        }
        self.tally
    }

    /// Everything of a packet but ciphertext and ICV. The plan keeps to packet and room.
    #[inline(always)]
    fn frame_one<'m>(
        &self,
        plan: &Plan,
        number: u64,
        position: usize,
        packet: &VolatileBuffers<'m>,
        all: &mut AllFramed<'m>,
    ) -> Option<()> {
        let trailer_len = plan.total_len - self.sa.transform.icv_len - plan.body_start - plan.payload_len;
        let payload = packet.input.subslice(0, plan.payload_len).ok()?;
        let output = packet.output.subslice(0, plan.total_len).ok()?;
        all.fronts.push([0; FRONT]);
        let high = self.write_front(plan, number, position, 0, all.fronts.last_mut()?);
        all.packets.push(Framed {
            ipsec_start: plan.ipsec_start,
            body_start: plan.body_start,
            trailer: esp::short_trailer(trailer_len, plan.next_header),
            trailer_len,
            high,
            payload,
            output,
        });
        Some(())
    }
}
