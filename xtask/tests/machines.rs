//! `cargo xtask bench` with real MLX and real jaccl on two machines with ssh between them,
//! over emulated cables in memory that both share.
//!
//! The machines are namespaces of this one, which take root; otherwise the tests say so and
//! pass. They do not see the store and the target folder, so all that a rank needs has
//! travelled.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use testbed::{Machines, eventually, within};

/// Where nothing is built, the benchmark builds MLX's ranks before it starts one.
const BUILD: Duration = Duration::from_secs(30 * 60);

/// The nodes, and two cables.
const RIG: &str = r#"
cables = "emulated"

[[node]]
name = "first"
ssh = "a"
address = "10.77.0.2"
[[node]]
name = "second"
ssh = "b"
address = "10.77.0.3"

[[cable]]
name = "left"
ends = ["first:rdma_en2", "second:rdma_en5"]
[[cable]]
name = "right"
ends = ["first:rdma_en3", "second:rdma_en4"]
"#;

/// Two machines that see neither the store nor the target folder.
fn machines() -> Option<Machines> {
    let machines = Machines::two()
        .map_err(|why| eprintln!("skipped: {why}"))
        .ok()?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let store = env::var("MLX_RAILS_STORE").ok();
    for machine in &machines.all {
        machine.run(&format!("mount -t tmpfs tmpfs {}", target.display()));
        if let Some(store) = &store {
            machine.run(&format!("mount -t tmpfs tmpfs {store}"));
        }
    }
    fs::write(machines.path("rig.toml"), RIG).unwrap();
    Some(machines)
}

fn bench(machines: &Machines, flags: &str) -> Command {
    let mut command = machines.command(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["bench", "--format", "json", "--rig"])
        .arg(machines.path("rig.toml"))
        .arg("--out-dir")
        .arg(machines.path("report"))
        .args(flags.split_whitespace());
    command
}

fn assert_nothing_left(machines: &Machines) {
    for machine in &machines.all {
        let left = || {
            let processes = machine.foreign().into_iter();
            processes
                .filter(|(_, name)| name != "sshd")
                .collect::<Vec<_>>()
        };
        eventually(&format!("left on {}: {:?}", machine.name, left()), || {
            left().is_empty()
        });
        assert_eq!(machine.ports(), [0; 0]);
        let scratch = fs::read_dir(machine.stage().join("scratch")).unwrap();
        assert_eq!(scratch.count(), 0, "{}", machine.name);
    }
}

#[test]
fn every_cell_passes_on_two_machines() {
    let Some(machines) = machines() else { return };
    let flags = "--model qwen3-tiny --strategy tp,pp --backend ring -p 512 -g 4 -r 1";
    let output = bench(&machines, flags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 5, "{said}");
    for cell in cells {
        assert_eq!(cell["verdict"], "pass", "{cell}");
        let part = cell["explained"]["ttft"]["part"].as_f64();
        assert_eq!(part.is_some(), cell["strategy"] != "single", "{cell}");
        assert!(part.is_none_or(|it| it > 0.0), "{cell}");
    }
    // Both cables carried, because a message of prefill is long enough: the ranks on both
    // machines had the devices of the cell.
    let both = cells.iter().find(|cell| cell["cables"] == 2).unwrap();
    let directions = both["directions"].as_array().unwrap();
    assert_eq!(directions.len(), 4, "{both}");
    for direction in directions {
        assert!(direction["bytes"].as_u64() > Some(0), "{both}");
    }
    assert_eq!(report["rig"]["node"][1]["ssh"], "b");
    assert_nothing_left(&machines);
    assert_eq!(machines.temporary(), [""; 0]);
}

#[test]
fn a_benchmark_that_is_killed_leaves_nothing_on_its_machines() {
    let Some(machines) = machines() else { return };
    let flags = "--model qwen3-tiny --strategy tp --backend ring -p 16 -g 100000 -r 1";
    let mut command = bench(&machines, flags);
    let mut bench = command.stdout(Stdio::null()).spawn().unwrap();
    let ranks = |machine: &testbed::Machine| {
        let processes = machine.foreign();
        processes.into_iter().any(|(_, name)| name == "rail-rank")
    };
    within(BUILD, "no rank was started", || {
        assert!(bench.try_wait().unwrap().is_none(), "it has ended");
        machines.all.iter().any(ranks)
    });
    bench.kill().unwrap();
    bench.wait().unwrap();
    assert_nothing_left(&machines);
}
