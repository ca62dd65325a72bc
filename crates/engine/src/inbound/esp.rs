//! ESP on the way in, in the order of RFC 4303 section 3.4, a batch at a time: first everything that can be checked before
//! the ICV, then the transform over all that passed, then what was in each packet.

use std::ops::Range;

use arrayvec::ArrayVec;
use gipsec_wire::{Malformed, esp, protocol};

use super::{Inbound, Located, Tally, is_to_be_marked};
use crate::{
    Buffers, PacketError, Verdict,
    batch::MAX_BATCH,
    content::{Content, Delivered},
    outbound::halves,
    route::Route,
    scratch,
    transform::{Forged, Open, Opens, Sealed},
};

/// A packet that deserves a look at its ICV.
pub(crate) struct Admitted {
    /// Its place in the batch.
    pub(super) index: usize,
    pub(super) located: Located,
    pub(super) sequence: u64,
    /// Bytes that are encrypted.
    pub(super) body_len: usize,
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
        let (mut admitted, mut opens) = (ArrayVec::new(), Opens::new());
        self.admit_all(route, packets, verdicts, tally, &mut admitted, &mut opens);
        let mut results = [Err(Forged); MAX_BATCH];
        self.transform.open(&mut opens, &mut results);
        drop(opens);
        self.deliver_all(route, packets, verdicts, tally, &admitted, &results);
    }

    /// The steps before the transform; `opens` has room for all packets.
    #[inline]
    pub(super) fn admit_all<'b>(
        &self,
        route: &Route,
        packets: &'b mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        tally: &Tally,
        admitted: &mut ArrayVec<Admitted, MAX_BATCH>,
        opens: &mut Opens<'b>,
    ) {
        for (index, (packet, verdict)) in packets.iter_mut().zip(verdicts).enumerate() {
            let input = packet.input();
            match self.admit(index, route, input, input.len(), packet.capacity(), tally) {
                Ok(admission) => {
                    if admission.fits {
                        opens.push(self.place(&admission, packet));
                    }
                    admitted.push(admission);
                }
                Err(error) => *verdict = self.refused(error),
            }
        }
    }

    /// The steps after the transform, which had these results.
    #[inline]
    pub(super) fn deliver_all(
        &self,
        route: &Route,
        packets: &mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        tally: &mut Tally,
        admitted: &[Admitted],
        results: &[Result<(), Forged>],
    ) {
        let mut results = results.iter();
        // Packets are judged in order, those that fit together.
        for admitted in admitted.chunk_by(|a, b| a.fits && b.fits) {
            match admitted {
                [only] if !only.fits => {
                    let Some(packet) = packets.get_mut(only.index) else { continue }; // not reached
                    let delivered = self.open_elsewhere(route, only, packet, tally);
                    self.settle(only, delivered, verdicts, tally);
                }
                fitting => self.deliver_fitting(route, packets, verdicts, tally, fitting, &mut results),
            }
        }
    }

    /// As [`Inbound::deliver_all`], for packets that fit; takes as many results.
    #[inline]
    fn deliver_fitting<'r>(
        &self,
        route: &Route,
        packets: &mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        tally: &mut Tally,
        admitted: &[Admitted],
        results: &mut impl Iterator<Item = &'r Result<(), Forged>>,
    ) {
        let mut contents: ArrayVec<Result<Content, PacketError>, MAX_BATCH> = ArrayVec::new();
        for admitted in admitted {
            contents.push(match (results.next(), packets.get(admitted.index)) {
                (Some(Ok(())), Some(packet)) => {
                    self.read(route, admitted, self.plaintext(admitted, packet), packet.capacity())
                }
                _ => Err(PacketError::BadIcv),
            });
        }
        self.accept_all(admitted, &contents, verdicts, tally, |_, admitted, content| {
            match packets.get_mut(admitted.index) {
                Some(packet) => self.finish(admitted, packet, content),
                None => Err(PacketError::Crypto), // not reached
            }
        });
    }

    /// Moves the window for packets with these contents, and has `finish` hand on what was carried, or wipe it; it gets the
    /// packet's place among them, too.
    #[inline(always)]
    pub(super) fn accept_all(
        &self,
        admitted: &[Admitted],
        contents: &[Result<Content, PacketError>],
        verdicts: &mut [Verdict],
        tally: &mut Tally,
        mut finish: impl FnMut(usize, &Admitted, Result<Content, PacketError>) -> Result<Delivered, PacketError>,
    ) {
        let mut authentic: ArrayVec<u64, MAX_BATCH> = ArrayVec::new();
        for (admitted, content) in admitted.iter().zip(contents) {
            if is_to_be_marked(*content) {
                authentic.push(admitted.sequence);
            }
        }
        let mut seen = [Ok(()); MAX_BATCH];
        self.progress.replay.accept_all(&authentic, &mut seen[..authentic.len()]);
        let mut seen = seen.iter();
        for (place, (admitted, content)) in admitted.iter().zip(contents).enumerate() {
            let seen = if is_to_be_marked(*content) { seen.next().copied().unwrap_or(Ok(())) } else { Ok(()) };
            // Packets before it in the batch may have used up the lifetime.
            let content = if tally.left == 0 { Err(PacketError::LifetimeExpired) } else { seen.and(*content) };
            let delivered = finish(place, admitted, content);
            self.settle(admitted, delivered, verdicts, tally);
        }
    }

    /// Says what became of a packet, and counts it.
    #[inline(always)]
    fn settle(
        &self,
        admitted: &Admitted,
        delivered: Result<Delivered, PacketError>,
        verdicts: &mut [Verdict],
        tally: &mut Tally,
    ) {
        if let Some(verdict) = verdicts.get_mut(admitted.index) {
            *verdict = match delivered {
                Ok(delivered) => tally.accept(delivered),
                Err(error) => self.refused(error),
            };
        }
    }

    /// What can be checked of a packet before its ICV; `input` and `len` as [`Inbound::locate`] has them.
    #[inline(always)]
    pub(super) fn admit(
        &self,
        index: usize,
        route: &Route,
        input: &[u8],
        len: usize,
        capacity: usize,
        tally: &Tally,
    ) -> Result<Admitted, PacketError> {
        if tally.left == 0 {
            return Err(PacketError::LifetimeExpired);
        }
        let located = self.locate(route, input, len)?;
        let ipsec = located.ipsec.clone();
        let head = esp::Header::parse(&input[ipsec.start..ipsec.end.min(input.len())])?;
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
        Ok(Admitted { index, located, sequence, body_len, kept, fits: kept + body_len <= capacity })
    }

    /// The high half of the sequence number under ESN.
    #[inline(always)]
    pub(super) fn high(&self, sequence: u64) -> Option<u32> {
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

    /// Where the plaintext of a packet that fits is.
    #[inline(always)]
    fn plaintext_range(&self, admitted: &Admitted, packet: &Buffers<'_>) -> Range<usize> {
        let start = match packet {
            Buffers::Apart { .. } => admitted.kept,
            Buffers::InPlace { .. } => admitted.located.ipsec.start + esp::HEADER + self.transform.iv.len(),
        };
        start..start + admitted.body_len
    }

    #[inline(always)]
    fn plaintext<'b>(&self, admitted: &Admitted, packet: &'b Buffers<'_>) -> &'b [u8] {
        let range = self.plaintext_range(admitted, packet);
        match packet {
            Buffers::Apart { output, .. } => &output[range],
            Buffers::InPlace { buffer, .. } => &buffer[range],
        }
    }

    /// What an authentic plaintext is, for which there is room of `capacity` bytes.
    #[inline(always)]
    fn read(
        &self,
        route: &Route,
        admitted: &Admitted,
        plaintext: &[u8],
        capacity: usize,
    ) -> Result<Content, PacketError> {
        let trailer = esp::Trailer::parse(plaintext).map_err(|_| PacketError::BadPadding)?;
        self.judge(route, admitted, trailer, &plaintext[..trailer.payload_len], capacity)
    }

    /// The same, once the trailer is read; of the payload, `payload` has what [`Content::examine`] needs.
    #[inline(always)]
    pub(super) fn judge(
        &self,
        route: &Route,
        admitted: &Admitted,
        trailer: esp::Trailer,
        payload: &[u8],
        capacity: usize,
    ) -> Result<Content, PacketError> {
        let Admitted { located, kept, .. } = admitted;
        if located.claimed.is_some_and(|claimed| claimed != trailer.next_header) {
            return Err(Malformed::BadWrapping.into());
        }
        if trailer.next_header == protocol::NO_NEXT_HEADER {
            return Ok(Content::DUMMY);
        }
        let content = self.examine(route, located, payload, trailer.payload_len, trailer.next_header)?;
        if kept + content.len() > capacity { Err(PacketError::NoRoom) } else { Ok(content) }
    }

    /// Hands on what a packet carried, or wipes it.
    #[inline(always)]
    fn finish(
        &self,
        admitted: &Admitted,
        packet: &mut Buffers<'_>,
        content: Result<Content, PacketError>,
    ) -> Result<Delivered, PacketError> {
        let Admitted { located, kept, .. } = admitted;
        let range = self.plaintext_range(admitted, packet);
        match (content, packet) {
            // The transform left nothing.
            (Err(PacketError::BadIcv), _) => Err(PacketError::BadIcv),
            (Err(error), packet) => {
                packet.whole()[range].fill(0);
                Err(error)
            }
            (Ok(content), _) if content.is_dummy() => Ok((0, 0)),
            (Ok(content), Buffers::Apart { input, output }) => {
                if *kept > 0 {
                    output[..*kept].copy_from_slice(&input[..*kept]);
                }
                Ok(located.front.deliver(*kept, content, self.corrects, output))
            }
            (Ok(content), Buffers::InPlace { buffer, .. }) => {
                buffer.copy_within(range.start..range.start + content.len(), *kept);
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
        if tally.left == 0 {
            return Err(PacketError::LifetimeExpired);
        }
        let Admitted { located, body_len, kept, sequence, .. } = admitted;
        scratch::with(*body_len, |plaintext| {
            let sealed = Sealed::Apart { packet: &packet.input()[located.ipsec.clone()], output: plaintext };
            let mut result = [Err(Forged)];
            self.transform.open(&mut [Open { packet: sealed, high: self.high(*sequence) }], &mut result);
            result[0]?;
            let content = self.read(route, admitted, plaintext, packet.capacity());
            if is_to_be_marked(content) {
                self.progress.replay.accept(*sequence)?;
            }
            let content = content?;
            if content.is_dummy() {
                return Ok((0, 0));
            }
            let output = packet.take_headers(*kept);
            output[*kept..kept + content.len()].copy_from_slice(&plaintext[..content.len()]);
            Ok(located.front.deliver(*kept, content, self.corrects, output))
        })
    }
}
