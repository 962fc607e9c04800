//! `rail-rank --job FILE`: runs one rank's part of a job. Ends at once when its stdin
//! closes, because the launcher is gone then.
//!
//! Its first event names the build of MLX that it has loaded, whatever happens
//! afterwards.
//!
//! Exit status: 0 after a `done` event, 1 after an `error` event, 2 for an invalid
//! command line.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use rail_bench::protocol::{Event, Job, end_with_launcher};

/// One rank of mlx-rails' benchmark. The launcher starts it; it speaks JSON
/// lines on stdout.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// What to do: a job as the launcher writes it, in JSON
    #[arg(long, value_name = "FILE")]
    job: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    end_with_launcher();
    let mut stdout = io::stdout().lock();
    match work(&args.job, &mut stdout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format!("{error:#}");
            eprintln!("error: {message}");
            // A launcher that no longer reads stdout still gets the exit status.
            let _ = Event::Error { message }.emit(&mut stdout);
            ExitCode::FAILURE
        }
    }
}

fn work(path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let build = mlx_core::build_key().to_owned();
    Event::Loaded { build }.emit(&mut *out)?;
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the job {}", path.display()))?;
    let job: Job = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a job of this version", path.display()))?;
    rail_rank::run(&job, &mut |event| event.emit(&mut *out))
}
