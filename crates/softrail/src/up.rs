//! Anybody's program on the nodes of a fabric: started, listened to, and never left
//! behind.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::SocketAddrV4,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Fabric, FabricError};

/// How often exits and the caller's wish to stop are looked at.
const TICK: Duration = Duration::from_millis(20);

/// What a process gets between being asked to end and being killed.
const GRACE: Duration = Duration::from_secs(2);

/// Which of its two streams a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a node's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By us, because another node's had failed or the time was up.
    Ended,
}

/// Why a program could not be run on a fabric.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpError {
    /// The fabric's side of it.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// The program does not start.
    #[error("cannot start '{program}' on node '{node}': {source}; name a program that is there")]
    Start {
        /// The program.
        program: String,
        /// The node.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A program to be run on nodes of a fabric.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The program and its arguments.
    pub command: &'a [String],
    /// Indices of the nodes that get a process each.
    pub nodes: &'a [usize],
    /// What is run opens this as its libibverbs; see
    /// [`provider_library`](crate::provider_library).
    pub provider: &'a Path,
    /// How long all of it may take.
    pub limit: Option<Duration>,
}

/// What tells a process which node it is on, beside what the provider reads.
///
/// | variable | value |
/// |---|---|
/// | `RIG_NODE` | the node's name |
/// | `RIG_RANK` | its place in the rig, from 0 |
/// | `RIG_NODES` | the number of nodes of the rig |
/// | `RIG_COORDINATOR` | an address and a TCP port that are this run's alone |
/// | `RIG_HOST` | that address |
fn who(node: &str, rank: usize, nodes: usize, meet: SocketAddrV4) -> [(&'static str, String); 5] {
    [
        ("RIG_NODE", node.to_owned()),
        ("RIG_RANK", rank.to_string()),
        ("RIG_NODES", nodes.to_string()),
        ("RIG_COORDINATOR", meet.to_string()),
        ("RIG_HOST", meet.ip().to_string()),
    ]
}

impl Fabric {
    /// Runs a program on nodes, hands every line that the processes write to `line` with
    /// the index of its node, and waits for all. When one fails the others get two
    /// seconds; at the end none is left, nor what they started.
    ///
    /// # Errors
    /// When a process cannot be started, or `interrupted` was set.
    pub fn up(
        &self,
        names: &[&str],
        job: &Job<'_>,
        interrupted: &AtomicBool,
        mut line: impl FnMut(usize, Stream, &str),
    ) -> Result<Vec<(usize, End)>, UpError> {
        let (sender, lines) = mpsc::channel();
        let mut processes = Vec::new();
        for &node in job.nodes {
            let mut environment = self.env(names[node]);
            environment.extend(self.provider_env(job.provider)?);
            let who = who(names[node], node, names.len(), self.coordinator());
            environment.extend(who.map(|(name, value)| (name.to_owned(), value)));
            processes.push(Process::start(
                names[node],
                node,
                job,
                environment,
                &sender,
            )?);
        }
        drop(sender);

        let begun = Instant::now();
        let mut failed: Option<Instant> = None;
        loop {
            match lines.recv_timeout(TICK) {
                Ok((node, stream, text)) => line(node, stream, &text),
                Err(RecvTimeoutError::Timeout) => {}
                // Whoever holds the streams has ended; the processes may take a moment more.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
            }
            if interrupted.load(Ordering::Relaxed) {
                end_all(&processes);
                return Err(UpError::Interrupted);
            }
            for process in &mut processes {
                if process.look() && process.end != Some(End::Code(0)) {
                    failed.get_or_insert_with(Instant::now);
                }
            }
            let over = job.limit.is_some_and(|limit| begun.elapsed() > limit)
                || failed.is_some_and(|at| at.elapsed() > GRACE);
            if over || processes.iter().all(|process| process.end.is_some()) {
                break;
            }
        }
        end_all(&processes);
        let ends = processes.into_iter().map(Process::finish).collect();
        // All of it comes at once, however late its readers are scheduled; but what left
        // its group may hold a stream open, and is not waited for.
        let over = Instant::now() + GRACE;
        while let Ok((node, stream, text)) =
            lines.recv_timeout(over.saturating_duration_since(Instant::now()))
        {
            line(node, stream, &text);
        }
        Ok(ends)
    }
}

/// Asks all at once, so that they end within the same two seconds.
fn end_all(processes: &[Process]) {
    for process in processes.iter().filter(|process| process.end.is_none()) {
        process.signal(Signal::TERM);
    }
}

type Line = (usize, Stream, String);

/// A process and all that it starts, ended when dropped.
struct Process {
    node: usize,
    child: Child,
    end: Option<End>,
}

impl Process {
    fn start(
        name: &str,
        node: usize,
        job: &Job<'_>,
        environment: Vec<(String, String)>,
        lines: &Sender<Line>,
    ) -> Result<Self, UpError> {
        let program = job.command.first().map_or("", String::as_str);
        let mut child = Command::new(program)
            .args(&job.command[1.min(job.command.len())..])
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C goes to the launcher alone, which then ends the group.
            .process_group(0)
            .spawn()
            .map_err(|source| UpError::Start {
                program: program.to_owned(),
                node: name.to_owned(),
                source,
            })?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        listen(node, Stream::Out, out.expect("it is piped"), lines.clone());
        listen(node, Stream::Err, err.expect("it is piped"), lines.clone());
        Ok(Self {
            node,
            child,
            end: None,
        })
    }

    /// Whether it ended since it was last looked at.
    fn look(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let status = self.child.try_wait().ok().flatten();
        self.end = status.map(end_of);
        self.end.is_some()
    }

    /// How it ended by itself, if it did. What is left of it is ended.
    fn finish(self) -> (usize, End) {
        (self.node, self.end.unwrap_or(End::Ended))
    }

    fn signal(&self, signal: Signal) {
        // The group may be gone, which is what is wanted.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let asked = Instant::now();
        while self.end.is_none() && asked.elapsed() < GRACE {
            self.look();
            thread::sleep(TICK);
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, signal) => End::Signal(signal.unwrap_or(0)),
    }
}

/// Hands on what a process writes, line by line, whatever bytes it is.
fn listen(node: usize, stream: Stream, from: impl Read + Send + 'static, to: Sender<Line>) {
    thread::spawn(move || {
        for bytes in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if to.send((node, stream, text)).is_err() {
                break;
            }
        }
    });
}
