//! Drop-ins for exo's `get_mlx_jaccl_devices_matrix`.
//!
//! exo's classes are used by their attributes rather than by their type: nothing of exo
//! is imported. The ranks are those of the cycle, because exo has placed the shards
//! already.

use std::collections::HashSet;

use pyo3::{prelude::*, types::PyList};
use rail_matrix::{Backend, Exo, Note, Options, Plan, RankOrder, Topology};

use crate::{plan::in_shape, refusal, refusal_of};

/// exo main's shape: a device in each cell.
#[pyfunction]
pub fn get_mlx_jaccl_devices_matrix<'py>(
    selected_cycle: &Bound<'py, PyAny>,
    cycle_digraph: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    // exo calls this for all pairs, and its callers rely on the refusal.
    matrix(
        Exo::Main,
        Some(Backend::Mesh),
        selected_cycle,
        cycle_digraph,
    )
}

/// The shape of exo's pull request 2160: a list of devices in each cell.
#[pyfunction]
pub fn get_mlx_jaccl_devices_matrix_multi<'py>(
    selected_cycle: &Bound<'py, PyAny>,
    cycle_digraph: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    matrix(Exo::Pr2160, None, selected_cycle, cycle_digraph)
}

fn matrix<'py>(
    shape: Exo,
    backend: Option<Backend>,
    selected_cycle: &Bound<'py, PyAny>,
    cycle_digraph: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    let py = selected_cycle.py();
    let nodes = selected_cycle.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    if nodes.len() < 2 {
        // exo's answer for a job that needs no cable.
        let alone = vec![vec![Vec::new(); nodes.len()]; nodes.len()];
        return in_shape(py, shape, &alone);
    }
    let topology = of_cycle(&nodes, cycle_digraph)?;
    let options = Options::default()
        .order(RankOrder::Pinned)
        .backend(backend)
        .carried_by(shape);
    let plan = py.detach(|| rail_matrix::plan(&topology, &options));
    let plan = plan.map_err(|error| refusal_of(&error))?;
    warn(py, &plan)?;
    in_shape(py, shape, plan.matrix.devices())
}

/// The statements of both ends of every edge between two nodes of the cycle.
fn of_cycle(nodes: &[Bound<'_, PyAny>], digraph: &Bound<'_, PyAny>) -> PyResult<Topology> {
    let mut topology = Topology::new();
    let mut ids = Vec::with_capacity(nodes.len());
    let mut seen = HashSet::new();
    for node in nodes {
        let name: String = node.extract()?;
        if !seen.insert(name.clone()) {
            return Err(refusal(format!(
                "node '{name}' is in the cycle twice; a node is one rank"
            )));
        }
        ids.push(topology.add_node(&name));
    }
    for (source, &from_node) in nodes.iter().zip(&ids) {
        for (sink, &to_node) in nodes.iter().zip(&ids).filter(|(_, id)| **id != from_node) {
            let edges = digraph.call_method1("get_all_connections_between", (source, sink))?;
            for edge in edges.try_iter()? {
                if let Some([here, there]) = rdma_ifaces(&edge?)? {
                    let from = topology.port(from_node, &here);
                    let to = topology.port(to_node, &there);
                    topology.sight(from, to);
                }
            }
        }
    }
    Ok(topology)
}

/// The devices at both ends of an edge, if it is an RDMA edge.
fn rdma_ifaces(edge: &Bound<'_, PyAny>) -> PyResult<Option<[String; 2]>> {
    let iface = |name: &str| -> PyResult<Option<String>> {
        match edge.getattr_opt(name)? {
            Some(iface) => iface.extract(),
            None => Ok(None),
        }
    };
    let ends = (iface("source_rdma_iface")?, iface("sink_rdma_iface")?);
    Ok(match ends {
        (Some(source), Some(sink)) => Some([source, sink]),
        _ => None,
    })
}

/// Logs what was left out, because the matrix alone does not show it.
fn warn(py: Python<'_>, plan: &Plan) -> PyResult<()> {
    let left_out = |note: &&Note| matches!(note, Note::LeftOut { .. } | Note::Warning { .. });
    let mut notes = plan.notes.iter().filter(left_out).peekable();
    if notes.peek().is_none() {
        return Ok(());
    }
    let logger = py
        .import("logging")?
        .call_method1("getLogger", ("rail_matrix",))?;
    for note in notes {
        logger.call_method1("warning", ("%s", note.to_string()))?;
    }
    Ok(())
}
