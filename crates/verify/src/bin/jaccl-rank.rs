//! One rank that drives jaccl as its launcher asks.
//!
//! Requests ([`jaccl::Request`]) come on standard input and reports
//! ([`jaccl::Report`]) go to standard output, one JSON object a line. Exits with 0
//! after it was asked to leave, else with 1, and at once when standard input closes:
//! the launcher is gone then, and a rank that waits for its peers would spin for
//! ever.

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
        // Nobody to tell when nobody listens: this process is about to end.
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

/// Read in a thread of its own, because the end of the input must be seen also
/// while jaccl works.
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
