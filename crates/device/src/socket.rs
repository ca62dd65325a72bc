//! Socket files: made where nobody listens, taken away when they are still ours.

use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, chownat, fstat, open};

/// Where somebody listens, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Its permissions.
    pub permissions: u32,
    /// Its group.
    pub group: Option<u32>,
}

/// A socket file. It goes when this is dropped.
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

/// Listens. A file that a process left behind is replaced; anything else there is an error.
pub fn listen(place: &Place) -> io::Result<(UnixListener, SocketFile)> {
    clear(&place.path)?;
    // With no rights for others until they are set: the daemon's umask.
    let listener = UnixListener::bind(&place.path)?;
    let inode = give(place, None)?;
    Ok((listener, SocketFile { path: place.path.clone(), inode }))
}

/// Sets permissions and group of the socket that is there, and of nothing else: neither what a link leads to, nor another
/// file than `inode`. What it is.
fn give(place: &Place, inode: Option<(u64, u64)>) -> io::Result<(u64, u64)> {
    let file = open(&place.path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let status = fstat(&file)?;
    let found = (status.st_dev, status.st_ino);
    if FileType::from_raw_mode(status.st_mode) != FileType::Socket || inode.is_some_and(|inode| inode != found) {
        return Err(io::Error::other("somebody has put another file there"));
    }
    if let Some(group) = place.group {
        chownat(&file, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH)?;
    }
    let ours = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(ours, fs::Permissions::from_mode(place.permissions))?;
    Ok(found)
}

fn clear(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
    }
    // Who listens may never accept.
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(caller.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(nix::Error::ECONNREFUSED) => fs::remove_file(path),
        Ok(()) | Err(nix::Error::EAGAIN) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"))
        }
        Err(error) => Err(error.into()),
    }
}

impl SocketFile {
    /// Changes its permissions and its group.
    pub fn change(&self, place: &Place) -> io::Result<()> {
        give(place, Some(self.inode)).map(drop)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.inode);
        if ours {
            // When it is gone meanwhile, so much the better.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn place(path: &Path, permissions: u32) -> Place {
        Place { path: path.into(), permissions, group: None }
    }

    #[test]
    fn a_file_that_nobody_listens_at_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, file) = listen(&place(&path, 0o620)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        assert_eq!(listen(&place(&path, 0o600)).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_ours_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        fs::write(&path, "x").unwrap();
        assert_eq!(listen(&place(&path, 0o600)).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        let (_listener, file) = listen(&place(&path, 0o600)).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists(), "somebody else's");
    }

    #[test]
    fn permissions_change_of_what_is_ours_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let (_listener, file) = listen(&place(&path, 0o600)).unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        file.change(&place(&path, 0o666)).unwrap();
        assert_eq!(mode(&path), 0o666);
        let other = directory.path().join("other");
        fs::write(&other, "x").unwrap();
        let before = mode(&other);
        fs::rename(&path, directory.path().join("b.sock")).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(file.change(&place(&path, 0o606)).is_err());
        assert_eq!(mode(&other), before);
    }

    #[test]
    fn who_listens_without_accepting_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        // As long as the queue has room, and once more.
        let _waiting: Vec<UnixStream> = std::iter::from_fn(|| {
            let caller = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
            connect(caller.as_raw_fd(), &UnixAddr::new(&path).unwrap()).ok().map(|()| caller.into())
        })
        .collect();
        assert_eq!(listen(&place(&path, 0o600)).err().unwrap().kind(), io::ErrorKind::AddrInUse);
    }
}
