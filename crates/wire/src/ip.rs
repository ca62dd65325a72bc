//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, read.
//!
//! ```text
//!  IPv4   |Version|  IHL  |   DSCP/ECN    |          Total Length         |
//!         |         Identification        |Flags|      Fragment Offset    |
//!         |  Time to Live |    Protocol   |         Header Checksum       |
//!         |                 Source and Destination Address                |
//!
//!  IPv6   |Version| Traffic Class |           Flow Label                  |
//!         |         Payload Length        |  Next Header  |   Hop Limit   |
//!         |               Source and Destination Address (16 bytes each)  |
//! ```

use std::net::IpAddr;

use crate::{Malformed, be16, protocol};

/// Length of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Length of the fixed IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Length of an IPv4 header with all the options it can have.
pub const LONGEST_HEADER: usize = 60;
/// Where an IPv4 header keeps its protocol.
const IPV4_PROTOCOL: usize = 9;
/// Where an IPv6 header keeps its next header.
const IPV6_NEXT_HEADER: usize = 6;

/// Family of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The protocol number that announces a packet of this family inside another.
    #[inline]
    pub fn protocol(self) -> u8 {
        match self {
            Self::V4 => protocol::IPV4,
            Self::V6 => protocol::IPV6,
        }
    }
}

/// An IP header that has passed the gate: every field in one word, because it is handed on for every packet, and a
/// structure in memory costs a stalled load each time it changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header(u64);

/// Where each field of [`Header`] begins.
mod bit {
    pub(super) const PROTOCOL: u32 = 0;
    pub(super) const TRAFFIC_CLASS: u32 = 8;
    pub(super) const HEADER_LEN: u32 = 16;
    pub(super) const IS_V6: u32 = 24;
    pub(super) const DONT_FRAGMENT: u32 = 25;
    pub(super) const FRAGMENT: u32 = 26;
    pub(super) const TOTAL_LEN: u32 = 32;
}

impl Header {
    #[inline]
    fn byte(self, at: u32) -> u8 {
        (self.0 >> at).to_le_bytes()[0]
    }

    #[inline]
    fn is(self, at: u32) -> bool {
        self.0 >> at & 1 != 0
    }

    /// IPv4 or IPv6.
    #[inline]
    pub fn family(self) -> Family {
        if self.is(bit::IS_V6) { Family::V6 } else { Family::V4 }
    }

    /// Bytes of the header: with the options of IPv4, without the extension headers of IPv6.
    #[inline]
    pub fn header_len(self) -> usize {
        usize::from(self.byte(bit::HEADER_LEN))
    }

    /// Bytes of the packet, at most what was given; more may have been given (link padding).
    #[inline]
    pub fn total_len(self) -> usize {
        (self.0 >> bit::TOTAL_LEN) as usize
    }

    /// Protocol, or next header of the fixed IPv6 header.
    #[inline]
    pub fn protocol(self) -> u8 {
        self.byte(bit::PROTOCOL)
    }

    /// DSCP in the upper six bits, ECN in the lower two.
    #[inline]
    pub fn traffic_class(self) -> u8 {
        self.byte(bit::TRAFFIC_CLASS)
    }

    /// IPv4: the DF bit. IPv6: true, since routers do not fragment it.
    #[inline]
    pub fn dont_fragment(self) -> bool {
        self.is(bit::DONT_FRAGMENT)
    }

    /// IPv4: an offset or the MF bit. IPv6 says so in an extension header.
    #[inline]
    pub fn is_fragment(self) -> bool {
        self.is(bit::FRAGMENT)
    }

    /// The gate: checks version, lengths and that the packet is all there.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        Self::parse_front(packet, packet.len())
    }

    /// As [`Header::parse`], of a packet of `len` bytes of which `front` has the first ones: the longest header, of
    /// [`LONGEST_HEADER`] bytes, or all.
    #[inline]
    pub fn parse_front(front: &[u8], len: usize) -> Result<Self, Malformed> {
        debug_assert!(front.len() >= LONGEST_HEADER.min(len));
        match front.first().map(|byte| byte >> 4) {
            Some(4) => Self::parse_v4(front, len),
            Some(6) => Self::parse_v6(front, len),
            Some(_) => Err(Malformed::NotIp),
            None => Err(Malformed::Truncated),
        }
    }

    #[inline]
    fn parse_v4(front: &[u8], len: usize) -> Result<Self, Malformed> {
        let fixed: &[u8; IPV4_HEADER] = front.first_chunk().ok_or(Malformed::Truncated)?;
        let header_len = (fixed[0] & 0x0f) * 4;
        let total_len = be16(fixed, 2);
        if usize::from(header_len) < IPV4_HEADER || total_len < u16::from(header_len) {
            return Err(Malformed::BadLength);
        }
        if len < usize::from(total_len) {
            return Err(Malformed::Truncated);
        }
        let fragment = be16(fixed, 6);
        Ok(Self(
            u64::from(fixed[IPV4_PROTOCOL]) << bit::PROTOCOL
                | u64::from(fixed[1]) << bit::TRAFFIC_CLASS
                | u64::from(header_len) << bit::HEADER_LEN
                | u64::from(fragment & 0x4000 != 0) << bit::DONT_FRAGMENT
                | u64::from(fragment & 0x3fff != 0) << bit::FRAGMENT
                | u64::from(total_len) << bit::TOTAL_LEN,
        ))
    }

    #[inline]
    fn parse_v6(front: &[u8], len: usize) -> Result<Self, Malformed> {
        let fixed: &[u8; IPV6_HEADER] = front.first_chunk().ok_or(Malformed::Truncated)?;
        let payload_len = be16(fixed, 4);
        if len < IPV6_HEADER + usize::from(payload_len) {
            return Err(Malformed::Truncated);
        }
        Ok(Self(
            u64::from(fixed[IPV6_NEXT_HEADER]) << bit::PROTOCOL
                | u64::from(fixed[0] << 4 | fixed[1] >> 4) << bit::TRAFFIC_CLASS
                | (IPV6_HEADER as u64) << bit::HEADER_LEN
                | 1 << bit::IS_V6
                | 1 << bit::DONT_FRAGMENT
                | (IPV6_HEADER as u64 + u64::from(payload_len)) << bit::TOTAL_LEN,
        ))
    }

    /// Where what follows the IP header begins: for IPv6 after the extension headers that routers read (hop-by-hop,
    /// routing, and destination options up to the routing header, RFC 4303 section 3.1.1). Refuses fragments.
    /// `packet` is what [`Header::parse`] was given; of a front, all extension headers have to be in it.
    #[inline]
    pub fn upper(self, packet: &[u8]) -> Result<Upper, Malformed> {
        if self.is_fragment() {
            return Err(Malformed::Fragment);
        }
        match self.family() {
            Family::V4 => Ok(Upper::new(self.header_len(), self.protocol(), IPV4_PROTOCOL)),
            Family::V6 => self.walk_extensions(&packet[..self.total_len().min(packet.len())]),
        }
    }

    /// RFC 8200 section 4: each extension header names the next one and gives its own length.
    fn walk_extensions(self, packet: &[u8]) -> Result<Upper, Malformed> {
        let mut upper = Upper::new(IPV6_HEADER, self.protocol(), IPV6_NEXT_HEADER);
        let mut routed = false;
        loop {
            match upper.protocol() {
                protocol::HOP_BY_HOP if upper.offset() == IPV6_HEADER => {}
                protocol::ROUTING => routed = true,
                protocol::DESTINATION_OPTIONS if !routed => {}
                protocol::FRAGMENT => {
                    let header = packet.get(upper.offset()..upper.offset() + 8).ok_or(Malformed::Truncated)?;
                    // An atomic fragment (RFC 6946) is a whole packet.
                    if be16(header, 2) & 0xfff9 != 0 {
                        return Err(Malformed::Fragment);
                    }
                    upper = Upper::new(upper.offset() + 8, header[0], upper.offset());
                    continue;
                }
                _ => return Ok(upper),
            }
            upper = upper.skip(packet)?;
        }
    }
}

/// Flow label of a packet that [`Header::parse`] found to be IPv6; 0 for one of IPv4.
#[inline]
pub fn flow_label(packet: &[u8]) -> u32 {
    match packet.first_chunk() {
        Some(word) if word[0] >> 4 == 6 => u32::from_be_bytes(*word) & 0x000f_ffff,
        _ => 0,
    }
}

/// Source and destination of a packet that passed [`Header::parse`].
pub fn addresses(packet: &[u8], family: Family) -> Option<(IpAddr, IpAddr)> {
    match family {
        Family::V4 => {
            let (source, rest) = packet.get(12..20)?.split_first_chunk::<4>()?;
            Some((IpAddr::from(*source), IpAddr::from(*rest.first_chunk::<4>()?)))
        }
        Family::V6 => {
            let (source, rest) = packet.get(8..40)?.split_first_chunk::<16>()?;
            Some((IpAddr::from(*source), IpAddr::from(*rest.first_chunk::<16>()?)))
        }
    }
}

/// Where the protocol above IP begins: in one word, as [`Header`] is, and for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper(u64);

impl Upper {
    /// `protocol_at` is below `offset`, which is at most the length of a packet.
    #[inline]
    fn new(offset: usize, protocol: u8, protocol_at: usize) -> Self {
        Self((offset as u64) << 40 | (protocol_at as u64 & 0xffff_ffff) << 8 | u64::from(protocol))
    }

    /// Its first byte, from the start of the packet.
    #[inline]
    pub fn offset(self) -> usize {
        (self.0 >> 40) as usize
    }

    /// Its number.
    #[inline]
    pub fn protocol(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// Where the packet says that number.
    #[inline]
    pub fn protocol_at(self) -> usize {
        (self.0 >> 8 & 0xffff_ffff) as usize
    }

    /// Goes past one extension header of the common shape: next header, length in 8 bytes not counting the first 8.
    fn skip(self, packet: &[u8]) -> Result<Self, Malformed> {
        let [next, length, ..] = packet.get(self.offset()..).ok_or(Malformed::Truncated)? else {
            return Err(Malformed::Truncated);
        };
        let offset = self.offset() + 8 + usize::from(*length) * 8;
        if offset > packet.len() {
            return Err(Malformed::BadExtension);
        }
        Ok(Self::new(offset, *next, self.offset()))
    }
}

/// Writes a new protocol and total length into the headers of a packet in transport mode, and the checksum of an IPv4
/// header. `packet` begins with the header that `header` was read from; `total_len` is at most [`crate::MAX_PACKET`].
#[inline]
pub fn rewrite(packet: &mut [u8], header: &Header, protocol_at: usize, protocol: u8, total_len: usize) {
    packet[protocol_at] = protocol;
    match header.family() {
        Family::V4 => {
            packet[2..4].copy_from_slice(&crate::length16(total_len).to_be_bytes());
            packet[10..12].fill(0);
            let checksum = crate::checksum::finish(crate::checksum::sum(&packet[..header.header_len()], 0));
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        Family::V6 => packet[4..6].copy_from_slice(&crate::length16(total_len - IPV6_HEADER).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x6a, 0xb0, 0, 0, 0, u8::try_from(rest.len()).unwrap(), next, 64];
        packet.extend([1; 32]);
        packet.extend(rest);
        packet
    }

    #[test]
    fn an_ipv4_header_says_what_is_in_it() {
        let mut packet = vec![0x46, 0xb9, 0, 28, 1, 2, 0x40, 0, 64, 17, 0, 0];
        packet.extend([9; 20]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.header_len(), header.total_len(), header.protocol()), (24, 28, 17));
        assert_eq!((header.traffic_class(), header.dont_fragment(), header.is_fragment()), (0xb9, true, false));
        packet[6] = 0x20;
        assert_eq!(Header::parse(&packet).unwrap().upper(&packet), Err(Malformed::Fragment));
        assert_eq!(Header::parse(&packet[..27]), Err(Malformed::Truncated));
        packet[0] = 0x44;
        assert_eq!(Header::parse(&packet), Err(Malformed::BadLength));
    }

    #[test]
    fn extension_headers_are_walked_up_to_what_the_end_host_reads() {
        // hop-by-hop, destination options, routing, destination options (final), UDP
        let mut rest = vec![60, 0, 0, 0, 0, 0, 0, 0];
        rest.extend([43, 0, 0, 0, 0, 0, 0, 0]);
        rest.extend([60, 1, 0, 0, 0, 0, 0, 0]);
        rest.extend([0; 8]);
        rest.extend([17, 0, 0, 0, 0, 0, 0, 0]);
        let packet = v6(0, &rest);
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.traffic_class(), 0xab);
        let upper = header.upper(&packet).unwrap();
        assert_eq!((upper.offset(), upper.protocol(), upper.protocol_at()), (40 + 32, 60, 40 + 16));
    }

    #[test]
    fn a_fragment_header_is_refused_unless_atomic() {
        let atomic = v6(44, &[50, 0, 0, 0, 1, 2, 3, 4, 9, 9]);
        assert_eq!(Header::parse(&atomic).unwrap().upper(&atomic).unwrap().offset(), 48);
        let first = v6(44, &[50, 0, 0, 1, 1, 2, 3, 4, 9, 9]);
        assert_eq!(Header::parse(&first).unwrap().upper(&first), Err(Malformed::Fragment));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_offsets_stay_inside(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), six: bool) {
            if let Some(first) = bytes.first_mut() {
                *first = if six { 0x60 } else { 0x40 | (*first & 0x0f) };
            }
            if six && bytes.len() >= 40 {
                let payload = u16::try_from(bytes.len() - 40).unwrap();
                bytes[4..6].copy_from_slice(&payload.to_be_bytes());
                bytes[6] = [0, 43, 44, 60, 50][usize::from(bytes[6]) % 5];
            }
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!(header.header_len() <= header.total_len() && header.total_len() <= bytes.len());
                if let Ok(upper) = header.upper(&bytes) {
                    prop_assert!(upper.offset() <= header.total_len() && upper.protocol_at() < upper.offset());
                    prop_assert_eq!(bytes[upper.protocol_at()], upper.protocol());
                }
            }
        }
    }
}
