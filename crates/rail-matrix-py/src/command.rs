//! The command `rail-matrix` of the wheel.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command with Python's arguments, and returns its exit code.
#[pyfunction]
pub fn main(py: Python<'_>) -> PyResult<u8> {
    // The process's own arguments begin with the interpreter's.
    let arguments: Vec<OsString> = py.import("sys")?.getattr("argv")?.extract()?;
    Ok(py.detach(|| matrix_cli::main(arguments)))
}
