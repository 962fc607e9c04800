//! `plan`: makes a matrix from a description of the cabling.

use std::fmt;

use launch::Launcher;
use rail_matrix::{
    Note, Plan, PlanError, Topology,
    write::{Output, one_line},
};
use terminal::say;

use crate::{
    Answer, Error,
    flags::{self, Options},
    input,
};

pub fn run(launcher: &Launcher, flags: &flags::Plan) -> Result<Answer, Error> {
    let topology = input::topology(launcher.cancel(), flags.from.as_deref(), flags.input)?;
    over(&topology, &flags.options)
}

/// Plans over a topology, and prints on stderr the notes that a document for programs
/// cannot contain.
pub fn over(topology: &Topology, flags: &Options) -> Result<Answer, Error> {
    let given = topology;
    let topology = match &flags.nodes[..] {
        [] => given.clone(),
        names => given.select(names)?,
    };
    let topology = &topology.accept_one_sided(flags.accept_one_sided);
    let plan = planned(topology, flags).inspect_err(|error| {
        // The message has a lone problem whole.
        if let problems @ [_, _, ..] = error.left_out() {
            for problem in problems {
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
    Ok(Answer {
        document,
        passed: true,
    })
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
        format!("ranks: {shown} (check: --nodes {flag})")
    })
}

fn planned(topology: &Topology, flags: &Options) -> Result<Plan, PlanError> {
    let options = rail_matrix::Options::default()
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
    rail_matrix::plan(topology, &options.carried_by(carried_by))
}
