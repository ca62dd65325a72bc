//! What an SA is made from, as typed values. Key material stands apart from the rest, so that the rest can be read back.

use std::{fmt, num::NonZeroU32};

use gipsec_wire::outer::{Endpoints, Ports};
use zeroize::Zeroizing;

use crate::{SaError, replay};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DscpRule {
    /// The inner packet's.
    Copy,
    /// 0.
    Clear,
    /// This one, 0 to 63.
    Set(u8),
}

/// DF bit of an outer IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DfRule {
    /// The inner packet's; set for an inner IPv6 packet.
    Copy,
    /// 0.
    Clear,
    /// 1.
    Set,
}

/// What only an outbound SA has.
#[derive(Clone, Debug)]
pub struct OutboundRules {
    /// DSCP of the outer header.
    pub dscp: DscpRule,
    /// DF bit of the outer header.
    pub df: DfRule,
    /// Copy ECN to the outer header (RFC 6040 normal mode); else it is 0.
    pub ecn: bool,
    /// The first packet's IV; None: at random (R29).
    pub first_iv: Option<Vec<u8>>,
}

/// What only an inbound SA has.
#[derive(Clone, Copy, Debug)]
pub struct InboundRules {
    /// Take the outer header's congestion signal into the inner one (RFC 6040).
    pub propagate_ecn: bool,
    /// Anti-replay window in packets, 32 to 65,536; None: no replay check.
    pub replay_window: Option<u32>,
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

/// Everything about an SA but its keys.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Security Parameters Index, not 0, host order.
    pub spi: NonZeroU32,
    /// ESP or AH.
    pub protocol: Protocol,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Algorithms.
    pub algorithms: Algorithms,
    /// Lengths of the keys, for whoever reads the SA back.
    pub key_lengths: KeyLengths,
    /// ICV length in bytes; None: the usual one (R18).
    pub icv_len: Option<usize>,
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

impl Attributes {
    /// The SA's direction.
    #[inline]
    pub fn direction(&self) -> Direction {
        match self.rules {
            Rules::Outbound(_) => Direction::Outbound,
            Rules::Inbound(_) => Direction::Inbound,
        }
    }

    /// Checks what the type cannot say. Keys, ICV and IV lengths are checked where the transform is made.
    pub(crate) fn check(&self) -> Result<(), SaError> {
        if self.protocol == Protocol::Ah {
            if self.udp.is_some() {
                return Err(SaError::Invalid("AH cannot be encapsulated in UDP"));
            }
            match self.algorithms {
                Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::None } => {
                    return Err(SaError::Invalid("AH needs an integrity algorithm"));
                }
                Algorithms::Separate { cipher: Cipher::Null, .. } | Algorithms::Combined(Combined::Gmac) => {}
                _ => return Err(SaError::Invalid("AH does not encrypt")),
            }
        } else if matches!(self.algorithms, Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::None }) {
            return Err(SaError::Invalid("ESP needs encryption or integrity (RFC 4303 section 1)"));
        }
        if let Lifetime { soft_kilobytes: Some(soft), hard_kilobytes: Some(hard) } = self.lifetime
            && soft > hard
        {
            return Err(SaError::Invalid("the soft lifetime exceeds the hard one"));
        }
        if self.intervals.periodic == 0 {
            return Err(SaError::Invalid("the periodic notification interval is 0"));
        }
        match &self.rules {
            Rules::Outbound(OutboundRules { dscp: DscpRule::Set(64..), .. }) => {
                Err(SaError::Invalid("the DSCP exceeds 63"))
            }
            Rules::Inbound(InboundRules { replay_window: Some(size), .. })
                if !(replay::MIN_WINDOW..=replay::MAX_WINDOW).contains(size) =>
            {
                Err(SaError::Invalid("the anti-replay window is not 32 to 65,536 packets"))
            }
            _ => Ok(()),
        }
    }
}
