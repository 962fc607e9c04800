//! A rank's process: its pipes, its last words and its end.

use std::{
    collections::VecDeque,
    env, fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread,
};

use super::{LaunchError, RankProgram, RankStart};

/// Which pipe a line came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// A line that a rank wrote.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) rank: usize,
    pub(super) stream: Stream,
    pub(super) text: String,
}

/// Lines of free text kept of each rank.
const LAST_WORDS: usize = 8;

/// A process that is killed and waited for when dropped.
#[derive(Debug)]
pub(super) struct RankProcess {
    child: Child,
    /// Never written to. Held open for the rank's
    /// [`end_with_launcher`](crate::protocol::end_with_launcher), which sees it
    /// close when this process is gone, however it went.
    _lifeline: Option<ChildStdin>,
    status: Option<ExitStatus>,
    last_words: VecDeque<String>,
}

impl RankProcess {
    pub(super) fn start(
        program: &RankProgram,
        start: &RankStart,
        scratch: &Path,
        lines: Sender<Line>,
    ) -> Result<Self, LaunchError> {
        let rank = start.job.rank;
        let path = scratch.join(format!("job-{rank}.json"));
        let job = serde_json::to_vec(&start.job).expect("a job is plain data");
        fs::write(&path, job).map_err(|source| LaunchError::Job {
            rank,
            path: path.clone(),
            source,
        })?;

        let mut command = Command::new(&program.path);
        command.arg("--job").arg(&path);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(configures_jaccl) {
                command.env_remove(name);
            }
        }
        let env = program.env.iter().chain(&start.env);
        let mut child = command
            .envs(env.map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C goes to the launcher's group alone. It then
            // ends the ranks, rather than all dying at once and half reported.
            .process_group(0)
            .spawn()
            .map_err(|source| LaunchError::Start {
                rank,
                program: program.path.clone(),
                source,
            })?;

        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        read_lines(stdout, rank, Stream::Stdout, lines.clone());
        read_lines(stderr, rank, Stream::Stderr, lines);
        let lifeline = child.stdin.take();
        Ok(Self {
            child,
            _lifeline: lifeline,
            status: None,
            last_words: VecDeque::new(),
        })
    }

    /// How the process exited, or nothing while it runs.
    pub(super) fn exit(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Ends the process and waits until it is gone.
    pub(super) fn kill(&mut self) {
        if self.exit().is_none() {
            // It can only fail when the process is gone, which is what is wanted.
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }

    pub(super) fn remember(&mut self, text: String) {
        if text.trim().is_empty() {
            return;
        }
        if self.last_words.len() == LAST_WORDS {
            self.last_words.pop_front();
        }
        self.last_words.push_back(text);
    }

    pub(super) fn last_words(&self) -> Vec<String> {
        self.last_words.iter().cloned().collect()
    }

    /// The process's end in words, for one that did not do its job.
    pub(super) fn death(&mut self) -> String {
        match self.exit() {
            None => "did not end".to_owned(),
            Some(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => format!("was killed by {}", signal_name(signal)),
                (None, Some(0)) => "exited with status 0 before it was done".to_owned(),
                (None, code) => format!("exited with status {}", code.unwrap_or(-1)),
            },
        }
    }
}

impl Drop for RankProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a variable left over in the caller's environment would change what
/// jaccl does: `JACCL_*` goes before the `MLX_*` that the launcher sets, and
/// `MLX_JACCL_RING` means a ring whatever its value.
fn configures_jaccl(name: &str) -> bool {
    name.starts_with("JACCL_")
        || name.starts_with("MLX_JACCL_")
        || ["MLX_RANK", "MLX_IBV_DEVICES", "MLX_HOSTFILE"].contains(&name)
}

/// Sends what comes through a pipe line by line, until it closes or nobody
/// listens. The thread ends with the pipe, so with the process.
fn read_lines(pipe: impl Read + Send + 'static, rank: usize, stream: Stream, lines: Sender<Line>) {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if lines.send(Line { rank, stream, text }).is_err() {
                break;
            }
        }
    });
}

fn signal_name(signal: i32) -> String {
    use rustix::process::Signal;
    let named = [
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::ILL, "SIGILL"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::TERM, "SIGTERM"),
    ];
    match named.iter().find(|(known, _)| known.as_raw() == signal) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::configures_jaccl;

    #[test]
    fn only_what_jaccl_reads_is_kept_from_ranks() {
        for name in [
            "JACCL_RING",
            "JACCL_RANK",
            "MLX_JACCL_COORDINATOR",
            "MLX_RANK",
        ] {
            assert!(configures_jaccl(name), "{name}");
        }
        for name in ["PATH", "MLX_RAILS_STORE", "MLX_DISABLE_COMPILE", "HOME"] {
            assert!(!configures_jaccl(name), "{name}");
        }
    }
}
