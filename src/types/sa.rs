//! Security Associations: added, changed, deleted, read.

use super::{Handle, SaHandle};

/// An `enum g_ipsec_la_sa_direction`.
/// cbindgen:no-export
pub type SaDirection = u32;

/// An `enum g_ipsec_la_sa_get_op`.
/// cbindgen:no-export
pub type SaGetOperation = u32;

/// An IP address.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct IpAddress {
    /// 4 or 6.
    pub version: u32,
    /// IPv4 in network order in the first four, or IPv6.
    pub bytes: [u8; 16],
}

/// Outer addresses of a tunnel.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TunnelEndAddress {
    /// Source of the outer header.
    pub src_ip: IpAddress,
    /// Destination of the outer header.
    pub dest_ip: IpAddress,
}

/// UDP encapsulation.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct NatTraversalInfo {
    /// Host order.
    pub dest_port: u16,
    /// Host order.
    pub src_port: u16,
    /// The peer's original address, in transport mode.
    pub nat_oa_peer_addr: IpAddress,
}

/// Algorithms and keys.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SaCryptoParams {
    /// An `enum g_ipsec_la_auth_alg`.
    pub auth_algo: u32,
    /// Integrity key.
    pub auth_key: *mut u8,
    /// Its length in bits.
    pub auth_key_len_bits: u32,
    /// An `enum g_ipsec_la_cipher_alg`.
    pub cipher_algo: u32,
    /// Encryption key; AES-CTR: followed by the nonce.
    pub cipher_key: *mut u8,
    /// Its length in bits.
    pub cipher_key_len_bits: u32,
    /// An `enum g_ipsec_la_comb_alg`.
    pub comb_algo: u32,
    /// Salt, then key.
    pub comb_key: *mut u8,
    /// Length of both in bits.
    pub comb_key_len_bits: u32,
    /// Length of the ICV in bits, 0 for the usual one.
    pub icv_len_bits: u8,
}

/// IP compression.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct IpcompInfo {
    /// An `enum g_ipsec_la_ipcomp_alg`.
    pub algo: u32,
    /// Compression Parameter Index.
    pub cpi: u32,
}

/// The part of an SA that only an outbound one has.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SaOutbound {
    /// 0 to 63.
    pub dscp: u8,
    /// An `enum g_ipsec_la_df_handle`.
    pub df_bit_handle: u32,
    /// An `enum g_ipsec_la_dscp_handle`.
    pub dscp_handle: u32,
    /// The first packet's IV, or NULL.
    pub iv: *mut u8,
    /// Its length in bits.
    pub iv_len_bits: u8,
}

/// The part of an SA that only an inbound one has.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SaInbound {
    /// An `enum g_ipsec_la_inb_sa_flags`.
    pub flags: u32,
    /// In packets; 0: 64.
    pub anti_replay_window_size: u8,
}

/// The part of an SA that depends on its direction.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy)]
pub union SaByDirection {
    /// Outbound.
    pub outb: SaOutbound,
    /// Inbound.
    pub inb: SaInbound,
}

/// A Security Association.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sa {
    /// Security Parameters Index, host order.
    pub spi: u32,
    /// Protocol number.
    pub proto: u8,
    /// Bits of `enum g_ipsec_la_sa_flags`.
    pub cmn_flags: u32,
    /// What depends on the direction.
    pub by_direction: SaByDirection,
    /// Algorithms and keys.
    pub crypto_params: SaCryptoParams,
    /// IP compression.
    pub ipcomp_info: IpcompInfo,
    /// 0: none.
    pub soft_kilobytes_limit: u32,
    /// 0: none.
    pub hard_kilobytes_limit: u32,
    /// UDP encapsulation.
    pub nat_info: NatTraversalInfo,
    /// Outer addresses.
    pub te_addr: TunnelEndAddress,
}

/// SAs to add: one, or the entries of a bundle, in the order in which outbound processing applies them.
#[repr(C)]
pub struct SaAddInArgs {
    /// Direction of all of them.
    pub dir: SaDirection,
    /// How many.
    pub num_sas: u8,
    /// That many.
    pub sa_params: *mut Sa,
}

/// Answer of g_ipsec_la_sa_add.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SaAddOutArgs {
    /// 0, or -errno.
    pub result: i32,
    /// The SA handle in the first 32 bytes, then the group that owns it (R8).
    pub handle: Handle,
}

/// A new address or port of one end.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SaModAddress {
    /// 0 leaves the port.
    pub port: u16,
    /// The new address.
    pub addr: IpAddress,
}

/// New replay information.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SaModReplay {
    /// Bits of `enum g_ipsec_la_sa_modify_replay_info_flags`.
    pub flags: u32,
    /// In packets.
    pub anti_replay_window_size: u8,
    /// Bit i: `seq_num - i` was seen.
    pub anti_replay_window_bit_map: u32,
    /// Low half.
    pub seq_num: u32,
    /// High half.
    pub hi_seq_num: u32,
}

/// What changes.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy)]
pub union SaModChange {
    /// With G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO and ..._PEER_GW_INFO.
    pub addr_info: SaModAddress,
    /// With G_IPSEC_LA_SA_MODIFY_REPLAY_INFO.
    pub replay: SaModReplay,
}

/// What g_ipsec_la_sa_mod changes in one SA.
/// cbindgen:no-export
#[repr(C)]
pub struct SaModInArgs {
    /// Direction of the SA.
    pub dir: SaDirection,
    /// The SA.
    pub handle: *mut SaHandle,
    /// An `enum g_ipsec_la_sa_modify_flags`.
    pub flags: u32,
    /// What changes.
    pub change: SaModChange,
}

/// Answer of g_ipsec_la_sa_mod.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct SaModifyOutArgs {
    /// 0, or -errno.
    pub result: i32,
}

/// Which SA to delete.
#[repr(C)]
pub struct SaDelInArgs {
    /// Direction of the SA.
    pub dir: SaDirection,
    /// The SA.
    pub handle: *mut SaHandle,
}

/// Answer of g_ipsec_la_sa_del.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct SaDelOutArgs {
    /// 0, or -errno.
    pub result: i32,
}

/// Which packets broke the protocol.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolViolationErrors {
    /// Not what the SA expects.
    pub invalid_ipsec_pkt: u32,
    /// Decrypted well, but the padding is wrong.
    pub invalid_pad_length: u32,
    /// Sequence number 0.
    pub invalid_seq_num: u32,
    /// Older than the window.
    pub anti_replay_late_pkt: u32,
    /// Seen before.
    pub anti_replay_replay_pkt: u32,
    /// The ICV does not match.
    pub invalid_icv: u32,
    /// The sequence number is used up.
    pub seq_num_over_flow: u32,
    /// Lifetime used up, or the crypto library failed.
    pub crypto_op_failed: u32,
}

/// Which packets could not be processed here.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessErrors {
    /// The output does not fit.
    pub no_tail_room: u32,
    /// The queue is full.
    pub submit_to_accl_failed: u32,
}

/// Statistics of one SA.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaStats {
    /// Packets.
    pub packets_processed: u64,
    /// Payload bytes.
    pub bytes_processed: u64,
    /// Which packets broke the protocol.
    pub protocol_violation_errors: ProtocolViolationErrors,
    /// Which packets could not be processed here.
    pub process_errors: ProcessErrors,
}

/// Answer of g_ipsec_la_sa_get. Entries past the last SA are zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SaGetOutArgs {
    /// 0, or -errno.
    pub result: i32,
    /// The caller's array of `num_sas`, or NULL. Key pointers come back NULL.
    pub sa_params: *mut Sa,
    /// The caller's array of `num_sas`, or NULL.
    pub stats: *mut SaStats,
    /// NULL, or points at a pointer to the caller's storage, which receives the last SA's handle.
    pub handle: *mut *mut SaHandle,
}

/// Which SAs to read.
#[repr(C)]
pub struct SaGetInArgs {
    /// Direction of the SAs.
    pub dir: SaDirection,
    /// The SA to read, or the one before the first to read; unused for G_IPSEC_LA_SA_GET_FIRST_N.
    pub handle: *mut SaHandle,
    /// First, next or exact.
    pub operation: SaGetOperation,
    /// How many.
    pub num_sas: u32,
    /// G_IPSEC_LA_SA_GET_INFORMATION, G_IPSEC_LA_SA_GET_STATISTICS; 0 for both.
    pub flags: u32,
}
