//! Outbound SAs: encapsulation, in the order of RFC 4303 section 3.3 and RFC 4302 section 3.3.

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use gipsec_wire::{
    MAX_PACKET, Malformed, ah, esp,
    ip::{self, Family, Header, Upper},
    mutable,
    outer::{Ports, Variable},
    protocol, udp,
};

use crate::{
    Attributes, Buffers, Change, Direction, Events, Keys, OutboundRules, PacketError, Protocol, Rules, SaError,
    Statistics, Verdict,
    batch::MAX_BATCH,
    counters::Counters,
    iv,
    lifetime::Limits,
    route::Route,
    sequence::{Numbers, Sequence},
    transform::Transform,
    tunnel,
};

/// IP header, options and extension headers in front of AH: the most that is processed, in bytes.
pub(crate) const MAX_HEADERS: usize = 2048;

/// An SA that encapsulates. Any number of threads may use it at once; each packet has a sequence number and an IV of
/// its own.
pub struct Outbound {
    attributes: Attributes,
    rules: OutboundRules,
    transform: Transform,
    route: ArcSwap<Route>,
    limits: Limits,
    ivs: iv::Source,
    sequence: Sequence,
    counters: Counters,
}

/// What will become of one packet; all checks are done.
struct Plan {
    /// Its place in the batch.
    index: usize,
    /// The packet's own header.
    header: Header,
    /// In transport mode, where the protected part begins.
    upper: Option<Upper>,
    /// Where the packet's protected part begins, and how long it is.
    payload_start: usize,
    payload_len: usize,
    next_header: u8,
    /// Where ESP or AH will begin.
    ipsec_start: usize,
    /// Where the payload will begin.
    body_start: usize,
    /// Length of the result.
    total_len: usize,
}

type Plans = ArrayVec<Plan, MAX_BATCH>;

impl Outbound {
    /// An SA that has sent nothing. Errors: parameters that contradict each other or the algorithms.
    pub fn new(attributes: Attributes, keys: &Keys) -> Result<Self, SaError> {
        attributes.check()?;
        let Rules::Outbound(rules) = &attributes.rules else {
            return Err(SaError::Invalid("the rules are those of an inbound SA"));
        };
        let transform = Transform::new(&attributes, keys)?;
        Ok(Self {
            ivs: iv::Source::new(transform.iv, rules.first_iv.as_deref())?,
            rules: rules.clone(),
            transform,
            route: ArcSwap::from_pointee(Route::new(&attributes)),
            limits: Limits::new(attributes.lifetime, attributes.notify, attributes.intervals),
            sequence: Sequence::new(attributes.extended_sequence),
            counters: Counters::default(),
            attributes,
        })
    }

    /// Encapsulates `packets` in order; `verdicts`, as many, say what became of each. Returns what is worth telling.
    pub fn encapsulate(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        let mut events = Events::default();
        for (packets, verdicts) in packets.chunks_mut(MAX_BATCH).zip(verdicts.chunks_mut(MAX_BATCH)) {
            self.encapsulate_batch(packets, verdicts, &mut events);
        }
        events
    }

    fn encapsulate_batch(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict], events: &mut Events) {
        let route = self.route.load();
        let mut plans = ArrayVec::new();
        self.plan(&route, packets, verdicts, &mut plans);
        let numbers = self.sequence.take(plans.len());
        let ivs = self.ivs.take(numbers.count);
        let (mut sent, mut payload_bytes) = (0, 0);
        for (position, plan) in plans.iter().enumerate() {
            if position >= numbers.count {
                verdicts[plan.index] = Err(self.refused(PacketError::SequenceOverflow));
                continue;
            }
            let number = numbers.before + 1 + position as u64;
            let result = match self.attributes.protocol {
                Protocol::Esp => self.write_esp(&route, plan, number, &ivs, position, &mut packets[plan.index]),
                Protocol::Ah => self.write_ah(&route, plan, number, &ivs, position, &mut packets[plan.index]),
            };
            match result {
                Ok(()) => {
                    sent += 1;
                    payload_bytes += plan.payload_len as u64;
                    verdicts[plan.index] = Ok(plan.total_len);
                }
                Err(error) => verdicts[plan.index] = Err(self.refused(error)),
            }
        }
        self.note(numbers, sent, payload_bytes, events);
    }

    fn note(&self, numbers: Numbers, sent: u64, payload_bytes: u64, events: &mut Events) {
        let (packets, bytes) = self.counters.add(sent, payload_bytes);
        let noticed = self.limits.after(packets, bytes, numbers.last());
        events.soft_lifetime = events.soft_lifetime.or(noticed.soft_lifetime);
        events.sequence_periodic = noticed.sequence_periodic.or(events.sequence_periodic);
        self.limits.after_taking(numbers, self.sequence.limit(), events);
    }

    /// Counts a refused packet.
    #[cold]
    fn refused(&self, error: PacketError) -> PacketError {
        self.counters.refuse(error);
        error
    }

    /// Looks at every packet once; what cannot be encapsulated gets its verdict here and takes no sequence number.
    fn plan(&self, route: &Route, packets: &[Buffers<'_>], verdicts: &mut [Verdict], plans: &mut Plans) {
        let mut left = self.limits.left(&self.counters);
        for (index, packet) in packets.iter().enumerate() {
            match self.plan_one(route, index, packet, left) {
                Ok(plan) => {
                    left = left.saturating_sub(plan.payload_len as u64);
                    plans.push(plan);
                }
                Err(error) => verdicts[index] = Err(self.refused(error)),
            }
        }
    }

    #[inline]
    fn plan_one(&self, route: &Route, index: usize, packet: &Buffers<'_>, left: u64) -> Result<Plan, PacketError> {
        if left == 0 {
            return Err(PacketError::LifetimeExpired);
        }
        let input = packet.input();
        let header = Header::parse(input)?;
        let (upper, payload_start, next_header, front, family) = match &route.template {
            Some(template) => (None, 0, header.family().protocol(), template.len(), template.family()),
            None => {
                let upper = header.upper(input)?;
                let front = upper.offset + if route.udp.is_some() { udp::HEADER } else { 0 };
                (Some(upper), upper.offset, upper.protocol, front, header.family())
            }
        };
        let payload_len = header.total_len() - payload_start;
        let (body_start, total_len) = match self.attributes.protocol {
            Protocol::Esp => {
                let padded = payload_len + esp::pad_len(payload_len, self.transform.alignment) + esp::TRAILER;
                (front + esp::HEADER + self.transform.iv.len(), front + self.transform.overhead() + padded)
            }
            Protocol::Ah => {
                if front > MAX_HEADERS {
                    return Err(Malformed::BadExtension.into());
                }
                let body_start = front + ah::header_len(self.transform.iv.len() + self.transform.icv_len, family);
                (body_start, body_start + payload_len)
            }
        };
        if total_len > MAX_PACKET || total_len > packet.capacity() {
            return Err(PacketError::NoRoom);
        }
        Ok(Plan {
            index,
            header,
            upper,
            payload_start,
            payload_len,
            next_header,
            ipsec_start: front,
            body_start,
            total_len,
        })
    }

    fn write_esp(
        &self,
        route: &Route,
        plan: &Plan,
        number: u64,
        ivs: &iv::Batch,
        position: usize,
        packet: &mut Buffers<'_>,
    ) -> Result<(), PacketError> {
        let (payload, output) = plan.split(packet);
        self.write_outer(route, plan, number, output);
        let (low, high) = halves(number);
        let body_end = plan.total_len - self.transform.icv_len;
        let ipsec = &mut output[plan.ipsec_start..];
        if let Some(head) = ipsec.first_chunk_mut() {
            esp::Header { spi: self.attributes.spi.get(), sequence: low }.write(head);
        }
        ivs.write(position, &mut ipsec[esp::HEADER..plan.body_start - plan.ipsec_start]);
        esp::write_trailer(&mut output[plan.body_start + plan.payload_len..body_end], plan.next_header);
        self.transform.seal(
            payload,
            &mut output[plan.ipsec_start..],
            self.attributes.extended_sequence.then_some(high),
        );
        self.finish_udp(route, plan, output);
        Ok(())
    }

    fn write_ah(
        &self,
        route: &Route,
        plan: &Plan,
        number: u64,
        ivs: &iv::Batch,
        position: usize,
        packet: &mut Buffers<'_>,
    ) -> Result<(), PacketError> {
        let (payload, output) = plan.split(packet);
        if let Some(payload) = payload {
            output[plan.body_start..].copy_from_slice(payload);
        }
        self.write_outer(route, plan, number, output);
        let (low, high) = halves(number);
        let (front, rest) = output.split_at_mut(plan.ipsec_start);
        let (header, body) = rest.split_at_mut(plan.body_start - plan.ipsec_start);
        header.fill(0);
        let iv_end = ah::HEADER + self.transform.iv.len();
        let fixed = ah::Header {
            next_header: plan.next_header,
            len: header.len(),
            spi: self.attributes.spi.get(),
            sequence: low,
        };
        if let Some(head) = header.first_chunk_mut() {
            fixed.write(head);
        }
        ivs.write(position, &mut header[ah::HEADER..iv_end]);
        let family = route.template.as_ref().map_or(plan.header.family(), gipsec_wire::outer::Template::family);
        let high_bytes = high.to_be_bytes();
        let covered = if self.attributes.extended_sequence { &high_bytes[..] } else { &[] };
        let tag = with_cleared(front, family, |cleared| {
            self.transform.authenticate(&header[ah::HEADER..iv_end], &[cleared, header, body, covered])
        });
        match tag {
            Ok(tag) => {
                header[iv_end..iv_end + self.transform.icv_len].copy_from_slice(&tag[..self.transform.icv_len]);
                Ok(())
            }
            Err(error) => {
                output.fill(0);
                Err(error)
            }
        }
    }

    /// Writes what stands before ESP or AH.
    fn write_outer(&self, route: &Route, plan: &Plan, number: u64, output: &mut [u8]) {
        match (&route.template, plan.upper) {
            (Some(template), _) => {
                let variable = Variable {
                    traffic_class: tunnel::traffic_class(&self.rules, &plan.header),
                    dont_fragment: tunnel::dont_fragment(&self.rules, &plan.header),
                    // Differs from packet to packet, as RFC 6864 asks where fragmentation is allowed.
                    identification: low16(number),
                    total_len: plan.total_len,
                };
                template.write(output, &variable);
            }
            (None, Some(upper)) => {
                let (protocol, ports) = match (self.attributes.protocol, route.udp) {
                    (Protocol::Ah, _) => (protocol::AH, None),
                    (Protocol::Esp, None) => (protocol::ESP, None),
                    (Protocol::Esp, Some(ports)) => (protocol::UDP, Some(ports)),
                };
                ip::rewrite(output, &plan.header, upper.protocol_at, protocol, plan.total_len);
                if let Some(Ports { source, destination }) = ports
                    && let Some(header) = output[upper.offset..].first_chunk_mut()
                {
                    udp::write(header, source, destination, plan.total_len - upper.offset);
                }
            }
            (None, None) => {} // not reached: without a template there is a plan for transport mode
        }
    }

    /// Over IPv6 the UDP checksum covers the finished packet.
    fn finish_udp(&self, route: &Route, plan: &Plan, output: &mut [u8]) {
        let family = route.template.as_ref().map_or(plan.header.family(), gipsec_wire::outer::Template::family);
        if route.udp.is_some() && family == Family::V6 {
            udp::fill_checksum(output, plan.ipsec_start - udp::HEADER);
        }
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
                    if last > self.sequence.limit() {
                        return Err(SaError::Invalid("the sequence number exceeds what the SA can count"));
                    }
                    self.sequence.continue_after(last);
                }
                return Ok(());
            }
        };
        let ipsec = self.attributes.protocol;
        let moved = self.route.load().moved(ipsec, Direction::Outbound, local, address, port)?;
        self.route.store(moved.into());
        Ok(())
    }

    /// What the SA was made from, with addresses and ports as they are now.
    pub fn attributes(&self) -> Attributes {
        let route = self.route.load();
        Attributes { mode: route.mode, udp: route.udp, ..self.attributes.clone() }
    }

    /// A reading of the counters.
    pub fn statistics(&self) -> Statistics {
        self.counters.read()
    }

    /// Counts packets that never reached the SA.
    pub fn refuse(&self, error: PacketError) {
        self.counters.refuse(error);
    }
}

impl Plan {
    /// The packet's payload where it is apart from the result, and the result's room. In place, the payload is moved to
    /// where it will be encrypted; in transport mode, the packet's headers are where they belong.
    #[inline]
    fn split<'b>(&self, packet: &'b mut Buffers<'_>) -> (Option<&'b [u8]>, &'b mut [u8]) {
        let payload = self.payload_start..self.payload_start + self.payload_len;
        match packet {
            Buffers::Apart { input, output } => {
                let output = &mut output[..self.total_len];
                if self.upper.is_some() {
                    output[..self.payload_start].copy_from_slice(&input[..self.payload_start]);
                }
                (Some(&input[payload]), output)
            }
            Buffers::InPlace { buffer, .. } => {
                buffer.copy_within(payload, self.body_start);
                (None, &mut buffer[..self.total_len])
            }
        }
    }
}

/// Calls `work` with a copy of the headers in front of AH whose mutable fields are cleared.
pub(crate) fn with_cleared<R>(headers: &[u8], family: Family, work: impl FnOnce(&[u8]) -> R) -> Result<R, PacketError> {
    let mut copy = [0; MAX_HEADERS];
    let copy = copy.get_mut(..headers.len()).ok_or(Malformed::BadExtension)?;
    copy.copy_from_slice(headers);
    mutable::clear(copy, family)?;
    Ok(work(copy))
}

/// The lowest 16 bits of a sequence number.
#[inline]
fn low16(number: u64) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Low and high half of a sequence number.
#[inline]
pub(crate) fn halves(number: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    (u32::from_be_bytes([e, f, g, h]), u32::from_be_bytes([a, b, c, d]))
}
