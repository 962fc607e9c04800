//! Ranks on two machines with ssh between them, over emulated cables in memory that both
//! share.
//!
//! The machines are namespaces of this one, which take root; otherwise the test says so and
//! passes.

mod support;

use std::{env, process::Command};

use launch::{Launcher, Silent};
use rail_bench::{
    Options,
    cabling::{Between, Emulated, Metered},
    engine::Engine,
    hosts::Hosts,
    launch::RankProgram,
    protocol::Strategy,
    verdict::Verdict,
};
use remote::Part;
use rig::{Cables, Node, Rig};
use support::{FakeRank, HASTY, run_with, short};
use testbed::Machines;

/// Set where ssh reaches the machines.
const INSIDE: &str = "RAIL_BENCH_TEST_INSIDE";

/// Runs a test of this program again where ssh reaches two machines, unless it is there
/// already. Returns whether it is.
fn is_inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(machines) = Machines::two_or_skip() else {
        return false;
    };
    let mut again: Command = machines.command(env::current_exe().unwrap());
    let output = again
        .args([test, "--exact"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    for machine in &machines.all {
        let left = machine.foreign().into_iter();
        let left: Vec<_> = left.filter(|(_, name)| name != "sshd").collect();
        assert_eq!(left, [], "{}", machine.name);
    }
    assert_eq!(machines.temporary(), [""; 0]);
    false
}

/// A rig of the machines.
fn rig() -> Rig {
    let node = |name: &str, address: &str| {
        let node = Node::new(name).by_ssh(name);
        node.at(Some(address.parse().unwrap()))
    };
    let nodes = vec![node("a", "10.77.0.2"), node("b", "10.77.0.3")];
    Rig::new(nodes, Rig::embedded().cables).with_kind(Cables::Emulated)
}

/// A rank that meets its peers on machine `a`.
fn program(rank: &FakeRank) -> RankProgram {
    let mut program = rank.program();
    let meets = ("FAKE_RANK_MEETS_AT".to_owned(), "10.77.0.2".to_owned());
    program.env.push(meets);
    program
}

/// The machines, with the program on them.
fn between(rig: &Rig, program: &RankProgram) -> Between {
    let emulated = Emulated::beside_this_program().unwrap();
    let launcher = Launcher::default();
    let agent = env!("CARGO_BIN_EXE_fake-rank").as_ref();
    let connected = remote::Hosts::connect(&launcher, &Silent, &rig.nodes, agent).unwrap();
    connected.check_addresses().unwrap();
    let mut hosts = Hosts::new(connected);
    let parts = [
        Part::new("rank", &program.path),
        Part::new("cables/libibverbs.so.1", &emulated.provider),
    ];
    for engine in Engine::ALL {
        hosts.stage(engine, &parts, &Silent).unwrap();
    }
    Between { hosts, emulated }
}

#[test]
fn every_cell_has_its_ranks_on_the_nodes() {
    if !is_inside("every_cell_has_its_ranks_on_the_nodes") {
        return;
    }
    let rank = FakeRank::new("pp ring-3@1=abort");
    let program = program(&rank);
    let rig = rig();
    let between = between(&rig, &program);
    let options = Options { rig, ..short() };
    let report = run_with(options, &rank, program, &between).unwrap();
    for cell in &report.cells {
        let expected = match cell.cell().to_string().as_str() {
            "pp ring-3" => Verdict::Crash,
            _ => Verdict::Pass,
        };
        assert_eq!(cell.verdict, expected, "{}: {:?}", cell.cell(), cell.detail);
    }
    let crashed = report
        .cells
        .iter()
        .filter_map(|cell| cell.detail.as_deref());
    let crashed = crashed.collect::<String>();
    assert!(
        crashed.contains("rank 1 was killed by SIGABRT"),
        "{crashed}"
    );
    assert!(crashed.contains("Assertion failed: staging"), "{crashed}");
    // Which node a rank is on decides which devices it has.
    let places = rank.places();
    let matrix = r#"[[[],["rdma_en5"]],[["rdma_en5"],[]]]"#;
    for rank in 0..2 {
        let place = format!("{rank}  {matrix}");
        assert!(places.contains(&place), "{place}: {places:?}");
    }
}

/// The counters of each end come from its node: all of them, and while the ranks say nothing
/// for longer than a rank may that sends nothing.
#[test]
fn what_ranks_count_on_the_nodes_is_counted_for_the_cables() {
    if !is_inside("what_ranks_count_on_the_nodes_is_counted_for_the_cables") {
        return;
    }
    let rank = FakeRank::new("tp mesh-1=work");
    let program = program(&rank);
    let rig = rig();
    let metered = Metered {
        cables: between(&rig, &program),
        // The ranks count by themselves.
        meter: env!("CARGO_BIN_EXE_fake-rank").into(),
    };
    let mut options = Options {
        rig,
        strategies: vec![Strategy::Tp],
        ..short()
    };
    options.settings.limits = HASTY;
    let report = run_with(options, &rank, program, &metered).unwrap();
    for cell in &report.cells[1..] {
        let name = cell.cell().to_string();
        assert_eq!(cell.verdict, Verdict::Pass, "{name}: {:?}", cell.detail);
        // In the last of three runs, the first of which is a warm-up.
        let worked = match name.as_str() {
            "tp mesh-1" => 45,
            _ => 0,
        };
        assert_eq!(cell.directions.len(), 2 * cell.cables, "{name}");
        for direction in &cell.directions {
            let frames = 3 * (10 + 4) + worked;
            assert_eq!(direction.bytes, frames * 4096, "{name}: {direction:?}");
        }
        // Other ranks count at once what belongs to both sides of the first token.
        let prefill: u64 = cell.cable_bytes.values().sum();
        assert!(prefill >= 2 * worked * 4096, "{name}: {prefill}");
    }
}
