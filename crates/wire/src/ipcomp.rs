//! IP payload compression, RFC 3173 section 3.3.
//!
//! ```text
//!  |  Next Header  |     Flags     | Compression Parameter Index   |
//! ```

use crate::{Malformed, be16};

/// Length of the header.
pub const HEADER: usize = 4;

/// The header of a compressed payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Protocol of what was compressed.
    pub next_header: u8,
    /// Compression Parameter Index, host order.
    pub cpi: u16,
}

impl Header {
    /// The gate: `bytes` begins at the next header field. Flags are ignored, as RFC 3173 section 3.3 asks of receivers.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; HEADER] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        Ok(Self { next_header: bytes[0], cpi: be16(bytes, 2) })
    }

    /// Writes the header.
    #[inline]
    pub fn write(self, bytes: &mut [u8; HEADER]) {
        bytes[0] = self.next_header;
        bytes[1] = 0;
        bytes[2..].copy_from_slice(&self.cpi.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = Header { next_header: 17, cpi: 0xfe02 };
        let mut bytes = [0xff; HEADER];
        header.write(&mut bytes);
        assert_eq!(bytes, [17, 0, 0xfe, 2]);
        bytes[1] = 0x80;
        assert_eq!(Header::parse(&bytes), Ok(header));
        assert_eq!(Header::parse(&bytes[..3]), Err(Malformed::Truncated));
    }
}
