//! A device that a test holds, too: it answers when the test says so, or from a thread of its own.

use std::{
    os::fd::BorrowedFd,
    sync::{Arc, Weak},
    time::Duration,
};

use gipsec_virtio::{
    memory::Memory,
    message::Config,
    transport::{QueuePlace, Transport, TransportError},
};

use super::Mock;

/// The device.
pub struct Held(pub Arc<Mock>);

impl Held {
    /// Answers nothing by itself, and interrupts when it is asked to.
    pub fn new(mock: Mock) -> Self {
        Self(Arc::new(Mock { interrupts_apart: true, holds: true, ..mock }))
    }

    /// Answers from a thread of its own, as long as it is there.
    pub fn with_thread(mock: Mock, in_order: bool) -> Self {
        let held = Self::new(mock);
        let mock = Arc::downgrade(&held.0);
        std::thread::spawn(move || work(&mock, in_order));
        held
    }
}

fn work(mock: &Weak<Mock>, in_order: bool) {
    let mut random = 1u64;
    while let Some(mock) = mock.upgrade() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let which = usize::try_from(random >> 60).unwrap();
        let answered = mock.answer(if in_order { 0 } else { which });
        drop(mock);
        // Long enough for somebody to sleep, now and then.
        if !answered || (random >> 40).is_multiple_of(8) {
            std::thread::sleep(Duration::from_micros(random >> 58));
        }
    }
}

impl Transport for Held {
    fn features(&self) -> u64 {
        self.0.features()
    }

    fn config(&self) -> Config {
        self.0.config()
    }

    fn max_queue_size(&self, queue: usize) -> u16 {
        self.0.max_queue_size(queue)
    }

    fn memory(&self) -> &Arc<Memory> {
        self.0.memory()
    }

    fn start(&mut self, features: u64, queues: &[QueuePlace]) -> Result<(), TransportError> {
        self.0.begin(features, queues);
        Ok(())
    }

    fn kick(&self, queue: usize) {
        self.0.kick(queue);
    }

    fn interrupt(&self, queue: usize) -> Option<BorrowedFd<'_>> {
        self.0.interrupt(queue)
    }

    fn take_interrupt(&self, queue: usize) {
        self.0.take_interrupt(queue);
    }

    fn shares_interrupts(&self) -> bool {
        self.0.shares_interrupts()
    }

    fn loss(&self) -> BorrowedFd<'_> {
        self.0.loss()
    }

    fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    fn stop(&self) {}
}
