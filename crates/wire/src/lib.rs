//! Byte layouts of what an IPsec packet is made of. Every format has one gate, which trusts nothing it is given; what
//! has passed it is a value whose names are the RFC's, and nothing after the gate can fail. No allocation, no state.

#![forbid(unsafe_code)]

pub mod ah;
pub mod checksum;
pub mod esp;
pub mod ip;
pub mod ipcomp;
pub mod mutable;
pub mod outer;
pub mod udp;
pub mod wesp;

/// Protocol numbers (IANA) that IPsec processing looks at.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// IPv4 in IP (RFC 2003).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP (RFC 4340).
    pub const DCCP: u8 = 33;
    /// IPv6 in IP (RFC 2473).
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating Security Payload.
    pub const ESP: u8 = 50;
    /// Authentication Header.
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// No next header: a dummy packet inside ESP (RFC 4303 section 2.6).
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// IP payload compression (RFC 3173).
    pub const IPCOMP: u8 = 108;
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: u8 = 136;
    /// Wrapped ESP (RFC 5840).
    pub const WESP: u8 = 141;
}

/// The longest IP packet that this library reads or makes (no jumbograms), in bytes.
pub const MAX_PACKET: usize = 65_535;

/// Which fact about a packet was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither IPv4 nor IPv6.
    #[error("the packet is neither IPv4 nor IPv6")]
    NotIp,
    /// The bytes end before the header does, or before the length that the header gives.
    #[error("the packet is truncated")]
    Truncated,
    /// A header length or total length that cannot be.
    #[error("a length in the packet's headers is impossible")]
    BadLength,
    /// A fragment where only whole packets are processed.
    #[error("the packet is a fragment")]
    Fragment,
    /// An IPv4 option or IPv6 extension header that does not fit its space.
    #[error("an option or extension header is malformed")]
    BadExtension,
    /// Not the protocol that was looked for.
    #[error("the packet carries another protocol")]
    OtherProtocol,
    /// A WESP header that contradicts the SA.
    #[error("the WESP header contradicts the SA")]
    BadWrapping,
}

/// Reads a 16-bit big-endian number. `at + 2 <= bytes.len()`, which the caller's gate has checked.
#[inline]
fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a 32-bit big-endian number. `at + 4 <= bytes.len()`, which the caller's gate has checked.
#[inline]
fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Narrows a length that a gate has bounded by [`MAX_PACKET`].
#[inline]
fn length16(length: usize) -> u16 {
    debug_assert!(length <= MAX_PACKET);
    u16::try_from(length).unwrap_or(u16::MAX)
}
