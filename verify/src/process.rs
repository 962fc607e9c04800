//! One rank: its process, what it says, what it needs of the processor.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
    thread,
    time::{Duration, Instant},
};

use jaccl::{Report, Request};
use rustix::process::{Pid, Signal, kill_process};

use crate::stack;

/// Lines of standard error that are kept.
const LAST_WORDS: usize = 100;

/// How long a rank gets to write its stack, or to end after its output did.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is heard of a rank.
#[derive(Debug)]
pub enum Word {
    Report(Report),
    /// Its output has ended.
    Closed,
}

/// A process that is killed and waited for when dropped, and ends by itself when this
/// one does, because its standard input closes.
pub struct RankProcess {
    child: Child,
    requests: ChildStdin,
    errors: Arc<Mutex<VecDeque<String>>>,
}

impl RankProcess {
    pub fn start(
        program: &Path,
        environment: &[(String, String)],
        rank: usize,
        words: Sender<(usize, Word)>,
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .env_remove("JACCL_BIG_FRAMES")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C goes to the launcher alone, which then ends the ranks.
            .process_group(0)
            .spawn()?;
        let (Some(requests), Some(output), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three were asked for");
        };
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&errors);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST_WORDS {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // What is no report was printed by what jaccl loads.
                if let Ok(report) = serde_json::from_str(&line) {
                    let _ = words.send((rank, Word::Report(report)));
                }
            }
            let _ = words.send((rank, Word::Closed));
        });
        Ok(RankProcess {
            child,
            requests,
            errors,
        })
    }

    /// Asks the rank something. One that is dead is heard of soon enough.
    pub fn ask(&mut self, request: &Request) {
        let _ = serde_json::to_string(request)
            .map_err(io::Error::from)
            .and_then(|line| writeln!(self.requests, "{line}"));
    }

    /// Where it is in jaccl, as far as its stack can be had.
    pub fn place(&self) -> Option<String> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::USR1).ok()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = stack::place(&self.last_words()) {
                return Some(place);
            }
            if Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How its process ended, once its output has: with the place of a crash, and what
    /// it last said.
    pub fn death(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break Some(status),
                _ if Instant::now() > deadline => break None,
                _ => thread::sleep(Duration::from_millis(5)),
            }
        };
        let how = match status {
            None => "closed its output".to_owned(),
            Some(status) => match status.signal() {
                Some(signal) => format!("died of signal {signal}{}", signal_name(signal)),
                None => format!("ended with {status}"),
            },
        };
        let words = self.last_words();
        let place = stack::place(&words).map_or(String::new(), |place| format!(" in {place}"));
        let said: Vec<&str> = stack::without(&words).collect();
        let said = match said.as_slice() {
            [] => String::new(),
            [.., last] => format!(": {last}"),
        };
        format!("{how}{place}{said}")
    }

    fn last_words(&self) -> Vec<String> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.iter().cloned().collect()
    }

    /// Processor time used so far, and whether one of its threads would use more if it
    /// could: fields 14, 15 and 3 of `/proc/PID/stat`. Nothing on systems without it.
    pub fn processor(&self) -> Option<Processor> {
        let folder = Path::new("/proc").join(self.child.id().to_string());
        let stat = Stat::read(&folder)?;
        let threads = fs::read_dir(folder.join("task")).ok()?;
        let wants = threads
            .flatten()
            .filter_map(|thread| Stat::read(&thread.path()))
            .any(|thread| thread.runnable);
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Processor {
            used: Duration::from_millis(stat.ticks * 1000 / per_second),
            wants,
        })
    }
}

/// What is read of a `stat`.
struct Stat {
    ticks: u64,
    runnable: bool,
}

impl Stat {
    fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("stat")).ok()?;
        // The name before may hold anything.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Stat {
            ticks: ticks(11)? + ticks(12)?,
            runnable: fields.first() == Some(&"R"),
        })
    }
}

/// What a process has had of the processors.
#[derive(Debug, Clone, Copy)]
pub struct Processor {
    pub used: Duration,
    pub wants: bool,
}

fn signal_name(signal: i32) -> &'static str {
    match Signal::from_named_raw(signal) {
        Some(Signal::SEGV) => " (SIGSEGV)",
        Some(Signal::BUS) => " (SIGBUS)",
        Some(Signal::FPE) => " (SIGFPE)",
        Some(Signal::ILL) => " (SIGILL)",
        Some(Signal::ABORT) => " (SIGABRT)",
        _ => "",
    }
}

impl Drop for RankProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
