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

/// How long the pipe of a program that has ended may be silent. A process that still
/// holds it open after that is taken for a daemon, and is not waited for.
const QUIET: Duration = Duration::from_millis(300);

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be started.
    #[error("{what} needs {program}, which cannot be started")]
    Start {
        /// Its task, in words.
        what: String,
        /// The program.
        program: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// It ended other than with code 0.
    #[error("{what} failed: the program {death}{}", tail_of(.tail))]
    Failed {
        /// Its task, in words.
        what: String,
        /// How it ended.
        death: Death,
        /// The last lines it printed.
        tail: String,
        /// The file that contains everything it printed.
        log: Option<PathBuf>,
    },
    /// It ran out of disk space.
    #[error("{what} failed because the disk is full")]
    DiskFull {
        /// Its task, in words.
        what: String,
    },
    /// Its output cannot be stored. The program was ended.
    #[error("{what} was ended, because its log {} cannot be written", .log.display())]
    Log {
        /// Its task, in words.
        what: String,
        /// The log.
        log: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Its output cannot be passed on. The program was ended.
    #[error("{what} was ended, because its output cannot be handed on")]
    Output {
        /// Its task, in words.
        what: String,
        /// The reason.
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

/// Runs `command`, whose task in words is `what`, and passes every line it prints (stdout
/// and stderr together) to `line`. Appends them all to `log` if there is one.
///
/// # Errors
/// As [`Error`] describes. When this returns the program has ended in any case; processes
/// that it started without waiting for them are ended too, except after success.
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
    let Attended { death, .. } = attend(
        launcher,
        what,
        command.into(),
        Streams::Merged,
        Duration::MAX,
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

/// The output of a program, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub death: Death,
    /// Its standard output, with a newline after each line.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// Whether it was ended because it took too long.
    pub late: bool,
}

/// Runs `command`, whose task in words is `what`, and returns its output, whatever its
/// exit status.
///
/// # Errors
/// When it cannot be started, or the caller asked to stop. A program that ended because a
/// Ctrl-C reached it first does not count as failed.
pub fn output(
    launcher: &Launcher,
    what: &str,
    command: impl Into<Command>,
) -> Result<Captured, Error> {
    output_within(launcher, what, command, Duration::MAX)
}

/// As [`output`]. A program that takes longer than the limit is ended, and what it has
/// printed until then is returned.
///
/// # Errors
/// As [`output`].
pub fn output_within(
    launcher: &Launcher,
    what: &str,
    command: impl Into<Command>,
    limit: Duration,
) -> Result<Captured, Error> {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let Attended { death, late } = attend(
        launcher,
        what,
        command.into(),
        Streams::Apart,
        limit,
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
        late,
    })
}

/// Runs `command`, whose task in words is `what`, and returns its standard output.
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

/// Runs `command`, whose task in words is `what`, passes on every line it prints, and
/// returns how it ended.
///
/// # Errors
/// When it cannot be started, `line` fails, or the caller asked to stop.
pub fn watch(
    launcher: &Launcher,
    what: &str,
    command: impl Into<Command>,
    mut line: impl FnMut(Stream, &str) -> io::Result<()>,
) -> Result<Death, Error> {
    let attended = attend(
        launcher,
        what,
        command.into(),
        Streams::Apart,
        Duration::MAX,
        |stream, text| {
            line(stream, text).map_err(|source| Error::Output {
                what: what.to_owned(),
                source,
            })
        },
    )?;
    Ok(attended.death)
}

/// How a process ended.
struct Attended {
    death: Death,
    /// It was ended at its limit.
    late: bool,
}

/// Starts a process and reads its output until it has ended and its pipes are silent, or
/// ends it when it takes longer than the limit.
fn attend(
    launcher: &Launcher,
    what: &str,
    command: Command,
    streams: Streams,
    limit: Duration,
    mut line: impl FnMut(Stream, &str) -> Result<(), Error>,
) -> Result<Attended, Error> {
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
    let begun = Instant::now();
    let mut ended: Option<Instant> = None;
    loop {
        if launcher.cancel().is_cancelled() {
            process.end();
            return Err(Interrupted.into());
        }
        if ended.is_none() && begun.elapsed() >= limit {
            let death = process.end().unwrap_or(Death::Lost);
            for heard in lines.try_iter() {
                if let Said::Text(text) = &heard.said {
                    line(heard.stream, text)?;
                }
            }
            return Ok(Attended { death, late: true });
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
            return Ok(Attended { death, late: false });
        }
    }
}
