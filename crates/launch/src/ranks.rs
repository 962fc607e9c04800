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

/// A rank that cannot be started. Those before it were ended.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {program} as rank {rank}")]
pub struct StartError {
    /// The rank.
    pub rank: usize,
    /// The program.
    pub program: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What is heard of a rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It wrote a line to its standard output: what the protocols of ranks are made of.
    Said {
        /// The rank.
        rank: usize,
        /// The line.
        text: String,
    },
    /// Its standard output is closed: it has ended, or is about to.
    Closed {
        /// The rank.
        rank: usize,
    },
}

/// The ranks of a job while they run. Dropping it ends them.
///
/// Each rank has a pipe as its standard input, for requests and as its lifeline: it closes
/// when this process is gone, however it went. What a rank writes to its standard error is
/// kept as its last words. No rank inherits what jaccl would read from the environment.
#[derive(Debug)]
pub struct Ranks {
    processes: Vec<Process>,
    lines: Receiver<Line>,
    sender: Sender<Line>,
    launcher: Launcher,
    /// Taken in while something else was waited for.
    heard: VecDeque<Heard>,
    /// Which of each rank's streams are open.
    open: Vec<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    out: bool,
    err: bool,
}

impl Ranks {
    /// No rank yet.
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

    /// Starts the next rank. `environment` is what it has beside what it inherits.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(
        &mut self,
        mut command: Command,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), StartError> {
        let rank = self.processes.len();
        let program = command.get_program().to_string_lossy().into_owned();
        without_jaccl(&mut command);
        command.envs(environment);
        let to = Output {
            source: rank,
            input: Input::Pipe,
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

    /// How many there are.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether none was started.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// The caller's wish to stop.
    pub fn cancel(&self) -> &Cancel {
        self.launcher.cancel()
    }

    /// A rank's process.
    pub fn process(&mut self, rank: usize) -> &mut Process {
        &mut self.processes[rank]
    }

    /// Writes a request to a rank. One that is dead is heard of soon enough.
    pub fn ask(&mut self, rank: usize, line: &str) {
        self.processes[rank].ask(line);
    }

    /// Waits a moment for what a rank says. Nothing when the moment passed in silence.
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

    /// Whether something was taken in by [`Ranks::wait_until`] and not yet listened to.
    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// What was taken in by [`Ranks::wait_until`] and not yet listened to.
    pub fn heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Takes in what the ranks write until `enough`, but no longer than `patience`. What
    /// they say meanwhile is kept for [`Ranks::listen`]. Gives whether it was enough.
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

    /// Takes in a line, or waits for a moment.
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

    /// Waits until a rank has ended and its last words are heard, but no longer than
    /// `patience`. Gives how it ended.
    pub fn end_of(&mut self, rank: usize, patience: Duration) -> Option<Death> {
        self.wait_until(patience, |ranks| {
            !ranks.open[rank].err && ranks.processes[rank].death().is_some()
        });
        self.processes[rank].death()
    }

    /// How each rank ended, by rank; nothing for one that runs.
    pub fn deaths(&mut self) -> Vec<Option<Death>> {
        self.processes.iter_mut().map(Process::death).collect()
    }

    /// What each rank has had of the processors.
    pub fn processors(&self) -> Vec<Option<Processor>> {
        self.processes.iter().map(Process::processor).collect()
    }

    /// Ends those that run, within the same grace.
    pub fn end(&mut self) {
        Process::end_all(&mut self.processes);
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        self.end();
    }
}
