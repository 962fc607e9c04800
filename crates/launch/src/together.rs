//! Arbitrary programs, run side by side.

use std::{
    io,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    TICK,
    cancel::Interrupted,
    death::Death,
    launcher::Launcher,
    lines::{Said, Stream},
    process::{GRACE, Input, Output, Process, Streams},
};

/// How one of several programs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By the launcher, because another program had failed or the time was up.
    Ended,
}

impl From<Option<Death>> for End {
    fn from(death: Option<Death>) -> Self {
        match death {
            Some(Death::Exited(code)) => End::Code(code),
            Some(Death::Killed(signal)) => End::Signal(signal),
            Some(Death::Lost) | None => End::Ended,
        }
    }
}

/// Why programs could not be run to their end.
#[derive(Debug, thiserror::Error)]
pub enum Together {
    /// A program cannot be started. The ones started before it were ended.
    #[error("cannot start '{program}'")]
    Start {
        /// The position of the program in the list.
        place: usize,
        /// The program.
        program: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A line could not be passed on, for example because its reader has closed the pipe.
    #[error("cannot hand on what the programs print")]
    Output(#[source] io::Error),
    /// The caller asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Runs programs side by side, passes every line that they write to `line` with the
/// position of the program in the list, and waits for all of them. When one fails the
/// others get [`GRACE`] to end; `limit` is for the whole run. At the end none of them is
/// left, nor any process that they started.
///
/// # Errors
/// When a program cannot be started, `line` fails, or the caller asked to stop.
pub fn together(
    launcher: &Launcher,
    commands: Vec<Command>,
    limit: Option<Duration>,
    mut line: impl FnMut(usize, Stream, &str) -> io::Result<()>,
) -> Result<Vec<End>, Together> {
    let (sender, lines) = mpsc::channel();
    let mut processes = Vec::new();
    for (place, command) in commands.into_iter().enumerate() {
        let program = command.get_program().to_string_lossy().into_owned();
        let to = Output {
            source: place,
            input: Input::Null,
            streams: Streams::Apart,
            lines: sender.clone(),
        };
        let started = Process::start(command, to);
        processes.push(started.map_err(|source| Together::Start {
            place,
            program,
            source,
        })?);
    }
    drop(sender);

    let begun = Instant::now();
    let mut failed: Option<Instant> = None;
    let mut hand_on = |heard: crate::Line| match heard.said {
        Said::Text(text) => line(heard.source, heard.stream, &text).map_err(Together::Output),
        Said::Closed => Ok(()),
    };
    let outcome = loop {
        if let Err(interrupted) = launcher.cancel().check() {
            break Err(interrupted.into());
        }
        match lines.recv_timeout(TICK) {
            Ok(heard) => {
                if let Err(error) = hand_on(heard) {
                    break Err(error);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // The processes that held the streams have ended; their last lines may take a
            // moment more.
            Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
        }
        let deaths: Vec<_> = processes.iter_mut().map(Process::death).collect();
        if deaths.iter().flatten().any(|death| !death.is_success()) {
            failed.get_or_insert_with(Instant::now);
        }
        let over = limit.is_some_and(|limit| begun.elapsed() > limit)
            || failed.is_some_and(|at| at.elapsed() > GRACE);
        if over || deaths.iter().all(Option::is_some) {
            break Ok(deaths);
        }
    };
    Process::end_all(&mut processes);
    drop(processes);
    let ends = outcome?.into_iter().map(End::from).collect();
    // The rest arrives at once, however late the reader threads are scheduled. A process
    // that left its group may hold a stream open, and is not waited for.
    let over = Instant::now() + GRACE;
    while let Ok(heard) = lines.recv_timeout(over.saturating_duration_since(Instant::now())) {
        hand_on(heard)?;
    }
    Ok(ends)
}
