//! Ranks on two machines with ssh between them, what travels there, what is refused before
//! a rank starts, and that nothing is left of them however they end.
//!
//! The machines are namespaces of this one, which take root; otherwise the tests say so and
//! pass.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use testbed::{Machine, Machines, eventually};

/// Prints where it is, and ends.
const SHORT: &str = "#!/bin/sh\necho on $RANK in $PWD with $(cat job) at $1\necho a word >&2\n";

/// Starts another process, leaves a file, and waits for ever.
const LONG: &str = "#!/bin/sh\n: > left\nsleep 1000 &\necho waiting\nwait\n";

const RIG: &str = r#"
[[node]]
name = "first"
ssh = "a"
address = "10.77.0.2"
[[node]]
name = "second"
ssh = "b"
address = "10.77.0.3"
"#;

/// Two machines, unless they cannot be made here.
fn machines() -> Option<Machines> {
    Machines::two().map_err(|why| eprintln!("skipped: {why}")).ok()
}

/// A launcher of this program on the nodes of this rig.
fn launcher(machines: &Machines, rig: &str, program: &str, more: &[&Path]) -> Command {
    fs::write(machines.path("rig.toml"), rig).unwrap();
    let path = machines.path("program");
    // A program that runs cannot be written to.
    let _ = fs::remove_file(&path);
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let mut command = machines.command(env!("CARGO_BIN_EXE_run-there"));
    command
        .arg(machines.path("rig.toml"))
        .arg(env!("CARGO_BIN_EXE_rails-agent"));
    if !program.is_empty() {
        command.arg(path).args(more);
    }
    command
}

fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// Asserts that nothing of a run is left on a machine but its stage.
fn assert_clean(machines: &Machines) {
    for machine in &machines.all {
        eventually(&format!("processes on {}: {:?}", machine.name, machine.foreign()), || {
            let ours = |(_, name): &(u32, String)| name != "sshd";
            !machine.foreign().iter().any(ours)
        });
        assert_eq!(machine.ports(), [0; 0], "{}", machine.name);
        let scratch = files(&machine.stage().join("scratch"));
        assert_eq!(scratch, [""; 0], "{}", machine.name);
    }
    eventually(&format!("temporary files: {:?}", machines.temporary()), || {
        machines.temporary().is_empty()
    });
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn ranks_run_there_and_only_what_is_missing_travels() {
    let Some(machines) = machines() else { return };
    let text = said(launcher(&machines, RIG, SHORT, &[]));
    let [a, b] = &machines.all[..] else { panic!("two machines") };
    for (rank, name, machine) in [(0, "first", a), (1, "second", b)] {
        let scratch = machine.stage().join("scratch/run-").display().to_string();
        for part in [
            format!("{rank} on {name} in {scratch}"),
            format!("with what to do at {}:", machine.address),
            format!("{rank} said: a word"),
            format!("{rank} ended: exited with status 0"),
            format!("Sending 1 files to node '{name}'"),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
    }
    assert_clean(&machines);

    let text = said(launcher(&machines, RIG, SHORT, &[]));
    assert!(text.contains("1 ended") && !text.contains("Sending"), "{text}");

    // A file of the stage that was damaged is noticed, and travels again.
    let blob = fs::read_dir(b.stage().join("blobs")).unwrap().next().unwrap();
    fs::write(blob.unwrap().path(), SHORT.replace("echo", "ecHo")).unwrap();
    let text = said(launcher(&machines, RIG, SHORT, &[]));
    assert!(text.contains("Sending 1 files to node 'second'"), "{text}");
    assert!(!text.contains("node 'first'\nSending 1"), "{text}");
    assert!(text.contains("1 on second"), "{text}");

    let text = said(launcher(&machines, RIG, "", &[]));
    assert!(text.contains("cleaned first true\ncleaned second true"), "{text}");
    assert!(!a.stage().exists() && !b.stage().exists());
}

/// A launcher whose ranks all run and wait.
struct Waiting(Child);

impl Waiting {
    fn start(machines: &Machines) -> Self {
        let mut command = launcher(machines, RIG, LONG, &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut launcher = command.spawn().unwrap();
        let out = launcher.stdout.take().unwrap();
        let waiting = Waiting(launcher);
        let mut heard = Vec::new();
        for line in BufReader::new(out).lines() {
            heard.push(line.unwrap());
            let waits = |rank: &str| heard.contains(&format!("{rank} waiting"));
            if waits("0") && waits("1") {
                return waiting;
            }
        }
        panic!("the ranks did not start: {heard:?}");
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    fn stop(&mut self) {
        writeln!(self.0.stdin.as_mut().unwrap(), "stop").unwrap();
    }

    fn end(mut self) {
        eventually("the launcher runs", || self.0.try_wait().unwrap().is_some());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_launcher_that_is_killed_or_interrupted_leaves_nothing() {
    let Some(machines) = machines() else { return };
    let ends: [fn(&mut Waiting); 2] = [Waiting::kill, Waiting::stop];
    for end in ends {
        let mut waiting = Waiting::start(&machines);
        let runs = |machine: &Machine| !machine.foreign().is_empty();
        assert!(machines.all.iter().all(runs));
        end(&mut waiting);
        waiting.end();
        assert_clean(&machines);
    }
}

#[test]
fn a_node_whose_sshd_is_killed_keeps_nothing_and_the_launcher_says_so() {
    let Some(machines) = machines() else { return };
    let mut waiting = Waiting::start(&machines);
    machines.all[1].kill_sshd();
    // The launcher waits for the other rank, as its caller decides.
    let second = &machines.all[1];
    eventually("processes are left", || second.foreign().is_empty());
    eventually("files are left", || files(&second.stage().join("scratch")).is_empty());
    waiting.stop();
    waiting.end();
    assert_clean(&machines);
}

#[test]
fn a_network_that_is_gone_ends_the_ranks_on_both_sides() {
    let Some(machines) = machines() else { return };
    let waiting = Waiting::start(&machines);
    machines.link(0, false);
    machines.link(1, false);
    // Without a word from the other side, each counts the silence.
    waiting.end();
    let ranks = |machine: &Machine| {
        let processes = machine.foreign();
        processes.into_iter().any(|(_, name)| name != "sshd")
    };
    eventually("processes are left", || !machines.all.iter().any(ranks));
    assert_clean(&machines);
}

/// A rig in which the node "second" has these fields.
fn second(fields: &str) -> String {
    let (first, _) = RIG.split_at(RIG.rfind("[[node]]").unwrap());
    format!("{first}[[node]]\nname = \"second\"\n{fields}\n")
}

#[test]
fn what_cannot_be_is_said_by_node_before_a_rank_starts() {
    let Some(machines) = machines() else { return };
    let second_machine = &machines.all[1];
    let stage = |name: &str| -> PathBuf { second_machine.home.join(name) };
    fs::create_dir(stage("others")).unwrap();
    second_machine.run(&format!("chown 65534 {}", stage("others").display()));
    fs::create_dir(stage("small")).unwrap();
    second_machine.run(&format!("mount -t tmpfs -o size=64k t {}", stage("small").display()));
    fs::create_dir(stage("fixed")).unwrap();
    second_machine.run(&format!("mount -t tmpfs -o ro t {}", stage("fixed").display()));
    let at = |ssh: &str, more: &str| {
        second(&format!("ssh = \"{ssh}\"\naddress = \"10.77.0.3\"\n{more}"))
    };
    let staged = |name: &str| at("b", &format!("stage = \"{}\"", stage(name).display()));
    let cases = [
        (at("nowhere.invalid", ""), "resolve", "Host nowhere.invalid"),
        (at("locked", ""), "Permission denied", "ssh-copy-id locked"),
        (at("stranger", ""), "Host key verification failed", "`ssh stranger` once"),
        (at("changed", ""), "Host key verification failed", "ssh-keygen -R changed"),
        (at("a-again", ""), "'first' and 'second' are the same machine", "machine of its own"),
        (staged("others"), "another user owns it", "another folder"),
        (staged("small"), "no space", "free some space"),
        (staged("fixed"), "Read-only file system", ""),
        (
            second("ssh = \"b\"\naddress = \"10.77.0.9\""),
            "'second' has no address 10.77.0.9",
            "the node's own addresses",
        ),
    ];
    for (rig, said_so, help) in cases {
        let text = said(launcher(&machines, &rig, SHORT, &[]));
        let error = text.lines().find(|line| line.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("{said_so}: {text}"));
        assert!(error.contains(said_so) && error.contains("second"), "{said_so}: {text}");
        assert!(text.contains("help: ") && text.contains(help), "{help}: {text}");
        assert!(!text.contains("on first"), "{text}");
    }

    // An address that is the node's own, and that the other one does not reach.
    second_machine.run("ip addr add 10.78.0.1/24 dev lo");
    let rig = second("ssh = \"b\"\naddress = \"10.78.0.1\"");
    let text = said(launcher(&machines, &rig, SHORT, &[]));
    assert!(text.contains("'first' does not reach node 'second' at 10.78.0.1"), "{text}");

    // A machine of another kind.
    fs::create_dir(stage("bin")).unwrap();
    fs::write(stage("bin/uname"), "#!/bin/sh\necho Darwin arm64\n").unwrap();
    fs::set_permissions(stage("bin/uname"), Permissions::from_mode(0o755)).unwrap();
    let text = said(launcher(&machines, RIG, SHORT, &[]));
    assert!(text.contains("node 'second' is Darwin arm64, and"), "{text}");
    assert_clean(&machines);
}

#[test]
fn a_model_that_differs_is_named_by_file_and_node() {
    let Some(machines) = machines() else { return };
    let here = machines.path("models/m");
    let there = machines.all[1].home.join("models/m");
    for folder in [&here, &there] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        fs::write(folder.join("model.safetensors"), "weights").unwrap();
    }
    let models = there.parent().unwrap().display().to_string();
    let rig = format!("{RIG}models = \"{models}\"\n");
    let text = said(launcher(&machines, &rig, SHORT, &[&here]));
    assert!(text.contains("1 ended: exited with status 0"), "{text}");

    fs::write(there.join("model.safetensors"), "Weights").unwrap();
    let text = said(launcher(&machines, &rig, SHORT, &[&here]));
    let expected = format!(
        "error: the model on node 'second' is not that of this machine: {models}/m has other bytes \
         in model.safetensors"
    );
    assert!(text.contains(&expected), "{text}");
}
