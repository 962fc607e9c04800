//! `cargo xtask matrix`: makes a matrix from any description of the cabling.

mod check;
mod discover;
mod input;
mod reports;

use std::{fmt, process::ExitCode};

use rail_matrix::{
    Note, Options, Plan, Topology, plan,
    write::{Output, one_line},
};

use launch::Launcher;

use crate::{
    exit::Result,
    flags::{self, MatrixOptions, MatrixStep},
    output, say,
};

pub use check::CheckFlagsError;
pub use discover::DiscoverError;
pub use input::{InputError, rig};
pub use reports::SaveError;

pub fn run(launcher: &Launcher, flags: &flags::Matrix) -> Result {
    match &flags.step {
        Some(MatrixStep::Check(flags)) => check::run(flags),
        Some(MatrixStep::Discover(flags)) => discover::run(launcher, flags),
        None => {
            let topology = input::topology(flags.plan.from.as_deref(), flags.plan.input)?;
            print(&topology, &flags.plan.options)
        }
    }
}

/// Plans, and prints the result: the document on stdout, and notes that a document for
/// programs cannot contain on stderr.
pub fn print(topology: &Topology, flags: &MatrixOptions) -> Result {
    let selected = match &flags.nodes[..] {
        [] => None,
        names => Some(topology.select(names)?),
    };
    let given = topology;
    let topology = selected.as_ref().unwrap_or(topology);
    let plan = planned(topology, flags).inspect_err(|_| {
        // A strict refusal lists these problems itself.
        if !flags.strict {
            for problem in topology.account().problems() {
                note(&Note::of(problem.clone()));
            }
        }
    })?;
    let document = flags.format.write(topology, &plan, &flags.devices_path)?;
    if flags.format != Output::Table {
        plan.notes.iter().for_each(note);
        if let Some(remark) = flags.format.remark(&plan) {
            note(&remark);
        }
        if let Some(ranks) = ranks(given, &plan, flags.format) {
            note(&ranks);
        }
    }
    output::document(&document)?;
    Ok(ExitCode::SUCCESS)
}

fn note(sentence: &impl fmt::Display) {
    say!("note: {}", one_line(&sentence.to_string()));
}

/// Prints the node of each rank, for a matrix without names whose nodes are not all nodes
/// of its input in order.
fn ranks(given: &Topology, plan: &Plan, output: Output) -> Option<String> {
    let nameless = matches!(output, Output::Jaccl | Output::Exo(_));
    let ranks: Vec<_> = plan.nodes.iter().map(|node| &*node.name).collect();
    let differs = !ranks.iter().eq(given.nodes().map(|(_, node)| &node.name));
    (nameless && differs).then(|| {
        let (shown, flag) = (ranks.join(", "), ranks.join(","));
        format!("ranks: {shown} (matrix check: --nodes {flag})")
    })
}

fn planned(topology: &Topology, flags: &MatrixOptions) -> Result<Plan> {
    let options = Options::default()
        .strict(flags.strict)
        .order(flags.order.into())
        .max_rails(flags.max_rails)
        .backend(flags.backend.map(Into::into))
        .jaccl(flags.mlx)
        .messages(flags.messages.clone())
        .coordinator_port(flags.port);
    let carried_by = match flags.format {
        Output::Exo(exo) => Some(exo),
        _ => None,
    };
    Ok(plan(topology, &options.carried_by(carried_by))?)
}
