//! A conversation with a program on a node: bytes to its stdin, lines from its stdout.

use std::{
    collections::VecDeque,
    process::Command,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use launch::{Cancel, Death, Input, Launcher, Line, Output, Process, Said, Stream, Streams};

use crate::{Error, Result};

/// How often the caller's stop flag is checked.
const TICK: Duration = Duration::from_millis(20);

/// The most bytes that are written between two looks at the stop flag.
const PIECE: usize = 1 << 16;

/// The program, and what it has said.
pub(crate) struct Talk {
    process: Process,
    lines: Receiver<Line>,
    unread: VecDeque<String>,
    complaints: Vec<String>,
    /// Streams that are open.
    open: usize,
    cancel: Cancel,
}

impl Talk {
    pub(crate) fn start(launcher: &Launcher, node: &str, command: Command) -> Result<Self> {
        launcher.cancel().check()?;
        let program = command.get_program().to_string_lossy().into_owned();
        let (sender, lines) = mpsc::channel();
        let to = Output {
            source: 0,
            // The program ends when it has answered.
            input: Input::Pipe,
            streams: Streams::Apart,
            lines: sender,
        };
        let process = Process::start(command, to).map_err(|source| Error::Start {
            node: node.to_owned(),
            program,
            source,
        })?;
        Ok(Talk {
            process,
            lines,
            unread: VecDeque::new(),
            complaints: Vec::new(),
            open: 2,
            cancel: launcher.cancel().clone(),
        })
    }

    /// Writes to its stdin. That it reads no more shows in its answer.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE) {
            self.cancel.check()?;
            let _ = self.process.write(piece);
        }
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        self.process.close_input();
    }

    /// The next line of its stdout, or `None` if there is no further one.
    pub(crate) fn line(&mut self, patience: Duration) -> Result<Option<String>> {
        let until = Instant::now() + patience;
        while self.unread.is_empty() && self.open > 0 && Instant::now() < until {
            self.cancel.check()?;
            self.take_in();
        }
        Ok(self.unread.pop_front())
    }

    /// Whether it could still say something.
    pub(crate) fn is_open(&self) -> bool {
        self.open > 0
    }

    fn take_in(&mut self) {
        match self.lines.recv_timeout(TICK) {
            Ok(Line { stream, said, .. }) => match (stream, said) {
                (Stream::Out, Said::Text(text)) => self.unread.push_back(text),
                (Stream::Err, Said::Text(text)) => self.complaints.push(text),
                (_, Said::Closed) => self.open -= 1,
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.open = 0,
        }
    }

    /// Waits for its end, and returns how it ended.
    pub(crate) fn end(&mut self, patience: Duration) -> Result<Option<Death>> {
        self.close();
        let until = Instant::now() + patience;
        while Instant::now() < until {
            self.cancel.check()?;
            match self.process.death() {
                Some(death) if self.open == 0 => return Ok(Some(death)),
                _ if self.open > 0 => self.take_in(),
                _ => std::thread::sleep(TICK),
            }
        }
        Ok(None)
    }

    /// The last line of its stderr, or how it ended.
    pub(crate) fn said(&mut self) -> String {
        let mut last = self.complaints.iter().rev().map(|line| line.trim());
        match (last.find(|line| !line.is_empty()), self.process.death()) {
            (Some(line), _) => line.to_owned(),
            (None, Some(death)) => death.to_string(),
            (None, None) => "no answer".to_owned(),
        }
    }
}
