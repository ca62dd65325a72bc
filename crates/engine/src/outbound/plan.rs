//! What will become of a packet: every check is made here, before anything is taken or written.

use gipsec_wire::{
    MAX_PACKET, Malformed, ah, esp,
    ip::{self, Family, Header, Upper},
    outer::Template,
    protocol, udp,
};

use super::{Outbound, Payload};
use crate::{Buffers, PacketError, Protocol, route::Route};

/// IP header, options and extension headers in front of AH: the most that is processed, in bytes.
pub(super) const MAX_HEADERS: usize = 2048;

/// What will become of one packet; all checks are done.
pub(super) struct Plan {
    /// The packet's own header.
    pub header: Header,
    /// In transport mode, where the protected part begins.
    pub upper: Option<Upper>,
    /// Where the packet's protected part begins, and how long it is.
    pub payload_start: usize,
    pub payload_len: usize,
    pub next_header: u8,
    /// Where ESP or AH will begin.
    pub ipsec_start: usize,
    /// Where the payload will begin.
    pub body_start: usize,
    /// Length of the result.
    pub total_len: usize,
}

/// Where ESP or AH and the payload will begin, and how long the result is.
struct Extent {
    ipsec_start: usize,
    body_start: usize,
    total_len: usize,
}

impl Outbound {
    /// Looks at a packet once, of `len` bytes; its result has `capacity` bytes of room. `input` is all of it, or for a
    /// `PLAIN` SA the first [`ip::LONGEST_HEADER`] bytes. Inlined by force: what it finds out would otherwise go through
    /// memory.
    #[inline(always)]
    pub(super) fn plan<const PLAIN: bool>(
        &self,
        route: &Route,
        payload: Payload,
        input: &[u8],
        len: usize,
        capacity: usize,
    ) -> Result<Plan, PacketError> {
        let header = Header::parse_front(input, len)?;
        let (upper, payload_start, next_header, front, family) = match &route.template {
            Some(template) => (None, 0, header.family().protocol(), template.len(), template.family()),
            None => {
                let upper = header.upper(input)?;
                let front = upper.offset() + if route.udp.is_some() { udp::HEADER } else { 0 };
                (Some(upper), upper.offset(), upper.protocol(), front, header.family())
            }
        };
        let payload_len = header.total_len() - payload_start;
        let Extent { ipsec_start, body_start, total_len } =
            if PLAIN { self.plain_extent(front, payload_len) } else { self.extent(front, family, payload_len) };
        if !PLAIN && self.attributes.protocol == Protocol::Ah && front > MAX_HEADERS {
            return Err(Malformed::BadExtension.into());
        }
        if total_len > MAX_PACKET || total_len > capacity {
            return Err(PacketError::NoRoom);
        }
        Ok(Plan {
            header,
            upper,
            payload_start,
            payload_len,
            next_header: if PLAIN || payload == Payload::Packet { next_header } else { protocol::NO_NEXT_HEADER },
            ipsec_start,
            body_start,
            total_len,
        })
    }

    /// Whether ESP stands right behind the outer header of a tunnel, and the trailer right behind the payload, of packets
    /// that are no dummies: the usual case, in which nobody asks for each packet whether it is another one.
    pub(super) fn is_plain(&self, route: &Route, payload: Payload) -> bool {
        self.attributes.protocol == Protocol::Esp
            && route.is_tunnel()
            && route.udp.is_none()
            && self.wrapping.is_none()
            && !self.pads
            && !self.rules.copy_flow_label
            && payload == Payload::Packet
    }

    /// As [`Outbound::extent`], where the SA is plain.
    #[inline(always)]
    fn plain_extent(&self, front: usize, payload_len: usize) -> Extent {
        let transform = &self.transform;
        let padded = payload_len + esp::pad_len(payload_len, transform.alignment) + esp::TRAILER;
        Extent {
            ipsec_start: front,
            body_start: front + esp::HEADER + transform.iv.len(),
            total_len: front + transform.overhead() + padded,
        }
    }

    /// How a payload will lie behind `front` bytes of headers, the last IP header of them of `family`. Inlined by force:
    /// the answer would otherwise go through memory.
    #[inline(always)]
    fn extent(&self, front: usize, family: Family, payload_len: usize) -> Extent {
        let transform = &self.transform;
        match self.attributes.protocol {
            Protocol::Esp => {
                let ipsec_start = front + self.wrapping.map_or(0, |wrapping| wrapping.len(family));
                let around = ipsec_start + transform.overhead();
                let payload = payload_len + self.flow_padding(around, payload_len);
                let padded = payload + esp::pad_len(payload, transform.alignment) + esp::TRAILER;
                let body_start = ipsec_start + esp::HEADER + transform.iv.len();
                Extent { ipsec_start, body_start, total_len: around + padded }
            }
            Protocol::Ah => {
                let body_start = front + ah::header_len(transform.iv.len() + transform.icv_len, family);
                Extent { ipsec_start: front, body_start, total_len: body_start + payload_len }
            }
        }
    }

    /// Bytes of traffic flow confidentiality padding of a payload with `around` bytes around payload and trailer; no packet
    /// is made longer than packets can be.
    #[inline(always)]
    pub(super) fn flow_padding(&self, around: usize, payload_len: usize) -> usize {
        if self.pads { self.some_flow_padding(around, payload_len) } else { 0 }
    }

    #[cold]
    fn some_flow_padding(&self, around: usize, payload_len: usize) -> usize {
        let body = MAX_PACKET.saturating_sub(around) & !(self.transform.alignment - 1);
        let padded = self.rules.flow_padding.padded(payload_len);
        padded.min(body.saturating_sub(esp::TRAILER)).saturating_sub(payload_len)
    }

    /// The longest packet that is encapsulated to at most `limit` bytes now; None: there is none. In transport mode, one
    /// without IPv4 options or IPv6 extension headers, of `family`, or of either one.
    pub(crate) fn largest_inner(&self, limit: usize, family: Option<Family>) -> Option<usize> {
        let route = self.route.load();
        let fits = |family: Family, inner: usize| {
            let (front, header) = match (&route.template, family) {
                (Some(template), _) => (template.len(), 0),
                (None, Family::V4) => (ip::IPV4_HEADER, ip::IPV4_HEADER),
                (None, Family::V6) => (ip::IPV6_HEADER, ip::IPV6_HEADER),
            };
            let outer = route.template.as_ref().map_or(family, Template::family);
            let udp = if route.template.is_none() && route.udp.is_some() { udp::HEADER } else { 0 };
            inner >= header && self.extent(front + udp, outer, inner - header).total_len <= limit.min(MAX_PACKET)
        };
        // The length of the result never shrinks as the packet grows.
        let most = |family| {
            let smallest = if family == Family::V4 { ip::IPV4_HEADER } else { ip::IPV6_HEADER };
            let (mut low, mut high) = (smallest, MAX_PACKET + 1);
            if !fits(family, low) {
                return None;
            }
            while high - low > 1 {
                let middle = low.midpoint(high);
                if fits(family, middle) { low = middle } else { high = middle }
            }
            Some(low)
        };
        match family {
            Some(family) => most(family),
            None => Some(most(Family::V4)?.min(most(Family::V6)?)),
        }
    }
}

impl Plan {
    /// The packet's payload where it is apart from the result, and the result's room. In place, the payload is moved to
    /// where it will be encrypted; in transport mode, the packet's headers are where they belong.
    #[inline(always)]
    pub(super) fn split<'b>(&self, packet: &'b mut Buffers<'_>) -> (Option<&'b [u8]>, &'b mut [u8]) {
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
