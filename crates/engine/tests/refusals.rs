//! What is refused late leaves things as they should be: room that is too small in place, authentic packets that are no
//! good, ends that move at once.

use std::{net::Ipv4Addr, num::NonZeroU32, thread};

use gipsec_engine::{
    Algorithms, Attributes, Buffers, Change, Cipher, Endpoints, Inbound, InboundRules, Integrity, Intervals,
    KeyLengths, Keys, Lifetime, Mode, Notify, Outbound, OutboundRules, PacketError, Protocol, Rules,
};
use gipsec_wire::Malformed;

fn attributes(mode: Mode, rules: Rules) -> Attributes {
    Attributes {
        spi: NonZeroU32::MIN,
        protocol: Protocol::Esp,
        wrapped: false,
        mode,
        algorithms: Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::HmacSha1 },
        key_lengths: KeyLengths::default(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        intervals: Intervals::default(),
        rules,
    }
}

fn keys() -> Keys {
    Keys { integrity: vec![7; 20].into(), ..Keys::default() }
}

fn outbound(mode: Mode) -> Outbound {
    let rules = OutboundRules::default();
    Outbound::new(attributes(mode, Rules::Outbound(rules)), &keys()).unwrap()
}

fn inbound(mode: Mode) -> Inbound {
    let rules = InboundRules { propagate_ecn: true, replay_window: Some(64), ..InboundRules::default() };
    Inbound::new(attributes(mode, Rules::Inbound(rules)), &keys()).unwrap()
}

fn tunnel() -> Mode {
    Mode::Tunnel(Endpoints::V4 { source: Ipv4Addr::LOCALHOST, destination: Ipv4Addr::LOCALHOST })
}

fn encapsulate(sa: &Outbound, packet: &[u8]) -> Vec<u8> {
    let mut output = vec![0; 2048];
    let mut verdict = [Err(PacketError::Crypto)];
    sa.encapsulate(&mut [Buffers::Apart { input: packet, output: &mut output }], &mut verdict);
    output.truncate(verdict[0].unwrap());
    output
}

fn decapsulate(sa: &Inbound, packet: &[u8]) -> Result<usize, PacketError> {
    let mut verdict = [Err(PacketError::Crypto)];
    sa.decapsulate(&mut [Buffers::Apart { input: packet, output: &mut [0; 2048] }], &mut verdict);
    verdict[0]
}

fn ipv4(total_len: u8, traffic_class: u8) -> Vec<u8> {
    let mut packet = vec![0x45, traffic_class, 0, total_len, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    packet.resize(usize::from(total_len), 0xaa);
    packet
}

#[test]
fn of_two_copies_in_a_batch_the_first_is_accepted_whatever_room_it_has() {
    let packet = ipv4(60, 0);
    let sealed = encapsulate(&outbound(tunnel()), &packet);
    // Room for the packet alone, for the padding behind it, too, and for less than the packet.
    for (rooms, expected) in [
        ([60, 100], [Ok(60), Err(PacketError::Replayed)]),
        ([100, 60], [Ok(60), Err(PacketError::Replayed)]),
        ([60, 60], [Ok(60), Err(PacketError::Replayed)]),
        ([59, 100], [Err(PacketError::NoRoom), Ok(60)]),
        ([59, 60], [Err(PacketError::NoRoom), Ok(60)]),
    ] {
        let sa = inbound(tunnel());
        let mut outputs = rooms.map(|room| vec![0; room]);
        let mut verdicts = [Err(PacketError::Crypto); 2];
        let mut packets: Vec<_> = outputs.iter_mut().map(|output| Buffers::Apart { input: &sealed, output }).collect();
        sa.decapsulate(&mut packets, &mut verdicts);
        drop(packets);
        assert_eq!(verdicts, expected, "{rooms:?}");
        for (output, verdict) in outputs.iter().zip(verdicts) {
            match verdict {
                Ok(length) => assert_eq!(output[..length], packet),
                Err(_) => assert!(output.iter().all(|byte| *byte == 0)),
            }
        }
    }
}

#[test]
fn in_place_too_little_room_changes_nothing_and_the_packet_may_come_again() {
    for (mode, packet) in [(Mode::Transport, ipv4(20, 0)), (Mode::Transport, ipv4(60, 0)), (tunnel(), ipv4(60, 0))] {
        let sealed = encapsulate(&outbound(mode), &packet);
        let sa = inbound(mode);
        for capacity in [0, 10, packet.len() - 1] {
            let mut buffer = sealed.clone();
            let mut verdict = [Ok(1)];
            let length = buffer.len();
            sa.decapsulate(&mut [Buffers::InPlace { buffer: &mut buffer, length, capacity }], &mut verdict);
            assert_eq!(verdict, [Err(PacketError::NoRoom)]);
            assert_eq!(buffer, sealed);
        }
        let mut buffer = sealed.clone();
        let mut verdict = [Err(PacketError::Crypto)];
        let (length, capacity) = (buffer.len(), packet.len());
        sa.decapsulate(&mut [Buffers::InPlace { buffer: &mut buffer, length, capacity }], &mut verdict);
        assert_eq!(verdict, [Ok(packet.len())]);
        assert_eq!(buffer[12..packet.len()], packet[12..]);
    }
}

#[test]
fn an_authentic_packet_that_is_refused_is_not_looked_at_again() {
    let receiver = inbound(tunnel());
    // A packet of transport mode is none that comes out of a tunnel.
    let sealed = encapsulate(&outbound(Mode::Transport), &ipv4(60, 0));
    assert_eq!(decapsulate(&receiver, &sealed), Err(PacketError::BadNextHeader));
    assert_eq!(decapsulate(&receiver, &sealed), Err(PacketError::Replayed));
    let statistics = receiver.statistics();
    assert_eq!((statistics.invalid_ipsec_pkt, statistics.anti_replay_replay_pkt), (1, 1));
}

#[test]
fn what_anybody_on_the_way_can_change_does_not_use_up_the_packet() {
    let receiver = inbound(tunnel());
    let sealed = encapsulate(&outbound(tunnel()), &ipv4(60, 0));
    // The outer header signals congestion, which ESP does not cover, and the inner one cannot carry it.
    let mut changed = sealed.clone();
    changed[1] |= 3;
    assert_eq!(decapsulate(&receiver, &changed), Err(PacketError::Congestion));
    assert_eq!(decapsulate(&receiver, &sealed), Ok(60));

    let wrapped = |attributes| Attributes { wrapped: true, ..attributes };
    let sender = Outbound::new(wrapped(outbound(tunnel()).attributes()), &keys()).unwrap();
    let receiver = Inbound::new(wrapped(inbound(tunnel()).attributes()), &keys()).unwrap();
    let sealed = encapsulate(&sender, &ipv4(60, 0));
    let mut changed = sealed.clone();
    changed[20] ^= 1; // the next header in front of ESP
    assert_eq!(decapsulate(&receiver, &changed), Err(Malformed::BadWrapping.into()));
    assert_eq!(decapsulate(&receiver, &sealed), Ok(60));
}

#[test]
fn both_ends_may_move_at_once() {
    for _ in 0..200 {
        let sa = outbound(tunnel());
        let address = Ipv4Addr::new(192, 0, 2, 9).into();
        thread::scope(|scope| {
            scope.spawn(|| sa.modify(&Change::Local { address, port: None }).unwrap());
            scope.spawn(|| sa.modify(&Change::Peer { address, port: None }).unwrap());
        });
        let moved = Endpoints::V4 { source: Ipv4Addr::new(192, 0, 2, 9), destination: Ipv4Addr::new(192, 0, 2, 9) };
        assert_eq!(sa.attributes().mode, Mode::Tunnel(moved));
    }
}
