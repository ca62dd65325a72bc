//! Handles, and how calls are answered.

use std::ffi::c_void;

/// An `enum g_ipsec_la_control_flags`.
/// cbindgen:no-export
pub type ControlFlags = u32;

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

/// Called once with the answer to an asynchronous call; `outargs` is the call's `out`, or the library's own when that
/// was NULL, and then valid during the call only.
pub type ResponseFn = Option<unsafe extern "C" fn(cb_arg: *mut c_void, cb_arg_len: i32, outargs: *mut c_void)>;

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
