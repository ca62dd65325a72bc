//! What a client may ask for in a second: a bucket of packets and one of bytes, filled by the clock. Asked once for each
//! request, by that client's workers: one without packets costs as much as a short packet, and after one that got less
//! than it asked for, the next one waits, so that refusing costs no more than a little.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Packets and bytes a second; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Packets.
    pub packets: u64,
    /// Bytes of packets.
    pub bytes: u64,
}

impl Rate {
    /// Whether there is a limit at all.
    pub fn is_limited(self) -> bool {
        self.packets != 0 || self.bytes != 0
    }
}

/// How much may be saved up: a second's worth would let a client that was quiet hold everybody up for as long.
const BURST: Duration = Duration::from_millis(100);

/// Bytes that a request without packets counts for.
const REQUEST: usize = 64;
/// Shorter than a burst, so that what is granted is not lost by waiting.
const WAIT: Duration = Duration::from_millis(10);

/// A bucket for each.
pub struct Bucket {
    rate: Rate,
    levels: Mutex<Levels>,
}

struct Levels {
    packets: f64,
    bytes: f64,
    at: Instant,
    /// The last request got less than it asked for.
    short: bool,
}

impl Bucket {
    /// Full ones.
    pub fn new(rate: Rate) -> Self {
        let (packets, bytes) = Self::most(rate);
        Self { rate, levels: Mutex::new(Levels { packets, bytes, at: Instant::now(), short: false }) }
    }

    /// What a bucket holds at most: a burst, but never less than one packet of any size.
    fn most(rate: Rate) -> (f64, f64) {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let burst = |rate: u64, least: f64| (rate as f64 * BURST.as_secs_f64()).max(least);
        (burst(rate.packets, 1.0), burst(rate.bytes, 65_536.0))
    }

    /// How many of these packets, in their order, are granted now.
    pub fn take(&self, lengths: impl Iterator<Item = usize>, now: Instant) -> usize {
        let (most_packets, most_bytes) = Self::most(self.rate);
        let mut levels = self.levels.lock();
        let passed = now.saturating_duration_since(levels.at).as_secs_f64();
        levels.at = levels.at.max(now);
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let filled = |level: f64, rate: u64, most: f64| (level + rate as f64 * passed).min(most);
        levels.packets = filled(levels.packets, self.rate.packets, most_packets);
        levels.bytes = filled(levels.bytes, self.rate.bytes, most_bytes);
        let mut granted = 0;
        for length in lengths {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let length = length as f64;
            if self.rate.packets != 0 && levels.packets < 1.0 || self.rate.bytes != 0 && levels.bytes < length {
                levels.short = true;
                break;
            }
            levels.packets -= 1.0;
            levels.bytes -= length;
            granted += 1;
        }
        granted
    }

    /// Charges a request without packets.
    pub fn charge(&self, now: Instant) {
        self.take(std::iter::once(REQUEST), now);
    }

    /// How long the next request waits before it is looked at.
    pub fn wait(&self) -> Option<Duration> {
        std::mem::take(&mut self.levels.lock().short).then_some(WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_the_rate_and_no_more() {
        let bucket = Bucket::new(Rate { packets: 1000, bytes: 0 });
        let start = Instant::now();
        assert_eq!(bucket.take(std::iter::repeat_n(1500, 1000), start), 100, "a burst of a tenth of a second");
        assert_eq!(bucket.take(std::iter::repeat_n(1500, 64), start), 0);
        let mut granted = 0;
        for step in 1..=100 {
            granted += bucket.take(std::iter::repeat_n(1500, 64), start + Duration::from_millis(10) * step);
        }
        assert!((990..=1000).contains(&granted), "{granted}");
    }

    #[test]
    fn a_bucket_of_bytes_lets_a_long_packet_through_some_time() {
        let bucket = Bucket::new(Rate { packets: 0, bytes: 1000 });
        let start = Instant::now();
        assert_eq!(bucket.take([65_535].into_iter(), start), 1);
        assert_eq!(bucket.take([1500].into_iter(), start), 0);
        assert_eq!(bucket.take([1500].into_iter(), start + Duration::from_secs(2)), 1);
    }

    #[test]
    fn who_asks_for_more_waits_and_gets_the_rate_all_the_same() {
        let bucket = Bucket::new(Rate { packets: 10_000, bytes: 0 });
        let mut now = Instant::now();
        let (start, mut granted, mut rounds) = (now, 0, 0);
        while now < start + Duration::from_secs(1) {
            granted += bucket.take(std::iter::repeat_n(100, 64), now);
            rounds += 1;
            now += bucket.wait().unwrap_or(Duration::from_micros(1));
        }
        assert!((10_900..=11_000).contains(&granted), "{granted}");
        assert!(rounds < 400, "{rounds}");
        (0..2000).for_each(|_| bucket.charge(now));
        assert!(bucket.wait().is_some() && bucket.wait().is_none());
    }
}
