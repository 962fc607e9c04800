//! Removes entries that are no longer needed.

use std::{fs, path::Path};

use crate::{
    Kind, Store, disk,
    error::{IoContext, Result},
};

/// Something that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freed {
    /// Its kind.
    pub kind: Kind,
    /// Its name in the kind's folder.
    pub name: String,
    /// The space it took on the disk.
    pub bytes: u64,
}

impl Store {
    /// Removes every source tree, tool set, build and note that `keep` does not name, all
    /// of `work/` and `tmp/`, files that are not entries, and the lock files. Returns
    /// what it removed, or with `dry_run` what it would remove.
    ///
    /// A dry run takes no lock: its result may be out of date at once.
    ///
    /// # Errors
    /// [`Error::InUse`](crate::Error::InUse) while any process uses the store, unless
    /// `dry_run`; [`Error::Io`](crate::Error::Io) when something cannot be removed.
    pub fn collect(&self, keep: impl Fn(Kind, &str) -> bool, dry_run: bool) -> Result<Vec<Freed>> {
        let root = self.root()?;
        if !root.is_dir() {
            return Ok(Vec::new());
        }
        let _seized = match dry_run {
            true => None,
            false => Some(self.seize()?),
        };
        let mut freed = Vec::new();
        for kind in Kind::ALL {
            let folder = root.join(kind.folder());
            let entries = self.keys(kind);
            let mut names = disk::names(&folder);
            names.sort();
            for name in names {
                let may_stay = !matches!(kind, Kind::Work | Kind::Scratch);
                if may_stay && entries.contains(&name) && keep(kind, &name) {
                    continue;
                }
                let path = folder.join(&name);
                let bytes = disk::bytes(&path);
                if !dry_run {
                    unname(root, kind, &path, freed.len())?;
                }
                freed.push(Freed { kind, name, bytes });
            }
        }
        if !dry_run {
            // No process can hold or wait for one of them, because that takes the store's
            // shared lock.
            let locks = root.join("locks");
            disk::remove(&locks).at("remove", &locks)?;
        }
        Ok(freed)
    }
}

/// Removes what is at `path`. If the process is killed, it is left complete or in `tmp/`,
/// never in part under its name.
fn unname(root: &Path, kind: Kind, path: &Path, number: usize) -> Result<()> {
    if kind == Kind::Scratch {
        return disk::remove(path).at("remove", path);
    }
    let tmp = root.join(Kind::Scratch.folder());
    fs::create_dir_all(&tmp).at("create", &tmp)?;
    let gone = tmp.join(format!("gone-{}-{number}", std::process::id()));
    // Left by a killed process that had the same number.
    disk::remove(&gone).at("remove", &gone)?;
    fs::rename(path, &gone).at("move away", path)?;
    disk::remove(&gone).at("remove", &gone)
}
