//! What the document promises and gives no field (R35).

use std::ffi::c_char;

use gipsec_accelerator::{
    Client, Error, Soft,
    engine::{Direction, Intervals},
};

use crate::{
    answer::answered,
    api::control::add,
    convert::Options,
    guard::{guarded, last_error},
    packet_call::{Jobs, PacketCall},
    pointers::{NULL, not_null, required, text},
    process::registry,
    types::{ControlFlags, Handle, Packet, ResponseArgs, SaAddInArgs, SaAddOutArgs, SaHandle},
};

/// What can be said of a new SA beyond the document. Zero everywhere but in `size` is what g_ipsec_la_sa_add does.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct SaOptions {
    /// sizeof(struct g_ipsec_la_ext_sa_options): later versions of the structure are longer, and this one stays valid.
    pub size: u32,
    /// Anti-replay window in packets, up to 65,536; 0: as the SA says.
    pub anti_replay_window_size: u32,
    /// How many sequence numbers are left at the first overflow notification; 0: 2^20.
    pub seq_num_overflow_margin: u64,
    /// Packets between periodic notifications; 0: 65,536.
    pub seq_num_periodic_interval: u64,
}

impl SaOptions {
    /// Reads options of any version: those that the caller's does not have are zero, and those that this one does not
    /// have must be.
    ///
    /// # Safety
    /// `options` is NULL or valid for as many bytes as its first field says.
    unsafe fn read(options: *const Self) -> Result<Options, Error> {
        const SIZE: Error =
            Error::Invalid("the size of the SA options is impossible, or they say what is not known here");
        // SAFETY: this function's contract.
        let given = unsafe { required(options.cast::<u32>()) }? as usize;
        // The ends of the first fields, or the whole structure and whatever comes behind it later.
        let whole_fields = matches!(given, 4 | 8 | 16) || (size_of::<Self>()..=4096).contains(&given);
        if !whole_fields {
            return Err(SIZE);
        }
        // SAFETY: the same.
        let bytes = unsafe { std::slice::from_raw_parts(options.cast::<u8>(), given) };
        let (known, unknown) = bytes.split_at(given.min(size_of::<Self>()));
        if unknown.iter().any(|byte| *byte != 0) {
            return Err(SIZE);
        }
        let mut own = Self::default();
        // SAFETY: `known` is no longer than `own`, which is made of integers without padding.
        unsafe { (&raw mut own).cast::<u8>().copy_from_nonoverlapping(known.as_ptr(), known.len()) };
        own.options()
    }

    fn options(&self) -> Result<Options, Error> {
        let or = |value: u64, usual: u64| if value == 0 { usual } else { value };
        let usual = Intervals::default();
        Ok(Options {
            window: Some(self.anti_replay_window_size).filter(|size| *size != 0),
            intervals: Intervals {
                overflow_margin: or(self.seq_num_overflow_margin, usual.overflow_margin),
                periodic: or(self.seq_num_periodic_interval, usual.periodic),
            },
        })
    }
}

/// What was wrong with this thread's last call that failed, as a sentence; empty when none did. Valid until this
/// function is called again by the same thread.
#[unsafe(no_mangle)]
pub extern "C" fn g_ipsec_la_ext_last_error() -> *const c_char {
    last_error()
}

/// As g_ipsec_la_sa_add, with options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_sa_add(
    handle: *mut Handle,
    r#in: *const SaAddInArgs,
    options: *const SaOptions,
    flags: ControlFlags,
    out: *mut SaAddOutArgs,
    resp: ResponseArgs,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract.
        let options = unsafe { SaOptions::read(options) }?;
        // SAFETY: the same.
        unsafe { add(handle, r#in, options, flags, out, resp) }
    };
    // SAFETY: the same.
    unsafe { answered(out, body) }
}

/// As g_ipsec_la_multi_packet_encap; a synchronous call also writes each packet's result to `results` (NULL: nowhere).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_multi_packet_encap(
    handle: *mut Handle,
    flags: ControlFlags,
    sa_handle: *mut SaHandle,
    num_packets: u32,
    in_packets: *mut Packet,
    out_packets: *mut Packet,
    results: *mut i32,
    resp: ResponseArgs,
) -> i32 {
    let jobs = Jobs::Multi { count: num_packets, input: in_packets, output: out_packets };
    // SAFETY: the header's contract.
    guarded(|| unsafe {
        PacketCall::new(Direction::Outbound, handle, flags, sa_handle, jobs, resp)?.with_results(results).run()
    })
}

/// As g_ipsec_la_multi_packet_decap; a synchronous call also writes each packet's result to `results` (NULL: nowhere).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_multi_packet_decap(
    handle: *mut Handle,
    flags: ControlFlags,
    sa_handle: *mut SaHandle,
    num_packets: u32,
    in_packets: *mut Packet,
    out_packets: *mut Packet,
    results: *mut i32,
    resp: ResponseArgs,
) -> i32 {
    let jobs = Jobs::Multi { count: num_packets, input: in_packets, output: out_packets };
    // SAFETY: the header's contract.
    guarded(|| unsafe {
        PacketCall::new(Direction::Inbound, handle, flags, sa_handle, jobs, resp)?.with_results(results).run()
    })
}

/// Adds a software accelerator. `name` has 1 to 15 bytes and is not taken; `instance_id`, unless NULL, receives its
/// number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_soft_accelerator_add(name: *const c_char, instance_id: *mut u32) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let name = unsafe { text(name, usize::MAX) }?.ok_or(NULL)?;
        let instance = registry().add(&name, Box::new(Soft))?;
        if !instance_id.is_null() {
            // SAFETY: not NULL, and valid by the header's contract.
            unsafe { instance_id.write_unaligned(instance) };
        }
        Ok(0)
    })
}

/// Removes a software accelerator: every handle's broken-instance callback is called once, and every later call on such
/// a handle but g_ipsec_la_close is -ENODEV.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_soft_accelerator_remove(name: *const c_char) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let name = unsafe { text(name, usize::MAX) }?.ok_or(NULL)?;
        registry().remove(&name).map(|()| 0)
    })
}

/// From now on this handle's callbacks, those of its groups included, run inside g_ipsec_la_ext_poll. `event_fd`
/// receives a descriptor that is readable while some wait; it is the library's, for poll(2) alone, and valid until the
/// handle is closed. Calls that are in flight may still be called back by the library's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_poll_mode_enter(handle: *mut Handle, event_fd: *mut i32) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let (handle, event_fd) = (unsafe { required(handle) }?, not_null(event_fd)?);
        let descriptor = registry().with_client(handle.client()?, Client::enter_poll_mode)??;
        // SAFETY: not NULL, and valid by the header's contract.
        unsafe { event_fd.write_unaligned(descriptor) };
        Ok(0)
    })
}

/// Calls up to `max_callbacks` callbacks that wait; returns how many, or a negative errno. -EINVAL: the handle is not in
/// poll mode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_poll(handle: *mut Handle, max_callbacks: u32) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let handle = unsafe { required(handle) }?;
        let limit = usize::try_from(max_callbacks.min(i32::MAX.cast_unsigned())).unwrap_or(usize::MAX);
        let delivered = registry().poll(handle.client()?, limit)?;
        Ok(i32::try_from(delivered).unwrap_or(i32::MAX))
    })
}
