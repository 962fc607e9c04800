//! The Python values accepted as a topology.

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBytes, PyDict, PyMapping, PyString},
};
use rail_matrix::{
    Topology,
    read::{self, Input},
};

use crate::refusal;

/// `(from_node, from_device, to_node, to_device)`: a statement of one end of a cable.
type Edge = (String, String, String, String);

/// A document as text or bytes, exo's state as a mapping, or edges.
///
/// # Errors
/// `RailMatrixError` if the document is invalid, `TypeError` for any other value.
pub fn of(value: &Bound<'_, PyAny>, input: &str) -> PyResult<Topology> {
    let input = match input {
        "auto" => None,
        name => Some(name.parse::<Input>().map_err(refusal)?),
    };
    if let Ok(text) = value.cast::<PyString>() {
        return of_document(text.to_cow()?.as_bytes(), input);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return of_document(bytes.as_bytes(), input);
    }
    if let Ok(mapping) = value.cast::<PyMapping>() {
        // json writes only a dict as a mapping.
        let dict = PyDict::new(value.py());
        dict.update(mapping)?;
        let json = value.py().import("json")?.call_method1("dumps", (dict,))?;
        return of_document(json.extract::<String>()?.as_bytes(), input);
    }
    let edges = value.extract::<Vec<Edge>>().map_err(|_| not_one(value))?;
    Ok(of_edges(&edges))
}

fn of_document(bytes: &[u8], input: Option<Input>) -> PyResult<Topology> {
    read::read(bytes, input).map_err(refusal)
}

/// Nodes are in the order in which they are first named.
fn of_edges(edges: &[Edge]) -> Topology {
    let mut topology = Topology::new();
    for (from_node, from_device, to_node, to_device) in edges {
        let [from, to] = [(from_node, from_device), (to_node, to_device)].map(|(name, device)| {
            let known = topology.node(name);
            let node = known.unwrap_or_else(|| topology.add_node(name));
            topology.port(node, device)
        });
        topology.sight(from, to);
    }
    topology
}

fn not_one(value: &Bound<'_, PyAny>) -> PyErr {
    let kind = value.get_type().name();
    let kind = kind.map_or_else(|_| "something else".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "topology is a document (str or bytes), exo's state (a mapping) or a list of edges \
         (from_node, from_device, to_node, to_device), and this is {kind}"
    ))
}
