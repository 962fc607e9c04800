//! Runs a rank until it ends, or until the launcher is gone.

use std::{
    fs::{self, File},
    io::{self, BufRead, Write},
    path::PathBuf,
    process::{Command, ExitCode},
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use launch::{Death, Input, Line, Output, Process, SHOW_STACK, Said, Stream, Streams, environment};

use super::{At, Result, stage::Stage};
use crate::wire::{FOLLOW, Run, SILENCE, following};

/// How often the launcher's lines and the rank's end are looked at.
const TICK: Duration = Duration::from_millis(10);

/// How long a stream that another process holds open is read after the rank's end.
const QUIET: Duration = Duration::from_millis(300);

/// How long the last lines may take to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the launcher says.
enum Told {
    Line(String),
    /// It wants to know where the rank is.
    ShowStack,
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
    let printer = Printer::start();
    let death = Attended {
        rank,
        lines,
        told: listen(input),
        beat: Instant::now(),
        open: 2,
        followed: run.follow.map(|name| Followed {
            path: scratch.path().join(name),
            told: vec![],
            looked: Instant::now(),
        }),
        printer: &printer,
    }
    .attend();
    printer.end();
    // The exit code is seen after the folder is gone.
    drop(scratch);
    Ok(ExitCode::from(
        u8::try_from(death.code()).unwrap_or(u8::MAX),
    ))
}

/// Passes on the lines of the launcher until it is gone.
fn listen(mut input: impl BufRead + Send + 'static) -> Receiver<Told> {
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|length| length > 0) {
            let said = match line.trim_end_matches('\n') {
                "" => Told::Beat,
                SHOW_STACK => Told::ShowStack,
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

/// Prints lines. A network that takes no more keeps only this waiting, and not the watch
/// over the launcher.
struct Printer {
    lines: Sender<(Stream, String)>,
    /// Closes when the last line is printed, or none can be.
    printed: Receiver<()>,
}

impl Printer {
    fn start() -> Self {
        let (lines, to_print) = mpsc::channel::<(Stream, String)>();
        let (sender, printed) = mpsc::channel();
        thread::spawn(move || {
            let _closes_at_the_end: Sender<()> = sender;
            for (stream, text) in to_print {
                let done = match stream {
                    Stream::Out => {
                        let mut out = io::stdout().lock();
                        writeln!(out, "{text}").and_then(|()| out.flush())
                    }
                    Stream::Err => writeln!(io::stderr(), "{text}"),
                };
                if done.is_err() {
                    return;
                }
            }
        });
        Printer { lines, printed }
    }

    /// A launcher that reads nothing more is gone, which its silence shows.
    fn print(&self, stream: Stream, text: String) {
        let _ = self.lines.send((stream, text));
    }

    /// Waits until all is printed, or nobody takes it.
    fn end(self) {
        drop(self.lines);
        let _ = self.printed.recv_timeout(PATIENCE);
    }
}

/// A file of the rank that the launcher reads too.
struct Followed {
    path: PathBuf,
    told: Vec<u8>,
    looked: Instant,
}

impl Followed {
    /// Prints what is in the file if it has changed.
    fn tell(&mut self, printer: &Printer) {
        self.looked = Instant::now();
        // The rank makes it when it needs it.
        let Ok(content) = fs::read(&self.path) else {
            return;
        };
        if content != self.told {
            printer.print(Stream::Out, following(&content));
            self.told = content;
        }
    }
}

struct Attended<'a> {
    rank: Process,
    lines: Receiver<Line>,
    told: Receiver<Told>,
    /// When the launcher was last heard.
    beat: Instant,
    /// Streams of the rank that are open.
    open: usize,
    followed: Option<Followed>,
    printer: &'a Printer,
}

impl Attended<'_> {
    fn attend(mut self) -> Death {
        let death = self.until_it_ends();
        self.tell_followed();
        death
    }

    fn until_it_ends(&mut self) -> Death {
        let mut ended: Option<(Death, Instant)> = None;
        loop {
            let heard = self.hear();
            if (self.followed.as_ref()).is_some_and(|it| it.looked.elapsed() >= FOLLOW) {
                self.tell_followed();
            }
            if !self.launcher_is_there() {
                let death = self.rank.end();
                return death.unwrap_or(Death::Lost);
            }
            if ended.is_none() {
                ended = self.rank.death().map(|death| (death, Instant::now()));
            } else if let (Some((_, since)), true) = (&mut ended, heard) {
                *since = Instant::now();
            }
            if let Some((death, since)) = ended
                && (self.open == 0 || since.elapsed() >= QUIET)
            {
                return death;
            }
        }
    }

    /// Passes on what the rank says within a moment. Returns whether it said anything.
    fn hear(&mut self) -> bool {
        if self.open == 0 {
            thread::sleep(TICK);
            return false;
        }
        let Ok(line) = self.lines.recv_timeout(TICK) else {
            return false;
        };
        match line.said {
            Said::Closed => self.open -= 1,
            Said::Text(text) => {
                if line.stream == Stream::Out {
                    // As it is when the rank says this, or a moment later.
                    self.tell_followed();
                }
                self.printer.print(line.stream, text);
            }
        }
        true
    }

    fn tell_followed(&mut self) {
        if let Some(followed) = &mut self.followed {
            followed.tell(self.printer);
        }
    }

    /// Passes on what the launcher says. Returns whether it is still there.
    fn launcher_is_there(&mut self) -> bool {
        loop {
            match self.told.try_recv() {
                Ok(Told::Line(line)) => self.rank.ask(&line),
                Ok(Told::ShowStack) => self.rank.show_stack(),
                Ok(Told::Beat) => {}
                Err(TryRecvError::Empty) => return self.beat.elapsed() < SILENCE,
                Err(TryRecvError::Disconnected) => return false,
            }
            self.beat = Instant::now();
        }
    }
}
