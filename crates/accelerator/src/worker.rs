//! What a worker does with what waits: packet calls that come one after the other are processed together.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use arrayvec::ArrayVec;
use gipsec_engine::{Events, MAX_BATCH, PacketError};

use crate::{
    Call, Entry, Packets, SaEntry,
    mailbox::Task,
    queue::Queue,
    service::{Outcome, Parts},
};

/// Runs tasks until the queue is closed and empty: the life of a worker.
pub(crate) fn serve(queue: &Queue) {
    let mut tasks = VecDeque::new();
    while queue.next(MAX_BATCH, &mut tasks) {
        tasks.iter().for_each(Task::wait_for_device);
        while !tasks.is_empty() {
            // The work turns its own defects into results; one that escapes must not end the worker.
            let together = catch_unwind(AssertUnwindSafe(|| run_together(tasks.make_contiguous())));
            let done = match together {
                Ok(0) => {
                    tasks.iter_mut().take(1).for_each(run_one);
                    1
                }
                Ok(count) => count,
                // Not reached. What may have been laid out has failed.
                Err(_) => fail(tasks.make_contiguous()),
            };
            tasks.drain(..done).for_each(Task::leave_worker);
        }
    }
}

fn run_one(task: &mut Task) {
    let outcome = if task.group.is_gone() { Outcome::Gone } else { Outcome::Run };
    drop(catch_unwind(AssertUnwindSafe(|| task.work.run(outcome))));
}

/// Has the packet calls that come first fail; how many.
#[cold]
fn fail(tasks: &mut [Task]) -> usize {
    let calls = tasks.iter_mut().map_while(|task| task.work.packets());
    let fail = |call: &mut dyn Packets| {
        if let Some(parts) = call.parts() {
            parts.verdicts.fill(Err(PacketError::Crypto));
        }
        call.settle();
    };
    calls.map(fail).count().max(1)
}

/// Processes as many packet calls as come first and can be processed together; how many, 0 when it would be one.
fn run_together(tasks: &mut [Task]) -> usize {
    let count = process_together(tasks);
    for task in &mut tasks[..count] {
        if let Some(work) = task.work.packets() {
            work.settle();
        }
    }
    count
}

/// As [`run_together`], up to the verdicts.
fn process_together(tasks: &mut [Task]) -> usize {
    let [first, _, ..] = tasks else { return 0 };
    let group = first.group.clone();
    if group.is_gone() {
        return 0;
    }
    let mut events = [Events::default(); MAX_BATCH];
    let mut owners: ArrayVec<&Entry<SaEntry>, MAX_BATCH> = ArrayVec::new();
    let mut calls: ArrayVec<Call<'_, '_>, MAX_BATCH> = ArrayVec::new();
    let mut room = MAX_BATCH;
    for (task, events) in tasks.iter_mut().zip(&mut events) {
        let parts = task.work.packets().and_then(Packets::parts);
        let Some(Parts { sa, packets, verdicts }) = parts.filter(|parts| (1..=room).contains(&parts.packets.len()))
        else {
            break;
        };
        room -= packets.len();
        owners.push(sa);
        calls.push(Call { association: sa.association(), packets, verdicts, events });
    }
    let count = calls.len();
    if count < 2 {
        return 0;
    }
    // All tasks of a worker are those of one accelerator.
    group.accelerator().process_together(&mut calls);
    drop(calls);
    for (sa, events) in owners.iter().zip(&events) {
        sa.tell(events);
    }
    count
}
