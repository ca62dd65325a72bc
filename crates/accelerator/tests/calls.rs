//! Calls in flight: bounded, by class, delivered once, and waited for by whoever closes.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use gipsec_accelerator::{Class, Error, Key, Lane, OpenMode, Registry};
use support::*;

#[test]
fn close_waits_for_what_is_in_flight_and_lets_nothing_follow() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let client = open(&registry, OpenMode::Shared, None).unwrap();
    let group = registry.group(client, None).unwrap();
    let delivered = Arc::new(AtomicUsize::new(0));
    for _ in 0..50 {
        let delivered = delivered.clone();
        let work = told(
            |_| thread::sleep(Duration::from_millis(1)),
            move || {
                delivered.fetch_add(1, SeqCst);
            },
        );
        assert!(group.submit(Lane::Control, Class::default(), work).is_ok());
    }
    registry.close(client).unwrap();
    assert_eq!(delivered.load(SeqCst), 50);
    assert!(group.submit(Lane::Control, Class::default(), told(|_| {}, || {})).is_err());
}

#[test]
fn a_callback_may_close_its_own_handle() {
    let registry: &'static Registry = Box::leak(Box::new(Registry::new(1, (1, 2), Vec::new())));
    let client = open(registry, OpenMode::Shared, None).unwrap();
    let group = registry.group(client, None).unwrap();
    let (sender, receiver) = mpsc::channel();
    let order = Arc::new(Mutex::new(Vec::new()));
    // The first call waits until all are submitted: none is after the close.
    let (submitted, all_submitted) = mpsc::channel();
    let wait = move |_| {
        let _ = all_submitted.recv_timeout(Duration::from_secs(20));
    };
    assert!(group.submit(Lane::Control, Class::default(), told(wait, || {})).is_ok());
    for number in 0..10 {
        let (sender, order) = (sender.clone(), order.clone());
        let work = told(
            |_| {},
            move || {
                order.lock().unwrap().push(number);
                if number == 3 {
                    registry.close(client).unwrap();
                    sender.send(order.lock().unwrap().clone()).unwrap();
                }
            },
        );
        assert!(group.submit(Lane::Control, Class::default(), work).is_ok());
    }
    submitted.send(()).unwrap();
    let order_at_close = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(order_at_close, (0..10).collect::<Vec<_>>());
}

#[test]
fn in_poll_mode_callbacks_wait_for_the_application() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let client = open(&registry, OpenMode::Shared, None).unwrap();
    assert!(registry.poll(client, 1).is_err());
    registry.with_client(client, gipsec_accelerator::Client::enter_poll_mode).unwrap().unwrap();
    let group = registry.group(client, None).unwrap();
    let thread_of_callback = Arc::new(Mutex::new(None));
    let seen = thread_of_callback.clone();
    let work = told(|_| {}, move || *seen.lock().unwrap() = Some(thread::current().id()));
    assert!(group.submit(Lane::Control, Class::default(), work).is_ok());
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while registry.poll(client, 8).unwrap() == 0 && std::time::Instant::now() < deadline {
        thread::yield_now();
    }
    assert_eq!(*thread_of_callback.lock().unwrap(), Some(thread::current().id()));
    registry.close(client).unwrap();
}

#[test]
fn the_queue_is_bounded() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let client = open(&registry, OpenMode::Shared, None).unwrap();
    let group = registry.group(client, None).unwrap();
    let (sender, receiver) = mpsc::channel::<()>();
    let wait = move |_| {
        let _ = receiver.recv_timeout(Duration::from_secs(20));
    };
    let first = told(wait, || {});
    assert!(group.submit(Lane::Control, Class::default(), first).is_ok());
    let taken =
        (0..10_000).take_while(|_| group.submit(Lane::Control, Class::default(), told(|_| {}, || {})).is_ok()).count();
    assert!((1000..10_000).contains(&taken), "{taken} calls were taken");
    sender.send(()).unwrap();
    registry.close(client).unwrap();
}

#[test]
fn two_callbacks_may_close_each_others_handles() {
    let registry: &'static Registry = Box::leak(Box::new(Registry::new(2, (1, 2), Vec::new())));
    let both_inside: &'static std::sync::Barrier = Box::leak(Box::new(std::sync::Barrier::new(2)));
    let (sender, receiver) = mpsc::channel();
    let clients = ["soft0", "soft1"].map(|name| open(registry, OpenMode::Shared, Some(name)).unwrap());
    for (own, other) in [(0, 1), (1, 0)] {
        let sender = sender.clone();
        let group = registry.group(clients[own], None).unwrap();
        let close_other = move || {
            both_inside.wait();
            sender.send(registry.close(clients[other])).unwrap();
        };
        assert!(group.submit(Lane::Control, Class::default(), told(|_| {}, close_other)).is_ok());
    }
    for _ in 0..2 {
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)).unwrap(), Ok(()));
    }
}

#[test]
fn a_callback_may_enter_poll_mode_and_close() {
    let registry: &'static Registry = Box::leak(Box::new(Registry::new(1, (1, 2), Vec::new())));
    let client = open(registry, OpenMode::Shared, None).unwrap();
    let group = registry.group(client, None).unwrap();
    let (sender, receiver) = mpsc::channel();
    let first = move || {
        registry.with_client(client, gipsec_accelerator::Client::enter_poll_mode).unwrap().unwrap();
        sender.send(registry.close(client)).unwrap();
    };
    assert!(
        group
            .submit(Lane::Control, Class::default(), told(|_| thread::sleep(Duration::from_millis(50)), first))
            .is_ok()
    );
    let delivered = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let delivered = delivered.clone();
        let count = move || {
            delivered.fetch_add(1, SeqCst);
        };
        assert!(group.submit(Lane::Control, Class::default(), told(|_| {}, count)).is_ok());
    }
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)).unwrap(), Ok(()));
    assert_eq!(delivered.load(SeqCst), 3);
}

#[test]
fn callbacks_that_close_do_not_nest() {
    let registry: &'static Registry = Box::leak(Box::new(Registry::new(1, (1, 2), Vec::new())));
    let (depth, deepest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..200 {
        let client = open(registry, OpenMode::Shared, None).unwrap();
        let group = registry.group(client, None).unwrap();
        for closes in [true, false] {
            let (depth, deepest, sender) = (depth.clone(), deepest.clone(), sender.clone());
            let callback = move || {
                deepest.fetch_max(depth.fetch_add(1, SeqCst) + 1, SeqCst);
                if closes {
                    registry.close(client).unwrap();
                    sender.send(()).unwrap();
                }
                depth.fetch_sub(1, SeqCst);
            };
            // Slow enough that callbacks pile up.
            let run = |_| thread::sleep(Duration::from_micros(10));
            assert!(group.submit(Lane::Control, Class::default(), told(run, callback)).is_ok());
        }
    }
    for _ in 0..200 {
        receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    assert!(deepest.load(SeqCst) <= 2);
}

#[test]
fn close_waits_for_a_group_that_is_being_deleted() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let client = open(&registry, OpenMode::Shared, None).unwrap();
    let group = registry.create_group(client, "blue").unwrap();
    let delivered = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        let delivered = delivered.clone();
        let work = told(
            |_| thread::sleep(Duration::from_millis(20)),
            move || {
                delivered.fetch_add(1, SeqCst);
            },
        );
        assert!(registry.group(client, Some(group)).unwrap().submit(Lane::Control, Class::default(), work).is_ok());
    }
    thread::scope(|scope| {
        scope.spawn(|| registry.delete_group(client, group));
        thread::sleep(Duration::from_millis(10));
        registry.close(client).unwrap();
        assert_eq!(delivered.load(SeqCst), 4);
    });
}

/// Closes a handle when its thread ends, as a thread-local object of C++ does.
struct ClosesLate(&'static Registry, Key, mpsc::Sender<Result<(), Error>>);

impl Drop for ClosesLate {
    fn drop(&mut self) {
        let _ = self.2.send(self.0.close(self.1));
    }
}

thread_local! {
    static LATE: std::cell::RefCell<Option<ClosesLate>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_thread_that_is_ending_may_close() {
    let registry: &'static Registry = Box::leak(Box::new(Registry::new(1, (1, 2), Vec::new())));
    let client = open(registry, OpenMode::Exclusive, None).unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        LATE.set(Some(ClosesLate(registry, client, sender)));
        // The thread's own state of this library is made after LATE, and so is gone before it.
        let other = registry
            .add("other", Box::new(gipsec_accelerator::Soft))
            .and_then(|_| open(registry, OpenMode::Shared, Some("other")));
        registry.close(other.unwrap()).unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)).unwrap(), Ok(()));
    assert!(open(registry, OpenMode::Exclusive, Some("soft0")).is_ok());
}

#[test]
fn close_waits_for_a_callback_that_deleted_its_own_group() {
    let registry: &'static Registry = Box::leak(Box::new(Registry::new(1, (1, 2), Vec::new())));
    let client = open(registry, OpenMode::Shared, None).unwrap();
    let group = registry.create_group(client, "blue").unwrap();
    let returned = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = mpsc::channel();
    let counted = returned.clone();
    let deletes = move || {
        sender.send(registry.delete_group(client, group)).unwrap();
        thread::sleep(Duration::from_millis(100));
        counted.fetch_add(1, SeqCst);
    };
    let blue = registry.group(client, Some(group)).unwrap();
    assert!(blue.submit(Lane::Control, Class::default(), told(|_| {}, deletes)).is_ok());
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)).unwrap(), Ok(()));
    assert!(registry.active().iter().all(|row| row.group != "blue"));
    registry.close(client).unwrap();
    assert_eq!(returned.load(SeqCst), 1);
}

#[test]
fn poll_mode_is_entered_once_whoever_asks() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    for _ in 0..200 {
        let client = open(&registry, OpenMode::Shared, None).unwrap();
        let enter = || registry.with_client(client, gipsec_accelerator::Client::enter_poll_mode).unwrap().unwrap();
        let (one, other) = thread::scope(|scope| {
            let other = scope.spawn(enter);
            (enter(), other.join().unwrap())
        });
        assert_eq!(one, other);
        registry.close(client).unwrap();
    }
}

#[test]
fn bulk_leaves_room_to_what_is_urgent() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let client = open(&registry, OpenMode::Shared, None).unwrap();
    let group = registry.group(client, None).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let wait = move |_| {
        let _ = held.lock().unwrap().recv();
    };
    let wait = told(wait, || {});
    assert!(group.submit(Lane::Control, Class::BestEffort, wait).is_ok());
    let idle = || told(|_| {}, || {});
    while group.submit(Lane::Control, Class::Assured, idle()).is_ok() {}
    assert!(group.submit(Lane::Control, Class::LowerEffort, idle()).is_err());
    let urgent = (0..10_000).take_while(|_| group.submit(Lane::Control, Class::Expedited, idle()).is_ok()).count();
    assert_eq!(urgent, 512);
    release.send(()).unwrap();
    registry.close(client).unwrap();
}

#[test]
fn a_flood_of_urgent_calls_keeps_nobody_from_closing() {
    let registry = Arc::new(Registry::new(1, (1, 2), Vec::new()));
    let [flooding, closing] = [(); 2].map(|()| open(&registry, OpenMode::Shared, None).unwrap());
    let flood = registry.group(flooding, None).unwrap();
    let over = Arc::new(AtomicUsize::new(0));
    let flooder = {
        let over = over.clone();
        thread::spawn(move || {
            let tired = || told(|_| thread::sleep(Duration::from_micros(100)), || {});
            while over.load(SeqCst) == 0 {
                if flood.submit(Lane::AnyOrder, Class::Expedited, tired()).is_err() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        })
    };
    thread::sleep(Duration::from_millis(50));
    let done = Arc::new(AtomicUsize::new(0));
    let group = registry.group(closing, None).unwrap();
    for _ in 0..4 {
        let done = done.clone();
        let count = move || {
            done.fetch_add(1, SeqCst);
        };
        assert!(group.submit(Lane::AnyOrder, Class::LowerEffort, told(|_| {}, count)).is_ok());
    }
    let (closed, returned) = mpsc::channel();
    let closer = {
        let registry = registry.clone();
        thread::spawn(move || closed.send(registry.close(closing)).unwrap())
    };
    let result = returned.recv_timeout(Duration::from_secs(20));
    over.store(1, SeqCst);
    assert_eq!(result, Ok(Ok(())), "the close hangs while others work");
    assert_eq!(done.load(SeqCst), 4);
    flooder.join().unwrap();
    closer.join().unwrap();
    registry.close(flooding).unwrap();
}
