//! The processes of one job: started together, listened to, and ended together.

use std::{
    collections::VecDeque,
    io,
    process::Command,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use crate::{
    TICK,
    cancel::{Cancel, Interrupted},
    death::Death,
    environment::without_jaccl,
    launcher::Launcher,
    lines::{Line, Said, Stream},
    process::{Input, Output, Process, Streams},
    processor::Processor,
};

/// The interval at which a far rank hears that its launcher is there.
pub const BEAT: Duration = Duration::from_secs(2);

/// A rank that cannot be started. The ranks started before it were ended.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {program} as rank {rank}")]
pub struct StartError {
    /// The rank.
    pub rank: usize,
    /// The program.
    pub program: String,
    /// The reason.
    #[source]
    pub source: io::Error,
}

/// An event of a rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The rank wrote a line to its standard output, which carries the protocols of
    /// ranks.
    Said {
        /// The rank.
        rank: usize,
        /// The line.
        text: String,
    },
    /// Its standard output is closed: the rank has ended, or is about to end.
    Closed {
        /// The rank.
        rank: usize,
    },
}

/// The ranks of a job while they run. Dropping it ends them.
///
/// Each rank has a pipe as its standard input, for requests and as its lifeline: it
/// closes when this process is gone, for whatever reason. The last lines that a rank
/// writes to its standard error are kept. A rank does not inherit the variables that
/// jaccl reads.
#[derive(Debug)]
pub struct Ranks {
    processes: Vec<Process>,
    lines: Receiver<Line>,
    sender: Sender<Line>,
    launcher: Launcher,
    /// Events received while waiting for something else.
    heard: VecDeque<Heard>,
    /// Which streams of each rank are open.
    open: Vec<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    out: bool,
    err: bool,
}

impl Ranks {
    /// A job without ranks yet.
    pub fn new(launcher: &Launcher) -> Self {
        let (sender, lines) = mpsc::channel();
        Ranks {
            processes: Vec::new(),
            lines,
            sender,
            launcher: launcher.clone(),
            heard: VecDeque::new(),
            open: Vec::new(),
        }
    }

    /// Starts the next rank. `environment` is added to the variables that it inherits.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(
        &mut self,
        mut command: Command,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), StartError> {
        without_jaccl(&mut command);
        command.envs(environment);
        self.start_with(command, Input::Pipe)
    }

    /// Starts the next rank on another machine: by a command that connects to it, which
    /// reads first what it has to start. [`BEAT`] is the interval of its lifeline.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn start_far(&mut self, connection: Command, order: &str) -> Result<(), StartError> {
        self.start_with(connection, Input::Beating(BEAT))?;
        let rank = self.processes.len() - 1;
        self.ask(rank, order);
        Ok(())
    }

    fn start_with(&mut self, command: Command, input: Input) -> Result<(), StartError> {
        let rank = self.processes.len();
        let program = command.get_program().to_string_lossy().into_owned();
        let to = Output {
            source: rank,
            input,
            streams: Streams::Apart,
            lines: self.sender.clone(),
        };
        let process = Process::start(command, to).map_err(|source| StartError {
            rank,
            program,
            source,
        })?;
        self.processes.push(process);
        self.open.push(Open {
            out: true,
            err: true,
        });
        Ok(())
    }

    /// The number of ranks.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether no rank was started.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// The caller's stop flag.
    pub fn cancel(&self) -> &Cancel {
        self.launcher.cancel()
    }

    /// A rank's process.
    pub fn process(&mut self, rank: usize) -> &mut Process {
        &mut self.processes[rank]
    }

    /// Writes a request to a rank. A dead rank is noticed by its end.
    pub fn ask(&mut self, rank: usize, line: &str) {
        self.processes[rank].ask(line);
    }

    /// Waits a moment for an event of a rank. Returns `None` if there was none.
    ///
    /// # Errors
    /// When the caller asked to stop.
    pub fn listen(&mut self) -> Result<Option<Heard>, Interrupted> {
        self.cancel().check()?;
        if self.heard.is_empty() {
            self.take_in();
        }
        Ok(self.heard.pop_front())
    }

    /// Whether there are events that [`Ranks::wait_until`] received and that were not yet
    /// listened to.
    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// The events that [`Ranks::wait_until`] received and that were not yet listened to.
    pub fn heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Receives what the ranks write until `enough` is true, at most for `patience`. The
    /// events are kept for [`Ranks::listen`]. Returns whether `enough` became true.
    pub fn wait_until(
        &mut self,
        patience: Duration,
        mut enough: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let until = Instant::now() + patience;
        loop {
            if enough(self) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            self.take_in();
        }
    }

    /// Receives a line, or waits for a moment.
    fn take_in(&mut self) {
        if self.silent() {
            thread::sleep(TICK);
            return;
        }
        let Ok(line) = self.lines.recv_timeout(TICK) else {
            return;
        };
        let Line {
            source: rank,
            stream,
            said,
        } = line;
        match (stream, said) {
            (Stream::Out, Said::Text(text)) => self.heard.push_back(Heard::Said { rank, text }),
            (Stream::Out, Said::Closed) => {
                self.open[rank].out = false;
                self.heard.push_back(Heard::Closed { rank });
            }
            (Stream::Err, Said::Text(text)) => {
                if !text.trim().is_empty() {
                    self.processes[rank].remember(&text);
                }
            }
            (Stream::Err, Said::Closed) => self.open[rank].err = false,
        }
    }

    /// Whether every stream of every rank is closed.
    pub fn silent(&self) -> bool {
        !self.open.iter().any(|open| open.out || open.err)
    }

    /// Waits until a rank has ended and its last words are received, at most for
    /// `patience`. Returns how it ended.
    pub fn end_of(&mut self, rank: usize, patience: Duration) -> Option<Death> {
        self.wait_until(patience, |ranks| {
            !ranks.open[rank].err && ranks.processes[rank].death().is_some()
        });
        self.processes[rank].death()
    }

    /// How each rank ended, by rank; `None` for a rank that runs.
    pub fn deaths(&mut self) -> Vec<Option<Death>> {
        self.processes.iter_mut().map(Process::death).collect()
    }

    /// The processor time used by each rank.
    pub fn processors(&self) -> Vec<Option<Processor>> {
        self.processes.iter().map(Process::processor).collect()
    }

    /// Ends the running ranks, within the same grace period.
    pub fn end(&mut self) {
        Process::end_all(&mut self.processes);
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        self.end();
    }
}
