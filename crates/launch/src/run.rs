//! Running a program to its end.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use crate::{
    TICK,
    cancel::Interrupted,
    death::Death,
    launcher::Launcher,
    lines::{Said, Stream},
    process::{Input, Output, Process, Streams},
};

/// Lines kept for an error message.
const TAIL: usize = 30;

/// How long the pipe of a program that has ended may be silent before what still holds it
/// open is taken for a daemon, which is not waited for.
const QUIET: Duration = Duration::from_millis(300);

/// A program that did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be started.
    #[error("{what} needs {program}, which cannot be started")]
    Start {
        /// What it was to do, in words.
        what: String,
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended otherwise than with code 0.
    #[error("{what} failed: the program {death}{}", tail_of(.tail))]
    Failed {
        /// What it was doing, in words.
        what: String,
        /// How it ended.
        death: Death,
        /// The last lines it printed.
        tail: String,
        /// Where everything it printed is kept.
        log: Option<PathBuf>,
    },
    /// It found no room for its files.
    #[error("{what} failed because the disk is full")]
    DiskFull {
        /// What it was doing, in words.
        what: String,
    },
    /// Its output cannot be kept. It was ended.
    #[error("{what} was ended, because its log {} cannot be written", .log.display())]
    Log {
        /// What it was doing, in words.
        what: String,
        /// The log.
        log: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it prints cannot be handed on. It was ended.
    #[error("{what} was ended, because its output cannot be handed on")]
    Output {
        /// What it was doing, in words.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The caller asked to stop. The program was ended.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

fn tail_of(tail: &str) -> String {
    match tail {
        "" => String::new(),
        tail => format!(":\n{tail}"),
    }
}

/// Runs `command`, in words `what`, and hands every line it prints (stdout and stderr
/// together) to `line`. Appends them all to `log` when there is one.
///
/// # Errors
/// As [`Error`] says. Whichever way this returns, the program has ended; what it started and
/// did not wait for is ended too, except after success.
pub fn run(
    launcher: &Launcher,
    what: &str,
    command: impl Into<Command>,
    log: Option<&Path>,
    mut line: impl FnMut(&str),
) -> Result<(), Error> {
    let log_error = |source| Error::Log {
        what: what.to_owned(),
        log: log.map(Path::to_path_buf).unwrap_or_default(),
        source,
    };
    let mut file = log
        .map(|path| File::options().create(true).append(true).open(path))
        .transpose()
        .map_err(log_error)?;
    let mut tail = VecDeque::with_capacity(TAIL);
    let mut disk_full = false;
    let death = attend(
        launcher,
        what,
        command.into(),
        Streams::Merged,
        |_, text| {
            let text = text.trim_end();
            if let Some(file) = &mut file {
                writeln!(file, "{text}").map_err(log_error)?;
            }
            line(text);
            disk_full |= text.contains("No space left on device");
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(text.to_owned());
            Ok(())
        },
    )?;
    if death.is_success() {
        return Ok(());
    }
    if disk_full {
        return Err(Error::DiskFull {
            what: what.to_owned(),
        });
    }
    Err(Error::Failed {
        what: what.to_owned(),
        death,
        tail: Vec::from(tail).join("\n"),
        log: log.map(Path::to_path_buf),
    })
}

/// What a program printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub death: Death,
    /// Its standard output, with a newline behind each line.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

/// Runs `command`, in words `what`, and gives what it printed, whatever its exit status.
///
/// # Errors
/// When it cannot be started, or the caller asked to stop. A program that the terminal's
/// Ctrl-C reached first is not taken for one that failed.
pub fn output(
    launcher: &Launcher,
    what: &str,
    command: impl Into<Command>,
) -> Result<Captured, Error> {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let death = attend(
        launcher,
        what,
        command.into(),
        Streams::Apart,
        |stream, text| {
            let to = match stream {
                Stream::Out => &mut stdout,
                Stream::Err => &mut stderr,
            };
            to.push_str(text);
            to.push('\n');
            Ok(())
        },
    )?;
    Ok(Captured {
        death,
        stdout,
        stderr,
    })
}

/// Runs `command`, in words `what`, and gives its standard output.
///
/// # Errors
/// As [`output`], and [`Error::Failed`] with its standard error when it does not end with
/// code 0.
pub fn capture(
    launcher: &Launcher,
    what: &str,
    command: impl Into<Command>,
) -> Result<String, Error> {
    let captured = output(launcher, what, command)?;
    if captured.death.is_success() {
        return Ok(captured.stdout);
    }
    Err(Error::Failed {
        what: what.to_owned(),
        death: captured.death,
        tail: captured.stderr.trim_end().to_owned(),
        log: None,
    })
}

/// Runs `command`, in words `what`, hands on every line it prints, and gives how it ended.
///
/// # Errors
/// When it cannot be started, `line` fails, or the caller asked to stop.
pub fn watch(
    launcher: &Launcher,
    what: &str,
    command: impl Into<Command>,
    mut line: impl FnMut(Stream, &str) -> io::Result<()>,
) -> Result<Death, Error> {
    attend(
        launcher,
        what,
        command.into(),
        Streams::Apart,
        |stream, text| {
            line(stream, text).map_err(|source| Error::Output {
                what: what.to_owned(),
                source,
            })
        },
    )
}

/// Starts a process and listens to it until it has ended and its pipes are silent.
fn attend(
    launcher: &Launcher,
    what: &str,
    command: Command,
    streams: Streams,
    mut line: impl FnMut(Stream, &str) -> Result<(), Error>,
) -> Result<Death, Error> {
    launcher.cancel().check()?;
    let program = command.get_program().to_string_lossy().into_owned();
    let (sender, lines) = mpsc::channel();
    let to = Output {
        source: 0,
        input: Input::Null,
        streams,
        lines: sender,
    };
    let mut process = Process::start(command, to).map_err(|source| Error::Start {
        what: what.to_owned(),
        program,
        source,
    })?;
    let mut ended: Option<Instant> = None;
    loop {
        if launcher.cancel().is_cancelled() {
            process.end();
            return Err(Interrupted.into());
        }
        let open = match lines.recv_timeout(TICK) {
            Ok(heard) => {
                if let Said::Text(text) = &heard.said {
                    // Dropping the process, as `?` does, ends it.
                    line(heard.stream, text)?;
                }
                ended = None;
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        let Some(death) = process.death() else {
            if !open {
                std::thread::sleep(TICK);
            }
            continue;
        };
        let since = *ended.get_or_insert_with(Instant::now);
        if !open || since.elapsed() >= QUIET {
            if death.is_success() {
                process.leave_heirs();
            }
            return Ok(death);
        }
    }
}
