//! What a worker does with what waits: packet calls that come one after the other are processed together.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use arrayvec::ArrayVec;
use gipsec_engine::{Buffers, Events, MAX_BATCH, PacketError, Verdict};

use crate::{Call, Entry, SaEntry, mailbox::Task, queue::Queue, service::Outcome};

/// Runs tasks until the queue is closed and empty: the life of a worker.
pub(crate) fn serve(queue: &Queue) {
    let mut tasks = VecDeque::new();
    while queue.next(MAX_BATCH, &mut tasks) {
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
            for task in tasks.drain(..done) {
                task.group.mailbox().post(task);
            }
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
    calls.map(|call| call.settle(&[Err(PacketError::Crypto); MAX_BATCH])).count().max(1)
}

/// Processes as many packet calls as come first and can be processed together; how many, 0 when it would be one.
fn run_together(tasks: &mut [Task]) -> usize {
    let mut verdicts = [Err(PacketError::Crypto); MAX_BATCH];
    let counts = process_together(tasks, &mut verdicts);
    let mut left = &verdicts[..];
    for (task, count) in tasks.iter_mut().zip(&counts) {
        let (theirs, others) = left.split_at(*count);
        if let Some(work) = task.work.packets() {
            work.settle(theirs);
        }
        left = others;
    }
    counts.len()
}

/// As [`run_together`], up to the verdicts; how many packets each call has.
fn process_together(tasks: &mut [Task], verdicts: &mut [Verdict; MAX_BATCH]) -> ArrayVec<usize, MAX_BATCH> {
    let mut counts = ArrayVec::new();
    let [first, _, ..] = tasks else { return counts };
    let group = first.group.clone();
    if group.is_gone() {
        return counts;
    }
    let mut packets: ArrayVec<Buffers<'_>, MAX_BATCH> = ArrayVec::new();
    let mut owners: ArrayVec<&Entry<SaEntry>, MAX_BATCH> = ArrayVec::new();
    for task in tasks {
        let before = packets.len();
        match task.work.packets().and_then(|work| work.lay_out(&mut packets)) {
            Some(sa) if packets.len() > before => {
                owners.push(sa);
                counts.push(packets.len() - before);
            }
            _ => break,
        }
    }
    if owners.len() < 2 {
        counts.clear();
        return counts;
    }
    let mut events = [Events::default(); MAX_BATCH];
    let mut calls: ArrayVec<Call<'_, '_>, MAX_BATCH> = ArrayVec::new();
    let (mut packets, mut verdicts) = (&mut packets[..], &mut verdicts[..]);
    for ((sa, count), events) in owners.iter().zip(&counts).zip(&mut events) {
        let (packets_of_call, others) = packets.split_at_mut(*count);
        let (verdicts_of_call, rest) = verdicts.split_at_mut(*count);
        calls.push(Call {
            association: sa.association(),
            packets: packets_of_call,
            verdicts: verdicts_of_call,
            events,
        });
        (packets, verdicts) = (others, rest);
    }
    // All tasks of a worker are those of one accelerator.
    group.accelerator().process_together(&mut calls);
    drop(calls);
    for (sa, events) in owners.iter().zip(&events) {
        sa.tell(events);
    }
    counts
}
