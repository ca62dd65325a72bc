use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
};

use gipsec_engine::*;
use proptest::prelude::*;
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

use super::*;
use crate::message::{control::Command, reading};

fn esp(direction: Direction) -> Attributes {
    Attributes {
        spi: NonZeroU32::new(0x1234_5678).unwrap(),
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Tunnel(Endpoints::V4 { source: [192, 0, 2, 1].into(), destination: [192, 0, 2, 2].into() }),
        algorithms: Algorithms::Combined(Combined::Gcm),
        key_lengths: KeyLengths { cipher: 20, integrity: 0 },
        icv_len: Some(12),
        implicit_iv: true,
        extended_sequence: true,
        udp: Some(Ports { source: 4500, destination: 4501 }),
        lifetime: Lifetime { soft_kilobytes: NonZeroU32::new(5), hard_kilobytes: NonZeroU32::new(6) },
        notify: Notify { soft_lifetime: true, sequence_overflow: true, sequence_periodic: true },
        intervals: Intervals { overflow_margin: 77, periodic: 88 },
        rules: match direction {
            Direction::Outbound => Rules::Outbound(OutboundRules {
                dscp: DscpRule::Set(46),
                df: DfRule::Set,
                ecn: true,
                first_iv: Some(vec![9; 8]),
                copy_flow_label: true,
                flow_padding: FlowPadding { to: 100, multiple: 64 },
            }),
            Direction::Inbound => Rules::Inbound(InboundRules {
                propagate_ecn: true,
                replay_window: Some(1024),
                check_outer: true,
                peer_original: Some("2001:db8::7".parse().unwrap()),
            }),
        },
    }
}

fn entry(parameters: Parameters) -> BundleEntry {
    BundleEntry { parameters, keys: Keys { cipher: Zeroizing::new((0..20).collect()), ..Keys::default() } }
}

/// There and back, with every field that a debug print shows.
fn comes_back(direction: Direction, given: BundleEntry) {
    let text = format!("{:?}", given.parameters);
    let keys = (given.keys.cipher.clone(), given.keys.integrity.clone());
    let message = Command::SaAdd { direction, entries: vec![given] }.encode(7).unwrap();
    let Ok((Command::SaAdd { direction: came, mut entries }, 7)) = Command::decode(&message) else {
        panic!("not an SA_ADD of group 7");
    };
    let back = entries.pop().unwrap();
    assert_eq!((came, entries.len()), (direction, 0));
    assert_eq!(format!("{:?}", back.parameters), text);
    assert_eq!((back.keys.cipher, back.keys.integrity), keys);
}

#[test]
fn every_field_comes_back() {
    for direction in [Direction::Inbound, Direction::Outbound] {
        comes_back(direction, entry(esp(direction).into()));
        let rules = match direction {
            Direction::Inbound => Rules::Inbound(InboundRules::default()),
            Direction::Outbound => Rules::Outbound(OutboundRules::default()),
        };
        let plain = Attributes {
            protocol: Protocol::Ah,
            mode: Mode::Transport,
            algorithms: Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::HmacSha256 },
            udp: None,
            icv_len: None,
            rules: rules.clone(),
            ..esp(direction)
        };
        comes_back(direction, entry(plain.into()));
        let compression = Compression {
            algorithm: CompressionAlgorithm::Lzs,
            cpi: NonZeroU16::new(4).unwrap(),
            mode: Mode::Tunnel(Endpoints::V6 {
                source: "2001:db8::1".parse().unwrap(),
                destination: "2001:db8::2".parse().unwrap(),
            }),
            lifetime: Lifetime::default(),
            notify: Notify::default(),
            rules,
        };
        comes_back(direction, BundleEntry { parameters: compression.into(), keys: Keys::default() });
    }
}

#[test]
fn the_offsets_are_the_documents() {
    let of =
        |attributes: Attributes| EntryRecord::of(&attributes.into(), KeyLengths { cipher: 20, integrity: 3 }).unwrap();
    let record = of(esp(Direction::Outbound));
    let bytes = record.as_bytes();
    assert_eq!(bytes[..8], [50, 2, 0, 0, 2, 0, 12, 0]);
    assert_eq!(bytes[8..12], 0x1234_5678u32.to_le_bytes());
    assert_eq!(bytes[12..16], 0b111_1100_0111u32.to_le_bytes());
    assert_eq!(bytes[16..28], [20, 0, 3, 0, 0x94, 0x11, 0x95, 0x11, 3, 46, 3, 4]);
    assert_eq!((&bytes[28..32], &bytes[44..48]), (&[192u8, 0, 2, 1][..], &[192u8, 0, 2, 2][..]));
    assert_eq!((&bytes[84..88], &bytes[88..92]), (&[5u8, 0, 0, 0][..], &[6u8, 0, 0, 0][..]));
    assert_eq!(bytes[92..96], [100, 0, 64, 0]);
    assert_eq!((bytes[96], bytes[104]), (77, 88));
    let record = of(esp(Direction::Inbound));
    let bytes = record.as_bytes();
    assert_eq!(bytes[12..16], 0b111_0011_1111u32.to_le_bytes());
    assert_eq!(bytes[60], 6);
    assert_eq!(bytes[64..80], "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(bytes[80..84], 1024u32.to_le_bytes());
}

#[test]
fn changes_come_back() {
    let address: IpAddr = "2001:db8::9".parse().unwrap();
    for change in [
        Change::Local { address, port: Some(0) },
        Change::Peer { address: [192, 0, 2, 9].into(), port: None },
        Change::Replay { window: Some(64), sequence: None },
        Change::Replay { window: None, sequence: Some((1 << 40, 0x8000_0001)) },
    ] {
        let message = Command::SaModify(5, change).encode(0).unwrap();
        let Ok((Command::SaModify(5, back), 0)) = Command::decode(&message) else { panic!("not an SA_MODIFY") };
        assert_eq!(back, change);
    }
}

#[test]
fn readings_come_back() {
    let mut drops = [0; DropReason::ALL.len()];
    drops[DropReason::Late as usize] = 3;
    let attributes = Attributes { rules: Rules::Outbound(OutboundRules::default()), ..esp(Direction::Outbound) };
    let given = Reading { parameters: attributes.into(), statistics: Statistics::new(1, 2, &drops), drops };
    let mut message = Vec::new();
    reading::encode(9, Direction::Outbound, &[given.clone(), given.clone()], &mut message).unwrap();
    let read = reading::decode(&mut &message[..]).unwrap();
    assert_eq!((read.sa, read.direction), (9, Direction::Outbound));
    assert_eq!(format!("{:?}", read.entries), format!("{:?}", [given.clone(), given]));
    assert!((0..message.len()).all(|cut| reading::decode(&mut &message[..cut]).is_err()));
}

proptest! {
    /// No bytes make it panic, and what is understood is written again as it was.
    #[test]
    fn any_bytes_are_refused_or_mean_one_thing(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), command in 0u16..0x20a) {
        let body = bytes.len().saturating_sub(16);
        if bytes.len() >= 16 {
            bytes[..4].copy_from_slice(&[command.to_le_bytes(), [0; 2]].concat());
            bytes[4..8].copy_from_slice(&u32::try_from(body).unwrap().to_le_bytes());
            bytes[12..16].fill(0);
        }
        if let Ok((command, group)) = Command::decode(&bytes) {
            prop_assert_eq!(&**command.encode(group).unwrap(), &bytes[..]);
        }
    }

    #[test]
    fn a_changed_byte_of_an_sa_is_refused_or_means_another_thing(at in 24usize..172, bit in 0u8..8) {
        let message = Command::SaAdd { direction: Direction::Outbound, entries: vec![entry(esp(Direction::Outbound).into())] };
        let mut message = message.encode(0).unwrap().to_vec();
        message[at] ^= 1 << bit;
        if let Ok((command, group)) = Command::decode(&message) {
            prop_assert_eq!(&**command.encode(group).unwrap(), &message[..]);
        }
    }
}
