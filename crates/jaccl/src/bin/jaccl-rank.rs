//! One rank that drives jaccl as a [`jaccl::Job`] says.
//!
//! The job is the one argument, as JSON; reports go to standard output, one JSON
//! object a line. Exits with 0 when all steps passed, else with 1.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use jaccl::{Job, Report};

fn main() -> anyhow::Result<ExitCode> {
    let argument = std::env::args()
        .nth(1)
        .context("usage: jaccl-rank JOB, a jaccl::Job as JSON")?;
    let job: Job = serde_json::from_str(&argument).context("the job is not a jaccl::Job")?;
    let mut done = false;
    let mut output = io::stdout();
    jaccl::run(&job, |report| {
        done |= report == Report::Done;
        // A launcher that no longer listens has given up on this rank; it will be
        // ended soon, and there is nobody left to tell.
        let _ = serde_json::to_string(&report)
            .map_err(io::Error::from)
            .and_then(|line| writeln!(output, "{line}").and_then(|()| output.flush()));
    });
    Ok(if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
