//! UDP around ESP (RFC 3948 section 2.1).
//!
//! ```text
//!  |          Source Port          |      Destination Port         |
//!  |             Length            |           Checksum            |
//! ```

use crate::{Malformed, be16, checksum, length16};

/// Length of a UDP header.
pub const HEADER: usize = 8;

/// Checks that `datagram` (all that follows the IP headers) is one UDP datagram, and returns its payload's length.
/// RFC 3948 section 2.2: a receiver ignores the checksum of an ESP-in-UDP packet.
#[inline]
pub fn payload_len(datagram: &[u8]) -> Result<usize, Malformed> {
    if datagram.len() < HEADER {
        return Err(Malformed::Truncated);
    }
    let length = usize::from(be16(datagram, 4));
    if length < HEADER {
        return Err(Malformed::BadLength);
    }
    if length > datagram.len() {
        return Err(Malformed::Truncated);
    }
    Ok(length - HEADER)
}

/// Writes a header with checksum zero, as RFC 3948 section 2.1 asks for over IPv4; over IPv6 [`fill_checksum`] ends it.
/// `length` counts header and payload.
#[inline]
pub fn write(header: &mut [u8; HEADER], source: u16, destination: u16, length: usize) {
    header[0..2].copy_from_slice(&source.to_be_bytes());
    header[2..4].copy_from_slice(&destination.to_be_bytes());
    header[4..6].copy_from_slice(&length16(length).to_be_bytes());
    header[6..8].fill(0);
}

/// Computes the checksum over IPv6 (RFC 8200 section 8.1), where zero means "none" and most receivers drop that.
/// `packet` is the whole IPv6 packet, with its UDP datagram from `offset` to the end.
pub fn fill_checksum(packet: &mut [u8], offset: usize) {
    let Some((ip, datagram)) = packet.split_at_mut_checked(offset) else { return };
    if ip.len() < crate::ip::IPV6_HEADER || datagram.len() < HEADER {
        return;
    }
    datagram[6..8].fill(0);
    let pseudo = u32::from(length16(datagram.len())) + u32::from(crate::protocol::UDP);
    let sum = checksum::sum(datagram, checksum::sum(&ip[8..40], pseudo));
    let value = match checksum::finish(sum) {
        0 => 0xffff,
        other => other,
    };
    datagram[6..8].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_checksum_sums_to_zero() {
        for extra in [0usize, 1, 100, 1400] {
            let mut packet: Vec<u8> = (0..48 + extra).map(|i| u8::try_from(i % 251).unwrap()).collect();
            fill_checksum(&mut packet, 40);
            let pseudo = u32::try_from(8 + extra).unwrap() + 17;
            assert_eq!(checksum::finish(checksum::sum(&packet[8..], pseudo)), 0);
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut datagram = [0u8; 20];
        write(datagram.first_chunk_mut().unwrap(), 4500, 4501, 20);
        assert_eq!(datagram[..8], [0x11, 0x94, 0x11, 0x95, 0, 20, 0, 0]);
        assert_eq!(payload_len(&datagram), Ok(12));
        datagram[5] = 21;
        assert_eq!(payload_len(&datagram), Err(Malformed::Truncated));
        datagram[5] = 7;
        assert_eq!(payload_len(&datagram), Err(Malformed::BadLength));
        assert_eq!(payload_len(&datagram[..7]), Err(Malformed::Truncated));
    }
}
