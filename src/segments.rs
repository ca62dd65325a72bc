//! Packets in pieces, as C describes them, turned into the slices that the engine takes (R21, R27).
//!
//! A packet in one piece on both sides is used where it lies. Any other is gathered into a buffer of the thread's own,
//! processed there, and scattered over the pieces of its output.

mod pieces;

use std::slice;

use crate::types::{Data, Packet};
use arrayvec::ArrayVec;
use gipsec_accelerator::{
    Class,
    engine::{Buffers, PacketError, Verdict},
};
use pieces::{check_pieces, process_pieces};

/// Pieces of a packet at most.
const MAX_SEGMENTS: usize = 1024;
/// No packet, and no result, is longer: an IPv6 header and the longest payload.
const MAX_BYTES: usize = 65_535 + 40;

/// A packet of a call: where it is and where its result goes.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    input: *mut Data,
    input_count: u32,
    output: *mut Data,
    output_count: u32,
}

// SAFETY: the header's contract: what the pointers lead to is the library's until the call is answered.
unsafe impl Send for Job {}

/// A packet that can be processed where it lies, or one that cannot.
enum Layout {
    Whole(Buffers<'static>),
    Pieces,
}

impl Job {
    /// The job of a single-packet call.
    pub(crate) fn single(count: u32, input: *mut Data, output: *mut Data) -> Self {
        Self { input, input_count: count, output, output_count: count }
    }

    /// The job of a packet of a multi call.
    ///
    /// # Safety
    /// Both are valid for reading.
    pub(crate) unsafe fn of(input: *const Packet, output: *const Packet) -> Self {
        // SAFETY: this function's contract.
        let (input, output) = unsafe { (input.read_unaligned(), output.read_unaligned()) };
        Self { input: input.data, input_count: input.num_sg, output: output.data, output_count: output.num_sg }
    }

    /// Checks the segments.
    ///
    /// # Safety
    /// The header's contract: segment arrays are NULL or have as many entries as was said, and buffers are NULL or as
    /// long as was said; nobody else uses what is written for as long as the result lives.
    #[inline(always)]
    unsafe fn layout(&self) -> Result<Layout, PacketError> {
        let (Ok(inputs), Ok(outputs)) = (usize::try_from(self.input_count), usize::try_from(self.output_count)) else {
            return Err(PacketError::Segments);
        };
        if self.input.is_null() || self.output.is_null() {
            return Err(PacketError::Segments);
        }
        if !(1..=MAX_SEGMENTS).contains(&inputs) || !(1..=MAX_SEGMENTS).contains(&outputs) {
            return Err(PacketError::Segments);
        }
        if inputs > 1 || outputs > 1 {
            // SAFETY: not NULL, and then as long as was said.
            unsafe { check_pieces(self.input, inputs, self.output, outputs) }?;
            return Ok(Layout::Pieces);
        }
        // SAFETY: the same.
        let (input, output) = unsafe { (Span::read(self.input)?, Span::read(self.output)?) };
        if input.start == output.start && !input.is_empty() {
            let length = input.length.min(MAX_BYTES);
            let capacity = output.length.min(MAX_BYTES);
            // SAFETY: input and output are the same memory, valid for the longer of the two lengths.
            let buffer = unsafe { slice::from_raw_parts_mut(output.pointer, length.max(capacity)) };
            return Ok(Layout::Whole(Buffers::InPlace { buffer, length, capacity }));
        }
        if input.overlaps(&output) {
            return Err(PacketError::Segments);
        }
        // SAFETY: each is valid for its length, and they do not overlap.
        Ok(Layout::Whole(unsafe { Buffers::Apart { input: input.slice(), output: output.slice_mut() } }))
    }

    /// The class of the packet's DSCP, where its first piece says so.
    ///
    /// # Safety
    /// As for [`Job::layout`].
    pub(crate) unsafe fn class(&self) -> Class {
        if self.input.is_null() || self.input_count == 0 {
            return Class::default();
        }
        // SAFETY: not NULL, and then valid by this function's contract.
        let Ok(span) = (unsafe { Span::read(self.input) }) else { return Class::default() };
        // SAFETY: the same; it is read before anything is written.
        match unsafe { span.slice() } {
            [first, second, ..] if first >> 4 == 4 => Class::of_dscp(second >> 2),
            [first, second, ..] if first >> 4 == 6 => Class::of_dscp((first & 0x0f) << 2 | second >> 6),
            _ => Class::default(),
        }
    }

    /// Bytes that the output pieces take together, as far as a packet needs them.
    ///
    /// # Safety
    /// As for [`Job::layout`], which has seen that there are pieces.
    unsafe fn room(&self) -> Result<usize, PacketError> {
        let mut room = 0;
        for index in 0..self.output_count as usize {
            // SAFETY: this function's contract.
            room += unsafe { Span::read(self.output.add(index)) }?.length;
        }
        Ok(room.min(MAX_BYTES))
    }

    /// Writes a result over the output pieces.
    ///
    /// # Safety
    /// As for [`Job::layout`], which has seen that there are pieces; nothing refers to them now.
    unsafe fn scatter(&self, result: &[u8]) -> Result<(), PacketError> {
        let mut left = result;
        for index in 0..self.output_count as usize {
            // SAFETY: this function's contract.
            let piece = unsafe { Span::read(self.output.add(index))?.slice_mut() };
            let (now, later) = left.split_at(left.len().min(piece.len()));
            piece[..now.len()].copy_from_slice(now);
            left = later;
        }
        Ok(())
    }

    /// Says how many bytes were written; 0 after a failure (R21).
    ///
    /// # Safety
    /// As for [`Job::layout`].
    pub(crate) unsafe fn finish(&self, written: usize) {
        if self.output.is_null() {
            return;
        }
        let mut left = written;
        for index in 0..(self.output_count as usize).min(MAX_SEGMENTS) {
            // SAFETY: the array has that many entries.
            let length = unsafe { &raw mut (*self.output.add(index)).length };
            // SAFETY: the same.
            let room = unsafe { length.read_unaligned() };
            let used = u32::try_from(left).unwrap_or(u32::MAX).min(room);
            // SAFETY: the same.
            unsafe { length.write_unaligned(used) };
            left -= used as usize;
        }
    }
}

/// A segment whose address and length make sense.
struct Span {
    pointer: *mut u8,
    start: usize,
    length: usize,
}

impl Span {
    /// # Safety
    /// `data` is valid for reading.
    #[inline(always)]
    unsafe fn read(data: *const Data) -> Result<Self, PacketError> {
        // SAFETY: this function's contract.
        let Data { buffer, length } = unsafe { data.read_unaligned() };
        let length = usize::try_from(length).map_err(|_| PacketError::Segments)?;
        let start = buffer.addr();
        let sensible = length == 0 || !buffer.is_null() && start.checked_add(length).is_some();
        if sensible { Ok(Self { pointer: buffer, start, length }) } else { Err(PacketError::Segments) }
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[inline(always)]
    fn overlaps(&self, other: &Self) -> bool {
        !self.is_empty()
            && !other.is_empty()
            && self.start < other.start + other.length
            && other.start < self.start + self.length
    }

    /// # Safety
    /// The buffer is valid for its length, and not written meanwhile.
    #[inline(always)]
    unsafe fn slice<'a>(&self) -> &'a [u8] {
        if self.is_empty() {
            return &[];
        }
        // SAFETY: not NULL (checked when it was read), and valid by this function's contract.
        unsafe { slice::from_raw_parts(self.pointer, self.length.min(MAX_BYTES)) }
    }

    /// # Safety
    /// The buffer is valid for its length, and nobody else uses it.
    #[inline(always)]
    unsafe fn slice_mut<'a>(&self) -> &'a mut [u8] {
        if self.is_empty() {
            return &mut [];
        }
        // SAFETY: not NULL (checked when it was read), and valid by this function's contract.
        unsafe { slice::from_raw_parts_mut(self.pointer, self.length.min(MAX_BYTES)) }
    }
}

/// Packets that go through the engine in one step.
const STEP: usize = 32;

/// Packets, one after the other, on their way through one step.
struct Step<P, S> {
    /// Place of the first one in the call.
    first: usize,
    /// Where each one's length is to be written.
    outputs: ArrayVec<*mut Data, STEP>,
    buffers: ArrayVec<Buffers<'static>, STEP>,
    process: P,
    settle: S,
}

impl<P: FnMut(&mut [Buffers<'_>], &mut [Verdict]), S: FnMut(usize, Verdict)> Step<P, S> {
    /// Processes what has been collected.
    ///
    /// # Safety
    /// As for [`Job::layout`], for every job.
    #[inline(always)]
    unsafe fn flush(&mut self) {
        let mut verdicts: ArrayVec<Verdict, STEP> = ArrayVec::new();
        verdicts.extend(self.buffers.iter().map(|_| Err(PacketError::Crypto)));
        if verdicts.is_empty() {
            return;
        }
        (self.process)(&mut self.buffers, &mut verdicts);
        self.buffers.clear();
        for (index, (output, verdict)) in self.outputs.iter().zip(&verdicts).enumerate() {
            // A result in one piece is no longer than that, nor than 65,575 bytes.
            let written = u32::try_from(verdict.unwrap_or(0)).unwrap_or(0);
            // SAFETY: this function's contract.
            unsafe { (&raw mut (**output).length).write_unaligned(written) };
            (self.settle)(self.first + index, *verdict);
        }
        self.outputs.clear();
    }
}

/// Has every packet processed, and its lengths and result written; `settle` is given each packet's place and verdict.
///
/// # Safety
/// As for [`Job::layout`], for every job.
#[inline(always)]
pub(crate) unsafe fn process_all(
    jobs: impl Iterator<Item = Job>,
    process: impl FnMut(&mut [Buffers<'_>], &mut [Verdict]),
    settle: impl FnMut(usize, Verdict),
) {
    let mut step = Step { first: 0, outputs: ArrayVec::new(), buffers: ArrayVec::new(), process, settle };
    for (place, job) in jobs.enumerate() {
        // SAFETY: this function's contract.
        let layout = unsafe { job.layout() };
        if let Ok(Layout::Whole(buffers)) = layout {
            if step.buffers.is_full() {
                // SAFETY: the same.
                unsafe { step.flush() };
            }
            if step.buffers.is_empty() {
                step.first = place;
            }
            step.outputs.push(job.output);
            step.buffers.push(buffers);
            continue;
        }
        // What was collected goes first: packets are processed, and their results settled, in order.
        // SAFETY: the same.
        unsafe { step.flush() };
        // SAFETY: the same.
        let verdict = layout.and_then(|_| unsafe { process_pieces(&job, &mut step.process) });
        // SAFETY: the same.
        unsafe { job.finish(verdict.unwrap_or(0)) };
        (step.settle)(place, verdict);
    }
    // SAFETY: the same.
    unsafe { step.flush() };
}

/// The packets of a call, if each lies in one piece.
///
/// # Safety
/// As for [`Job::layout`], for every job.
pub(crate) unsafe fn lay_out(jobs: &[Job]) -> Option<Vec<Buffers<'static>>> {
    let whole = |job: &Job| {
        // SAFETY: this function's contract.
        let Ok(Layout::Whole(buffers)) = (unsafe { job.layout() }) else { return None };
        Some(buffers)
    };
    jobs.iter().map(whole).collect()
}

/// Has a packet made out of nothing, in the `count` pieces at `output`, and its lengths written.
///
/// # Safety
/// As for the output of [`Job::layout`].
pub(crate) unsafe fn produce<E: From<PacketError>>(
    output: *mut Data,
    count: u32,
    make: impl FnOnce(&mut [u8]) -> Result<Verdict, E>,
) -> Result<Verdict, E> {
    let job = Job { input: output, input_count: 0, output, output_count: count };
    if output.is_null() || !(1..=MAX_SEGMENTS).contains(&(count as usize)) {
        return Err(PacketError::Segments.into());
    }
    // SAFETY: this function's contract; there is no input.
    let mut result = unsafe {
        check_pieces(output, 0, output, count as usize)?;
        vec![0; job.room()?]
    };
    let verdict = make(&mut result)?;
    // SAFETY: the same.
    unsafe {
        job.scatter(&result[..verdict.unwrap_or(0)])?;
        job.finish(verdict.unwrap_or(0));
    }
    Ok(verdict)
}
