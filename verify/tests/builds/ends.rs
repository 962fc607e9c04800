//! How a sweep ends when it does not come to its end.

use launch::Launcher;
use rail_verify::run::RunError;

use crate::harness::{patched, try_sweep};

#[test]
fn a_selection_of_nothing_is_an_error() {
    let selection = "--op all_sum --dtype f32 --bytes 3";
    let error = try_sweep(&patched(), selection, &Launcher::default()).expect_err("no case");
    assert!(matches!(error, RunError::Nothing { .. }), "{error}");
    assert!(error.to_string().contains("MLX 0.31.2"), "{error}");
}

/// Conditions have no bytes, so that asking for both leaves one out.
#[test]
fn a_named_op_without_a_case_is_an_error_too() {
    let selection = "--op recv,init --bytes 64";
    let error = try_sweep(&patched(), selection, &Launcher::default()).expect_err("no init");
    assert!(error.to_string().contains("no case of init"), "{error}");
}

#[test]
fn an_interrupted_sweep_says_so() {
    let cancelled = Launcher::default();
    cancelled.cancel().cancel();
    let error = try_sweep(&patched(), "--op all_sum", &cancelled);
    assert!(error.is_err_and(|error| error.interrupted()));
}
