//! One SA of a group: who may use it, and what is done with it.

use std::sync::Arc;

use gipsec_engine::{Buffers, Direction, Events, MAX_ENTRIES, PacketError, Reading, Verdict};

use super::Group;
use crate::{Association, Entry, Error, Key, deferral::UnderWay, error::GONE, service::Lane};

/// One SA, or bundle, of a group.
pub struct SaEntry {
    pub(super) group: Arc<Group>,
    pub(crate) direction: Direction,
    pub(super) remark: Remark,
    /// Whether its asynchronous calls may be processed in any order, and at once.
    pub(crate) any_order: bool,
    /// Its asynchronous calls.
    pub(crate) under_way: Arc<UnderWay>,
    pub(super) association: Box<dyn Association>,
}

/// What a caller remarks of each entry of an SA.
pub type Remark = [u32; MAX_ENTRIES];

/// What can be read of an SA.
#[derive(Clone, Debug)]
pub struct SaReading {
    /// Its handle.
    pub key: Key,
    /// What was remarked when it was added.
    pub remark: Remark,
    /// What each entry is, without its keys, and has done.
    pub entries: Vec<Reading>,
}

impl SaEntry {
    /// Whether a call with these handles may use the SA, and why not.
    #[inline]
    pub(crate) fn belongs(&self, client: Key, group: Option<Key>, direction: Direction) -> Result<(), Error> {
        if self.group.client != client {
            return Err(Error::BadHandle("SA"));
        }
        if self.group.key != group {
            return Err(Error::NotFound("the group has no such SA"));
        }
        if self.direction != direction {
            return Err(Error::NotFound("there is no such SA in that direction"));
        }
        if self.group.is_gone() {
            return Err(GONE);
        }
        Ok(())
    }

    /// The group that owns the SA.
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }
}

impl Entry<SaEntry> {
    /// Has packets processed, and the application told what is worth telling.
    #[inline]
    pub fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) {
        let events = self.value.association.process(packets, verdicts);
        self.tell(&events);
    }

    /// Whether its packets take less time together with those of other SAs than alone.
    pub fn works_abreast(&self) -> bool {
        self.value.association.works_abreast()
    }

    /// What processes its packets.
    pub(crate) fn association(&self) -> &dyn Association {
        &*self.value.association
    }

    /// Tells the application what is worth telling.
    #[inline]
    pub(crate) fn tell(&self, events: &Events) {
        if !events.is_empty() {
            self.value.group.notify(self.key, events);
        }
    }

    /// Counts packets that never reached the SA.
    pub fn refuse(&self, error: PacketError) {
        self.value.association.refuse(error);
    }

    /// Makes a packet that the receiver drops without a word, as long as one that carries `len` bytes.
    pub fn make_dummy(&self, len: usize, output: &mut [u8]) -> Result<Verdict, Error> {
        let (verdict, events) = self.value.association.make_dummy(len, output)?;
        self.tell(&events);
        Ok(verdict)
    }

    /// The longest packet that is encapsulated to at most `limit` bytes; None: there is none.
    pub fn largest_inner(&self, limit: usize) -> Result<Option<usize>, Error> {
        self.value.association.largest_inner(limit)
    }

    /// What keeps its asynchronous packet calls in order.
    pub fn lane(&self) -> Lane {
        if self.value.any_order { Lane::AnyOrder } else { Lane::Sa(self.key) }
    }

    pub(super) fn read(&self) -> Result<SaReading, Error> {
        Ok(SaReading { key: self.key, remark: self.value.remark, entries: self.value.association.read()? })
    }
}

impl Drop for SaEntry {
    /// The last user is gone: what the SA did is added to what its group did.
    fn drop(&mut self) {
        self.group.past.lock().add(&*self.association);
    }
}
