//! Packets for the tests.

use gipsec_kernels::gcm::GcmKey;

use super::*;

/// A packet of AES-GCM made by hand, as no SA makes them.
pub(super) struct Handmade<'a> {
    pub(super) number: u64,
    pub(super) payload: &'a [u8],
    pub(super) padding: &'a [u8],
    pub(super) next_header: u8,
    /// Of the outer header; its options are words of IPv4.
    pub(super) class: u8,
    pub(super) options: usize,
}

impl Handmade<'_> {
    pub(super) fn make(&self, case: &Case) -> Vec<u8> {
        let [high, low] = [self.number >> 32, self.number & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
        let (salt, key) = case.transform.cipher_key.split_at(4);
        let spi = 0x1234_5678u32.to_be_bytes();
        let iv = if case.transform.implicit_iv {
            [if case.extended { high } else { 0 }.to_be_bytes(), low.to_be_bytes()].concat()
        } else {
            self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec()
        };
        let nonce = [salt, &iv].concat().try_into().unwrap();
        let aad = if case.extended {
            [spi, high.to_be_bytes(), low.to_be_bytes()].concat()
        } else {
            [spi, low.to_be_bytes()].concat()
        };
        let pad_len = u8::try_from(self.padding.len()).unwrap();
        let mut body = [self.payload, self.padding, &[pad_len, self.next_header]].concat();
        let tag = GcmKey::new(key).unwrap().seal_in_place(&nonce, &aad, &mut body);
        let iv = if case.transform.implicit_iv { &[][..] } else { &iv };
        let esp = [&spi, &low.to_be_bytes(), iv, &body, &tag[..case.transform.icv_len.unwrap_or(16)]].concat();
        [self.outer(case, esp.len()), esp].concat()
    }

    pub(super) fn outer(&self, case: &Case, len: usize) -> Vec<u8> {
        match case.tunnel.unwrap() {
            Endpoints::V4 { source, destination } => {
                let header = 20 + 4 * self.options;
                let [high, low] = u16::try_from(header + len).unwrap().to_be_bytes();
                let first = 0x40 | u8::try_from(header / 4).unwrap();
                let fixed = [first, self.class, high, low, 0, 0, 0, 0, 64, protocol::ESP, 0, 0];
                [&fixed[..], &source.octets(), &destination.octets(), &vec![1; header - 20]].concat()
            }
            Endpoints::V6 { source, destination } => {
                let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
                let fixed = [0x60 | self.class >> 4, self.class << 4, 0, 0, high, low, protocol::ESP, 64];
                [&fixed[..], &source.octets(), &destination.octets()].concat()
            }
        }
    }
}

/// Padding of so many bytes.
pub(super) fn padding(len: u8) -> Vec<u8> {
    (1..=len).collect()
}

/// Damaged or not, what follows the IP header is ESP.
pub(super) fn name_esp(packet: &mut Vec<u8>) {
    packet.resize(packet.len().max(10), 0);
    let at = if packet[0] >> 4 == 4 { 9 } else { 6 };
    packet[at] = protocol::ESP;
}

/// An SA of AES-GCM in a tunnel.
pub(super) fn plain_case(six: bool, extended: bool, implicit_iv: bool, key: usize, icv_len: Option<usize>) -> Case {
    Case {
        transform: TransformCase {
            protocol: Protocol::Esp,
            algorithms: Algorithms::Combined(Combined::Gcm),
            icv_len,
            cipher_key: (0..).take(key + 4).collect(),
            integrity_key: Vec::new(),
            implicit_iv,
        },
        tunnel: Some(ends(six)),
        extended,
        udp: None,
        window: Some(64),
        start: if extended { (1 << 32) - 20 } else { 0 },
        packet: v4(100, 0),
        wrapped: false,
        flow_padding: FlowPadding::default(),
    }
}

/// A packet of so many bytes and a traffic class.
pub(super) fn v4(len: usize, class: u8) -> Vec<u8> {
    let mut packet = v4_header(0, class, len - 20);
    packet.resize(len, 0x5a);
    packet
}

pub(super) fn v6(len: usize, class: u8) -> Vec<u8> {
    let mut packet = v6_headers(0, class, len - 40);
    packet.resize(len, 0x5a);
    packet
}

/// All header there is: with 40 bytes of options.
pub(super) fn longest_header(class: u8) -> Vec<u8> {
    let mut packet = v4(60, class);
    packet[0] = 0x4f;
    packet
}

/// The packet of a case, encapsulated.
pub(super) fn outbound_copy(case: &Case) -> Vec<u8> {
    let room = case.packet.len() + 200;
    let outcome = copied(&outbound(case, &NO_LIMITS), &[(case.packet.clone(), room)], 0);
    outcome.rooms[0][..outcome.verdicts[0].unwrap()].to_vec()
}
