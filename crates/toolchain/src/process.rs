//! Running other programs so that they can be watched and interrupted.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, IoContext, Result};

/// Lines kept for an error message.
const TAIL: usize = 30;

/// Set once by whoever catches Ctrl-C; every running child then ends.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks everything that holds a clone to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for whoever wants no more than that.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// # Errors
    /// [`Error::Interrupted`] when somebody asked.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// Runs `command`, in words `what`, hands every line it prints (stdout and
/// stderr together) to `line`, and keeps them all in `log` if given.
pub(crate) fn run(
    what: &str,
    command: &mut Command,
    cancel: &Cancel,
    log: Option<&Path>,
    mut line: impl FnMut(&str),
) -> Result<()> {
    cancel.check()?;
    let mut log_file = log
        .map(|path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .at("open", path)
        })
        .transpose()?;
    // One pipe for both streams keeps their lines in the order they were written.
    let (reader, writer) = io::pipe().at("open a pipe for", what)?;
    command
        .stdin(Stdio::null())
        .stderr(writer.try_clone().at("open a pipe for", what)?)
        .stdout(writer);
    let spawned = spawn(what, command);
    // The command keeps its ends; the pipe would never be at its end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawned?;
    let (sender, lines) = mpsc::channel();
    forward(reader, sender);
    let mut tail = VecDeque::with_capacity(TAIL);
    let mut disk_full = false;
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(text) => {
                if let (Some(file), Some(path)) = (&mut log_file, log) {
                    writeln!(file, "{text}").at("write", path)?;
                }
                line(&text);
                disk_full |= text.contains("No space left on device");
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(text);
            }
            Err(mpsc::RecvTimeoutError::Timeout) if cancel.is_cancelled() => {
                terminate(&mut child);
                return Err(Error::Interrupted);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait().at("wait for", what)?;
    if status.success() {
        return Ok(());
    }
    // The terminal's Ctrl-C reaches the child first; its death is not news.
    cancel.check()?;
    if disk_full {
        return Err(Error::DiskFull {
            what: what.to_owned(),
        });
    }
    Err(Error::Command {
        what: what.to_owned(),
        status: status.to_string(),
        tail: Vec::from(tail).join("\n"),
        log: log.map(Path::to_path_buf),
    })
}

/// Runs a short `command` and gives its stdout.
pub(crate) fn capture(what: &str, command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|e| cannot_start(what, command, &e))?;
    if !output.status.success() {
        return Err(Error::Command {
            what: what.to_owned(),
            status: output.status.to_string(),
            tail: String::from_utf8_lossy(&output.stderr)
                .trim_end()
                .to_owned(),
            log: None,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn spawn(what: &str, command: &mut Command) -> Result<Child> {
    command.spawn().map_err(|e| cannot_start(what, command, &e))
}

fn cannot_start(what: &str, command: &Command, cause: &io::Error) -> Error {
    Error::Command {
        what: what.to_owned(),
        status: "not started".into(),
        tail: format!("{}: {cause}", command.get_program().to_string_lossy()),
        log: None,
    }
}

fn forward(stream: impl Read + Send + 'static, to: mpsc::Sender<String>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if to.send(text).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

/// Ninja, pip and cargo end their own children on SIGTERM, which SIGKILL would
/// leave running; it follows only for one that does not listen.
fn terminate(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn cancelling_ends_the_child_and_says_interrupted() {
        let cancel = Cancel::default();
        let mut pid = String::new();
        let outcome = run(
            "sleeping",
            &mut sh("echo $$; exec sleep 60"),
            &cancel,
            None,
            |line| {
                pid = line.to_owned();
                cancel.cancel();
            },
        );
        assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        assert!(
            rustix::process::test_kill_process(pid).is_err(),
            "the child lives on"
        );
    }

    #[test]
    fn a_failure_carries_the_last_lines_and_the_log_carries_all() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "seq 100; echo broken >&2; sleep 0.1; exit 3";
        let outcome = run(
            "counting",
            &mut sh(script),
            &Cancel::default(),
            Some(&log),
            |_| {},
        );
        let message = outcome.unwrap_err().to_string();
        assert!(
            message.contains("exit status: 3") && message.contains("broken"),
            "{message}"
        );
        assert!(!message.contains("\n1\n"), "{message}");
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(logged.contains("\n50\n") && logged.contains("broken"));
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let script = "echo 'as: x.o: No space left on device' >&2; exit 1";
        let error = run(
            "compiling",
            &mut sh(script),
            &Cancel::default(),
            None,
            |_| {},
        )
        .unwrap_err();
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        assert!(error.help().unwrap().contains("MLX_RAILS_STORE"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut missing = Command::new("no-such-program-of-ours");
        let error = capture("asking", &mut missing).unwrap_err();
        assert!(
            error.to_string().contains("no-such-program-of-ours"),
            "{error}"
        );
    }
}
