//! Tables whose keys are handed out as handles (R22). A key names a slot and a generation that no later key repeats, so
//! that a stale or forged one finds nothing. Look-up takes no lock and writes nothing that others read; adding and
//! removing lock a list of slots, in constant time.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use slab::Slab;

/// Slots are made this many at a time, and never move.
const CHUNK: usize = 1024;

/// What a handle is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The age of the entry: greater than that of every older one, and never 0.
    pub generation: u64,
    /// Where it is.
    pub slot: u32,
}

/// An entry of a table.
#[derive(Debug)]
pub struct Entry<T> {
    /// What leads to it.
    pub key: Key,
    /// What is there.
    pub value: T,
}

type Slots<T> = Box<[ArcSwapOption<Entry<T>>]>;

/// A table of at most a given number of entries.
pub(crate) struct Table<T> {
    chunks: Box<[OnceLock<Slots<T>>]>,
    /// Which slots are taken.
    taken: Mutex<Slab<()>>,
    limit: usize,
}

/// Generations are never repeated within a process, and start where another process cannot guess.
fn next_generation() -> u64 {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU64::new((getrandom::u64().unwrap_or(0) >> 2) + 1));
    next.fetch_add(1, Relaxed)
}

impl<T> Table<T> {
    /// An empty table for `limit` entries, fewer than 2^32.
    pub(crate) fn new(limit: usize) -> Self {
        let chunks = (0..limit.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Self { chunks, taken: Mutex::new(Slab::new()), limit }
    }

    /// Adds what `make` makes of its future key; None when the table is full.
    pub(crate) fn insert(&self, make: impl FnOnce(Key) -> T) -> Option<Arc<Entry<T>>> {
        let index = {
            let mut taken = self.taken.lock();
            if taken.len() >= self.limit {
                return None;
            }
            taken.insert(())
        };
        let key = Key { generation: next_generation(), slot: u32::try_from(index).ok()? };
        let entry = Arc::new(Entry { key, value: make(key) });
        self.chunks[index / CHUNK].get_or_init(|| (0..CHUNK).map(|_| ArcSwapOption::empty()).collect())[index % CHUNK]
            .store(Some(entry.clone()));
        Some(entry)
    }

    fn slot(&self, key: Key) -> Option<&ArcSwapOption<Entry<T>>> {
        let index = usize::try_from(key.slot).ok()?;
        self.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)
    }

    /// Calls `work` with the entry, which stays until it returns.
    #[inline]
    pub(crate) fn with<R>(&self, key: Key, work: impl FnOnce(&Entry<T>) -> R) -> Option<R> {
        let guard = self.slot(key)?.load();
        guard.as_ref().filter(|entry| entry.key == key).map(|entry| work(entry))
    }

    /// The entry, to be kept.
    pub(crate) fn get(&self, key: Key) -> Option<Arc<Entry<T>>> {
        self.slot(key)?.load_full().filter(|entry| entry.key == key)
    }

    /// Takes the entry out; of several threads that try, one gets it.
    pub(crate) fn remove(&self, key: Key) -> Option<Arc<Entry<T>>> {
        let slot = self.slot(key)?;
        let mut taken = self.taken.lock();
        let entry = slot.load_full().filter(|entry| entry.key == key)?;
        slot.store(None);
        taken.remove(usize::try_from(key.slot).ok()?);
        Some(entry)
    }

    /// All entries, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Entry<T>>> {
        let mut entries: Vec<_> = self
            .chunks
            .iter()
            .filter_map(OnceLock::get)
            .flat_map(|slots| slots.iter().filter_map(ArcSwapOption::load_full))
            .collect();
        entries.sort_by_key(|entry| entry.key);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn agrees_with_a_map_and_never_repeats_a_key(steps in proptest::collection::vec((any::<bool>(), 0usize..40), 1..300)) {
            let table = Table::new(20);
            let mut model: HashMap<Key, usize> = HashMap::new();
            let mut ever: Vec<Key> = Vec::new();
            for (add, number) in steps {
                if add {
                    match table.insert(|_| number) {
                        Some(entry) => {
                            prop_assert!(!ever.contains(&entry.key));
                            ever.push(entry.key);
                            model.insert(entry.key, number);
                        }
                        None => prop_assert_eq!(model.len(), 20),
                    }
                } else if let Some(key) = ever.get(number).copied() {
                    prop_assert_eq!(table.remove(key).map(|entry| entry.value), model.remove(&key));
                }
                for key in &ever {
                    prop_assert_eq!(table.with(*key, |entry| entry.value), model.get(key).copied());
                    let forged = Key { generation: key.generation ^ 1 << 60, ..*key };
                    prop_assert_eq!(table.with(forged, |entry| entry.value), None);
                }
            }
            prop_assert_eq!(table.all().len(), model.len());
        }
    }

    #[test]
    fn a_slot_out_of_range_finds_nothing() {
        let table: Table<()> = Table::new(5000);
        assert!(table.get(Key { generation: 1, slot: u32::MAX }).is_none());
        assert!(table.get(Key { generation: 1, slot: 4999 }).is_none());
    }
}
