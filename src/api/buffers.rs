//! Memory for packets that an accelerator reaches without copying them (R35).

use std::{collections::BTreeMap, sync::Mutex};

use gipsec_accelerator::{Error, SharedBuffer};

use crate::{
    guard::guarded,
    pointers::{not_null, required},
    process::registry,
    types::Handle,
};

/// Bytes of a buffer at most.
const MAX_BUFFER: u32 = 1 << 30;

/// What a buffer is made of.
enum Buffer {
    /// Of a device's memory; the rest is given back by dropping it.
    Device { _memory: SharedBuffer },
    /// Of ours.
    Own { _memory: Box<[u64]> },
}

/// All buffers, by address: one that is not here was never given out, or was given back.
static BUFFERS: Mutex<BTreeMap<usize, Buffer>> = Mutex::new(BTreeMap::new());

/// Allocates `size` bytes, 1 to 2^30, for packets, and writes their address, a multiple of 8, to `buffer`. Packets in it, and
/// results for it, reach a device that `handle` has open without being copied; with the software accelerator it is memory
/// like any other. It can be used with every handle, stays valid when the handle is closed or its device is lost, and is
/// given back with g_ipsec_la_ext_buffer_free. Its bytes are zero at first. The device can read and write it at any time: it
/// is for packets. When the memory that is shared with the device is used up, the buffer is memory like any other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_buffer_alloc(handle: *mut Handle, size: u32, buffer: *mut *mut u8) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let (handle, buffer) = (unsafe { required(handle) }?, not_null(buffer)?);
        if !(1..=MAX_BUFFER).contains(&size) {
            return Err(Error::Invalid("a buffer has 1 to 2^30 bytes"));
        }
        let len = size as usize;
        let shared = registry().group(handle.client()?, handle.group()?)?.accelerator().allocate(len);
        let (start, made) = match shared {
            Some(memory) => (memory.start(), Buffer::Device { _memory: memory }),
            None => {
                let mut memory = Vec::new();
                memory.try_reserve_exact(len.div_ceil(8)).map_err(|_| Error::Full("memory"))?;
                memory.resize(len.div_ceil(8), 0u64);
                let mut memory = memory.into_boxed_slice();
                (memory.as_mut_ptr().cast(), Buffer::Own { _memory: memory })
            }
        };
        BUFFERS.lock().map_err(|_| Error::Defect)?.insert(start.addr(), made);
        // SAFETY: not NULL, and valid by the header's contract.
        unsafe { buffer.write_unaligned(start) };
        Ok(0)
    })
}

/// Gives a buffer of g_ipsec_la_ext_buffer_alloc back; NULL is none. No call may be using it. -EINVAL: it is not one, or was
/// given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_ext_buffer_free(buffer: *mut u8) -> i32 {
    guarded(|| {
        if buffer.is_null() {
            return Ok(0);
        }
        let freed = BUFFERS.lock().map_err(|_| Error::Defect)?.remove(&buffer.addr());
        freed.map(|_| 0).ok_or(Error::Invalid("no such buffer, or it was given back"))
    })
}
