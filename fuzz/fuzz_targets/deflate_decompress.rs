//! Any bytes as a stream of DEFLATE, into any room: nothing is written beyond it, and miniz reads the same.

#![no_main]

use gipsec_compression::{Algorithm, decompress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (room, stream) = input;
    let room = usize::from(room);
    let mut output = vec![0xee; room + 32];
    let ours = decompress(Algorithm::Deflate, stream, &mut output[..room]).ok();
    assert!(output[room..].iter().all(|byte| *byte == 0xee));
    let theirs = miniz_oxide::inflate::decompress_to_vec_with_limit(stream, room).ok();
    assert_eq!(ours.map(|len| &output[..len]), theirs.as_deref());
});
