//! Files that only this user can have written. What a provider finds in a fabric's folder
//! decides where it reads and writes memory, so it uses no other files.

use std::{
    ffi::OsStr,
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, open as open_folder, openat},
    io::Errno,
    process::geteuid,
};

/// The error for a file or folder that is not trusted. It is wrapped in an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{} {why}; launch the fabric as the user of this process, and leave its folder as it is",
    path.display()
)]
pub struct Untrusted {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Flaw,
}

/// What is wrong with a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is a symbolic link.
    #[error("is a symbolic link")]
    Link,
    /// It is a device, a pipe, or a folder where a file was expected.
    #[error("is no regular file")]
    NotFile,
    /// It is something else, or a link, where a folder was expected.
    #[error("is no folder")]
    NotFolder,
    /// Another user owns it, and may change it at any time.
    #[error("belongs to user {owner}, and this process to user {user}")]
    Owner {
        /// The user that owns it.
        owner: u32,
        /// The user of this process.
        user: u32,
    },
    /// Other users may read or write it.
    #[error("is open to other users (mode {0:03o})")]
    Open(u32),
}

/// Makes a file that only this user can open. There must be no file of that name.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Makes such a file with this text in it.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    create(path)?.write_all(text.as_bytes())
}

/// Reads a file that [`open`] accepts.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    io::read_to_string(open(path)?)
}

/// Opens a file for reading and writing, if it and its folder are private.
///
/// # Errors
/// [`Untrusted`] if they are not private, or the error of the system.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or(OsStr::new(""));
    // The file is opened relative to the folder that was checked, wherever its path leads
    // by then. `NONBLOCK` keeps the open from waiting for a pipe in the file's place.
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let only = OFlags::RDONLY | OFlags::DIRECTORY | flags;
    let folder =
        open_folder(parent, only, Mode::empty()).map_err(|errno| refused(parent, errno))?;
    let folder = File::from(folder);
    check(parent, &folder.metadata()?)?;
    let file = openat(&folder, name, OFlags::RDWR | flags, Mode::empty());
    let file = File::from(file.map_err(|errno| refused(path, errno))?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(untrusted(path, Flaw::NotFile));
    }
    check(path, &found)?;
    Ok(file)
}

fn check(path: &Path, found: &Metadata) -> io::Result<()> {
    let user = geteuid().as_raw();
    let owner = found.uid();
    let mode = found.mode() & 0o777;
    let why = if owner != user {
        Flaw::Owner { owner, user }
    } else if mode & 0o077 != 0 {
        Flaw::Open(mode)
    } else {
        return Ok(());
    };
    Err(untrusted(path, why))
}

fn refused(path: &Path, errno: Errno) -> io::Error {
    match errno {
        // The error with `NOFOLLOW` for a link, and with `DIRECTORY` for everything but a
        // folder.
        Errno::LOOP => untrusted(path, Flaw::Link),
        Errno::NOTDIR => untrusted(path, Flaw::NotFolder),
        // The error for opening a folder or a socket for writing.
        Errno::ISDIR | Errno::NXIO => untrusted(path, Flaw::NotFile),
        errno => errno.into(),
    }
}

fn untrusted(path: &Path, why: Flaw) -> io::Error {
    let path = path.to_owned();
    io::Error::new(io::ErrorKind::PermissionDenied, Untrusted { path, why })
}

/// A folder for tests, made as a launcher makes it.
#[cfg(test)]
pub(crate) fn folder() -> tempfile::TempDir {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    let private = Permissions::from_mode(0o700);
    let mut builder = tempfile::Builder::new();
    builder.permissions(private).tempdir().expect("a folder")
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::{
            fs::{PermissionsExt, chown, symlink},
            net::UnixListener,
        },
        process::Command,
    };

    use super::*;

    /// The reason why `name` is refused in a private folder that `make` has filled.
    fn flaw(name: &str, make: impl FnOnce(&Path)) -> Flaw {
        let folder = folder();
        make(folder.path());
        let error = open(&folder.path().join(name)).expect_err("not to be trusted");
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let Some(Untrusted { why, .. }) = inner else {
            panic!("{error}");
        };
        *why
    }

    #[test]
    fn what_was_made_here_is_opened() {
        let folder = folder();
        let path = folder.path().join("file");
        create(&path).expect("made");
        open(&path).expect("private");
        assert!(create(&path).is_err(), "it is there");
    }

    #[test]
    fn what_is_open_to_others_is_refused() {
        let opened = |path: &Path| {
            let file = path.join("file");
            create(&file).expect("made");
            let mode = Permissions::from_mode(0o640);
            fs::set_permissions(&file, mode).expect("changed");
        };
        assert_eq!(flaw("file", opened), Flaw::Open(0o640));
        let folder = |path: &Path| {
            create(&path.join("file")).expect("made");
            let mode = Permissions::from_mode(0o755);
            fs::set_permissions(path, mode).expect("changed");
        };
        assert_eq!(flaw("file", folder), Flaw::Open(0o755));
    }

    #[test]
    fn links_are_not_followed() {
        let file = |path: &Path| {
            create(&path.join("file")).expect("made");
            symlink(path.join("file"), path.join("link")).expect("linked");
        };
        assert_eq!(flaw("link", file), Flaw::Link);
        let folder = |path: &Path| symlink(path, path.join("link")).expect("linked");
        assert_eq!(flaw("link/file", folder), Flaw::NotFolder);
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = |path: &Path| fs::create_dir(path.join("it")).expect("made");
        assert_eq!(flaw("it", folder), Flaw::NotFile);
        let socket = |path: &Path| drop(UnixListener::bind(path.join("it")).expect("made"));
        assert_eq!(flaw("it", socket), Flaw::NotFile);
        let pipe = |path: &Path| {
            let mut made = Command::new("mkfifo");
            assert!(
                made.arg(path.join("it"))
                    .status()
                    .expect("it runs")
                    .success()
            );
        };
        assert_eq!(flaw("it", pipe), Flaw::NotFile);
    }

    /// Only root can give a file away. The tests run as root in a container.
    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let given = |path: &Path| {
            create(&path.join("file")).expect("made");
            chown(path.join("file"), Some(1), None).expect("given");
        };
        let foreign = Flaw::Owner { owner: 1, user: 0 };
        assert_eq!(flaw("file", given), foreign);
    }

    #[test]
    fn the_message_names_the_file_and_the_remedy() {
        let error = untrusted(Path::new("/dev/shm/it"), Flaw::Open(0o644)).to_string();
        assert_eq!(
            error,
            "/dev/shm/it is open to other users (mode 644); launch the fabric as the \
             user of this process, and leave its folder as it is"
        );
    }
}
