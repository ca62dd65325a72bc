//! Capabilities and notifications.

use super::{Handle, SaHandle};

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
