//! The numbers of the document's enumerations and macros (R12 to R15), under the names that the header gives them;
//! `tests/layout.rs` asks the C compiler for each and compares.

/// Defines constants and the table of all of them.
macro_rules! values {
    ($($name:ident: $type:ty = $value:expr;)*) => {
        $(
            #[doc = concat!("`G_IPSEC_LA_", stringify!($name), "`")]
            pub const $name: $type = $value;
        )*

        /// Each name without `G_IPSEC_LA_`, with its number.
        pub const ALL: &[(&str, u32)] = &[$((stringify!($name), $value)),*];
    };
}

values! {
    HANDLE_SIZE: usize = 8;
    GROUP_HANDLE_SIZE: usize = 8;
    SA_HANDLE_SIZE: usize = 8;
    MAX_VERSION_LENGTH: usize = 32;
    NAME_SIZE: usize = 16;
    IDENTITY_SIZE: usize = 64;
    PCI_VENDOR_ID: u16 = 0x1AF4;
    PCI_DEVICE_ID: u16 = 0x107E;
    SUCCESS: u32 = 0;

    INSTANCE_EXCLUSIVE: u32 = 1;
    INSTANCE_SHARED: u32 = 2;

    CTRL_FLAG_ASYNC: u32 = 1;
    CTRL_FLAG_NO_RESP_EXPECTED: u32 = 2;

    PROTOCOL_ESP: u8 = 50;
    PROTOCOL_AH: u8 = 51;
    PROTOCOL_IPCOMP: u8 = 108;

    AUTH_ALG_NONE: u32 = 1;
    AUTH_ALG_MD5_HMAC: u32 = 2;
    AUTH_ALG_SHA1_HMAC: u32 = 3;
    AUTH_AESXCBC: u32 = 4;
    AUTH_ALG_SHA2_256_HMAC: u32 = 5;
    AUTH_ALG_SHA2_384_HMAC: u32 = 6;
    AUTH_ALG_SHA2_512_HMAC: u32 = 7;

    CIPHER_ALGO_NULL: u32 = 1;
    ALG_DES_CBC: u32 = 2;
    ALG_3DES_CBC: u32 = 3;
    ALG_AES_CBC: u32 = 4;
    ALG_AES_CTR: u32 = 5;

    COMB_AES_CCM: u32 = 1;
    COMB_AES_GCM: u32 = 2;
    COMB_AES_GMAC: u32 = 3;

    IPCOMP_DEFLATE: u32 = 1;
    IPCOMP_LZS: u32 = 2;

    DSCP_COPY: u32 = 1;
    DSCP_CLEAR: u32 = 2;
    DSCP_SET: u32 = 3;

    DF_COPY: u32 = 1;
    DF_CLEAR: u32 = 2;
    DF_SET: u32 = 3;

    IPSEC_INBOUND: u32 = 0;
    IPSEC_OUTBOUND: u32 = 1;

    SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL: u32 = 1 << 1;
    SA_USE_ECN: u32 = 1 << 2;
    SA_LIFETIME_IN_KB: u32 = 1 << 3;
    SA_DO_ANTI_REPLAY_CHECK: u32 = 1 << 4;
    SA_ENCAP_TRANSPORT_MODE: u32 = 1 << 5;
    SA_USE_ESN: u32 = 1 << 6;
    SA_USE_IPV6: u32 = 1 << 7;
    NOTIFY_LIFETIME_KB_EXPIRY: u32 = 1 << 8;
    NOTIFY_SEQNUM_OVERFLOW: u32 = 1 << 9;
    NOTIFY_SEQNUM_PERIODIC: u32 = 1 << 10;

    INB_SA_PROPOGATE_ECN: u32 = 1;

    SA_MODIFY_LOCAL_GW_INFO: u32 = 1;
    SA_MODIFY_PEER_GW_INFO: u32 = 2;
    SA_MODIFY_REPLAY_INFO: u32 = 3;

    SA_MODIFY_SEQ_NUM: u32 = 1 << 1;
    SA_MODIFY_ANTI_REPLAY_WINDOW: u32 = 1 << 2;

    SA_GET_FIRST_N: u32 = 0;
    SA_GET_NEXT_N: u32 = 1;
    SA_GET_EXACT: u32 = 2;
    SA_GET_INFORMATION: u32 = 1;
    SA_GET_STATISTICS: u32 = 2;

    IPV4: u32 = 4;
    IPV6: u32 = 6;
}
