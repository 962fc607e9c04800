//! Verbs that start processes and are ended while these run: no process is left.
//!
//! The programs that the verbs run are replaced by one that starts another, records both
//! process numbers, and waits.

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Every verb that starts processes, with the first program that it needs in an empty
/// store.
const VERBS: [(&str, &str); 19] = [
    ("bench", "cargo"),
    ("build", "cargo"),
    ("collectives", "cargo"),
    ("doctor", "git"),
    ("fetch --source registry", "cargo"),
    ("fetch --source upstream", "git"),
    ("matrix discover nowhere", "ssh"),
    ("patch apply", "cargo"),
    ("patch edit", "cargo"),
    ("pin add v99.0.0", "git"),
    ("predict", "cargo"),
    ("preflight", "cargo"),
    ("rig discover nowhere", "ssh"),
    ("rig doctor --host nowhere", "ssh"),
    ("rig up -- true", "cargo"),
    ("test -p rail-matrix", "cargo"),
    ("verify", "cargo"),
    ("wheel --platform macos", "python3"),
    ("wheel --rail-matrix", "python3"),
];

/// A generous limit: on an idle machine every wait ends at once.
const PATIENCE: Duration = Duration::from_secs(120);

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A verb that waits for the program that took another's place.
struct Waiting {
    verb: &'static str,
    xtask: Child,
    folder: TempDir,
}

impl Waiting {
    /// The program runs these `lines` of shell first.
    fn start(verb: &'static str, program: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = folder.path().join("bin").join(program);
        fs::create_dir(folder.path().join("bin")).unwrap();
        let pids = folder.path().join("pids");
        let script = format!(
            "#!/bin/sh\n{lines}\nsleep 1000 &\necho $$ $! >'{0}.new'\nmv '{0}.new' '{0}'\nwait\nwait\n",
            pids.display()
        );
        fs::write(&stand_in, script).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        let mut path = vec![folder.path().join("bin")];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap()));
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        xtask
            .args(verb.split(' '))
            .current_dir(folder.path())
            .env("PATH", env::join_paths(path).unwrap())
            .env("MLX_RAILS_STORE", folder.path().join("store"))
            .env_remove("CARGO")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if program == "python3" {
            xtask.env("MLX_RAILS_PYTHON", &stand_in);
        }
        let mut waiting = Waiting {
            verb,
            xtask: xtask.spawn().unwrap(),
            folder,
        };
        eventually("the program was not started", || {
            waiting.pids_file().exists() || waiting.xtask.try_wait().unwrap().is_some()
        });
        assert!(waiting.pids_file().exists(), "{verb} ended before");
        waiting
    }

    fn pids_file(&self) -> PathBuf {
        self.folder.path().join("pids")
    }

    /// The program and the process that it started.
    fn pids(&self) -> Vec<String> {
        let text = fs::read_to_string(self.pids_file()).unwrap();
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .args([signal, &self.xtask.id().to_string()])
            .status();
        assert!(kill.unwrap().success(), "{}", self.verb);
    }

    /// Waits for the end of the verb and of all processes that it started. Returns the
    /// exit code, or the negated signal.
    fn end(mut self) -> i32 {
        let pids = self.pids();
        eventually(self.verb, || self.xtask.try_wait().unwrap().is_some());
        let status = self.xtask.wait().unwrap();
        for pid in pids {
            eventually(&format!("{} left {pid}", self.verb), || !runs(&pid));
        }
        status.code().unwrap_or_else(|| -status.signal().unwrap())
    }
}

impl Drop for Waiting {
    /// A test that fails leaves nothing either.
    fn drop(&mut self) {
        let _ = self.xtask.kill();
        let _ = self.xtask.wait();
    }
}

/// Whether a process runs. A process that is dead and not yet reaped does not.
fn runs(pid: &str) -> bool {
    let ps = Command::new("ps")
        .args(["-o", "state=", "-p", pid])
        .output();
    let state = String::from_utf8(ps.unwrap().stdout).unwrap();
    !matches!(state.trim().chars().next(), None | Some('Z'))
}

#[test]
fn a_verb_that_is_killed_leaves_nothing() {
    for (verb, program) in VERBS {
        let waiting = Waiting::start(verb, program, "");
        waiting.signal("-KILL");
        assert_eq!(waiting.end(), -9, "{verb}");
    }
}

#[test]
fn a_verb_that_is_interrupted_says_so_and_leaves_nothing() {
    for (verb, program) in VERBS {
        let waiting = Waiting::start(verb, program, "");
        waiting.signal("-INT");
        assert_eq!(waiting.end(), 130, "{verb}");
    }
}

#[test]
fn a_verb_that_is_terminated_ends_as_if_interrupted() {
    let waiting = Waiting::start("build", "cargo", "");
    waiting.signal("-TERM");
    assert_eq!(waiting.end(), 130);
}

/// The program ignores the signal, and the verb does not wait for it after the second.
#[test]
fn a_second_ctrl_c_ends_a_verb_and_leaves_nothing() {
    let waiting = Waiting::start("build", "cargo", "trap '' INT TERM");
    waiting.signal("-INT");
    waiting.signal("-INT");
    assert_eq!(waiting.end(), 130);
}
