//! `check(...)`, and the classes `Verdict` and `Finding`.

use matrix_cli::EXO_PIN;
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyDict, PyList, PyTuple},
};
use rail_matrix::check::{Cell, Document, Existing};
use serde::Serialize;

use crate::{
    plan::{backend, jaccl, one_of},
    refusal, topology,
};

/// What jaccl makes of a matrix.
#[pyclass(frozen, module = "rail_matrix")]
pub struct Verdict(rail_matrix::check::Verdict);

/// A problem of a matrix, or something that could not be checked.
#[pyclass(frozen, module = "rail_matrix")]
pub struct Finding {
    #[pyo3(get)]
    outcome: String,
    #[pyo3(get)]
    rule: String,
    #[pyo3(get)]
    cell: Option<(usize, usize, Option<usize>)>,
    #[pyo3(get)]
    kind: String,
    #[pyo3(get)]
    sentence: String,
    details: Py<PyDict>,
}

/// Checks a matrix.
#[pyfunction]
#[pyo3(
    signature = (
        matrix, state=None, *, nodes=None, backend=None, mlx=EXO_PIN, series="stock",
        accept_one_sided=false, input="auto",
    ),
    text_signature = "(matrix, state=None, *, nodes=None, backend=None, mlx='exo', \
                      series='stock', accept_one_sided=False, input='auto')"
)]
#[expect(clippy::too_many_arguments, reason = "Python's are named")]
pub fn check(
    matrix: &Bound<'_, PyAny>,
    state: Option<&Bound<'_, PyAny>>,
    nodes: Option<Vec<String>>,
    backend: Option<&str>,
    mlx: &str,
    series: &str,
    accept_one_sided: bool,
    input: &str,
) -> PyResult<Verdict> {
    let known = [("stock", false), ("patched", true), ("tuned", true)];
    let patched = one_of("series", series, &known)?;
    let (wanted, jaccl) = (self::backend(backend)?, self::jaccl(mlx)?.patched(patched));
    let document = rail_matrix::check::read(&document(matrix)?).map_err(refusal)?;
    let topology = match state {
        Some(state) => Some(topology::of(state, input)?),
        None => document.topology.clone(),
    };
    let topology = topology.map(|it| it.accept_one_sided(accept_one_sided));
    let mut existing = only(document)?;
    if nodes.is_some() {
        existing.nodes = nodes;
    }
    let verdict = matrix
        .py()
        .detach(|| rail_matrix::check::check(&existing, topology.as_ref(), wanted, &jaccl));
    verdict.map(Verdict).map_err(refusal)
}

/// The bytes of a matrix's document, or the JSON of its rows.
fn document(matrix: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Some(document) = topology::document(matrix)? {
        return Ok(document);
    }
    if matrix.is_instance_of::<PyList>() || matrix.is_instance_of::<PyTuple>() {
        return topology::json(matrix);
    }
    Err(PyTypeError::new_err(format!(
        "matrix is a document (str or bytes), exo's instance or state (a mapping) or a list of \
         rows, and this is {}",
        topology::kind(matrix)
    )))
}

/// The matrix of a document that has one.
fn only(document: Document) -> PyResult<Existing> {
    let several = document.matrices.len();
    let names: Vec<_> = document
        .matrices
        .iter()
        .filter_map(|matrix| matrix.name.clone())
        .collect();
    match <[Existing; 1]>::try_from(document.matrices) {
        Ok([existing]) => Ok(existing),
        Err(_) => Err(refusal(format!(
            "the document has {several} matrices, and a verdict is about one; give one instance \
             alone, of {}",
            names.join(", ")
        ))),
    }
}

/// A finding as Python has it. Its names are those of the JSON of `rail-matrix check`.
fn finding(py: Python<'_>, finding: &rail_matrix::check::Finding) -> PyResult<Finding> {
    let cell = |Cell { from, to, rail, .. }| (from, to, rail);
    let wrong = serde_json::to_string(&finding.wrong).map_err(refusal)?;
    let details = py.import("json")?.call_method1("loads", (wrong,))?;
    let details = details.cast_into::<PyDict>()?;
    let kind = details.call_method1("pop", ("kind",))?.extract()?;
    Ok(Finding {
        outcome: name(finding.outcome),
        rule: name(finding.rule()),
        cell: finding.cell.map(cell),
        kind,
        sentence: finding.sentence(),
        details: details.unbind(),
    })
}

/// The name of a value without fields.
fn name(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

#[pymethods]
impl Verdict {
    /// Whether a job with the matrix runs, with the backend that is wanted.
    #[getter]
    fn safe(&self) -> bool {
        self.0.is_safe()
    }

    /// `mesh` or `ring`, or `None` if jaccl makes no group.
    #[getter]
    fn backend(&self) -> Option<&'static str> {
        self.0.backend.map(rail_matrix::Backend::name)
    }

    /// Whether the matrix was judged with `MLX_JACCL_RING` set.
    #[getter]
    fn ring_variable(&self) -> bool {
        self.0.ring_variable
    }

    /// The worst first, then by cell.
    #[getter]
    fn findings(&self, py: Python<'_>) -> PyResult<Vec<Finding>> {
        let findings = self.0.findings.iter();
        findings.map(|it| finding(py, it)).collect()
    }

    /// As `safe`. An object without it is always true, and `if check(...)` would start
    /// the job that hangs.
    fn __bool__(&self) -> bool {
        self.safe()
    }

    fn __repr__(&self) -> String {
        let safe = if self.safe() { "safe" } else { "not safe" };
        let backend = self.backend().unwrap_or("no group");
        let findings = self.0.findings.len();
        format!("<rail_matrix.Verdict: {safe}, {backend}, {findings} finding(s)>")
    }
}

#[pymethods]
impl Finding {
    /// The fields of the kind.
    #[getter]
    fn details(&self, py: Python<'_>) -> Py<PyDict> {
        self.details.clone_ref(py)
    }

    fn __repr__(&self) -> String {
        let at = match self.cell {
            None => String::new(),
            Some((from, to, None)) => format!(" ({from}, {to})"),
            Some((from, to, Some(rail))) => format!(" ({from}, {to})[{rail}]"),
        };
        let Self {
            outcome, sentence, ..
        } = self;
        format!("<rail_matrix.Finding: {outcome}{at}: {sentence}>")
    }
}
