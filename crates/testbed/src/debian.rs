//! Programs of Debian's packages, without installing them.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

/// Packages of Debian.
#[derive(Debug, Clone, Copy)]
pub struct Packages {
    /// The packages with the programs and with the libraries they are linked to.
    pub names: &'static [&'static str],
    /// One program of each package with programs, to check whether they are present.
    pub witnesses: &'static [&'static str],
    /// The folder of the programs in the packages, such as `usr/bin`.
    pub programs: &'static str,
}

/// The folders for libraries in Debian's packages.
const LIBRARIES: [&str; 2] = ["usr/lib", "lib"];

/// Programs of Debian's packages.
#[derive(Debug, Clone)]
pub struct Debian {
    programs: PathBuf,
    libraries: Vec<PathBuf>,
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
}

impl Packages {
    /// The programs. If neither the system nor this checkout has them, apt downloads the
    /// packages and verifies them as usual, and they are unpacked below the target folder.
    /// Nothing is installed, so no privileges are needed.
    ///
    /// # Errors
    /// The reason why they are not available.
    pub fn find(&self) -> Result<Debian, String> {
        if let Some(installed) = self.installed() {
            return Ok(installed);
        }
        let folder = self.folder();
        let parent = folder.parent().unwrap_or(Path::new("."));
        let io = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(parent).map_err(io)?;
        // Other test programs may download them at the same time.
        let lock = File::create(folder.with_extension("lock")).map_err(io)?;
        lock.lock().map_err(io)?;
        if let Some(unpacked) = self.unpacked(&folder) {
            return Ok(unpacked);
        }
        let scratch = tempfile::tempdir_in(parent).map_err(io)?;
        let made = scratch.path().join("made");
        self.download(scratch.path(), &made)?;
        if folder.exists() {
            fs::rename(&folder, scratch.path().join("broken")).map_err(io)?;
        }
        fs::rename(&made, &folder).map_err(io)?;
        self.unpacked(&folder)
            .ok_or_else(|| "the packages of apt lack them".to_owned())
    }

    /// The programs of the system.
    fn installed(&self) -> Option<Debian> {
        let path = env::var_os("PATH")?;
        let programs = env::split_paths(&path).find(|folder| self.are_in(folder))?;
        Some(Debian {
            programs,
            libraries: Vec::new(),
        })
    }

    /// The programs unpacked below `root`.
    fn unpacked(&self, root: &Path) -> Option<Debian> {
        let programs = root.join(self.programs);
        self.are_in(&programs).then(|| Debian {
            programs,
            libraries: LIBRARIES
                .iter()
                .map(|folder| root.join(folder))
                .flat_map(|folder| subfolders(&folder))
                .collect(),
        })
    }

    /// The folder in which they are unpacked. Another release of the system has other
    /// packages.
    fn folder(&self) -> PathBuf {
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let inputs = format!("{system}{}{}", env::consts::ARCH, self.names.join(" "));
        let hash = Sha256::digest(inputs);
        let key: String = hash
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        target.join("clients").join(format!("debian-{key}"))
    }

    fn are_in(&self, folder: &Path) -> bool {
        let mut witnesses = self.witnesses.iter();
        witnesses.all(|name| folder.join(name).is_file())
    }

    fn download(&self, scratch: &Path, made: &Path) -> Result<(), String> {
        let debs = scratch.join("debs");
        fs::create_dir_all(&debs).map_err(|error| error.to_string())?;
        let download = || {
            let mut apt = Command::new("apt-get");
            // As root, apt would hand the download to a user who may not write here.
            apt.args(["--quiet", "-o", "APT::Sandbox::User=root", "download"])
                .args(self.names)
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
}

/// Debian keeps libraries in a folder for each architecture.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

/// Runs a program. Its output is used only for the error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
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
