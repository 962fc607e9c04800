//! `cargo xtask rig doctor` by the system's ssh, on two machines that are namespaces of this
//! one, which take root; otherwise the tests say so and pass. What Macs say is in
//! `discover.rs`.

use std::{fs, path::Path};

use serde_json::Value;
use testbed::{Machine, Machines};

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
"#;

/// The exit code and the document of the doctor.
fn doctor(machines: &Machines, rig: &str, flags: &[&str]) -> (i32, Value) {
    let path = machines.path("rig.toml");
    fs::write(&path, rig).unwrap();
    let mut command = machines.command(env!("CARGO_BIN_EXE_xtask"));
    command.args(["rig", "doctor", "--format", "json", "--rig"]);
    let output = command.arg(path).args(flags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).expect(&said);
    (output.status.code().unwrap(), report)
}

/// The findings of a kind, each with its severity, its nodes and its remedy.
fn findings(report: &Value, kind: &str) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    all.filter(|it| it["kind"] == kind)
        .map(|it| {
            let [severity, what, remedy] = ["severity", "what", "remedy"].map(|key| word(&it[key]));
            let nodes: Vec<_> = it["nodes"].as_array().unwrap().iter().map(word).collect();
            format!("{severity} {}: {what}; {remedy}", nodes.join(","))
        })
        .collect()
}

/// Asserts that the doctor fails and finds one thing of a kind, whole. A `*` is any text, of
/// another program's words.
fn assert_finds(machines: &Machines, rig: &str, flags: &[&str], kind: &str, wanted: &str) {
    let (code, report) = doctor(machines, rig, flags);
    assert_eq!(code, 1, "{report}");
    assert_found(&report, kind, wanted);
}

fn assert_found(report: &Value, kind: &str, wanted: &str) {
    let found = findings(report, kind);
    let [found] = &found[..] else {
        panic!("{found:?} of {report}")
    };
    let (start, end) = wanted.split_once('*').unwrap_or((wanted, ""));
    let like = found.starts_with(start) && found.ends_with(end);
    assert!(like, "{found}\nis not\n{wanted}");
}

fn assert_nothing_left(machines: &Machines) {
    machines.assert_idle();
    for machine in &machines.all {
        assert!(!machine.home.join(".cache").exists());
    }
    assert_eq!(machines.temporary(), [""; 0]);
}

/// The rig with another last node.
fn second(fields: &str) -> String {
    RIG.replace("ssh = \"b\"\n", &format!("{fields}\n"))
}

#[test]
fn two_machines_are_well_and_stay_as_they_are() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let (code, report) = doctor(&machines, RIG, &[]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["well"], true);
    for (at, host, other) in [(0, "a", "second:rdma_en5"), (1, "b", "first:rdma_en2")] {
        let node = &report["nodes"][at];
        assert_eq!(node["host"], host);
        assert_eq!(node["software"]["kernel"], "Linux", "{node}");
        assert_eq!(node["disk"]["writable"], true, "{node}");
        assert_eq!(node["devices"][0]["other"], other, "{node}");
        // One machine has one clock.
        let clock = &node["clock"];
        assert!(clock["ahead_at_least"].as_f64().unwrap() < 0.01, "{node}");
        assert!(clock["ahead_at_most"].as_f64().unwrap() > -0.01, "{node}");
        let home = fs::read_dir(&machines.all[at].home).unwrap();
        assert_eq!(home.count(), 0, "it wrote into the home of {host}");
    }
    assert_nothing_left(&machines);
}

#[test]
fn a_node_that_does_not_let_in_is_named_and_the_other_is_examined() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    for (host, words, help) in testbed::refusing_hosts() {
        let rig = second(&format!("ssh = \"{host}\""));
        let wanted =
            format!("failure second: node 'second': cannot reach '{host}': {words}; {help}");
        assert_finds(&machines, &rig, &[], "unreachable", &wanted);
    }

    let unreachable = "failure second: node 'second': cannot reach 'b': ";
    machines.all[1].stop_sshd(true);
    let wanted = format!(
        "{unreachable}Connection to 10.77.0.3 port 22 timed out; wake the machine and look at its \
         network: `ssh b true` must end within 10 s"
    );
    assert_finds(&machines, RIG, &[], "unreachable", &wanted);
    machines.all[1].stop_sshd(false);

    machines.all[1].kill_sshd();
    let wanted = format!(
        "{unreachable}ssh: connect to host 10.77.0.3 port 22: Connection refused; on a Mac: System \
         Settings, General, Sharing, Remote Login; elsewhere start sshd"
    );
    assert_finds(&machines, RIG, &[], "unreachable", &wanted);
    let (_, report) = doctor(&machines, RIG, &[]);
    assert_eq!(report["nodes"][0]["software"]["kernel"], "Linux");
    assert_nothing_left(&machines);
}

#[test]
fn what_is_wrong_with_a_node_or_between_nodes_is_found_with_a_remedy() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let machine = &machines.all[1];

    // Without a stage in the rig it is in the home.
    let home = machine.home.display();
    machine.run(&format!(
        "mount --bind {home} {home} && mount -o remount,ro,bind {home}"
    ));
    let wanted = format!(
        "failure second: the user may not write the folder for programs on {home} of node \
         'second'; give the node a `stage` in its [[node]] that the user may write"
    );
    assert_finds(&machines, RIG, &[], "stage-not-writable", &wanted);
    machine.run(&format!("umount {home}"));

    let small = machines.path("small");
    fs::create_dir(&small).unwrap();
    let small = small.display();
    machine.run(&format!("mount -t tmpfs -o size=1m t {small}"));
    let rig = second(&format!("ssh = \"b\"\nstage = \"{small}\""));
    let wanted = format!(
        "failure second: 0.0 GiB are free on {small} of node 'second', where its programs are \
         kept; free some (`cargo xtask gc` if this is the machine with the store), or give the \
         node a `stage` on another disk"
    );
    assert_finds(&machines, &rig, &[], "low-disk", &wanted);

    // The programs of the node that read its clock play another one.
    machine.program(
        "perl",
        "#!/bin/sh\ncase $1 in *HiRes*) exec /usr/bin/perl \"$1\" -e 'print time + 3600.5' ;; esac\n\
         exec /usr/bin/perl \"$@\"\n",
    );
    assert_finds(
        &machines,
        RIG,
        &[],
        "clocks-apart",
        "failure second,first: the clock of node 'second' is at least * s ahead of that of 'first'; \
         let both take the time from the network (macOS: `sudo sntp -sS time.apple.com`; Linux: \
         `sudo timedatectl set-ntp true`)",
    );
    fs::remove_file(machine.home.join("bin/perl")).unwrap();

    machine.program(
        "uname",
        "#!/bin/sh\n[ $1 = -s ] || cpu=' arm64'\necho \"Darwin$cpu\"\n",
    );
    machine.program(
        "sw_vers",
        "#!/bin/sh\necho ProductName: macOS; echo ProductVersion: 26.2\n",
    );
    assert_finds(
        &machines,
        RIG,
        &[],
        "different-platforms",
        "failure first,second: node 'first' is Linux * and node 'second' is Darwin arm64; take nodes \
         of one system and one kind of processor: all ranks run one build",
    );
    assert_nothing_left(&machines);
}

/// The RDMA device of each machine, by a tool that plays one.
fn plays_a_device(machine: &Machine) {
    let link = r#"[{"ifname":"mlx5_0","port":1,"state":"ACTIVE","netdev":"eth0"}]"#;
    machine.program("rdma", &format!("#!/bin/sh\necho '{link}'\n"));
}

#[test]
fn a_device_of_the_rig_that_a_node_has_not_got_is_named() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    machines.all.iter().for_each(plays_a_device);
    let rig = RIG.replace("\"emulated\"", "\"real\"");
    let rig = rig.replace("first:rdma_en2", "first:mlx5_0");
    assert_finds(
        &machines,
        &rig,
        &[],
        "no-such-device",
        "failure second: node 'second' has no RDMA device rdma_en5; it has mlx5_0; correct the rig \
         (`cargo xtask rig discover` asks the nodes and writes one)",
    );
    assert_nothing_left(&machines);
}

#[test]
fn a_model_that_differs_between_nodes_is_named_by_file() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let model = |folder: &str, weights: &str| {
        let folder = machines.path(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        fs::write(folder.join("model.safetensors"), weights).unwrap();
        folder
    };
    let ours = model("models/m", "weights");
    model("others/m", "Weights");
    let others = machines.path("others");
    let rig = second(&format!("ssh = \"b\"\nmodels = \"{}\"", others.display()));
    let flag = ours.to_str().unwrap();
    assert_finds(
        &machines,
        &rig,
        &["--model", flag],
        "model-differs",
        "failure first,second: the model's files differ between nodes 'first' and 'second': \
         model.safetensors; copy them from the node that has the right ones",
    );
    let (code, _) = doctor(&machines, RIG, &["--model", flag]);
    assert_eq!(code, 0);
}

/// What a node is asked for and does not say.
fn missing<'a>(report: &'a Value, fact: &str) -> &'a str {
    report["nodes"][1]["missing"][fact]
        .as_str()
        .unwrap_or_default()
}

const RESTART: &str = "run the tool there in a terminal; a driver that does not answer may need its \
                       cables pulled and plugged in again, or a restart of the node";

#[test]
fn a_tool_that_hangs_is_ended_and_all_else_is_known() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    machines.all[1].program("ps", "#!/bin/sh\nsleep 1000 | cat\n");
    let (code, report) = doctor(&machines, RIG, &[]);
    assert_eq!(code, 0, "{report}");
    let wanted = format!(
        "warning second: what node 'second' was asked for as 'jobs' did not end, and was ended; \
         {RESTART}"
    );
    assert_eq!(findings(&report, "tool-hangs"), [wanted]);
    assert_eq!(missing(&report, "users"), "it did not end within 15 s");
    assert_eq!(report["nodes"][1]["software"]["kernel"], "Linux");
    assert!(!report["nodes"][1]["clock"].is_null());
    assert_nothing_left(&machines);
}

/// Without perl nobody ends a tool there, and the time of the whole script is limited.
#[test]
fn a_script_that_hangs_is_cut_off_and_what_was_said_before_stays() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let machine = &machines.all[1];
    assert!(Path::new("/usr/bin/perl").exists());
    machine.run("mount --bind /dev/null /usr/bin/perl");
    machine.program("ps", "#!/bin/sh\nexec sleep 70\n");
    let (code, report) = doctor(&machines, RIG, &[]);
    assert_eq!(code, 1, "{report}");
    let wanted = format!(
        "failure second: node 'second' had not said everything after * s; it was asked for 'jobs' \
         then; {RESTART}"
    );
    assert_found(&report, "late", &wanted);
    let node = &report["nodes"][1];
    assert_eq!(node["disk"]["writable"], true, "{node}");
    assert_eq!(
        missing(&report, "software"),
        "the node was not asked for it"
    );
    // Nobody there ends it, so it ends by itself.
    assert_nothing_left(&machines);
}
