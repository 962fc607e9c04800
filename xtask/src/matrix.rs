//! `cargo xtask matrix`: a matrix from any description of the cabling.

mod check;
mod discover;
mod input;
mod reports;

use std::process::ExitCode;

use rail_matrix::{Note, Options, Plan, Topology, plan, write::Output};

use crate::{
    flags::{self, MatrixOptions, MatrixStep},
    session::Session,
};

pub use discover::DiscoverError;
pub use input::InputError;
pub use reports::SaveError;

pub fn run(session: &Session, flags: &flags::Matrix) -> anyhow::Result<ExitCode> {
    match &flags.step {
        Some(MatrixStep::Check(flags)) => check::run(flags),
        Some(MatrixStep::Discover(flags)) => discover::run(session, flags),
        None => {
            let topology = input::topology(flags.plan.from.as_deref(), flags.plan.input)?;
            print(&topology, &flags.plan.options)
        }
    }
}

/// Plans, and writes what was asked for: the document on stdout, and what a document for
/// programs cannot say on stderr.
pub fn print(topology: &Topology, flags: &MatrixOptions) -> anyhow::Result<ExitCode> {
    let selected = match &flags.nodes[..] {
        [] => None,
        names => Some(topology.select(names)?),
    };
    let topology = selected.as_ref().unwrap_or(topology);
    let plan = planned(topology, flags).inspect_err(|_| {
        // A strict refusal is these.
        if !flags.strict {
            for problem in topology.contradictions() {
                eprintln!("note: {}", Note::LeftOut { problem });
            }
        }
    })?;
    let document = flags.output.write(topology, &plan, &flags.devices)?;
    if flags.output != Output::Table {
        for note in &plan.notes {
            eprintln!("note: {note}");
        }
        if let Output::Exo(exo) = flags.output
            && let Some(remark) = exo.remark(&plan)
        {
            eprintln!("note: {remark}");
        }
    }
    print!("{document}");
    Ok(ExitCode::SUCCESS)
}

fn planned(topology: &Topology, flags: &MatrixOptions) -> anyhow::Result<Plan> {
    let options = Options {
        strict: flags.strict,
        order: flags.order.into(),
        max_rails: flags.max_rails,
        backend: flags.backend.map(Into::into),
        jaccl: flags.mlx,
        messages: flags.messages.clone(),
        coordinator_port: flags.port,
        ..Options::default()
    };
    Ok(match flags.output {
        Output::Exo(exo) => exo.plan(topology, &options)?,
        _ => plan(topology, &options)?,
    })
}
