//! Accelerators that are lost at the wrong moment, as devices may be.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use gipsec_accelerator::{
    Accelerator, Association, Capabilities, Error, OnLost, OpenError, OpenMode, Provider, Registry, Soft,
    engine::BundleEntry,
};
use support::open;

/// Handles of a process at most.
const MAX_CLIENTS: usize = 65_536;

struct Device;

impl Provider for Device {
    fn is_available(&self) -> bool {
        true
    }

    fn open(&self, mode: OpenMode, application: &str, on_lost: OnLost) -> Result<Arc<dyn Accelerator>, OpenError> {
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

/// An accelerator that one has at a time.
struct Single(Arc<AtomicBool>);

/// Says that it has been left.
struct Taken(Arc<dyn Accelerator>, Arc<AtomicBool>, Mutex<Option<OnLost>>);

impl Provider for Single {
    fn is_available(&self) -> bool {
        true
    }

    fn open(&self, mode: OpenMode, application: &str, on_lost: OnLost) -> Result<Arc<dyn Accelerator>, OpenError> {
        if self.0.swap(true, SeqCst) {
            return Err(Error::Busy.into());
        }
        let soft = Soft.open(mode, application, Box::new(|| {}))?;
        Ok(Arc::new(Taken(soft, self.0.clone(), Mutex::new(Some(on_lost)))))
    }
}

impl Accelerator for Taken {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn add_sa(&self, entries: Vec<BundleEntry>) -> Result<Box<dyn Association>, Error> {
        self.0.add_sa(entries)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.1.store(false, SeqCst);
        *self.2.lock().unwrap() = None;
    }
}

#[test]
fn who_opens_what_is_just_being_left_has_it() {
    let taken = Arc::new(AtomicBool::new(false));
    let registry = Registry::new(0, (1, 2), Vec::new());
    registry.add("single", Box::new(Single(taken.clone()))).unwrap();
    let first = open(&registry, OpenMode::Exclusive, None).unwrap();
    assert_eq!(open(&registry, OpenMode::Exclusive, None), Err(Error::Busy));
    // A call that is about to end.
    let group = registry.group(first, None).unwrap();
    registry.close(first).unwrap();
    let call = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        drop(group);
    });
    let second = open(&registry, OpenMode::Exclusive, None).unwrap();
    call.join().unwrap();
    registry.close(second).unwrap();
    // Somebody else's.
    taken.store(true, SeqCst);
    assert_eq!(open(&registry, OpenMode::Exclusive, None), Err(Error::Busy));
}

/// A device that answers late.
struct Slow(Duration, bool);

impl Provider for Slow {
    fn is_available(&self) -> bool {
        std::thread::sleep(self.0);
        self.1
    }

    fn open(&self, _: OpenMode, _: &str, _: OnLost) -> Result<Arc<dyn Accelerator>, OpenError> {
        Err(Error::NoDevice("it is too late").into())
    }
}

#[test]
fn devices_that_are_slow_are_waited_for_together() {
    const LATE: Duration = Duration::from_millis(300);
    let registry = Registry::new(1, (1, 2), Vec::new());
    for number in 0..20 {
        registry.add(&format!("slow{number}"), Box::new(Slow(LATE, number % 2 == 0))).unwrap();
    }
    let before = std::time::Instant::now();
    let names: Vec<String> = registry.available().into_iter().map(|accelerator| accelerator.name).collect();
    assert!(before.elapsed() < LATE * 6, "{:?}", before.elapsed());
    let wanted = std::iter::once("soft0".into()).chain((0..20).step_by(2).map(|number| format!("slow{number}")));
    assert_eq!(names, wanted.collect::<Vec<String>>());
}
