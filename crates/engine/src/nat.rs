//! Transport mode behind a NAT (RFC 3948 section 3.1.2): the sender computed the checksums inside with an address that
//! the NAT has replaced since, and only the receiver can put them right.

use std::net::IpAddr;

use gipsec_wire::{checksum, ip::Family, protocol};

/// The source address that packets had before the NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Original(IpAddr);

/// Where a checksum over the addresses is.
struct Field {
    /// From the beginning of the protocol's header.
    at: usize,
    /// Zero says that there is none, and is sent as 0xffff.
    zero_is_none: bool,
}

impl Field {
    /// Of a protocol whose checksum covers a pseudo header.
    fn of(protocol: u8, family: Family) -> Option<Self> {
        let (at, zero_is_none) = match (protocol, family) {
            (protocol::TCP, _) => (16, false),
            (protocol::UDP | protocol::UDP_LITE, _) => (6, true),
            (protocol::DCCP, _) => (6, false),
            (protocol::ICMPV6, Family::V6) => (2, false),
            _ => return None,
        };
        Some(Self { at, zero_is_none })
    }
}

impl Original {
    pub(crate) fn new(address: IpAddr) -> Self {
        Self(address)
    }

    /// Whether a packet of that family may have had it.
    #[inline]
    pub(crate) fn fits(self, family: Family) -> bool {
        self.0.is_ipv4() == (family == Family::V4)
    }

    /// Corrects the checksum of what stands at `payload` in a decapsulated packet of the same family, for the source
    /// address that is in its header now. What is too short to have a checksum stays as it is.
    pub(crate) fn correct(self, packet: &mut [u8], payload: usize, protocol: u8) {
        let (before, source, family) = match self.0 {
            IpAddr::V4(address) => (&address.octets()[..], 12..16, Family::V4),
            IpAddr::V6(address) => (&address.octets()[..], 8..24, Family::V6),
        };
        let Some(Field { at, zero_is_none }) = Field::of(protocol, family) else { return };
        let Some((headers, rest)) = packet.split_at_mut_checked(payload) else { return };
        let (Some(now), Some(field)) = (headers.get(source), rest.get_mut(at..at + 2)) else { return };
        let old = u16::from_be_bytes([field[0], field[1]]);
        if zero_is_none && old == 0 {
            return;
        }
        let new = match checksum::correct(old, before, now) {
            0 if zero_is_none => 0xffff,
            new => new,
        };
        field.copy_from_slice(&new.to_be_bytes());
    }
}
