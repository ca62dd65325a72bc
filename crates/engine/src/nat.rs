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

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with a correct checksum for `source`, and where its payload begins.
    fn packet(source: IpAddr, protocol: u8, payload: &mut [u8], at: usize) -> (Vec<u8>, usize) {
        let (mut packet, addresses) = match source {
            IpAddr::V4(source) => {
                let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
                header.extend(source.octets());
                header.extend([10, 0, 0, 2]);
                (header, 12..20)
            }
            IpAddr::V6(source) => {
                let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
                header.extend(source.octets());
                header.extend([0xfd; 16]);
                (header, 8..40)
            }
        };
        let start = packet.len();
        payload[at..at + 2].fill(0);
        let pseudo = u32::from(protocol) + u32::try_from(payload.len()).unwrap();
        let sum = checksum::sum(payload, checksum::sum(&packet[addresses], pseudo));
        payload[at..at + 2].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        packet.extend_from_slice(payload);
        (packet, start)
    }

    #[test]
    fn a_corrected_packet_is_the_one_that_the_new_source_would_have_sent() {
        let v4 = [IpAddr::from([192, 168, 0, 7]), IpAddr::from([203, 0, 113, 255])];
        let v6 = [IpAddr::from([0x20; 16]), IpAddr::from([0xff; 16])];
        for [before, now] in [v4, v6] {
            for (protocol, at) in [
                (protocol::TCP, 16),
                (protocol::UDP, 6),
                (protocol::UDP_LITE, 6),
                (protocol::DCCP, 6),
                (protocol::ICMPV6, 2),
            ] {
                if protocol == protocol::ICMPV6 && before.is_ipv4() {
                    continue;
                }
                for seed in 0..=255 {
                    let mut payload: Vec<u8> = (0..61u8).map(|byte| byte.wrapping_mul(seed)).collect();
                    let (expected, start) = packet(now, protocol, &mut payload, at);
                    let (arrived, _) = packet(before, protocol, &mut payload, at);
                    let mut corrected = expected.clone();
                    corrected[start..].copy_from_slice(&arrived[start..]);
                    Original::new(before).correct(&mut corrected, start, protocol);
                    assert_eq!(corrected, expected);
                }
            }
        }
    }

    #[test]
    fn what_has_no_checksum_stays_as_it_is() {
        let original = Original::new(IpAddr::from([192, 168, 0, 7]));
        let mut payload = [7; 30];
        let (mut bytes, start) = packet(IpAddr::from([10, 0, 0, 1]), protocol::UDP, &mut payload, 6);
        bytes[start + 6..start + 8].fill(0);
        let before = bytes.clone();
        original.correct(&mut bytes, start, protocol::UDP);
        original.correct(&mut bytes, start, 1);
        original.correct(&mut bytes, start, protocol::ICMPV6);
        original.correct(&mut bytes[..start + 10], start, protocol::TCP);
        original.correct(&mut bytes[..3], start, protocol::TCP);
        assert_eq!(bytes, before);
        assert!(original.fits(Family::V4) && !original.fits(Family::V6));
    }
}
