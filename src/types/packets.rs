//! Packets in pieces.

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
