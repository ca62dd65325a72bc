//! Threads of this library's own, in the application's process.

use std::{
    io,
    thread::{Builder, JoinHandle},
};

use nix::sys::signal::{SigSet, SigmaskHow};

/// Starts a thread in which no signal is delivered: signals are the application's, for its own threads. A thread
/// inherits the mask of the one that starts it.
pub fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = Builder::new().name(name.to_owned()).spawn(body);
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    started
}
