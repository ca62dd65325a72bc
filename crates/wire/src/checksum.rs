//! The Internet checksum (RFC 1071).

/// Adds `bytes`, as big-endian 16-bit words (an odd last byte is padded with zero), to a running sum.
#[inline]
pub fn sum(bytes: &[u8], start: u32) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let mut total = u64::from(start);
    for word in &mut words {
        total += u64::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        total += u64::from(*last) << 8;
    }
    fold32(total)
}

/// Folds a 64-bit sum of 16-bit words so that more can be added.
#[inline]
fn fold32(mut total: u64) -> u32 {
    while total > 0xffff_ffff {
        total = (total & 0xffff_ffff) + (total >> 32);
    }
    u32::try_from(total).unwrap_or(u32::MAX)
}

/// Ends a running sum: what goes into the checksum field, host order.
#[inline]
pub fn finish(mut total: u32) -> u16 {
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    !u16::try_from(total & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(sum(&bytes, 0)), !0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_half() {
        assert_eq!(sum(&[0x12], 0), 0x1200);
        assert_eq!(finish(sum(&[0xff; 65_535], 0)), !0xff00);
    }
}
