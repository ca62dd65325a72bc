//! The daemon as a process: its start, its signals, its end.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::{FileExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command as Process, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gipsec_engine::Direction;
use gipsec_virtio::message::control::{AttachMode, Command};
use rustix::process::{Pid, Signal, kill_process};
use support::{Driver, Setup, data_message, eventually, queue_of, sas};
use vhost::VhostBackend;
use vmm_sys_util::eventfd::EventFd;

struct Daemon(Child, Log);

type Log = Arc<Mutex<Vec<String>>>;

impl Daemon {
    fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut process(arguments))
    }

    fn spawn(process: &mut Process) -> Self {
        let mut child = process.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Log::default();
        let kept = log.clone();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        let daemon = Self(child, log);
        eventually("readiness", || daemon.says("ready").len() == 1);
        daemon
    }

    /// The lines with these words so far.
    fn says(&self, words: &str) -> Vec<String> {
        self.1.lock().unwrap().iter().filter(|line| line.contains(words)).cloned().collect()
    }

    /// Hundredths of a second of the processor.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < support::PATIENCE {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the daemon does not end");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn process(arguments: &[&str]) -> Process {
    let mut process = Process::new(env!("CARGO_BIN_EXE_gipsec-device"));
    process.args(arguments);
    process
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn sigterm_completes_what_was_taken_and_removes_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ipsec0.sock");
    let mut daemon = Daemon::start(&["--socket", text(&socket)]);
    let mut driver = Driver::attached(&socket, AttachMode::Exclusive);
    let sa = driver.add(Direction::Outbound, 1, 0);
    let queue = queue_of(Direction::Outbound);
    let packet = sas::packet(1400, 1);
    let message = data_message(&vec![(sa, &packet[..]); 32], 1500);
    for slot in 0..16u16 {
        let at = driver.room(queue) + 0x2_0000 * u64::from(slot);
        driver.submit_at(queue, slot, at, &message, 55_000);
    }
    driver.wait(queue);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(!socket.exists());
    // Each that came back is whole, in order.
    let mut next = 1;
    while let Some((id, used)) = driver.used(queue) {
        assert!(id == next && used > 32 * 1400, "{id} {used}");
        next += 1;
    }
}

#[test]
fn sighup_reads_the_file_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("device.toml");
    let write = |accelerators: &str| {
        let text = format!("directory = {:?}\n{accelerators}", text(directory.path()));
        fs::write(&file, text).unwrap();
    };
    let path = |name: &str| directory.path().join(format!("{name}.sock"));
    write("[[accelerator]]\nname = \"one\"\n[[accelerator]]\nname = \"two\"\nmax_sas = 5");
    let daemon = Daemon::start(&["--config", text(&file)]);
    let mut one = Driver::attached(&path("one"), AttachMode::Exclusive);
    let mut two = Driver::attached(&path("two"), AttachMode::Exclusive);
    assert_eq!(two.config().max_sas.get(), 5);
    // A broken file changes nothing.
    write("[[accelerator]]\nname = \"three\"\nbroken");
    daemon.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(100));
    assert!(!path("three").exists() && path("one").exists());
    one.round_trip(1, 2);
    // One goes, one changes, one comes.
    write("[[accelerator]]\nname = \"two\"\nmax_sas = 6\nmode = \"shared\"\n[[accelerator]]\nname = \"three\"");
    daemon.signal(Signal::HUP);
    eventually("the new accelerator", || path("three").exists());
    eventually("the end of the old one", || !path("one").exists() && one.is_over());
    Driver::attached(&path("three"), AttachMode::Exclusive).round_trip(3, 2);
    two.round_trip(2, 2);
    assert_eq!(two.config().max_sas.get(), 5, "what is connected keeps its limits");
    drop(two);
    let mut again = Driver::connect(&path("two"), &Setup::default());
    eventually("the place", || again.attach(AttachMode::Shared) == Ok(()));
    assert_eq!(again.config().max_sas.get(), 6);
}

#[test]
fn sighup_changes_the_permissions_of_sockets_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("device.toml");
    let socket = directory.path().join("one.sock");
    let write = |accelerator: &str| {
        fs::write(&file, format!("directory = {:?}\n[[accelerator]]\n{accelerator}", text(directory.path()))).unwrap();
    };
    write("name = \"one\"");
    let daemon = Daemon::start(&["--config", text(&file)]);
    let mut driver = Driver::attached(&socket, AttachMode::Exclusive);
    let mode = || fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o660);
    write("name = \"one\"\nsocket_mode = \"0666\"");
    daemon.signal(Signal::HUP);
    eventually("the permissions", || mode() == 0o666);
    driver.round_trip(1, 2);
    let moved = directory.path().join("moved.sock");
    write("name = \"one\"\nsocket = \"MOVED\"".replace("MOVED", text(&moved)).as_str());
    daemon.signal(Signal::HUP);
    eventually("the new socket", || moved.exists() && !socket.exists() && driver.is_over());
    assert_eq!(daemon.says("moves from").len(), 1);
    assert_eq!(daemon.says("does not find").len(), 0);
    assert_eq!(daemon.says("no longer named").len(), 0);
}

#[test]
fn statistics_end_though_their_socket_is_somebody_elses() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, metrics) = (directory.path().join("ipsec0.sock"), directory.path().join("metrics"));
    let mut daemon = Daemon::start(&["--socket", text(&socket), "--metrics", text(&metrics)]);
    fs::remove_file(&metrics).unwrap();
    let _other = UnixListener::bind(&metrics).unwrap();
    let start = Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(1) && metrics.exists());
}

#[test]
fn statistics_are_the_owners_and_wait_for_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, metrics) = (directory.path().join("ipsec0.sock"), directory.path().join("metrics"));
    let _daemon = Daemon::start(&["--socket", text(&socket), "--metrics", text(&metrics)]);
    assert_eq!(fs::metadata(&metrics).unwrap().permissions().mode() & 0o777, 0o600);
    let silent: Vec<_> = (0..100).map(|_| UnixStream::connect(&metrics).unwrap()).collect();
    let start = Instant::now();
    let mut stream = UnixStream::connect(&metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("gipsec_clients") && start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn errors_at_the_start_are_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ipsec0.sock");
    let missing = directory.path().join("missing");
    let inside = missing.join("a.sock");
    let _daemon = Daemon::start(&["--socket", text(&socket)]);
    for (arguments, code, sentence) in [
        (vec!["--socket", text(&socket)], 1, "another process listens there"),
        (vec!["--config", text(&missing)], 1, "No such file"),
        (vec!["--socket", text(&inside)], 1, "cannot listen at"),
        (vec!["--socket", text(&inside), "--pairs", "99"], 1, "pairs is not from 1 to 31"),
        (vec!["--nonsense"], 2, "unexpected argument"),
        (vec![], 2, "required"),
    ] {
        let output = process(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(sentence), "{said}");
        assert!(code == 2 || said.lines().count() == 1, "{said}");
    }
}

#[test]
fn statistics_are_read_as_text_and_over_http() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, metrics) = (directory.path().join("ipsec0.sock"), directory.path().join("metrics"));
    let _daemon = Daemon::start(&["--socket", text(&socket), "--metrics", text(&metrics)]);
    let mut driver = Driver::attached(&socket, AttachMode::Exclusive);
    driver.round_trip(1, 5);
    driver.add(Direction::Outbound, 2, 0);
    let read = |request: &str| {
        let mut stream = UnixStream::connect(&metrics).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    for request in ["", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let text = read(request);
        assert_eq!(text.starts_with("HTTP/1.0 200 OK\r\n"), !request.is_empty());
        for line in [
            "gipsec_clients{accelerator=\"ipsec0\"} 1",
            "gipsec_sas{accelerator=\"ipsec0\",client=\"1\",name=\"test\"} 1",
            "gipsec_encapsulated_packets_total{accelerator=\"ipsec0\",client=\"1\",name=\"test\"} 5",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}

#[test]
fn an_idle_daemon_uses_no_processor() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ipsec0.sock");
    let daemon = Daemon::start(&["--socket", text(&socket)]);
    let mut driver = Driver::attached(&socket, AttachMode::Exclusive);
    driver.round_trip(1, 5);
    // A buffer that waits in eventq is no work.
    let at = driver.room(1);
    driver.submit_at(1, 0, at, &[], 24);
    std::thread::sleep(Duration::from_millis(200));
    let before = daemon.ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(daemon.ticks() - before <= 1, "of 100 in a second");
}

#[test]
fn an_eventfd_that_kicks_for_ever_uses_little_of_one() {
    const SEMAPHORE: i32 = 1;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ipsec0.sock");
    let daemon = Daemon::start(&["--socket", text(&socket)]);
    let mut driver = Driver::attached(&socket, AttachMode::Exclusive);
    driver.frontend.get_vring_base(2).unwrap();
    driver.queues[2].kick = EventFd::new(SEMAPHORE).unwrap();
    driver.start_queue(2, 0).unwrap();
    driver.queues[2].kick.write(1 << 60).unwrap();
    let before = daemon.ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(daemon.ticks() - before <= 20, "of 100 in a second");
    driver.round_trip(1, 5);
}

#[test]
fn connections_leave_no_descriptor_behind() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ipsec0.sock");
    let daemon = Daemon::start(&["--socket", text(&socket)]);
    let before = daemon.descriptors();
    for _ in 0..30 {
        let mut driver = Driver::connect(&socket, &Setup::default());
        eventually("the place", || driver.attach(AttachMode::Exclusive) == Ok(()));
    }
    eventually("the end of all", || daemon.descriptors() <= before);
}

#[test]
fn without_descriptors_it_waits_for_some() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ipsec0");
    let limited = "ulimit -n 60; exec \"$0\" \"$@\"";
    let mut process = Process::new("sh");
    process.args(["-c", limited, env!("CARGO_BIN_EXE_gipsec-device"), "--socket", text(&socket), "--mode", "shared"]);
    let daemon = Daemon::spawn(&mut process);
    assert_eq!(daemon.says("file descriptors, and 60 are allowed").len(), 1);
    assert_eq!(daemon.says("does not end in \".sock\"").len(), 1);
    let threads = || fs::read_dir(format!("/proc/{}/task", daemon.0.id())).unwrap().count();
    let (idle, before) = (threads(), daemon.descriptors());
    let streams: Vec<_> = (0..20).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    eventually("the end of descriptors", || !daemon.says("Too many open files").is_empty());
    let start = daemon.ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(daemon.ticks() - start <= 5, "of 100 in a second");
    drop(streams);
    eventually("the end of all", || threads() <= idle && daemon.descriptors() <= before);
    Driver::attached(&socket, AttachMode::Shared).round_trip(1, 2);
}

#[test]
fn what_clients_do_is_said_once_a_second_and_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ipsec0.sock");
    let daemon = Daemon::start(&["--socket", text(&socket)]);
    let end = |name: &[u8]| {
        let mut driver = Driver::connect(&socket, &Setup::default());
        let mut field = [0; 64];
        field[..name.len()].copy_from_slice(name);
        let attach = Command::Attach { mode: AttachMode::Exclusive, name: field };
        eventually("the place", || driver.command(&attach, 0).is_ok());
        driver.set_avail_index(0, 9999);
        driver.kick(0);
        eventually("the end", || driver.is_over());
    };
    let forged = b"x\"\nERROR forged\x1b[31m";
    end(forged);
    let start = Instant::now();
    (0..20).for_each(|_| end(b"x"));
    assert!(start.elapsed() < Duration::from_secs(1) || daemon.says("Ending a connection").len() < 20);
    std::thread::sleep(Duration::from_millis(1100));
    end(b"y");
    eventually("the line", || !daemon.says("lines were left out").is_empty());
    assert_eq!(daemon.says("forged").len(), 1);
    assert!(
        daemon.says("forged").iter().all(|line| line.contains("Ending a connection") && !line.contains("\x1b[31m"))
    );
}

/// How often the marker is in the daemon's memory, beside what it shares with drivers, and beside stacks, where the engine
/// leaves blocks that the next packet overwrites.
fn found(daemon: &Daemon, marker: &[u8]) -> usize {
    let memory = fs::File::open(format!("/proc/{}/mem", daemon.0.id())).unwrap();
    let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.0.id())).unwrap();
    let own = maps.lines().filter(|line| line.contains(" rw-p "));
    let range = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    };
    own.filter_map(range)
        .filter(|(start, end)| end - start != 2 << 20)
        .map(|(start, end)| {
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            let read = memory.read_at(&mut bytes, start).unwrap_or(0);
            bytes[..read].windows(marker.len()).filter(|window| *window == marker).count()
        })
        .sum()
}

#[test]
fn packets_of_who_has_detached_are_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ipsec0.sock");
    let daemon = Daemon::start(&["--socket", text(&socket)]);
    let mut driver = Driver::attached(&socket, AttachMode::Exclusive);
    let mut packet = sas::packet(1000, 1);
    let marker = b"nobody else shall ever read this";
    packet[500..500 + marker.len()].copy_from_slice(marker);
    let sa = driver.add(Direction::Outbound, 1, 0);
    driver.packets(queue_of(Direction::Outbound), &[(sa, &packet)], 2000).unwrap();
    assert_eq!(found(&daemon, marker), 0, "processed where it is");
    let sa = driver.add_entry(Direction::Outbound, sas::cbc_entry(Direction::Outbound, 2), 0);
    driver.packets(queue_of(Direction::Outbound), &[(sa, &packet)], 2000).unwrap();
    assert!(found(&daemon, marker) > 0, "copied");
    driver.command(&Command::Detach, 0).unwrap();
    eventually("the end of what is left", || found(&daemon, marker) == 0);
}
