//! `cargo xtask matrix discover` and `rig doctor` with a fake `ssh`, which runs its command
//! in a shell with the tools of the requested node first in the path.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

mod support;

/// Refuses options that could wait for a person.
const SSH: &str = r#"#!/bin/sh
case " $* " in *" -n "*"BatchMode=yes"*"ConnectTimeout="*) ;; *) exit 9 ;; esac
while [ "$1" != -- ]; do shift; done
tools="$NODES/$2"
if ! [ -d "$tools" ]; then
    echo "ssh: Could not resolve hostname $2: Name or service not known" >&2
    exit 255
fi
PATH="$tools:/usr/bin:/bin" exec sh -c "$3"
"#;

/// Every requested tool; if a node lacks one, the command fails as in a shell.
const TOOLS: [&str; 14] = [
    "uname",
    "sw_vers",
    "sysctl",
    "pmset",
    "ibv_devinfo",
    "ps",
    "system_profiler",
    "networksetup",
    "ibv_devices",
    "rdma_ctl",
    "ifconfig",
    "rdma",
    "ip",
    "grep",
];

struct Nodes(TempDir);

impl Nodes {
    /// Two Macs and two Linux hosts, with two crossed cables for each two.
    fn new() -> Self {
        let nodes = Self(TempDir::new().unwrap());
        script(&nodes.path("bin"), "ssh", SSH);
        nodes.mac("studio", ["5A-01", "5A-02"], ["5B-02", "5B-01"]);
        nodes.mac("mini", ["5B-01", "5B-02"], ["5A-02", "5A-01"]);
        nodes.linux("one", ["198.51.100.1", "198.51.100.5"]);
        nodes.linux("two", ["198.51.100.6", "198.51.100.2"]);
        nodes
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// The output of a tool of a node.
    fn tool(&self, node: &str, tool: &str, prints: &str) {
        let text = format!("#!/bin/sh\ncat <<'END'\n{prints}\nEND\n");
        script(&self.path("nodes").join(node), tool, &text);
    }

    fn add(&self, node: &str, uname: &str) {
        for tool in TOOLS {
            let missing = format!("#!/bin/sh\necho 'sh: {tool}: not found' >&2\nexit 127\n");
            script(&self.path("nodes").join(node), tool, &missing);
        }
        let text =
            format!("#!/bin/sh\n[ \"$1\" != -sm ] || suffix=' arm64'\necho {uname}$suffix\n");
        script(&self.path("nodes").join(node), "uname", &text);
    }

    fn mac(&self, node: &str, domains: [&str; 2], peers: [&str; 2]) {
        let bus = |k: usize| {
            json!({
                "domain_uuid_key": domains[k],
                "device_name_key": "Mac",
                "receptacle_1_tag": {
                    "receptacle_id_key": (k + 1).to_string(),
                    "current_speed_key": "80 Gb/s",
                    "receptacle_status_key": "receptacle_connected",
                },
                "_items": [{"domain_uuid_key": peers[k], "device_name_key": "Mac"}],
            })
        };
        self.add(node, "Darwin");
        let profile = json!({"SPThunderboltDataType": [bus(0), bus(1)]});
        self.tool(node, "system_profiler", &profile.to_string());
        let ports = "Hardware Port: Thunderbolt 1\nDevice: en5\n\n\
                     Hardware Port: Thunderbolt 2\nDevice: en6";
        self.tool(node, "networksetup", ports);
        self.tool(
            node,
            "sw_vers",
            "ProductName: macOS\nProductVersion: 26.2\nBuildVersion: 25C56",
        );
        let chip = "machdep.cpu.brand_string: Apple M4 Pro\nhw.memsize: 68719476736";
        self.tool(node, "sysctl", chip);
    }

    fn linux(&self, node: &str, ips: [&str; 2]) {
        let device = |k: usize| {
            json!({"ifname": format!("mlx5_{k}"), "port": 1, "state": "ACTIVE",
                   "netdev": format!("enp{k}s0")})
        };
        let interface = |k: usize| {
            json!({"ifname": format!("enp{k}s0"),
                   "addr_info": [{"family": "inet", "local": ips[k], "prefixlen": 30}]})
        };
        self.add(node, "Linux");
        self.tool(node, "rdma", &json!([device(0), device(1)]).to_string());
        self.tool(node, "ip", &json!([interface(0), interface(1)]).to_string());
        let rates = "/sys/class/infiniband/mlx5_0/ports/1/rate:100 Gb/sec (4X EDR)";
        self.tool(node, "grep", rates);
    }

    fn matrix(&self, args: &str) -> Command {
        self.verb("matrix", args)
    }

    fn xtask(&self, args: &str) -> Command {
        self.verb("", args)
    }

    fn verb(&self, verb: &str, args: &str) -> Command {
        let mut command = Command::cargo_bin("xtask").unwrap();
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command
            .env("MLX_RAILS_STORE", self.path("store"))
            .env("NODES", self.path("nodes"))
            .env("PATH", path)
            .current_dir(self.0.path())
            .args(verb.split_whitespace())
            .args(args.split_whitespace());
        command
    }

    fn json(&self, args: &str) -> Value {
        let done = self.matrix(args).assert().code(0);
        serde_json::from_slice(&done.get_output().stdout).unwrap()
    }

    fn refusal(&self, args: &str) -> String {
        let refused = self.matrix(args).assert().code(2);
        assert!(refused.get_output().stdout.is_empty());
        let message = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        let arguments: Vec<_> = std::iter::once("matrix")
            .chain(args.split_whitespace())
            .map(str::to_owned)
            .collect();
        support::is_a_good_complaint(&arguments, &message);
        message
    }
}

fn script(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn nodes_are_asked_and_what_they_said_is_kept() {
    let nodes = Nodes::new();
    let macs =
        nodes.json("discover studio mini one two --save said --nodes studio,mini --format jaccl");
    let on_macs = json!([
        [[], ["rdma_en6", "rdma_en5"]],
        [["rdma_en5", "rdma_en6"], []]
    ]);
    assert_eq!(macs, on_macs);

    let again = nodes.json("--from said --nodes studio,mini --format jaccl");
    assert_eq!(again, on_macs);
    let linux = nodes.json("--from said --nodes one,two --format jaccl");
    let on_linux = json!([[[], ["mlx5_0", "mlx5_1"]], [["mlx5_1", "mlx5_0"], []]]);
    assert_eq!(linux, on_linux);
}

#[test]
fn what_nodes_say_becomes_a_rig() {
    let nodes = Nodes::new();
    let interface = |name, address| {
        format!("{name}: flags=8863<UP,BROADCAST> mtu 1500\n\tinet {address} netmask 0xffffff00\n")
    };
    let ifconfig = [
        interface("en0", "192.168.1.10"),
        interface("en5", "10.7.5.1"),
        interface("en6", "10.7.6.1"),
    ];
    nodes.tool("studio", "ifconfig", &ifconfig.concat());
    let done = nodes.xtask("rig discover studio mini").assert().code(0);
    let text = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    let note = "# node 'mini' needs an address that the other nodes reach: add address = \"...\"";
    assert!(text.contains(note), "{text}");
    for part in [
        "name = \"studio\"\nssh = \"studio\"\naddress = \"192.168.1.10\"\n",
        "name = \"mini\"\nssh = \"mini\"\n",
        "name = \"cable-2\"\n",
        "bandwidth = \"10 GB/s\"\nlatency = \"5 us\"\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // With the address that is missing it is a rig, whose cables lead where they were seen.
    let whole = text.replace(
        "ssh = \"mini\"\n",
        "ssh = \"mini\"\naddress = \"192.168.1.11\"\n",
    );
    let rig = rig::Rig::parse(&whole).unwrap();
    assert_eq!(rig.kind, rig::Cables::Real);
    let ends: Vec<_> = rig
        .cables
        .iter()
        .map(|it| it.ends.each_ref().map(ToString::to_string))
        .collect();
    assert_eq!(
        ends,
        [
            ["studio:rdma_en5", "mini:rdma_en6"],
            ["studio:rdma_en6", "mini:rdma_en5"]
        ]
    );
}

#[test]
fn localhost_is_asked_without_ssh() {
    let nodes = Nodes::new();
    let own_tools = nodes.path("nodes/one");
    let path = format!(
        "{}:{}:/usr/bin:/bin",
        own_tools.display(),
        nodes.path("bin").display()
    );
    let mut command = nodes.matrix("discover localhost two --format jaccl");
    let done = command.env("PATH", path).assert().code(0);
    let matrix: Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    assert_eq!(matrix[0][1], json!(["mlx5_0", "mlx5_1"]));
    assert_eq!(matrix[1][0], json!(["mlx5_1", "mlx5_0"]));
}

#[test]
fn reports_of_before_do_not_stay_among_those_of_now() {
    let nodes = Nodes::new();
    nodes.tool(
        "studio",
        "ibv_devices",
        "device node\n------ ----\nrdma_en5 0\nrdma_en6 0",
    );
    nodes.json("discover studio mini --save said --format jaccl");
    assert!(nodes.path("said/studio/ibv_devices.txt").exists());
    nodes.mac("studio", ["5A-01", "5A-02"], ["5B-02", "5B-01"]);
    nodes.json("discover studio mini --save said --format jaccl");
    assert!(!nodes.path("said/studio/ibv_devices.txt").exists());
}

#[test]
fn tools_that_not_every_node_has_are_done_without_and_named() {
    let nodes = Nodes::new();
    let done = nodes.matrix("discover studio mini").assert().code(0);
    let progress = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
    assert!(
        progress.contains("studio has no `ibv_devices`; done without"),
        "{progress}"
    );
}

#[test]
fn a_node_that_cannot_be_asked_is_named_with_what_to_do() {
    let nodes = Nodes::new();
    nodes.add("bsd", "FreeBSD");
    nodes.add("bare", "Linux");
    let cases = [
        (
            "discover studio nowhere",
            "cannot reach 'nowhere': ssh: Could not resolve hostname",
        ),
        (
            "discover studio bsd",
            "'bsd' runs FreeBSD; nodes run macOS (Darwin) or Linux",
        ),
        (
            "discover one bare",
            "`rdma -j link` failed on 'bare': sh: rdma: not found\nhelp: install iproute2",
        ),
        ("discover one one", "host 'one' is named twice"),
        (
            "discover one two One",
            "hosts 'one' and 'One' differ only in case",
        ),
        ("discover ../one", "'../one' is no host"),
        (
            "discover -- -oProxyCommand=x",
            "'-oProxyCommand=x' is no host",
        ),
        ("discover", "HOST"),
    ];
    for (args, expected) in cases {
        let message = nodes.refusal(args);
        assert!(message.contains(expected), "{message}");
    }
    nodes.tool("mini", "system_profiler", "{\"SPThunderboltDataType\": 3}");
    let message = nodes.refusal("discover studio mini");
    let expected = "mini/system_profiler.json: SPThunderboltDataType: expected a list";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_tool_that_does_not_end_is_not_waited_for() {
    let nodes = Nodes::new();
    let waits = "#!/bin/sh\nexec sleep 600\n";
    script(&nodes.path("nodes/mini"), "system_profiler", waits);
    let message = nodes.refusal("discover studio mini");
    let expected = "`system_profiler SPThunderboltDataType -json` did not end within 60 s on \
                    'mini'\nhelp: run it there in a terminal; if it hangs there too, restart the \
                    node";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn ctrl_c_ends_it_as_interrupted() {
    // As a terminal does: to every process in the group.
    end_as_interrupted("-INT", "-");
}

/// As a service manager does: only to the verb, which must not wait for the nodes.
#[test]
fn a_signal_to_it_alone_ends_it_as_interrupted() {
    end_as_interrupted("-TERM", "");
}

fn end_as_interrupted(signal: &str, to: &str) {
    let nodes = Nodes::new();
    let asked = nodes.path("asked");
    let waits = format!("#!/bin/sh\n: > '{}'\nexec sleep 600\n", asked.display());
    script(&nodes.path("nodes/mini"), "uname", &waits);
    let path = format!("{}:/usr/bin:/bin", nodes.path("bin").display());
    let mut child = process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["matrix", "discover", "studio", "mini"])
        .env("MLX_RAILS_STORE", nodes.path("store"))
        .env("NODES", nodes.path("nodes"))
        .env("PATH", path)
        .process_group(0)
        .spawn()
        .unwrap();
    while !asked.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(10));
    }
    let target = format!("{to}{}", child.id());
    let sent = process::Command::new("kill")
        .args([signal, "--", &target])
        .status();
    assert!(sent.unwrap().success());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "it waits");
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(130));
}

#[test]
fn without_ssh_the_message_says_so() {
    let nodes = Nodes::new();
    fs::remove_file(nodes.path("bin/ssh")).unwrap();
    let mut command = nodes.matrix("discover studio");
    command.env("PATH", nodes.path("bin"));
    let refused = command.assert().code(70);
    let message = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(message.contains("cannot start ssh"), "{message}");
}

#[test]
fn a_folder_that_is_none_of_reports_says_what_it_wants() {
    let nodes = Nodes::new();
    let folder = nodes.path("empty");
    fs::create_dir(&folder).unwrap();
    let message = nodes.refusal("--from empty");
    assert!(
        message.contains("empty/HOST/system_profiler.json"),
        "{message}"
    );

    fs::create_dir(folder.join("mini")).unwrap();
    let message = nodes.refusal("--from empty");
    assert!(
        message.contains("of node 'mini' there is neither"),
        "{message}"
    );

    let one = nodes.path("one.json");
    fs::write(one, "{\"SPThunderboltDataType\": []}").unwrap();
    let message = nodes.refusal("--from one.json");
    assert!(
        message.contains("one.json: this is one report of one node"),
        "{message}"
    );
}

#[test]
fn reports_that_cannot_be_kept_name_the_place() {
    let nodes = Nodes::new();
    fs::write(nodes.path("taken"), "").unwrap();
    let message = nodes.refusal("discover studio mini --save taken");
    assert!(message.contains("cannot write taken/studio"), "{message}");
}

fn findings(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let written = |it: &Value| format!("{} {}", it["severity"].as_str().unwrap(), it["kind"]);
    findings.map(|it| written(it).replace('"', "")).collect()
}

#[test]
fn the_doctor_asks_for_everything_in_one_connection_a_node() {
    let nodes = Nodes::new();
    let mut doctor = nodes.verb("rig doctor", "--host studio mini --format json");
    let done = doctor.assert().code(0);
    let report: Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    assert_eq!(report["schema"], "mlx-rails/rig-doctor/1");
    // Neither `rdma_ctl` nor `ibv_devices` is there.
    assert_eq!(findings(&report), ["warning rdma-unknown"]);
    let mini = &report["nodes"][1];
    assert_eq!(mini["software"]["version"], "26.2");
    assert_eq!(mini["chip"]["name"], "Apple M4 Pro");
    assert_eq!(mini["devices"][0]["other"], "studio:rdma_en6");
    let why = mini["missing"]["heat"].as_str().unwrap();
    assert!(why.contains("pmset: not found"), "{why}");
}

#[test]
fn the_doctor_names_the_node_that_is_not_reached_and_examines_the_other() {
    let nodes = Nodes::new();
    let mut doctor = nodes.verb("rig doctor", "--host studio nowhere");
    let done = doctor.assert().code(1);
    let page = String::from_utf8_lossy(&done.get_output().stdout).into_owned();
    assert!(
        page.contains("- failure: cannot reach 'nowhere': ssh: Could not resolve"),
        "{page}"
    );
    assert!(page.contains("Apple M4 Pro"), "{page}");
}

/// Linux and macOS: no rank of the one runs the build of the other.
#[test]
fn the_doctor_refuses_nodes_of_two_systems() {
    let nodes = Nodes::new();
    nodes.tool("one", "grep", "model name: Any");
    let mut doctor = nodes.verb("rig doctor", "--host studio one --format json");
    let done = doctor.assert().code(1);
    let report: Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    let found = findings(&report);
    assert!(
        found.contains(&"failure different-platforms".to_owned()),
        "{found:?}"
    );
}

#[test]
fn the_doctor_passes_a_rig_of_emulated_cables_on_this_machine() {
    let nodes = Nodes::new();
    let rig = "[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\n\
               [[cable]]\nname = \"cable-1\"\nends = [\"a:rdma_en5\", \"b:rdma_en5\"]\n";
    fs::write(nodes.path("rig.toml"), rig).unwrap();
    let mut doctor = nodes.verb("rig doctor", "--rig rig.toml");
    let done = doctor.assert().code(0);
    let page = String::from_utf8_lossy(&done.get_output().stdout).into_owned();
    assert!(page.contains("localhost (a, b)"), "{page}");
    assert!(page.contains("emulated, to b:rdma_en5"), "{page}");
}

#[test]
fn the_doctor_refuses_a_host_that_is_none() {
    let nodes = Nodes::new();
    let mut doctor = nodes.verb("rig doctor", "--host ../one");
    let refused = doctor.assert().code(2);
    let message = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(message.contains("'../one' is no host"), "{message}");
}
