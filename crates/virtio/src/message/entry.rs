//! An entry of an SA as SA_ADD carries it and SA_READ gives it back.

mod decode;
mod encode;

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

pub(in crate::message) use decode::address as address_of;
pub use decode::{decode, decode_parameters};
pub(in crate::message) use encode::address as address_bytes;
pub use encode::encode;

const PROTOCOL_ESP: u8 = 50;
const PROTOCOL_AH: u8 = 51;
const PROTOCOL_IPCOMP: u8 = 108;
const PROTOCOL_WESP: u8 = 141;
const MODE_TRANSPORT: u8 = 1;
const MODE_TUNNEL: u8 = 2;

const FLAG_ESN: u32 = 1 << 0;
const FLAG_UDP: u32 = 1 << 1;
const FLAG_IMPLICIT_IV: u32 = 1 << 2;
const FLAG_REPLAY: u32 = 1 << 3;
const FLAG_CHECK_OUTER: u32 = 1 << 4;
const FLAG_PROPAGATE_ECN: u32 = 1 << 5;
const FLAG_ECN: u32 = 1 << 6;
const FLAG_COPY_FLOW_LABEL: u32 = 1 << 7;
const FLAG_NOTIFY_LIFETIME: u32 = 1 << 8;
const FLAG_NOTIFY_OVERFLOW: u32 = 1 << 9;
const FLAG_NOTIFY_PERIODIC: u32 = 1 << 10;

/// The fixed part of an entry, 128 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EntryRecord {
    protocol: u8,
    mode: u8,
    cipher: u8,
    integrity: u8,
    combined: u8,
    compression: u8,
    icv_length: u8,
    iv_length: u8,
    spi: U32,
    flags: U32,
    cipher_key_length: U16,
    integrity_key_length: U16,
    source_port: U16,
    destination_port: U16,
    dscp_rule: u8,
    dscp: u8,
    df_rule: u8,
    tunnel_family: u8,
    tunnel_source: [u8; 16],
    tunnel_destination: [u8; 16],
    original_family: u8,
    reserved: [u8; 3],
    original_address: [u8; 16],
    replay_window: U32,
    soft_kilobytes: U32,
    hard_kilobytes: U32,
    flow_pad_to: U16,
    flow_pad_multiple: U16,
    overflow_margin: U64,
    periodic_interval: U64,
    unused: [u8; 16],
}

/// Bytes of the fixed part.
pub const ENTRY_SIZE: usize = size_of::<EntryRecord>();

const _: () = assert!(ENTRY_SIZE == 128);

/// A table of numbers and what they mean, for both directions.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident: $type:ty, $wrong:literal { $($code:literal => $value:path),* $(,)? }) => {
        $(#[$doc])*
        mod $name {
            use super::super::Malformed;

            pub(super) fn code(value: $type) -> u8 {
                match value {
                    $($value => $code,)*
                }
            }

            pub(super) fn value(code: u8) -> Result<$type, Malformed> {
                match code {
                    $($code => Ok($value),)*
                    _ => Err(Malformed($wrong)),
                }
            }
        }
    };
}

codes! {
    /// Encryption algorithms.
    cipher: gipsec_engine::Cipher, "an unknown encryption algorithm" {
        1 => gipsec_engine::Cipher::Null,
        2 => gipsec_engine::Cipher::DesCbc,
        3 => gipsec_engine::Cipher::TripleDesCbc,
        4 => gipsec_engine::Cipher::AesCbc,
        5 => gipsec_engine::Cipher::AesCtr,
    }
}

codes! {
    /// Integrity algorithms.
    integrity: gipsec_engine::Integrity, "an unknown integrity algorithm" {
        1 => gipsec_engine::Integrity::None,
        2 => gipsec_engine::Integrity::HmacMd5,
        3 => gipsec_engine::Integrity::HmacSha1,
        4 => gipsec_engine::Integrity::AesXcbc,
        5 => gipsec_engine::Integrity::HmacSha256,
        6 => gipsec_engine::Integrity::HmacSha384,
        7 => gipsec_engine::Integrity::HmacSha512,
        128 => gipsec_engine::Integrity::AesCmac,
    }
}

codes! {
    /// Combined mode algorithms.
    combined: gipsec_engine::Combined, "an unknown combined mode algorithm" {
        1 => gipsec_engine::Combined::Ccm,
        2 => gipsec_engine::Combined::Gcm,
        3 => gipsec_engine::Combined::Gmac,
        128 => gipsec_engine::Combined::ChaCha20Poly1305,
    }
}

codes! {
    /// Compression algorithms.
    compression: gipsec_engine::CompressionAlgorithm, "an unknown compression algorithm" {
        1 => gipsec_engine::CompressionAlgorithm::Deflate,
        2 => gipsec_engine::CompressionAlgorithm::Lzs,
    }
}

codes! {
    /// Rules for DF.
    df: gipsec_engine::DfRule, "an unknown rule for DF" {
        1 => gipsec_engine::DfRule::Copy,
        2 => gipsec_engine::DfRule::Clear,
        3 => gipsec_engine::DfRule::Set,
    }
}

#[cfg(test)]
mod tests;
