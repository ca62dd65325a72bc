//! Why packets were refused, as counters with names. The statistics of the document (R20) are sums of these.

use gipsec_wire::Malformed;

use crate::PacketError;

/// The statistic of the document that a reason belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statistic {
    InvalidPacket,
    InvalidPadding,
    InvalidSequence,
    Late,
    Replayed,
    InvalidIcv,
    SequenceOverflow,
    CryptoFailed,
    NoRoom,
    NotSubmitted,
}

/// Defines the reasons: each with its name, and the statistic that it is part of.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal, $statistic:ident;)*) => {
        /// Why a packet was refused. New reasons are added at the end: numbers keep their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DropReason {
            $($(#[$doc])* $reason,)*
        }

        impl DropReason {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$reason),*];

            /// A short name, of lower-case letters and underscores, with a terminating zero.
            pub fn c_name(self) -> &'static std::ffi::CStr {
                match self {
                    $(Self::$reason => $name,)*
                }
            }

            pub(crate) fn statistic(self) -> Statistic {
                match self {
                    $(Self::$reason => Statistic::$statistic,)*
                }
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6.
    NotIp = c"not_ip", InvalidPacket;
    /// The packet ends too early.
    Truncated = c"truncated", InvalidPacket;
    /// A length in a header is impossible.
    BadLength = c"bad_length", InvalidPacket;
    /// A fragment.
    Fragment = c"fragment", InvalidPacket;
    /// A malformed option or extension header.
    BadExtension = c"bad_extension", InvalidPacket;
    /// Another protocol than the SA's.
    OtherProtocol = c"other_protocol", InvalidPacket;
    /// A WESP header that contradicts the SA.
    BadWrapping = c"bad_wesp_header", InvalidPacket;
    /// Another SPI or CPI than the SA's.
    OtherSpi = c"other_spi", InvalidPacket;
    /// Outer addresses that are not the tunnel's.
    OtherAddresses = c"other_addresses", InvalidPacket;
    /// The peer's original address is of another family than the packet.
    OtherFamily = c"nat_oa_family", InvalidPacket;
    /// IKE behind the non-ESP marker.
    Ike = c"ike", InvalidPacket;
    /// A NAT keepalive.
    Keepalive = c"nat_keepalive", InvalidPacket;
    /// The payload is not what its next header says.
    BadNextHeader = c"bad_next_header", InvalidPacket;
    /// The compressed payload is corrupt.
    CorruptCompression = c"corrupt_compression", InvalidPacket;
    /// Congestion that the inner packet cannot carry.
    Congestion = c"congestion", InvalidPacket;
    /// Wrong padding.
    BadPadding = c"bad_padding", InvalidPadding;
    /// Sequence number 0.
    SequenceZero = c"sequence_zero", InvalidSequence;
    /// Older than the window.
    Late = c"late", Late;
    /// Seen before.
    Replayed = c"replayed", Replayed;
    /// Wrong ICV.
    BadIcv = c"bad_icv", InvalidIcv;
    /// Sequence numbers used up.
    SequenceOverflow = c"sequence_overflow", SequenceOverflow;
    /// Hard lifetime used up.
    LifetimeExpired = c"lifetime_expired", CryptoFailed;
    /// The crypto library failed.
    Crypto = c"crypto", CryptoFailed;
    /// The result does not fit.
    NoRoom = c"no_room", NoRoom;
    /// The queue was full.
    QueueFull = c"queue_full", NotSubmitted;
}

impl DropReason {
    /// The reason that an error is counted as; None for what is no packet's fault.
    pub(crate) fn of(error: PacketError) -> Option<Self> {
        Some(match error {
            PacketError::Segments | PacketError::Gone => return None,
            PacketError::Malformed(Malformed::NotIp) => Self::NotIp,
            PacketError::Malformed(Malformed::Truncated) => Self::Truncated,
            PacketError::Malformed(Malformed::BadLength) => Self::BadLength,
            PacketError::Malformed(Malformed::Fragment) => Self::Fragment,
            PacketError::Malformed(Malformed::BadExtension) => Self::BadExtension,
            PacketError::Malformed(Malformed::OtherProtocol) => Self::OtherProtocol,
            PacketError::Malformed(Malformed::BadWrapping) => Self::BadWrapping,
            PacketError::OtherSpi => Self::OtherSpi,
            PacketError::OtherAddresses => Self::OtherAddresses,
            PacketError::OtherFamily => Self::OtherFamily,
            PacketError::Ike => Self::Ike,
            PacketError::Keepalive => Self::Keepalive,
            PacketError::BadNextHeader => Self::BadNextHeader,
            PacketError::CorruptCompression => Self::CorruptCompression,
            PacketError::Congestion => Self::Congestion,
            PacketError::BadPadding => Self::BadPadding,
            PacketError::SequenceZero => Self::SequenceZero,
            PacketError::Late => Self::Late,
            PacketError::Replayed => Self::Replayed,
            PacketError::BadIcv => Self::BadIcv,
            PacketError::SequenceOverflow => Self::SequenceOverflow,
            PacketError::LifetimeExpired => Self::LifetimeExpired,
            PacketError::Crypto => Self::Crypto,
            PacketError::NoRoom => Self::NoRoom,
            PacketError::QueueFull => Self::QueueFull,
        })
    }
}
