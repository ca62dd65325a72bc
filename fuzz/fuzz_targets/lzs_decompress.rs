//! Any bytes as a stream of LZS, into any room: nothing is written beyond it, and what is read can be written again.

#![no_main]

use gipsec_compression::{Algorithm, compress, decompress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (room, stream) = input;
    let room = usize::from(room);
    let mut output = vec![0xee; room + 32];
    let Ok(len) = decompress(Algorithm::Lzs, stream, &mut output[..room]) else {
        assert!(output[room..].iter().all(|byte| *byte == 0xee));
        return;
    };
    assert!(len <= room && output[room..].iter().all(|byte| *byte == 0xee));
    let plain = &output[..len];
    let mut again = vec![0; len * 9 / 8 + 3];
    let again_len = compress(Algorithm::Lzs, plain, &mut again).expect("nine bits a byte and the end marker");
    let mut back = vec![0; len];
    assert_eq!(decompress(Algorithm::Lzs, &again[..again_len], &mut back), Ok(len));
    assert_eq!(back, plain);
});
