//! Packet calls (document 8.16 to 8.19).

use std::ptr;

use gipsec_accelerator::engine::Direction;

use crate::{
    packet_call::{Jobs, PacketCall},
    types::{ControlFlags, Data, Handle, Packet, ResponseArgs, SaHandle},
};

/// Encapsulates one packet in `num_sg_elem` pieces; the result goes into as many pieces of `out_data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_packet_encap(
    handle: *mut Handle,
    flags: ControlFlags,
    sa_handle: *mut SaHandle,
    num_sg_elem: u32,
    in_data: *mut Data,
    out_data: *mut Data,
    resp: ResponseArgs,
) -> i32 {
    let jobs = Jobs::Single { count: num_sg_elem, input: in_data, output: out_data };
    let (direction, response) = (Direction::Outbound, &resp);
    // SAFETY: the header's contract.
    unsafe { PacketCall { direction, handle, flags, sa: sa_handle, jobs, response, results: ptr::null_mut() }.run() }
}

/// Decapsulates one packet in `num_sg_elem` pieces; the result goes into as many pieces of `out_data`. A dummy packet
/// (RFC 4303 section 2.6) is no error and has no bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_packet_decap(
    handle: *mut Handle,
    flags: ControlFlags,
    sa_handle: *mut SaHandle,
    num_sg_elem: u32,
    in_data: *mut Data,
    out_data: *mut Data,
    resp: ResponseArgs,
) -> i32 {
    let jobs = Jobs::Single { count: num_sg_elem, input: in_data, output: out_data };
    let (direction, response) = (Direction::Inbound, &resp);
    // SAFETY: the header's contract.
    unsafe { PacketCall { direction, handle, flags, sa: sa_handle, jobs, response, results: ptr::null_mut() }.run() }
}

/// Encapsulates `num_packets` packets, at most 65,536, in order. All are processed; the result is the first failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_multi_packet_encap(
    handle: *mut Handle,
    flags: ControlFlags,
    sa_handle: *mut SaHandle,
    num_packets: u32,
    in_packets: *mut Packet,
    out_packets: *mut Packet,
    resp: ResponseArgs,
) -> i32 {
    let jobs = Jobs::Multi { count: num_packets, input: in_packets, output: out_packets };
    let (direction, response) = (Direction::Outbound, &resp);
    // SAFETY: the header's contract.
    unsafe { PacketCall { direction, handle, flags, sa: sa_handle, jobs, response, results: ptr::null_mut() }.run() }
}

/// Decapsulates `num_packets` packets, at most 65,536, in order. All are processed; the result is the first failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_multi_packet_decap(
    handle: *mut Handle,
    flags: ControlFlags,
    sa_handle: *mut SaHandle,
    num_packets: u32,
    in_packets: *mut Packet,
    out_packets: *mut Packet,
    resp: ResponseArgs,
) -> i32 {
    let jobs = Jobs::Multi { count: num_packets, input: in_packets, output: out_packets };
    let (direction, response) = (Direction::Inbound, &resp);
    // SAFETY: the header's contract.
    unsafe { PacketCall { direction, handle, flags, sa: sa_handle, jobs, response, results: ptr::null_mut() }.run() }
}

/// Another name of g_ipsec_la_packet_encap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_encap_packet(
    handle: *mut Handle,
    flags: ControlFlags,
    sa_handle: *mut SaHandle,
    num_sg_elem: u32,
    in_data: *mut Data,
    out_data: *mut Data,
    resp: ResponseArgs,
) -> i32 {
    // SAFETY: the same contract.
    unsafe { g_ipsec_la_packet_encap(handle, flags, sa_handle, num_sg_elem, in_data, out_data, resp) }
}

/// Another name of g_ipsec_la_packet_decap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_decap_packet(
    handle: *mut Handle,
    flags: ControlFlags,
    sa_handle: *mut SaHandle,
    num_sg_elem: u32,
    in_data: *mut Data,
    out_data: *mut Data,
    resp: ResponseArgs,
) -> i32 {
    // SAFETY: the same contract.
    unsafe { g_ipsec_la_packet_decap(handle, flags, sa_handle, num_sg_elem, in_data, out_data, resp) }
}
