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
    cabling::{Between, Emulated},
    engine::Engine,
    hosts::Hosts,
    verdict::Verdict,
};
use remote::Part;
use rig::{Cables, Node, Rig};
use support::{FakeRank, run_with, short};
use testbed::Machines;

/// Set where ssh reaches the machines.
const INSIDE: &str = "RAIL_BENCH_TEST_INSIDE";

/// Runs a test of this program again where ssh reaches two machines, unless it is there
/// already. Returns whether it is.
fn is_inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let machines = match Machines::two() {
        Ok(machines) => machines,
        Err(why) => {
            eprintln!("skipped: {why}");
            return false;
        }
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

#[test]
fn every_cell_has_its_ranks_on_the_nodes() {
    if !is_inside("every_cell_has_its_ranks_on_the_nodes") {
        return;
    }
    let node = |name: &str, address: &str| {
        let node = Node::new(name).by_ssh(name);
        node.at(Some(address.parse().unwrap()))
    };
    let nodes = vec![node("a", "10.77.0.2"), node("b", "10.77.0.3")];
    let rig = Rig::new(nodes, Rig::embedded().cables).with_kind(Cables::Emulated);
    let rank = FakeRank::new("pp ring-3@1=abort");
    let mut program = rank.program();
    let meets = ("FAKE_RANK_MEETS_AT".to_owned(), "10.77.0.2".to_owned());
    program.env.push(meets);
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
    let between = Between { hosts, emulated };
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
