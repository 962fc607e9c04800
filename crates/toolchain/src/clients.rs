//! Programs that use verbs and that nobody here wrote: rdma-core's examples and
//! perftest, as Debian builds them.
//!
//! Where the system has them they are used from there. Else apt downloads the
//! packages, checks them as it checks whatever it installs, and they are unpacked into
//! the store: nothing is installed, so it takes no rights.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    process,
    store::{Kind, sha256, write_listing},
};

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

/// A program of each package that has some, to tell whether they are there.
const WITNESSES: [&str; 2] = ["ibv_rc_pingpong", "ib_send_bw"];

/// Where Debian's packages put programs and libraries.
const PROGRAMS: &str = "usr/bin";
const LIBRARIES: [&str; 2] = ["usr/lib", "lib"];

/// Verbs programs, and where the libraries are that they need.
#[derive(Debug, Clone)]
pub struct Clients {
    programs: PathBuf,
    libraries: Vec<PathBuf>,
}

impl Clients {
    /// One of the programs, such as `ibv_devinfo` or `ib_send_bw`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The folders that the loader has to search for them, after all others.
    pub fn libraries(&self) -> &[PathBuf] {
        &self.libraries
    }

    /// Those of the system.
    fn installed() -> Option<Self> {
        let path = env::var_os("PATH")?;
        let programs = env::split_paths(&path).find(|folder| has_all(folder))?;
        Some(Clients {
            programs,
            libraries: Vec::new(),
        })
    }

    /// Those unpacked below `root`.
    fn unpacked(root: &Path) -> Option<Self> {
        let programs = root.join(PROGRAMS);
        has_all(&programs).then(|| Clients {
            programs,
            libraries: LIBRARIES
                .iter()
                .map(|folder| root.join(folder))
                .flat_map(|folder| subfolders(&folder))
                .collect(),
        })
    }
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

impl Toolchain {
    /// The programs, downloaded first when neither the system nor the store has them.
    ///
    /// # Errors
    /// [`Error::MissingTool`], with the command that installs them, when apt cannot
    /// download them.
    pub fn clients(&self) -> Result<Clients> {
        if let Some(clients) = Clients::installed() {
            return Ok(clients);
        }
        let key = self.clients_key();
        let check = |entry: &Path| Ok(Clients::unpacked(entry).map(|_| ()));
        let unpacked = self.make_entry(Kind::Tools, &key, check, |scratch| {
            self.progress.step(
                "Downloading",
                "ibverbs-utils and perftest (apt, into the store; nothing is installed)",
            );
            let made = scratch.join("clients");
            self.unpack_clients(scratch, &made)?;
            write_listing(&made)?;
            self.progress.finish();
            Ok((made, ()))
        })?;
        Clients::unpacked(&unpacked.path).ok_or_else(missing)
    }

    /// What the programs are called in the store: another release of the system has
    /// other packages.
    pub(crate) fn clients_key(&self) -> String {
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let inputs = format!("{system}{}{}", env::consts::ARCH, PACKAGES.join(" "));
        format!("clients-{}", &sha256(inputs)[..16])
    }

    fn unpack_clients(&self, scratch: &Path, made: &Path) -> Result<()> {
        let debs = scratch.join("debs");
        fs::create_dir_all(&debs).at("create", &debs)?;
        let download = || {
            let mut apt = Command::new("apt-get");
            // Root would have apt give the download to a user who may not write here.
            apt.args(["--quiet", "-o", "APT::Sandbox::User=root", "download"])
                .args(PACKAGES)
                .current_dir(&debs);
            process::run("downloading with apt", &mut apt, &self.cancel, None, |_| {})
        };
        let downloaded = download().or_else(|_| {
            // A fresh system, such as a container, has no lists of packages yet.
            self.progress
                .note("apt-get update, for its lists of packages");
            let mut update = Command::new("apt-get");
            update.args(["--quiet", "update"]);
            process::run("updating apt", &mut update, &self.cancel, None, |_| {})?;
            download()
        });
        self.cancel.check()?;
        downloaded.map_err(|_| missing())?;
        for deb in fs::read_dir(&debs).at("read", &debs)?.flatten() {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(deb.path()).arg(made);
            process::capture("unpacking a package", &mut unpack)?;
        }
        Ok(())
    }
}

fn missing() -> Error {
    Error::MissingTool {
        tool: "a set of verbs programs",
        why: "the emulator is tried with programs that nobody here wrote",
        remedy: "apt-get update && apt-get install ibverbs-utils perftest (Debian, Ubuntu), \
                 dnf install libibverbs-utils perftest (Fedora)"
            .into(),
    }
}
