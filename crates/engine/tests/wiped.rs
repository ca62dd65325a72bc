//! Keys leave with their SA: nothing of them stays in the memory of the process, wherever they were on the way.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    num::NonZeroU32,
    os::unix::fs::FileExt,
};

use gipsec_engine::*;

/// Bytes of a key that are looked for.
const SHOWN: usize = 16;

/// An algorithm, the bytes of its salt, of its cipher key with the salt, and of its integrity key.
const CASES: &[(Algorithms, usize, usize, usize)] = &[
    (Algorithms::Combined(Combined::Gcm), 4, 20, 0),
    (Algorithms::Combined(Combined::Gcm), 4, 36, 0),
    (Algorithms::Combined(Combined::Ccm), 3, 35, 0),
    (Algorithms::Combined(Combined::Gmac), 4, 20, 0),
    (Algorithms::Combined(Combined::ChaCha20Poly1305), 4, 36, 0),
    (Algorithms::Separate { cipher: Cipher::AesCbc, integrity: Integrity::HmacSha1 }, 0, 16, 20),
    (Algorithms::Separate { cipher: Cipher::AesCbc, integrity: Integrity::HmacSha256 }, 0, 32, 32),
    (Algorithms::Separate { cipher: Cipher::AesCtr, integrity: Integrity::HmacSha512 }, 0, 36, 64),
    (Algorithms::Separate { cipher: Cipher::TripleDesCbc, integrity: Integrity::HmacMd5 }, 0, 24, 16),
    (Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::AesXcbc }, 0, 0, 16),
    (Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::AesCmac }, 0, 0, 16),
];

/// A byte of a key, which is computed whenever it is needed and so lies nowhere.
#[inline(never)]
fn byte_of(key: usize, at: usize) -> u8 {
    let mixed =
        (key as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (at as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()[5]
}

fn keys(case: usize, cipher: usize, integrity: usize) -> Keys {
    let bytes = |key, length| (0..length).map(|at| byte_of(key, at)).collect::<Vec<u8>>().into();
    Keys { cipher: bytes(2 * case, cipher), integrity: bytes(2 * case + 1, integrity) }
}

fn entry(case: usize, direction: Direction, spi: u32) -> BundleEntry {
    let (algorithms, _, cipher, integrity) = CASES[case];
    let keys = keys(case, cipher, integrity);
    let rules = match direction {
        Direction::Outbound => Rules::Outbound(OutboundRules::default()),
        Direction::Inbound => Rules::Inbound(InboundRules::default()),
    };
    let attributes = Attributes {
        spi: NonZeroU32::new(spi).unwrap(),
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Transport,
        algorithms,
        key_lengths: keys.lengths(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        intervals: Intervals::default(),
        rules,
    };
    BundleEntry { parameters: attributes.into(), keys }
}

/// How often a key's bytes from `skipped` on lie in `memory`.
fn count_in(memory: &[u8], key: usize, skipped: usize) -> usize {
    let first = byte_of(key, skipped);
    let candidates = memory.windows(SHOWN).filter(|window| window[0] == first);
    candidates.filter(|window| window.iter().enumerate().all(|(at, byte)| *byte == byte_of(key, skipped + at))).count()
}

/// How often each key lies in this process, by number.
fn copies() -> Vec<(usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut copy = vec![0; 1 << 20];
    let mut found = vec![0; 2 * CASES.len()];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let (mut from, to) = [range.0, range.1].map(|end| u64::from_str_radix(end, 16).unwrap()).into();
        while from < to {
            // Pieces overlap by what a key could hang over.
            let length = usize::try_from(to - from).unwrap().min(copy.len());
            let own = copy.as_ptr() as u64;
            copy.fill(0);
            if own + copy.len() as u64 <= from || from + length as u64 <= own {
                // What cannot be read, such as a guard page, holds nothing.
                let _ = memory.read_at(&mut copy[..length], from);
            }
            for (case, (_, salt, cipher, integrity)) in CASES.iter().enumerate() {
                found[2 * case] += if *cipher > 0 { count_in(&copy[..length], 2 * case, *salt) } else { 0 };
                found[2 * case + 1] += if *integrity > 0 { count_in(&copy[..length], 2 * case + 1, 0) } else { 0 };
            }
            from += if length == copy.len() { (length - SHOWN) as u64 } else { length as u64 };
        }
    }
    found.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn keys_of_an_sa_that_is_gone_are_nowhere() {
    // The search finds what is there.
    let there = keys(0, 20, 0);
    assert_eq!(copies(), [(0, 1)]);
    drop(there);
    assert_eq!(copies(), []);
    for direction in [Direction::Outbound, Direction::Inbound] {
        for case in 0..CASES.len() {
            drop(Sa::new(vec![entry(case, direction, 0x1001)]).unwrap());
            drop(Sa::new(vec![entry(case, direction, 0x1001), entry((case + 1) % CASES.len(), direction, 0x1002)]));
            // Refused, after the first one's key was expanded.
            let mut wrong = entry(case, direction, 0x1003);
            wrong.keys.cipher.truncate(5);
            drop(Sa::new(vec![entry(case, direction, 0x1001), wrong]));
        }
    }
    assert_eq!(copies(), [], "keys by number, and how often: cipher keys are even, of the cases in order");
}
