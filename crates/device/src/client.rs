//! One client: its place, its SAs and groups, what it has done. Its control worker changes it, its data workers look SAs up
//! and count what they refuse, and the statistics' thread reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gipsec_engine::{Direction, DropReason, Sa};
use gipsec_virtio::message::{RequestStatus, control::AttachMode, control::Totals, event::Event, feature};
use parking_lot::Mutex;

use crate::{
    events::Events,
    limits::Limits,
    place::Place,
    rate::Bucket,
    table::{Allocation, Entry, Found, Table},
};

/// Reasons that are counted: the engine's, and what the device refuses before.
pub const REASONS: usize = DropReason::ALL.len() + 2;
/// The count of packets whose SA is not there.
pub const REASON_NO_SA: usize = DropReason::ALL.len();
/// The count of packets whose entry cannot be.
pub const REASON_BAD_ENTRY: usize = DropReason::ALL.len() + 1;

/// How long the SAs that a command takes out wait for the requests that use them.
const SETTLE: Duration = Duration::from_millis(200);

/// The SAs of a group, oldest first, inbound and outbound.
#[derive(Default)]
pub(crate) struct Group {
    sas: [BTreeSet<u64>; 2],
}

impl Group {
    pub(crate) fn sas(&self, direction: Direction) -> &BTreeSet<u64> {
        &self.sas[place_of(direction)]
    }
}

fn place_of(direction: Direction) -> usize {
    match direction {
        Direction::Inbound => 0,
        Direction::Outbound => 1,
    }
}

/// What the control worker changes.
pub(crate) struct State {
    pub(crate) name: String,
    /// When there was no client yet, or no more.
    since: Instant,
    /// 0 is there from the beginning: the SAs without a group.
    pub(crate) groups: BTreeMap<u32, Group>,
    next_group: u32,
    allocation: Allocation,
    /// Packets and bytes of SAs that are gone, inbound and outbound.
    past: [(u64, u64); 2],
}

impl State {
    fn new(limits: &Limits) -> Self {
        Self {
            name: String::new(),
            since: Instant::now(),
            groups: BTreeMap::from([(0, Group::default())]),
            // Where nobody can guess, and far from the end.
            next_group: (getrandom::u32().unwrap_or(0) >> 1) + 1,
            allocation: Allocation::new(usize::try_from(limits.sas).unwrap_or(usize::MAX)),
            past: [(0, 0); 2],
        }
    }
}

/// A client.
pub struct Client {
    limits: Limits,
    place: Arc<Place>,
    attached: AtomicBool,
    /// There is no attaching any more.
    closed: AtomicBool,
    features: AtomicU64,
    table: Table,
    state: Mutex<State>,
    events: Events,
    bucket: Option<Bucket>,
    refused: [AtomicU64; REASONS],
    requests_refused: AtomicU64,
}

/// What a client has done, to be read by people.
pub struct Snapshot {
    /// As it calls itself.
    pub name: String,
    /// As STATISTICS has them.
    pub totals: Totals,
    /// Refused packets: the engine's reasons, then no such SA, then an entry that cannot be.
    pub refused: [u64; REASONS],
    /// Events that wait for a buffer.
    pub waiting: usize,
}

impl Client {
    /// One that is not attached yet.
    pub fn new(limits: Limits, place: Arc<Place>) -> Self {
        let sas = usize::try_from(limits.sas).unwrap_or(usize::MAX);
        Self {
            place,
            attached: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            features: AtomicU64::new(0),
            table: Table::new(sas),
            state: Mutex::new(State::new(&limits)),
            // An SA tells at most three times what is not periodic.
            events: Events::new(sas.saturating_mul(3)),
            bucket: limits.rate.is_limited().then(|| Bucket::new(limits.rate)),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            requests_refused: AtomicU64::new(0),
            limits,
        }
    }

    /// What it may hold.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The features that were negotiated.
    pub fn features(&self) -> u64 {
        self.features.load(Ordering::Relaxed)
    }

    /// Sets them.
    pub fn set_features(&self, features: u64) {
        self.features.store(features, Ordering::Relaxed);
    }

    /// Whether ATTACH has succeeded.
    #[inline]
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }

    /// Events that wait for the driver.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The limit on packets and bytes a second.
    pub(crate) fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// What it calls itself.
    pub fn name(&self) -> String {
        self.state.lock().name.clone()
    }

    pub(crate) fn attach(&self, mode: AttachMode, name: &[u8]) -> Result<(), RequestStatus> {
        if self.features() & feature::VERSION_1 == 0 {
            return Err(RequestStatus::Unsupported);
        }
        let mut state = self.state.lock();
        if self.is_attached() {
            return Err(RequestStatus::Invalid);
        }
        if self.is_closed() {
            return Err(RequestStatus::Busy);
        }
        self.place.attach(mode)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        state.name = String::from_utf8_lossy(name).into_owned();
        self.attached.store(true, Ordering::Release);
        Ok(())
    }

    /// Drops everything and gives the place back: a reset, or the end of the connection.
    pub fn detach(&self) {
        if !self.attached.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut state = self.state.lock();
        let groups: Vec<u32> = state.groups.keys().copied().collect();
        self.empty(&mut state, &groups);
        *state = State::new(&self.limits);
        drop(state);
        self.events.clear();
        self.refused.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.requests_refused.store(0, Ordering::Relaxed);
        self.place.detach();
    }

    /// For how long it has not been attached; None: it is, or is closed.
    pub fn unattached_for(&self) -> Option<Duration> {
        // An attached one may be busy, and need not be asked.
        let is_idle = || !self.is_attached() && !self.is_closed();
        let state = is_idle().then(|| self.state.lock())?;
        is_idle().then(|| state.since.elapsed())
    }

    /// Whether there is no attaching any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The end, but not of one that is attached; whether it is.
    pub fn close_unattached(&self) -> bool {
        let _state = self.state.lock();
        let unattached = !self.is_attached();
        self.closed.fetch_or(unattached, Ordering::AcqRel);
        unattached
    }

    /// The end: detaches, and does not attach again.
    pub fn close(&self) {
        {
            let _state = self.state.lock();
            self.closed.store(true, Ordering::Release);
        }
        self.detach();
    }

    pub(crate) fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The SA of that number.
    #[inline]
    pub(crate) fn find(&self, number: u64) -> Option<Found> {
        self.table.find(number)
    }

    /// The SA of that number, if it is in that group.
    pub(crate) fn find_in(&self, group: u32, number: u64) -> Result<Found, RequestStatus> {
        self.find(number).filter(|entry| entry.group == group).ok_or(RequestStatus::NotFound)
    }

    pub(crate) fn has_room(&self, state: &State) -> bool {
        state.allocation.has_room()
    }

    pub(crate) fn add(&self, state: &mut State, group: u32, sa: Box<Sa>) -> Result<u64, RequestStatus> {
        let direction = sa.direction();
        if !state.groups.contains_key(&group) {
            return Err(RequestStatus::NotFound);
        }
        let number = self.table.insert(&mut state.allocation, group, sa).ok_or(RequestStatus::Full)?;
        if let Some(group) = state.groups.get_mut(&group) {
            group.sas[place_of(direction)].insert(number);
        }
        Ok(number)
    }

    /// Deletes an SA; packets and bytes that it has done.
    pub(crate) fn delete(&self, state: &mut State, group: u32, number: u64) -> Result<(u64, u64), RequestStatus> {
        self.find_in(group, number)?;
        let entry = self.table.remove(&mut state.allocation, number).ok_or(RequestStatus::NotFound)?;
        if let Some(group) = state.groups.get_mut(&group) {
            group.sas[place_of(entry.direction())].remove(&number);
        }
        Ok(settle(state, &entry, Instant::now() + SETTLE))
    }

    /// Deletes the SAs of some groups.
    pub(crate) fn empty(&self, state: &mut State, groups: &[u32]) {
        let taken = groups.iter().filter_map(|group| Some(std::mem::take(&mut state.groups.get_mut(group)?.sas)));
        let sas: Vec<u64> = taken.flatten().flatten().collect();
        let gone: Vec<_> = sas.into_iter().filter_map(|sa| self.table.remove(&mut state.allocation, sa)).collect();
        // One for all, for others wait for this.
        let deadline = Instant::now() + SETTLE;
        for entry in gone {
            settle(state, &entry, deadline);
        }
    }

    pub(crate) fn create_group(&self, state: &mut State) -> Result<u32, RequestStatus> {
        // One is there from the beginning and does not count.
        let full = state.groups.len() > usize::try_from(self.limits.groups).unwrap_or(usize::MAX);
        if full || state.next_group == u32::MAX {
            return Err(RequestStatus::Full);
        }
        let group = state.next_group;
        state.next_group += 1;
        state.groups.insert(group, Group::default());
        Ok(group)
    }

    pub(crate) fn delete_group(&self, state: &mut State, group: u32) -> Result<(), RequestStatus> {
        if group == 0 || !state.groups.contains_key(&group) {
            return Err(RequestStatus::NotFound);
        }
        self.empty(state, &[group]);
        state.groups.remove(&group);
        Ok(())
    }

    /// Counts packets that were refused, by their status.
    #[cold]
    pub(crate) fn refuse(&self, status: u32) {
        use gipsec_virtio::message::status::{BAD_ENTRY, NO_SA};
        let reason = match status {
            NO_SA => REASON_NO_SA,
            BAD_ENTRY => REASON_BAD_ENTRY,
            status => usize::try_from(status).unwrap_or(usize::MAX).wrapping_sub(1),
        };
        if let Some(count) = self.refused.get(reason) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that was refused.
    #[cold]
    pub(crate) fn refuse_request(&self) {
        self.requests_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps what a batch of an SA has made noteworthy.
    pub(crate) fn tell(&self, number: u64, events: &gipsec_engine::Events) {
        Event::each(number, events).for_each(|event| self.events.keep(event));
    }

    /// What it has done from ATTACH on.
    pub(crate) fn totals(&self, state: &State) -> Totals {
        let mut done = state.past;
        for (group, direction) in
            state.groups.values().flat_map(|group| [(group, Direction::Inbound), (group, Direction::Outbound)])
        {
            for number in group.sas(direction) {
                let (packets, bytes) = self.find(*number).map_or((0, 0), |entry| entry.sa.done());
                let sum = &mut done[place_of(direction)];
                *sum = (sum.0.wrapping_add(packets), sum.1.wrapping_add(bytes));
            }
        }
        let refused: u64 = self.refused.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        Totals {
            sas: (state.allocation.count() as u64).into(),
            groups: (state.groups.len() as u64 - 1).into(),
            packets_in: done[0].0.into(),
            bytes_in: done[0].1.into(),
            packets_out: done[1].0.into(),
            bytes_out: done[1].1.into(),
            packets_refused: refused.into(),
            requests_refused: self.requests_refused.load(Ordering::Relaxed).into(),
            events_lost: self.events.lost_in_all().into(),
        }
    }

    /// What it has done, for people.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        Snapshot {
            name: state.name.clone(),
            totals: self.totals(&state),
            refused: std::array::from_fn(|reason| self.refused[reason].load(Ordering::Relaxed)),
            waiting: self.events.waiting(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Waits until no worker uses the SA any more, so that its counters are final and its keys go with `entry`.
fn settle(state: &mut State, entry: &Arc<Entry>, deadline: Instant) -> (u64, u64) {
    while Arc::strong_count(entry) > 1 && Instant::now() < deadline {
        thread::yield_now();
    }
    let (packets, bytes) = entry.sa.done();
    let sum = &mut state.past[place_of(entry.direction())];
    *sum = (sum.0.wrapping_add(packets), sum.1.wrapping_add(bytes));
    (packets, bytes)
}
