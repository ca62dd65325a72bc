//! Any packet, into any room: it comes back, and the room decides only whether it fits.

#![no_main]

use gipsec_compression::{Algorithm, compress, decompress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (room, packet) = input;
    let room = usize::from(room) % (packet.len() + 16);
    for algorithm in [Algorithm::Deflate, Algorithm::Lzs] {
        let mut shorter = vec![0xee; room + 32];
        let fits = compress(algorithm, packet, &mut shorter[..room]);
        assert!(shorter[room..].iter().all(|byte| *byte == 0xee));
        let mut stream = vec![0; packet.len() * 9 / 8 + 64];
        let len = compress(algorithm, packet, &mut stream).expect("room for noise");
        assert_eq!(fits, (len <= room).then_some(len));
        let mut back = vec![0; packet.len()];
        assert_eq!(decompress(algorithm, &stream[..len], &mut back), Ok(packet.len()));
        assert_eq!(back, packet);
    }
});
