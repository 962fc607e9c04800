//! Processes that are killed at any moment: the others go on, and nothing of the dead
//! processes is left.
#![cfg(target_os = "linux")]

mod client;

use std::{
    env,
    fmt::Display,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, Write, stdin},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use rig::{Link, Rig, Rules};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use softrail::{Fabric, config, default_parent, shm::SLOTS};
use softrail_provider::bindings as ibv;

use client::{Client, Wanted};

/// How many processes are killed while they use a cable.
const KILLS: u64 = 1000;

/// How many launchers are killed.
const LAUNCHERS: u64 = 100;

/// Messages in each direction after which two clients count as having gone on.
const MESSAGES: u64 = 8;

/// Bytes of a message.
const MESSAGE: u32 = 4096;

/// Longer than any step here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Gives a process that the test started its role: `launcher`, or a node.
const ROLE: &str = "SOFTRAIL_TEST_ROLE";

/// The parent folder of its fabrics, or the folder of its fabric.
const FOLDER: &str = "SOFTRAIL_TEST_FOLDER";

/// The seed of a run, which chooses its moments.
const RUN: &str = "SOFTRAIL_TEST_RUN";

/// The prefix of each line that a process prints for the test.
const MARK: &str = "=> ";

/// The line of a process that goes on.
const GOES_ON: &str = "I go on";

/// The tests count resources of the whole process, so they take turns.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn whoever_is_killed_the_others_go_on_and_nothing_is_left() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = Random::new();
    let parent = tempfile::tempdir_in(default_parent()).expect("a folder");
    let fabric = Fabric::create(parent.path(), &quick()).expect("a fabric");
    let (files, descriptors) = (entries(fabric.path()), entries("/proc/self/fd"));

    let mut nodes = ["a", "b"];
    let mut old = Process::start(nodes[0], fabric.path());
    for kill in 0..KILLS {
        let kind = ["uc", "rc"][random.below(2) as usize];
        let mut new = Process::start(nodes[1], fabric.path());
        if random.below(2) == 0 {
            // The new process, at any time from its start until it has sent a lot.
            let (pid, moment) = (new.pid(), random.below(8000));
            thread::scope(|scope| {
                scope.spawn(|| kill_after(pid, moment));
                introduce(kind, [&mut old, &mut new]);
                while new.hear().is_some() {}
            });
        } else {
            // The old process, while both send.
            introduce(kind, [&mut old, &mut new]);
            for client in [&old, &new] {
                assert_eq!(client.hear().as_deref(), Some(GOES_ON), "kill {kill}");
            }
            kill_after(old.pid(), random.below(1000));
            old = new;
            nodes.swap(0, 1);
        }
    }
    drop(old);

    for node in nodes {
        let open = |_| open(fabric.path(), node, ibv::IBV_QPT_UC);
        let all: Vec<_> = (0..SLOTS).map(open).collect();
        drop(all);
    }
    assert_eq!(entries(fabric.path()), files, "files of the fabric");
    assert_eq!(entries("/proc/self/fd"), descriptors, "open files");
    let children = wait(WaitOptions::NOHANG);
    assert_eq!(children.err(), Some(rustix::io::Errno::CHILD));
    drop(fabric);
    assert_eq!(entries(parent.path()), 0);
}

#[test]
fn launchers_that_are_killed_leave_nothing_for_the_next() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = Random::new();
    let parent = tempfile::tempdir_in(default_parent()).expect("a folder");
    for launcher in 0..LAUNCHERS {
        let process = Process::start("launcher", parent.path());
        assert_eq!(process.hear().as_deref(), Some(GOES_ON));
        kill_after(process.pid(), random.below(3000));
        drop(process);
        let fabric = Fabric::create(parent.path(), &quick()).expect("a fabric");
        assert_eq!(entries(parent.path()), 1, "after launcher {launcher}");
        drop(fabric);
        assert_eq!(entries(parent.path()), 0, "after launcher {launcher}");
    }
}

fn entries(folder: impl AsRef<Path>) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

fn quick() -> Rig {
    let mut rig = Rig::embedded().with_rules(Rules::rdma());
    for cable in &mut rig.cables {
        cable.link = Link {
            bytes_per_second: 1_000_000_000,
            latency: Duration::from_micros(2),
        };
    }
    rig
}

/// Random numbers that are the same for the same seed.
struct Random {
    run: u64,
    step: u64,
}

impl Random {
    /// The numbers of the requested seed, or of a new one. The seed is printed so that
    /// the run can be repeated.
    fn new() -> Self {
        let asked = env::var(RUN).ok().and_then(|run| run.parse().ok());
        let run = asked.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.map_or(0, |now| now.as_secs())
        });
        println!("{RUN}={run}");
        Random { run, step: 0 }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.step += 1;
        let mut hasher = DefaultHasher::new();
        (self.run, self.step).hash(&mut hasher);
        hasher.finish() % limit
    }
}

/// This program again, in another role. Dropping it kills the process.
struct Process {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    fn start(role: &str, folder: &Path) -> Self {
        let mut child = Command::new(env::current_exe().expect("a program"))
            .args(["--exact", "plays_its_role", "--nocapture"])
            .env(ROLE, role)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let commands = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(MARK) {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Process {
            child,
            commands,
            lines,
            reader: Some(reader),
        }
    }

    /// Writes a line to the process, unless it is dead.
    fn tell(&mut self, command: &str) {
        let _ = writeln!(self.commands, "{command}");
    }

    /// The next line of the process for the test; `None` if the process is dead.
    fn hear(&self) -> Option<String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("a process does nothing any more"),
        }
    }

    /// The number of its new queue pair, whatever it printed before.
    fn hear_number(&self) -> Option<u32> {
        std::iter::from_fn(|| self.hear()).find_map(|line| line.parse().ok())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

/// Kills a process after some microseconds. It must not have been reaped yet.
fn kill_after(process: Pid, micros: u64) {
    thread::sleep(Duration::from_micros(micros));
    kill_process(process, Signal::KILL).expect("it is there");
}

/// Makes two clients at the two ends of a cable send to each other on new queue pairs.
fn introduce(kind: &str, [a, b]: [&mut Process; 2]) {
    for client in [&mut *a, &mut *b] {
        client.tell(&format!("open {kind}"));
    }
    if let (Some(first), Some(second)) = (a.hear_number(), b.hear_number()) {
        a.tell(&format!("connect {second}"));
        b.tell(&format!("connect {first}"));
    }
}

/// The roles of the processes that the tests above start.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let folder = env::var_os(FOLDER).expect("it comes with the role");
    match &*role {
        "launcher" => make_fabrics(folder.as_ref()),
        node => serve(folder.as_ref(), node),
    }
}

fn say(line: impl Display) {
    println!("{MARK}{line}");
}

fn make_fabrics(parent: &Path) {
    say(GOES_ON);
    loop {
        drop(Fabric::create(parent, &quick()).expect("a fabric"));
    }
}

/// Makes a queue pair on a node's first device for each command, and sends to and fro on
/// it, until the test ends.
fn serve(folder: &Path, node: &str) {
    let (sender, commands) = mpsc::channel();
    thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let device = &config::devices(folder, node).expect("a node")[0];
    let gid = ibv::ibv_gid {
        raw: device.peer_address.to_ipv6_mapped().octets(),
    };
    let mut client = None;
    let mut next = commands.recv().ok();
    while let Some(command) = next {
        next = match command.split_once(' ') {
            Some(("open", kind)) => {
                drop(client.take());
                let reliable = kind == "rc";
                let kind = [ibv::IBV_QPT_UC, ibv::IBV_QPT_RC][usize::from(reliable)];
                say(client.insert(open(folder, node, kind)).number());
                commands.recv().ok()
            }
            Some(("connect", number)) => {
                let client = client.as_mut().expect("it was opened before");
                client.connect_to(number.parse().expect("a number"), gid);
                exchange(client, node == "a", &commands)
            }
            _ => panic!("what is '{command}'?"),
        }
    }
}

fn open(folder: &Path, node: &str, kind: ibv::ibv_qp_type) -> Client {
    let wanted = Wanted {
        kind,
        memory: 2 * MESSAGE as usize,
        requests: 4,
    };
    Client::of(folder, node, 0, wanted)
}

/// Answers every message with the next one, and prints a line after some. One of two
/// clients `begins`. Returns the next command, if there is one.
fn exchange(client: &mut Client, begins: bool, commands: &Receiver<String>) -> Option<String> {
    let outgoing = client.first(MESSAGE);
    let incoming = ibv::ibv_sge {
        addr: outgoing.addr + u64::from(MESSAGE),
        ..outgoing
    };
    let send = |client: &mut Client, number: u64| {
        client.memory[..MESSAGE as usize].fill(number as u8);
        client.post_send(number, ibv::IBV_WR_SEND, outgoing, outgoing, 0);
    };
    client.post_receive(0, incoming);
    if begins {
        send(client, 0);
    }
    let mut expected = u64::from(begins);
    loop {
        match commands.try_recv() {
            Ok(command) => return Some(command),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        let came =
            |got: ibv::ibv_wc| got.opcode == ibv::IBV_WC_RECV && got.status == ibv::IBV_WC_SUCCESS;
        if client.poll().is_none_or(|got| !came(got)) {
            continue;
        }
        let message = &client.memory[MESSAGE as usize..];
        assert!(message.iter().all(|byte| *byte == expected as u8));
        client.post_receive(0, incoming);
        send(client, expected + 1);
        expected += 2;
        if expected / 2 == MESSAGES {
            say(GOES_ON);
        }
    }
}
