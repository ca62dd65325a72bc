//! Packets in several pieces: checked, gathered into a buffer of the thread's own, and scattered again.

use std::cell::RefCell;

use gipsec_accelerator::engine::{Buffers, PacketError, Verdict};
use zeroize::Zeroize;

use super::{Job, MAX_BYTES, Span};
use crate::types::Data;

/// Checks that no output piece overlaps another one, or an input piece other than itself.
///
/// # Safety
/// The arrays have as many entries.
pub(super) unsafe fn check_pieces(
    input: *const Data,
    inputs: usize,
    output: *const Data,
    outputs: usize,
) -> Result<(), PacketError> {
    // SAFETY: this function's contract.
    if unsafe { apart_at_a_glance(input, inputs, output, outputs) }? {
        return Ok(());
    }
    for at in 0..outputs {
        // SAFETY: this function's contract.
        let piece = unsafe { Span::read(output.add(at)) }?;
        for other in 0..at {
            // SAFETY: the same.
            if piece.overlaps(&unsafe { Span::read(output.add(other)) }?) {
                return Err(PacketError::Segments);
            }
        }
        for other in 0..inputs {
            // SAFETY: the same.
            let from = unsafe { Span::read(input.add(other)) }?;
            if piece.overlaps(&from) && !(other == at && piece.start == from.start) {
                return Err(PacketError::Segments);
            }
        }
    }
    Ok(())
}

/// Whether output pieces lie one after the other, and all of them before or behind all input pieces: the usual case, in
/// one pass.
///
/// # Safety
/// The arrays have as many entries.
unsafe fn apart_at_a_glance(
    input: *const Data,
    inputs: usize,
    output: *const Data,
    outputs: usize,
) -> Result<bool, PacketError> {
    let (mut in_start, mut in_end) = (usize::MAX, 0);
    for at in 0..inputs {
        // SAFETY: this function's contract.
        let piece = unsafe { Span::read(input.add(at)) }?;
        if !piece.is_empty() {
            in_start = in_start.min(piece.start);
            in_end = in_end.max(piece.start + piece.length);
        }
    }
    let (mut out_start, mut out_end) = (usize::MAX, 0);
    for at in 0..outputs {
        // SAFETY: the same.
        let piece = unsafe { Span::read(output.add(at)) }?;
        if !piece.is_empty() {
            if piece.start < out_end {
                return Ok(false);
            }
            out_start = out_start.min(piece.start);
            out_end = piece.start + piece.length;
        }
    }
    Ok(in_end <= out_start || out_end <= in_start)
}

thread_local! {
    /// This thread's buffers for packets in pieces: the packet, and its result.
    static GATHERED: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Processes a packet in pieces.
///
/// # Safety
/// As for [`Job::layout`].
pub(super) unsafe fn process_pieces(job: &Job, process: &mut dyn FnMut(&mut [Buffers<'_>], &mut [Verdict])) -> Verdict {
    // A thread that is ending has no buffers.
    let mut gathered = GATHERED.try_with(RefCell::take).unwrap_or_default();
    // SAFETY: this function's contract.
    let verdict = unsafe { process_gathered(job, &mut gathered, process) };
    let _ = GATHERED.try_with(|kept| kept.replace(gathered));
    verdict
}

/// Gathers, processes and scatters a packet by way of two buffers: the packet, and its result.
///
/// # Safety
/// As for [`Job::layout`].
unsafe fn process_gathered(
    job: &Job,
    (packet, result): &mut (Vec<u8>, Vec<u8>),
    process: &mut dyn FnMut(&mut [Buffers<'_>], &mut [Verdict]),
) -> Verdict {
    packet.clear();
    // Never moved while it is filled: a move would leave the packet behind.
    packet.reserve(MAX_BYTES);
    for index in 0..job.input_count as usize {
        // SAFETY: this function's contract; the pieces were checked.
        let piece = unsafe { Span::read(job.input.add(index))?.slice() };
        packet.extend_from_slice(&piece[..piece.len().min(MAX_BYTES - packet.len())]);
    }
    // SAFETY: the same.
    result.resize(unsafe { job.room() }?, 0);
    let mut verdict = [Err(PacketError::Crypto)];
    process(&mut [Buffers::Apart { input: packet, output: result }], &mut verdict);
    let Ok(written) = verdict[0] else {
        // It may be plaintext; the engine has wiped the result.
        packet.as_mut_slice().zeroize();
        return verdict[0];
    };
    // SAFETY: the same; nothing else refers to the pieces now.
    unsafe { job.scatter(&result[..written]) }?;
    packet.as_mut_slice().zeroize();
    result.as_mut_slice().zeroize();
    Ok(written)
}
