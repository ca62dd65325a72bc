use super::*;
use proptest::prelude::*;

const BOTH: [Algorithm; 2] = [Algorithm::Deflate, Algorithm::Lzs];

/// Packets as long as there are: noise, few letters, repetitions of a piece, and these one after the other.
pub(crate) fn packet() -> impl Strategy<Value = Vec<u8>> {
    let len = || prop_oneof![6 => 0..600_usize, 3 => 0..3_000_usize, 1 => 0..65_536_usize];
    let noise = len().prop_flat_map(|len| proptest::collection::vec(any::<u8>(), len));
    let letters = len().prop_flat_map(|len| proptest::collection::vec(b'a'..b'e', len));
    let repetitive = (proptest::collection::vec(any::<u8>(), 1..3_000), len())
        .prop_map(|(piece, len)| piece.into_iter().cycle().take(len).collect::<Vec<u8>>());
    let one = prop_oneof![noise, letters, repetitive];
    proptest::collection::vec(one, 0..5).prop_map(|parts| {
        let mut packet = parts.concat();
        packet.truncate(65_535);
        packet
    })
}

/// Bytes that do not compress, the same in every run.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

fn unpack(algorithm: Algorithm, stream: &[u8], room: usize) -> Result<Vec<u8>, Error> {
    let mut output = vec![0xee; room + 16];
    let result = decompress(algorithm, stream, &mut output[..room]);
    assert_eq!(output[room..], [0xee; 16], "wrote beyond the output");
    result.map(|len| output[..len].to_vec())
}

fn pack(algorithm: Algorithm, plain: &[u8]) -> Vec<u8> {
    let mut output = vec![0; plain.len() * 9 / 8 + 64];
    let len = compress(algorithm, plain, &mut output).expect("room for noise");
    output.truncate(len);
    output
}

#[test]
fn text_shrinks_and_noise_does_not() {
    let text =
        b"GET / HTTP/1.1\r\nHost: www.example.org\r\nAccept: text/html\r\nAccept-Language: en\r\n\r\n".repeat(10);
    let noise = noise(1400);
    for algorithm in BOTH {
        assert!(pack(algorithm, &text).len() < text.len() / 3, "{algorithm:?}");
        let mut output = vec![0; noise.len() - 1];
        assert_eq!(compress(algorithm, &noise, &mut output), None, "{algorithm:?}");
        assert_eq!(compress(algorithm, &[], &mut []), None, "{algorithm:?}");
    }
}

#[test]
fn an_empty_packet_comes_back() {
    for algorithm in BOTH {
        assert_eq!(unpack(algorithm, &pack(algorithm, &[]), 0), Ok(vec![]), "{algorithm:?}");
        assert_eq!(unpack(algorithm, &[], 0), Err(Error::Corrupt), "{algorithm:?}");
        assert_eq!(unpack(algorithm, &[], 100), Err(Error::Corrupt), "{algorithm:?}");
    }
}

#[test]
fn the_room_decides_between_too_long_and_corrupt() {
    let text = b"to be, or not to be, that is the question: ".repeat(30);
    for algorithm in BOTH {
        let stream = pack(algorithm, &text);
        for room in 0..text.len() {
            assert_eq!(unpack(algorithm, &stream, room), Err(Error::TooLong), "{algorithm:?} {room}");
        }
        for cut in 0..stream.len() {
            assert_eq!(unpack(algorithm, &stream[..cut], text.len() + 1), Err(Error::Corrupt), "{algorithm:?} {cut}");
        }
        assert_eq!(unpack(algorithm, &stream, text.len()), Ok(text.clone()), "{algorithm:?}");
        // All of the plaintext, and then no end.
        let cut = &stream[..stream.len() - 1];
        assert_eq!(unpack(algorithm, cut, text.len()), Err(Error::Corrupt), "{algorithm:?}");
    }
}

#[test]
fn bytes_after_the_end_are_padding() {
    for algorithm in BOTH {
        let mut stream = pack(algorithm, b"words, words, words");
        for padding in [0x00, 0xff, 0x5a] {
            stream.push(padding);
            assert_eq!(unpack(algorithm, &stream, 19), Ok(b"words, words, words".to_vec()), "{algorithm:?}");
        }
    }
}

#[test]
fn a_bomb_of_deflate_ends_when_the_output_is_full() {
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; 20_000_000], 9);
    assert!(bomb.len() < 65_535);
    assert_eq!(unpack(Algorithm::Deflate, &bomb, 65_535), Err(Error::TooLong));
    assert_eq!(unpack(Algorithm::Deflate, &bomb, 0), Err(Error::TooLong));
    // Blocks that hold nothing: no output, work for each byte of input only, and no end.
    assert_eq!(unpack(Algorithm::Deflate, &[0, 0, 0, 0xff, 0xff].repeat(13_000), 100), Err(Error::Corrupt));
    assert_eq!(unpack(Algorithm::Deflate, &[0, 0, 0, 0xff, 0xff].repeat(13_000), 0), Err(Error::Corrupt));
}

#[test]
fn a_refused_stream_leaves_nothing_for_the_next() {
    let text = b"the next packet is as if it were the first ".repeat(40);
    for algorithm in BOTH {
        let stream = pack(algorithm, &text);
        for (damaged, room) in [(&stream[..stream.len() / 2], 4000), (&stream, 100), (&[0xff; 50], 4000)] {
            assert!(unpack(algorithm, damaged, room).is_err());
            assert_eq!(compress(algorithm, &text, &mut [0; 20]), None);
            assert_eq!(pack(algorithm, &text), stream);
            assert_eq!(unpack(algorithm, &stream, text.len()), Ok(text.clone()));
        }
    }
}

#[test]
fn a_spare_state_serves_calls_inside_calls_and_ending_threads() {
    thread_local! {
        static SPARE: Spare<u32> = const { Cell::new(None) };
    }
    let counted = with_spare(
        &SPARE,
        || 0,
        |outer| {
            *outer += 1;
            *outer + with_spare(&SPARE, || 100, |inner| *inner)
        },
    );
    assert_eq!(counted, 101);
    assert_eq!(with_spare(&SPARE, || 1000, |state| *state), 1, "the outer state was put back last");

    struct AtTheEnd;
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            for algorithm in BOTH {
                assert_eq!(unpack(algorithm, &pack(algorithm, b"still works"), 11), Ok(b"still works".to_vec()));
            }
        }
    }
    thread_local!(static LAST: AtTheEnd = const { AtTheEnd });
    std::thread::spawn(|| {
        // Destroyed in some order with the spares, whichever comes first.
        LAST.with(|_| pack(Algorithm::Lzs, b"first"));
        pack(Algorithm::Deflate, b"first");
    })
    .join()
    .expect("a thread that is ending compresses");
}

proptest! {
    #[test]
    fn packets_come_back(plain in packet()) {
        for algorithm in BOTH {
            let stream = pack(algorithm, &plain);
            prop_assert_eq!(unpack(algorithm, &stream, plain.len()), Ok(plain.clone()));
            let mut shorter = vec![0xee; plain.len()];
            let room = plain.len().saturating_sub(1);
            let shrunk = compress(algorithm, &plain, &mut shorter[..room]);
            prop_assert_eq!(shrunk, (stream.len() <= room).then_some(stream.len()));
            prop_assert!(shorter[room..].iter().all(|byte| *byte == 0xee));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(stream in proptest::collection::vec(any::<u8>(), 0..500), room in 0..3000_usize) {
        for algorithm in BOTH {
            let _ = unpack(algorithm, &stream, room);
        }
    }

    #[test]
    fn damage_does_not_make_it_panic(plain in packet(), at: prop::sample::Index, byte: u8, room in 0..70_000_usize) {
        for algorithm in BOTH {
            let mut stream = pack(algorithm, &plain);
            let at = at.index(stream.len());
            stream[at] = byte;
            let _ = unpack(algorithm, &stream, room);
        }
    }

    #[test]
    fn miniz_reads_what_deflate_writes(plain in packet()) {
        let stream = pack(Algorithm::Deflate, &plain);
        prop_assert_eq!(miniz_oxide::inflate::decompress_to_vec_with_limit(&stream, 65_535).unwrap(), plain);
    }

    #[test]
    fn deflate_reads_what_miniz_writes(plain in packet(), level in 0..10_u8) {
        let stream = miniz_oxide::deflate::compress_to_vec(&plain, level);
        prop_assert_eq!(unpack(Algorithm::Deflate, &stream, plain.len()), Ok(plain.clone()));
        if !plain.is_empty() {
            prop_assert_eq!(unpack(Algorithm::Deflate, &stream, plain.len() - 1), Err(Error::TooLong));
        }
    }

    #[test]
    fn miniz_agrees_on_any_bytes(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
        let theirs = miniz_oxide::inflate::decompress_to_vec_with_limit(&stream, 5_000);
        prop_assert_eq!(unpack(Algorithm::Deflate, &stream, 5_000).ok(), theirs.ok());
    }
}
