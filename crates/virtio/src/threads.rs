//! Threads of this library's own, in the application's process.

use std::{
    cell::{Cell, RefCell},
    hint, io,
    thread::{self, Builder, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::signal::{SigSet, SigmaskHow};

/// Starts a thread in which no signal is delivered: signals are the application's, for its own threads. A thread
/// inherits the mask of the one that starts it.
pub fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = Builder::new().name(name.to_owned()).spawn(|| {
        IS_OWN.set(true);
        body()
    });
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    started
}

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
    static MANNERS: RefCell<Manners> = const { RefCell::new(Manners { rest: 0, left: 0 }) };
}

/// Lets a moment pass while this thread looks for what another processor does. A thread of this library's own lets others
/// have the processor meanwhile: the application's next call may be waiting for it. What the thread holds, others wait for
/// as long as whoever gets the processor keeps it; seldom for long ([`Manners`]).
#[inline]
pub(crate) fn pause() {
    if IS_OWN.get() {
        MANNERS.with_borrow_mut(|manners| manners.pause(thread::yield_now));
    } else {
        hint::spin_loop();
    }
}

/// Whoever has the processor for longer than this does not only make its next call: it may look for answers, and never
/// sleep.
const LONG: Duration = Duration::from_micros(200);
/// Nobody lets it have the processor for so many pauses at first, and at most.
const RESTS: (u32, u32) = (1 << 10, 1 << 20);

/// When to let others have the processor.
struct Manners {
    /// How many pauses to keep it after the next time that it was gone for long.
    rest: u32,
    left: u32,
}

impl Manners {
    fn pause(&mut self, give: impl FnOnce()) {
        if self.left > 0 {
            self.left -= 1;
            hint::spin_loop();
            return;
        }
        let start = Instant::now();
        give();
        let was_long = start.elapsed() > LONG;
        if was_long {
            self.left = self.rest.max(RESTS.0);
            self.rest = (2 * self.left).min(RESTS.1);
        } else {
            // Slower than it grows: one that is preempted now and then is no reason.
            self.rest -= self.rest / 64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the processor was given away in `count` pauses, each time for so long.
    fn gives(count: u32, long: Duration) -> u32 {
        let (mut manners, mut given) = (Manners { rest: 0, left: 0 }, 0);
        for _ in 0..count {
            manners.pause(|| {
                given += 1;
                thread::sleep(long);
            });
        }
        given
    }

    #[test]
    fn only_threads_of_our_own_give_it_away() {
        let is_own = || IS_OWN.get();
        assert!(spawn("test", is_own).unwrap().join().unwrap());
        assert!(!is_own() && !thread::spawn(is_own).join().unwrap());
    }

    #[test]
    fn the_processor_is_given_away_unless_it_is_gone_for_long() {
        // This thread may be kept from running now and then.
        let polite = gives(100_000, Duration::ZERO);
        assert!(polite > 10_000, "{polite}");
        // 2^10 pauses, then twice as many each time.
        assert!((2..=8).contains(&gives(100_000, 2 * LONG)));
    }
}
