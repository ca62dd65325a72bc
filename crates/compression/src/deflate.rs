//! DEFLATE as RFC 2394 uses it: raw RFC 1951 streams, by `zlib-rs`.

use std::cell::Cell;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::{Error, Spare, with_spare};

/// Linux inflates IPComp with a window of 2^11 bytes (`DEFLATE_DEF_WINBITS` in its `crypto/deflate.c`), and RFC 2394
/// gives no way to agree on another: no distance of ours may be longer.
const COMPRESS_WINDOW_BITS: u8 = 11;

/// What peers compress with is unknown: all that RFC 1951 allows is taken.
const DECOMPRESS_WINDOW_BITS: u8 = 15;

/// Packets wait for this: 1400 bytes of HTTP headers take 2.8 us and become 429 bytes at level 1, 8.8 us and 365 bytes at
/// levels 2 and 3, 11.9 us and 364 bytes at level 6 (2026, x86-64). Level 1 uses the fixed codes, so that no table is sent.
const LEVEL: i32 = 1;

thread_local! {
    static DEFLATE: Spare<Deflate> = const { Cell::new(None) };
    static INFLATE: Spare<Inflate> = const { Cell::new(None) };
}

fn new_deflate() -> Deflate {
    Deflate::new(LEVEL, false, COMPRESS_WINDOW_BITS)
}

/// See [`crate::compress`].
pub(crate) fn compress(input: &[u8], output: &mut [u8]) -> Option<usize> {
    with_spare(&DEFLATE, new_deflate, |deflate| {
        deflate.reset();
        if deflate.compress(input, output, DeflateFlush::Finish) != Ok(Status::StreamEnd) {
            // Too long, or of exactly the output's length, which takes another call to be known.
            let all_read = deflate.total_in() == input.len() as u64;
            end(deflate)?;
            if !all_read {
                return None;
            }
        }
        usize::try_from(deflate.total_out()).ok().filter(|len| *len <= output.len())
    })
}

/// Ends a stream whose output is full, and throws the rest of it away. `Deflate::reset` does not do that: in zlib-rs
/// 0.6.8 it forgets what is pending, but keeps where that began in its buffer (`Pending::reset_keep`), and a later packet
/// that fills the buffer panics. Nothing is pending at the end of a stream. `None`: there was no end, and the state is a
/// new one.
fn end(deflate: &mut Deflate) -> Option<()> {
    let mut rest = [0; 1024];
    // What a buffer of 64 KiB and a window of 4 KiB hold is less than this.
    for _ in 0..80 {
        match deflate.compress(&[], &mut rest, DeflateFlush::Finish) {
            Ok(Status::StreamEnd) => return Some(()),
            Ok(Status::Ok | Status::BufError) => {}
            Err(_) => break,
        }
    }
    *deflate = new_deflate();
    None
}

/// See [`crate::decompress`].
pub(crate) fn decompress(input: &[u8], output: &mut [u8]) -> Result<usize, Error> {
    let make = || Inflate::new(false, DECOMPRESS_WINDOW_BITS);
    with_spare(&INFLATE, make, |inflate| {
        inflate.reset(false);
        match inflate.decompress(input, output, InflateFlush::Finish) {
            Ok(Status::StreamEnd) => usize::try_from(inflate.total_out()).map_err(|_| Error::TooLong),
            // Cut, unless the output is full and one byte more would come.
            Ok(Status::Ok | Status::BufError) => {
                let rest = usize::try_from(inflate.total_in()).ok().and_then(|read| input.get(read..));
                let before = inflate.total_out();
                let _ = inflate.decompress(rest.unwrap_or_default(), &mut [0], InflateFlush::Finish);
                Err(if inflate.total_out() > before { Error::TooLong } else { Error::Corrupt })
            }
            Err(_) => Err(Error::Corrupt),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::noise;

    #[test]
    fn packets_that_do_not_fit_leave_the_buffer_whole() {
        let long = noise(65_535);
        for room in [0, 1, 1399, 5_000, 60_000, 65_534] {
            for _ in 0..4 {
                assert_eq!(compress(&long, &mut vec![0; room]), None);
                let mut stream = vec![0; 80_000];
                let len = compress(&long, &mut stream).expect("room for noise");
                let mut plain = vec![0; long.len()];
                assert_eq!(decompress(&stream[..len], &mut plain), Ok(long.len()));
                assert_eq!(plain, long);
            }
        }
    }

    #[test]
    fn zlib_rs_still_needs_the_stream_to_be_ended() {
        // When this fails, `Deflate::reset` has been mended, and `end` can go.
        let long = noise(65_535);
        let panicked = std::thread::spawn(move || {
            let mut deflate = new_deflate();
            let mut stream = vec![0; 80_000];
            let _ = deflate.compress(&long, &mut stream[..60_000], DeflateFlush::Finish);
            deflate.reset();
            let _ = deflate.compress(&long, &mut stream, DeflateFlush::Finish);
        })
        .join()
        .is_err();
        assert!(panicked);
    }
}
