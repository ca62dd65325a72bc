//! Buffers at every alignment, and buffers that touch inaccessible pages: a
//! kernel that reads or writes one byte too many crashes the test.

mod support;

use gipsec_kernels::gcm::Backend;
use support::pages::GuardedPages;
use support::{Generator, available, expand};

#[test]
fn guarded_pages() {
    let mut generator = Generator::new(11);
    let (mut input, mut output, mut aad) = (GuardedPages::new(), GuardedPages::new(), GuardedPages::new());
    for key_len in [16, 24, 32] {
        let key_bytes = generator.bytes(key_len);
        let oracle = expand(&key_bytes, Backend::Portable);
        for backend in available() {
            let key = expand(&key_bytes, backend);
            for len in (0..=700).chain([1420, 1421, 2048, 4095, 8192]) {
                let nonce = generator.nonce();
                let header = generator.bytes(len % 21);
                let plaintext = generator.bytes(len);
                let split = len - generator.below(24).min(len);
                let mut expected = plaintext.clone();
                let tag = oracle.seal_in_place(&nonce, &header, &mut expected);
                for at_end in [true, false] {
                    let place = |pages: &'_ mut GuardedPages, data: &[u8]| -> (*mut u8, usize) {
                        let room = if at_end { pages.end(data.len()) } else { pages.start(data.len()) };
                        room.copy_from_slice(data);
                        (room.as_mut_ptr(), data.len())
                    };
                    // SAFETY: three mappings that do not overlap and outlive
                    // the slices; each is accessed through one slice at a time.
                    let (header, source, target) = unsafe {
                        let (header, header_len) = place(&mut aad, &header);
                        let (source, source_len) = place(&mut input, &plaintext[..split]);
                        let (target, target_len) = place(&mut output, &plaintext);
                        (
                            std::slice::from_raw_parts(header, header_len),
                            std::slice::from_raw_parts(source, source_len),
                            std::slice::from_raw_parts_mut(target, target_len),
                        )
                    };
                    target[..split].fill(0);
                    assert_eq!(key.seal(&nonce, header, source, target), tag);
                    assert!(target == expected, "{backend:?} {len}");
                    assert_eq!(key.mac(&nonce, &[header, target]), oracle.mac(&nonce, &[header, target]));
                    assert_eq!(key.open_in_place(&nonce, header, &tag, target), Ok(()));
                    assert!(target == plaintext, "{backend:?} {len}");
                    place(&mut input, &expected);
                    let source = if at_end { input.end(len) } else { input.start(len) };
                    target.fill(0);
                    assert_eq!(key.open(&nonce, header, source, &tag, target), Ok(()));
                    assert!(target == plaintext, "{backend:?} {len}");
                }
            }
        }
    }
}

#[test]
fn alignments() {
    let mut generator = Generator::new(12);
    let key_bytes = generator.bytes(16);
    let oracle = expand(&key_bytes, Backend::Portable);
    for backend in available() {
        let key = expand(&key_bytes, backend);
        for len in [1, 40, 64, 321, 1420] {
            let plaintext = generator.bytes(len);
            let nonce = generator.nonce();
            let mut expected = plaintext.clone();
            let tag = oracle.seal_in_place(&nonce, &[9; 12], &mut expected);
            for source_offset in 0..64 {
                for output_offset in [0, 1, 7, 16, 31, 33, 48, 63] {
                    let mut source = vec![0; source_offset];
                    source.extend_from_slice(&plaintext);
                    let mut output = vec![0xee; output_offset + len + 64];
                    let window = &mut output[output_offset..output_offset + len];
                    assert_eq!(key.seal(&nonce, &[9; 12], &source[source_offset..], window), tag);
                    assert!(window == expected);
                    assert_eq!(key.open_in_place(&nonce, &[9; 12], &tag, window), Ok(()));
                    assert!(window == plaintext);
                    let around = output[..output_offset].iter().chain(&output[output_offset + len..]);
                    assert!(around.copied().all(|byte| byte == 0xee), "bytes around the output changed");
                }
            }
        }
    }
}
