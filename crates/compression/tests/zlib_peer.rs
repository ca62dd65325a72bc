//! DEFLATE against zlib itself, as Python has it: above all, that 2^11 bytes of window suffice to read what is written.

mod support;

use std::io::Write;
use std::process::Command;

use gipsec_compression::{Algorithm, compress, decompress};
use support::{packets, talk};

/// Reads records of room, length, bytes. Room zero: answers with the bytes, deflated at a level and with a window that
/// change. Else inflates with a window of 2^11 into pieces of `room` bytes, so that zlib has no more than its window and
/// the piece to copy from; answers with the plaintext.
const PYTHON: &str = r#"
import sys, zlib
asked, at, number = sys.stdin.buffer.read(), 0, 0
while at < len(asked):
    room, length = (int.from_bytes(asked[i:i + 4], "little") for i in (at, at + 4))
    data, at, number = asked[at + 8:at + 8 + length], at + 8 + length, number + 1
    if room:
        inflate, answer = zlib.decompressobj(-11), b""
        try:
            while not inflate.eof:
                piece = inflate.decompress(data, room)
                if not piece and not inflate.eof and not inflate.unconsumed_tail:
                    break
                data, answer = inflate.unconsumed_tail, answer + piece
            if not inflate.eof:
                answer = b"cut"
        except zlib.error as error:
            answer = str(error).encode()
    else:
        deflate = zlib.compressobj(number % 10, zlib.DEFLATED, -(9 + number % 7), 1 + number % 9, number % 5)
        answer = deflate.compress(data) + deflate.flush()
    sys.stdout.buffer.write(len(answer).to_bytes(4, "little") + answer)
"#;

fn ask(records: &[(usize, Vec<u8>)]) -> Option<Vec<Vec<u8>>> {
    let has_zlib = Command::new("python3").args(["-c", "import zlib"]).status();
    if !has_zlib.is_ok_and(|status| status.success()) {
        // Past the harness, which would hide what a passing test prints.
        let _ = writeln!(std::io::stdout(), "SKIPPED: DEFLATE against zlib: no python3 with zlib here");
        return None;
    }
    let mut asked = Vec::new();
    for (room, record) in records {
        asked.extend(u32::try_from(*room).unwrap().to_le_bytes());
        asked.extend(u32::try_from(record.len()).unwrap().to_le_bytes());
        asked.extend(record);
    }
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]);
    let answers = talk(python, asked);
    let mut answers = &answers[..];
    Some(
        records
            .iter()
            .map(|_| {
                let (len, rest) = answers.split_first_chunk().expect("an answer for each record");
                let (answer, rest) = rest.split_at(usize::try_from(u32::from_le_bytes(*len)).unwrap());
                answers = rest;
                answer.to_vec()
            })
            .collect(),
    )
}

#[test]
fn a_window_of_2048_bytes_reads_what_is_written() {
    let packets = packets(400);
    let records: Vec<(usize, Vec<u8>)> = packets
        .iter()
        .enumerate()
        .map(|(number, packet)| {
            let mut stream = vec![0; packet.len() * 9 / 8 + 64];
            let len = compress(Algorithm::Deflate, packet, &mut stream).expect("room for noise");
            stream.truncate(len);
            // A byte at a time allows exactly the window; it takes long.
            (if number % 8 == 0 { 1 } else { 64 }, stream)
        })
        .collect();
    let Some(answers) = ask(&records) else { return };
    for ((packet, answer), (_, stream)) in packets.iter().zip(answers).zip(&records) {
        let said = String::from_utf8_lossy(&answer[..answer.len().min(40)]);
        assert!(answer == *packet, "a packet of {} bytes, a stream of {}: {said}", packet.len(), stream.len());
    }
    // That this can fail at all: a match from 3000 bytes back, as a larger window would have it.
    let noise: Vec<u8> =
        packets.iter().find(|packet| packet.len() > 3000).map(|packet| packet[..3000].to_vec()).unwrap();
    let far = miniz_oxide::deflate::compress_to_vec(&[&noise[..], &noise].concat(), 9);
    let answers = ask(&[(1, far)]).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&answers[0]),
        "Error -3 while decompressing data: invalid distance too far back"
    );
}

#[test]
fn what_zlib_writes_is_read() {
    let packets = packets(400);
    let Some(streams) = ask(&packets.iter().map(|packet| (0, packet.clone())).collect::<Vec<_>>()) else { return };
    for (packet, stream) in packets.iter().zip(streams) {
        let mut plain = vec![0; packet.len()];
        let len = decompress(Algorithm::Deflate, &stream, &mut plain);
        assert!(len == Ok(packet.len()) && plain == *packet, "a packet of {} bytes: {len:?}", packet.len());
    }
}
