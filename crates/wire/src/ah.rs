//! AH, RFC 4302 section 2.
//!
//! ```text
//!  | Next Header   |  Payload Len  |          RESERVED             |
//!  |                 Security Parameters Index (SPI)               |
//!  |                    Sequence Number Field                      |
//!  |                Integrity Check Value-ICV (variable)           |
//! ```
//!
//! Payload Len counts 32-bit words less two. The header is a multiple of 8 bytes under IPv6 and of 4 under IPv4; GMAC
//! (RFC 4543 section 4) puts its 8-byte IV before the ICV.

use crate::{Malformed, be16, be32, ip::Family};

/// The fields before IV and ICV.
pub const HEADER: usize = 12;

/// The fixed fields of an authentication header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Protocol of what follows.
    pub next_header: u8,
    /// Length of the whole header in bytes.
    pub len: usize,
    /// Security Parameters Index, host order.
    pub spi: u32,
    /// Low 32 bits of the sequence number, host order.
    pub sequence: u32,
}

/// Length in bytes of a header whose IV and ICV take `variable` bytes, with the padding that `family` asks for.
#[inline]
pub fn header_len(variable: usize, family: Family) -> usize {
    match family {
        Family::V4 => (HEADER + variable).next_multiple_of(4),
        Family::V6 => (HEADER + variable).next_multiple_of(8),
    }
}

impl Header {
    /// The gate: `bytes` begins at the next header field. RESERVED must be zero (RFC 4302 section 2.3).
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let fixed: &[u8; HEADER] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        let len = (usize::from(fixed[1]) + 2) * 4;
        if len < HEADER || be16(fixed, 2) != 0 {
            return Err(Malformed::BadLength);
        }
        if len > bytes.len() {
            return Err(Malformed::Truncated);
        }
        Ok(Self { next_header: fixed[0], len, spi: be32(fixed, 4), sequence: be32(fixed, 8) })
    }

    /// Writes the fixed fields; `len` is a multiple of 4, at most 1028.
    #[inline]
    pub fn write(self, bytes: &mut [u8; HEADER]) {
        bytes[0] = self.next_header;
        bytes[1] = u8::try_from((self.len / 4).saturating_sub(2)).unwrap_or(u8::MAX);
        bytes[2..4].fill(0);
        bytes[4..8].copy_from_slice(&self.spi.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(next_header: u8, variable in 0usize..80, spi: u32, sequence: u32, six: bool) {
            let len = header_len(variable, if six { Family::V6 } else { Family::V4 });
            let header = Header { next_header, len, spi, sequence };
            let mut bytes = vec![0xee; len];
            header.write(bytes.first_chunk_mut().unwrap());
            prop_assert_eq!(Header::parse(&bytes), Ok(header));
            prop_assert_eq!(Header::parse(&bytes[..len - 1]), Err(Malformed::Truncated));
        }
    }
}
