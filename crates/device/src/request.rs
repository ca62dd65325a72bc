//! A descriptor chain as two lists of pieces of the driver's memory. Every descriptor is checked against that memory once,
//! and what is kept are slices of it that cannot be borrowed, only copied from and to.

use std::{cell::Cell, iter::FusedIterator};

use arrayvec::ArrayVec;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemory, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    Permissions, VolatileSlice, guest_memory::GuestMemorySliceIterator,
};

/// Pieces of a part at most: descriptors of the largest queue.
pub const MAX_PIECES: usize = 1024;
/// Pieces that a part has at hand: 32 packets and what is before them. For more, memory is allocated.
const USUAL_PIECES: usize = 33;
/// Bytes of a descriptor.
const DESCRIPTOR: u8 = 16;
const _: () = assert!(size_of::<Descriptor>() == DESCRIPTOR as usize);

/// The driver's memory, with the region of it that was found last: most of what a request names is there, and the rings.
pub struct Places<'m> {
    memory: &'m GuestMemoryMmap,
    last: Cell<Option<&'m GuestRegionMmap>>,
}

impl<'m> Places<'m> {
    /// Of that memory.
    pub fn new(memory: &'m GuestMemoryMmap) -> Self {
        Self { memory, last: Cell::new(None) }
    }

    /// Memory in one piece.
    #[inline]
    fn slice(&self, address: GuestAddress, length: usize) -> Option<VolatileSlice<'m>> {
        let within = |region: &'m GuestRegionMmap| region.to_region_addr(address).map(|place| (region, place));
        let (region, place) = match self.last.get().and_then(within) {
            Some(found) => found,
            None => self.memory.find_region(address).and_then(within)?,
        };
        self.last.set(Some(region));
        region.get_slice(place, length).ok()
    }
}

impl GuestMemory for Places<'_> {
    type PhysicalMemory = GuestMemoryMmap;
    type Bitmap = ();

    fn check_range(&self, address: GuestAddress, count: usize, access: Permissions) -> bool {
        GuestMemory::check_range(self.memory, address, count, access)
    }

    #[inline]
    fn get_slices<'a>(
        &'a self,
        address: GuestAddress,
        count: usize,
        access: Permissions,
    ) -> vm_memory::GuestMemoryResult<impl GuestMemorySliceIterator<'a, ()>> {
        let whole = if count > 0 { self.slice(address, count) } else { None };
        let parts = match whole {
            Some(_) => None,
            None => Some(GuestMemory::get_slices(self.memory, address, count, access)?),
        };
        Ok(Slices { whole, parts })
    }

    fn physical_memory(&self) -> Option<&GuestMemoryMmap> {
        Some(self.memory)
    }
}

/// Memory in one piece, or in parts.
struct Slices<'a, I> {
    whole: Option<VolatileSlice<'a>>,
    parts: Option<I>,
}

impl<'a, I: GuestMemorySliceIterator<'a, ()>> Iterator for Slices<'a, I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        match self.whole.take() {
            Some(whole) => Some(Ok(whole)),
            None => self.parts.as_mut()?.next(),
        }
    }
}

impl<'a, I: GuestMemorySliceIterator<'a, ()>> FusedIterator for Slices<'a, I> {}

impl<'a, I: GuestMemorySliceIterator<'a, ()>> GuestMemorySliceIterator<'a, ()> for Slices<'a, I> {}

/// Descriptors that follow each other in memory.
struct Table<'m> {
    memory: &'m GuestMemoryMmap,
    start: GuestAddress,
    length: u16,
    /// All of them, unless they lie in several regions.
    whole: Option<VolatileSlice<'m>>,
}

impl<'m> Table<'m> {
    fn new(places: &Places<'m>, start: GuestAddress, length: u16) -> Self {
        let whole = places.slice(start, usize::from(DESCRIPTOR) * usize::from(length));
        Self { memory: places.memory, start, length, whole }
    }

    /// None: there is no such descriptor, or not in the driver's memory.
    #[inline]
    fn get(&self, number: u16) -> Option<Descriptor> {
        if number >= self.length {
            return None;
        }
        let offset = usize::from(DESCRIPTOR) * usize::from(number);
        match &self.whole {
            Some(whole) => whole.read_obj(offset).ok(),
            None => self.memory.read_obj(self.start.checked_add(offset as u64)?).ok(),
        }
    }
}

/// The readable part of a request, or the writable one.
#[derive(Default)]
pub struct Part<'m> {
    first: ArrayVec<VolatileSlice<'m>, USUAL_PIECES>,
    more: Vec<VolatileSlice<'m>>,
    length: usize,
}

impl<'m> Part<'m> {
    /// Of these pieces.
    pub fn of(pieces: impl IntoIterator<Item = VolatileSlice<'m>>) -> Self {
        let mut part = Self::default();
        pieces.into_iter().take_while(|piece| part.add(*piece)).for_each(drop);
        part
    }

    /// Forgets it.
    pub fn clear(&mut self) {
        self.first.clear();
        self.more.clear();
        self.length = 0;
    }

    #[inline]
    fn piece(&self, number: usize) -> Option<&VolatileSlice<'m>> {
        self.first.get(number).or_else(|| self.more.get(number.checked_sub(USUAL_PIECES)?))
    }

    /// Bytes of it.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Adds a descriptor's memory; false when it is not the driver's, or in too many pieces.
    fn push(&mut self, places: &Places<'m>, descriptor: &Descriptor, access: Permissions) -> bool {
        let Ok(length) = usize::try_from(descriptor.len()) else { return false };
        // Almost always in one piece.
        if let Some(slice) = places.slice(descriptor.addr(), length) {
            return self.add(slice);
        }
        let Ok(slices) = GuestMemory::get_slices(places.memory, descriptor.addr(), length, access) else {
            return false;
        };
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
        self.cursor().read(0, into)
    }

    /// Reads and writes it.
    #[inline]
    pub fn cursor(&self) -> Cursor<'_, 'm> {
        Cursor { part: self, piece: 0, before: 0 }
    }
}

/// A place in a part: fastest from the front to the end.
pub struct Cursor<'a, 'm> {
    part: &'a Part<'m>,
    /// The piece that was used last, and the bytes in those before it.
    piece: usize,
    before: usize,
}

impl<'m> Cursor<'_, 'm> {
    /// The piece with the byte at `offset`, and its place there; None at the end.
    #[inline]
    fn find(&mut self, offset: usize) -> Option<(VolatileSlice<'m>, usize)> {
        if offset < self.before {
            (self.piece, self.before) = (0, 0);
        }
        loop {
            let piece = self.part.piece(self.piece)?;
            let end = self.before + piece.len();
            if offset < end {
                return Some((*piece, offset - self.before));
            }
            (self.piece, self.before) = (self.piece + 1, end);
        }
    }

    /// What its piece has from `offset` on.
    #[inline]
    fn at(&mut self, offset: usize) -> Option<VolatileSlice<'m>> {
        let (piece, place) = self.find(offset)?;
        piece.offset(place).ok()
    }

    /// So many bytes from `offset` on, if they are in one piece.
    #[inline]
    pub fn slice(&mut self, offset: usize, length: usize) -> Option<VolatileSlice<'m>> {
        let (piece, place) = self.find(offset)?;
        piece.subslice(place, length).ok()
    }

    /// Copies from `offset` on, as much as there is and `into` takes; how much.
    #[inline]
    pub fn read(&mut self, offset: usize, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len()
            && let Some(rest) = self.at(offset + done)
        {
            done += rest.copy_to(&mut into[done..]);
        }
        done
    }

    /// Copies to `offset` and on. What does not fit is not written.
    #[inline]
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len()
            && let Some(rest) = self.at(offset + done)
        {
            rest.copy_from(&bytes[done..]);
            done += rest.len().min(bytes.len() - done);
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
    /// Takes the chain that begins with descriptor `head` of the ring's table, and has at most as many descriptors as that.
    /// False when it is broken: a loop, a table that cannot be, an address that is not the driver's, readable after
    /// writable. What is writable up to there can still take a status.
    pub fn take(&mut self, places: &Places<'m>, table: GuestAddress, size: u16, head: u16) -> bool {
        self.readable.clear();
        self.writable.clear();
        let mut table = Table::new(places, table, size);
        let (mut next, mut is_indirect) = (Some(head), false);
        let (mut left, mut bytes) = (size, 0u32);
        let (mut sound, mut writable) = (true, true);
        while let Some(number) = next {
            let Some(descriptor) = table.get(number) else { return false };
            if descriptor.refers_to_indirect_table() {
                let Ok(length) = u16::try_from(descriptor.len() / u32::from(DESCRIPTOR)) else { return false };
                if is_indirect || !descriptor.len().is_multiple_of(DESCRIPTOR.into()) {
                    return false;
                }
                // No more than there are: what comes twice is a loop.
                left = left.min(length);
                table = Table::new(places, descriptor.addr(), length);
                (next, is_indirect) = (Some(0), true);
                continue;
            }
            // No more than the used length can say.
            let Some(sum) = bytes.checked_add(descriptor.len()).filter(|_| left > 0) else { return false };
            (left, bytes) = (left - 1, sum);
            sound &= if descriptor.is_write_only() {
                // Nothing is written behind what cannot be written.
                writable = writable && self.writable.push(places, &descriptor, Permissions::Write);
                writable
            } else {
                self.writable.length == 0 && self.readable.push(places, &descriptor, Permissions::Read)
            };
            next = descriptor.has_next().then(|| descriptor.next());
        }
        sound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use virtio_queue::{QueueOwnedT, QueueT};
    use zerocopy::IntoBytes;

    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;

    /// Two regions that touch, of 64 KiB each: an address in the first one may lead into the other.
    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10000), (GuestAddress(0x10000), 0x10000)]).unwrap()
    }

    fn put(memory: &GuestMemoryMmap, table: u64, number: u16, (address, length): (u64, u32), flags: u16, next: u16) {
        let bytes = (address.to_le(), u64::from(length.to_le()) | u64::from(flags) << 32 | u64::from(next) << 48);
        let at = GuestAddress(table + 16 * u64::from(number));
        memory.write_slice([bytes.0, bytes.1.to_le()].as_bytes(), at).unwrap();
    }

    proptest! {
        /// A request in any pieces, its table anywhere, is what its bytes are in order.
        #[test]
        fn pieces_are_read_and_written_as_one(
            table in prop::sample::select(vec![0u64, 0x1000, 0xff00, 0xffb8]),
            indirect in any::<bool>(),
            lengths in prop::collection::vec(0u32..3000, 1..12),
            readable in 0usize..12,
            writes in prop::collection::vec((0usize..20000, 0usize..4000), 0..12),
        ) {
            let memory = memory();
            let readable = readable.min(lengths.len());
            let ring = 0x8000;
            let (at, first) = if indirect { (table, 0) } else { (ring, 3) };
            if indirect {
                put(&memory, ring, 3, (table, 16 * u32::try_from(lengths.len()).unwrap()), INDIRECT, 0);
            }
            // The pieces lie apart, some of them in both regions.
            let places: Vec<u64> = (0..lengths.len() as u64).map(|piece| 0xc000 + 3000 * piece).collect();
            for (piece, length) in (0u16..).zip(&lengths) {
                let last = usize::from(piece) + 1 == lengths.len();
                let flags = if last { 0 } else { NEXT } | if usize::from(piece) < readable { 0 } else { WRITE };
                put(&memory, at, first + piece, (places[usize::from(piece)], *length), flags, first + piece + 1);
            }
            let mut request = Request::default();
            prop_assert!(request.take(&Places::new(&memory), GuestAddress(ring), 64, 3));

            let all = |range: std::ops::Range<usize>| {
                let mut bytes = Vec::new();
                for piece in range {
                    let mut part = vec![0; lengths[piece] as usize];
                    memory.read_slice(&mut part, GuestAddress(places[piece])).unwrap();
                    bytes.extend(part);
                }
                bytes
            };
            for (number, place) in (1u8..).zip(&places) {
                let length = lengths[usize::from(number) - 1] as usize;
                memory.write_slice(&vec![number; length], GuestAddress(*place)).unwrap();
            }
            let mut bytes = vec![0; request.readable.length()];
            prop_assert_eq!(request.readable.read(&mut bytes), bytes.len());
            prop_assert_eq!(bytes, all(0..readable));

            let mut wanted = all(readable..lengths.len());
            prop_assert_eq!(request.writable.length(), wanted.len());
            let mut writer = request.writable.cursor();
            for (number, (offset, length)) in (100u8..).zip(writes) {
                writer.write(offset, &vec![number; length]);
                let end = (offset + length).min(wanted.len());
                if let Some(part) = wanted.get_mut(offset..end) {
                    part.fill(number);
                }
            }
            prop_assert_eq!(all(readable..lengths.len()), wanted);
        }

        /// Whatever a driver writes, a chain ends, and is sound just when the crate's own iterator says so.
        #[test]
        fn chains_are_those_of_the_virtio_queue_crate(
            descriptors in prop::collection::vec(
                (
                    prop::sample::select(vec![0u64, 0x100, 0x1000, 0x1010, 0xff80, 0xfff8, 0x1fff0, 0x20000, 1 << 40, u64::MAX]),
                    prop::sample::select(vec![0u32, 1, 16, 24, 32, 64, 0x100, 0x8000, 0x1_0000, 0x2_0000, u32::MAX]),
                    prop::sample::select(vec![0u16, 0, NEXT, NEXT, NEXT | WRITE, WRITE, INDIRECT, INDIRECT | NEXT, 7]),
                    0u16..18,
                ),
                48,
            ),
            head in 0u16..16,
        ) {
            const SIZE: u16 = 16;
            const RING: u64 = 0x8000;
            let memory = memory();
            for (number, (address, length, flags, next)) in (0u16..).zip(&descriptors) {
                let table = [0, 0x1000, RING][usize::from(number / SIZE)];
                put(&memory, table, number % SIZE, (*address, *length), *flags, *next);
            }
            let mut queue = virtio_queue::Queue::new(SIZE).unwrap();
            queue.set_size(SIZE);
            queue.try_set_desc_table_address(GuestAddress(RING)).unwrap();
            queue.try_set_avail_ring_address(GuestAddress(RING + 0x1000)).unwrap();
            queue.try_set_used_ring_address(GuestAddress(RING + 0x2000)).unwrap();
            queue.set_ready(true);
            memory.write_slice(&[0, 0, 1, 0, head.to_le_bytes()[0], 0], GuestAddress(RING + 0x1000)).unwrap();
            let chain = queue.iter(&memory).unwrap().next().unwrap();

            let mut wanted = Request::default();
            let (mut whole, mut sound, mut writable) = (false, true, true);
            for (number, descriptor) in chain.enumerate() {
                if number >= usize::from(SIZE) {
                    whole = false;
                    break;
                }
                let places = &Places::new(&memory);
                whole = !descriptor.has_next();
                sound &= if descriptor.is_write_only() {
                    writable = writable && wanted.writable.push(places, &descriptor, Permissions::Write);
                    writable
                } else {
                    wanted.writable.length == 0 && wanted.readable.push(places, &descriptor, Permissions::Read)
                };
            }
            let mut request = Request::default();
            prop_assert_eq!(request.take(&Places::new(&memory), GuestAddress(RING), SIZE, head), whole && sound);
            prop_assert_eq!(request.readable.length(), wanted.readable.length());
            prop_assert_eq!(request.writable.length(), wanted.writable.length());
        }
    }
}
