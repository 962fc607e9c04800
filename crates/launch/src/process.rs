//! One process, and every process that it starts.

use std::{
    collections::VecDeque,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    death::Death,
    guardian::Guardian,
    lines::{Line, Stream, forward},
    processor::Processor,
};

/// The time between asking a process to end (SIGTERM) and killing it (SIGKILL).
pub const GRACE: Duration = Duration::from_secs(2);

/// The time between closing the lifeline of a [far](Input::Beating) process and ending the
/// connection to it: its other end asks the program to end, waits [`GRACE`], kills it and
/// removes its files.
pub const FAR_GRACE: Duration = Duration::from_secs(6);

/// The line that has a [far](Input::Beating) process's other end signal its program: see
/// [`Process::show_stack`].
pub const SHOW_STACK: &str = "\u{1}show stack";

/// The number of last lines kept of each process, for error messages.
const LAST_WORDS: usize = 100;

/// The standard input of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Null,
    /// A pipe for [`Process::ask`]. It closes when the launcher is gone, and a rank ends
    /// then.
    Pipe,
    /// As [`Input::Pipe`], of a connection to a program on another machine. An empty line is
    /// written to it at this interval: the other end counts a longer silence as the end of
    /// this process, because a network that is gone closes nothing.
    ///
    /// The process counts as far: it is ended by closing this pipe, and an exit code means
    /// what `ssh` says with it: 255 is the end of the connection ([`Death::Lost`]), and more
    /// than 128 a signal.
    Beating(Duration),
}

/// The pipes of a process's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Into one pipe, which keeps their lines in the order in which they were written.
    Merged,
    /// Into one pipe for each stream.
    Apart,
}

/// The connections of a process, beside its command.
#[derive(Debug, Clone)]
pub struct Output {
    /// The number that its lines carry.
    pub source: usize,
    /// Its standard input.
    pub input: Input,
    /// Its output streams.
    pub streams: Streams,
    /// The receiver of its lines.
    pub lines: Sender<Line>,
}

/// A process in a group of its own, with every process that it starts. Dropping it ends
/// the group.
///
/// The group's leader is a guardian, a small shell that ends the group if this process
/// dies without having done so: by SIGKILL, a panic that aborts, a second Ctrl-C.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<Arc<Mutex<ChildStdin>>>,
    far: bool,
    death: Option<Death>,
    guardian: Guardian,
    last_words: VecDeque<String>,
    left: bool,
}

impl Process {
    /// Starts a command.
    ///
    /// # Errors
    /// When the program cannot be started, or a pipe cannot be made.
    pub fn start(mut command: Command, to: Output) -> io::Result<Self> {
        let Output {
            source,
            input,
            streams,
            lines,
        } = to;
        let guardian = Guardian::start()?;
        command
            .stdin(match input {
                Input::Null => Stdio::null(),
                Input::Pipe | Input::Beating(_) => Stdio::piped(),
            })
            .process_group(guardian.group()?);
        let merged = match streams {
            Streams::Merged => {
                let (reader, writer) = io::pipe()?;
                command.stderr(writer.try_clone()?).stdout(writer);
                Some(reader)
            }
            Streams::Apart => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                None
            }
        };
        let spawned = command.spawn();
        // The command holds its own copies of the pipe's write ends, which would keep the
        // pipe open.
        drop(command);
        let mut child = spawned?;
        let stdin = child.stdin.take().map(|pipe| Arc::new(Mutex::new(pipe)));
        let mut far = false;
        if let (Input::Beating(interval), Some(pipe)) = (input, &stdin) {
            far = true;
            beat(pipe, interval);
        }
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let process = Process {
            child,
            stdin,
            far,
            death: None,
            guardian,
            last_words: VecDeque::new(),
            left: false,
        };
        if let Some(pipe) = merged {
            forward(pipe, source, Stream::Out, lines.clone());
        }
        if let Some(pipe) = out {
            forward(pipe, source, Stream::Out, lines.clone());
        }
        if let Some(pipe) = err {
            forward(pipe, source, Stream::Err, lines);
        }
        Ok(process)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input. Errors are ignored: a dead process is noticed
    /// by its end.
    pub fn ask(&mut self, line: &str) {
        let _ = self.write(format!("{line}\n").as_bytes());
    }

    /// Writes to its standard input.
    ///
    /// # Errors
    /// When the process no longer reads it, or [has none](Input::Null).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(pipe) = &self.stdin else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.write_all(bytes)
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// How the process ended, or `None` while it runs.
    pub fn death(&mut self) -> Option<Death> {
        if self.death.is_none() {
            let status = self.child.try_wait().ok().flatten();
            self.death = status.map(|status| self.death_by(status));
        }
        self.death
    }

    fn death_by(&self, status: ExitStatus) -> Death {
        match self.far {
            true => Death::of_far(status),
            false => status.into(),
        }
    }

    /// Waits for the process to end by itself, at most this long.
    pub fn wait(&mut self, patience: Duration) -> Option<Death> {
        let begun = Instant::now();
        loop {
            let death = self.death();
            if death.is_some() || begun.elapsed() >= patience {
                return death;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Keeps a line, for [`Process::last_words`].
    pub fn remember(&mut self, text: &str) {
        if self.last_words.len() == LAST_WORDS {
            self.last_words.pop_front();
        }
        self.last_words.push_back(text.to_owned());
    }

    /// The last lines that were [remembered](Process::remember).
    pub fn last_words(&self) -> Vec<String> {
        self.last_words.iter().cloned().collect()
    }

    /// The processor time used by the process, if this system reports it.
    pub fn processor(&self) -> Option<Processor> {
        match self.far {
            true => None,
            false => Processor::of(self.id()),
        }
    }

    /// Asks a process that has a handler for SIGUSR1 to write its stack. A far one gets the
    /// signal from the program at its other end, to which [`SHOW_STACK`] is written.
    pub fn show_stack(&mut self) {
        match self.far {
            true => self.ask(SHOW_STACK),
            // It fails only if the process is gone.
            false => drop(kill_process(Pid::from_child(&self.child), Signal::USR1)),
        }
    }

    /// Asks the group to end, without waiting for it.
    pub fn terminate(&self) {
        self.guardian.signal(Signal::TERM);
        // A stopped process handles the signal only after it is continued.
        self.guardian.signal(Signal::CONT);
    }

    /// Ends the group: asks it to end, waits up to [`GRACE`] for the process, and kills
    /// the rest.
    pub fn end(&mut self) -> Option<Death> {
        Process::end_all([&mut *self]);
        self.death
    }

    /// Ends several groups within the same [`GRACE`]. Far processes have had
    /// [`FAR_GRACE`] before it.
    pub fn end_all<'a>(processes: impl IntoIterator<Item = &'a mut Process>) {
        let (mut far, near): (Vec<_>, Vec<_>) =
            processes.into_iter().partition(|process| process.far);
        for process in &mut far {
            process.close_input();
        }
        for process in &near {
            process.terminate();
        }
        let until = Instant::now() + FAR_GRACE;
        for process in &mut far {
            process.wait(until.saturating_duration_since(Instant::now()));
            process.terminate();
        }
        let until = Instant::now() + GRACE;
        for process in near.into_iter().chain(far) {
            process.wait(until.saturating_duration_since(Instant::now()));
            process.guardian.signal(Signal::KILL);
            if process.death.is_none() {
                let status = process.child.wait().ok();
                process.death = status.map(|status| process.death_by(status));
            }
        }
    }

    /// Leaves running what the process started without waiting for it, such as the server
    /// of a compiler cache. For a process that has ended.
    pub fn leave_heirs(mut self) {
        self.left = self.death().is_some();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.left {
            match self.death() {
                // Processes left in its group have no part in a job that is over.
                Some(_) => {
                    self.terminate();
                    self.guardian.signal(Signal::KILL);
                }
                None => {
                    self.end();
                }
            }
        }
    }
}

/// Writes an empty line to a pipe at an interval, until its process is ended or does not
/// read it.
fn beat(pipe: &Arc<Mutex<ChildStdin>>, interval: Duration) {
    let pipe = Arc::downgrade(pipe);
    thread::spawn(move || {
        loop {
            thread::sleep(interval);
            let Some(pipe) = pipe.upgrade() else { return };
            let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
            if pipe.write_all(b"\n").is_err() {
                return;
            }
        }
    });
}
