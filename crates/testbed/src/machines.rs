//! Machines with ssh between them, which are namespaces of this one.
//!
//! Each has a network of its own, with an address in 10.77.0.0/24 behind a bridge, an sshd
//! of Debian's package, and a home. They share the processors, the files and the memory with
//! this machine, so emulated cables reach from one to the other. Nothing outlives the test:
//! the namespaces end with the processes that hold them, and these with the test's process.

use std::{
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use launch::{Input, Output, Process, Streams};
use tempfile::TempDir;

use crate::{Debian, Packages, debian};

const SSHD: Packages = Packages {
    names: &["openssh-server", "libwrap0"],
    witnesses: &["sshd"],
    programs: "usr/sbin",
};

/// A generous limit: on an idle machine every wait ends at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds.
///
/// # Panics
/// It does not for two minutes.
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(PATIENCE, what, holds);
}

/// Waits until something holds.
///
/// # Panics
/// It does not within the limit.
pub fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The machines `a` and `b`, and the network of the machine that reaches them.
pub struct Machines {
    hub: Space,
    /// The machines.
    pub all: Vec<Machine>,
    folder: TempDir,
}

/// The hosts that [`Machines::command`]'s ssh does not log in to: of each its name, what ssh
/// says, where `*` is the system's own text, and what there is to do.
pub fn refusing_hosts() -> [(&'static str, &'static str, String); 4] {
    let known = |host: &str| {
        format!(
            "`ssh {host}` once shows the machine's key and asks; a key that has changed is removed \
             by `ssh-keygen -R {host}`"
        )
    };
    let copied =
        "`ssh-copy-id locked` brings your key there; a key with a passphrase needs ssh-agent";
    let named = "write a name or an address of the machine, or put `Host nowhere.invalid` into \
                 ~/.ssh/config";
    let denied = "root@10.77.0.3: Permission denied (publickey).";
    let resolve = "ssh: Could not resolve hostname nowhere.invalid: *";
    let verify = "Host key verification failed.";
    [
        ("nowhere.invalid", resolve, named.to_owned()),
        ("locked", denied, copied.to_owned()),
        ("stranger", verify, known("stranger")),
        ("changed", verify, known("changed")),
    ]
}

/// A machine that answers ssh.
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// Its address.
    pub address: Ipv4Addr,
    /// The home of its user.
    pub home: PathBuf,
    space: Space,
    /// The command of its sshd, which names programs by their paths.
    daemon: Vec<OsString>,
    sshd: Process,
}

/// Namespaces, which a process holds.
struct Space(Process);

impl Machines {
    /// Two machines. Where there can be none it says why, and a test passes without them.
    pub fn two_or_skip() -> Option<Self> {
        let machines = Self::two();
        machines.map_err(|why| eprintln!("skipped: {why}")).ok()
    }

    /// Two machines, or the reason why there can be none here.
    ///
    /// # Errors
    /// Namespaces or sshd are not to be had.
    pub fn two() -> Result<Self, String> {
        let sshd = SSHD.find()?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let hub = Space::new(
            "ip link set lo up && ip link add br0 type bridge && ip addr add 10.77.0.1/24 dev br0 \
             && ip link set br0 up",
        )?;
        let mut machines = Machines {
            hub,
            all: vec![],
            folder,
        };
        for name in ["bin", "tmp"] {
            fs::create_dir(machines.path(name)).map_err(|error| error.to_string())?;
        }
        for key in ["key", "other-key"] {
            machines.key(key)?;
        }
        fs::copy(machines.path("key.pub"), machines.path("authorized"))
            .map_err(|error| error.to_string())?;
        for (number, name) in [(2, "a"), (3, "b")] {
            let machine = machines.machine(number, name, &sshd)?;
            machines.all.push(machine);
        }
        machines.write_ssh()?;
        for name in ["a", "b"] {
            let until = Instant::now() + PATIENCE;
            while let Err(why) = debian::run(machines.command("ssh").args([name, "true"])) {
                if Instant::now() > until {
                    return Err(why);
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(machines)
    }

    /// Asserts that no process is left on the machines but their sshd's, and no port.
    ///
    /// # Panics
    /// One is left for two minutes, or a port.
    pub fn assert_idle(&self) {
        for machine in &self.all {
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
        }
    }

    /// A path in the folder of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that is run in the network of the machine that reaches the others. ssh knows
    /// there `a` and `b`, `a-again`, which is `a`, `stranger` and `locked`, whose key or
    /// whose user's key is not known, and `changed`, which has another key than before.
    /// Temporary files go to [`path`](Self::path)`("tmp")`.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.hub.enter();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .arg("env")
            .arg(format!("PATH={}:{path}", self.path("bin").display()))
            .arg(format!("TMPDIR={}", self.path("tmp").display()))
            .arg(program.as_ref());
        command
    }

    /// Names of files that a command has left in its folder for temporary ones.
    pub fn temporary(&self) -> Vec<String> {
        names(&self.path("tmp"))
    }

    /// Switches the network between a machine and the others on or off.
    pub fn link(&self, machine: usize, on: bool) {
        let state = if on { "up" } else { "down" };
        self.hub
            .run(&format!("ip link set m{machine} {state}"))
            .expect("the link is there");
    }

    /// Makes the network from the others to a machine carry this many bits a second, in
    /// the words of `tc`, such as `4mbit`.
    ///
    /// # Errors
    /// The reason why it cannot be made slow here.
    pub fn slow(&self, machine: usize, rate: &str) -> Result<(), String> {
        self.hub.run(&format!(
            "tc qdisc replace dev m{machine} root tbf rate {rate} burst 32kb latency 400ms"
        ))
    }

    fn key(&self, name: &str) -> Result<(), String> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]);
        debian::run(keygen.arg(self.path(name)))
    }

    fn machine(&self, number: u8, name: &'static str, sshd: &Debian) -> Result<Machine, String> {
        let io = |error: std::io::Error| error.to_string();
        let address = Ipv4Addr::new(10, 77, 0, number);
        let passwd = self.path("passwd");
        let users = fs::read_to_string("/etc/passwd").map_err(io)?;
        let own = "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n";
        let others = users.lines().filter(|line| !line.starts_with("sshd:"));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        fs::write(&passwd, others + own).map_err(io)?;
        // sshd wants an account of its own, and a folder below /run.
        let space = Space::new(&format!(
            "ip link set lo up && mount -t tmpfs tmpfs /run && mkdir /run/sshd \
             && mount --bind {} /etc/passwd",
            passwd.display()
        ))?;
        let at = self.all.len();
        self.hub.run(&format!(
            "ip link add m{at} type veth peer name eth0 netns {} && ip link set m{at} master br0 \
             && ip link set m{at} up",
            space.0.id()
        ))?;
        space.run(&format!(
            "ip addr add {address}/24 dev eth0 && ip link set eth0 up"
        ))?;
        let home = self.path(name);
        fs::create_dir(&home).map_err(io)?;
        self.key(&format!("host-{name}"))?;
        let config = self.path(&format!("sshd-{name}"));
        let path = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "ListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             PidFile none\nSetEnv HOME={} PATH={}/bin:/usr/bin:/bin\n",
            path(&format!("host-{name}")),
            path("authorized"),
            home.display(),
            home.display(),
        );
        fs::write(&config, text).map_err(io)?;
        let libraries = std::env::join_paths(sshd.libraries()).map_err(|it| it.to_string())?;
        let daemon = vec![
            "env".into(),
            format!("LD_LIBRARY_PATH={}", libraries.to_string_lossy()).into(),
            sshd.program("sshd").into(),
            "-D".into(),
            "-E".into(),
            path(&format!("sshd-{name}.log")).into(),
            "-f".into(),
            config.into(),
        ];
        let sshd = space.start(&daemon).map_err(io)?;
        Ok(Machine {
            name,
            address,
            home,
            space,
            daemon,
            sshd,
        })
    }

    /// What ssh knows, and an `ssh` that knows no more.
    fn write_ssh(&self) -> Result<(), String> {
        let io = |error: std::io::Error| error.to_string();
        let path = |name: &str| self.path(name).display().to_string();
        let mut known = String::new();
        for (alias, key) in [("a", "host-a"), ("b", "host-b"), ("changed", "key")] {
            let key = fs::read_to_string(self.path(&format!("{key}.pub"))).map_err(io)?;
            known += &format!("{alias} {key}");
        }
        fs::write(self.path("known"), known).map_err(io)?;
        let host = |name: &str, at: u8, alias: &str, key: &str| {
            format!(
                "Host {name}\nHostName 10.77.0.{at}\nHostKeyAlias {alias}\nIdentityFile {}\n",
                path(key)
            )
        };
        let hosts = [
            host("a", 2, "a", "key"),
            host("b", 3, "b", "key"),
            host("a-again", 2, "a", "key"),
            host("stranger", 3, "stranger", "key"),
            host("changed", 3, "changed", "key"),
            host("locked", 3, "b", "other-key"),
            format!(
                "Host *\nUser root\nIdentitiesOnly yes\nStrictHostKeyChecking yes\n\
                 GlobalKnownHostsFile /dev/null\nUserKnownHostsFile {}\n",
                path("known")
            ),
        ];
        fs::write(self.path("ssh-config"), hosts.concat()).map_err(io)?;
        let found = std::env::var_os("PATH").unwrap_or_default();
        let mut found = std::env::split_paths(&found).map(|folder| folder.join("ssh"));
        let ssh = found
            .find(|path| path.is_file())
            .ok_or("there is no ssh here")?;
        let script = format!(
            "#!/bin/sh\nexec {} -F {} \"$@\"\n",
            ssh.display(),
            path("ssh-config")
        );
        let program = self.path("bin/ssh");
        fs::write(&program, script).map_err(io)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(io)
    }
}

impl Machine {
    /// The stage that a rig without one uses.
    pub fn stage(&self) -> PathBuf {
        self.home.join(".cache/mlx-rails/stage")
    }

    /// Kills sshd and its connections.
    pub fn kill_sshd(&self) {
        self.signal("KILL", |(_, name)| name == "sshd");
    }

    /// Stops sshd or lets it go on. While it is stopped, connections are accepted by the
    /// system and nobody answers them.
    pub fn stop_sshd(&self, stop: bool) {
        let signal = if stop { "STOP" } else { "CONT" };
        self.signal(signal, |(_, name)| name == "sshd");
    }

    /// Ends every process at once, without a word to anybody, and starts sshd again.
    ///
    /// # Panics
    /// sshd does not start.
    pub fn reboot(&mut self) {
        self.run("ip link set eth0 down");
        let holder = self.space.0.id();
        self.signal("KILL", |(pid, _)| *pid != holder);
        self.run("ip link set eth0 up");
        self.sshd = self
            .space
            .start(&self.daemon)
            .expect("it was started before");
    }

    /// Puts a program first into the path of those who log in.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn program(&self, name: &str, script: &str) {
        let folder = self.home.join("bin");
        fs::create_dir_all(&folder).expect("the home is there");
        let path = folder.join(name);
        fs::write(&path, script).expect("the folder is there");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is there");
    }

    /// Sends a signal to processes, to all at once: none has time to see another one's end.
    fn signal(&self, signal: &str, is_meant: impl Fn(&(u32, String)) -> bool) {
        let meant = self.processes().into_iter().filter(is_meant);
        let pids: Vec<_> = meant.map(|(pid, _)| pid.to_string()).collect();
        // Some may have ended meanwhile, and there may be none.
        let _ = debian::run(Command::new("kill").args(["-s", signal]).args(pids));
    }

    /// The processes that are no part of the machine itself: their numbers and names.
    pub fn foreign(&self) -> Vec<(u32, String)> {
        let own = [self.space.0.id(), self.sshd.id()];
        let processes = self.processes().into_iter();
        processes.filter(|(pid, _)| !own.contains(pid)).collect()
    }

    /// Every process that runs in the machine's network.
    fn processes(&self) -> Vec<(u32, String)> {
        let network = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let own = network(self.space.0.id());
        let pids = names(Path::new("/proc")).into_iter();
        let pids = pids.filter_map(|name| name.parse().ok());
        let inside = pids.filter(|pid| network(*pid) == own);
        let named = inside.filter_map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            Some((pid, name.trim().to_owned()))
        });
        named.collect()
    }

    /// The ports at which a program listens, but for sshd's.
    pub fn ports(&self) -> Vec<u16> {
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.space.0.id()));
        let table = table.unwrap_or_default();
        let listening = table.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next()?, fields.nth(1)?);
            let port = u16::from_str_radix(local.split_once(':')?.1, 16).ok()?;
            (state == "0A" && port != 22).then_some(port)
        });
        listening.collect()
    }

    /// Runs a line of shell as the machine's system would.
    ///
    /// # Panics
    /// It fails.
    pub fn run(&self, script: &str) {
        self.space.run(script).expect(script);
    }
}

/// A connection whose network was switched off never ends by itself.
impl Drop for Machine {
    fn drop(&mut self) {
        self.signal("KILL", |_| true);
    }
}

impl Space {
    /// New namespaces of the network and of mounts, after this line of shell.
    fn new(setup: &str) -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private", "--"]);
        command.args(["sleep", "100000"]);
        let mut holder =
            start(command).map_err(|error| format!("there is no unshare ({error})"))?;
        // It is there when it has become the program that unshare runs.
        let until = Instant::now() + PATIENCE;
        let comm = format!("/proc/{}/comm", holder.id());
        while fs::read_to_string(&comm).unwrap_or_default().trim() != "sleep" {
            if holder.death().is_some() || Instant::now() > until {
                return Err("namespaces cannot be made here; it takes root".to_owned());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let space = Space(holder);
        space.run(setup)?;
        Ok(space)
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--net",
            "--mount",
            "--target",
            &self.0.id().to_string(),
            "--",
        ]);
        command
    }

    /// Starts a program, which ends with this process.
    fn start(&self, command: &[OsString]) -> std::io::Result<Process> {
        let mut enter = self.enter();
        enter.args(command);
        start(enter)
    }

    fn run(&self, script: &str) -> Result<(), String> {
        debian::run(self.enter().args(["sh", "-c", script]))
    }
}

/// A process that ends with this one, and whose output nobody needs.
fn start(command: Command) -> std::io::Result<Process> {
    let (lines, _) = mpsc::channel();
    let to = Output {
        source: 0,
        input: Input::Null,
        streams: Streams::Merged,
        lines,
    };
    Process::start(command, to)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}
