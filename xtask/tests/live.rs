//! Emulated cables, and the commands that watch and break them, while programs run on
//! them.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::CommandCargoExt;
use clients::Client;
use rig::Rig;
use softrail::{Fabric, counters::Counters, up::End};

/// Longer than any step here takes on any machine.
const LIMIT: Duration = Duration::from_secs(120);

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("xtask").expect("xtask");
    command.args(arguments);
    command
}

/// Waits until a condition holds.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < LIMIT, "never {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Two processes that send messages back and forth without end.
struct PingPong<'a>(&'a Fabric);

impl PingPong<'_> {
    /// Runs them until `look` has killed node b's; returns how they ended.
    fn run(look: impl FnOnce(&PingPong<'_>)) -> Vec<(usize, End)> {
        // Compiled before the test waits for its messages.
        let client = Client::ping();
        let (_parent, fabric) = clients::fabric(&clients::rig());
        thread::scope(|scope| {
            let arguments = "latency --device rdma_en5 --transport uc --iterations 2000000000 \
                             --timeout 600s";
            let ran = || clients::run(&fabric, &[0, 1], &client, arguments, LIMIT);
            let ran = scope.spawn(ran);
            let pair = PingPong(&fabric);
            pair.goes_on();
            look(&pair);
            let ran = ran.join().expect("it runs");
            assert!(ran.said.iter().all(|said| !said.contains("#iterations")));
            ran.ends
        })
    }

    /// The number of messages that node a has sent.
    fn sent(&self) -> Counters {
        self.0.live().counters().swap_remove(0)
    }

    #[track_caller]
    fn goes_on(&self) {
        let before = self.sent().messages;
        until("a message more", || self.sent().messages > before);
    }

    /// `cargo xtask cable` for these two.
    #[track_caller]
    fn cable(&self, arguments: &[&str]) {
        let folder = self.0.path().to_str().expect("a readable path");
        let output = xtask(&["cable", "--fabric", folder])
            .args(arguments)
            .output();
        let output = output.expect("xtask runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }

    /// The state of a node's process, as in `/proc`.
    fn state(&self, node: &str) -> char {
        let environment: Vec<_> = self.0.env(node).into_iter().collect();
        let has_all = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let mut all = environment.iter();
            all.all(|(name, value)| text.split('\0').any(|it| it == format!("{name}={value}")))
        };
        let processes = fs::read_dir("/proc").expect("it is Linux").flatten();
        let process = processes
            .map(|entry| entry.path())
            .find(|path| fs::read(path.join("environ")).is_ok_and(|it| has_all(&it)));
        let stat = process.map(|path| fs::read_to_string(path.join("stat")));
        let stat = stat.expect("it runs").expect("it runs");
        let (_, rest) = stat.rsplit_once(") ").expect("its name is in brackets");
        rest.chars().next().expect("a state")
    }
}

#[test]
fn a_node_is_frozen_thawed_and_killed() {
    let ends = PingPong::run(|pair| {
        pair.cable(&["freeze", "b"]);
        until("frozen", || pair.state("b") == 'T');
        assert_ne!(pair.state("a"), 'T');
        pair.cable(&["thaw", "b"]);
        until("thawed", || pair.state("b") != 'T');
        pair.goes_on();
        pair.cable(&["kill", "b"]);
    });
    assert_eq!(ends, [(0, End::Ended), (1, End::Signal(9))]);
}

#[test]
fn a_message_is_dropped() {
    PingPong::run(|pair| {
        pair.cable(&["drop", "a:rdma_en5"]);
        until("lost", || pair.sent().lost == 1);
        pair.cable(&["kill", "b"]);
    });
}

/// Until the late message has arrived, neither its answer nor the next message is sent.
#[test]
fn a_message_is_delayed() {
    PingPong::run(|pair| {
        pair.cable(&["delay", "a:rdma_en5", "--by", "3600 s"]);
        let mut before = pair.sent();
        until("nothing but one on its way", || {
            thread::sleep(Duration::from_millis(200));
            let now = pair.sent();
            let stands = now.messages == std::mem::replace(&mut before, now).messages;
            stands && before.pending > 0
        });
        assert_eq!(before.lost, 0);
        pair.cable(&["kill", "b"]);
    });
}

#[test]
fn who_watches_is_told_again_and_again_until_the_fabric_is_gone() {
    let parent = tempfile::tempdir().expect("a folder");
    let fabric = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
    let folder = fabric.path().to_str().expect("a readable path");
    let flags = ["stats", "--watch", "--format", "json", "--fabric", folder];
    let mut watch = xtask(&["cable"])
        .args(flags)
        .stdout(Stdio::piped())
        .spawn()
        .expect("xtask runs");
    let mut lines = BufReader::new(watch.stdout.take().expect("it is piped")).lines();
    let mut next = || -> serde_json::Value {
        let line = lines.next().expect("one more").expect("text");
        serde_json::from_str(&line).expect("an object a line")
    };
    let [first, second] = [next(), next()];
    assert!(first["seconds"].is_null(), "{first}");
    assert!(second["seconds"].as_f64() >= Some(1.0), "{second}");
    assert_eq!(second["directions"].as_array().map(Vec::len), Some(6));
    drop(fabric);
    lines.for_each(drop);
    assert_eq!(watch.wait().expect("it ends").code(), Some(0));
}

/// The program runs until it notices the fault in both directions: a cut reaches one after the
/// other.
#[test]
fn faults_of_a_rig_come_in_their_time_and_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = folder.path().join("rig.toml");
    let fault = "\n[[fault]]\ncable = \"cable-2\"\nkind = \"cut\"\nat = \"50 ms\"\n";
    fs::write(&rig, Rig::embedded().to_toml() + fault).expect("written");
    let path = rig.to_str().expect("a readable path");
    let script = "until seen=$(\"$1\" cable stats --fabric $SOFTRAIL_FABRIC | grep \"; cut\") \
                  && test $(echo \"$seen\" | wc -l) = 2; do :; done; echo \"$seen\"";
    let this = xtask(&[]);
    let this = this.get_program().to_str().expect("a readable path");
    let up = [
        "rig",
        "up",
        "--rig",
        path,
        "--node",
        "a",
        "--timeout",
        "120",
        "--",
    ];
    let output = xtask(&up).args(["sh", "-c", script, "sh", this]).output();
    let output = output.expect("xtask runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("rig: "))
        .collect();
    assert_eq!(told, ["rig: at 50 ms, cable 'cable-2' is cut"]);
    let seen = String::from_utf8_lossy(&output.stdout);
    assert_eq!(seen.matches("| cable-2 |").count(), 2, "{seen}");
}

/// As `| head` does.
#[test]
fn a_reader_that_leaves_ends_the_programs_in_silence() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let script = format!(
        "echo $$ >> '{}'; while :; do echo hi; sleep 0.05; done",
        pids.display()
    );
    let mut up = xtask(&["rig", "up", "--quiet", "--timeout", "120", "--"])
        .args(["sh", "-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xtask runs");
    let mut stdout = BufReader::new(up.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert!(line.ends_with("hi\n"), "{line}");
    drop(stdout);
    let output = up.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for pid in fs::read_to_string(&pids).expect("they started").lines() {
        let alive = Command::new("kill").args(["-0", pid]).output();
        assert!(!alive.expect("kill runs").status.success(), "{pid} is left");
    }
}
