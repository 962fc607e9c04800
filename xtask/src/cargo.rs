//! Runs cargo. Its lines are shown as they come, and Ctrl-C ends it.

use std::{
    io::{self, IsTerminal},
    process::Command,
};

use anyhow::anyhow;
use cargo_metadata::{Artifact, Message};
use launch::{Death, Stream};
use xshell::Cmd;

use crate::{
    exit::{Failure, Result},
    output,
    session::Session,
    warn,
};

/// Runs cargo with standard error passed on, and passes each line of standard output to
/// `line`.
pub fn run(
    session: &Session,
    command: Cmd<'_>,
    mut line: impl FnMut(&str) -> io::Result<()>,
) -> Result<Death> {
    let command = match session.offline {
        true => command.env("CARGO_NET_OFFLINE", "true"),
        false => command,
    };
    output::command(&command);
    let mut command = Command::from(command);
    // Cargo's stderr is a pipe, although the user's may be a terminal.
    if io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let death = launch::watch(
        &session.launcher,
        "cargo",
        command,
        |stream, text| match stream {
            Stream::Out => line(text),
            Stream::Err => {
                warn!("{text}");
                Ok(())
            }
        },
    )?;
    Ok(death)
}

/// Runs `cargo build`, and returns the files it made.
pub fn build(session: &Session, command: Cmd<'_>) -> Result<Vec<Artifact>> {
    let command = command.args(["--message-format", "json-render-diagnostics"]);
    let mut messages = Vec::new();
    let death = run(session, command, |line| {
        messages.extend_from_slice(line.as_bytes());
        messages.push(b'\n');
        Ok(())
    })?;
    if !death.is_success() {
        let error = anyhow!("our programs did not compile: cargo {death}");
        return Err(Failure::ours(error));
    }
    let messages: io::Result<Vec<_>> = Message::parse_stream(&*messages).collect();
    let artifacts =
        messages
            .map_err(Failure::ours)?
            .into_iter()
            .filter_map(|message| match message {
                Message::CompilerArtifact(artifact) => Some(artifact),
                _ => None,
            });
    Ok(artifacts.collect())
}
