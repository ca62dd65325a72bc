//! One packet's buffers, and what became of it.

use crate::PacketError;

/// How many packets one step of the engine takes; callers split larger batches.
pub const MAX_BATCH: usize = 64;

/// What became of a packet: how many bytes were written, or why none.
///
/// A dummy packet (RFC 4303 section 2.6) is decapsulated to 0 bytes.
pub type Verdict = Result<usize, PacketError>;

/// Where a packet is and where its result goes. Both begin at the IP header.
#[derive(Debug)]
pub enum Buffers<'a> {
    /// From one place to another.
    Apart {
        /// The packet; bytes after its IP length are ignored.
        input: &'a [u8],
        /// Room for the result.
        output: &'a mut [u8],
    },
    /// The result replaces the packet.
    InPlace {
        /// Holds the packet, and room for the result.
        buffer: &'a mut [u8],
        /// Bytes of `buffer` that hold the packet.
        length: usize,
        /// Bytes of `buffer` that the result may take.
        capacity: usize,
    },
}

impl Buffers<'_> {
    /// The packet.
    #[inline]
    pub fn input(&self) -> &[u8] {
        match self {
            Self::Apart { input, .. } => input,
            Self::InPlace { buffer, length, .. } => buffer.get(..*length).unwrap_or(buffer),
        }
    }

    /// Room for the result in bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        match self {
            Self::Apart { output, .. } => output.len(),
            Self::InPlace { buffer, capacity, .. } => (*capacity).min(buffer.len()),
        }
    }

    /// Room for the result.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let capacity = self.capacity();
        match self {
            Self::Apart { output, .. } => output,
            Self::InPlace { buffer, .. } => &mut buffer[..capacity],
        }
    }

    /// All of the memory that the result, or what is made on the way to it, lies in.
    pub(crate) fn whole(&mut self) -> &mut [u8] {
        match self {
            Self::Apart { output, .. } => output,
            Self::InPlace { buffer, .. } => buffer,
        }
    }

    /// Room for the result, with the packet's first `kept` bytes in it; both have as many.
    pub(crate) fn take_headers(&mut self, kept: usize) -> &mut [u8] {
        match self {
            Self::Apart { input, output } => {
                output[..kept].copy_from_slice(&input[..kept]);
                output
            }
            Self::InPlace { buffer, .. } => buffer,
        }
    }
}
