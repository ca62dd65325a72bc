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

/// Defines the reasons: each with its name, the statistic that it is part of, and the error that it is the reason of.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal, $statistic:ident, ($($error:tt)+);)*) => {
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

            /// The error whose reason it is.
            pub fn error(self) -> PacketError {
                match self {
                    $(Self::$reason => $($error)+,)*
                }
            }

            /// The reason that an error is counted as; None for what is no packet's fault.
            pub fn of(error: PacketError) -> Option<Self> {
                match error {
                    PacketError::Segments | PacketError::Gone => None,
                    $($($error)+ => Some(Self::$reason),)*
                }
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6.
    NotIp = c"not_ip", InvalidPacket, (PacketError::Malformed(Malformed::NotIp));
    /// The packet ends too early.
    Truncated = c"truncated", InvalidPacket, (PacketError::Malformed(Malformed::Truncated));
    /// A length in a header is impossible.
    BadLength = c"bad_length", InvalidPacket, (PacketError::Malformed(Malformed::BadLength));
    /// A fragment.
    Fragment = c"fragment", InvalidPacket, (PacketError::Malformed(Malformed::Fragment));
    /// A malformed option or extension header.
    BadExtension = c"bad_extension", InvalidPacket, (PacketError::Malformed(Malformed::BadExtension));
    /// Another protocol than the SA's.
    OtherProtocol = c"other_protocol", InvalidPacket, (PacketError::Malformed(Malformed::OtherProtocol));
    /// A WESP header that contradicts the SA.
    BadWrapping = c"bad_wesp_header", InvalidPacket, (PacketError::Malformed(Malformed::BadWrapping));
    /// Another SPI or CPI than the SA's.
    OtherSpi = c"other_spi", InvalidPacket, (PacketError::OtherSpi);
    /// Outer addresses that are not the tunnel's.
    OtherAddresses = c"other_addresses", InvalidPacket, (PacketError::OtherAddresses);
    /// The peer's original address is of another family than the packet.
    OtherFamily = c"nat_oa_family", InvalidPacket, (PacketError::OtherFamily);
    /// IKE behind the non-ESP marker.
    Ike = c"ike", InvalidPacket, (PacketError::Ike);
    /// A NAT keepalive.
    Keepalive = c"nat_keepalive", InvalidPacket, (PacketError::Keepalive);
    /// The payload is not what its next header says.
    BadNextHeader = c"bad_next_header", InvalidPacket, (PacketError::BadNextHeader);
    /// The compressed payload is corrupt.
    CorruptCompression = c"corrupt_compression", InvalidPacket, (PacketError::CorruptCompression);
    /// Congestion that the inner packet cannot carry.
    Congestion = c"congestion", InvalidPacket, (PacketError::Congestion);
    /// Wrong padding.
    BadPadding = c"bad_padding", InvalidPadding, (PacketError::BadPadding);
    /// Sequence number 0.
    SequenceZero = c"sequence_zero", InvalidSequence, (PacketError::SequenceZero);
    /// Older than the window.
    Late = c"late", Late, (PacketError::Late);
    /// Seen before.
    Replayed = c"replayed", Replayed, (PacketError::Replayed);
    /// Wrong ICV.
    BadIcv = c"bad_icv", InvalidIcv, (PacketError::BadIcv);
    /// Sequence numbers used up.
    SequenceOverflow = c"sequence_overflow", SequenceOverflow, (PacketError::SequenceOverflow);
    /// Hard lifetime used up.
    LifetimeExpired = c"lifetime_expired", CryptoFailed, (PacketError::LifetimeExpired);
    /// The crypto library failed.
    Crypto = c"crypto", CryptoFailed, (PacketError::Crypto);
    /// The result does not fit.
    NoRoom = c"no_room", NoRoom, (PacketError::NoRoom);
    /// The queue was full.
    QueueFull = c"queue_full", NotSubmitted, (PacketError::QueueFull);
}
