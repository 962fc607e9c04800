//! Programs that use verbs and that nobody here wrote: rdma-core's examples and
//! perftest, as Debian builds them.
//!
//! Where the system has them they are used from there. Else apt downloads the
//! packages, checks them as it checks whatever it installs, and they are unpacked below
//! the target folder: nothing is installed, so it takes no rights.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use sha2::{Digest, Sha256};

/// The packages with the programs and with what they are linked to.
const PACKAGES: [&str; 7] = [
    "ibverbs-utils",
    "perftest",
    "ibverbs-providers",
    "libibumad3",
    "libnl-3-200",
    "libpci3",
    "librdmacm1",
];

/// A program of each package that has some, to see whether they are there.
const WITNESSES: [&str; 2] = ["ibv_rc_pingpong", "ib_send_bw"];

/// Where Debian's packages put programs and libraries.
const PROGRAMS: &str = "usr/bin";
const LIBRARIES: [&str; 2] = ["usr/lib", "lib"];

/// Verbs programs of Debian's packages.
#[derive(Debug, Clone)]
pub struct Debian {
    programs: PathBuf,
    libraries: Vec<PathBuf>,
}

/// Debian's programs, downloaded first when neither the system nor this checkout has them.
/// Looked for once a process.
///
/// # Errors
/// Why they are not to be had here.
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
        // Other test programs want the same.
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

    /// Those of the system.
    fn installed() -> Option<Self> {
        let path = env::var_os("PATH")?;
        let programs = env::split_paths(&path).find(|folder| has_all(folder))?;
        Some(Debian {
            programs,
            libraries: Vec::new(),
        })
    }

    /// Those unpacked below `root`.
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

/// Where they are unpacked. Another release of the system has other packages.
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
        // Root would have apt give the download to a user who may not write here.
        apt.args(["--quiet", "-o", "APT::Sandbox::User=root", "download"])
            .args(PACKAGES)
            .current_dir(&debs);
        run(&mut apt)
    };
    download().or_else(|_| {
        // A fresh system, such as a container, has no lists of packages yet.
        run(Command::new("apt-get").args(["--quiet", "update"]))?;
        download()
    })?;
    for deb in fs::read_dir(&debs).into_iter().flatten().flatten() {
        let mut unpack = Command::new("dpkg-deb");
        run(unpack.arg("--extract").arg(deb.path()).arg(made))?;
    }
    Ok(())
}

/// Runs a program; what it says is for its failure alone.
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
