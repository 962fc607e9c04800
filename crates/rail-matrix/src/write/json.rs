//! A plan with everything that belongs to it, for programs.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    cabling::{Cabling, Laid},
    pretty,
};
use crate::{Backend, Matrix, Note, Plan, Topology};

/// The name and version of [`Output::Json`](super::Output::Json).
pub const SCHEMA: &str = "mlx-rails/matrix/2";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    backend: Backend,
    rails: usize,
    ranks: Vec<Rank<'a>>,
    matrix: &'a Matrix,
    cables: Vec<Cable<'a>>,
    /// `address:port`, as the ranks other than 0 use it.
    coordinator: Option<String>,
    notes: Vec<Remark<'a>>,
}

#[derive(Serialize)]
struct Rank<'a> {
    node: &'a str,
    label: Option<&'a str>,
    ssh: Option<&'a str>,
    /// By name; null if the variable must be unset.
    environment: Map<String, Value>,
}

#[derive(Serialize)]
struct Cable<'a> {
    name: &'a str,
    ends: [End<'a>; 2],
    /// What it counts as carrying.
    bytes_per_second: Option<u64>,
    /// Null if the plan does not use it.
    rail: Option<usize>,
}

#[derive(Serialize)]
struct End<'a> {
    node: &'a str,
    device: &'a str,
}

#[derive(Serialize)]
struct Remark<'a> {
    #[serde(flatten)]
    note: &'a Note,
    sentence: String,
}

pub fn json(topology: &Topology, plan: &Plan, devices: &str) -> String {
    let cabling = Cabling::of(topology, plan);
    let environment = |rank| {
        let variables = plan.environment(rank, devices).into_iter();
        variables.map(|variable| (variable.name, variable.value.into()))
    };
    let ranks = plan.nodes.iter().enumerate().map(|(rank, node)| Rank {
        node: &node.name,
        label: node.label.as_deref(),
        ssh: node.ssh.as_deref(),
        environment: environment(rank).collect(),
    });
    let cable = |cable| laid(&cabling, cable);
    pretty(&Document {
        schema: SCHEMA,
        backend: plan.backend,
        rails: plan.rails,
        ranks: ranks.collect(),
        matrix: &plan.matrix,
        cables: cabling.cables.iter().map(cable).collect(),
        coordinator: plan
            .coordinator
            .as_ref()
            .map(|at| format!("{}:{}", at.ip, at.port)),
        notes: plan.notes.iter().map(remark).collect(),
    })
}

fn laid<'a>(cabling: &'a Cabling<'_>, cable: &'a Laid<'_>) -> Cable<'a> {
    Cable {
        name: &cable.name,
        ends: cable.ends.map(|(node, device)| End {
            node: cabling.nodes[node].name,
            device,
        }),
        bytes_per_second: cable.rate,
        rail: cable.rail,
    }
}

fn remark(note: &Note) -> Remark<'_> {
    Remark {
        note,
        sentence: note.to_string(),
    }
}
