//! Any number of packets of any lengths, encrypted together on every backend, against the cbc crate one after another:
//! each in one buffer or in two. Decrypted again apart and in place.

#![no_main]

use aes::{
    Aes128, Aes192, Aes256, Block,
    cipher::{BlockModeEncrypt, InnerIvInit, KeyInit},
};
use gipsec_kernels::{
    cbc::{DecryptKey, EncryptKey, Job, encrypt_together},
    gcm::Backend,
};
use libfuzzer_sys::fuzz_target;

/// More than the widest backend has lanes for.
const MOST: usize = 40;

/// The packet with its whole blocks encrypted.
fn expected(key: &[u8], iv: &[u8; 16], packet: &[u8]) -> Vec<u8> {
    let mut text = packet.to_vec();
    let (blocks, _) = text.as_chunks_mut::<16>();
    let blocks = blocks.iter_mut().map(|block| <&mut Block>::from(block));
    match key.len() {
        16 => {
            let mut cipher = cbc::Encryptor::inner_iv_init(Aes128::new_from_slice(key).unwrap(), iv.into());
            blocks.for_each(|block| cipher.encrypt_block(block));
        }
        24 => {
            let mut cipher = cbc::Encryptor::inner_iv_init(Aes192::new_from_slice(key).unwrap(), iv.into());
            blocks.for_each(|block| cipher.encrypt_block(block));
        }
        _ => {
            let mut cipher = cbc::Encryptor::inner_iv_init(Aes256::new_from_slice(key).unwrap(), iv.into());
            blocks.for_each(|block| cipher.encrypt_block(block));
        }
    }
    text
}

type Packet<'a> = ([u8; 16], Option<u16>, &'a [u8]);

/// The packets in place, each with a key of its own, of all lengths in turn.
fn own_keys(packets: &[Packet<'_>], key: &[u8], backend: Backend) {
    let keys: Vec<Vec<u8>> = (0..packets.len())
        .map(|at| {
            let len = [key.len(), 16, key.len(), 32][at % 4];
            key.iter().cycle().take(len).map(|byte| byte.wrapping_add(at.to_le_bytes()[0])).collect()
        })
        .collect();
    let expanded: Vec<_> = keys.iter().map(|key| EncryptKey::with_backend(key, backend).expect("available")).collect();
    let mut bodies: Vec<_> = packets.iter().map(|(.., packet)| packet.to_vec()).collect();
    let mut jobs: Vec<_> = expanded
        .iter()
        .zip(packets.iter().zip(&mut bodies))
        .map(|(key, ((iv, ..), body))| (key, Job { iv: *iv, payload: None, body }))
        .collect();
    encrypt_together(&mut jobs);
    for ((key, (iv, _, packet)), body) in keys.iter().zip(packets).zip(&bodies) {
        assert_eq!(*body, expected(key, iv, packet), "{backend:?}");
    }
}

fuzz_target!(|input: (u8, [u8; 32], Vec<Packet<'_>>)| {
    let (key_len, key, mut packets) = input;
    packets.truncate(MOST);
    let key = &key[..[16, 24, 32][usize::from(key_len) % 3]];
    let sealed: Vec<_> = packets.iter().map(|(iv, _, packet)| expected(key, iv, packet)).collect();
    for backend in Backend::ALL {
        let Some(encrypt) = EncryptKey::with_backend(key, backend) else { continue };
        let decrypt = DecryptKey::with_backend(key, backend).expect("it can encrypt");
        let mut bodies: Vec<_> = packets.iter().map(|(.., packet)| packet.to_vec()).collect();
        let mut jobs: Vec<_> = packets
            .iter()
            .zip(&mut bodies)
            .map(|((iv, split, packet), body)| {
                // What is left over at the end of a packet stays as it was, and so does not come from a payload.
                let whole = packet.len() / 16 * 16;
                let payload = split.map(|split| &packet[..usize::from(split) % (whole + 1)]);
                body[..payload.map_or(0, <[u8]>::len)].fill(0xa5);
                Job { iv: *iv, payload, body }
            })
            .collect();
        encrypt.encrypt(&mut jobs);
        drop(jobs);
        assert_eq!(bodies, sealed, "{backend:?}");
        own_keys(&packets, key, backend);
        for (((iv, _, packet), sealed), body) in packets.iter().zip(&sealed).zip(&mut bodies) {
            let whole = packet.len() / 16 * 16;
            let mut output = vec![0xa5; whole];
            decrypt.decrypt(iv, &sealed[..whole], &mut output);
            assert_eq!(output, packet[..whole], "{backend:?}");
            decrypt.decrypt_in_place(iv, body);
            assert_eq!(body, packet, "{backend:?}");
        }
    }
});
