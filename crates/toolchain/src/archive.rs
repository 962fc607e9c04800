//! Unpacking an archive that somebody else made.
//!
//! Whatever it holds is hashed before it counts as sources. But a member must not be
//! written outside of the folder, nor make a device, on the way there; the first that
//! would is named, and nothing after it is unpacked.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind, Read},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use tar::EntryType;
use zip::{ZipArchive, result::ZipError};

use crate::error::{Error, IoContext, Result};

/// How the names of archives end.
const ENDS: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".crate", ".zip"];

/// Unpacks an archive whose name ends in one of [`ENDS`], and gives the folder of the
/// sources: `into`, or the one folder that the archive holds.
///
/// # Errors
/// [`Error::Input`] for another kind of file, and for a member that is neither a file
/// nor a folder nor a link, or whose place is outside of `into`; [`Error::Damaged`] when it
/// cannot be decoded; [`Error::Io`] when it cannot be read, or `into` cannot be written.
pub(crate) fn unpack(archive: &Path, into: &Path) -> Result<PathBuf> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let is_file = fs::metadata(archive).at("read", archive)?.is_file();
    if !is_file || !ENDS.iter().any(|end| name.ends_with(end)) {
        return Err(Error::Input {
            input: archive.display().to_string(),
            problem: "neither a folder nor a .tar, .tar.gz, .tgz, .crate or .zip archive".into(),
            remedy: "unpack it and pass the folder".into(),
        });
    }
    let file = fs::File::open(archive).at("open", archive)?;
    if name.ends_with(".zip") {
        unpack_zip(archive, file, into)?;
    } else if name.ends_with(".tar") {
        unpack_members(archive, file, into)?;
    } else {
        unpack_members(archive, flate2::read::GzDecoder::new(file), into)?;
    }
    let mut top = fs::read_dir(into).at("read", into)?.flatten();
    Ok(match (top.next(), top.next()) {
        (Some(only), None) if only.path().is_dir() => only.path(),
        _ => into.to_path_buf(),
    })
}

fn unpack_members(archive: &Path, content: impl Read, into: &Path) -> Result<()> {
    let mut tar = tar::Archive::new(content);
    let damaged = |source: io::Error| unreadable(archive, source);
    // In small letters, because a disk may take `Lib` and `lib` for one name.
    let mut links: BTreeSet<PathBuf> = BTreeSet::new();
    for member in tar.entries().map_err(damaged)? {
        let mut member = member.map_err(damaged)?;
        let path = member.path().map_err(damaged)?.into_owned();
        let refuse = |problem: &str| Err(refused(archive, &path, problem));
        if !stays_inside(&path) {
            return refuse("would be outside of the folder");
        }
        let small = PathBuf::from(path.to_string_lossy().to_lowercase());
        if small
            .ancestors()
            .skip(1)
            .any(|folder| links.contains(folder))
        {
            return refuse("lies behind a link of the same archive");
        }
        match member.header().entry_type() {
            EntryType::XGlobalHeader => continue,
            EntryType::Directory => {
                let folder = into.join(&path);
                fs::create_dir_all(&folder).at("create", &folder)?;
                continue;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {}
            EntryType::Symlink => {
                links.insert(small);
            }
            EntryType::Link => {
                let target = member.link_name().map_err(damaged)?;
                if !target.is_some_and(|target| stays_inside(&target)) {
                    return refuse("is a link to a file outside of the folder");
                }
            }
            EntryType::Char | EntryType::Block => return refuse("is a device"),
            EntryType::Fifo => return refuse("is a named pipe"),
            _ => return refuse("is neither a file nor a folder nor a link"),
        }
        if !member.unpack_in(into).map_err(damaged)? {
            return refuse("would be outside of the folder");
        }
    }
    Ok(())
}

/// A `.zip` archive of plain files and folders; no source that is pinned has links in one.
fn unpack_zip(archive: &Path, file: fs::File, into: &Path) -> Result<()> {
    let damaged = |error: ZipError| {
        let source = match error {
            ZipError::Io(source) => source,
            other => io::Error::new(ErrorKind::InvalidData, other),
        };
        unreadable(archive, source)
    };
    let mut zip = ZipArchive::new(io::BufReader::new(file)).map_err(damaged)?;
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).map_err(damaged)?;
        let name = member.name().map_err(damaged)?.into_owned();
        let path = Path::new(&name);
        if !stays_inside(path) {
            return Err(refused(archive, path, "would be outside of the folder"));
        }
        let place = into.join(path);
        if member.is_dir() {
            fs::create_dir_all(&place).at("create", &place)?;
            continue;
        }
        if !member.is_file() {
            return Err(refused(archive, path, "is neither a file nor a folder"));
        }
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        let mut content = Vec::new();
        member
            .read_to_end(&mut content)
            .map_err(|source| unreadable(archive, source))?;
        fs::write(&place, content).at("write", &place)?;
        if member.unix_mode().is_some_and(|mode| mode & 0o111 != 0) {
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&place, executable).at("change the mode of", &place)?;
        }
    }
    Ok(())
}

fn refused(archive: &Path, member: &Path, problem: &str) -> Error {
    Error::Input {
        input: archive.display().to_string(),
        problem: format!("its member {} {problem}", member.display()),
        remedy: "pack the plain folder anew, or pass the folder".into(),
    }
}

/// The error of an archive that is damaged, or else of the file system.
fn unreadable(archive: &Path, source: io::Error) -> Error {
    let archive = archive.to_path_buf();
    match source.kind() {
        // `tar` and `flate2` give these for bytes that are no archive.
        ErrorKind::InvalidData
        | ErrorKind::InvalidInput
        | ErrorKind::UnexpectedEof
        | ErrorKind::Other => Error::Damaged { archive, source },
        _ => Error::Io {
            action: "unpack",
            path: archive,
            source,
        },
    }
}

/// Whether a member's name leads down and never up.
fn stays_inside(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
