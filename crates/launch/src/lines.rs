//! The output of processes, line by line.

use std::{
    io::{BufRead, BufReader, Read},
    sync::mpsc::Sender,
    thread,
};

/// Which of its two streams a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output; also both streams if they share one pipe.
    Out,
    /// Standard error.
    Err,
}

/// A line of a process, or the end of one of its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The number that the process was started with.
    pub source: usize,
    /// The stream.
    pub stream: Stream,
    /// The content.
    pub said: Said,
}

/// The content of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// One line without its end; bytes that are not UTF-8 are replaced.
    Text(String),
    /// Every process that held the stream open has closed it.
    Closed,
}

/// Sends the lines of a pipe until it closes or its receiver is gone. The thread ends
/// with the pipe.
pub(crate) fn forward(
    pipe: impl Read + Send + 'static,
    source: usize,
    stream: Stream,
    lines: Sender<Line>,
) {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        let send = |said| {
            lines.send(Line {
                source,
                stream,
                said,
            })
        };
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            bytes.clear();
            if send(Said::Text(text)).is_err() {
                return;
            }
        }
        let _ = send(Said::Closed);
    });
}
