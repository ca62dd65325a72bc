//! The outer header of a tunnel: what never changes in it is laid out, and summed, once per SA.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{checksum, ip, length16, protocol, udp};

/// The outer addresses, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// IPv4 outside.
    V4 {
        /// Source.
        source: Ipv4Addr,
        /// Destination.
        destination: Ipv4Addr,
    },
    /// IPv6 outside.
    V6 {
        /// Source.
        source: Ipv6Addr,
        /// Destination.
        destination: Ipv6Addr,
    },
}

impl Endpoints {
    /// Their family.
    pub fn family(&self) -> ip::Family {
        match self {
            Self::V4 { .. } => ip::Family::V4,
            Self::V6 { .. } => ip::Family::V6,
        }
    }

    /// Source and destination.
    pub fn addresses(&self) -> (IpAddr, IpAddr) {
        match *self {
            Self::V4 { source, destination } => (source.into(), destination.into()),
            Self::V6 { source, destination } => (source.into(), destination.into()),
        }
    }
}

/// UDP ports of encapsulated ESP (RFC 3948), host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// TTL and hop limit of outer headers (R28).
pub const TTL: u8 = 64;

/// IP header, and UDP header if there is one, of every packet of an outbound SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// The IP header, eight bytes in each word, big-endian; of IPv4 the last four are not used.
    header: [u64; HEADER_WORDS],
    family: ip::Family,
    ports: Option<Ports>,
    /// Checksum of the IPv4 header's constant words.
    sum: u32,
}

/// Words of the longest IP header.
const HEADER_WORDS: usize = ip::IPV6_HEADER / 8;

/// Words of a [`Template`] in one line.
pub const TEMPLATE_WORDS: usize = HEADER_WORDS + 1;

/// What differs from packet to packet in an outer header.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IPv4's DF bit.
    pub dont_fragment: bool,
    /// IPv4's identification.
    pub identification: u16,
    /// IPv6's flow label, 20 bits.
    pub flow_label: u32,
    /// Length of the whole packet, at most [`crate::MAX_PACKET`] (plus 40 for IPv6).
    pub total_len: usize,
}

impl Template {
    /// Lays out what is constant; `protocol` is what follows when there are no ports.
    pub fn new(endpoints: &Endpoints, protocol: u8, ports: Option<Ports>) -> Self {
        let mut bytes = [0; ip::IPV6_HEADER];
        let protocol = if ports.is_some() { protocol::UDP } else { protocol };
        let ip_len = match endpoints {
            Endpoints::V4 { source, destination } => {
                bytes[0] = 0x45;
                bytes[8] = TTL;
                bytes[9] = protocol;
                bytes[12..16].copy_from_slice(&source.octets());
                bytes[16..20].copy_from_slice(&destination.octets());
                ip::IPV4_HEADER
            }
            Endpoints::V6 { source, destination } => {
                bytes[0] = 0x60;
                bytes[6] = protocol;
                bytes[7] = TTL;
                bytes[8..24].copy_from_slice(&source.octets());
                bytes[24..40].copy_from_slice(&destination.octets());
                ip::IPV6_HEADER
            }
        };
        let sum = checksum::sum(&bytes[..ip_len], 0);
        let mut header = [0; HEADER_WORDS];
        for (word, bytes) in header.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        Self { header, family: endpoints.family(), ports, sum }
    }

    /// The template without its ports, for [`Template::from_words`].
    pub fn to_words(&self) -> [u64; TEMPLATE_WORDS] {
        let [a, b, c, d, e] = self.header;
        [a, b, c, d, e, u64::from(self.sum)]
    }

    /// The template that was made into `words`, with its ports; None: words that none was made into.
    #[inline]
    pub fn from_words(words: [u64; TEMPLATE_WORDS], ports: Option<Ports>) -> Option<Self> {
        let [header @ .., sum] = words;
        let family = match header[0] >> 60 {
            4 => ip::Family::V4,
            6 => ip::Family::V6,
            _ => return None,
        };
        Some(Self { header, family, ports, sum: u32::try_from(sum).unwrap_or(0) })
    }

    #[inline]
    fn ip_len(&self) -> usize {
        match self.family {
            ip::Family::V4 => ip::IPV4_HEADER,
            ip::Family::V6 => ip::IPV6_HEADER,
        }
    }

    /// Bytes that [`Template::write`] writes.
    #[inline]
    pub fn len(&self) -> usize {
        self.ip_len() + if self.ports.is_some() { udp::HEADER } else { 0 }
    }

    /// Never: a header has bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Family of the header.
    #[inline]
    pub fn family(&self) -> ip::Family {
        self.family
    }

    /// Whether a packet, which passed [`ip::Header::parse`], has these addresses.
    pub fn runs(&self, packet: &[u8]) -> bool {
        let mut header = [0; ip::IPV6_HEADER];
        for (bytes, word) in header.as_chunks_mut().0.iter_mut().zip(self.header) {
            *bytes = word.to_be_bytes();
        }
        let addresses = match self.family {
            ip::Family::V4 => 12..20,
            ip::Family::V6 => 8..40,
        };
        packet.first().is_some_and(|first| first >> 4 == header[0] >> 4)
            && packet.get(addresses.clone()) == header.get(addresses)
    }

    /// Writes the headers into the first [`Template::len`] bytes of `packet`, which has them.
    #[inline(always)] // what varies would otherwise go through memory
    pub fn write(&self, packet: &mut [u8], variable: &Variable) {
        let [first, second, third, fourth, fifth] = self.header;
        match (self.family, packet.first_chunk_mut::<{ ip::IPV4_HEADER }>()) {
            (ip::Family::V4, Some(header)) => {
                let length = length16(variable.total_len);
                let flags: u16 = if variable.dont_fragment { 0x4000 } else { 0 };
                let sum = self.sum
                    + u32::from(variable.traffic_class)
                    + u32::from(length)
                    + u32::from(variable.identification)
                    + u32::from(flags);
                let first = first
                    | u64::from(variable.traffic_class) << 48
                    | u64::from(length) << 32
                    | u64::from(variable.identification) << 16
                    | u64::from(flags);
                let second = second | u64::from(checksum::finish(sum)) << 32;
                header[..8].copy_from_slice(&first.to_be_bytes());
                header[8..16].copy_from_slice(&second.to_be_bytes());
                header[16..].copy_from_slice(&third.to_be_bytes()[..4]);
            }
            (ip::Family::V6, _) => {
                let Some(header) = packet.first_chunk_mut::<{ ip::IPV6_HEADER }>() else { return };
                let first = first
                    | u64::from(variable.traffic_class) << 52
                    | u64::from(variable.flow_label & 0x000f_ffff) << 32
                    | u64::from(length16(variable.total_len - ip::IPV6_HEADER)) << 16;
                for (bytes, word) in header.as_chunks_mut().0.iter_mut().zip([first, second, third, fourth, fifth]) {
                    *bytes = word.to_be_bytes();
                }
            }
            (ip::Family::V4, None) => return,
        }
        if let Some(ports) = self.ports
            && let Some(header) = packet[self.ip_len()..].first_chunk_mut()
        {
            udp::write(header, ports.source, ports.destination, variable.total_len - self.ip_len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::Header;

    #[test]
    fn an_ipv4_header_sums_to_zero_and_says_what_it_was_given() {
        let endpoints =
            Endpoints::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(198, 51, 100, 255) };
        let template = Template::new(&endpoints, protocol::ESP, Some(Ports { source: 4500, destination: 65_535 }));
        let mut packet = vec![0xaa; 1500];
        for (traffic_class, dont_fragment, identification) in [(0, false, 0), (0xff, true, 0xffff), (0xb8, true, 3)] {
            template.write(
                &mut packet,
                &Variable { traffic_class, dont_fragment, identification, flow_label: 0xf_ffff, total_len: 1500 },
            );
            assert_eq!(checksum::finish(checksum::sum(&packet[..20], 0)), 0);
            let header = Header::parse(&packet).unwrap();
            assert_eq!((header.traffic_class(), header.dont_fragment()), (traffic_class, dont_fragment));
            assert_eq!((header.protocol(), header.total_len()), (protocol::UDP, 1500));
            assert_eq!(udp::payload_len(&packet[20..]), Ok(1472));
            assert!(template.runs(&packet));
            packet[19] ^= 1;
            assert!(!template.runs(&packet));
        }
        let ports = Some(Ports { source: 4500, destination: 65_535 });
        assert_eq!(Template::from_words(template.to_words(), ports), Some(template));
    }

    #[test]
    fn an_ipv6_header_says_what_it_was_given() {
        let endpoints = Endpoints::V6 { source: Ipv6Addr::LOCALHOST, destination: Ipv6Addr::UNSPECIFIED };
        let template = Template::new(&endpoints, protocol::AH, None);
        let mut packet = vec![0xaa; 100];
        let variable = Variable {
            traffic_class: 0xb9,
            dont_fragment: true,
            identification: 7,
            flow_label: 0xabcde,
            total_len: 100,
        };
        template.write(&mut packet, &variable);
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.traffic_class(), header.protocol(), header.total_len()), (0xb9, protocol::AH, 100));
        assert_eq!(ip::flow_label(&packet), 0xabcde);
        assert!(template.runs(&packet));
        packet[8] ^= 1;
        assert!(!template.runs(&packet));
        assert_eq!(Template::from_words(template.to_words(), None), Some(template));
        assert_eq!(Template::from_words([0; TEMPLATE_WORDS], None), None);
    }
}
