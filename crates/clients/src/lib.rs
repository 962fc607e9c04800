//! Verbs programs, run on the nodes of a fabric: the common part of tests of emulated
//! cables.
//!
//! [`Client::ping`] is this project's `rails-ping`, which uses the crate `ibverbs`; every
//! test can use it. [`Client::debian`] is a program of Debian's packages, if the system
//! has them or apt can download them; without it a test passes and prints that something
//! was left out.

#![forbid(unsafe_code)]

mod debian;

use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use launch::Launcher;
use rig::{Link, Rig, Rules};
use softrail::{
    Fabric,
    up::{End, Job},
};
use toolchain::Toolchain;

pub use debian::{Debian, debian};

/// Makes node 1 wait until node 0 listens on this run's port, as `/proc/net/tcp` shows.
const MEET: &str = r#"
port=${RIG_COORDINATOR#*:}
if [ $RIG_RANK = 0 ]; then host=; else
    host=$RIG_HOST
    listens=$(printf ':%04X 0*:0000 0A' $port)
    until grep -q "$listens" /proc/net/tcp /proc/net/tcp6; do sleep 0.02; done
fi
"#;

/// A program, and the folders of the libraries it needs.
#[derive(Debug, Clone)]
pub struct Client {
    program: PathBuf,
    libraries: Vec<PathBuf>,
    /// Whether its second process finds the first, however early it starts.
    patient: bool,
}

impl Client {
    /// `rails-ping`, compiled first if necessary.
    ///
    /// # Panics
    /// If it does not compile.
    pub fn ping() -> Self {
        static PING: OnceLock<PathBuf> = OnceLock::new();
        let program = PING.get_or_init(|| {
            let provider = softrail::provider_library().expect("cargo built the emulator");
            let made = Toolchain::open().and_then(|toolchain| toolchain.rails_ping(&provider));
            made.unwrap_or_else(|error| panic!("{error}"))
        });
        Client {
            program: program.clone(),
            libraries: Vec::new(),
            patient: true,
        }
    }

    /// A program in C of one file, compiled into `folder` against the header and the library
    /// of verbs.
    ///
    /// # Panics
    /// If it does not compile.
    pub fn compiled(source: &Path, folder: &Path) -> Self {
        let provider = softrail::provider_library().expect("cargo built the emulator");
        let verbs = Toolchain::open().and_then(|toolchain| toolchain.verbs());
        let include = verbs.unwrap_or_else(|error| panic!("{error}"));
        std::os::unix::fs::symlink(provider, folder.join("libibverbs.so")).expect("a link");
        let program = folder.join("program");
        let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
        let output = Command::new(compiler)
            .arg(source)
            .args(["-std=gnu11", "-Wall", "-o"])
            .arg(&program)
            .args([OsStr::new("-I"), include.as_os_str()])
            .args([OsStr::new("-L"), folder.as_os_str()])
            .arg("-libverbs")
            .output();
        let output = output.expect("a C compiler");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
        Client {
            program,
            libraries: Vec::new(),
            patient: true,
        }
    }

    /// A program of Debian's packages, such as `ibv_devinfo` or `ib_send_bw`. If it is
    /// not available, standard error reports that something was left out, and why.
    pub fn debian(name: &str) -> Option<Self> {
        let debian = debian().inspect_err(|why| {
            // Not with the macro, whose output is captured and shown only for tests that
            // fail.
            let _ = writeln!(io::stderr(), "left out: {name}: {why}");
        });
        let debian = debian.ok()?;
        Some(Client {
            program: debian.program(name),
            libraries: debian.libraries().to_vec(),
            patient: false,
        })
    }
}

/// The result of a program.
pub struct Ran {
    /// How each node's process ended.
    pub ends: Vec<(usize, End)>,
    /// What each node wrote.
    pub said: [String; 2],
}

/// The embedded rig with fast cables, and with all that programs other than jaccl need.
pub fn rig() -> Rig {
    let mut rig = Rig::embedded().with_rules(Rules::rdma());
    for cable in &mut rig.cables {
        cable.link = Link {
            bytes_per_second: 200_000_000,
            latency: Duration::from_micros(5),
        };
    }
    rig
}

/// A fabric that lives in the folder.
///
/// # Panics
/// If there is no room for it.
pub fn fabric(rig: &Rig) -> (tempfile::TempDir, Fabric) {
    let parent = tempfile::tempdir().expect("a folder");
    let fabric = Fabric::create(parent.path(), rig).expect("a fabric");
    (parent, fabric)
}

/// Runs a client on these nodes, which include node 0, for at most this long. In the
/// arguments of one of Debian's programs, `$port` and `$host` are the address at which
/// node 0 listens.
///
/// # Panics
/// If it does not start.
pub fn run(
    fabric: &Fabric,
    nodes: &[usize],
    client: &Client,
    arguments: &str,
    limit: Duration,
) -> Ran {
    run_as(fabric, ["a", "b"], nodes, client, arguments, limit)
}

/// The same, with these names given to the processes for their nodes.
///
/// # Panics
/// If it does not start.
pub fn run_as(
    fabric: &Fabric,
    names: [&str; 2],
    nodes: &[usize],
    client: &Client,
    arguments: &str,
    limit: Duration,
) -> Ran {
    let libraries: Vec<_> = client
        .libraries
        .iter()
        .map(|folder| format!(":'{}'", folder.display()))
        .collect();
    let meet = if client.patient { "" } else { MEET };
    let script = format!(
        "{meet}export LD_LIBRARY_PATH=$LD_LIBRARY_PATH{}\nexec '{}' {arguments}",
        libraries.concat(),
        client.program.display()
    );
    let command = ["sh".to_owned(), "-c".to_owned(), script];
    let job = Job {
        command: &command,
        nodes,
        provider: &softrail::provider_library().expect("cargo built the emulator"),
        limit: Some(limit),
    };
    let mut said = [String::new(), String::new()];
    let ran = fabric.up(&names, &job, &Launcher::default(), |node, _, line| {
        said[node].extend([line, "\n"]);
        Ok(())
    });
    Ran {
        ends: ran.unwrap_or_else(|error| panic!("{error}")),
        said,
    }
}
