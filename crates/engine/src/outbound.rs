//! Outbound SAs: encapsulation, in the order of RFC 4303 section 3.3 and RFC 4302 section 3.3.

mod plan;
mod volatile;
mod write;

use gipsec_wire::{protocol, wesp::Wrapping};

use crate::{
    Attributes, Buffers, Change, Direction, Drops, Events, FlowPadding, Keys, Mode, OutboundRules, PacketError,
    Protocol, Rules, SaError, Statistics, Verdict,
    batch::MAX_BATCH,
    counters::Counters,
    iv,
    lifetime::Limits,
    route::{Route, Routing},
    sequence::{Numbers, Sequence},
    transform::{Seals, Transform},
};
pub(crate) use write::with_cleared;
use write::{Batch, Tally, finish_udp};

/// An SA that encapsulates. Any number of threads may use it at once; each packet has a sequence number and an IV of
/// its own.
pub struct Outbound {
    attributes: Attributes,
    rules: OutboundRules,
    transform: Transform,
    /// The protocol number in front of ESP or AH, unless they are in UDP.
    protocol: u8,
    wrapping: Option<Wrapping>,
    /// Whether payloads are padded to hide their lengths.
    pads: bool,
    route: Routing,
    limits: Limits,
    progress: Progress,
}

/// What came of packets before the transform.
pub(crate) struct Framed {
    /// Sequence numbers that nobody else gets.
    taken: Numbers,
    /// The last one that was used.
    last: u64,
    sent: u64,
    payload_bytes: u64,
    in_udp: bool,
}

/// All that packets change, on a cache line of its own: threads that share an SA share nothing else that is written.
#[repr(C, align(64))]
struct Progress {
    sequence: Sequence,
    ivs: iv::Source,
    counters: Counters,
}

impl Outbound {
    /// An SA that has sent nothing. Errors: parameters that contradict each other or the algorithms.
    pub fn new(attributes: Attributes, keys: &Keys) -> Result<Self, SaError> {
        attributes.check()?;
        let Rules::Outbound(rules) = &attributes.rules else {
            return Err(SaError::Invalid("the rules are those of an inbound SA"));
        };
        let transform = Transform::new(&attributes, keys)?;
        let (protocol, wrapping) = wrapping(&attributes, &transform);
        Ok(Self {
            protocol,
            wrapping,
            pads: rules.flow_padding != FlowPadding::default(),
            progress: Progress {
                sequence: Sequence::new(attributes.extended_sequence),
                ivs: iv::Source::new(transform.iv, rules.first_iv.as_deref())?,
                counters: Counters::default(),
            },
            rules: rules.clone(),
            transform,
            route: Routing::new(protocol, attributes.mode, attributes.udp),
            limits: Limits::new(attributes.lifetime, attributes.notify, attributes.intervals),
            attributes,
        })
    }

    /// Encapsulates `packets` in order; `verdicts`, as many, say what became of each. Returns what is worth telling.
    pub fn encapsulate(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        self.encapsulate_as(Payload::Packet, packets, verdicts)
    }

    /// Whether the SA can make dummy packets: in transport mode it would not know where to send them.
    pub(crate) fn makes_dummies(&self) -> bool {
        matches!((self.attributes.protocol, self.attributes.mode), (Protocol::Esp, Mode::Tunnel(_)))
    }

    /// Whether results may be much longer than packets.
    pub(crate) fn pads(&self) -> bool {
        self.pads
    }

    /// As [`Outbound::encapsulate`], of packets that the receiver drops without a word if they are dummies.
    pub(crate) fn encapsulate_as(
        &self,
        payload: Payload,
        packets: &mut [Buffers<'_>],
        verdicts: &mut [Verdict],
    ) -> Events {
        let mut events = Events::default();
        for (packets, verdicts) in packets.chunks_mut(MAX_BATCH).zip(verdicts.chunks_mut(MAX_BATCH)) {
            self.encapsulate_batch(payload, packets, verdicts, &mut events);
        }
        events
    }

    fn encapsulate_batch(
        &self,
        payload: Payload,
        packets: &mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        events: &mut Events,
    ) {
        let mut seals = Seals::new();
        let framed = self.frame(payload, packets, verdicts, &mut seals);
        self.transform.seal(&mut seals);
        drop(seals);
        events.merge(self.finish(&framed, packets, verdicts));
    }

    /// Does everything with at most [`MAX_BATCH`] packets but the transform of those that go into `seals`, which has room
    /// for all.
    #[inline]
    pub(crate) fn frame<'b>(
        &self,
        payload: Payload,
        packets: &'b mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        seals: &mut Seals<'b>,
    ) -> Framed {
        let (sa, route) = (self, &self.route.load());
        self.number(route, packets.len(), |numbers, ivs, tally| match self.attributes.protocol {
            Protocol::Esp if self.is_plain(route, payload) => {
                Batch::<true> { sa, route, payload, numbers, ivs, tally }.frame_esp(packets, verdicts, seals)
            }
            Protocol::Esp => {
                Batch::<false> { sa, route, payload, numbers, ivs, tally }.frame_esp(packets, verdicts, seals)
            }
            Protocol::Ah => Batch::<false> { sa, route, payload, numbers, ivs, tally }.write_ah(packets, verdicts),
        })
    }

    /// Takes sequence numbers and IVs for so many packets, has them framed, and gives back what they did not use.
    #[inline(always)]
    fn number(&self, route: &Route, count: usize, frame: impl FnOnce(Numbers, &iv::Batch, Tally) -> Tally) -> Framed {
        let progress = &self.progress;
        let numbers = progress.sequence.take(count);
        let mut ivs = iv::Batch::default();
        progress.ivs.take(numbers.count, &mut ivs);
        let tally = Tally { used: 0, sent: 0, payload_bytes: 0, left: self.limits.left(&progress.counters) };
        let Tally { used, sent, payload_bytes, .. } = frame(numbers, &ivs, tally);
        let mut taken = numbers;
        if used < numbers.count {
            progress.ivs.give_back(&ivs, used);
            taken = progress.sequence.give_back(numbers, used);
        }
        Framed { taken, last: numbers.before + used as u64, sent, payload_bytes, in_udp: route.udp.is_some() }
    }

    /// Ends packets that were framed and went through the transform, and counts them.
    #[inline]
    pub(crate) fn finish(&self, framed: &Framed, packets: &mut [Buffers<'_>], verdicts: &[Verdict]) -> Events {
        if framed.in_udp {
            finish_udp(packets, verdicts);
        }
        self.count(framed)
    }

    /// Counts packets that are done.
    #[inline]
    fn count(&self, framed: &Framed) -> Events {
        let (packets, bytes) = self.progress.counters.add(framed.sent, framed.payload_bytes);
        let mut events = self.limits.after(packets, bytes, framed.last);
        self.limits.after_taking(framed.taken, self.progress.sequence.limit(), &mut events);
        events
    }

    /// Whether its packets take less time together with those of other SAs than alone. Those of AH go one by one.
    pub(crate) fn works_abreast(&self) -> bool {
        self.attributes.protocol == Protocol::Esp && self.transform.works_abreast()
    }

    /// Whether there is a number of bytes after which packets are refused.
    pub(crate) fn has_hard_lifetime(&self) -> bool {
        self.limits.has_hard()
    }

    /// Whether its packets may be processed where others can change them: those of a plain tunnel.
    pub(crate) fn takes_volatile(&self) -> bool {
        let attributes = &self.attributes;
        let is_tunnel = attributes.protocol == Protocol::Esp && matches!(attributes.mode, Mode::Tunnel(_));
        let is_plain = attributes.udp.is_none() && !attributes.wrapped && !self.pads && !self.rules.copy_flow_label;
        is_tunnel && is_plain && self.transform.takes_volatile()
    }

    /// What seals its packets.
    pub(crate) fn transform(&self) -> &Transform {
        &self.transform
    }

    /// Counts a refused packet.
    #[cold]
    fn refused(&self, error: PacketError) -> PacketError {
        self.progress.counters.refuse(error);
        error
    }

    /// Changes the SA (R31).
    pub fn modify(&self, change: &Change) -> Result<(), SaError> {
        let (local, address, port) = match *change {
            Change::Local { address, port } => (true, address, port),
            Change::Peer { address, port } => (false, address, port),
            Change::Replay { window, sequence } => {
                if window.is_some() {
                    return Err(SaError::Invalid("an outbound SA has no anti-replay window"));
                }
                if let Some((last, _)) = sequence {
                    if last > self.progress.sequence.limit() {
                        return Err(SaError::Invalid("the sequence number exceeds what the SA can count"));
                    }
                    if !self.attributes.implicit_iv {
                        self.progress.sequence.continue_after(last);
                    } else if !self.progress.sequence.advance_to(last) {
                        return Err(SaError::Invalid(
                            "the sequence number is the IV of this SA, and an IV is used once for a key",
                        ));
                    }
                }
                return Ok(());
            }
        };
        self.route.move_end(Direction::Outbound, local, address, port)
    }

    /// What the SA was made from, with addresses and ports as they are now.
    pub fn attributes(&self) -> Attributes {
        let (mode, udp) = self.route.ends();
        Attributes { mode, udp, ..self.attributes.clone() }
    }

    /// Transport or tunnel; the addresses may have changed since.
    pub(crate) fn mode(&self) -> Mode {
        self.attributes.mode
    }

    /// A reading of the counters.
    pub fn statistics(&self) -> Statistics {
        self.progress.counters.read()
    }

    /// Takes a packet back that a later entry of the bundle refused: it was never counted.
    pub(crate) fn take_back(&self, payload_bytes: u64) {
        self.progress.counters.take_back(payload_bytes);
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

/// What the packets of a call are to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Packets.
    Packet,
    /// Nothing (RFC 4303 section 2.6).
    Dummy,
}

/// The protocol number of an SA's packets, and how they are wrapped.
pub(crate) fn wrapping(attributes: &Attributes, transform: &Transform) -> (u8, Option<Wrapping>) {
    match (attributes.protocol, attributes.wrapped) {
        (Protocol::Ah, _) => (protocol::AH, None),
        (Protocol::Esp, false) => (protocol::ESP, None),
        (Protocol::Esp, true) => {
            let wrapping = Wrapping {
                encrypted: attributes.encrypts(),
                iv_len: transform.iv.len(),
                icv_len: transform.icv_len,
                in_udp: attributes.udp.is_some(),
            };
            (protocol::WESP, Some(wrapping))
        }
    }
}

/// Low and high half of a sequence number.
#[inline]
pub(crate) fn halves(number: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    (u32::from_be_bytes([e, f, g, h]), u32::from_be_bytes([a, b, c, d]))
}
