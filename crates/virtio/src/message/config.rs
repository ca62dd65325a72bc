//! The configuration space.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// An ATTACH in exclusive mode would succeed.
pub const OPEN_EXCLUSIVE: u8 = 1;
/// An ATTACH in shared mode would succeed.
pub const OPEN_SHARED: u8 = 2;

/// AES-CMAC.
pub const EXTENSION_AES_CMAC: u32 = 1 << 0;
/// ChaCha20-Poly1305.
pub const EXTENSION_CHACHA20_POLY1305: u32 = 1 << 1;
/// Implicit IVs (RFC 8750).
pub const EXTENSION_IMPLICIT_IV: u32 = 1 << 2;
/// IPComp with DEFLATE.
pub const EXTENSION_DEFLATE: u32 = 1 << 3;
/// IPComp with LZS.
pub const EXTENSION_LZS: u32 = 1 << 4;

/// The configuration space, 64 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Config {
    /// Pairs of data queues.
    pub data_pairs: U32,
    /// SAs of one driver at most.
    pub max_sas: U32,
    /// Groups of one driver at most.
    pub max_groups: U32,
    /// Packets of a data request at most.
    pub max_batch: U32,
    /// Bytes of a data request's packets, and of their rooms, at most.
    pub max_bytes: U32,
    /// Protocols and features, in the order of R36.
    pub features: U16,
    /// What an ATTACH would get now.
    pub open_modes: u8,
    /// 0.
    pub reserved: u8,
    /// Integrity algorithms.
    pub integrity: U32,
    /// Encryption algorithms.
    pub cipher: U32,
    /// Combined mode algorithms.
    pub combined: U32,
    /// What the g-API document has no bit for.
    pub extensions: U32,
    /// Drawn at random when the device started.
    pub instance: U64,
    /// Ignored.
    pub unused: [u8; 16],
}

const _: () = assert!(size_of::<Config>() == 64);
