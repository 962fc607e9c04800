//! How a sweep ends when it does not come to its end.

use std::sync::atomic::AtomicBool;

use rail_verify::run::RunError;

use crate::harness::{patched, try_sweep};

#[test]
fn a_selection_of_nothing_is_an_error() {
    let selection = "--op all_sum --dtype f32 --bytes 3";
    let error = try_sweep(&patched(), selection, &AtomicBool::new(false)).expect_err("no case");
    assert!(matches!(error, RunError::Nothing { .. }), "{error}");
    assert!(error.to_string().contains("MLX 0.31.2"), "{error}");
}

#[test]
fn an_interrupted_sweep_says_so() {
    let error = try_sweep(&patched(), "--op all_sum", &AtomicBool::new(true));
    assert!(error.is_err_and(|error| error.interrupted()));
}
