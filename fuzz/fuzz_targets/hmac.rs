//! Any key and any number of messages of any lengths, authenticated together on every backend, against the hmac crate one
//! after another.

#![no_main]

use gipsec_kernels::{
    gcm::Backend,
    hmac::{Message, Sha1Key, Sha256Key},
};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha1::Sha1;
use sha2::Sha256;

/// More than the widest backend has lanes for.
const MOST: usize = 40;

fn expected<Function: Mac + KeyInit, const TAG: usize>(key: &[u8], packets: &[(u8, &[u8])]) -> Vec<[u8; TAG]> {
    let tag = |packet: &[u8]| {
        let function = <Function as KeyInit>::new_from_slice(key).expect("any length");
        function.chain_update(packet).finalize().into_bytes()[..].try_into().expect("a tag's length")
    };
    packets.iter().map(|(_, packet)| tag(packet)).collect()
}

fuzz_target!(|input: (&[u8], Vec<(u8, &[u8])>)| {
    let (key, mut packets) = input;
    packets.truncate(MOST);
    let messages: Vec<_> = packets
        .iter()
        .map(|(tail, packet)| {
            let (head, tail) = packet.split_at(packet.len() - usize::from(*tail) % (packet.len().min(80) + 1));
            Message { head, tail }
        })
        .collect();
    let sha1 = expected::<Hmac<Sha1>, 20>(key, &packets);
    let sha256 = expected::<Hmac<Sha256>, 32>(key, &packets);
    for backend in Backend::ALL {
        let Some(short) = Sha1Key::with_backend(key, backend) else { continue };
        let mut tags = vec![[0xa5; 20]; messages.len()];
        short.compute(&messages, &mut tags);
        assert_eq!(tags, sha1, "{backend:?}");
        let keys: Vec<_> = (0..messages.len()).map(|at| [key, &[at.to_le_bytes()[0]]].concat()).collect();
        let expanded: Vec<_> = keys.iter().map(|key| Sha1Key::with_backend(key, backend).expect("available")).collect();
        Sha1Key::compute_together(&expanded.iter().collect::<Vec<_>>(), &messages, &mut tags);
        for ((key, tag), packet) in keys.iter().zip(&tags).zip(&packets) {
            assert_eq!([*tag], expected::<Hmac<Sha1>, 20>(key, &[*packet])[..], "{backend:?}");
        }
        let long = Sha256Key::with_backend(key, backend).expect("it has SHA1");
        let mut tags = vec![[0xa5; 32]; messages.len()];
        long.compute(&messages, &mut tags);
        assert_eq!(tags, sha256, "{backend:?}");
    }
});
