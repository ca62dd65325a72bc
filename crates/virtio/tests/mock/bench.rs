//! A device with who defers calls to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use gipsec_engine::Direction;
use gipsec_virtio::driver::{DeviceSa, Options};

use super::{
    Mock,
    calls::{ANY, Call, Caller},
    held::Held,
    traffic::{entry, open_with, options, packet},
};

/// A device, its SAs, and who uses them.
pub struct Bench {
    pub caller: Caller,
    pub outbound: Arc<DeviceSa>,
    pub inbound: Arc<DeviceSa>,
    pub mock: Arc<Mock>,
    pub lost: Arc<AtomicUsize>,
}

pub fn bench(held: Held, options: Options) -> Bench {
    let mock = held.0.clone();
    let (device, lost) = open_with(held, options).unwrap();
    let [outbound, inbound] = [Direction::Outbound, Direction::Inbound]
        .map(|direction| Arc::new(device.add_sa(vec![entry(direction)]).unwrap()));
    Bench { caller: Caller::new(&device), outbound, inbound, mock, lost }
}

/// Nobody is rescued by a deadline.
pub fn patient() -> Options {
    Options { deadline: Duration::from_secs(60), ..options() }
}

impl Bench {
    /// Has calls processed; their results by call.
    pub fn pass(&mut self, sa: &Arc<DeviceSa>, calls: &[Vec<Vec<u8>>], in_order: bool) -> Vec<Vec<Vec<u8>>> {
        calls.iter().for_each(|packets| self.caller.defer(sa, ANY, packets, 1700));
        let mut finished = self.caller.wait(calls.len());
        assert!(!in_order || finished.is_sorted_by_key(|call| call.number));
        finished.sort_by_key(|call| call.number);
        finished.iter().for_each(|call| assert!(call.is_all_ok(), "{:?}", call.verdicts));
        finished.iter().map(Call::results).collect()
    }

    /// The device's thread has interrupted when it was going to.
    pub fn is_quiet(&self) -> bool {
        drop(self.mock.state.lock().unwrap());
        self.caller.is_quiet()
    }

    pub fn is_told_once(&self) {
        let start = Instant::now();
        while self.lost.load(SeqCst) == 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "nobody is told");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(self.lost.load(SeqCst), 1);
    }
}

/// Packets of mixed lengths.
pub fn packets(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|at| packet(40 + (at * 53 + count) % 1400)).collect()
}
