//! Which parts of an IP header AH does not protect (RFC 4302 section 3.3.3.1 and appendix A): fields that routers
//! change are taken as zero, and those that they change predictably as they will be at the destination.

use crate::{Malformed, ip::Family, ip::IPV4_HEADER, ip::IPV6_HEADER, protocol};

/// Readies a copy of the headers before AH for the integrity check. `headers` passed [`crate::ip::Header::parse`] and
/// [`crate::ip::Header::upper`] and ends where AH begins.
pub fn clear(headers: &mut [u8], family: Family) -> Result<(), Malformed> {
    match family {
        Family::V4 => clear_v4(headers),
        Family::V6 => clear_v6(headers),
    }
}

fn clear_v4(header: &mut [u8]) -> Result<(), Malformed> {
    let (fixed, options) = header.split_first_chunk_mut::<IPV4_HEADER>().ok_or(Malformed::Truncated)?;
    fixed[1] = 0; // DSCP and ECN
    fixed[6..9].fill(0); // flags, fragment offset, TTL
    fixed[10..12].fill(0); // checksum
    let mut rest = options;
    while let Some(&kind) = rest.first() {
        if kind == 0 {
            break; // end of options
        }
        if kind == 1 {
            rest = rest.split_at_mut(1).1; // no operation
            continue;
        }
        let length = usize::from(*rest.get(1).ok_or(Malformed::BadExtension)?);
        if length < 2 || length > rest.len() {
            return Err(Malformed::BadExtension);
        }
        let (option, after) = rest.split_at_mut(length);
        match kind {
            130 | 133 | 134 | 148 | 149 => {} // security, router alert, multi-destination: immutable
            131 | 137 => {
                // Source routes: the packet arrives with the last address of the list as its destination.
                if option.len() >= 7 && usize::from(option[2]) <= option.len() {
                    fixed[16..20].copy_from_slice(&option[option.len() - 4..]);
                }
                option.fill(0);
            }
            _ => option.fill(0),
        }
        rest = after;
    }
    Ok(())
}

fn clear_v6(headers: &mut [u8]) -> Result<(), Malformed> {
    let (fixed, mut rest) = headers.split_first_chunk_mut::<IPV6_HEADER>().ok_or(Malformed::Truncated)?;
    fixed[0] &= 0xf0; // traffic class
    fixed[1..4].fill(0); // and flow label
    fixed[7] = 0; // hop limit
    let mut kind = fixed[6];
    while !rest.is_empty() {
        let next = rest[0];
        let length = if kind == protocol::FRAGMENT { 8 } else { 8 + usize::from(*rest.get(1).unwrap_or(&0)) * 8 };
        if length > rest.len() {
            return Err(Malformed::BadExtension);
        }
        let (extension, after) = rest.split_at_mut(length);
        match kind {
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => clear_options(&mut extension[2..])?,
            protocol::ROUTING => arrive(extension, fixed)?,
            _ => {}
        }
        (kind, rest) = (next, after);
    }
    Ok(())
}

/// Zeroes the data of options whose third-highest bit says that it may change on the way (RFC 8200 section 4.2).
fn clear_options(mut options: &mut [u8]) -> Result<(), Malformed> {
    while let Some(&kind) = options.first() {
        if kind == 0 {
            options = options.split_at_mut(1).1; // Pad1
            continue;
        }
        let length = 2 + usize::from(*options.get(1).ok_or(Malformed::BadExtension)?);
        if length > options.len() {
            return Err(Malformed::BadExtension);
        }
        let (option, after) = options.split_at_mut(length);
        if kind & 0x20 != 0 {
            option[2..].fill(0);
        }
        options = after;
    }
    Ok(())
}

/// Routing headers of types 0 and 2, as they look at the final destination: the addresses moved up by one behind the
/// present destination, and none left.
fn arrive(extension: &mut [u8], fixed: &mut [u8; IPV6_HEADER]) -> Result<(), Malformed> {
    let left = usize::from(extension[3]);
    if left == 0 || !matches!(extension[2], 0 | 2) {
        return Ok(());
    }
    let addresses = &mut extension[8..];
    if !addresses.len().is_multiple_of(16) || left * 16 > addresses.len() {
        return Err(Malformed::BadExtension);
    }
    let start = addresses.len() - left * 16;
    let to_visit = &mut addresses[start..];
    to_visit.rotate_right(16);
    to_visit[..16].swap_with_slice(&mut fixed[24..40]);
    extension[3] = 0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ipv4_fields_and_options() {
        let mut header = vec![0x4a, 0xff, 0, 40, 1, 2, 0x40, 0, 64, 51, 7, 7, 10, 0, 0, 1, 10, 0, 0, 2];
        header.extend([148, 4, 0, 0]); // router alert stays
        header.extend([1, 131, 11, 4, 192, 0, 2, 1, 192, 0, 2, 9]); // loose source route, two addresses to go
        header.extend([7, 3, 4, 0]); // record route
        clear(&mut header, Family::V4).unwrap();
        assert_eq!(header[..16], [0x4a, 0, 0, 40, 1, 2, 0, 0, 0, 51, 0, 0, 10, 0, 0, 1]);
        assert_eq!(header[16..24], [192, 0, 2, 9, 148, 4, 0, 0]);
        assert_eq!(header[24..40], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn ipv6_fields_options_and_routes() {
        let mut headers = vec![0x6f, 0xff, 0xff, 0xff, 0, 99, 0, 64];
        headers.extend([1; 16]);
        headers.extend([2; 16]);
        headers.extend([43, 0, 0x3e, 1, 9, 0x1e, 1, 9]); // one option that may change, one that may not
        headers.extend([51, 4, 0, 2, 0, 0, 0, 0]);
        headers.extend([3; 16]);
        headers.extend([4; 16]);
        clear(&mut headers, Family::V6).unwrap();
        assert_eq!(headers[..8], [0x60, 0, 0, 0, 0, 99, 0, 0]);
        assert_eq!(headers[24..40], [4; 16]);
        assert_eq!(headers[40..48], [43, 0, 0x3e, 1, 0, 0x1e, 1, 9]);
        assert_eq!(headers[48..56], [51, 4, 0, 0, 0, 0, 0, 0]);
        assert_eq!(headers[56..72], [2; 16]);
        assert_eq!(headers[72..], [3; 16]);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..160), six: bool) {
            if let Some(first) = bytes.get_mut(6) {
                *first = [0, 43, 60, 44][usize::from(*first) % 4];
            }
            let _ = clear(&mut bytes, if six { Family::V6 } else { Family::V4 });
        }
    }
}
