//! Accelerators that are lost at the wrong moment, as devices may be.

mod support;

use std::{
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use gipsec_accelerator::{
    Accelerator, Association, Capabilities, Error, OnLost, OpenMode, Provider, Registry, Soft, engine::BundleEntry,
};
use support::open;

/// Handles of a process at most.
const MAX_CLIENTS: usize = 65_536;

struct Device;

impl Provider for Device {
    fn is_available(&self) -> bool {
        true
    }

    fn open(&self, mode: OpenMode, application: &str, on_lost: OnLost) -> Result<Arc<dyn Accelerator>, Error> {
        let (sender, receiver) = mpsc::channel::<()>();
        let watcher = std::thread::spawn(move || {
            let _ = receiver.recv();
            on_lost();
        });
        let soft = Soft.open(mode, application, Box::new(|| {}))?;
        Ok(Arc::new(Lost { soft, watcher: Mutex::new(Some((sender, watcher))) }))
    }
}

/// An accelerator that is lost just when it is left, which waits for its thread.
struct Lost {
    soft: Arc<dyn Accelerator>,
    watcher: Mutex<Option<(mpsc::Sender<()>, JoinHandle<()>)>>,
}

impl Accelerator for Lost {
    fn capabilities(&self) -> Capabilities {
        self.soft.capabilities()
    }

    fn add_sa(&self, entries: Vec<BundleEntry>) -> Result<Box<dyn Association>, Error> {
        self.soft.add_sa(entries)
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        if let Some((sender, watcher)) = self.watcher.lock().unwrap().take() {
            drop(sender);
            watcher.join().unwrap();
        }
    }
}

#[test]
fn an_open_that_finds_no_handle_waits_for_nobody_who_waits_for_it() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    registry.add("device", Box::new(Device)).unwrap();
    for _ in 0..MAX_CLIENTS {
        open(&registry, OpenMode::Shared, Some("soft0")).unwrap();
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(open(&registry, OpenMode::Shared, Some("device"))));
    let answer = receiver.recv_timeout(Duration::from_secs(10)).expect("the open returns");
    assert!(matches!(answer, Err(Error::Full(_))), "{answer:?}");
}
