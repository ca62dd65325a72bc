//! Statistics for people: the Prometheus text form at a local socket, to whoever connects, with a header of HTTP for those
//! who ask in HTTP. One thread; it reads what others count, trusts nothing that it is sent, and waits for nobody alone.

use std::{
    fmt::Write as _,
    io::{self, ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gipsec_engine::DropReason;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    accelerator::Accelerator,
    client::{REASONS, Snapshot},
    ring::Event,
    socket::{self, Place, SocketFile},
};

/// How long a request may take to arrive; who says nothing gets the text without a header then.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a reader may take for everything, and how long when others wait.
const WHOLE: Duration = Duration::from_secs(5);
const HURRY: Duration = Duration::from_millis(400);
/// Readers at once.
const READERS: usize = 32;
/// How long a text is told before there is a new one.
const FRESH: Duration = Duration::from_millis(100);

/// The accelerators, as the daemon has them.
pub type Accelerators = Arc<Mutex<Vec<Accelerator>>>;

/// The socket of the statistics. It goes when this is dropped.
pub struct Metrics {
    _file: SocketFile,
    ending: Arc<AtomicBool>,
    wake: Event,
    thread: Option<thread::JoinHandle<()>>,
}

impl Metrics {
    /// Listens.
    pub fn start(place: &Place, accelerators: Accelerators) -> io::Result<Self> {
        let (listener, file) = socket::listen(place)?;
        listener.set_nonblocking(true)?;
        let (wake, ending) = (Event::new()?, Arc::new(AtomicBool::new(false)));
        let (woken, ends) = (wake.clone(), ending.clone());
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || {
            let texts = Texts { accelerators, last: None };
            serve(&listener, texts, &woken, &ends);
        })?;
        Ok(Self { _file: file, ending, wake, thread: Some(thread) })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        self.wake.write();
        if let Some(thread) = self.thread.take() {
            // A panic there is told by the hook.
            drop(thread.join());
        }
    }
}

/// What is told: to all who ask at about the same time, the same.
struct Texts {
    accelerators: Accelerators,
    last: Option<(Instant, Arc<str>)>,
}

impl Texts {
    fn get(&mut self) -> Arc<str> {
        if let Some((since, text)) = &self.last
            && since.elapsed() < FRESH
        {
            return text.clone();
        }
        let accelerators = self.accelerators.lock();
        let text: Arc<str> = render(accelerators.iter().map(|accelerator| {
            let (clients, refused) = accelerator.snapshots();
            Reading { accelerator: accelerator.settings().name.clone(), clients, refused }
        }))
        .into();
        self.last = Some((Instant::now(), text.clone()));
        text
    }
}

/// Somebody who asks.
struct Reader {
    stream: UnixStream,
    since: Instant,
    /// The header and the text, once it has asked.
    answer: Option<(String, Arc<str>)>,
    done: usize,
}

impl Reader {
    /// Goes on with it as far as that is possible without waiting; whether it is still there.
    fn goes_on(&mut self, texts: &mut Texts) -> bool {
        if self.answer.is_none() {
            let mut request = [0; 4096];
            match self.stream.read(&mut request) {
                Ok(length) => self.answer = Some(answer(&request[..length], texts)),
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.since.elapsed() < PATIENCE => return true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.answer = Some(answer(b"", texts)),
                Err(_) => return false,
            }
        }
        let Some((header, text)) = &self.answer else { return true };
        loop {
            let rest = match self.done.checked_sub(header.len()) {
                None => &header.as_bytes()[self.done..],
                Some(done) => &text.as_bytes()[done..],
            };
            match self.stream.write(rest) {
                // It has everything.
                Ok(0) => return false,
                Ok(length) => self.done += length,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

fn answer(request: &[u8], texts: &mut Texts) -> (String, Arc<str>) {
    let text = texts.get();
    let head = request.starts_with(b"HEAD ");
    let header = if head || request.starts_with(b"GET ") {
        let length = text.len();
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n")
    } else {
        String::new()
    };
    (header, if head { "".into() } else { text })
}

fn serve(listener: &UnixListener, mut texts: Texts, wake: &Event, ending: &AtomicBool) {
    let mut readers: Vec<Reader> = Vec::new();
    while !ending.load(Ordering::Acquire) {
        let of_listener = if readers.len() < READERS { PollFlags::IN } else { PollFlags::empty() };
        let mut polled = vec![PollFd::new(wake, PollFlags::IN), PollFd::new(listener, of_listener)];
        polled.extend(readers.iter().map(|reader| {
            PollFd::new(&reader.stream, if reader.answer.is_none() { PollFlags::IN } else { PollFlags::OUT })
        }));
        let soon = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        if poll(&mut polled, (!readers.is_empty()).then_some(&soon)).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        while readers.len() < READERS {
            match listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).is_ok() {
                        readers.push(Reader { stream, since: Instant::now(), answer: None, done: 0 });
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // No file descriptors.
                Err(_) => {
                    thread::sleep(PATIENCE);
                    break;
                }
            }
        }
        let whole = if readers.len() < READERS { WHOLE } else { HURRY };
        readers.retain_mut(|reader| reader.goes_on(&mut texts) && reader.since.elapsed() < whole);
    }
}

/// What is told of an accelerator.
struct Reading {
    accelerator: String,
    clients: Vec<(u64, Snapshot)>,
    refused: u64,
}

/// A family of numbers: its name, what it is, and how it is read from a client.
type Family = (&'static str, &'static str, &'static str, fn(&Snapshot) -> u64);

const FAMILIES: [Family; 9] = [
    ("gipsec_sas", "gauge", "SAs of a client.", |client| client.totals.sas.get()),
    ("gipsec_groups", "gauge", "Groups of a client.", |client| client.totals.groups.get()),
    ("gipsec_decapsulated_packets_total", "counter", "Packets decapsulated.", |client| client.totals.packets_in.get()),
    ("gipsec_decapsulated_bytes_total", "counter", "Their payload bytes.", |client| client.totals.bytes_in.get()),
    ("gipsec_encapsulated_packets_total", "counter", "Packets encapsulated.", |client| client.totals.packets_out.get()),
    ("gipsec_encapsulated_bytes_total", "counter", "Their payload bytes.", |client| client.totals.bytes_out.get()),
    ("gipsec_refused_requests_total", "counter", "Requests refused.", |client| client.totals.requests_refused.get()),
    ("gipsec_lost_events_total", "counter", "Events that nobody fetched.", |client| client.totals.events_lost.get()),
    ("gipsec_waiting_events", "gauge", "Events that wait for a buffer.", |client| client.waiting as u64),
];

fn render(readings: impl Iterator<Item = Reading>) -> String {
    let readings: Vec<Reading> = readings.collect();
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, lines: &mut dyn FnMut(&mut String)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        lines(&mut text);
    };
    family("gipsec_clients", "gauge", "Attached clients.", &mut |text| {
        for Reading { accelerator, clients, .. } in &readings {
            let _ = writeln!(text, "gipsec_clients{{accelerator=\"{}\"}} {}", escape(accelerator), clients.len());
        }
    });
    family("gipsec_refused_connections_total", "counter", "Connections turned away.", &mut |text| {
        for Reading { accelerator, refused, .. } in &readings {
            let accelerator = escape(accelerator);
            let _ = writeln!(text, "gipsec_refused_connections_total{{accelerator=\"{accelerator}\"}} {refused}");
        }
    });
    for (name, kind, help, value) in FAMILIES {
        family(name, kind, help, &mut |text| {
            for_each(&readings, |labels, client| {
                let _ = writeln!(text, "{name}{{{labels}}} {}", value(client));
            });
        });
    }
    family("gipsec_refused_packets_total", "counter", "Packets refused, by reason.", &mut |text| {
        for_each(&readings, |labels, client| {
            for (reason, count) in client.refused.iter().enumerate().filter(|(_, count)| **count > 0) {
                let reason = reason_name(reason);
                let _ = writeln!(text, "gipsec_refused_packets_total{{{labels},reason=\"{reason}\"}} {count}");
            }
        });
    });
    text
}

fn for_each(readings: &[Reading], mut line: impl FnMut(&str, &Snapshot)) {
    for Reading { accelerator, clients, .. } in readings {
        for (number, client) in clients {
            let labels = format!(
                "accelerator=\"{}\",client=\"{number}\",name=\"{}\"",
                escape(accelerator),
                escape(&client.name)
            );
            line(&labels, client);
        }
    }
}

fn reason_name(reason: usize) -> &'static str {
    const _: () = assert!(REASONS == DropReason::ALL.len() + 2);
    match DropReason::ALL.get(reason) {
        Some(reason) => reason.c_name().to_str().unwrap_or("?"),
        None if reason == crate::client::REASON_NO_SA => "no_sa",
        None => "bad_entry",
    }
}

/// A label's value: a client chooses its name.
fn escape(value: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    value.chars().map(printable).collect::<String>().replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gipsec_virtio::message::control::Totals;

    #[test]
    fn a_client_cannot_forge_lines() {
        let mut refused = [0; REASONS];
        (refused[19], refused[REASONS - 2]) = (3, 4);
        let name = "a\"} 1\ngipsec_clients{x=\"\\".to_owned();
        let totals = Totals { sas: 7.into(), ..Totals::default() };
        let client = Snapshot { name, totals, refused, waiting: 0 };
        let text =
            render([Reading { accelerator: "ipsec0".into(), clients: vec![(5, client)], refused: 2 }].into_iter());
        let labels = "accelerator=\"ipsec0\",client=\"5\",name=\"a\\\"} 1\u{fffd}gipsec_clients{x=\\\"\\\\\"";
        for line in [
            "gipsec_clients{accelerator=\"ipsec0\"} 1".to_owned(),
            "gipsec_refused_connections_total{accelerator=\"ipsec0\"} 2".to_owned(),
            format!("gipsec_sas{{{labels}}} 7"),
            format!("gipsec_refused_packets_total{{{labels},reason=\"bad_icv\"}} 3"),
            format!("gipsec_refused_packets_total{{{labels},reason=\"no_sa\"}} 4"),
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(text.lines().all(|line| line.starts_with("# ") || line.starts_with("gipsec_")));
    }
}
