//! How long one side of a ring looks for what the other one does, before it sleeps.

use std::time::Duration;

/// The shortest time that is looked at all.
const LEAST: Duration = Duration::from_micros(10);
/// So often looking may be in vain one after the other.
const PATIENCE: u16 = 16;
/// So often nobody looks afterwards.
const REST: u16 = 512;

/// The time to look: grows while what one waits for comes soon after, and shrinks when it does not. Where looking never
/// helps, because the other side has to run on this very processor, it is left for a while.
#[derive(Debug, Default)]
pub struct Window {
    time: Duration,
    in_vain: u16,
}

impl Window {
    /// How long to look.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// What was waited for came while somebody looked.
    pub fn found(&mut self) {
        self.in_vain = 0;
    }

    /// Somebody slept; looking for `needed` would have been enough, and more than `most` is never looked.
    pub fn slept(&mut self, needed: Duration, most: Duration) {
        self.in_vain = (self.in_vain + 1) % (PATIENCE + REST);
        self.time = if self.in_vain > PATIENCE {
            Duration::ZERO
        } else if needed <= most {
            (self.time * 2).max(LEAST).min(most)
        } else {
            self.time / 2
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(200);

    /// Waits `count` times for what comes after `after`, or, when both sides share a processor, so much after one side
    /// sleeps; how long was looked in all.
    fn wait(window: &mut Window, count: u32, after: Duration, shared: bool) -> Duration {
        (0..count)
            .map(|_| {
                let time = window.time();
                if !shared && after <= time {
                    window.found();
                    return after;
                }
                window.slept(if shared { time + after } else { after }, MOST);
                time
            })
            .sum()
    }

    #[test]
    fn grows_until_looking_is_enough() {
        let (mut window, after) = (Window::default(), Duration::from_micros(60));
        assert_eq!(window.time(), Duration::ZERO);
        wait(&mut window, 5, after, false);
        assert!(window.time() >= after);
        assert_eq!(wait(&mut window, 10_000, after, false), after * 10_000);
    }

    #[test]
    fn shrinks_when_looking_is_not_enough() {
        let mut window = Window::default();
        wait(&mut window, 10, Duration::from_micros(60), false);
        let looked = wait(&mut window, 10_000, Duration::from_millis(1), false);
        assert!(looked < MOST * 3, "{looked:?}");
        // And comes back when it is.
        wait(&mut window, u32::from(REST + PATIENCE), Duration::from_micros(60), false);
        assert!(window.time() >= Duration::from_micros(60));
    }

    #[test]
    fn gives_up_where_looking_keeps_the_other_side_from_working() {
        let mut window = Window::default();
        let looked = wait(&mut window, 100_000, Duration::from_micros(20), true);
        assert!(looked < Duration::from_micros(6) * 100_000, "{looked:?}");
    }

    #[test]
    fn never_is_never() {
        let mut window = Window::default();
        for _ in 0..1000 {
            window.slept(Duration::from_micros(1), Duration::ZERO);
            assert_eq!(window.time(), Duration::ZERO);
        }
    }
}
