//! All accelerators of the process, and the signals that change them. The main thread runs this.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use rustix::fs::Mode;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    accelerator::Accelerator,
    backend::DRAIN,
    descriptors,
    metrics::{Accelerators, Metrics},
    settings::{self, Settings, SettingsError},
    socket::Place,
};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What the operator said.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// A socket that cannot be made.
    #[error("cannot listen at {0}: {1}")]
    Listen(PathBuf, io::Error),
    /// Signals cannot be handled.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
}

/// Runs until SIGTERM or SIGINT; `file` is read again on SIGHUP.
pub fn run(settings: Settings, file: Option<&Path>) -> Result<(), StartError> {
    // Sockets get their permissions before anybody can use them.
    rustix::process::umask(Mode::from_raw_mode(0o177));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(StartError::Signals)?;
    descriptors::provide(&settings);
    let accelerators = Accelerators::default();
    for one in settings.accelerators {
        start(&accelerators, one)?;
    }
    let mut metrics = None;
    change_metrics(&mut metrics, settings.metrics, &accelerators)?;
    eprintln!("ready");
    tell_service_manager("READY=1");
    for signal in &mut signals {
        if signal != SIGHUP {
            break;
        }
        match file {
            None => tracing::warn!("There is no file to read again; what the command line said stays."),
            Some(file) => match Settings::read(file) {
                Ok(settings) => reload(&accelerators, &mut metrics, settings),
                Err(error) => tracing::error!("The old settings stay: {error}."),
            },
        }
    }
    tell_service_manager("STOPPING=1");
    tracing::info!("Ending: requests that were taken are completed.");
    drop(metrics.take());
    let gone = std::mem::take(&mut *accelerators.lock());
    end(gone);
    Ok(())
}

type OneMetrics = Option<(Place, Metrics)>;

fn start(accelerators: &Arc<Mutex<Vec<Accelerator>>>, settings: settings::Accelerator) -> Result<(), StartError> {
    let (name, socket) = (settings.name.clone(), settings.socket.path.clone());
    let accelerator = Accelerator::start(settings).map_err(|error| StartError::Listen(socket.clone(), error))?;
    tracing::info!("Accelerator {name} listens at {}.", socket.display());
    if socket.extension().is_none_or(|extension| extension != "sock") {
        tracing::warn!("The library does not find {}: its name does not end in \".sock\".", socket.display());
    }
    accelerators.lock().push(accelerator);
    Ok(())
}

fn change_metrics(
    metrics: &mut OneMetrics,
    place: Option<Place>,
    accelerators: &Accelerators,
) -> Result<(), StartError> {
    if metrics.as_ref().map(|(place, _)| place) == place.as_ref() {
        return Ok(());
    }
    // The old socket goes first: it may be the same file by another name.
    drop(metrics.take());
    if let Some(place) = place {
        let started = Metrics::start(&place, accelerators.clone());
        let started = started.map_err(|error| StartError::Listen(place.path.clone(), error))?;
        *metrics = Some((place, started));
    }
    Ok(())
}

/// Makes it as the new settings say. What cannot be made is told, and the rest goes on.
fn reload(accelerators: &Accelerators, metrics: &mut OneMetrics, settings: Settings) {
    descriptors::provide(&settings);
    let named = |old: &settings::Accelerator| settings.accelerators.iter().find(|new| new.name == old.name);
    let stays = |old: &settings::Accelerator| named(old).is_some_and(|new| new.socket.path == old.socket.path);
    let gone: Vec<Accelerator> = {
        let mut all = accelerators.lock();
        let (kept, gone) = all.drain(..).partition(|accelerator| stays(&accelerator.settings()));
        *all = kept;
        gone
    };
    for accelerator in &gone {
        let old = accelerator.settings();
        match named(&old) {
            None => tracing::info!("Accelerator {} is no longer named and ends.", old.name),
            Some(new) => tracing::info!(
                "Accelerator {} moves from {} to {}: its clients are disconnected.",
                old.name,
                old.socket.path.display(),
                new.socket.path.display()
            ),
        }
    }
    end(gone);
    for new in settings.accelerators {
        let known = {
            let all = accelerators.lock();
            let known = all.iter().find(|accelerator| accelerator.settings().name == new.name);
            known.map(|accelerator| accelerator.change(new.clone()))
        };
        match known {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!("The socket of accelerator {} stays as it was: {error}.", new.name);
            }
            None => {
                if let Err(error) = start(accelerators, new) {
                    tracing::error!("An accelerator is missing: {error}.");
                }
            }
        }
    }
    if let Err(error) = change_metrics(metrics, settings.metrics, accelerators) {
        tracing::error!("There are no statistics: {error}.");
    }
    tracing::info!("The settings were read again.");
}

fn end(mut gone: Vec<Accelerator>) {
    gone.iter_mut().for_each(Accelerator::stop);
    // One for all: those that do not end do not add up.
    let deadline = Instant::now() + DRAIN;
    gone.into_iter().for_each(|accelerator| accelerator.finish(deadline));
}

/// Tells systemd, if it wants to know (sd_notify(3)).
fn tell_service_manager(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let told = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop));
    if let Err(error) = told {
        tracing::warn!("The service manager cannot be told \"{state}\": {error}.");
    }
}
