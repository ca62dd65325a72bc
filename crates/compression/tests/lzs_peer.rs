//! LZS against another implementation: OpenConnect's, which `scripts/lzs_peer.sh` fetches, builds and names in
//! `GIPSEC_LZS_PEER`.

mod support;

use gipsec_compression::{Algorithm, compress, decompress};
use support::{packets, talk};

/// Asks the peer to compress (`c`) or decompress (`d`) each record into `room` bytes.
fn ask(what: u8, room: usize, records: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
    let peer = std::env::var_os("GIPSEC_LZS_PEER").expect("GIPSEC_LZS_PEER names the peer");
    let mut asked = Vec::new();
    for record in records {
        asked.push(what);
        asked.extend(u32::try_from(room).unwrap().to_ne_bytes());
        asked.extend(u32::try_from(record.len()).unwrap().to_ne_bytes());
        asked.extend(record);
    }
    let answers = talk(std::process::Command::new(peer), asked);
    let mut answers = &answers[..];
    let answered = records
        .iter()
        .map(|_| {
            let (result, rest) = answers.split_first_chunk().expect("an answer for each record");
            let len = usize::try_from(i32::from_ne_bytes(*result)).ok();
            let (bytes, rest) = rest.split_at(len.unwrap_or(0));
            answers = rest;
            len.map(|_| bytes.to_vec())
        })
        .collect();
    assert!(answers.is_empty());
    answered
}

#[test]
#[ignore = "needs another implementation: scripts/lzs_peer.sh"]
fn the_peer_reads_what_is_written() {
    let packets = packets(600);
    let streams: Vec<Vec<u8>> = packets
        .iter()
        .map(|packet| {
            let mut stream = vec![0; packet.len() * 9 / 8 + 3];
            let len = compress(Algorithm::Lzs, packet, &mut stream).expect("room for noise");
            stream.truncate(len);
            stream
        })
        .collect();
    for ((packet, stream), answer) in packets.iter().zip(&streams).zip(ask(b'd', 65_536, &streams)) {
        assert!(answer.as_ref() == Some(packet), "a packet of {} bytes, a stream of {}", packet.len(), stream.len());
    }
}

#[test]
#[ignore = "needs another implementation: scripts/lzs_peer.sh"]
fn what_the_peer_writes_is_read() {
    let packets = packets(600);
    let mut theirs = 0;
    let mut ours = 0;
    for (packet, stream) in packets.iter().zip(ask(b'c', 80_000, &packets)) {
        let stream = stream.expect("room for noise");
        let mut plain = vec![0; packet.len()];
        let len = decompress(Algorithm::Lzs, &stream, &mut plain);
        assert!(len == Ok(packet.len()) && plain == *packet, "a packet of {} bytes: {len:?}", packet.len());
        theirs += stream.len();
        ours += compress(Algorithm::Lzs, packet, &mut vec![0; packet.len() * 9 / 8 + 3]).expect("room for noise");
    }
    // The peer looks at every earlier place; ours at a few.
    println!("{} packets: {theirs} bytes from the peer, {ours} from ours", packets.len());
    assert!(ours < theirs + theirs / 10, "{ours} bytes, where the peer needs {theirs}");
}

#[test]
#[ignore = "needs another implementation: scripts/lzs_peer.sh"]
fn both_accept_the_same_damaged_streams() {
    let packets = packets(300);
    let mut streams: Vec<Vec<u8>> = ask(b'c', 80_000, &packets).into_iter().map(Option::unwrap).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        let at = number * 37 % stream.len();
        stream[at] ^= 1_u8 << (number % 8);
    }
    for (stream, answer) in streams.iter().zip(ask(b'd', 65_536, &streams)) {
        let mut plain = vec![0; 65_536];
        let len = decompress(Algorithm::Lzs, stream, &mut plain).ok();
        assert!(len.map(|len| plain[..len].to_vec()) == answer, "a stream of {} bytes", stream.len());
    }
}
