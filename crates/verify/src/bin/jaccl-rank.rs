//! One rank that runs jaccl at its launcher's request.
//!
//! Requests ([`jaccl::Request`]) arrive on standard input and reports ([`jaccl::Report`])
//! go to standard output, one JSON object a line. The rank exits with 0 after a request
//! to leave, else with 1. It exits at once when standard input closes: the launcher is
//! gone then, and a rank that waits for its peers would spin without end.

use std::{
    io::{self, BufRead, Write},
    process::{self, ExitCode},
    sync::mpsc::{self, Receiver},
    thread,
};

use jaccl::{Report, Request};

fn main() -> ExitCode {
    let mut output = io::stdout();
    let well = jaccl::serve(requests(), |report| {
        // An error is ignored: without a reader there is nowhere to report it, and this
        // process is about to end.
        let _ = serde_json::to_string::<Report>(&report)
            .map_err(io::Error::from)
            .and_then(|line| writeln!(output, "{line}"))
            .and_then(|()| output.flush());
    });
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Read in a thread of its own, because the end of the input must be noticed even while
/// jaccl works.
fn requests() -> Receiver<Request> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(request) => {
                    let _ = sender.send(request);
                }
                Err(error) => {
                    eprintln!("jaccl-rank: not a request: {error}: {line}");
                    process::exit(1);
                }
            }
        }
        process::exit(1);
    });
    receiver
}
