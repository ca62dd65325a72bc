//! Encapsulation and decapsulation over random SAs and packets: what goes in comes out, what was changed on the way does
//! not, and nothing that a packet can hold makes the engine panic or count it wrongly.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
};

use gipsec_engine::*;
use gipsec_wire::{checksum, esp, protocol};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// A packet and an SA pair to put it through.
#[derive(Clone, Debug)]
struct Case {
    transform: TransformCase,
    tunnel: Option<Endpoints>,
    extended: bool,
    udp: Option<Ports>,
    window: Option<u32>,
    /// The sequence number before the packet's.
    start: u64,
    packet: Vec<u8>,
}

#[derive(Clone, Debug)]
struct TransformCase {
    protocol: Protocol,
    algorithms: Algorithms,
    icv_len: Option<usize>,
    cipher_key: Vec<u8>,
    integrity_key: Vec<u8>,
}

impl TransformCase {
    /// Whether a changed bit is noticed at all.
    fn is_authentic(&self) -> bool {
        !matches!(self.algorithms, Algorithms::Separate { integrity: Integrity::None, .. })
    }

    fn is_secret(&self) -> bool {
        !matches!(
            self.algorithms,
            Algorithms::Separate { cipher: Cipher::Null, .. } | Algorithms::Combined(Combined::Gmac)
        )
    }
}

impl Case {
    fn attributes(&self, rules: Rules) -> (Attributes, Keys) {
        let keys = Keys {
            cipher: self.transform.cipher_key.clone().into(),
            integrity: self.transform.integrity_key.clone().into(),
        };
        let attributes = Attributes {
            spi: NonZeroU32::new(0x1234_5678).unwrap(),
            protocol: self.transform.protocol,
            mode: self.tunnel.map_or(Mode::Transport, Mode::Tunnel),
            algorithms: self.transform.algorithms,
            key_lengths: keys.lengths(),
            icv_len: self.transform.icv_len,
            extended_sequence: self.extended,
            udp: self.udp,
            lifetime: Lifetime::default(),
            notify: Notify::default(),
            intervals: Intervals::default(),
            rules,
        };
        (attributes, keys)
    }

    fn outbound(&self) -> Outbound {
        let rules = OutboundRules { dscp: DscpRule::Copy, df: DfRule::Copy, ecn: true, first_iv: None };
        let (attributes, keys) = self.attributes(Rules::Outbound(rules));
        let sa = Outbound::new(attributes, &keys).unwrap();
        sa.modify(&Change::Replay { window: None, sequence: Some((self.start, 0)) }).unwrap();
        sa
    }

    fn inbound(&self) -> Inbound {
        let rules = InboundRules { propagate_ecn: self.tunnel.is_some(), replay_window: self.window };
        let (attributes, keys) = self.attributes(Rules::Inbound(rules));
        let sa = Inbound::new(attributes, &keys).unwrap();
        if self.start > 0 {
            sa.modify(&Change::Replay { window: None, sequence: Some((self.start, u32::MAX)) }).unwrap();
        }
        sa
    }

    /// The packet, encapsulated by an SA of its own.
    fn sealed(&self) -> Result<Vec<u8>, PacketError> {
        encapsulate(&self.outbound(), &self.packet, 65_535)
    }

    /// Bytes that count as payload.
    fn payload_len(&self) -> u64 {
        let start = if self.tunnel.is_some() { 0 } else { upper(&self.packet) };
        (self.packet.len() - start) as u64
    }

    /// Where ESP or AH begins in an encapsulated packet.
    fn ipsec_start(&self, sealed: &[u8]) -> usize {
        upper(sealed) + if self.udp.is_some() { 8 } else { 0 }
    }
}

/// Where transport mode begins in a packet made here: behind what routers read.
fn upper(packet: &[u8]) -> usize {
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

fn encapsulate(sa: &Outbound, packet: &[u8], room: usize) -> Result<Vec<u8>, PacketError> {
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

fn decapsulate(sa: &Inbound, packet: &[u8], room: usize) -> Result<Vec<u8>, PacketError> {
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
fn in_place(
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
fn refused(statistics: &Statistics) -> u64 {
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

fn separate(cipher: Cipher, key: usize) -> impl Strategy<Value = (Algorithms, Option<usize>, usize, usize)> {
    let integrity = prop_oneof![
        Just((Integrity::None, None, 0)),
        Just((Integrity::HmacMd5, None, 16)),
        Just((Integrity::HmacMd5, Some(16), 16)),
        Just((Integrity::HmacSha1, None, 20)),
        Just((Integrity::HmacSha1, Some(20), 20)),
        Just((Integrity::AesXcbc, Some(12), 16)),
        Just((Integrity::HmacSha256, None, 32)),
        Just((Integrity::HmacSha256, Some(12), 32)),
        Just((Integrity::HmacSha256, Some(32), 32)),
        Just((Integrity::HmacSha384, None, 48)),
        Just((Integrity::HmacSha384, Some(48), 48)),
        Just((Integrity::HmacSha512, None, 64)),
        Just((Integrity::HmacSha512, Some(64), 64)),
    ];
    integrity.prop_map(move |(integrity, icv, length)| (Algorithms::Separate { cipher, integrity }, icv, key, length))
}

fn transforms() -> impl Strategy<Value = TransformCase> {
    let aes = || prop_oneof![Just(16), Just(24), Just(32)];
    let icv = || prop_oneof![Just(None), Just(Some(8)), Just(Some(12)), Just(Some(16))];
    let combined = prop_oneof![
        (aes(), icv()).prop_map(|(key, icv)| (Algorithms::Combined(Combined::Gcm), icv, key + 4, 0)),
        (aes(), icv()).prop_map(|(key, icv)| (Algorithms::Combined(Combined::Ccm), icv, key + 3, 0)),
        aes().prop_map(|key| (Algorithms::Combined(Combined::Gmac), None, key + 4, 0)),
    ];
    let separate = prop_oneof![
        separate(Cipher::Null, 0),
        separate(Cipher::DesCbc, 8),
        separate(Cipher::TripleDesCbc, 24),
        aes().prop_flat_map(|key| separate(Cipher::AesCbc, key)),
        aes().prop_flat_map(|key| separate(Cipher::AesCtr, key + 4)),
    ];
    (prop_oneof![combined, separate], any::<bool>())
        .prop_filter("protects nothing", |((algorithms, ..), _)| {
            *algorithms != Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::None }
        })
        .prop_flat_map(|((algorithms, icv_len, cipher_key, integrity_key), ah)| {
            let encrypts = !matches!(
                algorithms,
                Algorithms::Separate { cipher: Cipher::Null, .. } | Algorithms::Combined(Combined::Gmac)
            );
            let protocol = if ah && !encrypts { Protocol::Ah } else { Protocol::Esp };
            let bytes = |length| proptest::collection::vec(any::<u8>(), length);
            (bytes(cipher_key), bytes(integrity_key)).prop_map(move |(cipher_key, integrity_key)| TransformCase {
                protocol,
                algorithms,
                icv_len,
                cipher_key,
                integrity_key,
            })
        })
}

/// A valid packet with options or extension headers, whose payload has `size` bytes.
fn packets(size: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Vec<u8>> {
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

fn v4_header(extra: u8, class: u8, size: usize) -> Vec<u8> {
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

fn v6_headers(extra: u8, class: u8, size: usize) -> Vec<u8> {
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

fn cases(size: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Case> {
    let tunnel = prop_oneof![
        Just(None),
        Just(Some(Endpoints::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(198, 51, 100, 2) })),
        Just(Some(Endpoints::V6 { source: Ipv6Addr::LOCALHOST, destination: Ipv6Addr::from(2) })),
    ];
    let window = proptest::option::of(prop_oneof![32u32..300, Just(65_536)]);
    let start = prop_oneof![Just(0), 0u64..1 << 31, (1u64..1 << 31).prop_map(|high| (high << 32) - 1), 0u64..1 << 62];
    let ports = (any::<u16>(), any::<u16>()).prop_map(|(source, destination)| Ports { source, destination });
    let udp = proptest::option::of(ports);
    (transforms(), tunnel, any::<bool>(), udp, window, start, packets(size)).prop_map(
        |(transform, tunnel, extended, udp, window, start, packet)| Case {
            udp: udp.filter(|_| transform.protocol == Protocol::Esp),
            transform,
            tunnel,
            extended,
            window,
            start: if extended { start } else { start & 0x7fff_ffff },
            packet,
        },
    )
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..100, 4 => 100usize..1500, 1 => 1500usize..9000]
}

/// `GIPSEC_TEST_FACTOR` makes that many times as many cases.
fn config(cases: u32) -> ProptestConfig {
    let factor = std::env::var("GIPSEC_TEST_FACTOR").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    // Without optimisation a case takes 20 times as long.
    let cases = cases * factor / if cfg!(debug_assertions) { 4 } else { 1 };
    let persistence = Box::new(FileFailurePersistence::Off);
    ProptestConfig { cases, failure_persistence: Some(persistence), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn what_goes_in_comes_out_in_every_kind_of_buffer(case in cases(sizes()), spare in 1usize..300) {
        let length = case.sealed().unwrap().len();
        let (outbound, inbound) = (case.outbound(), case.inbound());
        let payload = case.payload_len();

        // One byte too little: nothing is written, no sequence number is lost.
        prop_assert_eq!(encapsulate(&outbound, &case.packet, length - 1), Err(PacketError::NoRoom));
        let (kept, verdict) = in_place(&case.packet, length - 1, |p, v| { outbound.encapsulate(p, v); });
        prop_assert_eq!(verdict, Err(PacketError::NoRoom));
        prop_assert_eq!(&kept[..case.packet.len()], &case.packet[..]);
        prop_assert_eq!(outbound.statistics(), Statistics { no_tail_room: 2, ..Statistics::default() });

        let exact = encapsulate(&outbound, &case.packet, length).unwrap();
        let larger = encapsulate(&outbound, &case.packet, length + spare).unwrap();
        let (buffer, verdict) = in_place(&case.packet, length + spare, |p, v| { outbound.encapsulate(p, v); });
        prop_assert_eq!(verdict, Ok(length));
        prop_assert!(buffer[length..].iter().all(|byte| *byte == 0xaa), "written past the result");
        let replaced = buffer[..length].to_vec();
        prop_assert_eq!((exact.len(), larger.len()), (length, length));
        let expected = Statistics { packets_processed: 3, bytes_processed: 3 * payload, no_tail_room: 2, ..Statistics::default() };
        prop_assert_eq!(outbound.statistics(), expected);

        // One byte too little: nothing is written, and the packet may come again.
        let size = case.packet.len();
        prop_assert_eq!(decapsulate(&inbound, &exact, size - 1), Err(PacketError::NoRoom));
        prop_assert_eq!(&decapsulate(&inbound, &exact, size).unwrap(), &case.packet);
        prop_assert_eq!(&decapsulate(&inbound, &larger, length.max(size) + spare).unwrap(), &case.packet);
        let (buffer, verdict) = in_place(&replaced, length + spare, |p, v| { inbound.decapsulate(p, v); });
        prop_assert_eq!(verdict, Ok(size));
        prop_assert_eq!(&buffer[..size], &case.packet[..]);
        let mut expected = Statistics { no_tail_room: 1, ..expected };
        prop_assert_eq!(inbound.statistics(), expected);

        // Once more.
        if case.window.is_some() {
            for again in [&exact, &larger, &replaced] {
                prop_assert_eq!(decapsulate(&inbound, again, size), Err(PacketError::Replayed));
                expected.anti_replay_replay_pkt += 1;
                prop_assert_eq!(inbound.statistics(), expected);
            }
        } else if !case.extended {
            prop_assert_eq!(&decapsulate(&inbound, &exact, size).unwrap(), &case.packet);
        }
    }

    #[test]
    fn link_padding_behind_the_packet_is_ignored(case in cases(0usize..200), padding in 1usize..40) {
        let mut padded = case.packet.clone();
        padded.resize(padded.len() + padding, 0x55);
        let mut sealed = encapsulate(&case.outbound(), &padded, 65_535).unwrap();
        sealed.resize(sealed.len() + padding, 0x55);
        prop_assert_eq!(decapsulate(&case.inbound(), &sealed, 65_535).unwrap(), case.packet);
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn up_to_the_largest_packet(case in cases(65_300usize..65_500)) {
        let outbound = case.outbound();
        match encapsulate(&outbound, &case.packet, 70_000) {
            Ok(sealed) => {
                prop_assert!(sealed.len() <= 65_535);
                prop_assert_eq!(decapsulate(&case.inbound(), &sealed, case.packet.len()).unwrap(), case.packet);
            }
            Err(error) => {
                prop_assert_eq!(error, PacketError::NoRoom);
                prop_assert_eq!(outbound.statistics(), Statistics { no_tail_room: 1, ..Statistics::default() });
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(
        case in cases(prop_oneof![0usize..80, 500usize..600])
            .prop_filter("not authentic", |case| case.transform.is_authentic()),
        bit in 0u32..8,
    ) {
        let sealed = case.sealed().unwrap();
        let inbound = case.inbound();
        let protected = case.ipsec_start(&sealed)..sealed.len();
        let addresses = match (case.transform.protocol, sealed[0] >> 4) {
            (Protocol::Esp, _) => 0..0,
            (Protocol::Ah, 4) => 12..16, // a source route would replace the destination
            (Protocol::Ah, _) => 8..24,
        };
        let payload = &case.packet[case.packet.len().saturating_sub(24)..];
        for (attempt, at) in protected.chain(addresses).enumerate() {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            let result = decapsulate(&inbound, &changed, 65_535);
            prop_assert!(result.is_err(), "byte {} of {}", at, sealed.len());
            let (buffer, verdict) = in_place(&changed, changed.len(), |p, v| { inbound.decapsulate(p, v); });
            prop_assert_eq!(verdict.err(), result.err());
            let discloses = case.transform.is_secret() && case.payload_len() >= 24
                && buffer.windows(payload.len()).any(|window| window == payload);
            prop_assert!(!discloses, "byte {at} of {}", sealed.len());
            let statistics = inbound.statistics();
            prop_assert_eq!((statistics.packets_processed, refused(&statistics)), (0, 2 * (attempt as u64 + 1)));
        }
        // None of that moved the window.
        prop_assert_eq!(decapsulate(&inbound, &sealed, 65_535).unwrap(), case.packet);
    }

    #[test]
    fn a_truncated_packet_is_refused_at_every_length(case in cases(0usize..150)) {
        let sealed = case.sealed().unwrap();
        let inbound = case.inbound();
        for length in 0..sealed.len() {
            prop_assert!(decapsulate(&inbound, &sealed[..length], 65_535).is_err(), "{length} of {}", sealed.len());
            let statistics = inbound.statistics();
            prop_assert_eq!(statistics.packets_processed, 0);
            prop_assert_eq!(u64::from(statistics.invalid_ipsec_pkt), length as u64 + 1);
            prop_assert_eq!(refused(&statistics), length as u64 + 1);
        }
        // With IP and UDP lengths that agree with what is left, the ICV or what it covers is wrong.
        let mut attempts = refused(&inbound.statistics());
        for length in case.ipsec_start(&sealed)..sealed.len() {
            let mut cut = sealed[..length].to_vec();
            let short = u16::try_from(length).unwrap();
            if sealed[0] >> 4 == 4 {
                cut[2..4].copy_from_slice(&short.to_be_bytes());
            } else {
                cut[4..6].copy_from_slice(&(short - 40).to_be_bytes());
            }
            if case.udp.is_some() {
                let at = case.ipsec_start(&sealed) - 8;
                cut[at + 4..at + 6].copy_from_slice(&(short - u16::try_from(at).unwrap()).to_be_bytes());
            }
            let result = decapsulate(&inbound, &cut, 65_535);
            if case.transform.is_authentic() {
                prop_assert!(result.is_err(), "{length} of {}", sealed.len());
                attempts += 1;
                prop_assert_eq!(refused(&inbound.statistics()), attempts);
                prop_assert_eq!(inbound.statistics().packets_processed, 0);
            }
        }
    }

    #[test]
    fn a_packet_for_another_sa_is_refused(case in cases(0usize..200), other in cases(0usize..200)) {
        let sealed = other.sealed().unwrap();
        let inbound = case.inbound();
        let result = decapsulate(&inbound, &sealed, 65_535);
        let statistics = inbound.statistics();
        prop_assert_eq!(refused(&statistics), u64::from(result.is_err()));
        if case.transform.is_authentic() && case.transform.cipher_key != other.transform.cipher_key {
            prop_assert!(result.is_err());
        }
    }

    #[test]
    fn changed_ipv6_and_ipv4_headers_never_panic(case in cases(0usize..100), at in 0usize..120, value: u8) {
        let mut sealed = case.sealed().unwrap();
        let at = at % sealed.len();
        sealed[at] = value;
        let inbound = case.inbound();
        let result = decapsulate(&inbound, &sealed, 65_535);
        let statistics = inbound.statistics();
        prop_assert_eq!(statistics.packets_processed + refused(&statistics), 1);
        prop_assert_eq!(statistics.packets_processed == 1, result.is_ok());
        let mut packet = case.packet.clone();
        let at = at % packet.len();
        packet[at] = value;
        let outbound = case.outbound();
        let result = encapsulate(&outbound, &packet, 65_535);
        let statistics = outbound.statistics();
        prop_assert_eq!(statistics.packets_processed + refused(&statistics), 1);
        prop_assert_eq!(statistics.packets_processed == 1, result.is_ok());
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn random_bytes_give_one_error_each(
        case in cases(0usize..4),
        garbage in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..160), 1..20),
        shape in 0u8..6,
    ) {
        let (inbound, outbound) = (case.inbound(), case.outbound());
        let (mut accepted, mut encapsulated) = (0, 0);
        for bytes in &garbage {
            let mut bytes = bytes.clone();
            // Most random bytes fail at the first nibble; these get further.
            match (shape, bytes.len()) {
                (1, 20..) => {
                    let length = u16::try_from(bytes.len()).unwrap();
                    bytes[0] = 0x45;
                    bytes[2..4].copy_from_slice(&length.to_be_bytes());
                    bytes[6..8].fill(0);
                    bytes[9] = [50, 51, 17][usize::from(bytes[9]) % 3];
                }
                (2, 48..) => {
                    let length = u16::try_from(bytes.len() - 40).unwrap();
                    bytes[0] = 0x60;
                    bytes[4..6].copy_from_slice(&length.to_be_bytes());
                    bytes[6] = [0, 43, 44, 60, 50, 51, 17][usize::from(bytes[6]) % 7];
                    bytes[40] = [0, 43, 44, 60, 50, 51, 17][usize::from(bytes[40]) % 7];
                    bytes[41] %= 4;
                }
                (3, 48..) => {
                    let length = u16::try_from(bytes.len()).unwrap();
                    bytes[..2].copy_from_slice(&[0x45, 0]);
                    bytes[2..4].copy_from_slice(&length.to_be_bytes());
                    bytes[6..8].fill(0);
                    bytes[9] = if case.transform.protocol == Protocol::Esp { 50 } else { 51 };
                    bytes[20..28].copy_from_slice(&[0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1]);
                }
                _ => {}
            }
            accepted += u64::from(decapsulate(&inbound, &bytes, 300).is_ok());
            encapsulated += u64::from(encapsulate(&outbound, &bytes, 400).is_ok());
            let (_, verdict) = in_place(&bytes, bytes.len(), |p, v| { inbound.decapsulate(p, v); });
            accepted += u64::from(verdict.is_ok());
        }
        let (inward, outward) = (inbound.statistics(), outbound.statistics());
        prop_assert_eq!(inward.packets_processed, accepted);
        prop_assert_eq!(refused(&inward), 2 * garbage.len() as u64 - accepted);
        prop_assert_eq!(outward.packets_processed, encapsulated);
        prop_assert_eq!(refused(&outward), garbage.len() as u64 - encapsulated);
        if case.transform.is_authentic() {
            prop_assert_eq!(accepted, 0);
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn batches_are_taken_in_order_whatever_is_in_them(
        case in cases(0usize..100),
        others in proptest::collection::vec((packets(0usize..100), 0u8..8), 1..200),
    ) {
        // Now and then a packet that is none, or whose result has no room.
        let inputs: Vec<Vec<u8>> = others
            .iter()
            .map(|(packet, kind)| if *kind == 0 { packet[..packet.len() - 1].to_vec() } else { packet.clone() })
            .collect();
        let mut outputs: Vec<Vec<u8>> =
            others.iter().map(|(_, kind)| vec![0; if *kind == 1 { 30 } else { 1000 }]).collect();
        let mut verdicts = vec![Err(PacketError::Gone); inputs.len()];
        let outbound = case.outbound();
        let mut buffers: Vec<Buffers<'_>> = inputs
            .iter()
            .zip(&mut outputs)
            .map(|(input, output)| Buffers::Apart { input, output })
            .collect();
        outbound.encapsulate(&mut buffers, &mut verdicts);
        drop(buffers);

        let good: Vec<usize> = (0..inputs.len()).filter(|index| verdicts[*index].is_ok()).collect();
        let statistics = outbound.statistics();
        prop_assert_eq!(statistics.packets_processed, good.len() as u64);
        prop_assert_eq!(refused(&statistics), (inputs.len() - good.len()) as u64);
        for (index, (_, kind)) in others.iter().enumerate() {
            let expected = match kind {
                0 => Some("truncated"),
                1 => Some("no room"),
                _ => None,
            };
            prop_assert_eq!(verdicts[index].is_err(), expected.is_some(), "packet {}: {:?}", index, verdicts[index]);
            if verdicts[index].is_err() {
                prop_assert!(outputs[index].iter().all(|byte| *byte == 0));
            }
        }

        let inbound = case.inbound();
        for (order, index) in good.iter().enumerate() {
            let sealed = &outputs[*index][..verdicts[*index].unwrap()];
            let at = case.ipsec_start(sealed) + if case.transform.protocol == Protocol::Ah { 4 } else { 0 };
            let head = esp::Header::parse(&sealed[at..]).unwrap();
            prop_assert_eq!(u64::from(head.sequence), (case.start + 1 + order as u64) & 0xffff_ffff);
            prop_assert_eq!(&decapsulate(&inbound, sealed, 1000).unwrap(), &inputs[*index]);
        }
        prop_assert_eq!(inbound.statistics().packets_processed, good.len() as u64);
    }
}

#[test]
fn a_packet_that_fails_while_ah_is_computed_is_counted_once() {
    let mut headers = v6_headers(1, 0, 0);
    headers[43] = 9; // an option that is longer than its header: nobody looks at it before the ICV is computed
    let transform = TransformCase {
        protocol: Protocol::Ah,
        algorithms: Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::HmacSha256 },
        icv_len: None,
        cipher_key: Vec::new(),
        integrity_key: vec![7; 32],
    };
    let case = Case { transform, tunnel: None, extended: false, udp: None, window: None, start: 0, packet: headers };
    let outbound = case.outbound();
    assert!(encapsulate(&outbound, &case.packet, 1000).is_err());
    assert_eq!(outbound.statistics(), Statistics { invalid_ipsec_pkt: 1, ..Statistics::default() });
}
