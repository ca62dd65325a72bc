//! The data queues of a device, and who has which when.

use std::{
    os::fd::BorrowedFd,
    sync::atomic::{
        AtomicBool,
        Ordering::{Relaxed, Release},
    },
    time::Duration,
};

use arrayvec::ArrayVec;
use gipsec_engine::Direction;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    Device, Inner,
    data::{DataQueue, Item},
    deferred::Deferred,
    timespec,
};
use crate::message::MAX_PAIRS;

/// A data queue of the device's.
pub(super) struct Lane {
    pub(super) queue: Mutex<DataQueue>,
    /// Whether it has deferred calls.
    defers: AtomicBool,
}

impl Lane {
    pub(super) fn new(queue: DataQueue) -> Self {
        Self { queue: Mutex::new(queue), defers: AtomicBool::new(false) }
    }

    /// Takes note whether there are deferred calls.
    fn note(&self, queue: &DataQueue) {
        self.defers.store(!queue.deferrals.is_empty(), Relaxed);
    }
}

impl Inner {
    /// The queue of a direction for a place; each of as many places as there are pairs has another one.
    fn lane(&self, direction: Direction, place: usize) -> &Lane {
        &self.lanes[place % self.lanes.len()][usize::from(direction == Direction::Outbound)]
    }
}

impl Device {
    /// Has packets processed, all of one direction.
    pub(super) fn run(&self, direction: Direction, flags: u16, items: &mut [Item<'_, '_>]) {
        let lanes = || (0..self.inner.lanes.len()).map(|pair| self.inner.lane(direction, pair));
        // The first one that is free: one caller keeps one of the device's workers busy, and its caches warm. Where calls are
        // deferred, they come first.
        let quiet = lanes().filter(|lane| !lane.defers.load(Relaxed)).find_map(|lane| lane.queue.try_lock());
        let free = quiet.or_else(|| lanes().find_map(|lane| lane.queue.try_lock()));
        let mut queue = free.unwrap_or_else(|| {
            let turn = self.inner.turn.fetch_add(1, Relaxed);
            self.inner.lane(direction, turn).queue.lock()
        });
        queue.run(&self.inner, flags, items);
    }

    /// Whether somebody who sleeps can be told of deferred calls: each queue has an interrupt of its own.
    pub fn defers(&self) -> bool {
        !self.inner.transport.shares_interrupts()
    }

    /// Descriptors that are readable when deferred calls may be back.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.interrupts().map(|(_, interrupt)| interrupt).collect()
    }

    /// Data queues with interrupts of their own, by number.
    fn interrupts(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let numbers = if self.defers() { 2..2 + 2 * self.inner.lanes.len() } else { 0..0 };
        numbers.filter_map(|number| Some((number, self.inner.transport.interrupt(number)?)))
    }

    /// Takes a call, which [`Device::advance`] finishes in the course of time. Those of one `place` and direction keep their
    /// order.
    pub fn defer(&self, direction: Direction, place: usize, call: Box<dyn Deferred>) {
        let lane = self.inner.lane(direction, place);
        let mut queue = lane.queue.lock();
        queue.defer(&self.inner, call);
        lane.note(&queue);
        drop(queue);
        if !self.inner.watches_deferred.load(Relaxed) {
            self.inner.watches_deferred.store(true, Release);
            self.inner.wake();
        }
    }

    /// Finishes deferred calls that are back, and sends those that there is room for. Whoever has a queue now does that
    /// before it leaves.
    pub fn advance(&self) {
        for lane in self.inner.lanes.iter().flatten().filter(|lane| lane.defers.load(Relaxed)) {
            if let Some(mut queue) = lane.queue.try_lock() {
                queue.advance(&self.inner);
                lane.note(&queue);
            }
        }
    }

    /// As [`Device::advance`], for who is going to wait for [`Device::descriptors`]: they are readable by what comes after
    /// it alone, but for a queue that somebody has.
    pub fn rest(&self) {
        let fd = |(_, interrupt)| PollFd::from_borrowed_fd(interrupt, PollFlags::IN);
        let mut fds: ArrayVec<_, { 2 * MAX_PAIRS }> = self.interrupts().map(fd).collect();
        if poll(&mut fds, Some(&timespec(Duration::ZERO))).is_ok_and(|ready| ready > 0) {
            // Also those that whoever waited has left.
            for ((number, _), _) in self.interrupts().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()) {
                let lane = &self.inner.lanes[number / 2 - 1][number % 2];
                // Not of somebody who sleeps there.
                if let Some(mut queue) = lane.queue.try_lock() {
                    self.inner.transport.take_interrupt(number);
                    // What it was for is taken before anybody else can come.
                    queue.advance(&self.inner);
                }
            }
        }
        self.advance();
    }
}
