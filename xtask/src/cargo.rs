//! Running cargo, whose lines are shown as they come and which Ctrl-C ends.

use std::{
    io::{self, IsTerminal, Write},
    process::Command,
    sync::mpsc,
    time::Duration,
};

use anyhow::Context;
use cargo_metadata::{Artifact, Message};
use launch::{Death, Input, Output, Process, Said, Stream, Streams};

use crate::session::Session;

/// How often the wish to stop is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Runs cargo with standard error passed on, and hands each line of standard output to
/// `line`.
pub fn run(
    session: &Session,
    command: impl Into<Command>,
    mut line: impl FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<Death> {
    let mut command = command.into();
    // It sees a pipe, where its user may see a terminal.
    if io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let (sender, lines) = mpsc::channel();
    let to = Output {
        source: 0,
        input: Input::Null,
        streams: Streams::Apart,
        lines: sender,
    };
    let cancel = session.launcher.cancel();
    cancel.check()?;
    let mut process =
        Process::start(&session.launcher, command, to).context("cannot start cargo")?;
    loop {
        // Dropping the process, as `?` does, ends it and what it started.
        cancel.check()?;
        match lines.recv_timeout(TICK) {
            Ok(heard) => match (heard.said, heard.stream) {
                (Said::Text(text), Stream::Out) => line(&text)?,
                (Said::Text(text), Stream::Err) => writeln!(io::stderr(), "{text}")?,
                (Said::Closed, _) => {}
            },
            Err(_) => {
                if let Some(death) = process.death() {
                    if death.is_success() {
                        process.leave_heirs();
                    }
                    return Ok(death);
                }
            }
        }
    }
}

/// Runs `cargo build`, and gives what it made.
pub fn build(session: &Session, command: impl Into<Command>) -> anyhow::Result<Vec<Artifact>> {
    let mut command = command.into();
    command.args(["--message-format", "json-render-diagnostics"]);
    let mut messages = Vec::new();
    let death = run(session, command, |line| {
        messages.extend_from_slice(line.as_bytes());
        messages.push(b'\n');
        Ok(())
    })?;
    if !death.is_success() {
        anyhow::bail!("our programs did not compile: cargo {death}");
    }
    let messages: Result<Vec<_>, _> = Message::parse_stream(&*messages).collect();
    let artifacts = messages?.into_iter().filter_map(|message| match message {
        Message::CompilerArtifact(artifact) => Some(artifact),
        _ => None,
    });
    Ok(artifacts.collect())
}
