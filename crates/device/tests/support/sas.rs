//! SAs and packets.

use std::{net::Ipv4Addr, num::NonZeroU32};

use gipsec_engine::{
    Algorithms, Attributes, Buffers, BundleEntry, Cipher, Combined, Direction, Endpoints, InboundRules, Integrity,
    Intervals, Keys, Lifetime, Mode, Notify, OutboundRules, Protocol, Rules, Sa, Verdict,
};
use gipsec_virtio::message::control::Command;

use super::{Driver, queue_of};

/// An SA's entry: AES-GCM-128 in tunnel mode, with this number as SPI and key.
pub(crate) fn entry(direction: Direction, number: u32) -> BundleEntry {
    attributes(direction, number, |_| ())
}

pub(crate) fn attributes(direction: Direction, number: u32, change: impl FnOnce(&mut Attributes)) -> BundleEntry {
    let [a, b, c, d] = number.to_be_bytes();
    let keys = Keys { cipher: [a, b, c, d].repeat(5).into(), integrity: Vec::new().into() };
    let tunnel = Endpoints::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(192, 0, 2, 2) };
    let mut attributes = Attributes {
        spi: NonZeroU32::new(number).unwrap(),
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Tunnel(tunnel),
        algorithms: Algorithms::Combined(Combined::Gcm),
        key_lengths: keys.lengths(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        intervals: Intervals::default(),
        rules: match direction {
            Direction::Inbound => Rules::Inbound(InboundRules { replay_window: Some(64), ..InboundRules::default() }),
            Direction::Outbound => Rules::Outbound(OutboundRules::default()),
        },
    };
    change(&mut attributes);
    BundleEntry { parameters: attributes.into(), keys }
}

/// The same with AES-CBC and HMAC-SHA1, whose packets go abreast.
pub(crate) fn cbc_entry(direction: Direction, number: u32) -> BundleEntry {
    let keys = Keys { cipher: vec![7; 16].into(), integrity: vec![8; 20].into() };
    let lengths = keys.lengths();
    let mut entry = attributes(direction, number, |attributes| {
        attributes.algorithms = Algorithms::Separate { cipher: Cipher::AesCbc, integrity: Integrity::HmacSha1 };
        attributes.key_lengths = lengths;
    });
    entry.keys = keys;
    entry
}

/// An IPv4 packet of `length` bytes.
pub(crate) fn packet(length: usize, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; length];
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    packet[..20].copy_from_slice(&[0x45, 0, high, low, 0, 0, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// What an SA here makes of a packet.
pub(crate) fn process(sa: &Sa, packet: &[u8]) -> Result<Vec<u8>, gipsec_engine::PacketError> {
    let mut output = vec![0; packet.len() + 256];
    let mut verdict: [Verdict; 1] = [Ok(0)];
    sa.process(&mut [Buffers::Apart { input: packet, output: &mut output }], &mut verdict);
    let [verdict] = verdict;
    verdict.map(|length| {
        output.truncate(length);
        output
    })
}

/// An SA here.
pub(crate) fn local(direction: Direction, number: u32) -> Box<Sa> {
    Sa::new(vec![entry(direction, number)]).unwrap()
}

impl Driver {
    /// Adds an SA; its number.
    pub(crate) fn add(&mut self, direction: Direction, number: u32, group: u32) -> u64 {
        self.add_entry(direction, entry(direction, number), group)
    }

    pub(crate) fn add_entry(&mut self, direction: Direction, entry: BundleEntry, group: u32) -> u64 {
        let answer = self.command(&Command::SaAdd { direction, entries: vec![entry] }, group).unwrap();
        let sa = u64::from_le_bytes(answer.try_into().unwrap());
        assert_ne!(sa, 0);
        sa
    }

    /// Packets through an outbound SA of the device and one here, and back.
    pub(crate) fn round_trip(&mut self, number: u32, count: u8) {
        let (outbound, inbound) = (self.add(Direction::Outbound, number, 0), self.add(Direction::Inbound, number, 0));
        let here = local(Direction::Inbound, number);
        let plain: Vec<Vec<u8>> = (0..count).map(|fill| packet(100 + 20 * usize::from(fill), fill)).collect();
        let requests: Vec<(u64, &[u8])> = plain.iter().map(|packet| (outbound, &packet[..])).collect();
        let sealed = self.packets(queue_of(Direction::Outbound), &requests, 8192).unwrap();
        for ((status, sealed), plain) in sealed.iter().zip(&plain) {
            assert_eq!(*status, 0);
            assert_eq!(process(&here, sealed).as_ref(), Ok(plain));
        }
        let requests: Vec<(u64, &[u8])> = sealed.iter().map(|(_, packet)| (inbound, &packet[..])).collect();
        let opened = self.packets(queue_of(Direction::Inbound), &requests, 8192).unwrap();
        assert_eq!(opened.len(), plain.len());
        for ((status, opened), plain) in opened.iter().zip(&plain) {
            assert_eq!((*status, opened), (0, plain));
        }
        for sa in [outbound, inbound] {
            self.command(&Command::SaDelete(sa), 0).unwrap();
        }
    }
}
