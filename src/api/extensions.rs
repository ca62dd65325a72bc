//! What the document promises and gives no field (R35).

use std::{ffi::c_char, ptr, sync::Arc};

use gipsec_accelerator::{
    Client, Entry, Error, SaEntry, Soft,
    engine::{Combined, Direction, DropReason, FlowPadding, Integrity, Intervals, PacketError},
};

use crate::{
    answer::answered,
    api::sa::{add, group_and_sa},
    convert::{self, Options},
    guard::{guarded, last_error},
    packet_call::{Jobs, PacketCall},
    pointers::{NULL, not_null, required, text},
    process::registry,
    segments::produce,
    types::{ControlFlags, Data, Handle, Packet, ResponseArgs, SaAddInArgs, SaAddOutArgs, SaDirection, SaHandle},
};

/// A `proto` of an SA: ESP, wrapped so that what is on the way can tell whether it is encrypted (RFC 5840).
pub const G_IPSEC_LA_EXT_PROTOCOL_WESP: u8 = 141;

/// An `auth_algo` of the options: AES-CMAC-96 (RFC 4494), with an `auth_key` of 128 bits.
pub const G_IPSEC_LA_EXT_AUTH_AES_CMAC: u32 = 1;

/// A `comb_algo` of the options: ChaCha20-Poly1305 (RFC 7634), with a `comb_key` of 288 bits: the salt of 4 bytes, then the
/// key.
pub const G_IPSEC_LA_EXT_COMB_CHACHA20_POLY1305: u32 = 1;

/// A flag of the options: the IV is the sequence number, and not sent (RFC 8750). With AES-GCM, AES-CCM and
/// ChaCha20-Poly1305. The sequence number of such an outbound SA is never set back.
pub const G_IPSEC_LA_EXT_SA_IMPLICIT_IV: u32 = 1;

/// A flag of the options, outbound: an outer IPv6 header has the flow label of an inner one; else it has 0.
pub const G_IPSEC_LA_EXT_SA_COPY_FLOW_LABEL: u32 = 2;

/// A flag of the options, inbound in tunnel mode: packets whose outer addresses are not those of `te_addr` are refused.
pub const G_IPSEC_LA_EXT_SA_CHECK_OUTER: u32 = 4;

/// A flag of the options: asynchronous packet calls may be processed, and called back, in any order, and at once on all
/// of the library's threads. A bundle takes it from any of its entries.
pub const G_IPSEC_LA_EXT_SA_ANY_ORDER: u32 = 8;

/// What can be said of a new SA beyond the document. Zero everywhere but in `size` is what g_ipsec_la_sa_add does. What is
/// said of one direction is ignored in the other. g_ipsec_la_sa_get reads back what the document has fields for, and so
/// nothing of this but windows up to 255 packets and ICVs up to 255 bits.
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
    /// Bits of G_IPSEC_LA_EXT_SA_...
    pub flags: u32,
    /// 0, or a G_IPSEC_LA_EXT_AUTH_..., with 0 in the SA.
    pub auth_algo: u32,
    /// 0, or a G_IPSEC_LA_EXT_COMB_..., with 0 in the SA.
    pub comb_algo: u32,
    /// Length of the ICV in bits, also where the SA's field is too narrow for it; 0: as the SA says. HMAC-SHA2 of any
    /// length takes 96, for peers from before RFC 4868, and its full length.
    pub icv_len_bits: u32,
    /// Traffic flow confidentiality (RFC 4303 section 2.7), outbound ESP in tunnel mode: payloads are padded to this many
    /// bytes, up to 65,535; 0: they are not.
    pub tfc_pad_to: u32,
    /// The same: payloads that are longer are padded to a multiple of this many bytes, up to 65,535; 0: they are not.
    pub tfc_pad_multiple: u32,
}

/// Every size that an earlier version of the structure has had, and the ends of its first fields.
const FORMER_SIZES: [usize; 9] = [4, 8, 16, 24, 28, 32, 36, 40, 44];

impl SaOptions {
    /// Reads one of several options of any version: those that the caller's does not have are zero, and those that this one
    /// does not have must be.
    ///
    /// # Safety
    /// `options` is NULL or valid for an array with `at` entries and one more, each as long as the first field of the first
    /// one says.
    unsafe fn read(options: *const Self, at: usize) -> Result<Options, Error> {
        const SIZE: Error =
            Error::Invalid("the size of the SA options is impossible, or they say what is not known here");
        // SAFETY: this function's contract.
        let given = unsafe { required(options.cast::<u32>()) }? as usize;
        let later = (size_of::<Self>()..=4096).contains(&given) && given.is_multiple_of(8);
        if !later && !FORMER_SIZES.contains(&given) {
            return Err(SIZE);
        }
        // SAFETY: the same.
        let bytes = unsafe { std::slice::from_raw_parts(options.cast::<u8>().add(at * given), given) };
        let (known, unknown) = bytes.split_at(given.min(size_of::<Self>()));
        if unknown.iter().any(|byte| *byte != 0) {
            return Err(SIZE);
        }
        let mut own = Self::default();
        // SAFETY: `known` is no longer than `own`, which is made of integers without padding.
        unsafe { (&raw mut own).cast::<u8>().copy_from_nonoverlapping(known.as_ptr(), known.len()) };
        if own.size as usize != given {
            return Err(SIZE);
        }
        own.options()
    }

    fn options(&self) -> Result<Options, Error> {
        const KNOWN: u32 = G_IPSEC_LA_EXT_SA_IMPLICIT_IV
            | G_IPSEC_LA_EXT_SA_COPY_FLOW_LABEL
            | G_IPSEC_LA_EXT_SA_CHECK_OUTER
            | G_IPSEC_LA_EXT_SA_ANY_ORDER;
        if self.flags & !KNOWN != 0 {
            return Err(Error::Invalid("an unknown flag in the SA options"));
        }
        let is = |bit: u32| self.flags & bit != 0;
        let or = |value: u64, usual: u64| if value == 0 { usual } else { value };
        let padding = |length: u32| {
            u16::try_from(length).map_err(|_| Error::Invalid("traffic flow padding to more than 65,535 bytes"))
        };
        let usual = Intervals::default();
        Ok(Options {
            window: Some(self.anti_replay_window_size).filter(|size| *size != 0),
            intervals: Intervals {
                overflow_margin: or(self.seq_num_overflow_margin, usual.overflow_margin),
                periodic: or(self.seq_num_periodic_interval, usual.periodic),
            },
            integrity: match self.auth_algo {
                0 => None,
                G_IPSEC_LA_EXT_AUTH_AES_CMAC => Some(Integrity::AesCmac),
                _ => return Err(Error::Invalid("an unknown integrity algorithm in the SA options")),
            },
            combined: match self.comb_algo {
                0 => None,
                G_IPSEC_LA_EXT_COMB_CHACHA20_POLY1305 => Some(Combined::ChaCha20Poly1305),
                _ => return Err(Error::Invalid("an unknown combined mode algorithm in the SA options")),
            },
            icv_len_bits: Some(self.icv_len_bits).filter(|bits| *bits != 0),
            implicit_iv: is(G_IPSEC_LA_EXT_SA_IMPLICIT_IV),
            copy_flow_label: is(G_IPSEC_LA_EXT_SA_COPY_FLOW_LABEL),
            check_outer: is(G_IPSEC_LA_EXT_SA_CHECK_OUTER),
            any_order: is(G_IPSEC_LA_EXT_SA_ANY_ORDER),
            flow_padding: FlowPadding { to: padding(self.tfc_pad_to)?, multiple: padding(self.tfc_pad_multiple)? },
        })
    }
}

/// What was wrong with this thread's last call that failed, as a sentence; empty when none did. Valid until this
/// function is called again by the same thread.
#[unsafe(no_mangle)]
pub extern "C" fn g_ipsec_la_ext_last_error() -> *const c_char {
    last_error()
}

/// As g_ipsec_la_sa_add, with options: an array of as many as `in` has SAs, all of one `size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_sa_add(
    handle: *mut Handle,
    r#in: *const SaAddInArgs,
    options: *const SaOptions,
    flags: ControlFlags,
    out: *mut SaAddOutArgs,
    resp: ResponseArgs,
) -> i32 {
    // SAFETY: the header's contract.
    let body = || unsafe { add(handle, r#in, |at| SaOptions::read(options, at), flags, out, resp) };
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
    let (direction, response) = (Direction::Outbound, &resp);
    // SAFETY: the header's contract.
    unsafe { PacketCall { direction, handle, flags, sa: sa_handle, jobs, response, results }.run() }
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
    let (direction, response) = (Direction::Inbound, &resp);
    // SAFETY: the header's contract.
    unsafe { PacketCall { direction, handle, flags, sa: sa_handle, jobs, response, results }.run() }
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
/// handle is closed. It may be readable while none wait, until g_ipsec_la_ext_poll has returned 0. Calls that are in flight
/// may still be called back by the library's thread. With a device, asynchronous packet calls go there without another
/// thread, and what it has no room for yet follows inside of g_ipsec_la_ext_poll and of further calls.
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

/// The name of a reason for which packets are refused, such as "replayed": numbers from 0, each with one meaning for ever.
/// NULL: there are no more.
#[unsafe(no_mangle)]
pub extern "C" fn g_ipsec_la_ext_drop_reason_name(reason: u32) -> *const c_char {
    DropReason::ALL.get(reason as usize).map_or(ptr::null(), |reason| reason.c_name().as_ptr())
}

/// Reads how many packets an SA has refused for each reason: `counts` has `max_counts` entries, in the order of
/// g_ipsec_la_ext_drop_reason_name. `entry` is that of a bundle, and 0 for a single SA. The counters only ever grow, and no
/// packet that is refused meanwhile is lost. Returns how many reasons there are, or a negative errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_sa_drops_get(
    handle: *mut Handle,
    dir: SaDirection,
    sa_handle: *mut SaHandle,
    entry: u32,
    counts: *mut u64,
    max_counts: u32,
) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let (group, sa) = unsafe { group_and_sa(handle, sa_handle) }?;
        let reading = group.read_sa(convert::direction(dir)?, sa)?;
        let entry = reading.entries.get(entry as usize).ok_or(Error::NotFound("the SA has no such entry"))?;
        if max_counts > 0 {
            not_null(counts)?;
        }
        for (at, count) in entry.drops.iter().enumerate().take(max_counts as usize) {
            // SAFETY: not NULL, and the array has `max_counts` entries.
            unsafe { counts.add(at).write_unaligned(*count) };
        }
        Ok(i32::try_from(entry.drops.len()).unwrap_or(i32::MAX))
    })
}

/// An outbound SA.
///
/// # Safety
/// The header's contract.
unsafe fn outbound(handle: *const Handle, sa: *const SaHandle) -> Result<Arc<Entry<SaEntry>>, Error> {
    // SAFETY: this function's contract.
    let (handle, sa) = unsafe { (required(handle)?, required(sa)?) };
    registry().sa(handle.client()?, handle.group()?, sa.sa()?, Direction::Outbound)
}

/// Makes a dummy packet (RFC 4303 section 2.6), which the receiver drops without an error: as long as one that carries a
/// packet of `length` bytes, 20 to 65,535; of a bundle, in its first entry that is ESP in tunnel mode. It takes a sequence
/// number. `out_data` is as for g_ipsec_la_packet_encap. -EINVAL: there is no outbound ESP in tunnel mode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_dummy_packet(
    handle: *mut Handle,
    sa_handle: *mut SaHandle,
    length: u32,
    num_sg_elem: u32,
    out_data: *mut Data,
) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let sa = unsafe { outbound(handle, sa_handle) }?;
        // SAFETY: the same.
        unsafe { produce(out_data, num_sg_elem, |output| sa.make_dummy(length as usize, output)) }??;
        Ok(0)
    })
}

/// The length of the largest packet that an outbound SA, or bundle, encapsulates to at most `outer_mtu` bytes now: what the
/// path MTU means to those behind the tunnel. In transport mode, of a packet without IPv4 options or IPv6 extension
/// headers. -EMSGSIZE: there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_inner_mtu(
    handle: *mut Handle,
    sa_handle: *mut SaHandle,
    outer_mtu: u32,
) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let sa = unsafe { outbound(handle, sa_handle) }?;
        let inner = sa.largest_inner(outer_mtu as usize)?.ok_or(PacketError::NoRoom)?;
        Ok(i32::try_from(inner).unwrap_or(i32::MAX))
    })
}
