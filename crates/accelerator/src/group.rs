//! A group of an application: the SAs added with one handle, the calls in flight with it, and what they did. An
//! application that makes no groups has its SAs in a group without a name.

mod activity;
mod sa;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use gipsec_engine::{BundleEntry, Change, Direction, Events};
use parking_lot::{Condvar, Mutex};

use crate::{
    Accelerator, Entry, Error, Hooks, Key, Notification, What,
    deferral::{self, UnderWay},
    error::GONE,
    mailbox::{self, Mailbox, Task},
    notification::{self, Delivery},
    queue::Class,
    service::{Lane, Work},
    slot::Slot,
    table::Table,
};
pub use activity::Activity;
pub use sa::{Remark, SaEntry, SaReading};

/// Asynchronous calls of a group that may wait at a time.
const MAX_IN_FLIGHT: usize = 4096;
/// Packets of a group's asynchronous calls that may wait at a time; one call may have more.
const MAX_WEIGHT: usize = 262_144;
/// What is kept for urgent calls, of both: the eighth part more.
const RESERVE: usize = 8;

/// Calls that were taken and whose callbacks have not returned.
#[derive(Default)]
struct Flight {
    count: usize,
    /// How many of them are inside their callback, on a thread that waits until something is delivered.
    waiting: usize,
    /// What waits with all of them, in packets.
    weight: usize,
    closed: bool,
}

/// SAs by age, for each direction.
#[derive(Default)]
struct Listing {
    inbound: BTreeSet<Key>,
    outbound: BTreeSet<Key>,
}

impl Listing {
    fn of(&mut self, direction: Direction) -> &mut BTreeSet<Key> {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }
}

/// The SAs and calls of one handle.
pub struct Group {
    client: Key,
    key: Option<Key>,
    identity: String,
    slot: Arc<Slot>,
    accelerator: Arc<dyn Accelerator>,
    sas: Arc<Table<SaEntry>>,
    /// Where this application's callbacks wait; one for all of its groups.
    mailbox: Arc<ArcSwap<Mailbox>>,
    hooks: ArcSwapOption<Hooks>,
    /// The group without a name, whose hooks serve where this one has none.
    root: Option<Arc<Group>>,
    flight: Mutex<Flight>,
    landed: Condvar,
    listing: Mutex<Listing>,
    /// What deleted SAs did.
    past: Mutex<Activity>,
    modified: AtomicU64,
}

impl Group {
    pub(crate) fn root(
        client: Key,
        slot: Arc<Slot>,
        accelerator: Arc<dyn Accelerator>,
        sas: Arc<Table<SaEntry>>,
        mailbox: Arc<ArcSwap<Mailbox>>,
    ) -> Self {
        Self {
            client,
            key: None,
            identity: String::new(),
            slot,
            accelerator,
            sas,
            mailbox,
            hooks: ArcSwapOption::empty(),
            root: None,
            flight: Mutex::default(),
            landed: Condvar::new(),
            listing: Mutex::default(),
            past: Mutex::default(),
            modified: AtomicU64::new(0),
        }
    }

    pub(crate) fn named(root: &Arc<Self>, key: Key, identity: String) -> Self {
        Self {
            key: Some(key),
            identity,
            root: Some(root.clone()),
            ..Self::root(
                root.client,
                root.slot.clone(),
                root.accelerator.clone(),
                root.sas.clone(),
                root.mailbox.clone(),
            )
        }
    }

    /// The application's handle.
    pub fn client(&self) -> Key {
        self.client
    }

    /// The group's handle; None for the group without a name.
    pub fn key(&self) -> Option<Key> {
        self.key
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.slot.is_gone()
    }

    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        self.mailbox.load_full()
    }

    /// Whether the application takes its callbacks itself.
    pub(crate) fn is_polled(&self) -> bool {
        self.mailbox.load().descriptor().is_some()
    }

    /// Asynchronous calls of one of its SAs, if it is there.
    pub(crate) fn under_way(&self, sa: Key) -> Option<Arc<UnderWay>> {
        self.sas.with(sa, |entry| entry.value.under_way.clone())
    }

    /// The accelerator.
    pub fn accelerator(&self) -> &dyn Accelerator {
        &*self.accelerator
    }

    /// Sets what is called for notifications of this group's SAs; without a name, of all SAs whose group has none.
    pub fn set_hooks(&self, hooks: Option<Hooks>) {
        self.hooks.store(hooks.map(Arc::new));
    }

    /// Adds an SA or a bundle. `remark` is given back with every reading of it, and means nothing here. With `any_order`,
    /// its asynchronous packet calls may be processed in any order, and at once.
    pub fn add_sa(self: &Arc<Self>, entries: Vec<BundleEntry>, remark: Remark, any_order: bool) -> Result<Key, Error> {
        let association = self.accelerator.add_sa(entries)?;
        let direction = association.direction();
        // The listing is locked first, so that a close finds either no SA or the SA in the listing.
        let mut listing = self.listing.lock();
        if self.flight.lock().closed {
            return Err(Error::BadHandle("accelerator"));
        }
        let entry = self
            .sas
            .insert(|_| SaEntry {
                group: self.clone(),
                direction,
                remark,
                any_order,
                under_way: Arc::default(),
                association,
            })
            .ok_or(Error::Full("SAs"))?;
        listing.of(direction).insert(entry.key);
        drop(listing);
        let (group, key) = (Arc::downgrade(self), entry.key);
        entry.value.association.listen(Arc::new(move |events| {
            if let Some(group) = group.upgrade() {
                group.notify(key, events);
            }
        }));
        self.past.lock().created += 1;
        Ok(entry.key)
    }

    /// Deletes an SA. Packets that are being processed with it end first, elsewhere.
    pub fn delete_sa(&self, direction: Direction, sa: Key) -> Result<(), Error> {
        self.check(direction, sa)?;
        if !self.listing.lock().of(direction).remove(&sa) {
            return Err(Error::BadHandle("SA"));
        }
        self.remove(sa);
        self.is_there()
    }

    /// An error when the accelerator was lost, even if nobody was told yet.
    fn is_there(&self) -> Result<(), Error> {
        if self.accelerator.is_lost() { Err(GONE) } else { Ok(()) }
    }

    fn remove(&self, sa: Key) {
        if self.sas.remove(sa).is_some() {
            self.past.lock().deleted += 1;
        }
    }

    /// Deletes all SAs.
    pub fn flush(&self) -> Result<(), Error> {
        let listing = std::mem::take(&mut *self.listing.lock());
        for sa in listing.inbound.into_iter().chain(listing.outbound) {
            self.remove(sa);
        }
        self.is_there()
    }

    /// Changes an SA.
    pub fn modify_sa(&self, direction: Direction, sa: Key, change: &Change) -> Result<(), Error> {
        self.check(direction, sa)?;
        self.sas.get(sa).ok_or(Error::BadHandle("SA"))?.value.association.modify(change)?;
        self.modified.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Whether `sa` is this group's, in that direction.
    fn check(&self, direction: Direction, sa: Key) -> Result<(), Error> {
        self.sas
            .with(sa, |entry| entry.value.belongs(self.client, self.key, direction))
            .unwrap_or(Err(Error::BadHandle("SA")))
    }

    /// Reads one SA.
    pub fn read_sa(&self, direction: Direction, sa: Key) -> Result<SaReading, Error> {
        self.check(direction, sa)?;
        self.sas.with(sa, Entry::<SaEntry>::read).ok_or(Error::BadHandle("SA"))?
    }

    /// Reads up to `count` SAs in the order in which they were added, the first or those after `after`.
    pub fn read_sas(&self, direction: Direction, after: Option<Key>, count: usize) -> Result<Vec<SaReading>, Error> {
        if let Some(after) = after {
            self.check(direction, after)?;
        }
        let keys: Vec<Key> = {
            let mut listing = self.listing.lock();
            let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            listing.of(direction).range((start, std::ops::Bound::Unbounded)).copied().take(count).collect()
        };
        // Those that were deleted meanwhile are left out.
        keys.into_iter().filter_map(|key| self.sas.with(key, Entry::<SaEntry>::read)).collect()
    }

    /// What the group has done.
    pub fn activity(&self) -> Activity {
        let keys: Vec<Key> = {
            let listing = self.listing.lock();
            listing.inbound.iter().chain(&listing.outbound).copied().collect()
        };
        // Past first: an SA that is deleted meanwhile is then counted late, never twice.
        let mut activity = *self.past.lock();
        activity.modified = self.modified.load(Relaxed);
        activity.active = keys.len() as u64;
        for key in keys {
            self.sas.with(key, |entry| activity.add(&*entry.value.association));
        }
        activity
    }

    /// Queues a call that is answered later; or gives it back.
    pub fn submit(
        self: &Arc<Self>,
        lane: Lane,
        class: Class,
        work: Box<dyn Work>,
    ) -> Result<(), (Error, Box<dyn Work>)> {
        if self.is_gone() {
            return Err((GONE, work));
        }
        match deferral::defer(self, class, work) {
            Ok(()) => Ok(()),
            Err((Some(error), work)) => Err((error, work)),
            Err((None, work)) => self.slot.service.submit(self, lane, class, work),
        }
    }

    /// Has `work` delivered without being run, unless `limit` calls are in flight or the group is closed; or gives it
    /// back when there is no thread to deliver it.
    pub(crate) fn post(self: &Arc<Self>, limit: usize, work: Box<dyn Work>) -> Result<(), Box<dyn Work>> {
        if self.slot.service.start_delivery().is_err() {
            return Err(work);
        }
        if self.begin(limit, MAX_WEIGHT, 0).is_ok() {
            self.mailbox().post(Task::new(self.clone(), work));
        }
        Ok(())
    }

    #[cold]
    fn notify(self: &Arc<Self>, sa: Key, events: &Events) {
        let root = self.root.as_ref().and_then(|root| root.hooks.load_full());
        let Some(hooks) = self.hooks.load_full().or(root) else { return };
        for what in notification::each(events) {
            let notification = Notification { client: self.client, group: self.key, sa, what };
            // What is said once is never dropped; what comes again may be, when the application does not keep up.
            let limit = if matches!(what, What::SequencePeriodic(_)) { MAX_IN_FLIGHT } else { usize::MAX };
            // Without a thread there is nobody to tell.
            let _ = self.post(limit, Box::new(Delivery { hooks: hooks.clone(), notification }));
        }
    }

    /// Counts a call in flight, with what waits with it, unless too much waits or the group is closed. Bulk leaves some
    /// room to what is urgent.
    pub(crate) fn begin_call(&self, class: Class, weight: usize) -> Result<(), Error> {
        let share = |whole: usize| if class == Class::Expedited { whole + whole / RESERVE } else { whole };
        self.begin(share(MAX_IN_FLIGHT), share(MAX_WEIGHT), weight)
    }

    /// Counts a call in flight, with what waits with it, unless there are `limit`, or `max_weight` waits with them, or the
    /// group is closed.
    fn begin(&self, limit: usize, max_weight: usize, weight: usize) -> Result<(), Error> {
        let mut flight = self.flight.lock();
        if flight.closed {
            return Err(Error::BadHandle("accelerator or group"));
        }
        if flight.count >= limit || flight.weight > 0 && flight.weight + weight > max_weight {
            return Err(Error::QueueFull);
        }
        flight.count += 1;
        flight.weight += weight;
        Ok(())
    }

    /// Counts a call as done.
    pub(crate) fn landed(&self, weight: usize) {
        let mut flight = self.flight.lock();
        flight.weight = flight.weight.saturating_sub(weight);
        flight.count -= 1;
        self.landed.notify_all();
    }

    /// How many calls are in flight, and how many of them are inside their callback on a thread that waits, too.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        let flight = self.flight.lock();
        (flight.count, flight.waiting)
    }

    /// A thread that is inside one of its callbacks begins to wait, or is done with it.
    pub(crate) fn waits(&self, begins: bool) {
        let mut flight = self.flight.lock();
        flight.waiting = if begins { flight.waiting + 1 } else { flight.waiting - 1 };
    }

    /// Whether the group takes nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.flight.lock().closed
    }

    /// Waits until at most `count` calls are in flight, or a moment has passed: a short one where nobody says that a device
    /// is done.
    pub(crate) fn wait_until(&self, count: usize) {
        let moment = if self.accelerator.device().is_some() { 50 } else { 1000 };
        let mut flight = self.flight.lock();
        if flight.count > count {
            self.landed.wait_for(&mut flight, Duration::from_micros(moment));
        }
    }

    /// Takes nothing more, has everything pending delivered, and drops the SAs (R23).
    pub(crate) fn close(self: &Arc<Self>) {
        self.flight.lock().closed = true;
        mailbox::wait_for(self, self.slot.service.mailbox());
        // What is lost is closed all the same.
        let _ = self.flush();
    }
}
