//! Sockets at which nobody answers.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use gipsec_virtio::transport::vhost_user::{VhostUser, probe};

/// A socket that nobody looks at, with a line of callers of that length, and who is in it.
fn deaf(name: &str, line: i32) -> (PathBuf, UnixListener) {
    let path = std::env::temp_dir().join(format!("gipsec-{}-{name}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, line).unwrap();
    (path, listener)
}

#[test]
fn who_does_not_answer_is_not_waited_for_long() {
    let (silent, _silent) = deaf("silent", 16);
    let (full, _full) = deaf("full", 0);
    let _first = UnixStream::connect(&full).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for path in [&silent, &full] {
            scope.spawn(|| assert!(probe(path).is_err()));
            scope.spawn(|| assert!(VhostUser::open(path, 1 << 20).is_err()));
        }
    });
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    for path in [silent, full] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_socket_that_was_left_behind_is_said_to_be_so() {
    let (path, listener) = deaf("left", 1);
    drop(listener);
    let why = probe(&path).unwrap_err().0;
    assert_eq!(why, format!("nobody listens at {}", path.display()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(probe(&path).unwrap_err().0, why);
}
