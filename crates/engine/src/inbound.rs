//! Inbound SAs: decapsulation, in the order of RFC 4303 section 3.4 and RFC 4302 section 3.4. Nothing of a packet is
//! believed before its ICV matched, and a packet that is refused leaves no plaintext behind.

mod ah;
mod esp;
mod volatile;

use std::ops::Range;

use arrayvec::ArrayVec;
use gipsec_wire::{self as wire, Malformed, ip::Header, protocol, udp, wesp::Wrapping};

use crate::{
    Attributes, Buffers, Change, Direction, Drops, Events, InboundRules, Keys, Mode, PacketError, Protocol, Rules,
    SaError, Statistics, Verdict,
    batch::MAX_BATCH,
    content::{Content, Delivered, Front},
    counters::Counters,
    lifetime::Limits,
    nat,
    outbound::wrapping,
    replay::Replay,
    route::{Route, Routing},
    transform::{Forged, Opens, Transform},
};

pub(crate) use esp::Admitted;

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
    progress: Progress,
}

/// All that packets change, apart from the window's words: threads that share an SA share nothing else that is written.
#[repr(C, align(64))]
struct Progress {
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

/// What came of a call's packets before the transform, with their places in what all calls share.
pub(crate) struct Received {
    route: Route,
    tally: Tally,
    admitted: Range<usize>,
    opens: Range<usize>,
}

/// What a batch has come to so far.
struct Tally {
    accepted: u64,
    payload_bytes: u64,
    /// Payload bytes that the SA's lifetime leaves.
    left: u64,
}

impl Tally {
    /// Counts a packet that was accepted.
    #[inline(always)]
    fn accept(&mut self, (written, payload_len): Delivered) -> Verdict {
        self.accepted += 1;
        self.payload_bytes += payload_len as u64;
        self.left = self.left.saturating_sub(payload_len as u64);
        Ok(written)
    }
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
            progress: Progress {
                replay: Replay::new(rules.replay_window, attributes.extended_sequence),
                counters: Counters::default(),
            },
            rules,
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
        let located = self.locate(&self.route.load(), input, input.len()).ok()?;
        let ipsec = &input[located.ipsec];
        let low = match self.attributes.protocol {
            Protocol::Esp => wire::esp::Header::parse(ipsec).ok()?.sequence,
            Protocol::Ah => wire::ah::Header::parse(ipsec).ok()?.sequence,
        };
        Some(self.progress.replay.number(low))
    }

    /// Takes an accepted packet back: its number is free again, and it was never counted.
    pub(crate) fn take_back(&self, number: Option<u64>, payload_bytes: u64) {
        if let Some(number) = number {
            self.progress.replay.forget(number);
        }
        self.progress.counters.take_back(payload_bytes);
    }

    /// Decapsulates `packets` in order; `verdicts`, as many, say what became of each. Returns what is worth telling.
    pub fn decapsulate(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        let route = self.route.load();
        let mut tally = self.tally();
        for (packets, verdicts) in packets.chunks_mut(MAX_BATCH).zip(verdicts.chunks_mut(MAX_BATCH)) {
            match self.attributes.protocol {
                Protocol::Esp => self.open_esp(&route, packets, verdicts, &mut tally),
                Protocol::Ah => self.open_ah(&route, packets, verdicts, &mut tally),
            }
        }
        self.count(&tally)
    }

    /// Whether its packets take less time together with those of other SAs than alone. Those of AH go one by one.
    pub(crate) fn works_abreast(&self) -> bool {
        self.attributes.protocol == Protocol::Esp && self.transform.works_abreast()
    }

    /// Whether there is a number of bytes after which packets are refused.
    pub(crate) fn has_hard_lifetime(&self) -> bool {
        self.limits.has_hard()
    }

    /// Whether its packets may be processed where others can change them: those of a tunnel with ESP alone.
    pub(crate) fn takes_volatile(&self) -> bool {
        let attributes = &self.attributes;
        let is_tunnel = attributes.protocol == Protocol::Esp && matches!(attributes.mode, Mode::Tunnel(_));
        is_tunnel && attributes.udp.is_none() && !attributes.wrapped && self.transform.takes_volatile()
    }

    /// What opens its packets.
    pub(crate) fn transform(&self) -> &Transform {
        &self.transform
    }

    /// Does everything with at most [`MAX_BATCH`] packets of ESP that comes before the transform. `admitted` and `opens`
    /// have room for all.
    pub(crate) fn receive<'b>(
        &self,
        packets: &'b mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        admitted: &mut ArrayVec<Admitted, MAX_BATCH>,
        opens: &mut Opens<'b>,
    ) -> Received {
        let route = self.route.load();
        let tally = self.tally();
        let (first_admitted, first_open) = (admitted.len(), opens.len());
        self.admit_all(&route, packets, verdicts, &tally, admitted, opens);
        Received { route, tally, admitted: first_admitted..admitted.len(), opens: first_open..opens.len() }
    }

    /// Ends packets that were received and went through the transform, and counts them.
    pub(crate) fn deliver(
        &self,
        received: Received,
        packets: &mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        admitted: &[Admitted],
        results: &[Result<(), Forged>],
    ) -> Events {
        let Received { route, mut tally, admitted: which, opens } = received;
        self.deliver_all(&route, packets, verdicts, &mut tally, &admitted[which], &results[opens]);
        self.count(&tally)
    }

    fn tally(&self) -> Tally {
        Tally { accepted: 0, payload_bytes: 0, left: self.limits.left(&self.progress.counters) }
    }

    fn count(&self, tally: &Tally) -> Events {
        let (packets, bytes) = self.progress.counters.add(tally.accepted, tally.payload_bytes);
        self.limits.after(packets, bytes, self.progress.replay.top())
    }

    /// Counts a refused packet.
    #[cold]
    fn refused(&self, error: PacketError) -> Verdict {
        self.progress.counters.refuse(error);
        Err(error)
    }

    /// Finds ESP or AH behind the IP headers, and behind UDP when the SA is encapsulated. The packet has `len` bytes; `input`
    /// is all of it, or what [`crate::volatile::Front`] has of one that is usual.
    #[inline(always)]
    fn locate(&self, route: &Route, input: &[u8], len: usize) -> Result<Located, PacketError> {
        let header = Header::parse_front(input, len)?;
        let upper = header.upper(input)?;
        let family = header.family();
        if self.rules.check_outer && !route.runs(input) {
            return Err(PacketError::OtherAddresses);
        }
        let mut ipsec = if route.udp.is_none() && upper.protocol() == self.protocol {
            upper.offset()..header.total_len()
        } else if route.udp.is_some() && upper.protocol() == protocol::UDP {
            let start = upper.offset() + udp::HEADER;
            let end = start + udp::payload_len(&input[upper.offset()..header.total_len()])?;
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

    #[inline(always)]
    fn examine(
        &self,
        route: &Route,
        located: &Located,
        payload: &[u8],
        payload_len: usize,
        next_header: u8,
    ) -> Result<Content, PacketError> {
        let (is_tunnel, propagate_ecn) = (route.is_tunnel(), self.rules.propagate_ecn);
        Content::examine(is_tunnel, propagate_ecn, &located.front.header, payload, payload_len, next_header)
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
                    if self.progress.replay.size().is_none() {
                        return Err(SaError::Invalid("the SA does not check replay"));
                    }
                    self.progress.replay.resize(window);
                }
                if let Some((top, seen)) = sequence {
                    self.progress.replay.restart(top, seen);
                }
                return Ok(());
            }
        };
        self.route.move_end(Direction::Inbound, local, address, port)
    }

    /// What the SA was made from, with addresses, ports and window as they are now.
    pub fn attributes(&self) -> Attributes {
        let (mode, udp) = self.route.ends();
        let rules = Rules::Inbound(InboundRules { replay_window: self.progress.replay.size(), ..self.rules });
        Attributes { mode, udp, rules, ..self.attributes.clone() }
    }

    /// Transport or tunnel; the addresses may have changed since.
    pub(crate) fn mode(&self) -> Mode {
        self.attributes.mode
    }

    /// A reading of the counters.
    pub fn statistics(&self) -> Statistics {
        self.progress.counters.read()
    }

    /// Refused packets by reason.
    pub fn drops(&self) -> Drops {
        self.progress.counters.drops()
    }

    /// Counts packets that never reached the SA.
    pub fn refuse(&self, error: PacketError) {
        self.progress.counters.refuse(error);
    }
}

/// Whether the window moves for a packet: not where it may come again, because it is not authentic, or what refused it is
/// not, or not the packet's fault. One that is refused otherwise need not come again.
#[inline(always)]
fn is_to_be_marked(content: Result<Content, PacketError>) -> bool {
    !matches!(
        content,
        Err(PacketError::BadIcv
            | PacketError::NoRoom
            | PacketError::Congestion
            | PacketError::Malformed(Malformed::BadWrapping))
    )
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
