//! Wrapped ESP, RFC 5840 section 2: a header in front of ESP that says whether the payload can be read on the way.
//!
//! ```text
//!  |  Next Header  |   HdrLen      |  TrailerLen   |V|V|E|P| Rsvd  |
//!  |                Padding (under IPv6 without UDP)               |
//! ```
//!
//! In UDP (section 2.1) the protocol identifier 2 stands in front of it, where ESP has its SPI. Under IPv6 it takes the place
//! of the padding; HdrLen is the true offset then, although section 2 also asks for a multiple of 8. None of this is covered by
//! the ICV, so that a receiver checks every field against its SA.

use crate::{Malformed, esp, ip::Family};

/// Length of the header without padding, of the padding, and of the protocol identifier.
const WORD: usize = 4;
/// The protocol identifier of WESP in UDP.
const IDENTIFIER: [u8; WORD] = [0, 0, 0, 2];
/// Both version bits; the version is 0.
const VERSION: u8 = 0b1100_0000;
/// The payload is encrypted.
const ENCRYPTED: u8 = 0b0010_0000;
/// The padding is there.
const PADDED: u8 = 0b0001_0000;
/// Sent as zero, ignored on receipt.
const RESERVED: u8 = 0b0000_1111;

/// How the packets of one SA are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// Whether ESP encrypts. The header then says nothing more about the payload.
    pub encrypted: bool,
    /// Bytes of IV in the packet.
    pub iv_len: usize,
    /// Bytes of ICV in the packet.
    pub icv_len: usize,
    /// Whether the packets are in UDP.
    pub in_udp: bool,
}

impl Wrapping {
    /// Bytes in front of ESP, behind a header of `family` or behind UDP.
    #[inline]
    pub fn len(&self, family: Family) -> usize {
        match (self.in_udp, family) {
            (false, Family::V4) => WORD,
            // The identifier, or the padding.
            (true, _) | (false, Family::V6) => 2 * WORD,
        }
    }

    /// The header without next header: what a receiver expects, too.
    fn header(&self, family: Family) -> [u8; WORD] {
        let padded = !self.in_udp && family == Family::V6;
        let flags = if self.encrypted { ENCRYPTED } else { 0 } | if padded { PADDED } else { 0 };
        if self.encrypted {
            return [0, 0, 0, flags];
        }
        let padding = if padded { WORD } else { 0 };
        // Both are far below 256: an IV has at most 16 bytes, an ICV 64.
        let lengths = [WORD + padding + esp::HEADER + self.iv_len, self.icv_len];
        let [header_len, trailer_len] = lengths.map(|length| u8::try_from(length).unwrap_or(u8::MAX));
        [0, header_len, trailer_len, flags]
    }

    /// Writes what stands in front of ESP into `front`, which has [`Wrapping::len`] bytes.
    #[inline]
    pub fn write(&self, family: Family, next_header: u8, front: &mut [u8]) {
        let mut header = self.header(family);
        if !self.encrypted {
            header[0] = next_header;
        }
        front.fill(0);
        let at = if self.in_udp { WORD } else { 0 };
        if self.in_udp {
            front[..WORD].copy_from_slice(&IDENTIFIER);
        }
        front[at..at + WORD].copy_from_slice(&header);
    }

    /// The gate: `bytes` begins where [`Wrapping::write`] writes. Every field must be what the SA says; the next header
    /// is returned, for comparison with that of the ESP trailer, unless the payload is encrypted.
    #[inline]
    pub fn parse(&self, family: Family, bytes: &[u8]) -> Result<Option<u8>, Malformed> {
        let front = bytes.get(..self.len(family)).ok_or(Malformed::Truncated)?;
        let at = if self.in_udp { WORD } else { 0 };
        if self.in_udp && front[..WORD] != IDENTIFIER {
            return Err(Malformed::OtherProtocol);
        }
        let expected = self.header(family);
        let header = &front[at..at + WORD];
        let flags_match = header[3] & !RESERVED == expected[3] && header[3] & VERSION == 0;
        if header[1..3] != expected[1..3] || !flags_match || self.encrypted && header[0] != 0 {
            return Err(Malformed::BadWrapping);
        }
        Ok((!self.encrypted).then_some(header[0]))
    }

    /// Never: a header has bytes.
    pub fn is_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const READABLE: Wrapping = Wrapping { encrypted: false, iv_len: 8, icv_len: 16, in_udp: false };

    #[test]
    fn the_header_is_that_of_rfc_5840() {
        let mut front = [0xee; 8];
        READABLE.write(Family::V4, 4, &mut front[..4]);
        assert_eq!(front, [4, 20, 16, 0, 0xee, 0xee, 0xee, 0xee]);
        READABLE.write(Family::V6, 41, &mut front);
        assert_eq!(front, [41, 24, 16, 0x10, 0, 0, 0, 0]);
        Wrapping { in_udp: true, ..READABLE }.write(Family::V6, 41, &mut front);
        assert_eq!(front, [0, 0, 0, 2, 41, 20, 16, 0]);
        Wrapping { encrypted: true, ..READABLE }.write(Family::V6, 41, &mut front);
        assert_eq!(front, [0, 0, 0, 0x30, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_bit_of_it_may_change(
            encrypted: bool, in_udp: bool, six: bool, iv_len in 0usize..17, icv_len in 0usize..65, next: u8, bit in 0usize..64
        ) {
            let wrapping = Wrapping { encrypted, iv_len, icv_len, in_udp };
            let family = if six { Family::V6 } else { Family::V4 };
            let mut front = vec![0; wrapping.len(family)];
            wrapping.write(family, next, &mut front);
            prop_assert_eq!(wrapping.parse(family, &front), Ok((!encrypted).then_some(next)));
            prop_assert_eq!(wrapping.parse(family, &front[1..]), Err(Malformed::Truncated));
            let at = if in_udp { 4 } else { 0 };
            let bit = bit % (front.len() * 8);
            front[bit / 8] ^= 1 << (bit % 8);
            let read = wrapping.parse(family, &front);
            match (bit / 8).wrapping_sub(at) {
                0 if !encrypted => prop_assert!(read.is_ok_and(|read| read != Some(next))),
                3 if bit % 8 < 4 => prop_assert!(read.is_ok()),
                0..4 => prop_assert_eq!(read, Err(Malformed::BadWrapping)),
                4..8 => prop_assert!(read.is_ok(), "padding is not looked at"),
                _ => prop_assert_eq!(read, Err(Malformed::OtherProtocol)),
            }
        }
    }
}
