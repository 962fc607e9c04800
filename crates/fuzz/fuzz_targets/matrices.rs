//! Any bytes are a document of matrices or are refused, and every matrix gets a verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rail_matrix::{Backend, Jaccl, check};

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = check::read(bytes) else {
        return;
    };
    let rows = document.matrices.iter().map(|it| it.cells.len());
    if rows.max().unwrap_or(0) > 12 {
        return;
    }
    let jaccl = Jaccl::default().patched(false);
    for wanted in [None, Some(Backend::Ring), Some(Backend::Mesh)] {
        let Ok(verdicts) = check::check_document(&document, None, wanted, &jaccl) else {
            continue;
        };
        let checked: Vec<_> = document.matrices.iter().cloned().zip(verdicts).collect();
        let _ = check::markdown(&checked, &jaccl);
        let _ = check::json(&checked, &jaccl);
    }
});
