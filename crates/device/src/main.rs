//! The command line of gipsec-device.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{ArgGroup, Parser};
use gipsec_device::{
    daemon,
    memory::MemoryRule,
    settings::{AcceleratorTable, METRICS_MODE, Mode, Settings, SettingsError},
    socket::Place,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Serves virtio IPsec devices over vhost-user sockets.
#[derive(Parser)]
#[command(name = "gipsec-device", version, about)]
#[command(group = ArgGroup::new("what").required(true).args(["config", "socket"]))]
struct Arguments {
    /// Read accelerators from this file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve one accelerator at this socket; its name is the file's without the extension
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Who may attach to it
    #[arg(long, value_enum, default_value_t, requires = "socket")]
    mode: Mode,
    /// Clients at most, in mode shared [default: 16]
    #[arg(long, value_name = "N", requires = "socket")]
    max_clients: Option<usize>,
    /// In mode shared: whether one client may have all of it, while nobody else is attached
    #[arg(long, requires = "socket")]
    exclusive: bool,
    /// Pairs of data queues, each with a thread for each client [default: 2]
    #[arg(long, value_name = "N", requires = "socket")]
    pairs: Option<usize>,
    /// SAs of a client at most [default: 65536]
    #[arg(long, value_name = "N", requires = "socket")]
    max_sas: Option<u32>,
    /// Microseconds for which a worker looks for more work at most before it sleeps; 0: never [default: 200]
    #[arg(long, value_name = "N", requires = "socket")]
    polling_us: Option<u64>,
    /// Which memory clients may pass
    #[arg(long, value_enum, default_value_t, requires = "socket")]
    memory: MemoryRule,
    /// Bytes of memory that a client may pass; a virtual machine passes all of its own [default: 1073741824]
    #[arg(long, value_name = "BYTES", requires = "socket")]
    max_memory: Option<u64>,
    /// Permissions of the socket, octal [default: 0660]
    #[arg(long, value_name = "MODE", requires = "socket")]
    socket_mode: Option<String>,
    /// Group of the socket, a name or a number
    #[arg(long, value_name = "GROUP", requires = "socket")]
    socket_group: Option<String>,
    /// Serve statistics in Prometheus' text form at this socket
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    metrics: Option<PathBuf>,
    /// What is logged to stderr: error, warn, info, debug or trace [default: GIPSEC_LOG, then info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LevelFilter>,
}

impl Arguments {
    fn settings(&self) -> Result<Settings, SettingsError> {
        if let Some(file) = &self.config {
            return Settings::read(file);
        }
        let table = AcceleratorTable {
            socket: self.socket.clone(),
            mode: self.mode,
            max_clients: self.max_clients,
            exclusive: self.exclusive,
            pairs: self.pairs,
            max_sas: self.max_sas,
            polling_us: self.polling_us,
            memory: self.memory,
            max_memory: self.max_memory,
            socket_mode: self.socket_mode.clone(),
            socket_group: self.socket_group.clone(),
            ..AcceleratorTable::default()
        };
        let metrics = self.metrics.clone().map(|path| Place { path, permissions: METRICS_MODE, group: None });
        Settings::new(vec![table], "".as_ref(), metrics)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = match arguments.log_level {
        Some(level) => EnvFilter::default().add_directive(level.into()),
        None => EnvFilter::builder()
            .with_default_directive(LevelFilter::INFO.into())
            .with_env_var("GIPSEC_LOG")
            .from_env_lossy(),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let result = arguments
        .settings()
        .map_err(daemon::StartError::from)
        .and_then(|settings| daemon::run(settings, arguments.config.as_deref()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gipsec-device: {error}.");
            ExitCode::FAILURE
        }
    }
}
