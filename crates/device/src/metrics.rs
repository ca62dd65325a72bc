//! Statistics for people: the Prometheus text form at a local socket, to whoever connects, with a header of HTTP for those
//! who ask in HTTP. One thread; it reads what others count, and trusts nothing that it is sent.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use gipsec_engine::DropReason;
use parking_lot::Mutex;

use crate::{
    accelerator::Accelerator,
    client::{REASONS, Snapshot},
    socket::{self, SocketFile},
};

/// How long a request may take to arrive, and a reader to read.
const PATIENCE: Duration = Duration::from_millis(200);

/// The accelerators, as the daemon has them.
pub type Accelerators = Arc<Mutex<Vec<Accelerator>>>;

/// The socket of the statistics. It goes when this is dropped.
pub struct Metrics {
    file: Option<SocketFile>,
    ending: Arc<AtomicBool>,
    path: std::path::PathBuf,
    thread: Option<thread::JoinHandle<()>>,
}

impl Metrics {
    /// Listens at `path`.
    pub fn start(path: &Path, accelerators: Accelerators) -> io::Result<Self> {
        let (listener, file) = socket::listen(path, 0o660, None)?;
        let ending = Arc::new(AtomicBool::new(false));
        let ends = ending.clone();
        let thread =
            thread::Builder::new().name("metrics".into()).spawn(move || serve(&listener, &accelerators, &ends))?;
        Ok(Self { file: Some(file), ending, path: path.into(), thread: Some(thread) })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Wakes the thread. When nobody can connect, it stays until the process ends.
        let woken = UnixStream::connect(&self.path).is_ok();
        self.file = None;
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            drop(thread.join());
        }
    }
}

fn serve(listener: &UnixListener, accelerators: &Accelerators, ending: &AtomicBool) {
    for stream in listener.incoming() {
        if ending.load(Ordering::Acquire) {
            return;
        }
        match stream {
            // One that hangs up, or does not read, has had its chance.
            Ok(stream) => drop(answer(stream, accelerators)),
            Err(_) => thread::sleep(PATIENCE),
        }
    }
}

fn answer(mut stream: UnixStream, accelerators: &Accelerators) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = [0; 4096];
    let length = stream.read(&mut request).unwrap_or(0);
    let text = {
        let accelerators = accelerators.lock();
        render(accelerators.iter().map(|accelerator| {
            let (clients, refused) = accelerator.snapshots();
            Reading { accelerator: accelerator.settings().name.clone(), clients, refused }
        }))
    };
    let request = &request[..length];
    let is_http = request.starts_with(b"GET ") || request.starts_with(b"HEAD ");
    if is_http {
        let length = text.len();
        write!(
            stream,
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n"
        )?;
    }
    if !request.starts_with(b"HEAD ") {
        stream.write_all(text.as_bytes())?;
    }
    stream.shutdown(Shutdown::Write)
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
