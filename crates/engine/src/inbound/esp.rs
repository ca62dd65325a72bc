//! ESP on the way in, in the order of RFC 4303 section 3.4, a batch at a time: first everything that can be checked before
//! the ICV, then the transform over all that passed, then what was in each packet.

use arrayvec::ArrayVec;
use gipsec_wire::{Malformed, esp, protocol};

use super::{Inbound, Located, Tally};
use crate::{
    Buffers, PacketError, Verdict,
    batch::MAX_BATCH,
    content::{Content, Delivered},
    outbound::halves,
    route::Route,
    scratch,
    transform::{Forged, Open, Sealed},
};

/// A packet that deserves a look at its ICV.
struct Admitted {
    /// Its place in the batch.
    index: usize,
    located: Located,
    sequence: u64,
    /// Bytes that are encrypted.
    body_len: usize,
    /// Bytes of the packet's own headers that stay in front of the payload.
    kept: usize,
    /// Whether all that is decrypted has room where the payload goes.
    fits: bool,
}

impl Inbound {
    /// A packet that stands twice in the batch is admitted twice and accepted once.
    pub(super) fn open_esp(
        &self,
        route: &Route,
        packets: &mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        tally: &mut Tally,
    ) {
        let mut admitted: ArrayVec<Admitted, MAX_BATCH> = ArrayVec::new();
        let mut batch: ArrayVec<Open<'_>, MAX_BATCH> = ArrayVec::new();
        for (index, (packet, verdict)) in packets.iter_mut().zip(verdicts.iter_mut()).enumerate() {
            match self.admit(index, route, packet, tally) {
                Ok(admission) => {
                    if admission.fits {
                        batch.push(self.place(&admission, packet));
                    }
                    admitted.push(admission);
                }
                Err(error) => *verdict = self.refused(error),
            }
        }
        let mut results = [Err(Forged); MAX_BATCH];
        self.transform.open(&mut batch, &mut results);
        drop(batch);
        let mut results = results.iter();
        for admitted in &admitted {
            let (Some(packet), Some(verdict)) = (packets.get_mut(admitted.index), verdicts.get_mut(admitted.index))
            else {
                continue; // not reached
            };
            let delivered = if !admitted.fits {
                self.open_elsewhere(route, admitted, packet, tally)
            } else if let Some(Ok(())) = results.next() {
                self.finish(route, admitted, packet, tally)
            } else {
                Err(PacketError::BadIcv)
            };
            *verdict = match delivered {
                Ok(delivered) => tally.accept(delivered),
                Err(error) => self.refused(error),
            };
        }
    }

    /// What can be checked of a packet before its ICV.
    #[inline(always)]
    fn admit(&self, index: usize, route: &Route, packet: &Buffers<'_>, tally: &Tally) -> Result<Admitted, PacketError> {
        if tally.left == 0 {
            return Err(PacketError::LifetimeExpired);
        }
        let input = packet.input();
        let located = self.locate(route, input)?;
        let ipsec = &input[located.ipsec.clone()];
        let head = esp::Header::parse(ipsec)?;
        if head.spi != self.attributes.spi.get() {
            return Err(PacketError::OtherSpi);
        }
        let body_len = ipsec.len().checked_sub(self.transform.overhead()).ok_or(Malformed::Truncated)?;
        // Counter modes have no block; RFC 4303 section 2.4 aligns them to 4, which peers have forgotten before.
        if body_len < esp::TRAILER || self.transform.alignment > 4 && body_len % self.transform.alignment != 0 {
            return Err(Malformed::BadLength.into());
        }
        let sequence = self.progress.replay.check(head.sequence)?;
        let kept = located.front.kept(route.is_tunnel());
        Ok(Admitted { index, located, sequence, body_len, kept, fits: kept + body_len <= packet.capacity() })
    }

    /// The high half of the sequence number under ESN.
    #[inline(always)]
    fn high(&self, sequence: u64) -> Option<u32> {
        self.attributes.extended_sequence.then_some(halves(sequence).1)
    }

    /// An admitted packet that fits, and where its plaintext goes.
    #[inline(always)]
    fn place<'b>(&self, admitted: &Admitted, packet: &'b mut Buffers<'_>) -> Open<'b> {
        let Admitted { located, body_len, kept, .. } = admitted;
        let ipsec = located.ipsec.clone();
        let high = self.high(admitted.sequence);
        match packet {
            Buffers::Apart { input, output } => Open {
                packet: Sealed::Apart { packet: &input[ipsec], output: &mut output[*kept..kept + body_len] },
                high,
            },
            Buffers::InPlace { buffer, .. } => Open { packet: Sealed::InPlace(&mut buffer[ipsec]), high },
        }
    }

    /// Hands on what an authentic packet carried.
    #[inline(always)]
    fn finish(
        &self,
        route: &Route,
        admitted: &Admitted,
        packet: &mut Buffers<'_>,
        tally: &Tally,
    ) -> Result<Delivered, PacketError> {
        let Admitted { located, body_len, kept, .. } = admitted;
        let capacity = packet.capacity();
        match packet {
            Buffers::Apart { input, output } => {
                let plaintext = &mut output[*kept..kept + body_len];
                let content = self.accept(route, admitted, plaintext, capacity - kept, tally)?;
                if content.is_dummy() {
                    return Ok((0, 0));
                }
                if *kept > 0 {
                    output[..*kept].copy_from_slice(&input[..*kept]);
                }
                Ok(located.front.deliver(*kept, content, self.corrects, output))
            }
            Buffers::InPlace { buffer, .. } => {
                let body_start = located.ipsec.start + esp::HEADER + self.transform.iv.len();
                let plaintext = &mut buffer[body_start..body_start + body_len];
                let content = self.accept(route, admitted, plaintext, capacity - kept, tally)?;
                if content.is_dummy() {
                    return Ok((0, 0));
                }
                buffer.copy_within(body_start..body_start + content.len(), *kept);
                Ok(located.front.deliver(*kept, content, self.corrects, buffer))
            }
        }
    }

    /// Opens a packet whose payload may have room where it goes although all that is decrypted has not: nothing is written
    /// there before that is known.
    #[cold]
    fn open_elsewhere(
        &self,
        route: &Route,
        admitted: &Admitted,
        packet: &mut Buffers<'_>,
        tally: &Tally,
    ) -> Result<Delivered, PacketError> {
        let Admitted { located, body_len, kept, sequence, .. } = admitted;
        scratch::with(*body_len, |plaintext| {
            let sealed = Sealed::Apart { packet: &packet.input()[located.ipsec.clone()], output: plaintext };
            let mut result = [Err(Forged)];
            self.transform.open(&mut [Open { packet: sealed, high: self.high(*sequence) }], &mut result);
            result[0]?;
            let room = packet.capacity().checked_sub(*kept).ok_or(PacketError::NoRoom)?;
            let content = self.accept(route, admitted, plaintext, room, tally)?;
            if content.is_dummy() {
                return Ok((0, 0));
            }
            let output = packet.take_headers(*kept);
            output[*kept..kept + content.len()].copy_from_slice(&plaintext[..content.len()]);
            Ok(located.front.deliver(*kept, content, self.corrects, output))
        })
    }

    /// Examines an authentic plaintext and moves the window, also for a packet that is refused after all: it was
    /// authentic, and need not come again. Wipes the plaintext of a packet that is refused.
    #[inline(always)]
    fn accept(
        &self,
        route: &Route,
        admitted: &Admitted,
        plaintext: &mut [u8],
        room: usize,
        tally: &Tally,
    ) -> Result<Content, PacketError> {
        let Admitted { located, sequence, .. } = admitted;
        if tally.left == 0 {
            // Used up by packets before it in the batch.
            plaintext.fill(0);
            return Err(PacketError::LifetimeExpired);
        }
        let content = self.read(route, located, plaintext, room);
        let content = self.mark_seen(*sequence, content);
        if content.is_err() {
            plaintext.fill(0);
        }
        content
    }

    /// What an authentic plaintext is.
    #[inline(always)]
    fn read(&self, route: &Route, located: &Located, plaintext: &[u8], room: usize) -> Result<Content, PacketError> {
        let trailer = esp::Trailer::parse(plaintext).map_err(|_| PacketError::BadPadding)?;
        if located.claimed.is_some_and(|claimed| claimed != trailer.next_header) {
            return Err(Malformed::BadWrapping.into());
        }
        if trailer.next_header == protocol::NO_NEXT_HEADER {
            return Ok(Content::DUMMY);
        }
        let content = self.examine(route, located, &plaintext[..trailer.payload_len], trailer.next_header)?;
        if content.len() > room { Err(PacketError::NoRoom) } else { Ok(content) }
    }
}
