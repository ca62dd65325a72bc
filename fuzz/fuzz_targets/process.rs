//! Any bytes as a packet, for SAs whose cipher lets every byte through to what comes after it: nothing panics, nothing is
//! written outside the output, a refused packet leaves it empty, and each packet is counted once.

#![no_main]

use std::{
    net::Ipv4Addr,
    num::{NonZeroU16, NonZeroU32},
    sync::LazyLock,
};

use gipsec_engine::*;
use libfuzzer_sys::fuzz_target;

const TUNNEL: Mode =
    Mode::Tunnel(Endpoints::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(192, 0, 2, 2) });

/// AES-CTR without integrity: whoever changes the ciphertext changes the plaintext.
fn malleable(mode: Mode, rules: Rules, udp: bool, wrapped: bool) -> BundleEntry {
    let keys = Keys { cipher: vec![7; 20].into(), ..Keys::default() };
    let attributes = Attributes {
        spi: NonZeroU32::MIN,
        protocol: Protocol::Esp,
        wrapped,
        mode,
        algorithms: Algorithms::Separate { cipher: Cipher::AesCtr, integrity: Integrity::None },
        key_lengths: keys.lengths(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: udp.then_some(Ports { source: 4500, destination: 4500 }),
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        intervals: Intervals::default(),
        rules,
    };
    BundleEntry { parameters: Parameters::Ipsec(attributes), keys }
}

fn compression(algorithm: CompressionAlgorithm, mode: Mode, rules: Rules) -> BundleEntry {
    let compression = Compression {
        algorithm,
        cpi: NonZeroU16::MIN,
        mode,
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        rules,
    };
    BundleEntry { parameters: Parameters::Compression(compression), keys: Keys::default() }
}

fn all() -> Vec<Box<Sa>> {
    let inbound =
        InboundRules { propagate_ecn: true, peer_original: Some([10, 0, 0, 1].into()), ..InboundRules::default() };
    let outbound = OutboundRules {
        ecn: true,
        copy_flow_label: true,
        flow_padding: FlowPadding { to: 100, multiple: 64 },
        ..OutboundRules::default()
    };
    let plain = OutboundRules { flow_padding: FlowPadding::default(), ..outbound.clone() };
    [Rules::Inbound(inbound), Rules::Outbound(plain)]
        .into_iter()
        .flat_map(|rules| {
            let padded = match &rules {
                Rules::Outbound(_) => Rules::Outbound(outbound.clone()),
                other => other.clone(),
            };
            let (deflate, lzs) = (CompressionAlgorithm::Deflate, CompressionAlgorithm::Lzs);
            [
                vec![malleable(TUNNEL, padded, false, false)],
                vec![malleable(Mode::Transport, rules.clone(), true, false)],
                vec![malleable(Mode::Transport, rules.clone(), false, true)],
                vec![compression(deflate, Mode::Transport, rules.clone())],
                vec![compression(lzs, TUNNEL, rules.clone())],
                vec![compression(lzs, Mode::Transport, rules.clone()), malleable(Mode::Transport, rules, false, false)],
            ]
        })
        .map(|entries| Sa::new(entries).expect("an SA"))
        .collect()
}

static SAS: LazyLock<Vec<Box<Sa>>> = LazyLock::new(all);

fn refused() -> u64 {
    SAS.iter().flat_map(|sa| sa.read()).map(|reading| reading.drops.iter().sum::<u64>()).sum()
}

fuzz_target!(|input: (u8, u16, bool, &[u8])| {
    let (which, room, in_place, packet) = input;
    let sa = &SAS[usize::from(which) % SAS.len()];
    let room = usize::from(room);
    let before = (sa.done().0, refused());
    let mut verdict = [Err(PacketError::Crypto)];
    if in_place {
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len().max(room), 0);
        sa.process(&mut [Buffers::InPlace { buffer: &mut buffer, length: packet.len(), capacity: room }], &mut verdict);
    } else {
        let mut output = vec![0; room];
        sa.process(&mut [Buffers::Apart { input: packet, output: &mut output }], &mut verdict);
        assert!(verdict[0].is_ok() || output.iter().all(|byte| *byte == 0));
    }
    let [verdict] = verdict;
    assert!(verdict.is_err() || verdict.is_ok_and(|written| written <= room));
    let after = (sa.done().0, refused());
    // A dummy packet ends before the last entry of a bundle.
    assert!(
        after.1 - before.1 == u64::from(verdict.is_err())
            && (verdict == Ok(0) || after.0 - before.0 == u64::from(verdict.is_ok()))
    );
});
