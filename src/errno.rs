//! The one place where errors become errno values (R20).

use gipsec_accelerator::{Error, engine::PacketError};

/// Minus the errno of an error.
pub(crate) fn of(error: Error) -> i32 {
    -match error {
        Error::Invalid(_) => libc::EINVAL,
        Error::BadHandle(_) => libc::EBADF,
        Error::NotFound(_) => libc::ENOENT,
        Error::NoDevice(_) => libc::ENODEV,
        Error::Busy => libc::EBUSY,
        Error::Unsupported(_) => libc::ENOTSUP,
        Error::Full(_) => libc::ENOSPC,
        Error::QueueFull | Error::System(_) => libc::EAGAIN,
        Error::Defect => libc::EIO,
        Error::Packet(error) => return of_packet(error),
    }
}

/// Minus the errno of a refused packet.
pub(crate) fn of_packet(error: PacketError) -> i32 {
    -match error {
        PacketError::Segments => libc::EINVAL,
        PacketError::NoRoom => libc::EMSGSIZE,
        PacketError::Malformed(_)
        | PacketError::OtherSpi
        | PacketError::OtherAddresses
        | PacketError::OtherFamily
        | PacketError::BadNextHeader
        | PacketError::CorruptCompression
        | PacketError::Congestion => libc::EPROTO,
        // Not for IPsec at all: the application hands it to IKE, or forgets it.
        PacketError::Ike | PacketError::Keepalive => libc::ENOMSG,
        PacketError::BadPadding => libc::EILSEQ,
        PacketError::SequenceZero => libc::ERANGE,
        PacketError::Late => libc::ESTALE,
        PacketError::Replayed => libc::EALREADY,
        PacketError::BadIcv => libc::EBADMSG,
        PacketError::SequenceOverflow => libc::EOVERFLOW,
        PacketError::LifetimeExpired => libc::EKEYEXPIRED,
        PacketError::QueueFull => libc::EAGAIN,
        PacketError::Gone => libc::ENODEV,
        PacketError::Crypto => libc::EIO,
    }
}
