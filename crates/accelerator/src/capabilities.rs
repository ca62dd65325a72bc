//! What an accelerator can do (document 9.9 to 9.12, R36), bit for bit as C lays it out.

use bitflags::bitflags;

bitflags! {
    /// Protocols and features.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Features: u16 {
        /// Packets in pieces.
        const SCATTER_GATHER = 1 << 0;
        /// RFC 4302.
        const AH = 1 << 1;
        /// RFC 4303.
        const ESP = 1 << 2;
        /// RFC 5840.
        const WESP = 1 << 3;
        /// RFC 3173.
        const IPCOMP = 1 << 4;
        /// SA bundles.
        const MULTI_SEC = 1 << 5;
        /// RFC 3948.
        const UDP_ENCAP = 1 << 6;
        /// Extended sequence numbers.
        const ESN = 1 << 7;
        /// Traffic flow confidentiality.
        const TFC = 1 << 8;
        /// RFC 6040.
        const ECN = 1 << 9;
        /// DF bit handling.
        const DF = 1 << 10;
        /// Anti-replay.
        const ANTI_REPLAY = 1 << 11;
        /// IPv6.
        const IPV6 = 1 << 12;
        /// Soft lifetime notification.
        const SOFT_LIFETIME_NOTIFY = 1 << 13;
        /// Sequence overflow notification.
        const SEQUENCE_OVERFLOW_NOTIFY = 1 << 14;
        /// Periodic sequence notification.
        const SEQUENCE_PERIODIC_NOTIFY = 1 << 15;
    }

    /// Integrity algorithms.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct IntegrityAlgorithms: u32 {
        /// HMAC-MD5.
        const MD5 = 1 << 0;
        /// HMAC-SHA1.
        const SHA1 = 1 << 1;
        /// HMAC-SHA2 with 256, 384 and 512 bits.
        const SHA2 = 1 << 2;
        /// AES-XCBC.
        const AES_XCBC = 1 << 3;
        /// No integrity.
        const NONE = 1 << 4;
    }

    /// Encryption algorithms.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CipherAlgorithms: u32 {
        /// DES-CBC.
        const DES = 1 << 0;
        /// 3DES-CBC.
        const TRIPLE_DES = 1 << 1;
        /// AES-CBC.
        const AES = 1 << 2;
        /// AES-CTR.
        const AES_CTR = 1 << 3;
        /// No encryption.
        const NULL = 1 << 4;
    }

    /// Combined mode algorithms.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CombinedAlgorithms: u32 {
        /// AES-CCM.
        const AES_CCM = 1 << 0;
        /// AES-GCM.
        const AES_GCM = 1 << 1;
        /// AES-GMAC.
        const AES_GMAC = 1 << 2;
    }
}

/// What an accelerator can do. A bit is set when, and only when, the feature works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Protocols and features.
    pub features: Features,
    /// Classes that asynchronous work is queued in by DSCP; 0: none.
    pub dscp_queues: u8,
    /// Integrity algorithms.
    pub integrity: IntegrityAlgorithms,
    /// Encryption algorithms.
    pub cipher: CipherAlgorithms,
    /// Combined mode algorithms.
    pub combined: CombinedAlgorithms,
}
