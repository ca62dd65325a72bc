//! Socket files: made where nobody listens, taken away when they are still ours.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Gid, chown};

/// A socket file. It goes when this is dropped.
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

/// Listens at `path`. A file that a process left behind is replaced; anything else there is an error.
pub fn listen(path: &Path, permissions: u32, group: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    clear(path)?;
    // With no rights for others until they are set: the daemon's umask.
    let listener = UnixListener::bind(path)?;
    let metadata = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.into(), inode: (metadata.dev(), metadata.ino()) };
    if let Some(group) = group {
        chown(path, None, Some(Gid::from_raw(group)))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(permissions))?;
    Ok((listener, file))
}

fn clear(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
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

    #[test]
    fn a_file_that_nobody_listens_at_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, file) = listen(&path, 0o620, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        assert_eq!(listen(&path, 0o600, None).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_ours_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        fs::write(&path, "x").unwrap();
        assert_eq!(listen(&path, 0o600, None).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        let (_listener, file) = listen(&path, 0o600, None).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists(), "somebody else's");
    }
}
