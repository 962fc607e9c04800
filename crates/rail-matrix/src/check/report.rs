//! The findings as documents for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::{document::Existing, finding::Finding, verdict::Verdict};
use crate::{Backend, Jaccl, words::one_line};

/// The name and version of [`json`].
pub const SCHEMA: &str = "mlx-rails/matrix-check/2";

/// The findings of some matrices, as a list for people. The text ends with a line break.
pub fn markdown(checked: &[(Existing, Verdict)], jaccl: &Jaccl) -> String {
    let parts: Vec<_> = checked
        .iter()
        .map(|(existing, verdict)| list(existing, verdict, jaccl))
        .collect();
    parts.join("\n")
}

fn list(existing: &Existing, verdict: &Verdict, jaccl: &Jaccl) -> String {
    let mut text = String::new();
    if let Some(name) = &existing.name {
        let _ = writeln!(text, "instance {}\n", name.escape_debug());
    }
    let makes = match verdict.backend {
        Some(backend) => format!("jaccl makes a {backend}"),
        None => "jaccl makes no group".to_owned(),
    };
    let variable = if verdict.ring_variable {
        "set"
    } else {
        "not set"
    };
    let _ = writeln!(
        text,
        "{} ranks, MLX_JACCL_RING {variable}, MLX {}: {makes}\n",
        existing.cells.len(),
        jaccl.version(),
    );
    for finding in &verdict.findings {
        let at = finding
            .cell
            .map_or_else(String::new, |cell| format!(" {cell}"));
        let sentence = one_line(&finding.sentence());
        let _ = writeln!(text, "- {}{at}: {sentence}", finding.outcome);
    }
    if verdict.findings.is_empty() {
        text.push_str("Every rail is the two ends of one cable, and no cable is left over.\n");
    }
    text
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    mlx: String,
    safe: bool,
    matrices: Vec<Judged<'a>>,
}

#[derive(Serialize)]
struct Judged<'a> {
    instance: Option<&'a str>,
    nodes: Option<&'a [String]>,
    ring_variable: bool,
    /// Null if jaccl forms no group.
    backend: Option<Backend>,
    safe: bool,
    findings: &'a [Finding],
}

/// The findings of some matrices, as one object. See [`SCHEMA`]. The text ends with a
/// line break.
pub fn json(checked: &[(Existing, Verdict)], jaccl: &Jaccl) -> String {
    let judged = checked.iter().map(|(existing, verdict)| Judged {
        instance: existing.name.as_deref(),
        nodes: existing.nodes.as_deref(),
        ring_variable: verdict.ring_variable,
        backend: verdict.backend,
        safe: verdict.is_safe(),
        findings: &verdict.findings,
    });
    let report = Report {
        schema: SCHEMA,
        mlx: jaccl.version(),
        safe: checked.iter().all(|(_, verdict)| verdict.is_safe()),
        matrices: judged.collect(),
    };
    serde_json::to_string_pretty(&report).expect("names, numbers and lists are JSON") + "\n"
}
