//! What clients can cause is said at most once a second for each accelerator, however often it happens.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// The lines of one accelerator.
#[derive(Default)]
pub struct Gate {
    /// Milliseconds of the process after which the next one may be said.
    next: AtomicU64,
    /// Lines that were not said since the last one.
    unsaid: AtomicU64,
}

impl Gate {
    /// Warns, if that is due.
    pub fn warn(&self, line: fmt::Arguments<'_>) {
        match self.opens() {
            None => {}
            Some(0) => tracing::warn!("{line}."),
            Some(unsaid) => tracing::warn!("{line}. Before that, {unsaid} lines were left out."),
        }
    }

    /// Whether a line may be said now, and how many were not since the last one.
    fn opens(&self) -> Option<u64> {
        static START: OnceLock<Instant> = OnceLock::new();
        let now = u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Relaxed);
        if now >= next && self.next.compare_exchange(next, now + 1000, Relaxed, Relaxed).is_ok() {
            return Some(self.unsaid.swap(0, Relaxed));
        }
        self.unsaid.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_once_a_second() {
        let gate = Gate::default();
        assert_eq!(gate.opens(), Some(0));
        assert!((0..1000).all(|_| gate.opens().is_none()));
        std::thread::sleep(std::time::Duration::from_millis(1010));
        assert_eq!(gate.opens(), Some(1000));
    }
}
