//! Inbound SAs: decapsulation, in the order of RFC 4303 section 3.4 and RFC 4302 section 3.4. Nothing of a packet is
//! believed before its ICV matched, and a packet that is refused leaves no plaintext behind.

mod ah;

use std::ops::Range;

use arrayvec::ArrayVec;
use gipsec_wire::{Malformed, esp, ip::Header, protocol, udp, wesp::Wrapping};

use crate::{
    Attributes, Buffers, Change, Direction, Drops, Events, InboundRules, Keys, Mode, PacketError, Protocol, Rules,
    SaError, Statistics, Verdict,
    batch::MAX_BATCH,
    content::{Content, Delivered, Front},
    counters::Counters,
    lifetime::Limits,
    nat,
    outbound::{halves, wrapping},
    replay::Replay,
    route::{Route, Routing},
    scratch,
    transform::{NO_TAG, Tag, Transform, Unverified},
};

/// An SA that decapsulates. Any number of threads may use it at once; of several copies of a packet one is accepted.
pub struct Inbound {
    attributes: Attributes,
    rules: InboundRules,
    transform: Transform,
    /// The protocol number in front of ESP or AH, unless they are in UDP.
    protocol: u8,
    wrapping: Option<Wrapping>,
    /// What packets in UDP had for a source address before a NAT changed it.
    peer_original: Option<nat::Original>,
    /// The same, where checksums are to be corrected here.
    corrects: Option<nat::Original>,
    route: Routing,
    limits: Limits,
    replay: Replay,
    counters: Counters,
}

/// A packet's headers, checked, and where its ESP or AH is.
struct Located {
    front: Front,
    /// From the SPI (ESP) or the next header field (AH) to the end of the protected bytes.
    ipsec: Range<usize>,
    /// The next header that a WESP header says there is.
    claimed: Option<u8>,
}

/// An ESP packet that deserves a look at its ICV.
struct Admitted {
    located: Located,
    sequence: u64,
    /// The high half of the sequence number under ESN.
    high: Option<u32>,
    /// Bytes that are encrypted.
    body_len: usize,
}

/// What a batch has come to so far.
struct Tally {
    accepted: u64,
    payload_bytes: u64,
    /// Payload bytes that the SA's lifetime leaves.
    left: u64,
}

// The steps that every packet goes through are inlined by force: what they hand on would otherwise go through memory in
// odd sizes, and each such load stalls.

impl Inbound {
    /// An SA that has received nothing. Errors: parameters that contradict each other or the algorithms.
    pub fn new(attributes: Attributes, keys: &Keys) -> Result<Self, SaError> {
        attributes.check()?;
        let Rules::Inbound(rules) = attributes.rules else {
            return Err(SaError::Invalid("the rules are those of an outbound SA"));
        };
        let transform = Transform::new(&attributes, keys)?;
        let (protocol, wrapping) = wrapping(&attributes, &transform);
        let peer_original = rules.peer_original.filter(|_| attributes.mode == Mode::Transport).map(nat::Original::new);
        Ok(Self {
            transform,
            protocol,
            wrapping,
            peer_original,
            corrects: peer_original,
            route: Routing::new(protocol, attributes.mode, attributes.udp),
            limits: Limits::new(attributes.lifetime, attributes.notify, attributes.intervals),
            replay: Replay::new(rules.replay_window, attributes.extended_sequence),
            rules,
            counters: Counters::default(),
            attributes,
        })
    }

    /// Leaves the correction of checksums to another entry of the bundle, which packets meet later.
    pub(crate) fn take_correction(&mut self) -> Option<nat::Original> {
        self.corrects.take()
    }

    /// Takes it over.
    pub(crate) fn correct_for(&mut self, original: nat::Original) {
        self.corrects = Some(original);
    }

    /// The sequence number of a packet, if it is one for this SA.
    pub(crate) fn number(&self, input: &[u8]) -> Option<u64> {
        let located = self.locate(&self.route.load(), input).ok()?;
        let ipsec = &input[located.ipsec];
        let low = match self.attributes.protocol {
            Protocol::Esp => esp::Header::parse(ipsec).ok()?.sequence,
            Protocol::Ah => gipsec_wire::ah::Header::parse(ipsec).ok()?.sequence,
        };
        Some(self.replay.number(low))
    }

    /// Takes an accepted packet back: its number is free again, and it was never counted.
    pub(crate) fn take_back(&self, number: Option<u64>, payload_bytes: u64) {
        if let Some(number) = number {
            self.replay.forget(number);
        }
        self.counters.take_back(payload_bytes);
    }

    /// Decapsulates `packets` in order; `verdicts`, as many, say what became of each. Returns what is worth telling.
    pub fn decapsulate(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        let route = self.route.load();
        let mut tally = Tally { accepted: 0, payload_bytes: 0, left: self.limits.left(&self.counters) };
        for (packets, verdicts) in packets.chunks_mut(MAX_BATCH).zip(verdicts.chunks_mut(MAX_BATCH)) {
            if packets.len() > 1 && self.attributes.protocol == Protocol::Esp && self.transform.verifies_abreast() {
                self.decapsulate_abreast(&route, packets, verdicts, &mut tally);
            } else {
                for (packet, verdict) in packets.iter_mut().zip(verdicts) {
                    *verdict = self.settle(&mut tally, || self.decapsulate_one(&route, packet));
                }
            }
        }
        let (packets, bytes) = self.counters.add(tally.accepted, tally.payload_bytes);
        self.limits.after(packets, bytes, self.replay.top())
    }

    /// Opens a packet, unless the lifetime is over, and counts what became of it.
    #[inline(always)]
    fn settle(&self, tally: &mut Tally, open: impl FnOnce() -> Result<Delivered, PacketError>) -> Verdict {
        let result = if tally.left == 0 { Err(PacketError::LifetimeExpired) } else { open() };
        match result {
            Ok((written, payload_len)) => {
                tally.accepted += 1;
                tally.payload_bytes += payload_len as u64;
                tally.left = tally.left.saturating_sub(payload_len as u64);
                Ok(written)
            }
            Err(error) => {
                self.counters.refuse(error);
                Err(error)
            }
        }
    }

    #[inline(always)]
    fn decapsulate_one(&self, route: &Route, packet: &mut Buffers<'_>) -> Result<Delivered, PacketError> {
        let located = self.locate(route, packet.input())?;
        match self.attributes.protocol {
            Protocol::Esp => {
                let admitted = self.admit_esp(located, packet.input())?;
                self.open_esp(route, &admitted, packet, None)
            }
            Protocol::Ah => self.open_ah(route, &located, packet),
        }
    }

    /// First the ICVs of all packets side by side, then each packet. A packet that stands twice in the batch is admitted
    /// twice and accepted once.
    fn decapsulate_abreast(
        &self,
        route: &Route,
        packets: &mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        tally: &mut Tally,
    ) {
        let mut admitted: ArrayVec<Result<Admitted, PacketError>, MAX_BATCH> = ArrayVec::new();
        let mut tags = [NO_TAG; MAX_BATCH];
        let mut unverified: ArrayVec<Unverified<'_>, MAX_BATCH> = ArrayVec::new();
        for packet in packets.iter() {
            let input = packet.input();
            let admission = self.locate(route, input).and_then(|located| self.admit_esp(located, input));
            if let Ok(Admitted { located, high, .. }) = &admission {
                unverified.push(Unverified { packet: &input[located.ipsec.clone()], high: *high });
            }
            admitted.push(admission);
        }
        self.transform.expect(&unverified, &mut tags);
        drop(unverified);
        let mut tags = tags.iter();
        for ((packet, verdict), admission) in packets.iter_mut().zip(verdicts).zip(admitted) {
            let tag = if admission.is_ok() { tags.next() } else { None };
            *verdict = self.settle(tally, || self.open_esp(route, &admission?, packet, tag));
        }
    }

    /// Finds ESP or AH behind the IP headers, and behind UDP when the SA is encapsulated.
    #[inline(always)]
    fn locate(&self, route: &Route, input: &[u8]) -> Result<Located, PacketError> {
        let header = Header::parse(input)?;
        let upper = header.upper(input)?;
        let family = header.family();
        if self.rules.check_outer && !route.runs(input, family) {
            return Err(PacketError::OtherAddresses);
        }
        let mut ipsec = if route.udp.is_none() && upper.protocol == self.protocol {
            upper.offset..header.total_len()
        } else if route.udp.is_some() && upper.protocol == protocol::UDP {
            let start = upper.offset + udp::HEADER;
            let end = start + udp::payload_len(&input[upper.offset..header.total_len()])?;
            check_for_strays(&input[start..end])?;
            if self.peer_original.is_some_and(|original| !original.fits(family)) {
                return Err(PacketError::OtherFamily);
            }
            start..end
        } else {
            return Err(Malformed::OtherProtocol.into());
        };
        let mut claimed = None;
        if let Some(wrapping) = &self.wrapping {
            claimed = wrapping.parse(family, &input[ipsec.clone()])?;
            ipsec.start += wrapping.len(family);
        }
        Ok(Located { front: Front { header, upper }, ipsec, claimed })
    }

    /// What can be checked of an ESP packet before its ICV.
    #[inline(always)]
    fn admit_esp(&self, located: Located, input: &[u8]) -> Result<Admitted, PacketError> {
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
        let sequence = self.replay.check(head.sequence)?;
        let high = self.attributes.extended_sequence.then_some(halves(sequence).1);
        Ok(Admitted { located, sequence, high, body_len })
    }

    /// Opens an admitted packet; `tag` is the ICV it should have, where that is known already.
    #[inline(always)]
    fn open_esp(
        &self,
        route: &Route,
        admitted: &Admitted,
        packet: &mut Buffers<'_>,
        tag: Option<&Tag>,
    ) -> Result<Delivered, PacketError> {
        let Admitted { ref located, sequence, high, body_len } = *admitted;
        let kept = located.front.kept(route.mode);
        let capacity = packet.capacity();
        match packet {
            Buffers::Apart { input, output } if kept + body_len <= capacity => {
                let ipsec = &input[located.ipsec.clone()];
                let plaintext = &mut output[kept..kept + body_len];
                self.transform.open(ipsec, high, plaintext, tag)?;
                let content = self.accept(route, located, plaintext, capacity - kept, sequence)?;
                if content.is_dummy() {
                    return Ok((0, 0));
                }
                output[..kept].copy_from_slice(&input[..kept]);
                Ok(located.front.deliver(kept, content, self.corrects, output))
            }
            Buffers::InPlace { buffer, .. } if kept + body_len <= capacity => {
                let body_start = located.ipsec.start + esp::HEADER + self.transform.iv.len();
                self.transform.open_in_place(&mut buffer[located.ipsec.clone()], high, tag)?;
                let plaintext = &mut buffer[body_start..body_start + body_len];
                let content = self.accept(route, located, plaintext, capacity - kept, sequence)?;
                if content.is_dummy() {
                    return Ok((0, 0));
                }
                buffer.copy_within(body_start..body_start + content.len, kept);
                Ok(located.front.deliver(kept, content, self.corrects, buffer))
            }
            // What is decrypted may not fit although the payload does: nothing is written before that is known.
            _ => scratch::with(body_len, |plaintext| {
                self.transform.open(&packet.input()[located.ipsec.clone()], high, plaintext, tag)?;
                let room = capacity.checked_sub(kept).ok_or(PacketError::NoRoom)?;
                let content = self.accept(route, located, plaintext, room, sequence)?;
                if content.is_dummy() {
                    return Ok((0, 0));
                }
                let output = packet.take_headers(kept);
                output[kept..kept + content.len].copy_from_slice(&plaintext[..content.len]);
                Ok(located.front.deliver(kept, content, self.corrects, output))
            }),
        }
    }

    /// Examines an authentic plaintext and moves the window, also for a packet that is refused after all: it was
    /// authentic, and need not come again. Wipes the plaintext of a packet that is refused.
    #[inline]
    fn accept(
        &self,
        route: &Route,
        located: &Located,
        plaintext: &mut [u8],
        room: usize,
        sequence: u64,
    ) -> Result<Content, PacketError> {
        let content = esp::Trailer::parse(plaintext).map_err(|_| PacketError::BadPadding).and_then(|trailer| {
            if located.claimed.is_some_and(|claimed| claimed != trailer.next_header) {
                return Err(Malformed::BadWrapping.into());
            }
            let content = match trailer.next_header {
                protocol::NO_NEXT_HEADER => Content::DUMMY,
                next_header => self.examine(route, located, &plaintext[..trailer.payload_len], next_header)?,
            };
            if content.len > room { Err(PacketError::NoRoom) } else { Ok(content) }
        });
        let content = self.mark_seen(sequence, content);
        if content.is_err() {
            plaintext.fill(0);
        }
        content
    }

    /// Moves the window for an authentic packet, unless it may come again: when what refused it is not authentic, or not
    /// the packet's fault.
    #[inline]
    fn mark_seen(&self, sequence: u64, content: Result<Content, PacketError>) -> Result<Content, PacketError> {
        match content {
            Err(PacketError::NoRoom | PacketError::Congestion | PacketError::Malformed(Malformed::BadWrapping)) => {}
            _ => self.replay.accept(sequence)?,
        }
        content
    }

    #[inline]
    fn examine(
        &self,
        route: &Route,
        located: &Located,
        payload: &[u8],
        next_header: u8,
    ) -> Result<Content, PacketError> {
        Content::examine(route.mode, self.rules.propagate_ecn, &located.front.header, payload, next_header)
    }

    /// Changes the SA (R31).
    pub fn modify(&self, change: &Change) -> Result<(), SaError> {
        let (local, address, port) = match *change {
            Change::Local { address, port } => (true, address, port),
            Change::Peer { address, port } => (false, address, port),
            Change::Replay { window, sequence } => {
                if sequence.is_some_and(|(top, _)| !self.attributes.extended_sequence && top > u64::from(u32::MAX)) {
                    return Err(SaError::Invalid("the sequence number exceeds what the SA can count"));
                }
                if let Some(window) = window {
                    if self.replay.size().is_none() {
                        return Err(SaError::Invalid("the SA does not check replay"));
                    }
                    self.replay.resize(window);
                }
                if let Some((top, seen)) = sequence {
                    self.replay.restart(top, seen);
                }
                return Ok(());
            }
        };
        self.route.move_end(Direction::Inbound, local, address, port)
    }

    /// What the SA was made from, with addresses, ports and window as they are now.
    pub fn attributes(&self) -> Attributes {
        let route = self.route.load();
        let rules = Rules::Inbound(InboundRules { replay_window: self.replay.size(), ..self.rules });
        Attributes { mode: route.mode, udp: route.udp, rules, ..self.attributes.clone() }
    }

    /// Transport or tunnel; the addresses may have changed since.
    pub(crate) fn mode(&self) -> Mode {
        self.attributes.mode
    }

    /// A reading of the counters.
    pub fn statistics(&self) -> Statistics {
        self.counters.read()
    }

    /// Refused packets by reason.
    pub fn drops(&self) -> Drops {
        self.counters.drops()
    }

    /// Counts packets that never reached the SA.
    pub fn refuse(&self, error: PacketError) {
        self.counters.refuse(error);
    }
}

/// What else comes to a port of ESP in UDP (RFC 3948 section 2).
#[inline]
fn check_for_strays(payload: &[u8]) -> Result<(), PacketError> {
    match payload {
        [0, 0, 0, 0, ..] => Err(PacketError::Ike),
        [0xff] => Err(PacketError::Keepalive),
        _ => Ok(()),
    }
}
