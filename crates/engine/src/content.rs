//! What a decapsulated payload is, and how it is handed on: the last steps of every inbound SA.

use gipsec_wire::{
    ip::{self, Family, Header, Upper},
    protocol,
};

use crate::{PacketError, nat, tunnel};

/// An authentic payload, in one word: a structure in memory costs a stalled load each time it changes hands.
#[derive(Clone, Copy)]
pub(crate) struct Content(u64);

/// Bytes written, and payload bytes among them.
pub(crate) type Delivered = (usize, usize);

impl Content {
    /// A packet that is there to be dropped.
    pub(crate) const DUMMY: Self = Self(protocol::NO_NEXT_HEADER as u64);

    #[inline]
    fn new(len: usize, next_header: u8, traffic_class: Option<u8>) -> Self {
        let traffic_class = traffic_class.map_or(0, |class| 0x100 | u64::from(class));
        Self((len as u64) << 32 | traffic_class << 8 | u64::from(next_header))
    }

    /// Bytes of it to deliver; of a dummy packet (RFC 4303 section 2.6), none.
    #[inline]
    pub(crate) fn len(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// Protocol of the payload.
    #[inline]
    pub(crate) fn next_header(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// The traffic class that the inner packet takes from the outer one.
    #[inline]
    pub(crate) fn traffic_class(self) -> Option<u8> {
        let [_, class, is_set, ..] = self.0.to_le_bytes();
        (is_set != 0).then_some(class)
    }

    /// Whether it is there to be dropped.
    #[inline]
    pub(crate) fn is_dummy(self) -> bool {
        self.next_header() == protocol::NO_NEXT_HEADER
    }

    /// Looks at a payload of `len` bytes that came behind the header `outer`. `payload` is all of it, or in a tunnel as much
    /// as [`Header::parse_front`] needs.
    #[inline(always)]
    pub(crate) fn examine(
        is_tunnel: bool,
        propagate_ecn: bool,
        outer: &Header,
        payload: &[u8],
        len: usize,
        next_header: u8,
    ) -> Result<Self, PacketError> {
        if !is_tunnel {
            return Ok(Self::new(len, next_header, None));
        }
        let family = match next_header {
            protocol::IPV4 => Family::V4,
            protocol::IPV6 => Family::V6,
            _ => return Err(PacketError::BadNextHeader),
        };
        let inner = Header::parse_front(payload, len)?;
        if inner.family() != family {
            return Err(PacketError::BadNextHeader);
        }
        let traffic_class = if propagate_ecn { tunnel::propagate_ecn(outer.traffic_class(), &inner)? } else { None };
        // What lies behind the inner packet is traffic flow confidentiality padding (RFC 4303 section 2.7).
        Ok(Self::new(inner.total_len(), next_header, traffic_class))
    }
}

/// The headers of a packet that is being decapsulated.
#[derive(Clone, Copy)]
pub(crate) struct Front {
    pub header: Header,
    pub upper: Upper,
}

impl Front {
    /// The headers of a packet; None: it is none that an SA takes.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let header = Header::parse(packet).ok()?;
        let upper = header.upper(packet).ok()?;
        Some(Self { header, upper })
    }

    /// Bytes of the packet's own headers that stay in front of the payload: all in transport mode, none in tunnel mode.
    #[inline]
    pub(crate) fn kept(&self, is_tunnel: bool) -> usize {
        if is_tunnel { 0 } else { self.upper.offset() }
    }

    /// Ends a packet whose payload stands behind `kept` bytes of its own headers.
    #[inline(always)]
    pub(crate) fn deliver(
        &self,
        kept: usize,
        content: Content,
        original: Option<nat::Original>,
        output: &mut [u8],
    ) -> Delivered {
        let written = kept + content.len();
        if kept > 0 {
            ip::rewrite(output, &self.header, self.upper.protocol_at(), content.next_header(), written);
            if let Some(original) = original {
                original.correct(&mut output[..written], kept, content.next_header());
            }
        }
        if let Some(traffic_class) = content.traffic_class() {
            tunnel::set_traffic_class(output, written, traffic_class);
        }
        (written, content.len())
    }
}
