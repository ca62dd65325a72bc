//! Which packet runs in which lane.

use core::ptr::{null, null_mut};

use super::RoundKeys;
use crate::cbc::{BLOCK, Job};

/// Lanes of the widest kernel instance.
pub(super) const MAX_LANES: usize = 32;

/// The packets that are being encrypted.
///
/// Lanes below `active` are in use. Each has `blocks` more blocks to read at
/// its source and to write at its output; `later` blocks follow these, to be
/// encrypted in place. Source and output are the same address, or disjoint.
#[repr(C, align(64))]
pub(super) struct Lanes {
    /// The last ciphertext block, or the initialisation vector.
    pub(super) chains: [[u8; BLOCK]; MAX_LANES],
    pub(super) sources: [*const u8; MAX_LANES],
    pub(super) outputs: [*mut u8; MAX_LANES],
    /// The key, where each lane has one of its own.
    pub(super) keys: [*const u8; MAX_LANES],
    blocks: [usize; MAX_LANES],
    later: [usize; MAX_LANES],
    active: usize,
    /// Whether all lanes in use are known to have as many blocks, and as many later.
    even: bool,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            chains: [[0; BLOCK]; MAX_LANES],
            sources: [null(); MAX_LANES],
            outputs: [null_mut(); MAX_LANES],
            keys: [null(); MAX_LANES],
            blocks: [0; MAX_LANES],
            later: [0; MAX_LANES],
            active: 0,
            even: false,
        }
    }

    /// Puts a packet in the next lane, unless it is empty. There must be room.
    #[inline]
    fn start(&mut self, key: &RoundKeys, job: &mut Job<'_>) {
        let iv = job.iv;
        let (payload, body) = job.prepare();
        if body.is_empty() {
            return;
        }
        let lane = self.active;
        self.chains[lane] = iv;
        self.outputs[lane] = body.as_mut_ptr().cast();
        self.keys[lane] = key.0.as_ptr().cast();
        if payload.is_empty() {
            self.sources[lane] = self.outputs[lane].cast_const();
            self.blocks[lane] = body.len();
            self.later[lane] = 0;
        } else {
            self.sources[lane] = payload.as_ptr().cast();
            self.blocks[lane] = payload.len();
            self.later[lane] = body.len() - payload.len();
        }
        self.even =
            lane == 0 || (self.even && self.blocks[lane] == self.blocks[0] && self.later[lane] == self.later[0]);
        self.active += 1;
    }

    /// Fills free lanes below `capacity` with packets and their keys. Returns how many lanes
    /// are in use and how many blocks all of them have.
    #[inline]
    pub(super) fn refill<'j, 'a: 'j>(
        &mut self,
        capacity: usize,
        jobs: &mut impl Iterator<Item = (&'j RoundKeys, &'j mut Job<'a>)>,
    ) -> (usize, usize) {
        while self.active < capacity
            && let Some((key, job)) = jobs.next()
        {
            self.start(key, job);
        }
        let blocks = match self.blocks[0] {
            blocks if self.even => blocks,
            _ => self.blocks[..self.active].iter().copied().min().unwrap_or(0),
        };
        (self.active, blocks)
    }

    /// Makes the unused lanes below `width` copies of the first lane. They
    /// compute and write the same bytes as it does.
    #[inline]
    pub(super) fn pad(&mut self, width: usize) {
        for lane in self.active..width.min(MAX_LANES) {
            self.chains[lane] = self.chains[0];
            self.sources[lane] = self.sources[0];
            self.outputs[lane] = self.outputs[0];
            self.keys[lane] = self.keys[0];
        }
    }

    /// Moves all lanes on by `blocks`, which none may exceed, and frees the
    /// lanes of the packets that have ended.
    #[inline]
    pub(super) fn advance(&mut self, blocks: usize) {
        if self.even && self.active > 0 && self.blocks[0] == blocks {
            if self.later[0] == 0 {
                self.active = 0;
                return;
            }
            for (source, output) in self.sources.iter_mut().zip(&mut self.outputs) {
                *output = output.wrapping_add(blocks * BLOCK);
                *source = output.cast_const();
            }
            self.blocks = core::mem::replace(&mut self.later, [0; MAX_LANES]);
            return;
        }
        self.even = false;
        let mut lane = 0;
        while lane < self.active {
            let bytes = blocks * BLOCK;
            self.sources[lane] = self.sources[lane].wrapping_add(bytes);
            self.outputs[lane] = self.outputs[lane].wrapping_add(bytes);
            self.blocks[lane] -= blocks;
            if self.blocks[lane] == 0 {
                self.sources[lane] = self.outputs[lane].cast_const();
                self.blocks[lane] = core::mem::take(&mut self.later[lane]);
            }
            lane += 1;
        }
        let mut lane = 0;
        while lane < self.active {
            if self.blocks[lane] > 0 {
                lane += 1;
                continue;
            }
            self.active -= 1;
            let last = self.active;
            self.chains[lane] = self.chains[last];
            self.sources[lane] = self.sources[last];
            self.outputs[lane] = self.outputs[last];
            self.keys[lane] = self.keys[last];
            self.blocks[lane] = self.blocks[last];
            self.later[lane] = self.later[last];
        }
    }
}
