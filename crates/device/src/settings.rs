//! What the operator says, on the command line or in a file, and the one gate that checks it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{backend::MAX_PAIRS, limits::Limits, memory::MemoryRule, rate::Rate, socket::Place, table::MAX_SAS};

/// Where sockets are when nothing else is said.
pub const DIRECTORY: &str = "/run/gipsec";
/// Clients of an accelerator at most.
const MAX_CLIENTS: usize = 1024;
/// Permissions of sockets, when nothing else is said.
const SOCKET_MODE: u32 = 0o660;
/// Those of the statistics' one: they are of all clients.
pub const METRICS_MODE: u32 = 0o600;
const OCTAL: &str = "is not an octal number such as \"0660\"";
/// Bytes of a name at most.
const NAME_SIZE: usize = 15;

/// Who may attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One client.
    #[default]
    Exclusive,
    /// Several, that do not know of each other.
    Shared,
}

/// What is wrong with the settings: one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

fn wrong(sentence: impl fmt::Display) -> SettingsError {
    SettingsError(sentence.to_string())
}

/// An accelerator as it is written down; what is not said is the default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "dist/gipsec-device.toml and the manual page describe each")]
pub struct AcceleratorTable {
    pub name: Option<String>,
    pub socket: Option<PathBuf>,
    #[serde(default)]
    pub mode: Mode,
    pub max_clients: Option<usize>,
    #[serde(default)]
    pub exclusive: bool,
    pub pairs: Option<usize>,
    pub polling_us: Option<u64>,
    #[serde(default)]
    pub memory: MemoryRule,
    pub socket_mode: Option<String>,
    pub socket_group: Option<String>,
    pub max_sas: Option<u32>,
    pub max_groups: Option<u32>,
    pub max_batch: Option<u32>,
    pub max_bytes: Option<u32>,
    pub max_memory: Option<u64>,
    pub packets_per_second: Option<u64>,
    pub bytes_per_second: Option<u64>,
}

/// The file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    directory: Option<PathBuf>,
    metrics: Option<PathBuf>,
    metrics_mode: Option<String>,
    metrics_group: Option<String>,
    #[serde(default)]
    accelerator: Vec<AcceleratorTable>,
}

/// An accelerator, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// What applications open it by.
    pub name: String,
    /// Where it listens.
    pub socket: Place,
    /// Clients in shared mode; 0: none.
    pub shared: usize,
    /// Whether one may have all of it.
    pub exclusive: bool,
    /// Clients of any kind.
    pub clients: usize,
    /// Pairs of data queues.
    pub pairs: usize,
    /// How long workers poll.
    pub polling: Duration,
    /// Which memory is taken.
    pub memory: MemoryRule,
    /// What a client may hold.
    pub limits: Limits,
}

/// Everything, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// In the order in which they were written.
    pub accelerators: Vec<Accelerator>,
    /// Where statistics are read.
    pub metrics: Option<Place>,
}

impl Settings {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path).map_err(|error| wrong(format_args!("{}: {error}", path.display())))?;
        Self::parse(&text).map_err(|error| wrong(format_args!("{}: {error}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, SettingsError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            wrong(format_args!("{place}{}", error.message()))
        })?;
        let directory = file.directory.unwrap_or_else(|| DIRECTORY.into());
        let (mode, group) = (file.metrics_mode.as_deref(), file.metrics_group.as_deref());
        if file.metrics.is_none() && (mode.is_some() || group.is_some()) {
            return Err(wrong("metrics_mode and metrics_group are for metrics"));
        }
        let metrics = file.metrics.map(|path| {
            let permissions =
                permissions(mode, METRICS_MODE).ok_or_else(|| wrong(format_args!("metrics_mode {OCTAL}")));
            Ok(Place { path, permissions: permissions?, group: group.map(group_id).transpose()? })
        });
        Self::new(file.accelerator, &directory, metrics.transpose()?)
    }

    /// Checks accelerators, from wherever.
    pub fn new(tables: Vec<AcceleratorTable>, directory: &Path, metrics: Option<Place>) -> Result<Self, SettingsError> {
        let accelerators =
            tables.into_iter().map(|table| Accelerator::new(table, directory)).collect::<Result<Vec<_>, _>>()?;
        if accelerators.is_empty() {
            return Err(wrong("no accelerator is named"));
        }
        for (at, one) in accelerators.iter().enumerate() {
            if accelerators[..at].iter().any(|other| other.name == one.name) {
                return Err(wrong(format_args!("accelerator \"{}\" is named twice", one.name)));
            }
            let mut others = accelerators[..at].iter().map(|other| &other.socket).chain(&metrics);
            if others.any(|other| other.path == one.socket.path) {
                return Err(wrong(format_args!("the socket {} is named twice", one.socket.path.display())));
            }
        }
        Ok(Self { accelerators, metrics })
    }
}

impl Accelerator {
    fn new(table: AcceleratorTable, directory: &Path) -> Result<Self, SettingsError> {
        let stem = |socket: &PathBuf| socket.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = table
            .name
            .or_else(|| table.socket.as_ref().and_then(stem))
            .ok_or_else(|| wrong("an accelerator has neither a name nor a socket"))?;
        if !(1..=NAME_SIZE).contains(&name.len()) || name.contains(['/', '\0']) {
            return Err(wrong(format_args!("the name \"{name}\" is not 1 to {NAME_SIZE} bytes without a slash")));
        }
        let of = |sentence: &str| wrong(format_args!("accelerator \"{name}\": {sentence}"));
        let default = Limits::default();
        let limits = Limits {
            sas: table.max_sas.unwrap_or(default.sas),
            groups: table.max_groups.unwrap_or(default.groups),
            batch: table.max_batch.unwrap_or(default.batch),
            bytes: table.max_bytes.unwrap_or(default.bytes),
            memory: table.max_memory.unwrap_or(default.memory),
            rate: Rate { packets: table.packets_per_second.unwrap_or(0), bytes: table.bytes_per_second.unwrap_or(0) },
        };
        if usize::try_from(limits.sas).is_ok_and(|sas| !(1..=MAX_SAS).contains(&sas)) {
            return Err(of("max_sas is not from 1 to 1048576"));
        }
        if !(1..=64).contains(&limits.batch) {
            return Err(of("max_batch is not from 1 to 64"));
        }
        if !(65_575..=1 << 26).contains(&limits.bytes) {
            return Err(of("max_bytes is not from 65575 (one packet of any length) to 67108864"));
        }
        let pairs = table.pairs.unwrap_or(2);
        if !(1..=MAX_PAIRS).contains(&pairs) {
            return Err(of("pairs is not from 1 to 31"));
        }
        let clients = match (table.mode, table.max_clients) {
            (Mode::Exclusive, None | Some(1)) => 1,
            (Mode::Exclusive, Some(_)) => return Err(of("max_clients is for mode \"shared\"")),
            (Mode::Shared, clients) => clients.unwrap_or(16),
        };
        if !(1..=MAX_CLIENTS).contains(&clients) {
            return Err(of("max_clients is not from 1 to 1024"));
        }
        let permissions = permissions(table.socket_mode.as_deref(), SOCKET_MODE);
        let group = table.socket_group.as_deref().map(group_id).transpose();
        let socket = Place {
            path: table.socket.unwrap_or_else(|| directory.join(format!("{name}.sock"))),
            permissions: permissions.ok_or_else(|| of(&format!("socket_mode {OCTAL}")))?,
            group: group.map_err(|error| of(&error.0))?,
        };
        Ok(Self {
            shared: if table.mode == Mode::Shared { clients } else { 0 },
            exclusive: table.mode == Mode::Exclusive || table.exclusive,
            clients,
            pairs,
            polling: Duration::from_micros(table.polling_us.unwrap_or(200).min(1_000_000)),
            memory: table.memory,
            limits,
            socket,
            name,
        })
    }
}

/// Permissions as they are written; None: that is no number.
fn permissions(mode: Option<&str>, default: u32) -> Option<u32> {
    mode.map_or(Some(default), |mode| u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777))
}

/// The number of a group in /etc/group, or the number that it is.
fn group_id(group: &str) -> Result<u32, SettingsError> {
    let named = || {
        let groups = fs::read_to_string("/etc/group").ok()?;
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten()
        })
    };
    group.parse().ok().or_else(named).ok_or_else(|| wrong(format_args!("there is no group \"{group}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_what_it_says() {
        let example = include_str!("../../../dist/gipsec-device.toml");
        let settings = Settings::parse(example).unwrap();
        assert_eq!(settings.accelerators.len(), 1);
        assert_eq!(settings.accelerators[0].socket.path, Path::new("/run/gipsec/ipsec0.sock"));
        // Every setting that is shown as a comment is one, and its value is the default.
        let all = example.lines().map(|line| line.strip_prefix("#! ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
        let shown = Settings::parse(&all).unwrap();
        let mut defaults = settings.accelerators[0].clone();
        defaults.socket.group = shown.accelerators[0].socket.group;
        assert_eq!(shown.accelerators[0], defaults);
        let metrics = Place { group: None, ..shown.metrics.unwrap() };
        assert_eq!(Some(metrics), settings.metrics);
    }

    #[test]
    fn what_is_wrong_is_one_sentence() {
        for (text, sentence) in [
            ("", "no accelerator is named"),
            ("[[accelerator]]", "neither a name nor a socket"),
            ("[[accelerator]]\nname = \"a-name-that-is-too-long\"", "not 1 to 15 bytes"),
            ("[[accelerator]]\nname = \"a\"\nmodus = 1", "line 3: unknown field `modus`"),
            ("[[accelerator]]\nname = \"a\"\nmode = \"both\"", "line 3: unknown variant `both`"),
            ("[[accelerator]]\nname = \"a\"\npairs = 32", "pairs is not from 1 to 31"),
            ("[[accelerator]]\nname = \"a\"\npairs = 0", "pairs is not from 1 to 31"),
            ("[[accelerator]]\nname = \"a\"\nmax_clients = 2", "max_clients is for mode \"shared\""),
            ("[[accelerator]]\nname = \"a\"\nmax_sas = 0", "max_sas is not"),
            ("[[accelerator]]\nname = \"a\"\nmax_batch = 65", "max_batch is not"),
            ("[[accelerator]]\nname = \"a\"\nmax_bytes = 1500", "max_bytes is not"),
            ("[[accelerator]]\nname = \"a\"\nsocket_mode = \"rw\"", "socket_mode is not"),
            ("[[accelerator]]\nname = \"a\"\nsocket_group = \"no such group\"", "there is no group"),
            ("[[accelerator]]\nname = \"a\"\n[[accelerator]]\nname = \"a\"", "named twice"),
            ("metrics = \"/run/gipsec/a.sock\"\n[[accelerator]]\nname = \"a\"", "named twice"),
            ("metrics_mode = \"0600\"\n[[accelerator]]\nname = \"a\"", "are for metrics"),
            ("metrics = \"/m\"\nmetrics_mode = \"x\"\n[[accelerator]]\nname = \"a\"", "metrics_mode is not"),
            ("[[accelerator", "line 1: "),
        ] {
            let error = Settings::parse(text).unwrap_err().to_string();
            assert!(error.contains(sentence) && !error.contains('\n'), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_socket_gives_a_name() {
        let table = AcceleratorTable { socket: Some("/tmp/x/ipsec7.sock".into()), ..AcceleratorTable::default() };
        let settings = Settings::new(vec![table], Path::new("/nowhere"), None).unwrap();
        assert_eq!(settings.accelerators[0].name, "ipsec7");
        assert_eq!(group_id("root").ok(), Some(0));
        assert_eq!(group_id("77").ok(), Some(77));
    }
}
