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
    if let Some(document) = document(value)? {
        return read::read(&document, input).map_err(refusal);
    }
    let edges = value.extract::<Vec<Edge>>().map_err(|_| not_one(value))?;
    Ok(of_edges(&edges))
}

/// The bytes of a document: of text, of bytes, or the JSON of a mapping. `None` for any
/// other value.
///
/// # Errors
/// `TypeError` if the mapping is no JSON.
pub fn document(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Some(text.to_cow()?.as_bytes().to_vec()));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Some(bytes.as_bytes().to_vec()));
    }
    let Ok(mapping) = value.cast::<PyMapping>() else {
        return Ok(None);
    };
    // json writes only a dict as a mapping.
    let dict = PyDict::new(value.py());
    dict.update(mapping)?;
    json(&dict).map(Some)
}

/// A value as JSON.
///
/// # Errors
/// `TypeError` if it is none.
pub fn json(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let json = value.py().import("json")?.call_method1("dumps", (value,))?;
    Ok(json.extract::<String>()?.into_bytes())
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
    PyTypeError::new_err(format!(
        "topology is a document (str or bytes), exo's state (a mapping) or a list of edges \
         (from_node, from_device, to_node, to_device), and this is {}",
        kind(value)
    ))
}

/// The name of a value's type.
pub fn kind(value: &Bound<'_, PyAny>) -> String {
    let kind = value.get_type().name();
    kind.map_or_else(|_| "something else".to_owned(), |name| name.to_string())
}
