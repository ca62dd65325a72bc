//! How requests and packets end.

use gipsec_engine::{DropReason, PacketError, Verdict};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RequestStatus {
    /// Done.
    Ok = 0,
    /// A message, or an SA, that contradicts itself.
    Invalid = 1,
    /// Not known, not negotiated, or not there.
    Unsupported = 2,
    /// No such SA or group, or none after it.
    NotFound = 3,
    /// A limit is reached.
    Full = 4,
    /// Somebody else is attached.
    Busy = 5,
    /// ATTACH comes first.
    NotAttached = 6,
    /// The writable part is too short.
    NoRoom = 7,
    /// The device could not do it.
    Failed = 8,
}

impl RequestStatus {
    /// How it is read; what is not known is a failure.
    pub fn from_code(code: u32) -> Self {
        const KNOWN: [RequestStatus; 8] = [
            RequestStatus::Ok,
            RequestStatus::Invalid,
            RequestStatus::Unsupported,
            RequestStatus::NotFound,
            RequestStatus::Full,
            RequestStatus::Busy,
            RequestStatus::NotAttached,
            RequestStatus::NoRoom,
        ];
        usize::try_from(code).ok().and_then(|code| KNOWN.get(code)).copied().unwrap_or(Self::Failed)
    }
}

/// The packet's SA is not there.
pub const NO_SA: u32 = 0x100;
/// The packet's entry cannot be.
pub const BAD_ENTRY: u32 = 0x101;

/// How a refused packet is written.
pub fn packet_status(error: PacketError) -> u32 {
    match DropReason::of(error) {
        Some(reason) => 1 + reason as u32,
        None => BAD_ENTRY,
    }
}

/// What a packet's status says of it; `length` bytes were written.
pub fn verdict(status: u32, length: usize) -> Verdict {
    if status == 0 {
        return Ok(length);
    }
    if status == BAD_ENTRY {
        return Err(PacketError::Segments);
    }
    let reason = usize::try_from(status - 1).ok().and_then(|reason| DropReason::ALL.get(reason));
    Err(reason.map_or(PacketError::Crypto, |reason| reason.error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_as_the_error_it_was() {
        for (number, reason) in (0u32..).zip(DropReason::ALL) {
            assert_eq!(packet_status(reason.error()), 1 + number);
            assert_eq!(verdict(1 + number, 7), Err(reason.error()));
        }
        assert_eq!(verdict(0, 7), Ok(7));
        for unknown in [0xff, NO_SA, 0xffff_ffff] {
            assert_eq!(verdict(unknown, 7), Err(PacketError::Crypto));
        }
    }

    #[test]
    fn the_reasons_have_the_numbers_of_the_document() {
        let document = include_str!("../../../../docs/virtio-ipsec.md");
        let line = document.lines().find(|line| line.contains("| 1 + *r* |")).unwrap();
        for (number, reason) in DropReason::ALL.iter().enumerate() {
            let entry = format!("{number} {}", reason.c_name().to_str().unwrap());
            assert!(line.contains(&entry), "{entry}");
        }
    }
}
