//! Decapsulation where others may change what is read, and see what is written: see `volatile.rs` of the crate.

use arrayvec::ArrayVec;
use gipsec_kernels::gcm::wipe;
use gipsec_wire::{esp, ip};
use vm_memory::VolatileSlice;

use super::{Admitted, Inbound, Tally};
use crate::{
    Events, PacketError, Verdict, VolatileBuffers,
    batch::MAX_BATCH,
    content::{Content, Delivered},
    route::Route,
    transform::{Forged, ICV, Icvs, Volatile},
    volatile::Front,
};

/// SPI, sequence number, and IV of the longest kind.
const HEAD: usize = esp::HEADER + 8;
/// Bytes of padding and trailer that are usually enough.
const TRAILER: usize = 16 + esp::TRAILER;
/// The most there can be.
const LONGEST_TRAILER: usize = 255 + esp::TRAILER;

/// Where a plaintext is, and a copy of its header.
struct Plaintext<'m> {
    place: VolatileSlice<'m>,
    header: [u8; ip::LONGEST_HEADER],
}

type Plaintexts<'m> = ArrayVec<Plaintext<'m>, MAX_BATCH>;

impl Inbound {
    /// As [`Inbound::decapsulate`], of packets that are apart from where they go. None: they have to be copied, and nothing
    /// was done.
    pub(crate) fn decapsulate_volatile(
        &self,
        packets: &[VolatileBuffers<'_>],
        verdicts: &mut [Verdict],
    ) -> Option<Events> {
        let route = self.route.load();
        let is_bare = route.is_tunnel() && route.udp.is_none();
        if !self.takes_volatile() || !is_bare || !packets.iter().all(VolatileBuffers::is_usual_esp) {
            return None;
        }
        let mut tally = self.tally();
        for (packets, verdicts) in packets.chunks(MAX_BATCH).zip(verdicts.chunks_mut(MAX_BATCH)) {
            self.open_volatile(&route, packets, verdicts, &mut tally);
        }
        Some(self.count(&tally))
    }

    fn open_volatile(
        &self,
        route: &Route,
        packets: &[VolatileBuffers<'_>],
        verdicts: &mut [Verdict],
        tally: &mut Tally,
    ) {
        let mut admitted: ArrayVec<Admitted, MAX_BATCH> = ArrayVec::new();
        let mut heads: ArrayVec<[u8; HEAD], MAX_BATCH> = ArrayVec::new();
        let mut opens: ArrayVec<Volatile<'_>, MAX_BATCH> = ArrayVec::new();
        let mut icvs = Icvs::new();
        let mut front = Front::EMPTY;
        for (index, (packet, verdict)) in packets.iter().zip(&mut *verdicts).enumerate() {
            let (front, len) = (front.read(&packet.input), packet.input.len());
            match self.admit(index, route, front, len, packet.output.len(), tally) {
                Ok(admission) => {
                    let mut head = [0; HEAD];
                    let own = front.get(admission.located.ipsec.start..).unwrap_or_default();
                    head.iter_mut().zip(own).for_each(|(to, from)| *to = *from);
                    heads.push(head);
                    admitted.push(admission);
                }
                Err(error) => *verdict = self.refused(error),
            }
        }
        for (admitted, head) in admitted.iter().zip(&heads) {
            let placed = packets.get(admitted.index).and_then(|packet| self.place_volatile(admitted, head, packet));
            // Not reached, and the others keep their order.
            let Some((open, icv)) = placed else { break };
            opens.push(open);
            icvs.push(icv);
        }
        let mut results = [Err(Forged); MAX_BATCH];
        self.transform.open_volatile(&opens, &icvs, &mut results);

        let mut plaintexts = Plaintexts::new();
        let mut contents: ArrayVec<Result<Content, PacketError>, MAX_BATCH> = ArrayVec::new();
        for ((admitted, open), result) in admitted.iter().zip(&opens).zip(&results) {
            let mut plaintext = Plaintext { place: open.body, header: [0; ip::LONGEST_HEADER] };
            contents.push(match result {
                Ok(()) => self.read_volatile(route, admitted, &mut plaintext),
                Err(Forged) => Err(PacketError::BadIcv),
            });
            plaintexts.push(plaintext);
        }
        self.accept_all(&admitted, &contents, verdicts, tally, |place, admitted, content| {
            match plaintexts.get_mut(place) {
                Some(plaintext) => finish(admitted, plaintext, content),
                None => Err(PacketError::Crypto), // not reached
            }
        });
    }

    /// An admitted packet, where its plaintext goes, and a copy of its ICV. What was admitted lies within the packet.
    #[inline(always)]
    fn place_volatile<'p>(
        &self,
        admitted: &Admitted,
        head: &'p [u8; HEAD],
        packet: &VolatileBuffers<'p>,
    ) -> Option<(Volatile<'p>, [u8; ICV])> {
        let Admitted { located, sequence, body_len, .. } = admitted;
        let start = located.ipsec.start;
        let body = start + esp::HEADER + self.transform.iv.len();
        let mut icv = [0; ICV];
        packet.input.subslice(body + body_len, self.transform.icv_len).ok()?.copy_to(&mut icv);
        let open = Volatile {
            front: head.get(..body - start)?,
            high: self.high(*sequence),
            source: packet.input.subslice(body, *body_len).ok()?,
            body: packet.output.subslice(0, *body_len).ok()?,
        };
        Some((open, icv))
    }

    /// What an authentic plaintext is.
    #[inline(always)]
    fn read_volatile(
        &self,
        route: &Route,
        admitted: &Admitted,
        Plaintext { place, header }: &mut Plaintext<'_>,
    ) -> Result<Content, PacketError> {
        let trailer = read_trailer(place)?;
        let payload = &mut header[..trailer.payload_len.min(ip::LONGEST_HEADER)];
        place.copy_to(payload);
        self.judge(route, admitted, trailer, payload, place.len())
    }
}

/// Reads the trailer of a plaintext.
#[inline(always)]
fn read_trailer(plaintext: &VolatileSlice<'_>) -> Result<esp::Trailer, PacketError> {
    let mut end = [0; TRAILER];
    let end = copy_end(plaintext, &mut end);
    if matches!(end, [.., pad_len, _] if usize::from(*pad_len) + esp::TRAILER > end.len()) {
        return read_long_trailer(plaintext);
    }
    parse_trailer(plaintext, end)
}

#[cold]
fn read_long_trailer(plaintext: &VolatileSlice<'_>) -> Result<esp::Trailer, PacketError> {
    parse_trailer(plaintext, copy_end(plaintext, &mut [0; LONGEST_TRAILER]))
}

/// Copies the last bytes of a plaintext, as many as there is room for.
#[inline(always)]
fn copy_end<'b>(plaintext: &VolatileSlice<'_>, room: &'b mut [u8]) -> &'b [u8] {
    let len = plaintext.len().min(room.len());
    if let Ok(end) = plaintext.offset(plaintext.len() - len) {
        end.copy_to(&mut room[..len]);
    }
    &room[..len]
}

/// Reads the trailer at the end of a plaintext from a copy of that end.
#[inline(always)]
fn parse_trailer(plaintext: &VolatileSlice<'_>, end: &[u8]) -> Result<esp::Trailer, PacketError> {
    let trailer = esp::Trailer::parse(end).map_err(|_| PacketError::BadPadding)?;
    Ok(esp::Trailer { payload_len: plaintext.len() - end.len() + trailer.payload_len, ..trailer })
}

/// Hands on what a packet carried, or wipes it. In a tunnel, nothing of the packet's own headers is kept.
#[inline(always)]
fn finish(
    admitted: &Admitted,
    Plaintext { place, header }: &mut Plaintext<'_>,
    content: Result<Content, PacketError>,
) -> Result<Delivered, PacketError> {
    match content {
        // The transform left nothing.
        Err(PacketError::BadIcv) => Err(PacketError::BadIcv),
        Err(error) => {
            wipe(place);
            Err(error)
        }
        Ok(content) if content.is_dummy() => Ok((0, 0)),
        Ok(content) => {
            let header = &mut header[..content.len().min(ip::LONGEST_HEADER)];
            let delivered = admitted.located.front.deliver(0, content, None, header);
            if content.traffic_class().is_some() {
                place.copy_from(header);
            }
            Ok(delivered)
        }
    }
}
