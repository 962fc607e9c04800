//! Verbs programs of other projects: rdma-core's examples and perftest, as Debian builds
//! them.
//!
//! If the system has them they are used from there. Otherwise apt downloads the packages
//! and verifies them as usual, and they are unpacked below the target folder. Nothing is
//! installed, so no privileges are needed.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use sha2::{Digest, Sha256};

/// The packages with the programs and with the libraries they are linked to.
const PACKAGES: [&str; 7] = [
    "ibverbs-utils",
    "perftest",
    "ibverbs-providers",
    "libibumad3",
    "libnl-3-200",
    "libpci3",
    "librdmacm1",
];

/// One program of each package with programs, to check whether they are present.
const WITNESSES: [&str; 2] = ["ibv_rc_pingpong", "ib_send_bw"];

/// The folders for programs and libraries in Debian's packages.
const PROGRAMS: &str = "usr/bin";
const LIBRARIES: [&str; 2] = ["usr/lib", "lib"];

/// Verbs programs of Debian's packages.
#[derive(Debug, Clone)]
pub struct Debian {
    programs: PathBuf,
    libraries: Vec<PathBuf>,
}

/// Debian's programs, downloaded first if neither the system nor this checkout has them.
/// Looked for once in each process.
///
/// # Errors
/// The reason why they are not available.
pub fn debian() -> Result<&'static Debian, &'static str> {
    static DEBIAN: OnceLock<Result<Debian, String>> = OnceLock::new();
    let found = DEBIAN.get_or_init(Debian::find);
    found.as_ref().map_err(String::as_str)
}

impl Debian {
    /// One of the programs, such as `ibv_devinfo` or `ib_send_bw`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The folders that the loader has to search for them, after all others.
    pub fn libraries(&self) -> &[PathBuf] {
        &self.libraries
    }

    fn find() -> Result<Self, String> {
        if let Some(installed) = Debian::installed() {
            return Ok(installed);
        }
        let folder = folder();
        let parent = folder.parent().unwrap_or(Path::new("."));
        let io = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(parent).map_err(io)?;
        // Other test programs may download them at the same time.
        let lock = File::create(folder.with_extension("lock")).map_err(io)?;
        lock.lock().map_err(io)?;
        if let Some(unpacked) = Debian::unpacked(&folder) {
            return Ok(unpacked);
        }
        let scratch = tempfile::tempdir_in(parent).map_err(io)?;
        let made = scratch.path().join("made");
        download(scratch.path(), &made)?;
        if folder.exists() {
            fs::rename(&folder, scratch.path().join("broken")).map_err(io)?;
        }
        fs::rename(&made, &folder).map_err(io)?;
        Debian::unpacked(&folder).ok_or_else(|| "the packages of apt lack them".to_owned())
    }

    /// The programs of the system.
    fn installed() -> Option<Self> {
        let path = env::var_os("PATH")?;
        let programs = env::split_paths(&path).find(|folder| has_all(folder))?;
        Some(Debian {
            programs,
            libraries: Vec::new(),
        })
    }

    /// The programs unpacked below `root`.
    fn unpacked(root: &Path) -> Option<Self> {
        let programs = root.join(PROGRAMS);
        has_all(&programs).then(|| Debian {
            programs,
            libraries: LIBRARIES
                .iter()
                .map(|folder| root.join(folder))
                .flat_map(|folder| subfolders(&folder))
                .collect(),
        })
    }
}

/// The folder in which they are unpacked. Another release of the system has other
/// packages.
fn folder() -> PathBuf {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let inputs = format!("{system}{}{}", env::consts::ARCH, PACKAGES.join(" "));
    let hash = Sha256::digest(inputs);
    let key: String = hash
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    target.join("clients").join(format!("debian-{key}"))
}

fn has_all(folder: &Path) -> bool {
    WITNESSES.iter().all(|name| folder.join(name).is_file())
}

/// Debian keeps libraries in a folder for each architecture.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

fn download(scratch: &Path, made: &Path) -> Result<(), String> {
    let debs = scratch.join("debs");
    fs::create_dir_all(&debs).map_err(|error| error.to_string())?;
    let download = || {
        let mut apt = Command::new("apt-get");
        // As root, apt would hand the download to a user who may not write here.
        apt.args(["--quiet", "-o", "APT::Sandbox::User=root", "download"])
            .args(PACKAGES)
            .current_dir(&debs);
        run(&mut apt)
    };
    download().or_else(|_| {
        // A fresh system, such as a container, has no package lists yet.
        run(Command::new("apt-get").args(["--quiet", "update"]))?;
        download()
    })?;
    for deb in fs::read_dir(&debs).into_iter().flatten().flatten() {
        let mut unpack = Command::new("dpkg-deb");
        run(unpack.arg("--extract").arg(deb.path()).arg(made))?;
    }
    Ok(())
}

/// Runs a program. Its output is used only for the error if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim_end().lines().last().unwrap_or_default();
            Err(format!("{program} failed ({}): {last}", output.status))
        }
        Err(error) => Err(format!("there is no {program} here ({error})")),
    }
}
