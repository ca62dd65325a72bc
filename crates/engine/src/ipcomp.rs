//! IP payload compression (RFC 3173): an SA without keys and without sequence numbers. What does not shrink is sent as it
//! is, and what arrives as it is, is taken as it is.

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use gipsec_compression::{compress, decompress};
use gipsec_wire::{
    MAX_PACKET, Malformed,
    ip::{self, Header},
    ipcomp,
    outer::{Template, Variable},
    protocol,
};

use crate::{
    Buffers, Change, Compression, Drops, Events, InboundRules, Intervals, Mode, Notify, OutboundRules, PacketError,
    Rules, SaError, Statistics, Verdict,
    content::{Content, Delivered, Front},
    counters::Counters,
    lifetime::Limits,
    nat,
    route::{Route, Routing},
    scratch, tunnel,
};

/// Shorter payloads are not worth a try (RFC 2394 section 3, RFC 2395 section 3).
const WORTH_A_TRY: usize = 90;

/// An SA that compresses, or decompresses. Any number of threads may use it at once.
pub(crate) struct IpComp {
    parameters: Compression,
    route: Routing,
    limits: Limits,
    /// The address behind a NAT that checksums inside were computed with.
    corrects: Option<nat::Original>,
    /// Of outer IPv4 headers.
    identification: AtomicU16,
    counters: Counters,
}

/// A packet to compress.
struct Plain {
    header: Header,
    /// Where its payload begins, and the payload's protocol.
    start: usize,
    next_header: u8,
    /// Where the payload's protocol is named; None: in the outer header.
    protocol_at: Option<usize>,
    /// Bytes of headers in front of the payload in the result.
    front: usize,
}

impl IpComp {
    /// An SA that has done nothing. Errors: parameters that contradict each other.
    pub(crate) fn new(parameters: Compression) -> Result<Self, SaError> {
        parameters.lifetime.check()?;
        match &parameters.rules {
            Rules::Outbound(rules) => rules.check()?,
            Rules::Inbound(rules) => rules.check(parameters.mode)?,
        }
        let notify = Notify { soft_lifetime: parameters.notify.soft_lifetime, ..Notify::default() };
        Ok(Self {
            route: Routing::new(protocol::IPCOMP, parameters.mode, None),
            limits: Limits::new(parameters.lifetime, notify, Intervals::default()),
            corrects: None,
            identification: AtomicU16::new(0),
            counters: Counters::default(),
            parameters,
        })
    }

    /// Takes over the correction of checksums from an entry that packets meet before.
    pub(crate) fn correct_for(&mut self, original: nat::Original) {
        self.corrects = Some(original);
    }

    /// Compresses or decompresses `packets` in order; `verdicts`, as many, say what became of each.
    pub(crate) fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        let route = self.route.load();
        let mut left = self.limits.left(&self.counters);
        let (mut accepted, mut payload_bytes) = (0, 0);
        for (packet, verdict) in packets.iter_mut().zip(verdicts) {
            let result = match &self.parameters.rules {
                _ if left == 0 => Err(PacketError::LifetimeExpired),
                Rules::Outbound(rules) => self.compress(&route, rules, packet),
                Rules::Inbound(rules) => self.decompress(&route, rules, packet),
            };
            *verdict = result.map(|(written, _)| written);
            match result {
                Ok((_, payload_len)) => {
                    accepted += 1;
                    payload_bytes += payload_len as u64;
                    left = left.saturating_sub(payload_len as u64);
                }
                Err(error) => self.counters.refuse(error),
            }
        }
        let (packets, bytes) = self.counters.add(accepted, payload_bytes);
        self.limits.after(packets, bytes, packets.after)
    }

    fn compress(
        &self,
        route: &Route,
        rules: &OutboundRules,
        packet: &mut Buffers<'_>,
    ) -> Result<Delivered, PacketError> {
        let input = packet.input();
        let header = Header::parse(input)?;
        let plain = match &route.template {
            Some(template) => {
                let next_header = header.family().protocol();
                Plain { header, start: 0, next_header, protocol_at: None, front: template.len() }
            }
            None => {
                let upper = header.upper(input)?;
                Plain {
                    header,
                    start: upper.offset(),
                    next_header: upper.protocol(),
                    protocol_at: Some(upper.protocol_at()),
                    front: upper.offset(),
                }
            }
        };
        let flow_label = if rules.copy_flow_label { ip::flow_label(input) } else { 0 };
        let payload_len = header.total_len() - plain.start;
        let (body_len, protocol) = match self.place_compressed(&plain, packet) {
            Some(compressed_len) => (ipcomp::HEADER + compressed_len, protocol::IPCOMP),
            // In transport mode the receiver would take the packet's own compression for that of this SA.
            None if plain.protocol_at.is_some() && plain.next_header == protocol::IPCOMP => {
                return Err(Malformed::OtherProtocol.into());
            }
            None => (place_as_it_is(&plain, packet)?, plain.next_header),
        };
        let total_len = plain.front + body_len;
        let output = packet.room();
        match (&route.template, plain.protocol_at) {
            (Some(template), _) => {
                let variable = Variable {
                    traffic_class: tunnel::traffic_class(rules, &header),
                    dont_fragment: tunnel::dont_fragment(rules, &header),
                    identification: self.identification.fetch_add(1, Relaxed),
                    flow_label,
                    total_len,
                };
                write_outer(template, &variable, protocol, &mut output[..total_len]);
            }
            (None, Some(at)) => ip::rewrite(output, &header, at, protocol, total_len),
            (None, None) => {} // not reached: without a tunnel, the packet's own header names the protocol
        }
        Ok((total_len, payload_len))
    }

    /// Leaves header and compressed payload where they belong, and in transport mode the packet's headers in front of
    /// them; None when that does not shorten the packet, or does not fit: the output is then as it was.
    fn place_compressed(&self, plain: &Plain, packet: &mut Buffers<'_>) -> Option<usize> {
        let end = plain.header.total_len();
        let payload_len = end - plain.start;
        if payload_len < WORTH_A_TRY {
            return None;
        }
        // At least a byte shorter than the payload, with the header.
        let room = packet.capacity().min(MAX_PACKET).checked_sub(plain.front + ipcomp::HEADER)?;
        let room = room.min(payload_len - ipcomp::HEADER - 1);
        let algorithm = self.parameters.algorithm;
        let body = plain.front + ipcomp::HEADER;
        // By way of a spare buffer: what does not shrink, and then does not fit, leaves the output as it was.
        let compressed_len = scratch::with(room, |spare| {
            let compressed_len = compress(algorithm, &packet.input()[plain.start..end], spare)?;
            let output = packet.take_headers(if plain.protocol_at.is_some() { plain.start } else { 0 });
            output[body..body + compressed_len].copy_from_slice(&spare[..compressed_len]);
            Some(compressed_len)
        })?;
        let header = ipcomp::Header { next_header: plain.next_header, cpi: self.parameters.cpi.get() };
        header.write(packet.room()[plain.front..].first_chunk_mut()?);
        Some(compressed_len)
    }

    fn decompress(
        &self,
        route: &Route,
        rules: &InboundRules,
        packet: &mut Buffers<'_>,
    ) -> Result<Delivered, PacketError> {
        let input = packet.input();
        let header = Header::parse(input)?;
        let upper = header.upper(input)?;
        if rules.check_outer && !route.runs(input) {
            return Err(PacketError::OtherAddresses);
        }
        let front = Front { header, upper };
        let kept = front.kept(route.is_tunnel());
        let examine = |payload: &[u8], next_header: u8| {
            Content::examine(route.is_tunnel(), rules.propagate_ecn, &header, payload, payload.len(), next_header)
        };
        let payload = upper.offset()..header.total_len();
        if upper.protocol() != protocol::IPCOMP {
            let content = examine(&input[payload], upper.protocol())?;
            let moved = Plain {
                header,
                start: upper.offset(),
                next_header: content.next_header(),
                protocol_at: (kept > 0).then_some(upper.protocol_at()),
                front: kept,
            };
            place(&moved, content.len(), packet)?;
            return Ok(front.deliver(kept, content, self.corrects, packet.room()));
        }
        let head = ipcomp::Header::parse(&input[payload.clone()])?;
        if head.cpi != self.parameters.cpi.get() {
            return Err(PacketError::OtherSpi);
        }
        let compressed = payload.start + ipcomp::HEADER..payload.end;
        // A bomb ends here: nothing is longer than the longest packet.
        let room = packet.capacity().min(MAX_PACKET).checked_sub(kept).ok_or(PacketError::NoRoom)?;
        let expand = |stream: &[u8], output: &mut [u8]| {
            let length = decompress(self.parameters.algorithm, stream, output).map_err(|error| match error {
                gipsec_compression::Error::Corrupt => PacketError::CorruptCompression,
                gipsec_compression::Error::TooLong => PacketError::NoRoom,
            })?;
            examine(&output[..length], head.next_header)
        };
        // By way of a spare buffer: what cannot be delivered leaves the output as it was.
        scratch::with(room, |spare| {
            let content = expand(&packet.input()[compressed], spare)?;
            let output = packet.take_headers(kept);
            output[kept..kept + content.len()].copy_from_slice(&spare[..content.len()]);
            Ok(front.deliver(kept, content, self.corrects, output))
        })
    }

    /// The longest packet that leaves with at most `limit` bytes, whether it shrinks or not.
    pub(crate) fn largest_inner(&self, limit: usize) -> Option<usize> {
        let front = self.route.load().template.as_ref().map_or(0, Template::len);
        limit.min(MAX_PACKET).checked_sub(front).filter(|limit| *limit >= ip::IPV4_HEADER)
    }

    /// Changes the SA (R31).
    pub(crate) fn modify(&self, change: &Change) -> Result<(), SaError> {
        match *change {
            Change::Local { address, port } => {
                self.route.move_end(self.parameters.rules.direction(), true, address, port)
            }
            Change::Peer { address, port } => {
                self.route.move_end(self.parameters.rules.direction(), false, address, port)
            }
            Change::Replay { .. } => Err(SaError::Invalid("IPComp has no sequence numbers")),
        }
    }

    /// What the SA was made from, with addresses as they are now.
    pub(crate) fn attributes(&self) -> Compression {
        Compression { mode: self.route.ends().0, ..self.parameters.clone() }
    }

    /// Transport or tunnel; the addresses may have changed since.
    pub(crate) fn mode(&self) -> Mode {
        self.parameters.mode
    }

    /// A reading of the counters.
    pub(crate) fn statistics(&self) -> Statistics {
        self.counters.read()
    }

    /// Takes a packet back that a later entry of the bundle refused: it was never counted.
    pub(crate) fn take_back(&self, payload_bytes: u64) {
        self.counters.take_back(payload_bytes);
    }

    /// Refused packets by reason.
    pub(crate) fn drops(&self) -> Drops {
        self.counters.drops()
    }

    /// Counts packets that never reached the SA.
    pub(crate) fn refuse(&self, error: PacketError) {
        self.counters.refuse(error);
    }
}

/// Writes the outer header of a tunnel with another protocol than the template's, when nothing was compressed.
fn write_outer(template: &Template, variable: &Variable, protocol: u8, output: &mut [u8]) {
    template.write(output, variable);
    if protocol != protocol::IPCOMP
        && let Ok(header) = Header::parse(output)
        && let Ok(upper) = header.upper(output)
    {
        ip::rewrite(output, &header, upper.protocol_at(), protocol, variable.total_len);
    }
}

/// Leaves the payload where it belongs without compressing it; its length.
fn place_as_it_is(plain: &Plain, packet: &mut Buffers<'_>) -> Result<usize, PacketError> {
    let payload_len = plain.header.total_len() - plain.start;
    place(plain, payload_len, packet)?;
    Ok(payload_len)
}

/// Moves `len` bytes of payload, and in transport mode the headers in front of it, to where they belong.
fn place(plain: &Plain, len: usize, packet: &mut Buffers<'_>) -> Result<(), PacketError> {
    let Plain { start, front, .. } = *plain;
    if front + len > packet.capacity() || front + len > MAX_PACKET {
        return Err(PacketError::NoRoom);
    }
    match packet {
        Buffers::Apart { input, output } => {
            if plain.protocol_at.is_some() {
                output[..front].copy_from_slice(input.get(..front).ok_or(Malformed::Truncated)?);
            }
            output[front..front + len].copy_from_slice(&input[start..start + len]);
        }
        Buffers::InPlace { buffer, .. } => buffer.copy_within(start..start + len, front),
    }
    Ok(())
}
