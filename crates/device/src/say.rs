//! What a client can cause is said at most once a second for each kind, however often it happens.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// One kind of line of one client.
#[derive(Default)]
pub struct Gate {
    /// Milliseconds of the process after which the next one may be said.
    next: AtomicU64,
}

impl Gate {
    /// Whether a line may be said now.
    pub fn opens(&self) -> bool {
        static START: OnceLock<Instant> = OnceLock::new();
        let now = u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Relaxed);
        now >= next && self.next.compare_exchange(next, now + 1000, Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_once_a_second() {
        let gate = Gate::default();
        assert!(gate.opens());
        assert!(!(0..1000).any(|_| gate.opens()));
        std::thread::sleep(std::time::Duration::from_millis(1010));
        assert!(gate.opens());
    }
}
