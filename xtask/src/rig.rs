//! `cargo xtask rig`: runs any program over emulated cables, and looks after the nodes of a
//! rig of real ones.

mod discover;

use std::{io, process::ExitCode};

use rig::Rig;
use softrail::{
    Fabric,
    up::{End, Job, Stream},
};

use crate::{
    exit::{self, Failure, Result},
    flags::{RigClean, RigFlags, RigStep, RigUp},
    hosts, out, programs, rig_doctor, say,
    session::Session,
    warn,
};

pub fn run(session: &Session, flags: &RigFlags) -> Result {
    match &flags.step {
        RigStep::Up(flags) => up(session, flags),
        RigStep::Doctor(flags) => rig_doctor::run(session, flags),
        RigStep::Discover(flags) => discover::run(session, flags),
        RigStep::Clean(flags) => clean(session, flags),
    }
}

fn clean(session: &Session, flags: &RigClean) -> Result {
    let rig = Rig::read(&flags.file)?;
    if !rig.needs_hosts() {
        return Err(Failure::input(
            "the rig has no node on which anything is left",
        ));
    }
    for host in hosts::without_addresses(session, &rig)?.all() {
        let freed = host.clean()?;
        say!("{}: {} MB freed", host.name, freed >> 20);
    }
    Ok(ExitCode::SUCCESS)
}

fn up(session: &Session, flags: &RigUp) -> Result {
    let mut rig = flags.rig.read()?;
    if let Some(profile) = flags.profile {
        rig.rules.profile = profile;
    }
    let names: Vec<&str> = rig.nodes.iter().map(|node| &*node.name).collect();
    let nodes = chosen(&rig, &names, flags)?;
    let provider = programs::provider(session)?;
    let job = Job {
        command: &programs::of_rig(session, &flags.command, &provider)?,
        nodes: &nodes,
        provider: &provider,
        limit: flags.timeout,
    };
    let fabric = Fabric::create(&softrail::default_parent(), &rig)?;
    let _faults = fabric.play(|step, done| match done {
        Ok(()) => warn!("rig: {step}"),
        Err(error) => warn!("rig: {step}: not done: {}", softrail::with_causes(&error)),
    });
    let alone = nodes.len() == 1;
    let mut unheard = None;
    let ran = fabric.up(&names, &job, &session.launcher, |node, stream, line| {
        let who = if alone {
            String::new()
        } else {
            format!("{} | ", names[node])
        };
        match stream {
            Stream::Out => out!("{who}{line}").map_err(|unprinted| {
                unheard = Some(unprinted);
                io::ErrorKind::Other.into()
            }),
            Stream::Err => {
                warn!("{who}{line}");
                Ok(())
            }
        }
    });
    if let Some(unprinted) = unheard {
        return Err(unprinted.into());
    }
    let mut well = true;
    for (node, end) in ran? {
        let how = match end {
            End::Code(0) => continue,
            End::Code(code) => format!("exited with {code}"),
            End::Signal(signal) => format!("was killed by {}", launch::signal_name(signal)),
            End::Ended => "did not end by itself and was ended".to_owned(),
        };
        warn!(
            "error: '{}' on node '{}' {how}",
            flags.command[0], names[node]
        );
        well = false;
    }
    Ok(exit::passed(well))
}

/// The nodes that get a process.
fn chosen(rig: &Rig, names: &[&str], flags: &RigUp) -> Result<Vec<usize>> {
    if flags.node.is_empty() {
        return Ok((0..names.len()).collect());
    }
    let mut nodes = Vec::new();
    for name in &flags.node {
        match rig.rank(name) {
            Some(node) if !nodes.contains(&node) => nodes.push(node),
            Some(_) => {}
            None => {
                let problem = format!("--node {name}: the rig has no such node");
                let help = format!("its nodes are {}", names.join(", "));
                return Err(Failure::input(problem).help(help));
            }
        }
    }
    Ok(nodes)
}
