//! Opening, groups and lists.

use std::ffi::{c_char, c_void};

use super::Handle;

/// An `enum g_ipsec_la_mode`.
/// cbindgen:no-export
pub type Mode = u32;

/// Called when the accelerator behind a handle is gone. Runs on the library's callback thread, or inside
/// g_ipsec_la_ext_poll in poll mode; may call the library, g_ipsec_la_close included. `handle` is valid during the call.
pub type InstanceBrokenFn = Option<unsafe extern "C" fn(handle: *mut Handle, cb_arg: *mut c_void)>;

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
