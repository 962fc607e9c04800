//! `cargo xtask rig`: anybody's program over emulated cables.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;
use rail_bench::plan::read_rig;
use rail_matrix::Rig;
use softrail::{
    Fabric,
    up::{End, Job, Stream},
};

use crate::{
    exit,
    flags::{RigFlags, RigStep, RigUp},
    programs,
    session::Session,
};

pub fn run(session: &Session, flags: &RigFlags) -> anyhow::Result<ExitCode> {
    match &flags.step {
        RigStep::Up(flags) => up(session, flags),
    }
}

fn up(session: &Session, flags: &RigUp) -> anyhow::Result<ExitCode> {
    let rig = match &flags.rig {
        Some(path) => read_rig(path)?,
        None => Rig::embedded(),
    };
    let names: Vec<&str> = rig.nodes.iter().map(|node| &*node.name).collect();
    let nodes = chosen(&rig, &names, flags)?;
    let job = Job {
        command: &flags.command,
        nodes: &nodes,
        provider: &programs::provider(session)?,
        limit: flags.timeout,
    };
    let fabric = Fabric::create(&softrail::default_parent(), &rig)?;
    let _faults = fabric.play(|step, done| match done {
        Ok(()) => eprintln!("rig: {step}"),
        Err(error) => eprintln!("rig: {step}: not done: {error}"),
    });
    let alone = nodes.len() == 1;
    let ends = fabric.up(&names, &job, &session.launcher, |node, stream, line| {
        let who = if alone {
            String::new()
        } else {
            format!("{} | ", names[node])
        };
        match stream {
            Stream::Out => writeln!(io::stdout(), "{who}{line}"),
            Stream::Err => writeln!(io::stderr(), "{who}{line}"),
        }
    })?;
    let mut code = ExitCode::SUCCESS;
    for (node, end) in ends {
        let how = match end {
            End::Code(0) => continue,
            End::Code(code) => format!("exited with {code}"),
            End::Signal(signal) => format!("was killed by {}", launch::signal_name(signal)),
            End::Ended => "did not end by itself and was ended".to_owned(),
        };
        eprintln!(
            "error: '{}' on node '{}' {how}",
            flags.command[0], names[node]
        );
        code = exit::FAILED.into();
    }
    Ok(code)
}

/// The nodes that get a process.
fn chosen(rig: &Rig, names: &[&str], flags: &RigUp) -> anyhow::Result<Vec<usize>> {
    if flags.node.is_empty() {
        return Ok((0..names.len()).collect());
    }
    let mut nodes = Vec::new();
    for name in &flags.node {
        match rig.rank(name) {
            Some(node) if !nodes.contains(&node) => nodes.push(node),
            Some(_) => {}
            None => bail!(UserError(format!(
                "--node {name}: the rig has no such node; its nodes are {}",
                names.join(", ")
            ))),
        }
    }
    Ok(nodes)
}

/// Something in the flags that the rig does not have.
#[derive(Debug)]
pub struct UserError(String);

impl std::error::Error for UserError {}

impl std::fmt::Display for UserError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
