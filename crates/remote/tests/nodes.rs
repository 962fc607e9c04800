//! Ranks on two machines with ssh between them, what travels there, what is refused before
//! a rank starts, and that nothing is left of them however they end.
//!
//! The machines are namespaces of this one, which take root; otherwise the tests say so and
//! pass.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Lines, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
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
        eventually(
            &format!("processes on {}: {:?}", machine.name, machine.foreign()),
            || {
                let ours = |(_, name): &(u32, String)| name != "sshd";
                !machine.foreign().iter().any(ours)
            },
        );
        assert_eq!(machine.ports(), [0; 0], "{}", machine.name);
        let scratch = files(&machine.stage().join("scratch"));
        assert_eq!(scratch, [""; 0], "{}", machine.name);
    }
    eventually(
        &format!("temporary files: {:?}", machines.temporary()),
        || machines.temporary().is_empty(),
    );
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
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let text = said(launcher(&machines, RIG, SHORT, &[]));
    let [a, b] = &machines.all[..] else {
        panic!("two machines")
    };
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
    assert!(
        text.contains("1 ended") && !text.contains("Sending"),
        "{text}"
    );

    // A file of the stage that was damaged is noticed, and travels again.
    let blob = fs::read_dir(b.stage().join("blobs"))
        .unwrap()
        .next()
        .unwrap();
    fs::write(blob.unwrap().path(), SHORT.replace("echo", "ecHo")).unwrap();
    let text = said(launcher(&machines, RIG, SHORT, &[]));
    assert!(text.contains("Sending 1 files to node 'second'"), "{text}");
    assert!(!text.contains("node 'first'\nSending 1"), "{text}");
    assert!(text.contains("1 on second"), "{text}");

    let text = said(launcher(&machines, RIG, "", &[]));
    assert!(
        text.contains("cleaned first true\ncleaned second true"),
        "{text}"
    );
    assert!(!a.stage().exists() && !b.stage().exists());
}

/// A launcher whose ranks all run and wait.
struct Waiting {
    launcher: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Waiting {
    fn start(machines: &Machines) -> Self {
        let mut command = launcher(machines, RIG, LONG, &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut launcher = command.spawn().unwrap();
        let out = launcher.stdout.take().unwrap();
        let mut waiting = Waiting {
            launcher,
            said: BufReader::new(out).lines(),
        };
        waiting.hear(&["0 waiting", "1 waiting"]);
        waiting
    }

    /// Reads until the launcher has printed all these lines.
    fn hear(&mut self, wanted: &[&str]) {
        let mut heard = Vec::new();
        while !wanted.iter().all(|line| heard.iter().any(|it| it == line)) {
            match self.said.next() {
                Some(line) => heard.push(line.unwrap()),
                None => panic!("{wanted:?} is not in {heard:?}"),
            }
        }
    }

    fn kill(&mut self) {
        self.launcher.kill().unwrap();
    }

    fn stop(&mut self) {
        writeln!(self.launcher.stdin.as_mut().unwrap(), "stop").unwrap();
    }

    fn end(mut self) {
        eventually("the launcher runs", || {
            self.launcher.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
    }
}

#[test]
fn a_launcher_that_is_killed_or_interrupted_leaves_nothing() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
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
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let mut waiting = Waiting::start(&machines);
    machines.all[1].kill_sshd();
    waiting.hear(&["1 ended: was lost: the connection to its node has ended"]);
    // The launcher still waits for the other rank, as its caller decides.
    let second = &machines.all[1];
    eventually("processes are left", || second.foreign().is_empty());
    eventually("files are left", || {
        files(&second.stage().join("scratch")).is_empty()
    });
    waiting.stop();
    waiting.end();
    assert_clean(&machines);
}

#[test]
fn a_node_that_reboots_runs_ranks_again_and_removes_what_was_left() {
    let Some(mut machines) = Machines::two_or_skip() else {
        return;
    };
    let mut waiting = Waiting::start(&machines);
    machines.all[1].reboot();
    waiting.hear(&["1 ended: was lost: the connection to its node has ended"]);
    waiting.stop();
    waiting.end();
    let second = &machines.all[1];
    eventually("processes are left", || second.foreign().is_empty());
    // Nobody was there to remove the folder of its rank.
    assert_eq!(files(&second.stage().join("scratch")).len(), 1);
    let text = said(launcher(&machines, RIG, SHORT, &[]));
    assert!(text.contains("1 ended: exited with status 0"), "{text}");
    assert_clean(&machines);
}

#[test]
fn a_network_that_is_gone_ends_the_ranks_on_both_sides() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let mut waiting = Waiting::start(&machines);
    machines.link(0, false);
    machines.link(1, false);
    // Without a word from the other side, each counts the silence.
    let lost = "ended: was lost: the connection to its node has ended";
    waiting.hear(&[&format!("0 {lost}"), &format!("1 {lost}")]);
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

/// Asserts that a launcher ends with this error and this remedy, before it has started a
/// rank. A `*` is any text, of another program's words.
fn assert_refused(machines: &Machines, rig: &str, error: &str, help: &str) {
    let text = said(launcher(machines, rig, SHORT, &[]));
    assert_ends(&text, error, help);
    assert!(!text.contains("on first"), "{text}");
}

fn assert_ends(text: &str, error: &str, help: &str) {
    let found = text.find("error: ").map(|at| &text[at..]);
    let (first, rest) = found.and_then(|it| it.split_once('\n')).expect(text);
    for (line, wanted) in [
        (first, format!("error: {error}")),
        (rest.trim_end(), format!("help: {help}")),
    ] {
        assert!(is_like(line, &wanted), "{line}\nis not\n{wanted}");
    }
}

fn is_like(text: &str, wanted: &str) -> bool {
    match wanted.split_once('*') {
        None => text == wanted,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

/// A rig whose second node has this name for ssh, and more.
fn reached(ssh: &str, more: &str) -> String {
    second(&format!("ssh = \"{ssh}\"\naddress = \"10.77.0.3\"\n{more}"))
}

/// A rig whose second node has this stage.
fn staged(stage: &Path) -> String {
    reached("b", &format!("stage = \"{}\"", stage.display()))
}

const OTHER_STAGE: &str = "give the node another folder in the rig, as stage = \"/a/folder\", \
                           which its user can write";

const SPACE: &str =
    "free some space there, run `cargo xtask rig clean`, or give the node another stage";

#[test]
fn a_node_that_does_not_let_in_is_named_with_what_to_do() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    for (host, words, help) in testbed::refusing_hosts() {
        let error = format!("node 'second' cannot be reached by `ssh {host}`: {words}");
        assert_refused(&machines, &reached(host, ""), &error, &help);
    }

    machines.all[1].kill_sshd();
    assert_refused(
        &machines,
        RIG,
        "node 'second' cannot be reached by `ssh b`: ssh: connect to host 10.77.0.3 port 22: \
         Connection refused",
        "on a Mac: System Settings, General, Sharing, Remote Login; elsewhere start sshd",
    );
    assert_clean(&machines);
}

#[test]
fn a_node_that_answers_nothing_is_not_waited_for() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let second = &machines.all[1];
    let wake = "wake the machine and look at its network: `ssh b true` must end within 10 s";
    second.stop_sshd(true);
    assert_refused(
        &machines,
        RIG,
        "node 'second' cannot be reached by `ssh b`: Connection to 10.77.0.3 port 22 timed out",
        wake,
    );
    second.stop_sshd(false);

    machines.link(1, false);
    assert_refused(
        &machines,
        RIG,
        "node 'second' cannot be reached by `ssh b`: ssh: connect to host 10.77.0.3 port 22: *",
        wake,
    );
    machines.link(1, true);

    // It logs in, and then its shell waits.
    second.program("uname", "#!/bin/sh\nexec sleep 35\n");
    assert_refused(
        &machines,
        RIG,
        "node 'second' has not described itself within 30 s",
        "log in there and look at what it waits for, such as a disk that does not answer",
    );
    assert_clean(&machines);
}

#[test]
fn a_stage_that_cannot_be_used_is_named_with_its_node() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let machine = &machines.all[1];
    let folder = |name: &str, mount: &str| -> PathBuf {
        let path = machine.home.join(name);
        fs::create_dir(&path).unwrap();
        machine.run(&format!("{mount} {}", path.display()));
        path
    };
    let unusable = |stage: &Path, why: &str| {
        let stage = stage.display();
        format!("the stage {stage} of node 'second' cannot be used: {why}")
    };
    let others = folder("others", "chown 65534");
    let why = unusable(&others, "another user owns it (drwx*)");
    assert_refused(&machines, &staged(&others), &why, OTHER_STAGE);

    let fixed = folder("fixed", "mount -t tmpfs -o ro t");
    let why = unusable(&fixed, "mkdir: *: Read-only file system");
    assert_refused(&machines, &staged(&fixed), &why, OTHER_STAGE);

    let small = folder("small", "mount -t tmpfs -o size=64k t");
    let why = "node 'second' has no space in its stage: *: No space left on device";
    assert_refused(&machines, &staged(&small), why, SPACE);

    // Without a stage in the rig it is in the home.
    let home = machine.home.display();
    machine.run(&format!(
        "mount --bind {home} {home} && mount -o remount,ro,bind {home}"
    ));
    let why = unusable(
        Path::new(".cache/mlx-rails/stage"),
        "mkdir: *: Read-only file system",
    );
    assert_refused(&machines, RIG, &why, OTHER_STAGE);
    let elsewhere = machines.path("elsewhere");
    let text = said(launcher(&machines, &staged(&elsewhere), SHORT, &[]));
    assert!(text.contains("1 ended: exited with status 0"), "{text}");
    assert_clean(&machines);
}

/// A program of more than three MiB.
fn large(letter: &str) -> String {
    format!("{SHORT}exit\n{}", letter.repeat(3 << 20))
}

#[test]
fn a_slow_link_carries_and_a_disk_that_fills_meanwhile_is_said() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let machine = &machines.all[1];
    let stage = machine.home.join("small");
    fs::create_dir(&stage).unwrap();
    let at = stage.display();
    machine.run(&format!("mount -t tmpfs -o size=96m t {at}"));
    let rig = staged(&stage);
    // The agent is there when the link becomes slow.
    let text = said(launcher(&machines, &rig, SHORT, &[]));
    assert!(text.contains("1 ended: exited with status 0"), "{text}");
    if let Err(why) = machines.slow(1, "4mbit") {
        return eprintln!("skipped: {why}");
    }

    let text = said(launcher(&machines, &rig, &large("x"), &[]));
    assert!(text.contains("1 ended: exited with status 0"), "{text}");
    let (_, told) = text.split_once("files to node 'second'\n").expect(&text);
    assert!(
        told.starts_with("1 of 3 MB\n2 of 3 MB\n3 of 3 MB\n"),
        "{text}"
    );

    let mut running = launcher(&machines, &rig, &large("y"), &[]);
    let running = running.stdout(Stdio::piped()).spawn().unwrap();
    machine.run(&format!(
        "for turn in $(seq 600); do [ -s {at}/scratch/receive-*/blob ] && break; sleep 0.1; done; \
         cat /dev/zero > {at}/ballast || true"
    ));
    let text = String::from_utf8(running.wait_with_output().unwrap().stdout).unwrap();
    let full = "node 'second' has no space in its stage: ";
    let why = format!("{full}{at}/scratch/receive-*/blob: No space left on device (os error 28)");
    assert_ends(&text, &why, SPACE);
    machine.run(&format!("[ -z \"$(ls {at}/scratch)\" ]"));

    let why = format!("{full}{at}/blobs: 4 MB are needed, and 0 MB are free");
    let text = said(launcher(&machines, &rig, &large("y"), &[]));
    assert_ends(&text, &why, SPACE);

    machine.run(&format!("rm {at}/ballast"));
    let text = said(launcher(&machines, &rig, &large("y"), &[]));
    assert!(text.contains("1 ended: exited with status 0"), "{text}");
    machine.run(&format!("[ -z \"$(ls {at}/scratch)\" ]"));
    assert_clean(&machines);
}

#[test]
fn nodes_that_cannot_be_ranks_together_are_named() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
    let machine = &machines.all[1];
    assert_refused(
        &machines,
        &reached("a-again", ""),
        "nodes 'first' and 'second' are the same machine, *",
        "give each node the name of a machine of its own as `ssh`",
    );

    let own = "write one of the node's own IPv4 addresses; `ifconfig` or `ip address` lists them \
               there";
    for (address, why) in [
        ("10.77.0.9", "Cannot assign requested address (os error 99)"),
        ("fd00::9", "ranks meet at an IPv4 address"),
    ] {
        let rig = second(&format!("ssh = \"b\"\naddress = \"{address}\""));
        let error = format!("node 'second' cannot listen at {address}: {why}");
        assert_refused(&machines, &rig, &error, own);
    }

    // An address that is the node's own, and that the other one does not reach.
    machine.run("ip addr add 10.78.0.1/24 dev lo");
    assert_refused(
        &machines,
        &second("ssh = \"b\"\naddress = \"10.78.0.1\""),
        "node 'first' does not reach node 'second' at 10.78.0.1: Network is unreachable (os error \
         101)",
        "`ping 10.78.0.1` on 'first' must be answered, and a firewall on 'second' must let \
         programs listen",
    );

    // A firewall that answers nothing: what the second node sends to the first gets lost.
    machine.run("ip neigh replace 10.77.0.2 lladdr 02:00:00:00:00:99 dev eth0 nud permanent");
    assert_refused(
        &machines,
        RIG,
        "node 'second' does not reach node 'first' at 10.77.0.2: connection timed out",
        "`ping 10.77.0.2` on 'second' must be answered, and a firewall on 'first' must let \
         programs listen",
    );
    machine.run("ip neigh del 10.77.0.2 dev eth0");

    machine.program("uname", "#!/bin/sh\necho Darwin arm64\n");
    assert_refused(
        &machines,
        RIG,
        "node 'second' is Darwin arm64, and what would run there was made for Linux *",
        "run this command on a machine like the nodes; a rig has one kind of them",
    );
    assert_clean(&machines);
}

#[test]
fn a_model_that_differs_is_named_by_file_and_node() {
    let Some(machines) = Machines::two_or_skip() else {
        return;
    };
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
