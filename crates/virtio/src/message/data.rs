//! Data requests: packets for SAs, and what became of them.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// Packets of a data request at most.
pub const MAX_BATCH: usize = gipsec_engine::MAX_BATCH;
/// What of a room counts: no result is longer.
pub const MAX_ROOM: usize = 65_535 + 40;
/// A flag: dummy packets are made.
pub const DUMMY: u16 = 1;

/// How the readable part begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RequestHeader {
    /// Packets.
    pub count: U16,
    /// [`DUMMY`].
    pub flags: U16,
    /// 0.
    pub reserved: U32,
}

/// A packet of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PacketEntry {
    /// Its SA.
    pub sa: U64,
    /// Bytes of the packet.
    pub length: U32,
    /// Bytes for its result.
    pub room: U32,
}

/// How the writable part begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AnswerHeader {
    /// [`super::RequestStatus`].
    pub status: U32,
    /// 0.
    pub reserved: U32,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PacketResult {
    /// [`super::packet_status`], or 0.
    pub status: U32,
    /// Bytes written.
    pub length: U32,
}

const _: () = assert!(
    size_of::<RequestHeader>() == 8
        && size_of::<PacketEntry>() == 16
        && size_of::<AnswerHeader>() == 8
        && size_of::<PacketResult>() == 8
);

/// Bytes before the packets of a request.
pub const fn request_prefix(count: usize) -> usize {
    size_of::<RequestHeader>() + count * size_of::<PacketEntry>()
}

/// Bytes before the rooms of an answer.
pub const fn answer_prefix(count: usize) -> usize {
    size_of::<AnswerHeader>() + count * size_of::<PacketResult>()
}
