//! What an SA is made from, as typed values. Key material stands apart from the rest, so that the rest can be read back.

mod check;

use std::{
    fmt,
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
};

use gipsec_wire::outer::{Endpoints, Ports};
use zeroize::Zeroizing;

/// Direction of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Decapsulates.
    Inbound,
    /// Encapsulates.
    Outbound,
}

/// IPsec protocol of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 4303.
    Esp,
    /// RFC 4302.
    Ah,
}

/// Mode of an SA (RFC 4301 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Protects what is above the packet's own IP header.
    Transport,
    /// Protects whole packets, between these addresses.
    Tunnel(Endpoints),
}

/// Encryption algorithm that goes with a separate integrity algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// RFC 2410.
    Null,
    /// RFC 2405.
    DesCbc,
    /// RFC 2451.
    TripleDesCbc,
    /// RFC 3602.
    AesCbc,
    /// RFC 3686.
    AesCtr,
}

/// Integrity algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// None.
    None,
    /// RFC 2403.
    HmacMd5,
    /// RFC 2404.
    HmacSha1,
    /// RFC 3566.
    AesXcbc,
    /// RFC 4868, 256 bits.
    HmacSha256,
    /// RFC 4868, 384 bits.
    HmacSha384,
    /// RFC 4868, 512 bits.
    HmacSha512,
    /// RFC 4494.
    AesCmac,
}

/// Combined mode algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combined {
    /// RFC 4309.
    Ccm,
    /// RFC 4106.
    Gcm,
    /// RFC 4543: integrity alone.
    Gmac,
    /// RFC 7634.
    ChaCha20Poly1305,
}

/// The algorithms of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithms {
    /// Encryption, then integrity.
    Separate {
        /// Encryption.
        cipher: Cipher,
        /// Integrity.
        integrity: Integrity,
    },
    /// Both in one.
    Combined(Combined),
}

/// Key material; lengths are checked against the algorithms.
#[derive(Default)]
pub struct Keys {
    /// Encryption key; AES-CTR: followed by the 4-byte nonce. Combined modes: the salt, then the key (R18).
    pub cipher: Zeroizing<Vec<u8>>,
    /// Integrity key.
    pub integrity: Zeroizing<Vec<u8>>,
}

/// Lengths of [`Keys`] in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLengths {
    /// Of `cipher`.
    pub cipher: usize,
    /// Of `integrity`.
    pub integrity: usize,
}

impl Keys {
    /// Their lengths.
    pub fn lengths(&self) -> KeyLengths {
        KeyLengths { cipher: self.cipher.len(), integrity: self.integrity.len() }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} and {} bytes)", self.cipher.len(), self.integrity.len())
    }
}

/// DSCP of the outer header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DscpRule {
    /// The inner packet's.
    #[default]
    Copy,
    /// 0.
    Clear,
    /// This one, 0 to 63.
    Set(u8),
}

/// DF bit of an outer IPv4 header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DfRule {
    /// The inner packet's; set for an inner IPv6 packet.
    #[default]
    Copy,
    /// 0.
    Clear,
    /// 1.
    Set,
}

/// Traffic flow confidentiality (RFC 4303 section 2.7): how long the payload of ESP in tunnel mode is made, so that its
/// length says less. Nothing is padded beyond the longest packet there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowPadding {
    /// Bytes at least; 0: as they come.
    pub to: u16,
    /// A multiple of this many bytes, for payloads longer than `to`; 0: as they come.
    pub multiple: u16,
}

impl FlowPadding {
    /// How long a payload of `len` bytes is made.
    #[inline]
    pub(crate) fn padded(self, len: usize) -> usize {
        match (usize::from(self.to), usize::from(self.multiple)) {
            (0, 0) => len,
            (to, _) if len <= to => to,
            (_, 0) => len,
            (_, multiple) => len.next_multiple_of(multiple),
        }
    }
}

/// What only an outbound SA has.
#[derive(Clone, Debug, Default)]
pub struct OutboundRules {
    /// DSCP of the outer header.
    pub dscp: DscpRule,
    /// DF bit of the outer header.
    pub df: DfRule,
    /// Copy ECN to the outer header (RFC 6040 normal mode); else it is 0.
    pub ecn: bool,
    /// The first packet's IV; None: at random (R29).
    pub first_iv: Option<Vec<u8>>,
    /// Flow label of an outer IPv6 header: the inner packet's (RFC 4301 section 5.1.2.1); else it is 0.
    pub copy_flow_label: bool,
    /// Padding of the payload.
    pub flow_padding: FlowPadding,
}

/// What only an inbound SA has.
#[derive(Clone, Copy, Debug, Default)]
pub struct InboundRules {
    /// Take the outer header's congestion signal into the inner one (RFC 6040).
    pub propagate_ecn: bool,
    /// Anti-replay window in packets, 32 to 65,536; None: no replay check.
    pub replay_window: Option<u32>,
    /// Refuse packets whose outer addresses are not the tunnel's (R37).
    pub check_outer: bool,
    /// In transport mode in UDP: the address that the peer sent from, before a NAT changed it. Checksums that cover it
    /// are corrected (RFC 3948 section 3.1.2).
    pub peer_original: Option<IpAddr>,
}

/// What depends on the direction.
#[derive(Clone, Debug)]
pub enum Rules {
    /// Outbound.
    Outbound(OutboundRules),
    /// Inbound.
    Inbound(InboundRules),
}

/// Limits on the payload bytes through an SA, in units of 1,024 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Notified once when reached.
    pub soft_kilobytes: Option<NonZeroU32>,
    /// Packets are refused from here on.
    pub hard_kilobytes: Option<NonZeroU32>,
}

/// Which notifications an SA gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// Soft lifetime reached.
    pub soft_lifetime: bool,
    /// Sequence numbers about to run out, and run out.
    pub sequence_overflow: bool,
    /// Every so many packets.
    pub sequence_periodic: bool,
}

/// When notifications are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// How many sequence numbers are left at the first overflow notification.
    pub overflow_margin: u64,
    /// Packets between periodic notifications, not 0.
    pub periodic: u64,
}

impl Default for Intervals {
    /// The numbers of R34.
    fn default() -> Self {
        Self { overflow_margin: 1 << 20, periodic: 65_536 }
    }
}

/// Everything about an ESP or AH SA but its keys.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Security Parameters Index, not 0, host order.
    pub spi: NonZeroU32,
    /// ESP or AH.
    pub protocol: Protocol,
    /// ESP is wrapped (WESP, RFC 5840).
    pub wrapped: bool,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Algorithms.
    pub algorithms: Algorithms,
    /// Lengths of the keys, for whoever reads the SA back.
    pub key_lengths: KeyLengths,
    /// ICV length in bytes; None: the usual one (R18).
    pub icv_len: Option<usize>,
    /// The IV is the sequence number, and not sent (RFC 8750).
    pub implicit_iv: bool,
    /// Extended sequence numbers (RFC 4303 section 2.2.1).
    pub extended_sequence: bool,
    /// Encapsulate ESP in UDP (RFC 3948).
    pub udp: Option<Ports>,
    /// Lifetime.
    pub lifetime: Lifetime,
    /// Notifications.
    pub notify: Notify,
    /// Their intervals.
    pub intervals: Intervals,
    /// What depends on the direction.
    pub rules: Rules,
}

/// What an IPComp SA is made from (RFC 3173). It has no keys.
#[derive(Clone, Debug)]
pub struct Compression {
    /// Compression algorithm.
    pub algorithm: gipsec_compression::Algorithm,
    /// Compression Parameter Index, host order.
    pub cpi: NonZeroU16,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Lifetime.
    pub lifetime: Lifetime,
    /// Notifications; there are none of sequence numbers.
    pub notify: Notify,
    /// What depends on the direction; of these, what concerns the headers of a tunnel counts.
    pub rules: Rules,
}

/// What an SA is made from, but its keys.
#[derive(Clone, Debug)]
pub enum Parameters {
    /// ESP or AH.
    Ipsec(Attributes),
    /// IPComp.
    Compression(Compression),
}

impl From<Attributes> for Parameters {
    fn from(attributes: Attributes) -> Self {
        Self::Ipsec(attributes)
    }
}

impl From<Compression> for Parameters {
    fn from(compression: Compression) -> Self {
        Self::Compression(compression)
    }
}

impl Parameters {
    /// The SA's direction.
    pub fn direction(&self) -> Direction {
        self.rules().direction()
    }

    /// Transport or tunnel.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Ipsec(attributes) => attributes.mode,
            Self::Compression(compression) => compression.mode,
        }
    }

    /// What depends on the direction.
    pub fn rules(&self) -> &Rules {
        match self {
            Self::Ipsec(attributes) => &attributes.rules,
            Self::Compression(compression) => &compression.rules,
        }
    }
}

impl Rules {
    /// The direction.
    pub fn direction(&self) -> Direction {
        match self {
            Self::Outbound(_) => Direction::Outbound,
            Self::Inbound(_) => Direction::Inbound,
        }
    }
}

impl Attributes {
    /// The SA's direction.
    #[inline]
    pub fn direction(&self) -> Direction {
        self.rules.direction()
    }
}
