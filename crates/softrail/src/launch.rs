//! The launcher's side: makes the folder and the shared memory of a fabric, configures
//! processes to use them, and removes them.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File, Permissions},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::SocketAddrV4,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rig::{Rig, RigError};
use tempfile::TempDir;

use crate::{
    config::{FABRIC_VARIABLE, NODE_VARIABLE, RIG_FILE, cable_file},
    counters,
    live::{Live, LiveError},
    platform::{self, LIBRARY, LIBRARY_PATH, PROVIDER},
    private,
    process::Process,
    script::{Player, Script, Step},
    shm::{SharedCable, ShmError, Side},
};

/// The start of a fabric folder's name. The number of the process that makes it and
/// random characters follow.
pub(crate) const PREFIX: &str = "softrail-";

/// A launcher locks this file for as long as it lives; the system unlocks it however the
/// launcher ends. The process number inside is for people.
const OWNER_FILE: &str = "owner";

/// A fabric that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// A folder or file could not be made.
    #[error("cannot create {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The shared memory of a cable could not be made.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// The folder is on a file system that is too full.
    #[error(
        "{} has {available} bytes free, and {cables} cables may take {needed}",
        path.display()
    )]
    Full {
        /// The folder.
        path: PathBuf,
        /// Bytes free there.
        available: u64,
        /// Cables of the rig.
        cables: usize,
        /// Bytes that the cables take when jaccl uses them all.
        needed: u64,
    },
    /// A fault that the rig declares from the start cannot be injected.
    #[error("the rig's faults cannot be emulated")]
    Fault(#[source] Box<LiveError>),
    /// The rig is invalid.
    #[error("the rig cannot be emulated")]
    Rig(#[from] RigError),
    /// The provider's shared library is not where cargo puts it.
    #[error("{PROVIDER} is not in {searched}")]
    NoProvider {
        /// The places that were searched.
        searched: String,
    },
}

impl FabricError {
    /// Whether another rig would help. Otherwise the system refused.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Rig(_) => true,
            Self::Fault(error) => error.is_input(),
            _ => false,
        }
    }

    /// The remedy.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Io { .. } => "name a folder for fabrics that can be written",
            Self::Shm(error) => return error.help(),
            Self::Full { .. } => "free some, or name another folder for fabrics",
            Self::Fault(error) => return error.help(),
            Self::Rig(_) => return None,
            Self::NoProvider { .. } => "build it with `cargo build -p softrail-provider`",
        };
        Some(help.to_owned())
    }
}

/// An emulated rig: a folder with the rig and the shared memory of its cables.
/// Dropping it removes the folder.
#[derive(Debug)]
pub struct Fabric {
    live: Arc<Live>,
    /// The steps of the rig's faults that are still to come.
    script: Script,
    folder: TempDir,
    _owner: File,
}

impl Fabric {
    /// Makes a fresh fabric for `rig` in a folder of its own below `parent`
    /// ([`default_parent`] is the usual one). Fabrics below `parent` whose
    /// launchers have died are removed first.
    ///
    /// # Errors
    /// When the rig fails its checks or the folder cannot be written.
    pub fn create(parent: &Path, rig: &Rig) -> Result<Self, FabricError> {
        rig.check()?;
        sweep(parent);
        check_room(parent, rig.cables.len())?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(|source| FabricError::Io {
                path: parent.to_owned(),
                source,
            })?;
        let owner = lock_owner(folder.path())?;
        let cables = rig
            .cables
            .iter()
            .enumerate()
            .map(|(index, cable)| {
                let shared = SharedCable::create(&cable_file(folder.path(), index))?;
                for side in Side::BOTH {
                    shared.end(side).condition.set_link(&cable.link);
                }
                Ok(shared)
            })
            .collect::<Result<_, ShmError>>()?;
        let live = Live::new(folder.path().to_owned(), rig.clone(), cables);
        let mut script = Script::of(rig);
        while let Some(step) = script.due(Duration::ZERO) {
            let done = live.apply(&step.defect, step.breaks);
            done.map_err(|error| FabricError::Fault(Box::new(error)))?;
        }
        // Last, because a provider takes it as the sign that the fabric is complete.
        let path = folder.path().join(RIG_FILE);
        private::write(&path, &rig.to_toml()).map_err(|source| FabricError::Io { path, source })?;
        Ok(Fabric {
            live: Arc::new(live),
            script,
            folder,
            _owner: owner,
        })
    }

    /// Starts playing the rig's timed faults, counted from now. Call it when the
    /// processes are started. Calls back with the result of each step.
    pub fn play(&self, tell: impl FnMut(&Step, Result<(), LiveError>) + Send + 'static) -> Player {
        Player::start(Arc::clone(&self.live), self.script.clone(), tell)
    }

    /// Access to what the cables carry, and to changing their condition.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The address at which rank 0 of a job on this fabric may listen for the others.
    ///
    /// jaccl shares its port (`SO_REUSEPORT` in `tcp.cpp`). Two jobs that found the same
    /// port free would both get it, and each other's ranks. So every fabric has a
    /// loopback address of its own, made from its folder's name, where the system has
    /// more than one. The port is below those that the system gives to outgoing
    /// connections.
    pub fn coordinator(&self) -> SocketAddrV4 {
        let mut hasher = DefaultHasher::new();
        self.path().hash(&mut hasher);
        let [a, b, c, high, low, ..] = hasher.finish().to_be_bytes();
        SocketAddrV4::new(
            platform::loopback([a, b, c]),
            20_000 + u16::from_be_bytes([high, low]) % 10_000,
        )
    }

    /// The variables that place a process on a node of the fabric.
    pub fn env(&self, node: &str) -> Vec<(String, String)> {
        vec![
            (
                FABRIC_VARIABLE.to_owned(),
                self.path().display().to_string(),
            ),
            (NODE_VARIABLE.to_owned(), node.to_owned()),
        ]
    }

    /// The variables that make a process open `provider` (see [`provider_library`]) as
    /// its libibverbs.
    ///
    /// # Errors
    /// When the link to the provider cannot be made in the fabric's folder.
    pub fn provider_env(&self, provider: &Path) -> Result<Vec<(String, String)>, FabricError> {
        let folder = self.path().join("lib");
        let link = folder.join(LIBRARY);
        if !link.exists() {
            let io = |source| FabricError::Io {
                path: link.clone(),
                source,
            };
            fs::create_dir_all(&folder).map_err(io)?;
            symlink(fs::canonicalize(provider).map_err(io)?, &link).map_err(io)?;
        }
        Ok(first_in_path(&folder))
    }

    /// The variables for a process that must find no libibverbs, though the system may
    /// have one. The first file of that name on its loader's path is not a library, and
    /// glibc's loader gives up there (`open_verify` in `elf/dl-load.c`).
    ///
    /// # Errors
    /// When the file cannot be made in the fabric's folder.
    pub fn no_library_env(&self) -> Result<Vec<(String, String)>, FabricError> {
        let folder = self.path().join("no-lib");
        let path = folder.join(LIBRARY);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, NO_LIBRARY))
            .map_err(|source| FabricError::Io { path, source })?;
        Ok(first_in_path(&folder))
    }

    /// The bytes that each cable has carried so far, both directions together.
    pub fn cable_bytes(&self) -> BTreeMap<String, u64> {
        counters::by_cable(self.live.counters())
    }
}

/// Longer than the header of a library, so that a loader reads the contents.
const NO_LIBRARY: &str = "This file is no library, so that whoever opens it as libibverbs finds \
                          none: see Fabric::no_library_env of softrail.\n";

/// The variable that makes a loader search a folder before others.
fn first_in_path(folder: &Path) -> Vec<(String, String)> {
    let mut search = folder.display().to_string();
    if let Some(inherited) = env::var(LIBRARY_PATH).ok().filter(|path| !path.is_empty()) {
        search = format!("{search}:{inherited}");
    }
    vec![(LIBRARY_PATH.to_owned(), search)]
}

/// The default parent folder of fabrics: one in memory where the system has it, else the
/// folder for temporary files.
pub fn default_parent() -> PathBuf {
    parent_in(platform::MEMORY.map(Path::new))
}

/// macOS has no folder in memory, and a container may lack `/dev/shm`.
fn parent_in(memory: Option<&Path>) -> PathBuf {
    let memory = memory.filter(|folder| folder.is_dir());
    memory.map_or_else(env::temp_dir, Path::to_path_buf)
}

/// The shared library of `softrail-provider`, for [`Fabric::provider_env`]. Cargo puts it
/// beside the programs of the same target folder or in `deps` below. A test program,
/// itself in `deps`, finds it there or one folder up.
///
/// # Errors
/// When it is in none of these places.
pub fn provider_library() -> Result<PathBuf, FabricError> {
    let exe = env::current_exe().map_err(|source| FabricError::Io {
        path: "the running program".into(),
        source,
    })?;
    let folder = exe.parent().unwrap_or(Path::new("."));
    let candidates = [folder.join("deps"), folder.to_owned(), folder.join("..")]
        .map(|folder| folder.join(PROVIDER));
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(FabricError::NoProvider {
            searched: folder.display().to_string(),
        }),
    }
}

/// Refuses a file system that would run full during a run: the programs' queue pairs could
/// not be made then.
fn check_room(parent: &Path, cables: usize) -> Result<(), FabricError> {
    let io = |errno: rustix::io::Errno| FabricError::Io {
        path: parent.to_owned(),
        source: errno.into(),
    };
    let system = rustix::fs::statvfs(parent).map_err(io)?;
    let available = system.f_bavail.saturating_mul(system.f_frsize);
    let needed = cables as u64 * SharedCable::USUAL_BYTES;
    if available < needed {
        let path = parent.to_owned();
        return Err(FabricError::Full {
            path,
            available,
            cables,
            needed,
        });
    }
    Ok(())
}

/// Marks a folder as owned. The file gets its name only after it is locked. Otherwise
/// another launcher that sweeps meanwhile would take the folder for a dead launcher's.
fn lock_owner(folder: &Path) -> Result<File, FabricError> {
    let path = folder.join(OWNER_FILE);
    let unlocked = path.with_extension("new");
    let locked = || -> io::Result<File> {
        let mut file = private::create(&unlocked)?;
        file.try_lock()?;
        io::Write::write_all(&mut file, format!("{}\n", std::process::id()).as_bytes())?;
        fs::rename(&unlocked, &path)?;
        Ok(file)
    };
    locked().map_err(|source| FabricError::Io { path, source })
}

/// Removes the fabrics of launchers that died without removing them. Those of other users
/// stay, as does everything that a launcher did not make.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if is_abandoned(&entry.path()) {
            // Another launcher may sweep at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a folder is a fabric of this user that no running launcher owns.
fn is_abandoned(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    match private::open(&folder.join(OWNER_FILE)) {
        Ok(owner) => owner.try_lock().is_ok(),
        // A folder that is not locked yet, or is being removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let maker = rest.split_once('-').and_then(|(pid, _)| pid.parse().ok());
            maker.is_some_and(|pid| !Process::numbered(pid).is_alive())
        }
        Err(_) => false,
    }
}

/// Whether a running launcher has locked the folder.
pub(crate) fn is_owned(folder: &Path) -> bool {
    let owner = private::open(&folder.join(OWNER_FILE));
    owner.is_ok_and(|owner| owner.try_lock().is_err())
}

#[cfg(test)]
mod tests {
    use rig::{CableFault, Defect, DeviceFault, Fault};

    use super::*;

    /// As on macOS, and in a container without `/dev/shm`: cables are files then.
    #[test]
    fn where_no_folder_is_in_memory_fabrics_are_among_temporary_files() {
        for memory in [None, Some(Path::new("/no/such/folder"))] {
            let parent = parent_in(memory);
            assert_eq!(parent, env::temp_dir());
            let fabric = Fabric::create(&parent, &Rig::embedded()).expect("a fabric");
            assert!(fabric.path().starts_with(&parent));
        }
    }

    #[test]
    fn a_fabric_is_there_until_it_is_dropped() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let fabric = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
        let folder = fabric.path().to_owned();
        assert_eq!(
            crate::config::devices(&folder, "a").expect("node a").len(),
            3
        );
        assert_eq!(
            fabric.cable_bytes(),
            [("cable-1", 0), ("cable-2", 0), ("cable-3", 0)]
                .map(|(n, b)| (n.to_owned(), b))
                .into()
        );
        drop(fabric);
        assert!(!folder.exists());
    }

    #[test]
    fn cables_begin_as_the_rig_says() {
        let mut rig = Rig::embedded();
        let on_second = |kind| {
            Fault::from(Defect::Cable {
                cable: "cable-2".to_owned(),
                kind,
            })
        };
        let degraded = CableFault::Degraded {
            bandwidth: Some(7),
            latency: None,
        };
        let down = Defect::Device {
            device: rig.cables[1].ends[1].clone(),
            kind: DeviceFault::PortDown,
        };
        rig.faults = vec![on_second(CableFault::Cut), on_second(degraded), down.into()];
        let parent = tempfile::tempdir().expect("a temporary folder");
        let fabric = Fabric::create(parent.path(), &rig).expect("a fabric");
        for told in fabric.live().counters() {
            let second = told.cable == "cable-2";
            assert_eq!(told.bytes_per_second, if second { 7 } else { 50_000_000 });
            assert_eq!((told.latency_ns, told.cut), (20_000, second));
            assert_eq!(told.faults == ["port-down"], told.from == "b:rdma_en6");
        }
    }

    #[test]
    fn only_the_fabrics_of_dead_launchers_are_swept() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("true runs");
        child.wait().expect("true ends");
        let (own, gone) = (std::process::id(), child.id());
        let make = |name: &str, mode| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).expect("made");
            fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("changed");
            folder
        };
        let living = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
        let unfinished = make(&format!("softrail-{own}-unfinished"), 0o700);
        let not_ours = make(&format!("softrail-{gone}-open"), 0o755);
        let foreign = [make("other", 0o700), make("softrail-notes", 0o700)];
        let never_finished = make(&format!("softrail-{gone}-early"), 0o700);
        let dead = make(&format!("softrail-{gone}-dead"), 0o700);
        private::write(&dead.join(OWNER_FILE), "1\n").expect("written");

        let _another = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
        assert!(living.path().exists());
        assert!(unfinished.exists(), "its launcher has yet to lock it");
        assert!(not_ours.exists());
        assert!(foreign.iter().all(|folder| folder.exists()));
        assert!(!never_finished.exists());
        assert!(!dead.exists());
    }

    #[test]
    fn an_unwritable_parent_is_named() {
        let error = Fabric::create(Path::new("/no/such/folder"), &Rig::embedded())
            .expect_err("nowhere to write")
            .to_string();
        assert!(error.contains("/no/such/folder"), "{error}");
    }
}
