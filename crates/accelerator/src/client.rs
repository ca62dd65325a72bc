//! An application that has an accelerator open.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::{
    Activity, Error, Group, Key, OpenMode,
    mailbox::Mailbox,
    service::{Outcome, Work},
    slot::Slot,
};

type OnBroken = Box<dyn FnOnce() + Send>;

/// One open handle.
pub struct Client {
    key: Key,
    mode: OpenMode,
    identity: String,
    slot: Arc<Slot>,
    mailbox: Arc<ArcSwap<Mailbox>>,
    root: Arc<Group>,
    groups: Mutex<BTreeMap<Key, Arc<Group>>>,
    on_broken: Mutex<Option<OnBroken>>,
}

/// Tells an application that its accelerator is gone.
struct Broken(OnBroken);

impl Work for Broken {
    fn run(&mut self, _: Outcome) {}

    fn deliver(self: Box<Self>) {
        (self.0)();
    }
}

impl Client {
    pub(crate) fn new(
        root: Group,
        mode: OpenMode,
        identity: String,
        slot: Arc<Slot>,
        mailbox: Arc<ArcSwap<Mailbox>>,
        on_broken: OnBroken,
    ) -> Self {
        Self {
            key: root.client(),
            mode,
            identity,
            slot,
            mailbox,
            root: Arc::new(root),
            groups: Mutex::default(),
            on_broken: Mutex::new(Some(on_broken)),
        }
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(crate) fn mode(&self) -> OpenMode {
        self.mode
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn root(&self) -> &Arc<Group> {
        &self.root
    }

    pub(crate) fn adopt(&self, key: Key, group: Arc<Group>) {
        self.groups.lock().insert(key, group);
    }

    pub(crate) fn abandon(&self, key: Key) -> Result<Arc<Group>, Error> {
        self.groups.lock().remove(&key).ok_or(Error::BadHandle("group"))
    }

    /// What each group has done, the one without a name first.
    pub(crate) fn activities(&self) -> Vec<(String, Activity)> {
        let mut groups = vec![self.root.clone()];
        groups.extend(self.groups.lock().values().cloned());
        groups.iter().map(|group| (group.identity().to_owned(), group.activity())).collect()
    }

    /// Has the application told, once, that its accelerator is gone.
    pub(crate) fn broken(&self) {
        if let Some(on_broken) = self.on_broken.lock().take() {
            // Whatever else waits, this is not lost.
            self.root.post(usize::MAX, Box::new(Broken(on_broken)));
        }
    }

    /// From now on callbacks wait until [`Client::poll`]; the descriptor is readable while some do. Calls that are in
    /// flight may still be delivered by the library.
    pub fn enter_poll_mode(&self) -> Result<i32, Error> {
        let mut mailbox = self.mailbox.load_full();
        if mailbox.descriptor().is_none() {
            mailbox = Arc::new(Mailbox::with_signal()?);
            self.mailbox.store(mailbox.clone());
        }
        mailbox.descriptor().ok_or(Error::System("event descriptor"))
    }

    /// Delivers up to `limit` callbacks on this thread; how many.
    pub fn poll(&self, limit: usize) -> Result<usize, Error> {
        let mailbox = self.mailbox.load_full();
        if mailbox.descriptor().is_none() {
            return Err(Error::Invalid("the handle is not in poll mode"));
        }
        Ok(mailbox.deliver(limit))
    }

    /// Ends all groups, and returns their handles; the client has left the table, so that nobody finds it any more.
    pub(crate) fn close(&self) -> Vec<Key> {
        let groups = std::mem::take(&mut *self.groups.lock());
        for group in groups.values().chain([&self.root]) {
            group.close();
        }
        self.slot.leave(self.key);
        groups.into_keys().collect()
    }
}
