//! `cargo xtask rig doctor`: asks the nodes of a rig, and says what is wrong with them.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::anyhow;
use launch::Launcher;
use matrix_cli::Ran;
use nodes::{Answer, Examination, HERE, Request, Said, Scope, Unreachable};
use rig::{Cables, Rig};
use terminal::ReportFormat;

use crate::{
    exit::{self, Failure, Kind, Result},
    flags::RigDoctor,
    output,
    session::Session,
    warn,
};

pub fn run(session: &Session, flags: &RigDoctor) -> Result {
    let launcher = &session.launcher;
    let model = flags.model.as_deref();
    let examination = match &flags.rig {
        Some(file) => of_rig(launcher, &Rig::read(file)?, model)?,
        None => of_hosts(launcher, &flags.host, model)?,
    };
    output::document(&match flags.format {
        ReportFormat::Md => examination.markdown(),
        ReportFormat::Json => examination.json(),
    })?;
    Ok(exit::passed(examination.is_well()))
}

/// Examines the nodes of a rig before its ranks are started, and prints what is wrong. Of a
/// rig that needs more than this machine, failures are refused.
pub fn before_ranks(launcher: &Launcher, rig: &Rig) -> Result<Examination> {
    let examination = of_rig(launcher, rig, None)?;
    for finding in &examination.findings {
        warn!("{}: {finding}", finding.severity);
    }
    let failures = examination.failures().count();
    match failures {
        failures if failures == 0 || !rig.needs_hosts() => Ok(examination),
        _ => {
            let wrong = anyhow!("the nodes cannot run ranks, for the {failures} failures above");
            let help = "`cargo xtask rig doctor` prints all that is known of them".to_owned();
            Err(Failure::new(Kind::Check, wrong).help(help))
        }
    }
}

/// A machine that is asked.
struct Machine {
    host: String,
    /// The nodes of the rig that it is.
    nodes: Vec<String>,
    stage: Option<PathBuf>,
    model: Option<PathBuf>,
}

impl Machine {
    fn request(&self) -> Request<'_> {
        Request {
            stage: self.stage.as_deref(),
            model: self.model.as_deref(),
        }
    }
}

fn of_rig(launcher: &Launcher, rig: &Rig, model: Option<&Path>) -> Result<Examination> {
    let scope = Scope {
        rig: Some(rig),
        real: rig.kind == Cables::Real,
        model: model.is_some(),
    };
    examine(launcher, scope, &machines(rig, model))
}

/// The machines that the nodes of a rig are, in the order of the rig.
fn machines(rig: &Rig, model: Option<&Path>) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    for node in &rig.nodes {
        let host = node.ssh.as_deref().unwrap_or(HERE);
        let known = machines.iter_mut().find(|machine| machine.host == host);
        if let Some(machine) = known {
            machine.nodes.push(node.name.clone());
            continue;
        }
        let place = |model: &Path| match (&node.models, model.file_name()) {
            (Some(models), Some(name)) => models.join(name),
            _ => model.to_owned(),
        };
        machines.push(Machine {
            host: host.to_owned(),
            nodes: vec![node.name.clone()],
            stage: node.stage.clone(),
            model: model.map(place),
        });
    }
    machines
}

fn of_hosts(launcher: &Launcher, hosts: &[String], model: Option<&Path>) -> Result<Examination> {
    let here = [HERE.to_owned()];
    let asked = if hosts.is_empty() { &here } else { hosts };
    let machine = |host: &String| Machine {
        host: host.clone(),
        nodes: vec![],
        stage: None,
        model: model.map(Path::to_owned),
    };
    let machines: Vec<_> = asked.iter().map(machine).collect();
    let scope = Scope {
        rig: None,
        real: !hosts.is_empty(),
        model: model.is_some(),
    };
    examine(launcher, scope, &machines)
}

fn examine(launcher: &Launcher, scope: Scope, machines: &[Machine]) -> Result<Examination> {
    let script = |machine: &Machine| (machine.host.clone(), nodes::script(&machine.request()));
    let scripts: Vec<_> = machines.iter().map(script).collect();
    // A model is asked of all or of none.
    let limits = machines.iter().map(|machine| machine.request().limit());
    let limit = limits.max();
    let ran = matrix_cli::on_hosts(launcher, &scripts, limit.unwrap_or_default())?;
    let answers = machines.iter().zip(ran);
    let answers = answers.map(|(machine, ran)| answer(&machine.host, &machine.nodes, ran));
    let answers: Vec<_> = answers.collect::<Result<_>>()?;
    Ok(nodes::examine(scope, &answers))
}

/// The answer of a machine, be it that it cannot be asked.
fn answer(host: &str, nodes: &[String], ran: Result<Ran, matrix_cli::Error>) -> Result<Answer> {
    let said = match ran {
        Ok(ran) => said(host, ran),
        Err(error) if error.kind() == Kind::Input => Err(Unreachable {
            why: error.to_string(),
            remedy: error.help().unwrap_or_default(),
        }),
        Err(error) => return Err(error.into()),
    };
    Ok(Answer {
        host: host.to_owned(),
        nodes: nodes.to_vec(),
        said,
    })
}

/// What the script printed, or why it did not run.
fn said(host: &str, ran: Ran) -> Result<Said, Unreachable> {
    let Ran {
        output,
        begun,
        ended,
    } = ran;
    let late = output.late;
    if !output.death.is_success() && output.stdout.is_empty() {
        let last = output.stderr.trim().lines().last().unwrap_or_default();
        let why = match late {
            true => format!("'{host}' runs no script: its shell does not answer"),
            false => format!("'{host}' runs no script: the shell {} {last}", output.death),
        };
        let remedy = "let the user log in to a shell".to_owned();
        return Err(Unreachable { why, remedy });
    }
    Ok(Said {
        text: output.stdout,
        asked: seconds(begun),
        answered: seconds(ended),
        late,
    })
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
