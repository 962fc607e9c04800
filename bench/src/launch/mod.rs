//! One process for each rank: started together, watched, and always ended.
//!
//! A silent rank need not be hung: the ranks wait for each other, so one slow rank
//! silences all, and a long prefill moves bytes for minutes without an event. The limit
//! applies to the time since *any* rank reported anything and *any* cable carried
//! anything, while the ranks had the processor ([`launch::Watchdog`]).

mod transcript;

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use launch::{Death, Heard, Interrupted, Launcher, Limit, Ranks, StartError, Watchdog};
use meter::FILE_VARIABLE;
use remote::{Seat, wire::followed};
use serde::{Deserialize, Serialize};
pub use transcript::{Lap, RunRecord, Token, Transcript, Usage};

use crate::{
    hosts,
    protocol::{Event, Job},
};

/// The program of a rank, and the environment that it needs to start.
#[derive(Debug, Clone)]
pub struct RankProgram {
    /// Its path. It takes `--job FILE`.
    pub path: PathBuf,
    /// Arguments before `--job FILE`.
    pub args: Vec<String>,
    /// Added to every rank's environment.
    pub env: Vec<(String, String)>,
}

/// The start parameters of one rank.
#[derive(Debug, Clone)]
pub struct RankStart {
    /// Its job.
    pub job: Job,
    /// Its own environment variables, which override the program's.
    pub env: Vec<(String, String)>,
    /// Its place on another machine; none for a process of this one.
    pub seat: Option<Seat>,
}

impl RankStart {
    /// The file of this machine that gets a copy of what the rank counts on another one.
    fn counters(&self) -> Option<&Path> {
        self.seat.as_ref()?;
        let mut env = self.env.iter();
        let (_, path) = env.find(|(name, _)| name == FILE_VARIABLE)?;
        Some(Path::new(path))
    }
}

/// The time limits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest that all ranks may be silent, while no byte moves, before they count as
    /// hung.
    pub silence: Duration,
    /// How long the other ranks may take to end by themselves after one rank failed.
    pub grace: Duration,
}

/// How the ranks ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Every rank completed its job.
    Done,
    /// No rank reported anything, and no byte moved, for this long.
    Hang {
        /// The limit that was exceeded.
        silence: Duration,
    },
    /// A rank died, or ended without reporting the reason.
    Crash {
        /// The first to do so.
        rank: usize,
        /// How it died.
        death: String,
        /// Its last lines on stderr.
        stderr: Vec<String>,
        /// What jaccl said on other ranks, by rank.
        peers: Vec<(usize, String)>,
    },
    /// A rank reported a failure, or ended with an error of jaccl.
    Error {
        /// The first to do so.
        rank: usize,
        /// Its message.
        message: String,
    },
}

/// The outcome of a launch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The events of each rank, by rank.
    pub transcripts: Vec<Transcript>,
}

impl Outcome {
    /// Why it did not end well, in one line, or `None` if it did.
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
                    "no rank said anything and no byte moved for {silence:?}; {}",
                    standing.join("; ")
                ))
            }
            Ending::Crash {
                rank,
                death,
                stderr,
                peers,
            } => {
                let place = &self.transcripts[*rank];
                let said = match stderr.is_empty() {
                    true => String::new(),
                    false => format!("; its stderr ends: {}", stderr.join(" | ")),
                };
                let peers = peers
                    .iter()
                    .map(|(peer, said)| format!("; rank {peer}: {said}"));
                let peers: String = peers.collect();
                Some(format!("rank {rank} {death} ({place}){said}{peers}"))
            }
            Ending::Error { rank, message } => Some(format!("rank {rank}: {message}")),
        }
    }
}

/// Why a launch has no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A job file could not be written.
    #[error("cannot write the job of rank {rank} to {}", path.display())]
    Job {
        /// The rank.
        rank: usize,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// What a rank on another machine counts could not be written.
    #[error("cannot write what rank {rank} counts to a temporary file")]
    Counters {
        /// The rank.
        rank: usize,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A process could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A node cannot run ranks.
    #[error(transparent)]
    Remote(#[from] remote::Error),
    /// The caller asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl LaunchError {
    /// What to do about it, where anything can be done.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Job { .. } | Self::Counters { .. } => {
                Some("free some space for temporary files, or set TMPDIR".to_owned())
            }
            Self::Remote(error) => error.help(),
            Self::Start(_) | Self::Interrupted(_) => None,
        }
    }
}

/// How long to read the remaining output of ranks that were ended.
const DRAIN: Duration = Duration::from_secs(1);

/// Processor time that a rank without peers may use in silence, as a multiple of the
/// limit: only its own work keeps it from reporting, and a long prompt is a long prefill.
const WORK_ALONE: u32 = 30;

/// The number of a rank's last lines that a report contains.
const LAST_WORDS: usize = 8;

/// Starts the ranks, listens until they end or hang, and ends the remaining ones.
///
/// When this returns, no process it started is alive in any case. `moved` counts the
/// bytes that the job's cables have carried. `listen` receives every event as it arrives.
///
/// # Errors
/// When a rank cannot be started or the caller asked to stop. A failure of a rank is an
/// [`Ending`].
pub fn launch(
    launcher: &Launcher,
    program: &RankProgram,
    starts: &[RankStart],
    scratch: &Path,
    limits: Limits,
    moved: impl Fn() -> u64,
    mut listen: impl FnMut(usize, &Event),
) -> Result<Outcome, LaunchError> {
    let copies = starts.iter().enumerate().map(copy);
    let copies = copies.collect::<Result<_, _>>()?;
    let mut ranks = Ranks::new(launcher);
    for start in starts {
        if let Some(seat) = &start.seat {
            let (connection, order) = hosts::order(seat, program, start);
            ranks.start_far(connection, &order)?;
            continue;
        }
        let mut command = Command::new(&program.path);
        command.args(&program.args);
        command.arg("--job").arg(write_job(&start.job, scratch)?);
        let environment = program.env.iter().chain(&start.env).cloned();
        ranks.start(command, environment)?;
    }

    let mut job = Running::new(ranks, copies, limits, moved());
    loop {
        let heard = job.ranks.listen()?;
        job.reap();
        match heard {
            Some(heard) => job.hear(heard, &mut listen)?,
            None => job.look(moved()),
        }
        // Streams close a moment before the exits become visible.
        let over = job.ranks.silent() && job.deaths().iter().all(Option::is_some);
        if over || job.must_end() {
            job.end(&mut listen)?;
            return Ok(job.conclude());
        }
    }
}

fn write_job(job: &Job, scratch: &Path) -> Result<PathBuf, LaunchError> {
    let rank = job.rank;
    let path = scratch.join(format!("job-{rank}.json"));
    let text = serde_json::to_vec(job).expect("a job is plain data");
    match fs::write(&path, text) {
        Ok(()) => Ok(path),
        Err(source) => Err(LaunchError::Job { rank, path, source }),
    }
}

/// The file for a copy of what a rank counts elsewhere.
fn copy((rank, start): (usize, &RankStart)) -> Result<Option<File>, LaunchError> {
    let open = |path| OpenOptions::new().write(true).open(path);
    let file = start.counters().map(open).transpose();
    file.map_err(|source| LaunchError::Counters { rank, source })
}

/// The ranks while they run.
struct Running {
    ranks: Ranks,
    /// Of each rank, the file for a copy of what it counts.
    copies: Vec<Option<File>>,
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
    /// The failure in the rank's words. A rank that died may still have lines in the
    /// pipe: they are its last words.
    message: Option<String>,
}

impl Running {
    fn new(ranks: Ranks, copies: Vec<Option<File>>, limits: Limits, moved: u64) -> Self {
        let limit = Limit {
            silence: limits.silence,
            work: match ranks.len() {
                1 => limits.silence * WORK_ALONE,
                _ => Duration::ZERO,
            },
        };
        Self {
            transcripts: vec![Transcript::default(); ranks.len()],
            copies,
            ranks,
            limits,
            watchdog: Watchdog::new(limit, Instant::now(), moved),
            hung: false,
            failure: None,
        }
    }

    fn deaths(&mut self) -> Vec<Option<Death>> {
        self.ranks.deaths()
    }

    /// Records which ranks have exited. Called before each event is processed, so that a
    /// rank's death comes before a peer's error about it.
    fn reap(&mut self) {
        let deaths = self.deaths();
        let died = |death: &Option<Death>| death.is_some_and(|death| !death.is_success());
        if let Some(rank) = deaths.iter().position(died)
            && self.failure.is_none()
        {
            self.failure = Some(Failure {
                rank,
                since: Instant::now(),
                message: None,
            });
        }
    }

    /// No event arrived: checks whether the running ranks hang.
    fn look(&mut self, moved: u64) {
        let deaths = self.deaths();
        let Running {
            ranks, watchdog, ..
        } = self;
        self.hung = watchdog.hangs(
            Instant::now(),
            moved,
            || ranks.processors(),
            |rank| deaths[rank].is_none(),
        );
    }

    fn hear(
        &mut self,
        heard: Heard,
        listen: &mut impl FnMut(usize, &Event),
    ) -> Result<(), LaunchError> {
        let Heard::Said { rank, text } = heard else {
            return Ok(());
        };
        if let (Some(copy), Some(counters)) = (&self.copies[rank], followed(&text)) {
            let copied = copy.write_all_at(&counters, 0);
            return copied.map_err(|source| LaunchError::Counters { rank, source });
        }
        let Ok(event) = Event::parse(&text) else {
            // Printed by a library that the rank loads.
            if !text.trim().is_empty() {
                self.ranks.process(rank).remember(&text);
            }
            return Ok(());
        };
        self.watchdog.hear(Instant::now());
        listen(rank, &event);
        let complaint = match (&event, self.transcripts[rank].hear(&event)) {
            (Event::Error { message }, _) => message.clone(),
            (_, Err(why)) => why,
            (_, Ok(())) => return Ok(()),
        };
        let failure = self.failure.get_or_insert_with(|| Failure {
            rank,
            since: Instant::now(),
            message: None,
        });
        if failure.rank == rank {
            failure.message.get_or_insert(complaint);
        }
        Ok(())
    }

    fn must_end(&self) -> bool {
        match &self.failure {
            Some(failure) => failure.since.elapsed() >= self.limits.grace,
            None => self.hung,
        }
    }

    /// Ends the ranks that still run, and receives their remaining events.
    fn end(&mut self, listen: &mut impl FnMut(usize, &Event)) -> Result<(), LaunchError> {
        let deaths = self.deaths();
        for (death, transcript) in deaths.iter().zip(&mut self.transcripts) {
            if death.is_some() {
                transcript.exited();
            }
        }
        let by_itself = deaths.iter().all(Option::is_some);
        if !by_itself {
            self.ranks.end();
        }
        self.ranks.wait_until(DRAIN, |ranks| ranks.silent());
        while let Some(heard) = self.ranks.heard() {
            self.hear(heard, listen)?;
        }
        Ok(())
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

    /// A rank that exited with success before it was done. Its peers may hang because of
    /// it, so it takes precedence over a hang.
    fn left_early(&mut self) -> Option<usize> {
        let left = |transcript: &Transcript| transcript.has_exited() && !transcript.done();
        self.transcripts.iter().position(left)
    }

    fn crash_of(&mut self, rank: usize) -> Ending {
        let process = self.ranks.process(rank);
        let death = match process.death() {
            None => "did not end".to_owned(),
            Some(death) if death.is_success() => format!("{death} before it was done"),
            Some(death) => death.to_string(),
        };
        let mut stderr = process.last_words();
        if let Some(message) = words_of_jaccl(&stderr) {
            return Ending::Error { rank, message };
        }
        let others = (0..self.transcripts.len()).filter(|other| *other != rank);
        let peers = others.filter_map(|other| {
            let said = words_of_jaccl(&self.ranks.process(other).last_words())?;
            Some((other, said))
        });
        let peers = peers.collect();
        stderr.drain(..stderr.len().saturating_sub(LAST_WORDS));
        Ending::Crash {
            rank,
            death,
            stderr,
            peers,
        }
    }
}

/// An error of jaccl on stderr. MLX before 0.32.2 performs operations in a thread that catches nothing,
/// so an exception there ends the process, and the C++ library prints what it says.
fn words_of_jaccl(stderr: &[String]) -> Option<String> {
    let said = stderr.iter().find(|line| line.contains("what():"))?;
    let start = said.find("[jaccl]")?;
    Some(said[start..].trim_end().to_owned())
}
