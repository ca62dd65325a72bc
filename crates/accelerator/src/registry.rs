//! All accelerators and all applications of a process.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use gipsec_engine::Direction;
use gipsec_virtio::threads::spawn;
use parking_lot::Mutex;

use crate::{
    Activity, Client, Discovery, Entry, Error, Found, Group, Key, OpenError, OpenMode, Provider, Soft, error::GONE,
    group::SaEntry, seam::OnLost, slot::Slot, table::Table,
};

/// Open handles of a process at most.
const MAX_CLIENTS: usize = 65_536;
/// Groups of a process at most.
const MAX_GROUPS: usize = 65_536;
/// SAs of a process at most.
const MAX_SAS: usize = 1 << 22;
/// Bytes of an accelerator's name at most.
const MAX_NAME: usize = 15;
/// Accelerators at most.
const MAX_ACCELERATORS: usize = 4096;
/// Accelerators that are asked at once whether they can be opened.
const ASKED_AT_ONCE: usize = 32;

/// Which accelerator to open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// By name; None for any.
    pub name: Option<&'a str>,
    /// By PCI vendor; 0 for any.
    pub vendor: u16,
    /// By PCI device; 0 for any.
    pub device: u16,
}

/// An accelerator that can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// Its name.
    pub name: String,
    /// Its number.
    pub instance_id: u32,
}

/// What one group of one application does on one accelerator.
#[derive(Clone, Debug)]
pub struct Active {
    /// The accelerator.
    pub accelerator: Available,
    /// How it is open.
    pub mode: OpenMode,
    /// The application's name.
    pub application: String,
    /// The group's name, empty for none.
    pub group: String,
    /// What was done.
    pub activity: Activity,
}

/// All accelerators and all applications of a process.
pub struct Registry {
    slots: Arc<Slots>,
    clients: Arc<Table<Client>>,
    groups: Table<Arc<Group>>,
    sas: Arc<Table<SaEntry>>,
    instances: AtomicU32,
    /// PCI vendor and device that software accelerators answer to.
    soft_identity: (u16, u16),
    /// Where accelerators come from that come and go by themselves.
    sources: Vec<Box<dyn Discovery>>,
}

/// Accelerators in the order in which they were found.
type Slots = Mutex<Vec<Arc<Slot>>>;

impl Registry {
    /// A process with `soft` software accelerators, `soft0` and up, which answer to the PCI vendor and device
    /// `identity`, and those that `sources` find.
    pub fn new(soft: usize, identity: (u16, u16), sources: Vec<Box<dyn Discovery>>) -> Self {
        let registry = Self {
            slots: Arc::default(),
            clients: Arc::new(Table::new(MAX_CLIENTS)),
            groups: Table::new(MAX_GROUPS),
            sas: Arc::new(Table::new(MAX_SAS)),
            instances: AtomicU32::new(0),
            soft_identity: identity,
            sources,
        };
        for number in 0..soft.min(MAX_ACCELERATORS) {
            // Cannot fail: the names differ.
            let _ = registry.add(&format!("soft{number}"), Box::new(Soft));
        }
        registry
    }

    /// Adds an accelerator; its number. Errors: a name that is taken, empty, or longer than 15 bytes.
    pub fn add(&self, name: &str, provider: Box<dyn Provider>) -> Result<u32, Error> {
        self.insert(Found { name: name.to_owned(), identity: self.soft_identity, provider }, false)
    }

    fn insert(&self, found: Found, discovered: bool) -> Result<u32, Error> {
        if found.name.is_empty() || found.name.len() > MAX_NAME {
            return Err(Error::Invalid("an accelerator's name has 1 to 15 bytes"));
        }
        let mut slots = self.slots.lock();
        if slots.iter().any(|slot| slot.name == found.name) {
            return Err(Error::Invalid("there is an accelerator of that name"));
        }
        if slots.len() >= MAX_ACCELERATORS {
            return Err(Error::Full("accelerators"));
        }
        let instance = self.instances.fetch_add(1, Relaxed);
        slots.push(Arc::new(Slot::new(found, instance, discovered)));
        Ok(instance)
    }

    /// Takes in what has come (document 5.1.1), and forgets what has gone and nobody has open.
    fn discover(&self) {
        if self.sources.is_empty() {
            return;
        }
        let found: Vec<Found> = self.sources.iter().flat_map(|source| source.find()).collect();
        let is_there = |slot: &Slot| found.iter().any(|found| found.name == slot.name);
        self.slots.lock().retain(|slot| !slot.discovered || is_there(slot) || !slot.is_free());
        for found in found {
            // Refused are those that are known, and those whose names no handle can have.
            let _ = self.insert(found, true);
        }
    }

    /// Removes an accelerator that was added: those who have it open are told once, and every later call of theirs fails.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let named = |slot: &&Arc<Slot>| slot.name == name && !slot.discovered;
        let slot = self.slots.lock().iter().find(named).cloned();
        let slot = slot.ok_or(Error::NoDevice("there is no accelerator of that name"))?;
        if lose(&self.slots, &self.clients, &slot) {
            return Ok(());
        }
        // Another thread has just removed it.
        Err(Error::NoDevice("there is no accelerator of that name"))
    }

    /// What a slot's accelerator does when it is lost.
    fn on_lost(&self, slot: &Arc<Slot>) -> OnLost {
        let (slots, clients, slot) = (self.slots.clone(), self.clients.clone(), Arc::downgrade(slot));
        Box::new(move || {
            if let Some(slot) = slot.upgrade() {
                lose(&slots, &clients, &slot);
            }
        })
    }

    /// Accelerators that an open in some mode would get now, in the order in which they were found.
    pub fn available(&self) -> Vec<Available> {
        self.discover();
        let slots = self.slots.lock().clone();
        // A device that is silent takes as long as a device may: those that are cost that once.
        slots
            .chunks(ASKED_AT_ONCE)
            .flat_map(|slots| slots.iter().zip(are_available(slots)))
            .filter(|(_, is)| *is)
            .map(|(slot, _)| slot.describe())
            .collect()
    }

    /// What every group of every application does: a row for each accelerator, application and group (R19). Handles that
    /// an application opened under one name are one application.
    pub fn active(&self) -> Vec<Active> {
        let mut rows: Vec<Active> = Vec::new();
        let mut places: HashMap<(u32, String, String), usize> = HashMap::new();
        for client in self.clients.all() {
            let accelerator = client.value.slot().describe();
            for (group, activity) in client.value.activities() {
                let application = client.value.identity().to_owned();
                let triple = (accelerator.instance_id, application.clone(), group.clone());
                match places.entry(triple) {
                    hash_map::Entry::Occupied(place) => rows[*place.get()].activity += activity,
                    hash_map::Entry::Vacant(place) => {
                        place.insert(rows.len());
                        let (accelerator, mode) = (accelerator.clone(), client.value.mode());
                        rows.push(Active { accelerator, mode, application, group, activity });
                    }
                }
            }
        }
        rows
    }

    /// Opens an accelerator (R24). `on_broken` is made for the new handle, and called when the accelerator is removed.
    pub fn open(
        &self,
        mode: OpenMode,
        selection: Selection<'_>,
        identity: &str,
        on_broken: impl Fn(Key) -> Box<dyn FnOnce() + Send>,
    ) -> Result<Key, OpenError> {
        let mut error = Error::NoDevice("no accelerator fits the name, vendor and device").into();
        self.discover();
        let slots = self.slots.lock().clone();
        for slot in slots.iter().filter(|slot| slot.fits(selection)) {
            let make = |accelerator| {
                let entry = self.clients.insert(|key| {
                    let mailbox = Arc::new(ArcSwap::new(slot.service.mailbox().clone()));
                    let root = Group::root(key, slot.clone(), accelerator, self.sas.clone(), mailbox.clone());
                    Client::new(root, mode, identity.to_owned(), slot.clone(), mailbox, on_broken(key))
                })?;
                Some(entry.key)
            };
            match slot.occupy(mode, identity, || self.on_lost(slot), make) {
                Ok(key) => return Ok(key),
                Err(why) => error = why,
            }
        }
        Err(error)
    }

    /// Closes a handle with all of its groups (R23), also when its accelerator is gone.
    pub fn close(&self, client: Key) -> Result<(), Error> {
        let client = self.clients.remove(client).ok_or(Error::BadHandle("accelerator"))?;
        for group in client.value.close() {
            self.groups.remove(group);
        }
        Ok(())
    }

    /// Calls `work` with an open handle whose accelerator is there.
    pub fn with_client<R>(&self, client: Key, work: impl FnOnce(&Client) -> R) -> Result<R, Error> {
        let entry = self.clients.get(client).ok_or(Error::BadHandle("accelerator"))?;
        if entry.value.slot().is_gone() {
            return Err(GONE);
        }
        Ok(work(&entry.value))
    }

    /// Delivers up to `limit` callbacks of a handle in poll mode; those of an accelerator that is gone, too.
    pub fn poll(&self, client: Key, limit: usize) -> Result<usize, Error> {
        self.clients.get(client).ok_or(Error::BadHandle("accelerator"))?.value.poll(limit)
    }

    /// Makes a group.
    pub fn create_group(&self, client: Key, identity: &str) -> Result<Key, Error> {
        self.with_client(client, |client| {
            let entry = self
                .groups
                .insert(|key| Arc::new(Group::named(client.root(), key, identity.to_owned())))
                .ok_or(Error::Full("groups"))?;
            if let Err(error) = client.adopt(entry.key, entry.value.clone()) {
                self.groups.remove(entry.key);
                return Err(error);
            }
            Ok(entry.key)
        })?
    }

    /// Ends a group (R23).
    pub fn delete_group(&self, client: Key, group: Key) -> Result<(), Error> {
        let closing = self.group(client, Some(group))?;
        closing.close();
        self.groups.remove(group).ok_or(Error::BadHandle("group"))?;
        // The client knows the group until all of its callbacks have returned, so that a close beside this, or after it
        // when it came from one of them, waits for them.
        if closing.in_flight().0 == 0 {
            self.with_client(client, |client| client.abandon(group))?;
        }
        Ok(())
    }

    /// The group that a handle names; None: the one without a name.
    pub fn group(&self, client: Key, group: Option<Key>) -> Result<Arc<Group>, Error> {
        let root = self.with_client(client, |client| client.root().clone())?;
        match group {
            None => Ok(root),
            Some(key) => self
                .groups
                .get(key)
                .map(|entry| entry.value.clone())
                .filter(|group| group.client() == client)
                .ok_or(Error::BadHandle("group")),
        }
    }

    /// Calls `work` with an SA; takes no lock.
    #[inline]
    pub fn with_sa(
        &self,
        client: Key,
        group: Option<Key>,
        sa: Key,
        direction: Direction,
        work: impl FnOnce(&Entry<SaEntry>),
    ) -> Result<(), Error> {
        let done = self.sas.with(sa, |entry| {
            let serves = entry.value.belongs(client, group, direction).is_ok();
            if serves {
                work(entry);
            }
            serves
        });
        if done == Some(true) { Ok(()) } else { Err(self.why_not(client, group, sa, direction)) }
    }

    /// Why a call with these handles finds no SA.
    #[cold]
    fn why_not(&self, client: Key, group: Option<Key>, sa: Key, direction: Direction) -> Error {
        match self.sas.with(sa, |entry| entry.value.belongs(client, group, direction)) {
            Some(Err(error)) => error,
            _ => self.explain(client, group),
        }
    }

    /// An SA, to be kept until a call is answered.
    pub fn sa(
        &self,
        client: Key,
        group: Option<Key>,
        sa: Key,
        direction: Direction,
    ) -> Result<Arc<Entry<SaEntry>>, Error> {
        let entry = self.sas.get(sa).ok_or_else(|| self.explain(client, group))?;
        entry.value.belongs(client, group, direction)?;
        Ok(entry)
    }

    /// What is wrong with handles that lead to no SA.
    #[cold]
    fn explain(&self, client: Key, group: Option<Key>) -> Error {
        self.group(client, group).err().unwrap_or(Error::BadHandle("SA"))
    }
}

/// Takes an accelerator from everybody; whether it was there. It may be known no more, and still be open.
fn lose(slots: &Slots, clients: &Table<Client>, slot: &Arc<Slot>) -> bool {
    slots.lock().retain(|other| !Arc::ptr_eq(other, slot));
    let Some(told) = slot.remove() else { return false };
    for client in told {
        if let Some(client) = clients.get(client) {
            client.value.broken();
        }
    }
    true
}

impl Slot {
    fn describe(&self) -> Available {
        Available { name: self.name.clone(), instance_id: self.instance_id }
    }

    fn fits(&self, selection: Selection<'_>) -> bool {
        selection.name.is_none_or(|name| name == self.name)
            && [(selection.vendor, self.identity.0), (selection.device, self.identity.1)]
                .into_iter()
                .all(|(wanted, is)| wanted == 0 || wanted == is)
    }
}
/// Which accelerators an open would get now: all are asked at once.
fn are_available(slots: &[Arc<Slot>]) -> Vec<bool> {
    let Some((first, others)) = slots.split_first() else { return Vec::new() };
    let asked: Vec<_> = others
        .iter()
        .map(|slot| {
            let asked = slot.clone();
            (slot, spawn("gipsec-list", move || asked.is_available()))
        })
        .collect();
    let mut are = vec![first.is_available()];
    are.extend(asked.into_iter().map(|(slot, thread)| match thread {
        Ok(thread) => thread.join().unwrap_or(false),
        // Without a thread it is asked here.
        Err(_) => slot.is_available(),
    }));
    are
}
