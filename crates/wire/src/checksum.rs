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

/// Corrects a checksum, host order, for `before` having become `after` in what it covers (RFC 1624 section 3). Both are a
/// whole number of 16-bit words.
pub fn correct(checksum: u16, before: &[u8], after: &[u8]) -> u16 {
    let without = sum(after, u32::from(!checksum));
    let inverted = before.as_chunks::<2>().0.iter().map(|word| u32::from(!u16::from_be_bytes(*word))).sum::<u32>();
    finish(without + inverted)
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
    fn a_corrected_checksum_is_that_of_the_changed_bytes() {
        let mut bytes: Vec<u8> = (0..200u16).map(|at| at.to_be_bytes()[1].wrapping_mul(37)).collect();
        let before: [u8; 16] = bytes[8..24].try_into().unwrap();
        let old = finish(sum(&bytes, 0));
        for byte in 0..=255 {
            let after = [byte; 16];
            bytes[8..24].copy_from_slice(&after);
            assert_eq!(correct(old, &before, &after), finish(sum(&bytes, 0)));
        }
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_half() {
        assert_eq!(sum(&[0x12], 0), 0x1200);
        assert_eq!(finish(sum(&[0xff; 65_535], 0)), !0xff00);
    }
}
