//! `doctor`: what is known of every node and end, and what is wrong.

use launch::Launcher;
use rail_matrix::{Topology, read, write::Diagnosis};
use terminal::ReportFormat;

use crate::{Answer, Error, discover, flags, input};

pub fn run(launcher: &Launcher, flags: &flags::Doctor) -> Result<Answer, Error> {
    let topology = match &flags.from {
        Some(from) => input::topology(launcher.cancel(), Some(from), None)?,
        None => asked(launcher, &flags.hosts)?,
    };
    let topology = topology.accept_one_sided(flags.accept_one_sided);
    let diagnosis = Diagnosis::of(&topology);
    Ok(Answer {
        document: match flags.format {
            ReportFormat::Md => diagnosis.markdown(),
            ReportFormat::Json => diagnosis.json(),
        },
        passed: diagnosis.is_well(),
    })
}

fn asked(launcher: &Launcher, hosts: &[String]) -> Result<Topology, Error> {
    let this = ["localhost".to_owned()];
    let hosts = if hosts.is_empty() { &this } else { hosts };
    Ok(read::reports(&discover::ask(launcher, hosts)?)?)
}
