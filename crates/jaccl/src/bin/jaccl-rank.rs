//! One rank that drives jaccl as a [`jaccl::Job`] says.
//!
//! The job is the one argument, as JSON; reports go to standard output, one JSON
//! object a line. Exits with 0 when all steps passed, else with 1, and at once
//! when standard input closes: the launcher is gone then, and a rank that waits
//! for its peers would spin for ever.

use std::{
    io::{self, Read, Write},
    process::{self, ExitCode},
    thread,
};

use anyhow::Context;
use jaccl::{Job, Report};

fn main() -> anyhow::Result<ExitCode> {
    let argument = std::env::args()
        .nth(1)
        .context("usage: jaccl-rank JOB, where JOB is a jaccl::Job as JSON")?;
    let job: Job = serde_json::from_str(&argument).context("the job is not a jaccl::Job")?;
    thread::spawn(end_with_launcher);
    let mut done = false;
    let mut output = io::stdout();
    jaccl::run(&job, |report| {
        done |= report == Report::Done;
        // Nobody to tell when nobody listens: this process is about to end.
        let _ = serde_json::to_string(&report)
            .map_err(io::Error::from)
            .and_then(|line| writeln!(output, "{line}"))
            .and_then(|()| output.flush());
    });
    Ok(if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn end_with_launcher() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    process::exit(1);
}
