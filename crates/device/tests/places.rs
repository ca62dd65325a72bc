//! Who gets in when there are more who want to. Other processes are made of this one: a shell cannot connect.

mod support;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command as Process, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use gipsec_device::settings::{AcceleratorTable, Mode};
use gipsec_virtio::message::control::{AttachMode, Command};
use support::{Driver, Local, Setup, eventually};
use vhost::{VhostBackend, vhost_user::Frontend};

/// Another process that connects, asks for the features, and stays until its input ends.
struct Other(Child, Option<ChildStdin>);

const PATH: &str = "GIPSEC_TEST_OTHER";

impl Other {
    fn start(path: &Path, connections: usize) -> Self {
        let mut process = Process::new(std::env::current_exe().unwrap());
        process.args(["--exact", "--nocapture", "--ignored", "another_process"]);
        process.env(PATH, path).env("COUNT", connections.to_string());
        let mut child = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.ends_with("connected")));
        let input = child.stdin.take();
        thread::spawn(move || lines.for_each(drop));
        Self(child, input)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.1 = None;
        drop(self.0.wait());
    }
}

#[test]
#[ignore = "a part of others"]
fn another_process() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let count: usize = std::env::var("COUNT").unwrap().parse().unwrap();
    let connect = || {
        let frontend = Frontend::connect(&path, 64).ok()?;
        frontend.get_features().ok().map(|_| frontend)
    };
    let connections: Vec<_> = (0..count).filter_map(|_| connect()).collect();
    println!("connected");
    let ending = AtomicBool::new(false);
    thread::scope(|scope| {
        // Without a count: without end.
        for _ in 0..2 * usize::from(count == 0) {
            scope.spawn(|| {
                let mut kept = Vec::new();
                while !ending.load(Ordering::Relaxed) {
                    kept.extend(connect().map(|frontend| (Instant::now(), frontend)));
                    kept.retain(|(since, _)| since.elapsed() < Duration::from_millis(1800));
                }
            });
        }
        drop(std::io::stdin().lock().read_line(&mut String::new()));
        ending.store(true, Ordering::Relaxed);
    });
    drop(connections);
}

fn shared(clients: usize) -> Local {
    Local::start(AcceleratorTable { mode: Mode::Shared, max_clients: Some(clients), ..AcceleratorTable::default() })
}

#[test]
fn who_connects_often_makes_place_himself() {
    let device = shared(2);
    // As the connection of a virtual machine whose driver is not there yet.
    let mut waiting = Driver::connect(&device.path(), &Setup::default());
    // And one of which it has gone again.
    let mut gone = Driver::attached(&device.path(), AttachMode::Shared);
    thread::sleep(Duration::from_millis(2100));
    gone.command(&Command::Detach, 0).unwrap();
    let _other = Other::start(&device.path(), 40);
    gone.attach(AttachMode::Shared).unwrap();
    waiting.attach(AttachMode::Shared).unwrap();
}

#[test]
fn who_connects_without_end_keeps_nobody_out() {
    let device = shared(2);
    let _other = Other::start(&device.path(), 0);
    thread::sleep(Duration::from_millis(500));
    for round in 0..10 {
        let mut driver = Driver::connect(&device.path(), &Setup::default());
        eventually("the place", || driver.attach(AttachMode::Shared) == Ok(()));
        driver.round_trip(round + 1, 2);
    }
}
