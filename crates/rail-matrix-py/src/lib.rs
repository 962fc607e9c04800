//! The Python module `rail_matrix`: the library [`rail_matrix`] for programs that are
//! written in Python, exo first among them.
//!
//! A thin layer. It turns Python's values into a topology and plans and verdicts into
//! Python's values; every rule is the library's. `python/rail_matrix/__init__.pyi` is the
//! interface for Python's tools, and documents each function. The command of the wheel is
//! that of the crate [`matrix_cli`].

mod check;
mod command;
mod exo;
mod plan;
mod topology;

use pyo3::{create_exception, exceptions::PyValueError, prelude::*};
use rail_matrix::{Note, PlanError};

create_exception!(
    rail_matrix,
    RailMatrixError,
    PyValueError,
    "There is no such plan or verdict. The message says why, and what to do about it."
);

/// An error of the library as a Python exception. Its sentence is the message.
fn refusal(error: impl std::fmt::Display) -> PyErr {
    RailMatrixError::new_err(error.to_string())
}

/// The exception for a topology without a plan, with all that was left out.
fn refusal_of(error: &PlanError) -> PyErr {
    let left_out = match error.left_out() {
        // The message has a lone problem whole.
        [_] => &[],
        all => all,
    };
    let lines = left_out.iter().cloned();
    let lines: String = lines
        .map(|problem| format!("\n{}", Note::of(problem)))
        .collect();
    refusal(format!("{error}{lines}"))
}

#[pymodule(name = "_native")]
mod module {
    #[pymodule_export]
    use super::{
        RailMatrixError,
        check::{Finding, Verdict, check},
        command::main,
        exo::{get_mlx_jaccl_devices_matrix, get_mlx_jaccl_devices_matrix_multi},
        plan::{Plan, plan},
    };
}
