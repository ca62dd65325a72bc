//! A packet of any length from any counter block, encrypted on every backend, against the ctr crate: apart, in place,
//! and with any part of it as the payload.

#![no_main]

use aes::{Aes128, Aes192, Aes256};
use ctr::{
    Ctr32BE,
    cipher::{KeyIvInit, StreamCipher},
};
use gipsec_kernels::{ctr::Key, gcm::Backend};
use libfuzzer_sys::fuzz_target;

fn expected<C: KeyIvInit + StreamCipher>(key: &[u8], counter: &[u8; 16], packet: &[u8]) -> Vec<u8> {
    let mut text = packet.to_vec();
    C::new_from_slices(key, counter).unwrap().apply_keystream(&mut text);
    text
}

fuzz_target!(|input: (u8, [u8; 32], [u8; 16], u16, &[u8])| {
    let (key_len, key, counter, split, packet) = input;
    let key = &key[..[16, 24, 32][usize::from(key_len) % 3]];
    let sealed = match key.len() {
        16 => expected::<Ctr32BE<Aes128>>(key, &counter, packet),
        24 => expected::<Ctr32BE<Aes192>>(key, &counter, packet),
        _ => expected::<Ctr32BE<Aes256>>(key, &counter, packet),
    };
    let payload = &packet[..usize::from(split) % (packet.len() + 1)];
    for backend in Backend::ALL {
        let Some(key) = Key::with_backend(key, backend) else { continue };
        let mut body = packet.to_vec();
        body[..payload.len()].fill(0xa5);
        key.seal(&counter, Some(payload), &mut body);
        assert_eq!(body, sealed, "{backend:?}");
        key.apply_in_place(&counter, &mut body);
        assert_eq!(body, packet, "{backend:?}");
        key.seal(&counter, None, &mut body);
        assert_eq!(body, sealed, "{backend:?}");
        let mut output = vec![0x5a; packet.len()];
        key.apply(&counter, &sealed, &mut output);
        assert_eq!(output, packet, "{backend:?}");
    }
});
