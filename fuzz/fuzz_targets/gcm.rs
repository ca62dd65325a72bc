//! Any key, nonce, associated data and packet, on every backend, against the aes-gcm crate: apart and in place, with the
//! packet in one buffer or in two, with tags cut and tags changed.

#![no_main]

use aes_gcm::{
    AesGcm, KeyInit, Nonce,
    aead::{AeadInPlace, consts::U12},
    aes::{Aes128, Aes192, Aes256},
};
use gipsec_kernels::gcm::{Backend, GcmKey, TagMismatch};
use libfuzzer_sys::fuzz_target;

/// Ciphertext and tag.
fn expected(key: &[u8], nonce: &[u8; 12], aad: &[u8], packet: &[u8]) -> (Vec<u8>, [u8; 16]) {
    fn seal(cipher: &impl AeadInPlace<NonceSize = U12>, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        let tag = cipher.encrypt_in_place_detached(Nonce::from_slice(nonce), aad, text).expect("short enough");
        tag[..].try_into().expect("16 bytes")
    }
    let mut text = packet.to_vec();
    let tag = match key.len() {
        16 => seal(&AesGcm::<Aes128, U12>::new_from_slice(key).unwrap(), nonce, aad, &mut text),
        24 => seal(&AesGcm::<Aes192, U12>::new_from_slice(key).unwrap(), nonce, aad, &mut text),
        _ => seal(&AesGcm::<Aes256, U12>::new_from_slice(key).unwrap(), nonce, aad, &mut text),
    };
    (text, tag)
}

type Input<'a> = (u8, [u8; 32], [u8; 12], u16, u16, u16, &'a [u8]);

fuzz_target!(|input: Input<'_>| {
    let (key_len, key, nonce, aad_len, split, change, bytes) = input;
    let key = &key[..[16, 24, 32][usize::from(key_len) % 3]];
    let (aad, packet) = bytes.split_at(usize::from(aad_len) % (bytes.len() + 1));
    let split = usize::from(split) % (packet.len() + 1);
    let (sealed, tag) = expected(key, &nonce, aad, packet);
    let (_, mac) = expected(key, &nonce, bytes, &[]);
    for backend in Backend::ALL {
        let Some(key) = GcmKey::with_backend(key, backend) else { continue };

        let mut text = packet.to_vec();
        assert_eq!(key.seal_in_place(&nonce, aad, &mut text), tag, "{backend:?}");
        assert_eq!(text, sealed, "{backend:?}");
        let mut output = packet.to_vec();
        output[..split].fill(0xa5);
        assert_eq!(key.seal(&nonce, aad, &packet[..split], &mut output), tag, "{backend:?}");
        assert_eq!(output, sealed, "{backend:?}");
        assert_eq!(key.mac(&nonce, &[aad, &packet[..split], &packet[split..]]), mac, "{backend:?}");

        for kept in [8, 12, 16] {
            output.fill(0xa5);
            assert_eq!(key.open(&nonce, aad, &sealed, &tag[..kept], &mut output), Ok(()), "{backend:?}");
            assert_eq!(output, packet, "{backend:?}");
        }
        assert_eq!(key.open_in_place(&nonce, aad, &tag, &mut text), Ok(()), "{backend:?}");
        assert_eq!(text, packet, "{backend:?}");

        // One bit of the ciphertext or of the tag is another.
        let at = usize::from(change) % ((sealed.len() + 16) * 8);
        let (mut changed, mut wrong) = (sealed.clone(), tag);
        match changed.get_mut(at / 8) {
            Some(byte) => *byte ^= 1 << (at % 8),
            None => wrong[at / 8 - sealed.len()] ^= 1 << (at % 8),
        }
        assert_eq!(key.open(&nonce, aad, &changed, &wrong, &mut output), Err(TagMismatch), "{backend:?}");
        assert!(output.iter().all(|byte| *byte == 0), "{backend:?}");
        assert_eq!(key.open_in_place(&nonce, aad, &wrong, &mut changed), Err(TagMismatch), "{backend:?}");
        assert!(changed.iter().all(|byte| *byte == 0), "{backend:?}");
    }
});
