//! A client's SAs, found by their numbers. A number is a slot and a generation that the client never sees again, so that
//! a stale or forged one finds nothing, and a greater number is a younger SA. Any worker looks numbers up, without a lock
//! and writing nothing that others read; adding and removing is the control worker's, under the lock of its caller.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};
use gipsec_engine::{Direction, Sa};
use slab::Slab;

/// Slots are made this many at a time, and never move.
const CHUNK: usize = 1024;
/// Bits of a number that are its slot.
const SLOT_BITS: u32 = 20;
/// SAs of a table at most.
pub const MAX_SAS: usize = 1 << SLOT_BITS;

/// An SA of a client.
pub struct Entry {
    /// What the driver calls it.
    pub number: u64,
    /// Its group; 0: none.
    pub group: u32,
    /// The SA.
    pub sa: Box<Sa>,
}

impl Entry {
    /// Its direction.
    pub fn direction(&self) -> Direction {
        self.sa.direction()
    }
}

type Slots = Box<[ArcSwapOption<Entry>]>;

/// What any worker may look into.
pub struct Table {
    chunks: Box<[OnceLock<Slots>]>,
}

/// What only the control worker has: which slots are taken, and the next generation.
pub struct Allocation {
    taken: Slab<()>,
    generation: u64,
    limit: usize,
}

/// The entry that a number leads to, for as long as it is held.
pub struct Found(Guard<Option<Arc<Entry>>>);

impl std::ops::Deref for Found {
    type Target = Entry;

    #[inline]
    fn deref(&self) -> &Entry {
        self.0.as_deref().expect("only made of an entry")
    }
}

impl Allocation {
    /// For `limit` SAs. Generations start where nobody can guess, and far from their end.
    pub fn new(limit: usize) -> Self {
        let generation = (getrandom::u64().unwrap_or(0) >> (SLOT_BITS + 1)) + 1;
        Self { taken: Slab::new(), generation, limit: limit.min(MAX_SAS) }
    }

    /// How many SAs there are.
    pub fn count(&self) -> usize {
        self.taken.len()
    }

    /// Whether there is place for one more.
    pub fn has_room(&self) -> bool {
        self.taken.len() < self.limit && self.generation < 1 << (64 - SLOT_BITS)
    }

    fn take(&mut self) -> u64 {
        let slot = self.taken.insert(());
        let number = self.generation << SLOT_BITS | slot as u64;
        self.generation += 1;
        number
    }
}

fn slot_of(number: u64) -> usize {
    // The mask leaves 20 bits.
    usize::try_from(number & ((1 << SLOT_BITS) - 1)).unwrap_or(usize::MAX)
}

impl Table {
    /// An empty one for `limit` SAs.
    pub fn new(limit: usize) -> Self {
        Self { chunks: (0..limit.min(MAX_SAS).div_ceil(CHUNK)).map(|_| OnceLock::new()).collect() }
    }

    fn slot(&self, number: u64) -> Option<&ArcSwapOption<Entry>> {
        let slot = slot_of(number);
        self.chunks.get(slot / CHUNK)?.get()?.get(slot % CHUNK)
    }

    /// Adds an SA; its number, or None when there is no place.
    pub fn insert(&self, allocation: &mut Allocation, group: u32, sa: Box<Sa>) -> Option<u64> {
        if !allocation.has_room() {
            return None;
        }
        let number = allocation.take();
        let slot = slot_of(number);
        let chunk = self.chunks.get(slot / CHUNK)?;
        chunk.get_or_init(|| (0..CHUNK).map(|_| ArcSwapOption::empty()).collect())[slot % CHUNK]
            .store(Some(Arc::new(Entry { number, group, sa })));
        Some(number)
    }

    /// The SA of that number. A [`Found`] is short-lived: many at once cost more than one.
    #[inline]
    pub fn find(&self, number: u64) -> Option<Found> {
        let guard = self.slot(number)?.load();
        guard.as_ref().is_some_and(|entry| entry.number == number).then_some(Found(guard))
    }

    /// Takes the SA out.
    pub fn remove(&self, allocation: &mut Allocation, number: u64) -> Option<Arc<Entry>> {
        let slot = self.slot(number)?;
        let entry = slot.load_full().filter(|entry| entry.number == number)?;
        slot.store(None);
        allocation.taken.try_remove(slot_of(number));
        Some(entry)
    }
}
