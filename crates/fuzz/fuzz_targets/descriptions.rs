//! Any bytes are a description of a cabling or are refused, and a plan over one is safe.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rail_matrix::{
    Options, Topology,
    check::{Existing, check},
    plan,
    read::{self, Input},
    write::{Diagnosis, Output},
};

/// Larger plans are exact too, and slower to search than to fuzz.
const MAX_NODES: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    for kind in Input::ALL.map(Some).into_iter().chain([None]) {
        if let Ok(topology) = read::read(bytes, kind) {
            judge(&topology);
            judge(&topology.accept_one_sided(true));
        }
    }
});

fn judge(topology: &Topology) {
    let account = topology.account();
    for problem in account.problems() {
        assert!(!problem.to_string().is_empty());
    }
    if topology.nodes().len() > MAX_NODES {
        return;
    }
    let _ = (
        Diagnosis::of(topology).markdown(),
        Diagnosis::of(topology).json(),
    );
    let options = Options::default();
    let Ok(plan) = plan(topology, &options) else {
        return;
    };
    for output in Output::ALL {
        let _ = output.write(topology, &plan, "devices.json");
    }
    let nodes = plan.nodes.iter().map(|node| node.name.clone()).collect();
    let existing = Existing::new(plan.matrix.devices().to_vec()).with_nodes(nodes);
    let verdict = check(
        &existing,
        Some(topology),
        Some(plan.backend),
        &options.jaccl,
    );
    let verdict = verdict.expect("the plan's nodes are the topology's");
    // A bridge, or an address that is there twice, may break what a plan has to use.
    let doubted = |finding: &rail_matrix::check::Finding| {
        matches!(finding.wrong, rail_matrix::check::Wrong::Description { .. })
    };
    let bad = verdict.findings.iter();
    let mut bad = bad.filter(|it| !it.outcome.is_safe() && !doubted(it));
    assert!(bad.next().is_none(), "{:?}", verdict.findings);
}
