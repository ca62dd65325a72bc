//! ESP, RFC 4303 section 2.
//!
//! ```text
//!  |               Security Parameters Index (SPI)                 | ^
//!  |                      Sequence Number                          | |ICV
//!  |                    IV (variable, may be none)                 | |covers
//!  |                    Payload Data (variable)                    | |^
//!  |               |     Padding (0-255 bytes)                     | ||encrypted
//!  |                               |  Pad Length   | Next Header   | vv
//!  |         Integrity Check Value-ICV   (variable)                |
//! ```

use crate::{Malformed, be32};

/// SPI and sequence number.
pub const HEADER: usize = 8;
/// Pad length and next header.
pub const TRAILER: usize = 2;

/// SPI and sequence number of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Security Parameters Index, host order.
    pub spi: u32,
    /// Low 32 bits of the sequence number, host order.
    pub sequence: u32,
}

impl Header {
    /// The gate: `bytes` begins at the SPI.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; HEADER] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        Ok(Self { spi: be32(bytes, 0), sequence: be32(bytes, 4) })
    }

    /// Writes both fields.
    #[inline]
    pub fn write(self, bytes: &mut [u8; HEADER]) {
        // In one store: it is read back in one load.
        *bytes = (u64::from(self.spi) << 32 | u64::from(self.sequence)).to_be_bytes();
    }
}

/// How many bytes of padding bring payload and trailer to a multiple of `alignment` (a power of two, 4 to 16).
#[inline]
pub fn pad_len(payload: usize, alignment: usize) -> usize {
    debug_assert!(alignment.is_power_of_two());
    (payload + TRAILER).wrapping_neg() & (alignment - 1)
}

/// Padding bytes 1, 2, 3, ... (RFC 4303 section 2.4).
const PADDING: [u8; 255] = {
    let mut bytes = [0; 255];
    let mut i = 0;
    while i < 255 {
        bytes[i as usize] = i + 1;
        i += 1;
    }
    bytes
};
const PADDING_START: [u8; 16] = *PADDING.first_chunk().unwrap();
const SHORT_PADDING: u64 = u64::from_le_bytes(*PADDING.first_chunk().unwrap());

/// Writes padding, pad length and next header into the first `len` bytes of `room`, 2 to 257; what follows them may be
/// overwritten, too.
#[inline]
pub fn write_trailer(room: &mut [u8], len: usize, next_header: u8) {
    let pad_len = len.saturating_sub(TRAILER);
    match room.first_chunk_mut::<16>() {
        // Usually, and without a copy of variable length.
        Some(start) if pad_len <= 16 => *start = PADDING_START,
        _ => room[..pad_len].copy_from_slice(&PADDING[..pad_len]),
    }
    if let Some(tail) = room.get_mut(pad_len..).and_then(|rest| rest.first_chunk_mut()) {
        *tail = [u8::try_from(pad_len).unwrap_or(u8::MAX), next_header];
    }
}

/// Bytes of [`short_trailer`].
pub const SHORT_TRAILER: usize = 8;

/// The same trailer, of `len` bytes, 2 to [`SHORT_TRAILER`]; zeros follow.
#[inline]
pub fn short_trailer(len: usize, next_header: u8) -> [u8; SHORT_TRAILER] {
    debug_assert!((TRAILER..=SHORT_TRAILER).contains(&len));
    let pad_len = len.saturating_sub(TRAILER).min(SHORT_TRAILER - TRAILER);
    let bits = 8 * pad_len;
    let padding = SHORT_PADDING & !(u64::MAX << bits);
    (padding | (pad_len as u64) << bits | u64::from(next_header) << bits << 8).to_le_bytes()
}

/// What the end of a decrypted payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Protocol of the payload.
    pub next_header: u8,
    /// Bytes of payload before the padding.
    pub payload_len: usize,
}

impl Trailer {
    /// Reads and checks padding (RFC 4303 section 2.4: the receiver should inspect it) and trailer of a decrypted
    /// payload.
    #[inline(always)]
    pub fn parse(plaintext: &[u8]) -> Result<Self, BadPadding> {
        let (body, tail) = plaintext.split_last_chunk::<TRAILER>().ok_or(BadPadding)?;
        let pad_len = usize::from(tail[0]);
        let payload_len = body.len().checked_sub(pad_len).ok_or(BadPadding)?;
        if !ends_in_padding(body, tail[0]) {
            return Err(BadPadding);
        }
        Ok(Self { next_header: tail[1], payload_len })
    }
}

/// Whether `body`, which is that long, ends in `pad_len` bytes of padding. Usually it has at most 16, and its end can be
/// looked at in one or two words.
#[inline(always)]
fn ends_in_padding(body: &[u8], pad_len: u8) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // The last 8 bytes before `padded` more ones.
    let word = |padded: usize| body.len().checked_sub(padded).and_then(|end| body[..end].last_chunk());
    match (pad_len, word(0), word(8)) {
        (0..=8, Some(end), _) => is_short_padding(*end, pad_len),
        (9..=16, Some(end), Some(before)) => {
            // They count on from where those before them end.
            u64::from_le_bytes(*end) == SHORT_PADDING + ONES * u64::from(pad_len - 8)
                && is_short_padding(*before, pad_len - 8)
        }
        _ => {
            let pad_len = usize::from(pad_len);
            body[body.len() - pad_len..] == PADDING[..pad_len]
        }
    }
}

/// Whether the last `pad_len` of 8 bytes are padding.
#[inline(always)]
fn is_short_padding(end: [u8; 8], pad_len: u8) -> bool {
    // Half of the bits that are not padding; shifted twice, because all 64 may be.
    let half = 4 * (8 - u32::from(pad_len));
    (u64::from_le_bytes(end) ^ (SHORT_PADDING << half << half)) >> half >> half == 0
}

/// The padding of a decrypted payload is not 1, 2, 3, ..., or longer than the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPadding;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            payload in proptest::collection::vec(any::<u8>(), 0..64), pad_len in 0usize..256, behind in 0usize..20, next: u8,
        ) {
            if pad_len <= SHORT_TRAILER - TRAILER {
                let mut trailer = [0; 32];
                write_trailer(&mut trailer, pad_len + TRAILER, next);
                prop_assert_eq!(&short_trailer(pad_len + TRAILER, next)[..pad_len + TRAILER], &trailer[..pad_len + TRAILER]);
            }
            let mut bytes = payload.clone();
            let end = payload.len() + pad_len + TRAILER;
            bytes.resize(end + behind, 0xee);
            write_trailer(&mut bytes[payload.len()..], pad_len + TRAILER, next);
            prop_assert_eq!(&bytes[..payload.len()], &payload[..]);
            let written = Ok(Trailer { next_header: next, payload_len: payload.len() });
            prop_assert_eq!(Trailer::parse(&bytes[..end]), written);
            for at in payload.len()..end - 2 {
                let mut changed = bytes[..end].to_vec();
                changed[at] ^= 0x80;
                prop_assert_eq!(Trailer::parse(&changed), Err(BadPadding));
            }
        }

        #[test]
        fn padding_aligns(payload in 0usize..9000, shift in 2u32..5) {
            let pad_len = pad_len(payload, 1 << shift);
            prop_assert!(pad_len < 1 << shift && (payload + pad_len + TRAILER).is_multiple_of(1 << shift));
        }

        #[test]
        fn any_bytes_are_a_trailer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(trailer) = Trailer::parse(&bytes) {
                prop_assert!(trailer.payload_len + TRAILER <= bytes.len());
            }
        }
    }

    #[test]
    fn wrong_padding_is_refused() {
        assert!(Trailer::parse(&[1, 2, 2, 4]).is_ok());
        assert_eq!(Trailer::parse(&[1, 3, 2, 4]), Err(BadPadding));
        assert_eq!(Trailer::parse(&[1, 2, 3, 4]), Err(BadPadding));
        assert_eq!(Trailer::parse(&[4]), Err(BadPadding));
    }
}
