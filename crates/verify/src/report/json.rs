//! Schema `mlx-rails/verify/1`.

use nodes::NodeFacts;
use serde::Serialize;
use serde_json::{Value, json};
use softrail::counters::Counters;

use crate::{
    case::{Backend, Case, Direction, Frames, Op},
    run::{Outcome, Stop},
    selection::Level,
    setup::GivenMatrix,
    verdict::{Finding, Verdict},
};

#[derive(Serialize)]
struct Failure<'a> {
    op: Op,
    backend: Backend,
    ranks: usize,
    wires: usize,
    bytes: usize,
    dtype: jaccl::Dtype,
    frames: Frames,
    direction: Direction,
    in_place: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    verdict: Verdict,
    detail: &'a str,
    cables: &'a [Counters],
    /// The flags of `cargo xtask verify` that run exactly this.
    flags: String,
}

impl<'a> Failure<'a> {
    fn new(case: &Case, finding: &'a Finding) -> Self {
        Failure {
            op: case.op,
            backend: case.setting.backend,
            ranks: case.setting.ranks,
            wires: case.setting.wires,
            bytes: case.bytes,
            dtype: case.dtype,
            frames: case.setting.frames,
            direction: case.direction,
            in_place: case.in_place,
            seed: (case.op == Op::Sequence).then_some(case.seed),
            verdict: finding.verdict,
            detail: &finding.detail,
            cables: &finding.cables,
            flags: case.flags(),
        }
    }
}

pub fn report(level: Level, outcomes: &[Outcome], nodes: &[NodeFacts]) -> Value {
    json!({
        "schema": "mlx-rails/verify/1",
        "level": level.name(),
        "interrupted": outcomes.iter().any(Outcome::interrupted),
        "nodes": nodes,
        "variants": outcomes.iter().map(variant).collect::<Vec<_>>(),
    })
}

fn variant(outcome: &Outcome) -> Value {
    let verdicts: serde_json::Map<String, Value> = outcome
        .count()
        .into_iter()
        .map(|(verdict, count)| (verdict.name().to_owned(), count.into()))
        .collect();
    let failures: Vec<Failure> = outcome
        .failures()
        .map(|(case, finding)| Failure::new(case, finding))
        .collect();
    let error = match &outcome.stopped {
        Some(Stop::Failed(error)) => Some(error.to_string()),
        Some(Stop::Interrupted) | None => None,
    };
    json!({
        "mlx": outcome.variant.mlx,
        "series": outcome.variant.series,
        "wheel": outcome.variant.wheel,
        "given": outcome.given.as_ref().map(GivenMatrix::given),
        "interrupted": outcome.interrupted(),
        "error": error,
        "planned": outcome.planned,
        "cases": outcome.cases.len(),
        "verdicts": verdicts,
        "failures": failures,
        "skipped": outcome.skipped.iter().map(Case::flags).collect::<Vec<_>>(),
        "killed": outcome.killed.iter().map(Case::flags).collect::<Vec<_>>(),
        "dismissed": outcome.dismissed.iter().map(Case::flags).collect::<Vec<_>>(),
        "seconds": outcome.took.as_secs(),
        "manifest": outcome.variant.manifest,
    })
}
