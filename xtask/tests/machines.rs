//! `cargo xtask bench` with real MLX and real jaccl on two machines with ssh between them,
//! over emulated cables in memory that both share.
//!
//! The machines are namespaces of this one, which take root; otherwise the tests say so and
//! pass. They do not see the store and the target folder, so all that a rank needs has
//! travelled.

use std::{
    collections::HashSet,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use softrail::{counters::Counters, live::Live};
use testbed::{Machine, Machines, within};

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
    let machines = Machines::two_or_skip()?;
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

fn xtask(machines: &Machines, verb: &str, flags: &str) -> Command {
    let mut command = machines.command(env!("CARGO_BIN_EXE_xtask"));
    command
        .args([verb, "--format", "json", "--rig"])
        .arg(machines.path("rig.toml"))
        .args(flags.split_whitespace());
    command
}

fn bench(machines: &Machines, flags: &str) -> Command {
    let mut command = xtask(machines, "bench", flags);
    command.arg("--out-dir").arg(machines.path("report"));
    command
}

/// The report of a command that ends with this code.
fn report(mut command: Command, code: i32) -> Value {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn has_rank(machine: &Machine) -> bool {
    let processes = machine.foreign();
    processes.into_iter().any(|(_, name)| name == "rail-rank")
}

/// Kills a command as soon as ranks run.
fn kill_when(mut command: Command, ranks_run: impl Fn() -> bool) {
    let mut started = command.stdout(Stdio::null()).spawn().unwrap();
    within(BUILD, "the ranks were not started", || {
        assert!(started.try_wait().unwrap().is_none(), "it has ended");
        ranks_run()
    });
    started.kill().unwrap();
    started.wait().unwrap();
}

fn assert_nothing_left(machines: &Machines) {
    machines.assert_idle();
    for machine in &machines.all {
        // A machine that took nothing has none.
        let scratch = fs::read_dir(machine.stage().join("scratch"));
        let left = scratch.map_or(0, Iterator::count);
        assert_eq!(left, 0, "{}", machine.name);
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
    let nodes = report["nodes"].as_array().unwrap();
    assert!(
        nodes.iter().all(|node| node["after"].is_object()),
        "{nodes:?}"
    );
    assert_nothing_left(&machines);
    assert_eq!(machines.temporary(), [""; 0]);
}

/// The emulated cables of a benchmark, whose counters stay readable after its end.
#[derive(Default)]
struct Fabrics {
    seen: HashSet<PathBuf>,
    ours: Vec<Live>,
}

impl Fabrics {
    /// Takes those that have come up and have a cable of this name.
    fn look(&mut self, cable: &str) {
        for entry in fs::read_dir(softrail::default_parent()).unwrap().flatten() {
            let folder = entry.path();
            // One that is not whole yet is looked at again.
            let (false, Ok(live)) = (self.seen.contains(&folder), Live::attach(&folder)) else {
                continue;
            };
            if live.counters().iter().any(|it| it.cable == cable) {
                self.ours.push(live);
            }
            self.seen.insert(folder);
        }
    }
}

/// What the emulator has counted of the same run is what the meters on the machines count.
#[test]
fn meters_on_two_machines_count_what_the_cables_carry() {
    let Some(machines) = machines() else { return };
    let rig = RIG.replace("left", "metered");
    fs::write(machines.path("rig.toml"), rig).unwrap();
    let flags = "--meter --model qwen3-tiny --strategy tp --backend ring -p 512 -g 4 -r 1 \
                 --no-preflight --no-explain";
    let [out, err] = ["out", "err"].map(|name| machines.path(name));
    let mut command = bench(&machines, flags);
    command.stdout(File::create(&out).unwrap());
    let mut bench = (command.stderr(File::create(&err).unwrap()).spawn()).unwrap();
    let mut fabrics = Fabrics::default();
    let mut ended = None;
    within(BUILD, "the benchmark does not end", || {
        fabrics.look("metered");
        ended = bench.try_wait().unwrap();
        ended.is_some()
    });
    let said = fs::read_to_string(err).unwrap();
    assert!(ended.unwrap().success(), "{said}");

    let report: Value = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
    let cells = report["cells"].as_array().unwrap();
    let by_meter = cells.iter().flat_map(|cell| {
        let directions = cell["directions"].clone();
        serde_json::from_value::<Vec<Counters>>(directions).unwrap()
    });
    let by_cable = fabrics.ours.iter().flat_map(Live::counters);
    let row = |it: Counters| (it.from, it.bytes, it.messages);
    let [mut by_meter, mut by_cable]: [Vec<_>; 2] =
        [by_meter.map(row).collect(), by_cable.map(row).collect()];
    by_meter.sort();
    by_cable.sort();
    assert_eq!(by_meter, by_cable);
    // Of the rings over one cable and over both.
    assert_eq!(by_meter.len(), 2 + 4, "{said}");
    assert!(
        by_meter.iter().all(|(_, bytes, _)| *bytes > 0),
        "{by_meter:?}"
    );
    let both = cells.iter().find(|cell| cell["cables"] == 2).unwrap();
    for cable in ["metered", "right"] {
        assert!(both["cable_bytes"][cable].as_u64() > Some(0), "{both}");
    }
    assert_nothing_left(&machines);
    assert_eq!(machines.temporary(), [""; 0]);
}

#[test]
fn both_engines_pass_on_two_machines() {
    let Some(machines) = machines() else { return };
    let flags = "--engine rust,mlx-lm --model qwen3-tiny --backend mesh -p 32 -g 4 -r 1";
    let output = bench(&machines, flags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells = report["cells"].as_array().unwrap();
    for engine in ["rust", "mlx-lm"] {
        let mine = cells.iter().filter(|cell| cell["engine"] == engine);
        let verdicts: Vec<_> = mine.map(|cell| &cell["verdict"]).collect();
        // A process alone, tp and pp.
        assert_eq!(verdicts, ["pass"; 3], "{engine}: {said}");
    }
    assert_nothing_left(&machines);
    assert_eq!(machines.temporary(), [""; 0]);
}

/// mlx-lm's environment travels, and the Python that it extends does not.
#[test]
fn a_machine_without_the_python_of_mlx_lm_is_named_before_ranks_start() {
    let ask = "import sys; print(sys.base_prefix)";
    let python = env::var("MLX_RAILS_PYTHON").unwrap_or("python3".to_owned());
    let output = Command::new(python).args(["-c", ask]).output().unwrap();
    let python = String::from_utf8(output.stdout).unwrap();
    let python = python.trim_end();
    if python == "/usr" {
        eprintln!("skipped: the machines cannot do without the folder of this Python");
        return;
    }
    let Some(machines) = machines() else { return };
    machines.all[1].run(&format!("mount -t tmpfs tmpfs {python}"));
    let flags = "--engine mlx-lm --model qwen3-tiny --strategy tp --backend mesh -p 8 -g 2 -r 1";
    let output = bench(&machines, flags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let lacks = format!("node 'second': it has no {python}/bin/python");
    assert!(said.contains(&lacks), "{said}");
    assert_nothing_left(&machines);
}

/// Cells that nobody runs: each machine computes its own rank's share, and nothing else.
#[test]
fn each_machine_computes_its_share_for_a_prediction() {
    let Some(machines) = machines() else { return };
    let flags = "--model qwen3-tiny --strategy tp,pp --backend ring --cables 1 -p 32 -g 4";
    let predicted = report(xtask(&machines, "predict", flags), 0);
    let calibration = predicted["calibration"].as_str().unwrap();
    assert!(calibration.contains("each on its node"), "{calibration}");
    for cell in predicted["cells"].as_array().unwrap() {
        assert_eq!(cell["nodes"], json!(["first", "second"]));
        let alone = cell["alone"].as_array().unwrap();
        assert_eq!(alone.len(), 2, "{cell}");
        assert!(alone.iter().all(|it| it["ttft"].as_f64() > Some(0.0)));
    }
    assert_nothing_left(&machines);

    let predict = xtask(&machines, "predict", &flags.replace("-g 4", "-g 100000"));
    kill_when(predict, || machines.all.iter().all(has_rank));
    assert_nothing_left(&machines);
}

#[test]
fn a_benchmark_that_is_killed_leaves_nothing_on_its_machines() {
    let Some(machines) = machines() else { return };
    let flags = "--model qwen3-tiny --strategy tp --backend ring -p 16 -g 100000 -r 1";
    kill_when(bench(&machines, flags), || {
        machines.all.iter().any(has_rank)
    });
    assert_nothing_left(&machines);
}

/// jaccl alone, whose ranks the same nodes run: rail by rail, case by case, timed.
#[test]
fn rails_are_tried_verified_and_timed_on_two_machines() {
    let Some(machines) = machines() else { return };
    let tried = report(xtask(&machines, "preflight", ""), 0);
    let rails = tried["rails"].as_array().unwrap();
    assert_eq!(rails.len(), 2, "{tried}");
    assert!(rails.iter().all(|rail| rail["verdict"] == "ok"), "{tried}");
    assert_eq!(tried["nodes"][1]["nodes"], json!(["second"]));

    let cases = "--op all_sum,send,sequence --frames big --bytes 8192,1048576";
    let verified = report(xtask(&machines, "verify", cases), 0);
    let variant = &verified["variants"][0];
    assert_eq!(variant["given"]["nodes"], json!(["first", "second"]));
    assert!(variant["cases"].as_u64() > Some(5), "{variant}");
    assert_eq!(verified["nodes"][1]["host"], "b");

    let cells = "--op all_sum --bytes 64KiB --frames big --iterations 3";
    let timed = report(xtask(&machines, "collectives", cells), 0);
    let rows = timed["rows"].as_array().unwrap();
    let cables = |row: &Value| (row["backend"].clone(), row["cables"].clone());
    let cables: Vec<_> = rows.iter().map(cables).collect();
    assert!(cables.contains(&("ring".into(), 2.into())), "{timed}");
    assert!(rows.iter().all(|row| row["verdict"] == "pass"), "{timed}");
    assert_eq!(timed["nodes"][0]["host"], "a");
    assert_nothing_left(&machines);
    assert_eq!(machines.temporary(), [""; 0]);
}

/// The place of each rank that hangs comes from the machine on which it is.
#[test]
fn ranks_that_hang_on_two_machines_say_where() {
    let Some(machines) = machines() else { return };
    let cut = format!("{RIG}\n[[fault]]\ncable = \"left\"\nkind = \"cut\"\n");
    fs::write(machines.path("rig.toml"), cut).unwrap();
    let case = "--op all_sum --backend ring --wires 1 --bytes 8192 \
                --frames big --dtype f32 --in-place false";
    let verified = report(xtask(&machines, "verify", case), 1);
    let failures = verified["variants"][0]["failures"].as_array().unwrap();
    for failure in failures {
        assert_eq!(failure["verdict"], "hang", "{failure}");
        let detail = failure["detail"].as_str().unwrap();
        for rank in ["rank 0 waits in jaccl::", "rank 1 waits in jaccl::"] {
            assert!(detail.contains(rank), "{detail}");
        }
    }
    assert!(!failures.is_empty(), "{verified}");
    assert_nothing_left(&machines);
}

/// The ranks on both machines hang over a cable that is cut, and the rail is named.
#[test]
fn a_cut_cable_between_two_machines_is_found_before_a_job() {
    let Some(machines) = machines() else { return };
    let cut = format!("{RIG}\n[[fault]]\ncable = \"right\"\nkind = \"cut\"\n");
    fs::write(machines.path("rig.toml"), cut).unwrap();
    let tried = report(xtask(&machines, "preflight", "--timeout 500ms"), 1);
    let verdicts = tried["rails"].as_array().unwrap().iter();
    let verdicts: Vec<_> = verdicts.map(|rail| rail["verdict"].clone()).collect();
    assert_eq!(verdicts, ["ok", "dead"], "{tried}");
    let output = bench(&machines, "--model qwen3-tiny -r 1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no cell was measured"), "{said}");
    assert_nothing_left(&machines);
}
