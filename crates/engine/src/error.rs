//! What can be wrong with an SA or a packet.

use gipsec_wire::Malformed;

/// Why an SA cannot be made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaError {
    /// A field that contradicts another one, or the algorithm.
    #[error("{0}")]
    Invalid(&'static str),
    /// The engine lacks this.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// Why a packet was refused. Each is counted as one [`crate::DropReason`], and so in one statistic (R20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Segments that cannot be used; checked before the engine sees the packet.
    #[error("the packet's segments are missing, overlap or are too many")]
    Segments,
    /// The result needs more room than there is, or than an IP packet may have.
    #[error("the result does not fit the output, or exceeds 65,535 bytes")]
    NoRoom,
    /// Not a packet that this SA can take.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The SPI, or compression parameter index, in the packet is not the SA's.
    #[error("the packet has another SPI than the SA")]
    OtherSpi,
    /// The outer addresses are not the tunnel's.
    #[error("the packet's outer addresses are not those of the tunnel")]
    OtherAddresses,
    /// The address that a NAT changed is of another family than the packet.
    #[error("the peer's original address (NAT-OA) is of another family than the packet")]
    OtherFamily,
    /// RFC 3948 section 2.2: a packet of IKE, which shares the UDP port.
    #[error("the packet is IKE's (it has the non-ESP marker)")]
    Ike,
    /// RFC 3948 section 2.3: a packet that keeps a NAT mapping alive.
    #[error("the packet is a NAT keepalive")]
    Keepalive,
    /// The decapsulated packet is not what its next header says.
    #[error("the protected payload is not what the next header says")]
    BadNextHeader,
    /// A compressed payload that cannot be decompressed.
    #[error("the compressed payload is corrupt")]
    CorruptCompression,
    /// RFC 6040: congestion was signalled to a packet whose ends cannot hear it.
    #[error("the outer header signals congestion, the inner one cannot carry it")]
    Congestion,
    /// The padding of a packet that decrypted well.
    #[error("the padding is wrong")]
    BadPadding,
    /// Sequence number 0.
    #[error("the sequence number is 0")]
    SequenceZero,
    /// Older than the window.
    #[error("the packet is older than the anti-replay window")]
    Late,
    /// Seen before.
    #[error("the packet was seen before")]
    Replayed,
    /// The ICV does not match.
    #[error("the integrity check value does not match")]
    BadIcv,
    /// No sequence numbers left.
    #[error("the SA's sequence numbers are used up")]
    SequenceOverflow,
    /// The hard lifetime is over.
    #[error("the SA's hard lifetime is used up")]
    LifetimeExpired,
    /// Nothing took the packet.
    #[error("the queue to the accelerator is full")]
    QueueFull,
    /// The accelerator is gone.
    #[error("the accelerator is gone")]
    Gone,
    /// The crypto library failed, or a defect was caught.
    #[error("the cryptographic operation failed")]
    Crypto,
}
