//! The C types of the g-API document, byte for byte (R10). Nothing here interprets them: a value that came from C is
//! held as the number it is (R11) and becomes a typed value in `convert`.
//!
//! Types marked `no-export` stand as text in `header/spec_types.h`, because they have bit-fields, anonymous unions or
//! two names for one enumerator; `tests/layout.rs` compares all of them with C.

use std::ffi::{c_char, c_void};

/// An `enum g_ipsec_la_mode`.
/// cbindgen:no-export
pub type Mode = u32;
/// An `enum g_ipsec_la_control_flags`.
/// cbindgen:no-export
pub type ControlFlags = u32;
/// An `enum g_ipsec_la_sa_direction`.
/// cbindgen:no-export
pub type SaDirection = u32;
/// An `enum g_ipsec_la_sa_get_op`.
/// cbindgen:no-export
pub type SaGetOperation = u32;

/// Accelerator and, when not all zero, group that a call is for.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handle {
    /// The accelerator handle.
    pub handle: [u32; 8],
    /// The group handle; all zero for none.
    pub group_handle: [u32; 8],
}

/// One Security Association, or one bundle.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaHandle {
    /// Opaque words.
    pub ipsec_sa_handle: [u32; 8],
}

/// Called when the accelerator behind a handle is gone. Runs on the library's callback thread, or inside
/// g_ipsec_la_ext_poll in poll mode; may call the library, g_ipsec_la_close included. `handle` is valid during the call.
pub type InstanceBrokenFn = Option<unsafe extern "C" fn(handle: *mut Handle, cb_arg: *mut c_void)>;

/// Called once with the answer to an asynchronous call; `outargs` is the call's `out`, or the library's own when that
/// was NULL, and then valid during the call only.
pub type ResponseFn = Option<unsafe extern "C" fn(cb_arg: *mut c_void, cb_arg_len: i32, outargs: *mut c_void)>;

/// Which accelerator to open, and for whom.
#[repr(C)]
pub struct OpenInArgs {
    /// PCI vendor, 0 for any. Software accelerators have the vendor and device of the virtio-ipsec device.
    pub pci_vendor_id: u16,
    /// PCI device, 0 for any.
    pub device_id: u16,
    /// Name of the accelerator, NULL for the first that can serve the mode.
    pub accl_name: *mut c_char,
    /// Name of the application, shorter than G_IPSEC_LA_IDENTITY_SIZE; may be NULL.
    pub app_identity: *mut c_char,
    /// Called when the accelerator is gone; may be NULL.
    pub cb_fn: InstanceBrokenFn,
    /// Passed to `cb_fn` unread.
    pub cb_arg: *mut c_void,
    /// Length of what `cb_arg` points at; unused.
    pub cb_arg_len: i32,
}

/// Where g_ipsec_la_open writes the handle.
#[repr(C)]
pub struct OpenOutArgs {
    /// The caller's storage for the handle.
    pub handle: *mut Handle,
}

/// Whom to answer when a call is asynchronous.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ResponseArgs {
    /// The function to call.
    pub cbfn: ResponseFn,
    /// Passed to `cbfn` unread.
    pub cb_arg: *mut c_void,
    /// Passed to `cbfn` unread.
    pub cb_arg_len: i32,
}

/// Name of a new group.
#[repr(C)]
pub struct CreateGroupInArgs {
    /// NUL-terminated, shorter than G_IPSEC_LA_IDENTITY_SIZE; may be NULL.
    pub group_identity: *mut c_char,
}

/// Handle of a new group, to be copied to the `group_handle` of a g_ipsec_la_handle.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct CreateGroupOutArgs {
    /// Opaque words.
    pub g_ipsec_la_group_handle: [u32; 8],
}

/// The algorithm words and feature bits of an accelerator.
/// cbindgen:no-export
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Sixteen one-bit fields, the first in the lowest bit.
    pub features: u16,
    /// How many classes asynchronous work is queued in.
    pub num_dscp_based_queues: u8,
    /// Unused.
    pub reserved: u8,
    /// md5, sha1, sha2, aes_xcbc, none, des.
    pub auth_algo_caps: u32,
    /// des, des_c, aes, aes_ctr, null.
    pub cipher_algo_caps: u32,
    /// aes_ccm, aes_gcm, aes_gmac.
    pub comb_algo_caps: u32,
}

/// Answer of g_ipsec_la_capabilities_get.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct CapGetOutArgs {
    /// The capabilities.
    pub caps: Capabilities,
}

/// An SA's sequence numbers, at a notification.
#[repr(C)]
pub struct SeqNumberNotification {
    /// The handle that the SA was added with.
    pub handle: *mut Handle,
    /// The SA.
    pub sa_handle: *mut SaHandle,
    /// Low half of the last sequence number, host order.
    pub seq_num: u32,
    /// High half of the last sequence number; 0 without ESN.
    pub hi_seq_num: u32,
}

/// An SA's lifetime, at the soft limit.
#[repr(C)]
pub struct LifetimeInBytesNotification {
    /// The SA.
    pub sa_handle: SaHandle,
    /// Kilobytes that have gone through the SA.
    pub ipsec_lifetime_in_kbytes: u32,
}

/// Called before (by 2^20 numbers, unless changed) and at the end of an outbound SA's sequence numbers.
pub type SeqNumberOverflowFn = Option<unsafe extern "C" fn(handle: Handle, r#in: *mut SeqNumberNotification)>;

/// Called every 65,536 packets of an SA, unless changed.
pub type SeqNumberPeriodicUpdateFn = Option<unsafe extern "C" fn(handle: Handle, r#in: *mut SeqNumberNotification)>;

/// Called once, when an SA reaches its soft lifetime.
pub type SoftLifetimeExpiryFn = Option<unsafe extern "C" fn(handle: Handle, r#in: *mut LifetimeInBytesNotification)>;

/// Functions to call for notifications. Each may be NULL; each also needs the SA's G_IPSEC_LA_NOTIFY_... flag.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NotificationHooks {
    /// Sequence number overflow.
    pub seq_num_overflow_fn: SeqNumberOverflowFn,
    /// Periodic sequence number.
    pub seq_num_periodic_update_fn: SeqNumberPeriodicUpdateFn,
    /// Soft lifetime.
    pub soft_lifetimeout_expiry_fn: SoftLifetimeExpiryFn,
}

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

/// A piece of a packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Data {
    /// Its first byte.
    pub buffer: *mut u8,
    /// Bytes to read; of an output, room on entry and bytes written on return.
    pub length: u32,
}

/// A packet in pieces; the first begins at the IP header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Packet {
    /// How many pieces.
    pub num_sg: u32,
    /// That many.
    pub data: *mut Data,
}

/// What the callback of an asynchronous packet call is given.
#[repr(C)]
pub struct PacketOutArgs {
    /// 0, or the first failure.
    pub result: i32,
    /// How many packets the call had.
    pub num_packets: u32,
    /// Each packet's own result.
    pub results: *const i32,
}

/// An accelerator that an open would get now.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct AvailableEntry {
    /// Its name.
    pub name: [c_char; 16],
    /// Its number; never used for another accelerator.
    pub instance_id: u32,
}

/// One group (or the SAs without a group) of one application on one accelerator. "In" counts decapsulated packets and
/// their payload bytes, "out" encapsulated ones.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ActiveEntry {
    /// The accelerator's name.
    pub name: [c_char; 16],
    /// The accelerator's number.
    pub instance_id: u32,
    /// How the application opened it.
    pub mode: Mode,
    /// The application's name.
    pub app_identity: [c_char; 64],
    /// The group's name; empty for the SAs without a group.
    pub group_identity: [c_char; 64],
    /// Payload bytes decapsulated.
    pub bytes_in: u64,
    /// Payload bytes encapsulated.
    pub bytes_out: u64,
    /// Packets decapsulated.
    pub packets_in: u64,
    /// Packets encapsulated.
    pub packets_out: u64,
    /// SAs added so far.
    pub sas_created: u64,
    /// SAs deleted so far.
    pub sas_deleted: u64,
    /// Successful g_ipsec_la_sa_mod calls so far.
    pub sas_modified: u64,
    /// SAs there are now.
    pub active_sas: u64,
}

/// Which entries of the list to read.
#[repr(C)]
pub struct AvailableListGetInArgs {
    /// Number of the first, from 0.
    pub start: u32,
    /// Room in `entries`; 0 only counts.
    pub max_entries: u32,
}

/// Accelerators that an open would get now.
#[repr(C)]
pub struct AvailableListGetOutArgs {
    /// How many there are.
    pub total: u32,
    /// How many were written.
    pub num_entries: u32,
    /// The caller's array of `max_entries`.
    pub entries: *mut AvailableEntry,
}

/// Which entries of the list to read.
#[repr(C)]
pub struct ActiveListGetInArgs {
    /// Number of the first, from 0.
    pub start: u32,
    /// Room in `entries`; 0 only counts.
    pub max_entries: u32,
}

/// Groups with an open handle.
#[repr(C)]
pub struct ActiveListGetOutArgs {
    /// How many there are.
    pub total: u32,
    /// How many were written.
    pub num_entries: u32,
    /// The caller's array of `max_entries`.
    pub entries: *mut ActiveEntry,
}
