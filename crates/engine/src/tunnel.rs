//! What a tunnel does to the fields of the IP headers around it (RFC 4301 section 5.1.2, RFC 6040; R28).

use gipsec_wire::{
    checksum,
    ip::{Family, Header},
};

use crate::{DfRule, DscpRule, OutboundRules, PacketError};

/// The two ECN bits.
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// Traffic class of the outer header.
#[inline]
pub(crate) fn traffic_class(rules: &OutboundRules, inner: &Header) -> u8 {
    let dscp = match rules.dscp {
        DscpRule::Copy => inner.traffic_class() & !ECN,
        DscpRule::Clear => 0,
        DscpRule::Set(dscp) => dscp << 2,
    };
    // RFC 6040 section 4.1, normal mode: copied.
    dscp | if rules.ecn { inner.traffic_class() & ECN } else { NOT_ECT }
}

/// DF bit of the outer header.
#[inline]
pub(crate) fn dont_fragment(rules: &OutboundRules, inner: &Header) -> bool {
    match rules.df {
        DfRule::Copy => inner.dont_fragment(),
        DfRule::Clear => false,
        DfRule::Set => true,
    }
}

/// Traffic class that the inner packet takes from an outer header with the traffic class `outer` (RFC 6040 section
/// 4.2); None where it stays as it is.
pub(crate) fn propagate_ecn(outer: u8, inner: &Header) -> Result<Option<u8>, PacketError> {
    let ecn = match (inner.traffic_class() & ECN, outer & ECN) {
        (NOT_ECT, CE) => return Err(PacketError::Congestion),
        (NOT_ECT, _) => return Ok(None),
        (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        _ => return Ok(None),
    };
    Ok(Some(inner.traffic_class() & !ECN | ecn))
}

/// Writes a traffic class into a packet of `len` bytes that passed [`Header::parse_front`].
pub(crate) fn set_traffic_class(packet: &mut [u8], len: usize, traffic_class: u8) {
    match Header::parse_front(packet, len) {
        Ok(header) if header.family() == Family::V4 => {
            packet[1] = traffic_class;
            packet[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(&packet[..header.header_len()], 0));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Ok(_) => {
            packet[0] = packet[0] & 0xf0 | traffic_class >> 4;
            packet[1] = packet[1] & 0x0f | traffic_class << 4;
        }
        Err(_) => {} // not reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040 figure 4; None is "drop". Rows: inner; columns: outer Not-ECT, ECT(0), ECT(1), CE.
    const FIGURE_4: [(u8, [Option<u8>; 4]); 4] = [
        (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
        (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
        (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ];

    #[test]
    fn figure_4_of_rfc_6040_for_both_families() {
        for (inner_ecn, row) in FIGURE_4 {
            for (outer, expected) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
                let class = 0xa8 | inner_ecn;
                let mut v4 = vec![0x45, class, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
                let sum = checksum::finish(checksum::sum(&v4, 0));
                v4[10..12].copy_from_slice(&sum.to_be_bytes());
                let mut v6 = vec![0x60 | class >> 4, class << 4 | 0x0f];
                v6.resize(40, 0);
                for mut packet in [v4, v6] {
                    let header = Header::parse(&packet).unwrap();
                    let result = propagate_ecn(0xfc | outer, &header);
                    assert_eq!(result.is_ok(), expected.is_some());
                    if let Some(expected) = expected {
                        if let Ok(Some(class)) = result {
                            let len = packet.len();
                            set_traffic_class(&mut packet, len, class);
                        }
                        let after = Header::parse(&packet).unwrap();
                        assert_eq!(after.traffic_class(), 0xa8 | expected);
                        if after.family() == Family::V4 {
                            assert_eq!(checksum::finish(checksum::sum(&packet, 0)), 0);
                        } else {
                            assert_eq!(packet[1] & 0x0f, 0x0f);
                        }
                    }
                }
            }
        }
    }
}
