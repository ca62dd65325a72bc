//! An application that has an accelerator open.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use gipsec_virtio::driver::Device;
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
    /// None when the client is closed.
    groups: Mutex<Option<BTreeMap<Key, Arc<Group>>>>,
    entering_poll_mode: Mutex<()>,
    on_broken: Mutex<Option<OnBroken>>,
}

/// Tells an application that its accelerator is gone.
struct Broken(OnBroken);

impl Work for Broken {
    fn run(&mut self, _: Outcome) {}

    fn weight(&self) -> usize {
        0
    }

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
            groups: Mutex::new(Some(BTreeMap::new())),
            entering_poll_mode: Mutex::new(()),
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

    /// Takes in a new group, unless the client was closed meanwhile.
    pub(crate) fn adopt(&self, key: Key, group: Arc<Group>) -> Result<(), Error> {
        let mut groups = self.groups.lock();
        groups.as_mut().ok_or(Error::BadHandle("accelerator"))?.insert(key, group);
        Ok(())
    }

    /// Gives up a group that is closed.
    pub(crate) fn abandon(&self, key: Key) {
        if let Some(groups) = self.groups.lock().as_mut() {
            groups.remove(&key);
        }
    }

    /// What each group has done, the one without a name first.
    pub(crate) fn activities(&self) -> Vec<(String, Activity)> {
        let mut groups = vec![self.root.clone()];
        groups.extend(self.groups.lock().iter().flat_map(BTreeMap::values).cloned());
        groups.retain(|group| !group.is_closed());
        groups.iter().map(|group| (group.identity().to_owned(), group.activity())).collect()
    }

    /// Has the application told, once, that its accelerator is gone.
    pub(crate) fn broken(&self) {
        let on_broken = self.on_broken.lock().take();
        if let Some(on_broken) = on_broken {
            // Whatever else waits, this is not lost.
            if let Err(work) = self.root.post(usize::MAX, Box::new(Broken(on_broken))) {
                work.deliver();
            }
        }
    }

    /// From now on callbacks wait until [`Client::poll`]; the descriptor is readable while some do. Calls that are in
    /// flight may still be delivered by the library.
    pub fn enter_poll_mode(&self) -> Result<i32, Error> {
        let _entering = self.entering_poll_mode.lock();
        let mut mailbox = self.mailbox.load_full();
        if mailbox.descriptor().is_none() {
            let others = self.device().map(Device::descriptors).unwrap_or_default();
            mailbox = Arc::new(Mailbox::with_signal(&others)?);
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
        let Some(device) = self.device() else { return Ok(mailbox.deliver(limit)) };
        device.advance();
        let delivered = mailbox.deliver(limit);
        if delivered > 0 {
            return Ok(delivered);
        }
        // The application may sleep now, until there is something new.
        device.rest();
        Ok(mailbox.deliver(limit))
    }

    fn device(&self) -> Option<&Device> {
        self.root.accelerator().device()
    }

    /// Ends all groups, and returns their handles; the client has left the table, so that nobody finds it any more.
    pub(crate) fn close(&self) -> Vec<Key> {
        // Whatever happens in callbacks, the accelerator is free afterwards.
        let _leaving = Leaving(self);
        let groups = self.groups.lock().take().unwrap_or_default();
        for group in groups.values().chain([&self.root]) {
            group.close();
        }
        groups.into_keys().collect()
    }
}

/// Leaves the accelerator when dropped.
struct Leaving<'a>(&'a Client);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.slot.leave(self.0.key);
    }
}
