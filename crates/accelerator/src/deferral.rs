//! Packet calls that go straight into a device, without a worker: those of applications in poll mode, which look for what
//! came back themselves. What there is no room for waits in line by class, as it does for a worker.
//!
//! Calls of one SA keep their order, whoever processes them: while a worker has any, all go there; and a worker waits until
//! the device is done with those that it took before.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use gipsec_virtio::driver::{Deferred, Line, Process, Rank};

use crate::{
    Accelerator, Error, Group,
    mailbox::Task,
    queue::{Class, Lines, Place},
    service::{Packets, Parts, Work},
};

/// Asynchronous calls of an SA that are under way, by who has them.
#[derive(Default)]
pub(crate) struct UnderWay {
    device: AtomicUsize,
    workers: AtomicUsize,
}

impl UnderWay {
    /// A worker is given a call.
    pub(crate) fn goes_to_worker(&self) {
        self.workers.fetch_add(1, Relaxed);
    }

    /// A worker is done with a call.
    pub(crate) fn leaves_worker(&self) {
        self.workers.fetch_sub(1, Release);
    }

    /// Waits until the device is done with what it took; it is, or it is lost.
    pub(crate) fn wait_for_device(&self, accelerator: &dyn Accelerator) {
        while self.device.load(Acquire) > 0 {
            if let Some(device) = accelerator.device() {
                device.advance();
            }
            if self.device.load(Acquire) > 0 {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    }
}

/// A packet call that a device has.
struct Deferral {
    task: Task,
    rank: Rank,
    under_way: Arc<UnderWay>,
}

impl Deferred for Deferral {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn process(&mut self) -> Option<Process<'_, 'static>> {
        let Parts { sa, packets, verdicts } = self.task.work.packets()?.parts()?;
        Some(Process { sa: sa.association().device()?, packets, verdicts })
    }

    fn finish(self: Box<Self>) {
        let Self { mut task, under_way, .. } = *self;
        if let Some(packets) = task.work.packets() {
            packets.settle();
        }
        let mailbox = task.group.mailbox();
        mailbox.post(task);
        under_way.device.fetch_sub(1, Release);
    }
}

/// Takes a call of an application in poll mode, if a device can have it; or gives it back, with the error if it can go nowhere.
pub(crate) fn defer(
    group: &Arc<Group>,
    class: Class,
    mut work: Box<dyn Work>,
) -> Result<(), (Option<Error>, Box<dyn Work>)> {
    let device = group.accelerator().device().filter(|device| group.is_polled() && device.defers());
    let parts = work.packets().and_then(Packets::parts);
    let (Some(device), Some(Parts { sa, .. })) = (device, parts) else { return Err((None, work)) };
    let under_way = sa.value.under_way.clone();
    let (any_order, direction, slot) = (sa.value.any_order, sa.value.direction, sa.key.slot);
    if !any_order && under_way.workers.load(Acquire) > 0 {
        return Err((None, work));
    }
    if let Err(error) = group.begin_call(class, work.weight()) {
        return Err((Some(error), work));
    }
    let ticket = under_way.device.fetch_add(1, Relaxed);
    let place = if any_order { ticket.wrapping_add(slot as usize) } else { slot as usize };
    let rank = Rank { class: class as u8, place: place as u64 };
    let task = Task::new(group.clone(), work);
    device.defer(direction, place, Box::new(Deferral { task, rank, under_way }));
    Ok(())
}

/// What waits for room in a device.
#[derive(Default)]
pub(crate) struct Backlog(Lines<Box<dyn Deferred>>);

impl Line for Backlog {
    fn push(&mut self, call: Box<dyn Deferred>) {
        let Rank { class, place } = call.rank();
        self.0.push(Place::Own(place), Class::of_number(class), call);
    }

    fn pop(&mut self) -> Option<Box<dyn Deferred>> {
        self.0.pop_if(|_, _| true).map(|(_, call)| call)
    }
}
