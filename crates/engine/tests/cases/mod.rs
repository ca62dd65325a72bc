//! Random SAs and packets, and what the tests do with them.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
};

use gipsec_engine::*;
use gipsec_wire::{checksum, protocol};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// A packet and an SA pair to put it through.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) transform: TransformCase,
    pub(crate) tunnel: Option<Endpoints>,
    pub(crate) extended: bool,
    pub(crate) udp: Option<Ports>,
    pub(crate) window: Option<u32>,
    /// The sequence number before the packet's.
    pub(crate) start: u64,
    pub(crate) packet: Vec<u8>,
    pub(crate) wrapped: bool,
    pub(crate) flow_padding: FlowPadding,
}

#[derive(Clone, Debug)]
pub(crate) struct TransformCase {
    pub(crate) protocol: Protocol,
    pub(crate) algorithms: Algorithms,
    pub(crate) icv_len: Option<usize>,
    pub(crate) cipher_key: Vec<u8>,
    pub(crate) integrity_key: Vec<u8>,
    pub(crate) implicit_iv: bool,
}

impl TransformCase {
    /// Whether a changed bit is noticed at all.
    pub(crate) fn is_authentic(&self) -> bool {
        !matches!(self.algorithms, Algorithms::Separate { integrity: Integrity::None, .. })
    }

    pub(crate) fn is_secret(&self) -> bool {
        !matches!(
            self.algorithms,
            Algorithms::Separate { cipher: Cipher::Null, .. } | Algorithms::Combined(Combined::Gmac)
        )
    }
}

impl Case {
    pub(crate) fn attributes(&self, rules: Rules) -> (Attributes, Keys) {
        let keys = Keys {
            cipher: self.transform.cipher_key.clone().into(),
            integrity: self.transform.integrity_key.clone().into(),
        };
        let attributes = Attributes {
            spi: NonZeroU32::new(0x1234_5678).unwrap(),
            protocol: self.transform.protocol,
            wrapped: self.wrapped,
            mode: self.tunnel.map_or(Mode::Transport, Mode::Tunnel),
            algorithms: self.transform.algorithms,
            key_lengths: keys.lengths(),
            icv_len: self.transform.icv_len,
            implicit_iv: self.transform.implicit_iv,
            extended_sequence: self.extended,
            udp: self.udp,
            lifetime: Lifetime::default(),
            notify: Notify::default(),
            intervals: Intervals::default(),
            rules,
        };
        (attributes, keys)
    }

    pub(crate) fn outbound(&self) -> Outbound {
        let rules = OutboundRules { ecn: true, flow_padding: self.flow_padding, ..OutboundRules::default() };
        let (attributes, keys) = self.attributes(Rules::Outbound(rules));
        let sa = Outbound::new(attributes, &keys).unwrap();
        sa.modify(&Change::Replay { window: None, sequence: Some((self.start, 0)) }).unwrap();
        sa
    }

    pub(crate) fn inbound(&self) -> Inbound {
        let rules = InboundRules {
            propagate_ecn: self.tunnel.is_some(),
            replay_window: self.window,
            ..InboundRules::default()
        };
        let (attributes, keys) = self.attributes(Rules::Inbound(rules));
        let sa = Inbound::new(attributes, &keys).unwrap();
        if self.start > 0 {
            sa.modify(&Change::Replay { window: None, sequence: Some((self.start, u32::MAX)) }).unwrap();
        }
        sa
    }

    /// The packet, encapsulated by an SA of its own.
    pub(crate) fn sealed(&self) -> Result<Vec<u8>, PacketError> {
        encapsulate(&self.outbound(), &self.packet, 65_535)
    }

    /// Bytes that count as payload.
    pub(crate) fn payload_len(&self) -> u64 {
        let start = if self.tunnel.is_some() { 0 } else { upper(&self.packet) };
        (self.packet.len() - start) as u64
    }

    /// Where ESP or AH begins in an encapsulated packet.
    pub(crate) fn ipsec_start(&self, sealed: &[u8]) -> usize {
        let wrapper = match (self.wrapped, self.udp, sealed[0] >> 4) {
            (false, ..) => 0,
            (true, None, 4) => 4,
            (true, ..) => 8,
        };
        upper(sealed) + if self.udp.is_some() { 8 } else { 0 } + wrapper
    }
}

/// Where transport mode begins in a packet made here: behind what routers read.
pub(crate) fn upper(packet: &[u8]) -> usize {
    if packet[0] >> 4 == 4 {
        return usize::from(packet[0] & 15) * 4;
    }
    let (mut at, mut kind, mut routed) = (40, packet[6], false);
    while matches!(kind, protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT)
        || kind == protocol::DESTINATION_OPTIONS && !routed
    {
        routed |= kind == protocol::ROUTING;
        let length = if kind == protocol::FRAGMENT { 8 } else { 8 + usize::from(packet[at + 1]) * 8 };
        (kind, at) = (packet[at], at + length);
    }
    at
}

pub(crate) fn encapsulate(sa: &Outbound, packet: &[u8], room: usize) -> Result<Vec<u8>, PacketError> {
    let mut output = vec![0; room];
    let mut verdict = [Ok(0)];
    sa.encapsulate(&mut [Buffers::Apart { input: packet, output: &mut output }], &mut verdict);
    let [verdict] = verdict;
    if verdict.is_err() {
        assert!(output.iter().all(|byte| *byte == 0), "a refused packet left bytes behind");
    }
    output.truncate(verdict?);
    Ok(output)
}

pub(crate) fn decapsulate(sa: &Inbound, packet: &[u8], room: usize) -> Result<Vec<u8>, PacketError> {
    let mut output = vec![0; room];
    let mut verdict = [Ok(0)];
    sa.decapsulate(&mut [Buffers::Apart { input: packet, output: &mut output }], &mut verdict);
    let [verdict] = verdict;
    if verdict.is_err() {
        assert!(output.iter().all(|byte| *byte == 0), "a refused packet left bytes behind");
    }
    output.truncate(verdict?);
    Ok(output)
}

/// In place, in a buffer of `capacity` bytes; the whole buffer, and what became of the packet.
pub(crate) fn in_place(
    packet: &[u8],
    capacity: usize,
    run: impl FnOnce(&mut [Buffers<'_>], &mut [Verdict]),
) -> (Vec<u8>, Verdict) {
    let mut buffer = packet.to_vec();
    buffer.resize(capacity.max(packet.len()), 0xaa);
    let mut verdict = [Ok(0)];
    run(&mut [Buffers::InPlace { buffer: &mut buffer, length: packet.len(), capacity }], &mut verdict);
    (buffer, verdict[0])
}

/// All refused packets that were counted.
pub(crate) fn refused(statistics: &Statistics) -> u64 {
    [
        statistics.invalid_ipsec_pkt,
        statistics.invalid_pad_length,
        statistics.invalid_seq_num,
        statistics.anti_replay_late_pkt,
        statistics.anti_replay_replay_pkt,
        statistics.invalid_icv,
        statistics.seq_num_over_flow,
        statistics.crypto_op_failed,
        statistics.no_tail_room,
        statistics.submit_to_accl_failed,
    ]
    .into_iter()
    .map(u64::from)
    .sum()
}

pub(crate) fn separate(cipher: Cipher, key: usize) -> impl Strategy<Value = (Algorithms, Option<usize>, usize, usize)> {
    let integrity = prop_oneof![
        Just((Integrity::None, None, 0)),
        Just((Integrity::HmacMd5, None, 16)),
        Just((Integrity::HmacMd5, Some(16), 16)),
        Just((Integrity::HmacSha1, None, 20)),
        Just((Integrity::HmacSha1, Some(20), 20)),
        Just((Integrity::AesXcbc, Some(12), 16)),
        Just((Integrity::AesCmac, None, 16)),
        Just((Integrity::HmacSha256, None, 32)),
        Just((Integrity::HmacSha256, Some(12), 32)),
        Just((Integrity::HmacSha256, Some(32), 32)),
        Just((Integrity::HmacSha384, None, 48)),
        Just((Integrity::HmacSha384, Some(12), 48)),
        Just((Integrity::HmacSha384, Some(48), 48)),
        Just((Integrity::HmacSha512, None, 64)),
        Just((Integrity::HmacSha512, Some(64), 64)),
    ];
    integrity.prop_map(move |(integrity, icv, length)| (Algorithms::Separate { cipher, integrity }, icv, key, length))
}

pub(crate) fn transforms() -> impl Strategy<Value = TransformCase> {
    let aes = || prop_oneof![Just(16), Just(24), Just(32)];
    let icv = || prop_oneof![Just(None), Just(Some(8)), Just(Some(12)), Just(Some(16))];
    let combined = prop_oneof![
        (aes(), icv()).prop_map(|(key, icv)| (Algorithms::Combined(Combined::Gcm), icv, key + 4, 0)),
        (aes(), icv()).prop_map(|(key, icv)| (Algorithms::Combined(Combined::Ccm), icv, key + 3, 0)),
        aes().prop_map(|key| (Algorithms::Combined(Combined::Gmac), None, key + 4, 0)),
        Just((Algorithms::Combined(Combined::ChaCha20Poly1305), None, 36, 0)),
    ];
    let separate = prop_oneof![
        separate(Cipher::Null, 0),
        separate(Cipher::DesCbc, 8),
        separate(Cipher::TripleDesCbc, 24),
        aes().prop_flat_map(|key| separate(Cipher::AesCbc, key)),
        aes().prop_flat_map(|key| separate(Cipher::AesCtr, key + 4)),
    ];
    (prop_oneof![combined, separate], any::<bool>(), any::<bool>())
        .prop_filter("protects nothing", |((algorithms, ..), ..)| {
            *algorithms != Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::None }
        })
        .prop_flat_map(|((algorithms, icv_len, cipher_key, integrity_key), ah, implicit)| {
            let encrypts = !matches!(
                algorithms,
                Algorithms::Separate { cipher: Cipher::Null, .. } | Algorithms::Combined(Combined::Gmac)
            );
            let protocol = if ah && !encrypts { Protocol::Ah } else { Protocol::Esp };
            let implicit_iv = implicit && encrypts && matches!(algorithms, Algorithms::Combined(_));
            let bytes = |length| proptest::collection::vec(any::<u8>(), length);
            (bytes(cipher_key), bytes(integrity_key)).prop_map(move |(cipher_key, integrity_key)| TransformCase {
                protocol,
                algorithms,
                icv_len,
                cipher_key,
                integrity_key,
                implicit_iv,
            })
        })
}

/// A valid packet with options or extension headers, whose payload has `size` bytes.
pub(crate) fn packets(size: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), size, 0u8..5, any::<u8>(), any::<u64>()).prop_map(|(six, size, extra, class, seed)| {
        let mut state = seed | 1;
        let payload = (0..size).map(move |_| {
            // xorshift64; proptest's own vectors of this size are slow.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        });
        let mut packet = if six { v6_headers(extra, class, size) } else { v4_header(extra, class, size) };
        packet.extend(payload);
        packet
    })
}

pub(crate) fn v4_header(extra: u8, class: u8, size: usize) -> Vec<u8> {
    let options: &[u8] = match extra {
        0 | 1 => &[],
        2 => &[148, 4, 0, 0],
        3 => &[1, 7, 7, 8, 10, 0, 0, 1, 68, 4, 5, 0],
        _ => &[131, 7, 4, 192, 0, 2, 9, 0],
    };
    let length = 20 + options.len();
    let mut header = vec![0x40 | u8::try_from(length / 4).unwrap(), class];
    header.extend(u16::try_from(length + size).unwrap_or(u16::MAX).to_be_bytes());
    header.extend([7, 7, if class & 1 == 0 { 0x40 } else { 0 }, 0, 61, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend(options);
    let sum = checksum::finish(checksum::sum(&header, 0));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

pub(crate) fn v6_headers(extra: u8, class: u8, size: usize) -> Vec<u8> {
    let options = |next| [next, 0, 0x3e, 1, 9, 0x1e, 1, 9];
    let mut rest = Vec::new();
    let first = match extra {
        0 => 253,
        1 => {
            rest.extend(options(253));
            protocol::HOP_BY_HOP
        }
        2 => {
            rest.extend([253, 2, 0, 1, 0, 0, 0, 0]);
            rest.extend([0x20; 16]);
            protocol::ROUTING
        }
        3 => {
            rest.extend(options(protocol::DESTINATION_OPTIONS));
            rest.extend(options(protocol::ROUTING));
            rest.extend([protocol::DESTINATION_OPTIONS, 0, 4, 0, 0, 0, 0, 0]);
            rest.extend(options(253));
            protocol::HOP_BY_HOP
        }
        _ => {
            rest.extend([253, 0, 0, 0, 1, 2, 3, 4]); // an atomic fragment
            protocol::FRAGMENT
        }
    };
    let mut header = vec![0x60 | class >> 4, class << 4 | 5, 0x12, 0x34];
    header.extend(u16::try_from(rest.len() + size).unwrap_or(u16::MAX).to_be_bytes());
    header.extend([first, 61]);
    header.extend([0xfd; 32]);
    header.extend(rest);
    header
}

pub(crate) fn cases(size: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Case> {
    let tunnel = prop_oneof![
        Just(None),
        Just(Some(Endpoints::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(198, 51, 100, 2) })),
        Just(Some(Endpoints::V6 { source: Ipv6Addr::LOCALHOST, destination: Ipv6Addr::from(2) })),
    ];
    let window = proptest::option::of(prop_oneof![32u32..300, Just(65_536)]);
    let start = prop_oneof![Just(0), 0u64..1 << 31, (1u64..1 << 31).prop_map(|high| (high << 32) - 1), 0u64..1 << 62];
    let ports = (any::<u16>(), any::<u16>()).prop_map(|(source, destination)| Ports { source, destination });
    let udp = proptest::option::of(ports);
    let padding = prop_oneof![
        3 => Just(FlowPadding::default()),
        1 => (0u16..2000, 0u16..500).prop_map(|(to, multiple)| FlowPadding { to, multiple }),
    ];
    let shape = (any::<bool>(), prop::bool::weighted(0.25), padding);
    (transforms(), tunnel, shape, udp, window, start, packets(size)).prop_map(
        |(transform, tunnel, (extended, wrapped, flow_padding), udp, window, start, packet)| Case {
            udp: udp.filter(|_| transform.protocol == Protocol::Esp),
            wrapped: wrapped && transform.protocol == Protocol::Esp,
            flow_padding: match (transform.protocol, tunnel) {
                (Protocol::Esp, Some(_)) => flow_padding,
                _ => FlowPadding::default(),
            },
            transform,
            tunnel,
            extended,
            window,
            start: if extended { start } else { start & 0x7fff_ffff },
            packet,
        },
    )
}

pub(crate) fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..100, 4 => 100usize..1500, 1 => 1500usize..9000]
}

/// `GIPSEC_TEST_FACTOR` makes that many times as many cases.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let factor = std::env::var("GIPSEC_TEST_FACTOR").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    // Without optimisation a case takes 20 times as long.
    let cases = cases * factor / if cfg!(debug_assertions) { 4 } else { 1 };
    let persistence = Box::new(FileFailurePersistence::Off);
    ProptestConfig { cases, failure_persistence: Some(persistence), ..ProptestConfig::default() }
}
