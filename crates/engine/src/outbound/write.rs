//! Packets written: headers, sequence numbers and IVs, then the transform over the whole batch.

use gipsec_wire::{
    Malformed, ah, esp,
    ip::{self, Family, Header},
    mutable,
    outer::{Ports, Template, Variable},
    protocol, udp,
};

use super::{
    Outbound, Payload, halves,
    plan::{MAX_HEADERS, Plan},
};
use crate::{
    Buffers, PacketError, Verdict, iv,
    route::Route,
    sequence::Numbers,
    transform::{Seal, Seals},
    tunnel,
};

/// A batch on its way. Numbers and IVs were taken for all of its packets; those that are refused leave theirs to the next.
/// `PLAIN` is [`Outbound::is_plain`].
pub(super) struct Batch<'a, const PLAIN: bool> {
    pub sa: &'a Outbound,
    pub route: &'a Route,
    pub payload: Payload,
    pub numbers: Numbers,
    pub ivs: &'a iv::Batch,
    pub tally: Tally,
}

/// What a batch has come to so far.
pub(super) struct Tally {
    /// Sequence numbers used.
    pub used: usize,
    /// Packets written, and the payload bytes in them.
    pub sent: u64,
    pub payload_bytes: u64,
    /// Payload bytes that the SA's lifetime leaves.
    pub left: u64,
}

impl<const PLAIN: bool> Batch<'_, PLAIN> {
    /// The steps that ESP and AH share: checks, then the sequence number of a packet, and its place in the batch. It has
    /// `len` bytes, `input` is as [`Outbound::plan`] has it, and `capacity` the room for its result.
    #[inline(always)]
    pub(super) fn begin(
        &mut self,
        input: &[u8],
        len: usize,
        capacity: usize,
    ) -> Result<(Plan, u64, usize), PacketError> {
        if self.tally.left == 0 {
            return Err(PacketError::LifetimeExpired);
        }
        let plan = self.sa.plan::<PLAIN>(self.route, self.payload, input, len, capacity)?;
        let position = self.tally.used;
        if position == self.numbers.count {
            return Err(PacketError::SequenceOverflow);
        }
        self.tally.used += 1;
        Ok((plan, self.numbers.before + 1 + position as u64, position))
    }

    /// Counts a packet that was written.
    #[inline(always)]
    pub(super) fn sent(&mut self, plan: &Plan) -> Verdict {
        self.tally.sent += 1;
        self.tally.payload_bytes += plan.payload_len as u64;
        self.tally.left = self.tally.left.saturating_sub(plan.payload_len as u64);
        Ok(plan.total_len)
    }

    /// RFC 4303 section 3.3, up to the transform; `seals` has room for all packets.
    pub(super) fn frame_esp<'b>(
        mut self,
        packets: &'b mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        seals: &mut Seals<'b>,
    ) -> Tally {
        for (packet, verdict) in packets.iter_mut().zip(verdicts) {
            let input = packet.input();
            *verdict = match self.begin(input, input.len(), packet.capacity()) {
                Ok((plan, number, position)) => {
                    seals.push(self.frame(&plan, number, position, packet));
                    self.sent(&plan)
                }
                Err(error) => Err(self.sa.refused(error)),
            };
        }
        self.tally
    }

    /// Everything of an ESP packet but the transform.
    #[inline(always)]
    fn frame<'b>(&self, plan: &Plan, number: u64, position: usize, packet: &'b mut Buffers<'_>) -> Seal<'b> {
        let transform = &self.sa.transform;
        let flow_label = self.flow_label(packet);
        let (payload, output) = plan.split(packet);
        let trailer_end = plan.total_len - transform.icv_len;
        let payload_end = plan.body_start + plan.payload_len;
        let flow_padding =
            if PLAIN { 0 } else { self.sa.flow_padding(plan.body_start + transform.icv_len, plan.payload_len) };
        let trailer_start = payload_end + flow_padding;
        if flow_padding > 0 {
            output[payload_end..trailer_start].fill(0);
        }
        esp::write_trailer(&mut output[trailer_start..], trailer_end - trailer_start, plan.next_header);
        let high = self.write_front(plan, number, position, flow_label, output);
        Seal { payload, packet: &mut output[plan.ipsec_start..], high }
    }

    /// What stands in front of the payload of an ESP packet: outer headers, SPI, sequence number, IV. The high half of the
    /// sequence number under ESN.
    #[inline(always)]
    pub(super) fn write_front(
        &self,
        plan: &Plan,
        number: u64,
        position: usize,
        flow_label: u32,
        output: &mut [u8],
    ) -> Option<u32> {
        self.write_outer(plan, number, flow_label, output);
        let (low, high) = halves(number);
        let packet = &mut output[plan.ipsec_start..];
        if let Some(head) = packet.first_chunk_mut() {
            esp::Header { spi: self.sa.attributes.spi.get(), sequence: low }.write(head);
        }
        self.ivs.write(position, &mut packet[esp::HEADER..plan.body_start - plan.ipsec_start]);
        self.sa.attributes.extended_sequence.then_some(high)
    }

    /// Bytes of IP and UDP headers.
    #[inline]
    fn front(&self, plan: &Plan) -> usize {
        plan.ipsec_start - self.sa.wrapping.map_or(0, |wrapping| wrapping.len(self.family(plan)))
    }

    /// Family of the header in front of ESP or AH.
    fn family(&self, plan: &Plan) -> Family {
        self.route.template.as_ref().map_or(plan.header.family(), Template::family)
    }

    /// Flow label of an outer IPv6 header, from a packet that has not been touched.
    #[inline]
    fn flow_label(&self, packet: &Buffers<'_>) -> u32 {
        if !PLAIN && self.sa.rules.copy_flow_label { ip::flow_label(packet.input()) } else { 0 }
    }

    /// RFC 4302 section 3.3.
    pub(super) fn write_ah(mut self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Tally {
        for (packet, verdict) in packets.iter_mut().zip(verdicts) {
            let input = packet.input();
            let begun = self.begin(input, input.len(), packet.capacity());
            let written = begun.and_then(|(plan, number, position)| {
                self.write_ah_packet(position, &plan, number, packet)?;
                Ok(plan)
            });
            *verdict = match written {
                Ok(plan) => self.sent(&plan),
                Err(error) => Err(self.sa.refused(error)),
            };
        }
        self.tally
    }

    fn write_ah_packet(
        &self,
        position: usize,
        plan: &Plan,
        number: u64,
        packet: &mut Buffers<'_>,
    ) -> Result<(), PacketError> {
        let transform = &self.sa.transform;
        let flow_label = self.flow_label(packet);
        let (payload, output) = plan.split(packet);
        if let Some(payload) = payload {
            output[plan.body_start..].copy_from_slice(payload);
        }
        self.write_outer(plan, number, flow_label, output);
        let (low, high) = halves(number);
        let (front, rest) = output.split_at_mut(plan.ipsec_start);
        let (header, body) = rest.split_at_mut(plan.body_start - plan.ipsec_start);
        header.fill(0);
        let iv_end = ah::HEADER + transform.iv.len();
        let fixed = ah::Header {
            next_header: plan.next_header,
            len: header.len(),
            spi: self.sa.attributes.spi.get(),
            sequence: low,
        };
        if let Some(head) = header.first_chunk_mut() {
            fixed.write(head);
        }
        self.ivs.write(position, &mut header[ah::HEADER..iv_end]);
        let high_bytes = high.to_be_bytes();
        let covered = if self.sa.attributes.extended_sequence { &high_bytes[..] } else { &[] };
        let tag = with_cleared(front, self.family(plan), |cleared| {
            transform.authenticate(&header[ah::HEADER..iv_end], &[cleared, header, body, covered])
        });
        match tag {
            Ok(tag) => {
                header[iv_end..iv_end + transform.icv_len].copy_from_slice(&tag[..transform.icv_len]);
                Ok(())
            }
            Err(error) => {
                output.fill(0);
                Err(error)
            }
        }
    }

    /// Writes what stands before ESP or AH.
    #[inline(always)]
    fn write_outer(&self, plan: &Plan, number: u64, flow_label: u32, output: &mut [u8]) {
        match (&self.route.template, plan.upper) {
            (Some(template), _) => {
                let variable = Variable {
                    traffic_class: tunnel::traffic_class(&self.sa.rules, &plan.header),
                    dont_fragment: tunnel::dont_fragment(&self.sa.rules, &plan.header),
                    // Differs from packet to packet, as RFC 6864 asks where fragmentation is allowed.
                    identification: low16(number),
                    flow_label,
                    total_len: plan.total_len,
                };
                template.write(output, &variable);
            }
            (None, Some(upper)) if !PLAIN => {
                let protocol = if self.route.udp.is_some() { protocol::UDP } else { self.sa.protocol };
                ip::rewrite(output, &plan.header, upper.protocol_at(), protocol, plan.total_len);
                if let Some(Ports { source, destination }) = self.route.udp
                    && let Some(header) = output[upper.offset()..].first_chunk_mut()
                {
                    udp::write(header, source, destination, plan.total_len - upper.offset());
                }
            }
            (None, _) => {} // not reached: without a template there is a plan for transport mode
        }
        if let (false, Some(wrapping)) = (PLAIN, &self.sa.wrapping) {
            wrapping.write(self.family(plan), plan.next_header, &mut output[self.front(plan)..plan.ipsec_start]);
        }
    }
}

/// Over IPv6 the UDP checksum covers the finished packet.
#[cold]
pub(super) fn finish_udp(packets: &mut [Buffers<'_>], verdicts: &[Verdict]) {
    for (packet, verdict) in packets.iter_mut().zip(verdicts) {
        let Ok(written) = *verdict else { continue };
        let packet = &mut packet.room()[..written];
        let Ok(header) = Header::parse(packet) else { continue };
        if let (Family::V6, Ok(upper)) = (header.family(), header.upper(packet)) {
            udp::fill_checksum(packet, upper.offset());
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
