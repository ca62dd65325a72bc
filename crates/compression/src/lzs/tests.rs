use super::*;
use proptest::prelude::*;

/// What is written as 0 and 1, zeros up to a whole byte.
fn bits(text: &str) -> Vec<u8> {
    let mut bits: Vec<_> = text.bytes().filter(|byte| *byte != b' ').map(|byte| byte - b'0').collect();
    bits.resize(bits.len().next_multiple_of(8), 0);
    bits.chunks(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | bit)).collect()
}

fn literals(text: &[u8]) -> String {
    text.iter().map(|byte| format!("0 {byte:08b} ")).collect()
}

fn unpack(stream: &[u8], room: usize) -> Result<Vec<u8>, Error> {
    let mut output = vec![0; room];
    decompress(stream, &mut output).map(|len| output[..len].to_vec())
}

fn pack(plain: &[u8]) -> Vec<u8> {
    let mut output = vec![0; plain.len() * 9 / 8 + 3];
    let len = compress(plain, &mut output).expect("nine bits a byte and the end marker always suffice");
    output.truncate(len);
    output
}

const END_BITS: &str = "1 1 0000000";

/// Codes of lengths on both sides of every change of form, copied from the table and not computed.
const LENGTHS: [(usize, &str); 19] = [
    (2, "00"),
    (3, "01"),
    (4, "10"),
    (5, "1100"),
    (6, "1101"),
    (7, "1110"),
    (8, "1111 0000"),
    (9, "1111 0001"),
    (21, "1111 1101"),
    (22, "1111 1110"),
    (23, "1111 1111 0000"),
    (24, "1111 1111 0001"),
    (37, "1111 1111 1110"),
    (38, "1111 1111 1111 0000"),
    (52, "1111 1111 1111 1110"),
    (53, "1111 1111 1111 1111 0000"),
    (67, "1111 1111 1111 1111 1110"),
    (68, "1111 1111 1111 1111 1111 0000"),
    (83, "1111 1111 1111 1111 1111 1111 0000"),
];

#[test]
fn nothing_is_an_end_marker() {
    assert_eq!(pack(&[]), [0xc0, 0x00]);
    assert_eq!(unpack(&[0xc0, 0x00], 0), Ok(vec![]));
    assert_eq!(unpack(&[], 10), Err(Error::Corrupt));
}

#[test]
fn literals_are_nine_bits() {
    // 0 01100001  0 01100010  1 1 0000000, by hand.
    let stream = [0b0011_0000, 0b1001_1000, 0b1011_0000, 0b0000_0000];
    assert_eq!(unpack(&stream, 2), Ok(b"ab".to_vec()));
    assert_eq!(pack(b"ab"), stream);
    assert_eq!(unpack(&stream, 1), Err(Error::TooLong));
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(unpack(&bits(&(literals(&all) + END_BITS)), 256), Ok(all.clone()));
    assert_eq!(pack(&all), bits(&(literals(&all) + END_BITS)));
}

#[test]
fn every_form_of_a_length_is_read_and_written() {
    for (length, code) in LENGTHS {
        // A run, which repeats itself.
        let run = vec![b'x'; length + 1];
        let stream = bits(&format!("{} 1 1 0000001 {code} {END_BITS}", literals(b"x")));
        assert_eq!(unpack(&stream, length + 1), Ok(run.clone()), "{length}");
        assert_eq!(unpack(&stream, length), Err(Error::TooLong), "{length}");
        if length >= 4 {
            assert_eq!(pack(&run), stream, "{length}");
        }
        // The same bytes again, from farther back than the match is long.
        let once: Vec<u8> = (0..100).collect();
        let stream = bits(&format!("{} 1 1 {:07b} {code} {END_BITS}", literals(&once), 100));
        assert_eq!(unpack(&stream, 200), Ok([&once, &once[..length]].concat()), "{length}");
    }
}

#[test]
fn offsets_are_short_up_to_127_and_long_up_to_2047() {
    for offset in [2, 3, 7, 15, 16, 17, 126, 127, 128, 129, 1000, 2046, 2047] {
        // Noise, then its first five bytes again.
        let once = crate::tests::noise(offset);
        let Ok(plain) = unpack(
            &bits(&if offset < 128 {
                format!("{} 1 1 {offset:07b} 1100 {END_BITS}", literals(&once))
            } else {
                format!("{} 1 0 {offset:011b} 1100 {END_BITS}", literals(&once))
            }),
            offset + 5,
        ) else {
            panic!("{offset}");
        };
        let expected: Vec<u8> = once.iter().cycle().take(offset + 5).copied().collect();
        assert_eq!(plain, expected, "{offset}");
        assert_eq!(unpack(&pack(&plain), plain.len()), Ok(plain), "{offset}");
    }
    // A short offset in the long form is unusual and not wrong.
    let long = bits(&format!("{} 1 0 00000000001 00 {END_BITS}", literals(b"a")));
    assert_eq!(unpack(&long, 3), Ok(b"aaa".to_vec()));
}

#[test]
fn the_history_ends_at_2047_bytes() {
    let unique = b"0123456789abcdef";
    // Sixteen literals are 18 bytes; a match instead of them leaves less than 100 altogether.
    for (gap, found) in [(2047 - 16, true), (2048 - 16, false)] {
        let plain = [&unique[..], &vec![b'.'; gap], unique].concat();
        let stream = pack(&plain);
        assert_eq!(stream.len() < 100, found, "{gap}: {}", stream.len());
        assert_eq!(unpack(&stream, plain.len()), Ok(plain));
    }
}

#[test]
fn an_offset_beyond_the_first_byte_is_refused() {
    for (text, offset) in [(&b""[..], 1), (b"a", 2), (b"abc", 4), (b"abc", 127)] {
        let stream = bits(&format!("{} 1 1 {offset:07b} 00 {END_BITS}", literals(text)));
        assert_eq!(unpack(&stream, 100), Err(Error::Corrupt));
    }
    for offset in [0, 4, 2047] {
        let stream = bits(&format!("{} 1 0 {offset:011b} 00 {END_BITS}", literals(b"abc")));
        assert_eq!(unpack(&stream, 100), Err(Error::Corrupt), "{offset}");
    }
}

#[test]
fn a_cut_stream_is_refused_wherever_it_is_cut() {
    let stream = pack(&b"the cat and the dog and the cat and the bird ".repeat(20));
    for len in 0..stream.len() {
        assert_eq!(unpack(&stream[..len], 10_000), Err(Error::Corrupt), "{len}");
    }
    // At every bit: ones after the cut, which no end marker can be made of.
    let text = literals(b"abcdef") + "1 1 0000011 1111 1111 0101 1 0 00000000110 01 " + END_BITS;
    let text = text.replace(' ', "");
    for cut in 0..text.len() {
        let cut = format!("{}{}", &text[..cut], "1".repeat(8 - cut % 8));
        assert!(unpack(&bits(&cut), 10_000).is_err(), "{cut}");
    }
    assert!(unpack(&bits(&text), 10_000).is_ok());
}

#[test]
fn what_follows_the_end_marker_is_padding() {
    let mut stream = bits(&(literals(b"abc") + END_BITS + " 1111111 10101010 00000000"));
    assert_eq!(unpack(&stream, 3), Ok(b"abc".to_vec()));
    stream.extend([0xff; 20]);
    assert_eq!(unpack(&stream, 3), Ok(b"abc".to_vec()));
}

#[test]
fn a_bomb_ends_when_the_output_is_full() {
    // One match of a million bytes and more, and thousands of matches.
    let endless = bits(&format!("{} 1 1 0000001 {}", literals(b"x"), "1".repeat(300_000)));
    assert_eq!(unpack(&endless, 65_535), Err(Error::TooLong));
    let matches = bits(&(literals(b"x") + &"1 1 0000001 1111 1111 1111 1110 ".repeat(5_000)));
    assert_eq!(unpack(&matches, 65_535), Err(Error::TooLong));
    let zeros = vec![0; 65_535];
    let stream = pack(&zeros);
    assert!(stream.len() < 2_190, "{}", stream.len());
    assert_eq!(unpack(&stream, 65_534), Err(Error::TooLong));
    assert_eq!(unpack(&stream, 65_535), Ok(zeros));
}

#[test]
fn no_packet_reaches_into_an_earlier_one() {
    let text: Vec<u8> = (0..800_u32).flat_map(|n| (n * n).to_string().into_bytes()).take(1400).collect();
    let mut finder = Box::new(Finder::new());
    let mut streams = (0..100).map(|_| {
        let mut output = vec![0; 1400];
        let len = finder.compress(&text, Writer::new(&mut output)).unwrap();
        output.truncate(len);
        output
    });
    let first = streams.next().unwrap();
    assert_eq!(unpack(&first, 1400), Ok(text.clone()));
    assert!(streams.all(|stream| stream == first));
}

#[test]
fn places_that_run_out_begin_anew() {
    let text = b"one and one and one is three ".repeat(40);
    let expected = pack(&text);
    for before in (0..8_000).step_by(500) {
        let mut finder = Box::new(Finder::new());
        finder.next = u32::MAX - before;
        for _ in 0..4 {
            let mut output = vec![0; text.len()];
            let len = finder.compress(&text, Writer::new(&mut output)).unwrap();
            assert_eq!(output[..len], expected, "{before}");
        }
    }
}

#[test]
fn every_length_of_output_is_kept() {
    let text = b"abracadabra, abracadabra; simsalabim".repeat(3);
    let whole = pack(&text);
    for room in 0..whole.len() + 4 {
        let mut output = vec![0xee; room + 8];
        let len = compress(&text, &mut output[..room]);
        assert_eq!(len, (room >= whole.len()).then_some(whole.len()), "{room}");
        assert_eq!(output[room..], [0xee; 8]);
    }
}

/// The token table read one bit at a time, with nothing of the decoder above.
fn naive(stream: &[u8], room: usize) -> Result<Vec<u8>, Error> {
    struct Bits(std::vec::IntoIter<bool>);
    impl Bits {
        fn number(&mut self, count: u32) -> Result<usize, Error> {
            let mut number = 0;
            for _ in 0..count {
                number = number * 2 + usize::from(self.0.next().ok_or(Error::Corrupt)?);
            }
            Ok(number)
        }
    }
    let all: Vec<bool> = stream.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0)).collect();
    let mut bits = Bits(all.into_iter());
    let mut plain = Vec::new();
    loop {
        if bits.number(1)? == 0 {
            let byte = bits.number(8)?;
            if plain.len() == room {
                return Err(Error::TooLong);
            }
            plain.push(u8::try_from(byte).unwrap());
            continue;
        }
        let short = bits.number(1)? == 1;
        let offset = bits.number(if short { 7 } else { 11 })?;
        if short && offset == 0 {
            return Ok(plain);
        }
        if offset == 0 || offset > plain.len() {
            return Err(Error::Corrupt);
        }
        let mut length = 2 + bits.number(2)?;
        if length == 5 {
            length += bits.number(2)?;
            if length == 8 {
                loop {
                    let more = bits.number(4)?;
                    length += more;
                    if more < 15 || plain.len() + length > room {
                        break;
                    }
                }
            }
        }
        if plain.len() + length > room {
            return Err(Error::TooLong);
        }
        for _ in 0..length {
            plain.push(plain[plain.len() - offset]);
        }
    }
}

/// Streams of tokens that mostly make sense, so that decoding gets far.
fn tokens() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => any::<u8>().prop_map(|byte| format!("0{byte:08b}")),
        4 => (1..40_u8, 0..LENGTHS.len()).prop_map(|(offset, length)| format!("11{offset:07b}{}", LENGTHS[length].1)),
        2 => (0..2048_u16, 0..LENGTHS.len()).prop_map(|(offset, length)| format!("10{offset:011b}{}", LENGTHS[length].1)),
    ];
    let start = proptest::collection::vec(any::<u8>(), 0..300);
    (start, proptest::collection::vec(token, 0..60), any::<bool>()).prop_map(|(start, tokens, ends)| {
        bits(&(literals(&start) + &tokens.concat() + if ends { "110000000" } else { "" }))
    })
}

proptest! {
    #[test]
    fn a_naive_decoder_reads_what_is_written(plain in crate::tests::packet()) {
        prop_assert_eq!(naive(&pack(&plain), plain.len()), Ok(plain));
    }

    #[test]
    fn a_naive_decoder_agrees_on_any_bytes(stream in proptest::collection::vec(any::<u8>(), 0..400), room in 0..2000_usize) {
        prop_assert_eq!(unpack(&stream, room), naive(&stream, room));
    }

    #[test]
    fn a_naive_decoder_agrees_on_tokens(stream in tokens(), room in prop_oneof![Just(5000), 0..2000_usize]) {
        prop_assert_eq!(unpack(&stream, room), naive(&stream, room));
    }

    #[test]
    fn a_naive_decoder_agrees_on_damage(plain in crate::tests::packet(), at: prop::sample::Index, bit in 0..8) {
        let mut stream = pack(&plain);
        let at = at.index(stream.len());
        stream[at] ^= 1_u8 << bit;
        prop_assert_eq!(unpack(&stream, 65_535), naive(&stream, 65_535));
    }
}
