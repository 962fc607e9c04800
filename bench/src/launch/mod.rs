//! One process a rank: started together, watched, and never left behind.
//!
//! A rank that says nothing is not thereby hung: the ranks wait for each other,
//! so one slow rank silences all. What counts is the time since *any* rank said
//! anything, and that limit is for the longest step, not for the cell.

mod process;
mod transcript;
mod watchdog;

use std::{
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use process::{Line, RankProcess, Stream};
pub use transcript::{RunRecord, Token, Transcript};
use watchdog::Watchdog;

use crate::protocol::{Event, Job};

/// The program that is a rank, and the environment it needs to start at all.
#[derive(Debug, Clone)]
pub struct RankProgram {
    /// Takes `--job FILE`.
    pub path: PathBuf,
    /// Added to every rank's environment.
    pub env: Vec<(String, String)>,
}

/// What one rank is started with.
#[derive(Debug, Clone)]
pub struct RankStart {
    /// What it is to do.
    pub job: Job,
    /// Its own environment, over the program's.
    pub env: Vec<(String, String)>,
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest that all ranks may be silent before they count as hung.
    pub silence: Duration,
    /// What the others get to end by themselves once one rank failed.
    pub grace: Duration,
}

/// How the ranks came to their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Every rank did its job.
    Done,
    /// Nothing was heard for so long.
    Hang {
        /// The limit that passed.
        silence: Duration,
    },
    /// A rank died, or ended without having said why.
    Crash {
        /// The first to do so.
        rank: usize,
        /// In which way.
        death: String,
        /// The last lines it left on stderr.
        stderr: Vec<String>,
    },
    /// A rank reported a failure.
    Error {
        /// The first to do so.
        rank: usize,
        /// In its own words.
        message: String,
    },
}

/// What came of a launch.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What each rank said, by rank.
    pub transcripts: Vec<Transcript>,
}

impl Outcome {
    /// Why it did not end well, in one line, or nothing.
    pub fn detail(&self) -> Option<String> {
        match &self.ending {
            Ending::Done => None,
            Ending::Hang { silence } => {
                let standing: Vec<_> = self
                    .transcripts
                    .iter()
                    .enumerate()
                    .map(|(rank, transcript)| format!("rank {rank}: {transcript}"))
                    .collect();
                Some(format!(
                    "no rank said anything for {silence:?}; {}",
                    standing.join("; ")
                ))
            }
            Ending::Crash {
                rank,
                death,
                stderr,
            } => {
                let place = &self.transcripts[*rank];
                let said = match stderr.is_empty() {
                    true => String::new(),
                    false => format!("; its stderr ends: {}", stderr.join(" | ")),
                };
                Some(format!("rank {rank} {death} ({place}){said}"))
            }
            Ending::Error { rank, message } => Some(format!("rank {rank}: {message}")),
        }
    }
}

/// A launch that came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A job file could not be written.
    #[error("cannot write the job of rank {rank} to {}; free some space there, or set TMPDIR", path.display())]
    Job {
        /// The rank.
        rank: usize,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A process could not be started.
    #[error("cannot start {} as rank {rank}", program.display())]
    Start {
        /// The rank.
        rank: usize,
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// How often the ranks' exits and the caller's wish to stop are looked at.
const TICK: Duration = Duration::from_millis(20);

/// What a dead rank's pipes get to be read to their end.
const DRAIN: Duration = Duration::from_secs(1);

/// Starts the ranks, listens until they end or hang, and ends what is left.
///
/// Whichever way this returns, no process it started is alive. `listen` hears
/// every event as it comes. `interrupted` is the caller's to set, at Ctrl-C.
///
/// # Errors
/// When a rank cannot be started or the caller asked to stop. What goes wrong
/// in a rank is an [`Ending`].
pub fn launch(
    program: &RankProgram,
    starts: &[RankStart],
    scratch: &Path,
    limits: Limits,
    interrupted: &AtomicBool,
    mut listen: impl FnMut(usize, &Event),
) -> Result<Outcome, LaunchError> {
    let (sender, lines) = mpsc::channel();
    let mut ranks = Vec::with_capacity(starts.len());
    for start in starts {
        ranks.push(RankProcess::start(program, start, scratch, sender.clone())?);
    }
    drop(sender);

    let mut job = Running::new(ranks, limits);
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err(LaunchError::Interrupted);
        }
        let heard = lines.recv_timeout(TICK);
        job.reap();
        match heard {
            Ok(line) => job.hear(line, &mut listen),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if job.all_exited() => {
                // A rank's pipes close a moment before its exit can be seen.
                job.reap();
                break;
            }
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
        }
        if job.must_end(Instant::now()) {
            job.kill();
            while let Ok(line) = lines.recv_timeout(DRAIN) {
                job.hear(line, &mut listen);
            }
            break;
        }
    }
    Ok(job.conclude())
}

/// The ranks while they run.
struct Running {
    ranks: Vec<RankProcess>,
    transcripts: Vec<Transcript>,
    limits: Limits,
    watchdog: Watchdog,
    hung: bool,
    failure: Option<Failure>,
}

/// The first sign that the job cannot succeed.
struct Failure {
    rank: usize,
    since: Instant,
    /// What the rank said of it. A rank that died may yet be heard: its last
    /// words are still in the pipe.
    message: Option<String>,
}

impl Running {
    fn new(ranks: Vec<RankProcess>, limits: Limits) -> Self {
        Self {
            transcripts: vec![Transcript::default(); ranks.len()],
            ranks,
            limits,
            watchdog: Watchdog::new(limits.silence, Instant::now()),
            hung: false,
            failure: None,
        }
    }

    /// Notes which ranks have exited. Looked at before each event is taken in,
    /// so that a rank's death comes before the complaint of a peer about it.
    fn reap(&mut self) {
        for (rank, process) in self.ranks.iter_mut().enumerate() {
            let died = process.exit().is_some_and(|status| !status.success());
            if died && self.failure.is_none() {
                self.failure = Some(Failure {
                    rank,
                    since: Instant::now(),
                    message: None,
                });
            }
        }
    }

    fn hear(&mut self, line: Line, listen: &mut impl FnMut(usize, &Event)) {
        let Line { rank, stream, text } = line;
        let event = match stream {
            Stream::Stdout => Event::parse(&text).ok(),
            Stream::Stderr => None,
        };
        let Some(event) = event else {
            self.ranks[rank].remember(text);
            return;
        };
        self.watchdog.hear(Instant::now());
        listen(rank, &event);
        let complaint = match (&event, self.transcripts[rank].hear(&event)) {
            (Event::Error { message }, _) => message.clone(),
            (_, Err(why)) => why,
            (_, Ok(())) => return,
        };
        let failure = self.failure.get_or_insert_with(|| Failure {
            rank,
            since: Instant::now(),
            message: None,
        });
        if failure.rank == rank {
            failure.message.get_or_insert(complaint);
        }
    }

    fn all_exited(&mut self) -> bool {
        self.ranks
            .iter_mut()
            .all(|process| process.exit().is_some())
    }

    fn must_end(&mut self, now: Instant) -> bool {
        self.hung = self.failure.is_none() && self.watchdog.expired(now);
        self.hung
            || self
                .failure
                .as_ref()
                .is_some_and(|f| now - f.since >= self.limits.grace)
    }

    fn kill(&mut self) {
        for (process, transcript) in self.ranks.iter_mut().zip(&mut self.transcripts) {
            match process.exit() {
                Some(_) => transcript.exited(),
                None => process.kill(),
            }
        }
    }

    fn conclude(mut self) -> Outcome {
        let ending = if let Some(Failure { rank, message, .. }) = self.failure.take() {
            match message {
                Some(message) => Ending::Error { rank, message },
                None => self.crash_of(rank),
            }
        } else if let Some(rank) = self.left_early() {
            self.crash_of(rank)
        } else if self.hung {
            Ending::Hang {
                silence: self.limits.silence,
            }
        } else {
            Ending::Done
        };
        Outcome {
            ending,
            transcripts: self.transcripts,
        }
    }

    /// A rank that exited as if all were well before it was done. Its peers may
    /// hang for that, so it goes before a hang.
    fn left_early(&mut self) -> Option<usize> {
        let exited_well = |process: &mut RankProcess| process.exit().is_some_and(|s| s.success());
        let mut ranks = self.ranks.iter_mut().zip(&self.transcripts);
        ranks.position(|(process, transcript)| exited_well(process) && !transcript.done())
    }

    fn crash_of(&mut self, rank: usize) -> Ending {
        let process = &mut self.ranks[rank];
        Ending::Crash {
            rank,
            death: process.death(),
            stderr: process.last_words(),
        }
    }
}
