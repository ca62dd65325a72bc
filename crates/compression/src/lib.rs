//! The compression algorithms of IPComp (RFC 3173): DEFLATE (RFC 2394) and LZS (RFC 2395), one packet at a time.
//!
//! Nothing is trusted: whatever the bytes, decompression writes inside `output` only, and its work is bounded by the
//! lengths of `input` and `output` together, so that a stream made to expand costs no more than the room it was given.
//!
//! Each packet is compressed alone, but what an algorithm works with is kept for the thread, so that only the first
//! packet allocates. Of these, LZS keeps positions and no bytes. DEFLATE keeps bytes until later packets overwrite them or
//! the thread ends: where it compresses, up to 4 KiB of plaintext and what was written of the compressed packet; where it
//! decompresses, up to 32 KiB of a stream that was refused (one that was accepted leaves none). It is payload, never a
//! key; zlib-rs has no way to wipe it, and overwriting it would cost as much as compressing.

#![forbid(unsafe_code)]

mod deflate;
mod lzs;

use std::cell::Cell;
use std::thread::LocalKey;

/// Which algorithm an IPComp association uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 2394: raw DEFLATE (RFC 1951), without the header and checksum of zlib.
    Deflate,
    /// RFC 2395: Stac LZS (ANSI X3.241-1994).
    Lzs,
}

/// Why a packet could not be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The stream is malformed, or ends before it says that it ends.
    #[error("the compressed data is malformed or cut")]
    Corrupt,
    /// The plaintext is longer than the room for it.
    #[error("the decompressed data is longer than its room")]
    TooLong,
}

/// Compresses `input` into the front of `output` and returns the length, or `None` if it does not fit. RFC 3173
/// (section 2.2) sends a packet as it is when compression does not shorten it: with an `output` shorter than `input`,
/// `None` says that as well. The rest of `output` is unspecified.
pub fn compress(algorithm: Algorithm, input: &[u8], output: &mut [u8]) -> Option<usize> {
    match algorithm {
        Algorithm::Deflate => deflate::compress(input, output),
        Algorithm::Lzs => lzs::compress(input, output),
    }
}

/// Decompresses `input` into the front of `output` and returns the length. The rest of `output`, and all of it after an
/// error, is unspecified.
///
/// Bytes after the end of the stream are passed over: both algorithms mark their end, and peers may pad. RFC 2395
/// (section 2.3) lets bits and bytes after the end marker of LZS be padding; Linux (`crypto/deflate.c`) takes a DEFLATE
/// stream as soon as its final block has ended, whatever follows.
///
/// # Errors
///
/// [`Error::TooLong`] as soon as `output` is full and more would follow, else [`Error::Corrupt`].
pub fn decompress(algorithm: Algorithm, input: &[u8], output: &mut [u8]) -> Result<usize, Error> {
    match algorithm {
        Algorithm::Deflate => deflate::decompress(input, output),
        Algorithm::Lzs => lzs::decompress(input, output),
    }
}

/// What a thread keeps between packets.
type Spare<S> = Cell<Option<Box<S>>>;

/// Works with the thread's spare state. It is taken out and put back, so that a panic, a call from inside `work` or a
/// thread that is ending (whose spare is gone) only costs making another.
fn with_spare<S, R>(spare: &'static LocalKey<Spare<S>>, make: fn() -> S, work: impl FnOnce(&mut S) -> R) -> R {
    let mut state = spare.try_with(Cell::take).ok().flatten().unwrap_or_else(|| Box::new(make()));
    let result = work(&mut state);
    // The thread is ending if this fails: the state is dropped with it.
    let _ = spare.try_with(|spare| spare.set(Some(state)));
    result
}

#[cfg(test)]
mod tests;
