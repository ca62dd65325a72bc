//! The configuration space that a client reads.

use gipsec_virtio::message::config::{
    Config, EXTENSION_AES_CMAC, EXTENSION_CHACHA20_POLY1305, EXTENSION_DEFLATE, EXTENSION_IMPLICIT_IV, EXTENSION_LZS,
};

use crate::limits::Limits;

/// All of the 16 protocols and features.
const FEATURES: u16 = 0xffff;
/// HMAC-MD5, -SHA1, -SHA2, AES-XCBC and none.
const INTEGRITY: u32 = 0x1f;
/// DES, 3DES, AES-CBC, AES-CTR and NULL.
const CIPHER: u32 = 0x1f;
/// CCM, GCM and GMAC.
const COMBINED: u32 = 0x7;

/// What the device shows.
pub fn space(pairs: usize, limits: &Limits, open_modes: u8, instance: u64) -> Config {
    let extensions =
        EXTENSION_AES_CMAC | EXTENSION_CHACHA20_POLY1305 | EXTENSION_IMPLICIT_IV | EXTENSION_DEFLATE | EXTENSION_LZS;
    Config {
        data_pairs: u32::try_from(pairs).unwrap_or(u32::MAX).into(),
        max_sas: limits.sas.into(),
        max_groups: limits.groups.into(),
        max_batch: limits.batch.into(),
        max_bytes: limits.bytes.into(),
        features: FEATURES.into(),
        open_modes,
        reserved: 0,
        integrity: INTEGRITY.into(),
        cipher: CIPHER.into(),
        combined: COMBINED.into(),
        extensions: extensions.into(),
        instance: instance.into(),
        unused: [0; 16],
    }
}
