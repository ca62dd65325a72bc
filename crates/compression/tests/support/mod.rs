//! What the tests against other implementations share.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Packets up to 65,000 bytes: noise, words and repetitions, the same in every run.
pub(crate) fn packets(count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % limit
    };
    const WORDS: [&str; 16] = [
        "the ",
        "packet ",
        "GET / HTTP/1.1\r\n",
        "Host: ",
        "example.org",
        "a",
        "0",
        "\r\n",
        "association ",
        "of ",
        "Content-Length: ",
        "\0\0\0\0",
        "security ",
        "<div class=\"",
        "\">",
        "e",
    ];
    (0..count)
        .map(|number| {
            let len = if number < 40 { number } else { [100, 1500, 1500, 9000, 65_000][below(5)] };
            let len = if number < 40 { len } else { below(len) + 1 };
            let mut packet = Vec::new();
            while packet.len() < len {
                match below(8) {
                    0 => packet.extend((0..below(60)).map(|_| u8::try_from(below(256)).unwrap())),
                    1 if !packet.is_empty() => {
                        let from = packet.len() - 1 - below(packet.len().min(4000));
                        let piece: Vec<u8> = packet[from..].iter().copied().cycle().take(below(400)).collect();
                        packet.extend(piece);
                    }
                    _ => packet.extend(WORDS[below(WORDS.len())].as_bytes()),
                }
            }
            packet.truncate(len);
            if number % 10 == 9 {
                packet.fill_with(|| u8::try_from(below(256)).unwrap());
            }
            packet
        })
        .collect()
}

/// Writes `asked` into a program and returns what it answers, once it has ended well.
pub(crate) fn talk(mut program: Command, asked: Vec<u8>) -> Vec<u8> {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("piped");
    // From another thread: both pipes may be full.
    let writer = std::thread::spawn(move || input.write_all(&asked));
    let mut answer = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut answer).expect("the program answers");
    writer.join().expect("no panic").expect("the program reads all");
    assert!(child.wait().expect("the program ends").success());
    answer
}
