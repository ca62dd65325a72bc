//! A descriptor chain as two lists of pieces of the driver's memory. Every descriptor is checked against that memory once,
//! and what is kept are slices of it that cannot be dereferenced, only copied from and to.

use arrayvec::ArrayVec;
use virtio_queue::{DescriptorChain, desc::split::Descriptor};
use vm_memory::{GuestMemory, GuestMemoryBackend, GuestMemoryMmap, Permissions, VolatileSlice};

/// Pieces of a part at most: descriptors of the largest queue.
pub const MAX_PIECES: usize = 1024;
/// Pieces that a part has at hand; for more, memory is allocated once in a burst of requests.
const USUAL_PIECES: usize = 4;

/// The readable part of a request, or the writable one.
#[derive(Default)]
pub struct Part<'m> {
    first: ArrayVec<VolatileSlice<'m>, USUAL_PIECES>,
    more: Vec<VolatileSlice<'m>>,
    length: usize,
}

impl<'m> Part<'m> {
    fn clear(&mut self) {
        self.first.clear();
        self.more.clear();
        self.length = 0;
    }

    fn pieces(&self) -> impl Iterator<Item = &VolatileSlice<'m>> {
        self.first.iter().chain(&self.more)
    }

    /// Bytes of it.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Adds a descriptor's memory; false when it is not the driver's, or in too many pieces.
    fn push(&mut self, memory: &'m GuestMemoryMmap, descriptor: &Descriptor, access: Permissions) -> bool {
        let Ok(length) = usize::try_from(descriptor.len()) else { return false };
        // Almost always in one piece.
        if let Ok(slice) = GuestMemoryBackend::get_slice(memory, descriptor.addr(), length) {
            return self.add(slice);
        }
        let Ok(slices) = GuestMemory::get_slices(memory, descriptor.addr(), length, access) else { return false };
        let before = (self.first.len(), self.more.len(), self.length);
        for slice in slices {
            if !slice.is_ok_and(|slice| self.add(slice)) {
                self.first.truncate(before.0);
                self.more.truncate(before.1);
                self.length = before.2;
                return false;
            }
        }
        true
    }

    /// Adds a piece, while there is room.
    fn add(&mut self, slice: VolatileSlice<'m>) -> bool {
        if self.more.len() == MAX_PIECES - USUAL_PIECES {
            return false;
        }
        self.length += slice.len();
        if let Err(full) = self.first.try_push(slice) {
            self.more.push(full.element());
        }
        true
    }

    /// Copies from the front, as much as there is and `into` takes; how much.
    pub fn read(&self, into: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in self.pieces() {
            done += piece.copy_to(&mut into[done..]);
        }
        done
    }

    /// Copies to `offset` and on. What does not fit is not written.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        if let ([only], []) = (&self.first[..], &self.more[..]) {
            if let Ok(place) = only.offset(offset) {
                place.copy_from(bytes);
            }
            return;
        }
        self.write_to_pieces(offset, bytes);
    }

    fn write_to_pieces(&self, offset: usize, bytes: &[u8]) {
        let (mut offset, mut bytes) = (offset, bytes);
        for piece in self.pieces() {
            if bytes.is_empty() {
                return;
            }
            let Some(room) = piece.len().checked_sub(offset).filter(|room| *room > 0) else {
                offset -= piece.len();
                continue;
            };
            let (here, others) = bytes.split_at(room.min(bytes.len()));
            if let Ok(place) = piece.offset(offset) {
                place.copy_from(here);
            }
            (offset, bytes) = (0, others);
        }
    }
}

/// A request, for as long as the memory is held.
#[derive(Default)]
pub struct Request<'m> {
    /// What the device reads.
    pub readable: Part<'m>,
    /// What it writes.
    pub writable: Part<'m>,
}

impl<'m> Request<'m> {
    /// Takes a chain of at most `limit` descriptors. False when it is broken: a loop, a table that cannot be, an address
    /// that is not the driver's, readable after writable. What is writable up to there can still take a status.
    pub fn take(
        &mut self,
        memory: &'m GuestMemoryMmap,
        chain: DescriptorChain<&'m GuestMemoryMmap>,
        limit: usize,
    ) -> bool {
        self.readable.clear();
        self.writable.clear();
        let (mut whole, mut sound, mut writable) = (false, true, true);
        for (number, descriptor) in chain.enumerate() {
            if number >= limit {
                whole = false;
                break;
            }
            whole = !descriptor.has_next();
            sound &= if descriptor.is_write_only() {
                // Nothing is written behind what cannot be written.
                writable = writable && self.writable.push(memory, &descriptor, Permissions::Write);
                writable
            } else {
                self.writable.length == 0 && self.readable.push(memory, &descriptor, Permissions::Read)
            };
        }
        whole && sound
    }
}
