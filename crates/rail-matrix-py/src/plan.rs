//! `plan(...)` and the class `Plan`.

use std::path::PathBuf;

use matrix_cli::EXO_PIN;
use pyo3::{
    IntoPyObject,
    prelude::*,
    types::{PyDict, PyList},
};
use rail_matrix::{Backend, Exo, Jaccl, Options, RankOrder};

use crate::{refusal, refusal_of, topology};

/// The configuration that a job that uses jaccl needs.
#[pyclass(frozen, module = "rail_matrix")]
pub struct Plan(rail_matrix::Plan);

/// Plans a job over a topology.
#[pyfunction]
#[pyo3(
    signature = (
        topology, *, input="auto", order="widest", strict=false, max_rails=4, backend=None,
        mlx=EXO_PIN, messages=vec![], nodes=None, accept_one_sided=false,
    ),
    text_signature = "(topology, *, input='auto', order='widest', strict=False, max_rails=4, \
                      backend=None, mlx='exo', messages=(), nodes=None, \
                      accept_one_sided=False)"
)]
#[expect(clippy::too_many_arguments, reason = "Python's are named")]
pub fn plan(
    topology: &Bound<'_, PyAny>,
    input: &str,
    order: &str,
    strict: bool,
    max_rails: i64,
    backend: Option<&str>,
    mlx: &str,
    messages: Vec<i64>,
    nodes: Option<Vec<String>>,
    accept_one_sided: bool,
) -> PyResult<Plan> {
    let options = Options::default()
        .order(one_of("order", order, &ORDERS)?)
        .backend(self::backend(backend)?)
        .jaccl(jaccl(mlx)?)
        .strict(strict)
        .max_rails(whole("max_rails", max_rails)?)
        .messages(
            messages
                .into_iter()
                .map(|bytes| whole("a size in messages", bytes))
                .collect::<PyResult<_>>()?,
        );
    let mut described = topology::of(topology, input)?;
    if let Some(nodes) = nodes {
        described = described.select(&nodes).map_err(refusal)?;
    }
    let described = described.accept_one_sided(accept_one_sided);
    let plan = topology
        .py()
        .detach(|| rail_matrix::plan(&described, &options));
    plan.map(Plan).map_err(|error| refusal_of(&error))
}

/// The backend of this name, if one is given.
pub fn backend(name: Option<&str>) -> PyResult<Option<Backend>> {
    name.map(|name| one_of("backend", name, &BACKENDS))
        .transpose()
}

/// The jaccl of a version of MLX.
pub fn jaccl(mlx: &str) -> PyResult<Jaccl> {
    mlx.parse().map_err(refusal)
}

const ORDERS: [(&str, RankOrder); 2] =
    [("widest", RankOrder::Widest), ("pinned", RankOrder::Pinned)];

const BACKENDS: [(&str, Backend); 2] = [("mesh", Backend::Mesh), ("ring", Backend::Ring)];

const DIALECTS: [(&str, Exo); 3] = [
    (Exo::Main.name(), Exo::Main),
    (Exo::Pr2160.name(), Exo::Pr2160),
    (Exo::Pr2195.name(), Exo::Pr2195),
];

/// The value of this name, or an error that lists the existing names.
pub fn one_of<T: Copy>(argument: &str, given: &str, values: &[(&str, T)]) -> PyResult<T> {
    let found = values.iter().find(|(name, _)| *name == given);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = values.iter().map(|(name, _)| format!("'{name}'")).collect();
        refusal(format!(
            "{argument} is {}, and this is '{given}'",
            names.join(" or ")
        ))
    })
}

/// A number that must not be negative.
fn whole<T: TryFrom<i64>>(argument: &str, given: i64) -> PyResult<T> {
    let whole = T::try_from(given);
    whole.map_err(|_| refusal(format!("{argument} is {given}, and cannot be negative")))
}

#[pymethods]
impl Plan {
    /// The nodes, by rank.
    #[getter]
    fn nodes(&self) -> Vec<&str> {
        self.0.nodes.iter().map(|node| &*node.name).collect()
    }

    /// The devices of each rank towards each other, by rail.
    #[getter]
    fn matrix(&self) -> &[Vec<Vec<String>>] {
        self.0.matrix.devices()
    }

    /// The names of the cables, by rail.
    #[getter]
    fn rails(&self) -> &[Vec<Vec<String>>] {
        self.0.matrix.cables()
    }

    /// `mesh` or `ring`.
    #[getter]
    fn backend(&self) -> &str {
        self.0.backend.name()
    }

    /// The address at which rank 0 listens, as `address:port`, if one is known.
    #[getter]
    fn coordinator(&self) -> Option<String> {
        let known = self.0.coordinator.as_ref();
        known.map(|rank_0| format!("{}:{}", rank_0.ip, rank_0.port))
    }

    /// What was left out, and the reasons for the plan: one sentence each.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.0.notes.iter().map(ToString::to_string).collect()
    }

    /// The contents of the file named by `MLX_IBV_DEVICES`.
    fn jaccl_json(&self) -> String {
        self.0.matrix.to_jaccl_json()
    }

    /// The environment of a rank. `None` stands for a variable that must not be set.
    fn environment<'py>(
        &self,
        py: Python<'py>,
        rank: i64,
        devices: PathBuf,
    ) -> PyResult<Bound<'py, PyDict>> {
        let rank: usize = whole("rank", rank)?;
        let last = self.0.nodes.len() - 1;
        if rank > last {
            return Err(refusal(format!(
                "there is no rank {rank}; the plan has ranks 0 to {last}"
            )));
        }
        let devices = devices.into_os_string().into_string();
        let devices = devices.map_err(|_| refusal("the path of the device file is not Unicode"))?;
        let environment = PyDict::new(py);
        for variable in self.0.environment(rank, &devices) {
            environment.set_item(variable.name, variable.value)?;
        }
        Ok(environment)
    }

    /// The matrix in a shape of exo's.
    fn dialect<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let shape = one_of("name", name, &DIALECTS)?;
        self.0.carried_by(shape).map_err(refusal)?;
        in_shape(py, shape, self.0.matrix.devices())
    }

    /// The shapes of exo's that can carry the plan.
    #[getter]
    fn dialects(&self) -> Vec<&'static str> {
        let carry = DIALECTS
            .iter()
            .filter(|(_, shape)| self.0.carried_by(*shape).is_ok());
        carry.map(|&(name, _)| name).collect()
    }

    fn __repr__(&self) -> String {
        format!(
            "<rail_matrix.Plan: {} of {} nodes, {} rail(s) a link>",
            self.0.backend,
            self.0.nodes.len(),
            self.0.rails
        )
    }
}

/// A matrix in exo's form.
pub fn in_shape<'py>(
    py: Python<'py>,
    shape: Exo,
    devices: &[Vec<Vec<String>>],
) -> PyResult<Bound<'py, PyList>> {
    match shape {
        Exo::Main => cells(py, devices, |_, cell| cell.first()),
        Exo::Pr2160 => cells(py, devices, |_, cell| cell),
        Exo::Pr2195 => cells(py, devices, |diagonal, cell| (!diagonal).then_some(cell)),
    }
}

fn cells<'a, 'py, C: IntoPyObject<'py>>(
    py: Python<'py>,
    devices: &'a [Vec<Vec<String>>],
    cell: impl Fn(bool, &'a Vec<String>) -> C,
) -> PyResult<Bound<'py, PyList>> {
    let rows = devices.iter().enumerate().map(|(i, row)| {
        let cells = row
            .iter()
            .enumerate()
            .map(|(j, devices)| cell(i == j, devices));
        cells.collect::<Vec<_>>()
    });
    PyList::new(py, rows.collect::<Vec<_>>())
}
