//! Deferred calls, and who waits for them.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use gipsec_engine::{Buffers, PacketError, Verdict};
use gipsec_virtio::driver::{Deferred, Device, DeviceSa, Line, Process, Rank};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::event_fd;

/// A call that says where it is when it is finished.
pub struct Call {
    pub number: usize,
    pub rank: Rank,
    pub sa: Arc<DeviceSa>,
    pub packets: Vec<Buffers<'static>>,
    pub verdicts: Vec<Verdict>,
    finished: Sender<Call>,
    bell: Arc<OwnedFd>,
}

impl Deferred for Call {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn process(&mut self) -> Option<Process<'_, 'static>> {
        Some(Process { sa: &self.sa, packets: &mut self.packets, verdicts: &mut self.verdicts })
    }

    fn finish(self: Box<Self>) {
        let (finished, bell) = (self.finished.clone(), self.bell.clone());
        finished.send(*self).unwrap();
        rustix::io::write(&*bell, &1u64.to_ne_bytes()).unwrap();
    }
}

impl Call {
    /// The results.
    pub fn results(&self) -> Vec<Vec<u8>> {
        let result = |(packet, verdict): (&Buffers<'static>, &Verdict)| {
            let len = verdict.unwrap_or(0);
            match packet {
                Buffers::Apart { output, .. } => {
                    assert!(output[len..].iter().all(|byte| *byte == 0xdd), "written beyond the result");
                    output[..len].to_vec()
                }
                Buffers::InPlace { buffer, .. } => buffer[..len].to_vec(),
            }
        };
        self.packets.iter().zip(&self.verdicts).map(result).collect()
    }

    pub fn is_all_ok(&self) -> bool {
        self.verdicts.iter().all(Result::is_ok)
    }
}

/// Who defers calls to a device, and waits for them.
pub struct Caller {
    pub device: Arc<Device>,
    finished: (Sender<Call>, Receiver<Call>),
    /// Readable when a call was finished, perhaps by another thread.
    bell: Arc<OwnedFd>,
    made: usize,
}

impl Caller {
    pub fn new(device: &Arc<Device>) -> Self {
        Self { device: device.clone(), finished: channel(), bell: Arc::new(event_fd()), made: 0 }
    }

    /// A call of packets where they are.
    pub fn call(&mut self, sa: &Arc<DeviceSa>, rank: Rank, packets: Vec<Buffers<'static>>) -> Call {
        self.made += 1;
        Call {
            number: self.made - 1,
            rank,
            sa: sa.clone(),
            verdicts: vec![Err(PacketError::Crypto); packets.len()],
            packets,
            finished: self.finished.0.clone(),
            bell: self.bell.clone(),
        }
    }

    /// Defers a call of packets with so much room each.
    pub fn defer(&mut self, sa: &Arc<DeviceSa>, rank: Rank, packets: &[Vec<u8>], room: usize) {
        let apart = |packet: &Vec<u8>| Buffers::Apart { input: packet.clone().leak(), output: vec![0xdd; room].leak() };
        let call = self.call(sa, rank, packets.iter().map(apart).collect());
        self.device.defer(sa.direction(), usize::try_from(rank.place).unwrap(), Box::new(call));
    }

    /// Calls that were finished.
    pub fn finished(&self) -> Vec<Call> {
        self.finished.1.try_iter().collect()
    }

    /// Sleeps until there may be something; whether there may.
    pub fn sleep(&self, most: Duration) -> bool {
        let bell = self.bell.as_fd();
        let mut fds: Vec<_> = self
            .device
            .descriptors()
            .into_iter()
            .chain([bell])
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let most = Timespec { tv_sec: most.as_secs().cast_signed(), tv_nsec: most.subsec_nanos().into() };
        poll(&mut fds, Some(&most)).unwrap() > 0
    }

    /// Takes what is back.
    pub fn look(&self) -> Vec<Call> {
        self.device.rest();
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        self.finished()
    }

    /// Sleeps until so many calls are finished, in which order they are.
    pub fn wait(&self, count: usize) -> Vec<Call> {
        let mut calls = self.finished();
        while calls.len() < count {
            assert!(self.sleep(Duration::from_secs(5)), "nobody is woken: {} of {count}", calls.len());
            calls.extend(self.look());
        }
        assert_eq!(calls.len(), count);
        calls
    }

    /// Looks again and again until so many calls are finished, and does something else in between.
    pub fn look_until(&self, count: usize, mut between: impl FnMut()) -> Vec<Call> {
        let (start, mut calls) = (Instant::now(), Vec::new());
        while calls.len() < count {
            assert!(start.elapsed() < Duration::from_secs(5), "{} of {count}", calls.len());
            between();
            calls.extend(self.look());
            std::thread::sleep(Duration::from_millis(1));
        }
        calls
    }

    /// Whether there is nothing to look at any more.
    pub fn is_quiet(&self) -> bool {
        self.look().is_empty() && !self.sleep(Duration::ZERO)
    }
}

/// A call like any other.
pub const ANY: Rank = Rank { class: 0, place: 0 };

/// The most urgent first.
#[derive(Default)]
pub struct ByClass(BTreeMap<(u8, usize), Box<dyn Deferred>>, usize);

impl Line for ByClass {
    fn push(&mut self, call: Box<dyn Deferred>) {
        self.1 += 1;
        self.0.insert((u8::MAX - call.rank().class, self.1), call);
    }

    fn pop(&mut self) -> Option<Box<dyn Deferred>> {
        self.0.pop_first().map(|(_, call)| call)
    }
}
