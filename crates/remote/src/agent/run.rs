//! Runs a rank until it ends, or until the launcher is gone.

use std::{
    fs::File,
    io::{self, BufRead, Write},
    process::{Command, ExitCode},
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use launch::{Death, Input, Line, Output, Process, Said, Stream, Streams, environment};

use super::{At, Result, stage::Stage};
use crate::wire::{Run, SILENCE};

/// How often the launcher's lines and the rank's end are looked at.
const TICK: Duration = Duration::from_millis(10);

/// How long a stream that another process holds open is read after the rank's end.
const QUIET: Duration = Duration::from_millis(300);

/// What the launcher says.
enum Told {
    Line(String),
    /// It is there.
    Beat,
}

/// Runs the rank. Returns its exit code, or that of a rank that was ended because the
/// launcher is gone.
pub(super) fn run(
    stage: &Stage,
    run: Run,
    input: impl BufRead + Send + 'static,
) -> Result<ExitCode> {
    let scratch = stage.scratch(&run.folder)?;
    for (name, text) in &run.files {
        let path = scratch.path().join(name);
        let mut file = File::create_new(&path).at(&path)?;
        file.write_all(text.as_bytes()).at(&path)?;
    }
    let mut command = Command::new(&run.program);
    environment::without_jaccl(&mut command);
    command
        .args(&run.args)
        .envs(run.env)
        .current_dir(scratch.path());
    let (sender, lines) = mpsc::channel();
    let to = Output {
        source: 0,
        input: Input::Pipe,
        streams: Streams::Apart,
        lines: sender,
    };
    let rank = Process::start(command, to).at(&run.program)?;
    let death = Attended {
        rank,
        lines,
        told: listen(input),
        beat: Instant::now(),
        open: 2,
    }
    .attend();
    // The exit code is seen after the folder is gone.
    drop(scratch);
    Ok(ExitCode::from(u8::try_from(death.code()).unwrap_or(u8::MAX)))
}

/// Passes on the lines of the launcher until it is gone.
fn listen(mut input: impl BufRead + Send + 'static) -> Receiver<Told> {
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|length| length > 0) {
            let said = match line.trim_end_matches('\n') {
                "" => Told::Beat,
                text => Told::Line(text.to_owned()),
            };
            if sender.send(said).is_err() {
                return;
            }
            line.clear();
        }
    });
    told
}

struct Attended {
    rank: Process,
    lines: Receiver<Line>,
    told: Receiver<Told>,
    /// When the launcher was last heard.
    beat: Instant,
    /// Streams of the rank that are open.
    open: usize,
}

impl Attended {
    fn attend(mut self) -> Death {
        let mut ended: Option<(Death, Instant)> = None;
        loop {
            let heard = self.hear();
            if !self.launcher_is_there() || heard.is_err() {
                let death = self.rank.end();
                return death.unwrap_or(Death::Lost);
            }
            if let (Some((_, since)), Ok(true)) = (&mut ended, heard) {
                *since = Instant::now();
            }
            if ended.is_none() {
                ended = self.rank.death().map(|death| (death, Instant::now()));
            }
            if let Some((death, since)) = ended
                && (self.open == 0 || since.elapsed() >= QUIET)
            {
                return death;
            }
        }
    }

    /// Passes on what the rank says within a moment. Returns whether it said anything.
    fn hear(&mut self) -> io::Result<bool> {
        if self.open == 0 {
            thread::sleep(TICK);
            return Ok(false);
        }
        let Ok(line) = self.lines.recv_timeout(TICK) else {
            return Ok(false);
        };
        match (line.stream, line.said) {
            (_, Said::Closed) => self.open -= 1,
            (Stream::Out, Said::Text(text)) => {
                let mut out = io::stdout().lock();
                writeln!(out, "{text}").and_then(|()| out.flush())?;
            }
            // What is lost of it nobody misses.
            (Stream::Err, Said::Text(text)) => drop(writeln!(io::stderr(), "{text}")),
        }
        Ok(true)
    }

    /// Passes on what the launcher says. Returns whether it is still there.
    fn launcher_is_there(&mut self) -> bool {
        loop {
            match self.told.try_recv() {
                Ok(Told::Line(line)) => self.rank.ask(&line),
                Ok(Told::Beat) => {}
                Err(TryRecvError::Empty) => return self.beat.elapsed() < SILENCE,
                Err(TryRecvError::Disconnected) => return false,
            }
            self.beat = Instant::now();
        }
    }
}
