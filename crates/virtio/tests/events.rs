//! Events that a device makes up, or makes too many of.

mod mock;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use gipsec_engine::{BundleEntry, Direction, Events, Intervals, Notify, Parameters};
use gipsec_virtio::{
    driver::{DeviceSa, DriverError},
    memory::Memory,
    message::event::Event,
    transport::{QueuePlace, Transport},
};
use mock::{
    Mock, Script,
    traffic::{entry, open, packet, process},
};

/// What an SA was heard to say.
type Heard = Arc<Mutex<Vec<Events>>>;

fn listen(sa: &DeviceSa) -> Heard {
    let heard = Heard::default();
    let into = heard.clone();
    let listener: Arc<dyn Fn(&Events) + Send + Sync> = Arc::new(move |events| into.lock().unwrap().push(*events));
    sa.listen(&listener);
    heard
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn notifying(notify: Notify) -> BundleEntry {
    let mut entry = entry(Direction::Outbound);
    if let Parameters::Ipsec(attributes) = &mut entry.parameters {
        attributes.notify = notify;
        attributes.intervals = Intervals { periodic: 1 << 20, ..Intervals::default() };
    }
    entry
}

#[test]
fn an_sa_hears_what_it_asked_for_and_no_more_often_than_that() {
    let mock = Mock::new(None);
    let state = mock.state.clone();
    let (device, _) = open(mock).unwrap();
    let ask = |soft_lifetime, sequence_overflow, sequence_periodic| {
        let entry = notifying(Notify { soft_lifetime, sequence_overflow, sequence_periodic });
        let sa = device.add_sa(vec![entry]).unwrap();
        let heard = listen(&sa);
        (sa, heard)
    };
    let (nothing, of_nothing) = ask(false, false, false);
    let (ends, of_ends) = ask(true, true, false);
    let (periods, of_periods) = ask(false, false, true);
    for sa in 1..=3 {
        let each = [Event::SequenceOverflow { sa, last: 1 }, Event::Lifetime { sa, kilobytes: 1 }];
        state.lock().unwrap().forge(std::iter::repeat_n(each, 50).flatten());
    }
    state.lock().unwrap().forge((0..40).flat_map(|last| (1..=3).map(move |sa| Event::SequencePeriodic { sa, last })));
    until("forged events", || {
        process(&periods, &[packet(100)], 300);
        of_periods.lock().unwrap().len() == 40
    });
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(*of_nothing.lock().unwrap(), []);
    let ends_said = of_ends.lock().unwrap().clone();
    assert_eq!(ends_said.iter().filter(|events| events.soft_lifetime.is_some()).count(), 1);
    assert_eq!(ends_said.iter().filter(|events| events.sequence_margin.is_some()).count(), 2);
    assert_eq!(ends_said.len(), 3);
    assert_eq!(of_periods.lock().unwrap().len(), 40);
    drop((nothing, ends));
}

#[test]
fn what_strangers_say_leaves_room_for_what_an_sa_says_early() {
    let mock = Mock::new(None);
    let state = mock.state.clone();
    let (device, _) = open(mock).unwrap();
    let first = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let heard = listen(&first);
    // Those of SAs that are there no more, and then one that is heard.
    state.lock().unwrap().forge((0..2000).map(|last| Event::SequencePeriodic { sa: 99, last }));
    until("the flood", || {
        process(&first, &vec![packet(60); 8], 200);
        !heard.lock().unwrap().is_empty()
    });
    let second = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    process(&second, &vec![packet(60); 8], 200);
    std::thread::sleep(Duration::from_millis(100));
    let heard = listen(&second);
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[test]
fn two_sas_of_one_number_are_a_defect_of_the_device() {
    let script: Script = Box::new(|queue, request, mut reply| {
        if queue == 0 && request.starts_with(&[0, 2]) {
            reply.bytes[16] = 7;
        }
        reply
    });
    let (device, _) = open(Mock::new(Some(script))).unwrap();
    let _first = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    assert!(matches!(device.add_sa(vec![entry(Direction::Outbound)]), Err(DriverError::Gone)));
    assert!(device.is_lost());
}

/// A device that fills the event queue as quickly as it is emptied, until it is told to end.
fn flood(memory: &Memory, place: &QueuePlace, end: &AtomicBool) {
    let size = usize::from(place.size);
    for number in 0..size {
        let mut bytes = [0; 8];
        memory.read(place.descriptors + 16 * number, &mut bytes);
        let at = usize::try_from(u64::from_le_bytes(bytes) - 0x1_0000_0000).unwrap();
        memory.write(at, &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }
    // Each round in another order, so that the available ring shows what has been taken.
    let id = |entry: usize| u16::try_from((entry % size + entry / size + 1) % size).unwrap();
    let (mut taken, mut given) = (0usize, 0usize);
    while !end.load(SeqCst) {
        while given < taken + size {
            memory.store(place.used + 4 + 8 * (given % size), u32::from(id(given)));
            given += 1;
        }
        memory.store(place.used + 2, u16::try_from(given & 0xffff).unwrap());
        while taken < given && memory.load::<u16>(place.available + 4 + 2 * (taken % size)) == Some(id(taken)) {
            taken += 1;
        }
    }
}

#[test]
fn a_flood_of_events_hides_no_loss() {
    let mock = Mock::new(None);
    let (memory, state, loss) = (mock.memory().clone(), mock.state.clone(), mock.loss.clone());
    let (device, lost) = open(mock).unwrap();
    let place = state.lock().unwrap().place(1);
    let sa = device.add_sa(vec![entry(Direction::Outbound)]).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = heard.clone();
    let listener: Arc<dyn Fn(&Events) + Send + Sync> = Arc::new(move |_| {
        counter.fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_millis(1));
    });
    sa.listen(&listener);
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| flood(&memory, &place, &end));
        until("the flood", || heard.load(SeqCst) > 200);
        rustix::io::write(&*loss, &1u64.to_ne_bytes()).unwrap();
        let start = Instant::now();
        while lost.load(SeqCst) == 0 && start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let told = lost.load(SeqCst);
        end.store(true, SeqCst);
        assert_eq!(told, 1, "the loss is noticed while the flood lasts");
    });
}

#[test]
fn a_device_that_is_lost_before_it_is_open_is_not_opened() {
    let mut attached = None;
    let holder = Arc::new(Mutex::new(None::<Arc<std::os::fd::OwnedFd>>));
    let loss = holder.clone();
    let script: Script = Box::new(move |queue, request, reply| {
        // Lost as it answers ATTACH: the driver's thread sees it first.
        if queue == 0 && request.starts_with(&[1, 0]) && attached.replace(()).is_none() {
            rustix::io::write(&**loss.lock().unwrap().as_ref().unwrap(), &1u64.to_ne_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(120));
        }
        reply
    });
    let mut mock = Mock::new(Some(script));
    mock.looks_at_events = false;
    *holder.lock().unwrap() = Some(mock.loss.clone());
    assert!(matches!(open(mock), Err(DriverError::Gone)));
}
