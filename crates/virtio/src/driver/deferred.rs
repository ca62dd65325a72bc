//! Calls that nobody waits for: what fits is in flight, the rest waits in line, and whoever looks takes what came back and
//! sends what fits now. There is no thread for it: a caller in poll mode looks, with every call and every poll, and a
//! descriptor becomes readable when it is worth looking.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use gipsec_engine::PacketError;

use super::{
    Gone, Inner, Process,
    data::{DataQueue, Item, MAX_PACKETS, Request},
};

/// Requests in flight at most: enough for the device to have work while somebody wakes up. What is more urgent than they
/// are waits for them.
const DEPTH: usize = 16;

/// Where a call stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// How urgent it is; the higher, the more.
    pub class: u8,
    /// Calls of one place are sent in order.
    pub place: u64,
}

/// A call that is answered later.
pub trait Deferred: Send {
    /// Where it stands in line.
    fn rank(&self) -> Rank;

    /// Its packets, the same each time; their verdicts are the driver's until it is finished. None: it has none.
    fn process(&mut self) -> Option<Process<'_, 'static>>;

    /// All of its packets have their verdicts. Any thread may call it, and it must not call the device.
    fn finish(self: Box<Self>);
}

/// Calls that the device has no room for yet, in the order in which they are to be sent.
pub trait Line: Send {
    /// Adds one.
    fn push(&mut self, call: Box<dyn Deferred>);

    /// Takes the next one.
    fn pop(&mut self) -> Option<Box<dyn Deferred>>;
}

/// First come, first served.
impl Line for VecDeque<Box<dyn Deferred>> {
    fn push(&mut self, call: Box<dyn Deferred>) {
        self.push_back(call);
    }

    fn pop(&mut self) -> Option<Box<dyn Deferred>> {
        self.pop_front()
    }
}

/// A call of which something is in flight, or was.
struct Pending {
    /// None when it is finished.
    call: Option<Box<dyn Deferred>>,
    packets: usize,
    sent: usize,
    settled: usize,
}

/// The deferred calls of a data queue.
pub(super) struct Deferrals {
    /// The oldest first. Only the last one may have packets that were not sent.
    pending: VecDeque<Pending>,
    /// The number of the oldest.
    oldest: u64,
    line: Box<dyn Line>,
    /// How many are in line.
    waiting: usize,
    /// Whether the device was asked to interrupt.
    armed: bool,
    /// When the device was last done with something, or had nothing to do.
    progress: Instant,
}

impl Deferrals {
    pub(super) fn new(line: Box<dyn Line>) -> Self {
        let progress = Instant::now();
        Self { pending: VecDeque::new(), oldest: 0, line, waiting: 0, armed: false, progress }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.waiting == 0
    }

    fn pop(&mut self) -> Option<Box<dyn Deferred>> {
        let call = self.line.pop()?;
        self.waiting -= 1;
        Some(call)
    }

    /// Where the call of this number is.
    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.oldest)?).ok()
    }

    /// Finishes a call that has all its verdicts.
    fn finish(&mut self, place: usize) {
        if let Some(call) = self.pending.get_mut(place).and_then(|pending| pending.call.take()) {
            call.finish();
        }
        while self.pending.front().is_some_and(|pending| pending.call.is_none()) {
            self.pending.pop_front();
            self.oldest += 1;
        }
    }
}

/// Some packets of a call.
fn items(call: &mut dyn Deferred, first: usize, count: usize) -> ArrayVec<Item<'_, 'static>, MAX_PACKETS> {
    let Some(Process { sa, packets, verdicts }) = call.process() else { return ArrayVec::new() };
    let packets = packets.iter_mut().zip(verdicts).skip(first).take(count.min(MAX_PACKETS));
    packets.map(|(buffers, verdict)| sa.item(buffers, verdict)).collect()
}

impl DataQueue {
    /// Takes a call, which is finished in the course of time.
    pub(super) fn defer(&mut self, device: &Inner, call: Box<dyn Deferred>) {
        self.deferrals.line.push(call);
        self.deferrals.waiting += 1;
        self.advance(device);
    }

    /// Takes what came back, and sends what there is room for.
    pub(super) fn advance(&mut self, device: &Inner) {
        if device.is_lost() || self.try_advance(device).is_err() {
            // Whoever lost it, it touches no packet any more when this returns.
            device.lose();
            self.give_up();
        }
    }

    fn try_advance(&mut self, device: &Inner) -> Result<(), Gone> {
        loop {
            while let Some((id, _)) = self.queue.pop().map_err(|_| device.lose())? {
                self.settle_deferred(device, id)?;
            }
            while self.feed(device) {}
            let in_flight = self.queue.in_flight();
            if in_flight == 0 {
                return Ok(());
            }
            // When half of it is done there is still work while somebody wakes up.
            self.deferrals.armed = true;
            if self.queue.arm_after((in_flight - 1) / 2) {
                return Ok(());
            }
        }
    }

    /// Sends the next request; whether there was one, and room for it.
    fn feed(&mut self, device: &Inner) -> bool {
        let idle = self.queue.in_flight() == 0;
        if self.queue.in_flight() >= DEPTH {
            return false;
        }
        if self.deferrals.pending.back().is_none_or(|last| last.sent == last.packets) {
            let Some(mut call) = self.deferrals.pop() else { return false };
            // Those that are never settled stay gone.
            let packets = call.process().map_or(0, |Process { packets, verdicts, .. }| {
                verdicts.fill(Err(PacketError::Gone));
                packets.len().min(verdicts.len())
            });
            if packets == 0 {
                call.finish();
                return true;
            }
            self.deferrals.pending.push_back(Pending { call: Some(call), packets, sent: 0, settled: 0 });
        }
        let place = self.deferrals.pending.len() - 1;
        let number = self.deferrals.oldest + place as u64;
        let Some(Pending { call, sent: first, .. }) = self.deferrals.pending.back_mut() else { return false };
        let (first, Some(mut call)) = (*first, call.take()) else { return false };
        let mut of_call = items(&mut *call, first, MAX_PACKETS);
        let sent = self.submit(device.transport.memory(), Some(number), 0, &mut of_call, first);
        let refused = sent == 0 && idle;
        if let Some(item) = of_call.first_mut().filter(|_| refused) {
            // It does not fit an empty slab.
            item.refuse(PacketError::NoRoom);
        }
        drop(of_call);
        if sent > 0 {
            device.publish(&mut self.queue);
            if idle {
                self.deferrals.progress = Instant::now();
            }
        }
        let Some(last) = self.deferrals.pending.back_mut() else { return false };
        last.call = Some(call);
        last.sent += sent + usize::from(refused);
        last.settled += usize::from(refused);
        if last.settled >= last.packets {
            self.deferrals.finish(place);
        }
        sent > 0 || refused
    }

    /// Takes in what became of a request of a deferred call.
    pub(super) fn settle_deferred(&mut self, device: &Inner, id: u16) -> Result<(), Gone> {
        let &Request { owner, first, count, .. } = self.request(id);
        let place = owner.and_then(|number| self.deferrals.place(number)).ok_or_else(|| device.lose())?;
        let pending = self.deferrals.pending.get_mut(place).ok_or_else(|| device.lose())?;
        let mut call = pending.call.take().ok_or_else(|| device.lose())?;
        let result = self.settle(device, id, &mut items(&mut *call, first, count));
        self.deferrals.progress = Instant::now();
        if let Some(pending) = self.deferrals.pending.get_mut(place) {
            pending.call = Some(call);
            pending.settled += count;
            if result.is_ok() && pending.settled >= pending.packets {
                self.deferrals.finish(place);
            }
        }
        result
    }

    /// Lets everybody know that nothing comes any more.
    fn give_up(&mut self) {
        for call in self.deferrals.pending.drain(..).filter_map(|pending| pending.call) {
            call.finish();
        }
        while let Some(mut call) = self.deferrals.pop() {
            if let Some(Process { verdicts, .. }) = call.process() {
                verdicts.fill(Err(PacketError::Gone));
            }
            call.finish();
        }
    }

    /// Asks not to be interrupted: somebody looks.
    pub(super) fn disarm(&mut self) {
        if std::mem::take(&mut self.deferrals.armed) {
            self.queue.disarm();
        }
    }

    /// Whether the device has not been done with anything for so long.
    pub(super) fn is_stuck(&self, deadline: Duration) -> bool {
        self.is_deferring() && self.deferrals.progress.elapsed() > deadline
    }

    /// Whether deferred calls are in flight.
    pub(super) fn is_deferring(&self) -> bool {
        !self.deferrals.pending.is_empty() && self.queue.in_flight() > 0
    }
}
