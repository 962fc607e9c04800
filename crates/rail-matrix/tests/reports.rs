//! Reports of nodes' own tools, joined.

mod support;

use rail_matrix::{
    Network, Options, PortId, Problem, Rdma, RdmaOff, THUNDERBOLT_5, Topology, Unfit, plan,
    read::{self, HostReport, ReadError, ReportKind, System},
};
use serde_json::{Value, json};
use support::{bus, end, linux, mac, peer, rdma, with};

fn topology(hosts: &[HostReport]) -> Topology {
    read::reports(hosts).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(hosts: &[HostReport]) -> String {
    read::reports(hosts).unwrap_err().to_string()
}

fn written(topology: &Topology, port: PortId) -> String {
    let port = &topology[port];
    format!("{}:{}", topology[port.node].name, port.device)
}

fn sightings(topology: &Topology) -> Vec<String> {
    let said = topology
        .sightings()
        .map(|(from, to)| format!("{} {}", written(topology, from), written(topology, to)));
    let mut said: Vec<_> = said.collect();
    said.sort();
    said
}

fn unfit(topology: &Topology, end: &str) -> Option<Unfit> {
    let mut ports = topology.ports();
    let (_, port) = ports
        .find(|(port, _)| written(topology, *port) == end)
        .unwrap_or_else(|| panic!("no {end}"));
    port.unfit
}

/// Two Macs with crossed cables.
fn two_macs() -> [HostReport; 2] {
    [
        mac(
            "studio",
            &[
                bus(1, "5A-01", "Up to 80 Gb/s", &[peer("5b-02")]),
                bus(2, "5A-02", "80 Gb/s", &[peer("5b-01")]),
            ],
        ),
        mac(
            "mini",
            &[
                bus(1, "5b-01", "80 Gb/s", &[peer("5A-02")]),
                bus(2, "5b-02", "80 Gb/s", &[peer("5A-01")]),
            ],
        ),
    ]
}

#[test]
fn macs_are_joined_by_the_domains_at_either_end() {
    let topology = topology(&two_macs());
    assert_eq!(
        sightings(&topology),
        [
            "mini:rdma_en2 studio:rdma_en3",
            "mini:rdma_en3 studio:rdma_en2",
            "studio:rdma_en2 mini:rdma_en3",
            "studio:rdma_en3 mini:rdma_en2",
        ]
    );
    let plan = plan(&topology, &Options::default().strict(true)).unwrap();
    assert_eq!(plan.matrix.cell(0, 1), ["rdma_en3", "rdma_en2"]);
    assert_eq!(plan.nodes[0].label.as_deref(), Some("Mac Studio"));
    assert_eq!(plan.nodes[0].ssh.as_deref(), Some("studio"));
    let (_, port) = topology.ports().next().unwrap();
    assert_eq!(port.bytes_per_second, Some(THUNDERBOLT_5));
    assert_eq!(port.line_bytes_per_second, Some(10_000_000_000));
}

#[test]
fn a_peer_behind_a_hub_is_found_at_any_depth() {
    let hub = |items: &[Value]| json!({"_name": "hub", "vendor_name_key": "Any", "_items": items});
    let studio = bus(1, "5A", "80 Gb/s", &[hub(&[hub(&[hub(&[peer("5B")])])])]);
    let hosts = [
        mac("studio", &[studio]),
        mac("mini", &[bus(3, "5B", "80 Gb/s", &[peer("5A")])]),
    ];
    assert_eq!(
        sightings(&topology(&hosts)),
        [
            "mini:rdma_en4 studio:rdma_en2",
            "studio:rdma_en2 mini:rdma_en4"
        ]
    );
}

#[test]
fn what_one_node_alone_sees_is_no_cable() {
    let [studio, _] = two_macs();
    let mini = mac(
        "mini",
        &[
            bus(1, "5B-01", "80 Gb/s", &[]),
            bus(2, "5B-02", "80 Gb/s", &[]),
        ],
    );
    let topology = topology(&[studio, mini]);
    assert_eq!(
        sightings(&topology),
        [
            "studio:rdma_en2 mini:rdma_en3",
            "studio:rdma_en3 mini:rdma_en2"
        ]
    );
    assert!(plan(&topology, &Options::default()).is_err());
}

#[test]
fn what_is_no_node_is_told_from_a_node_that_did_not_report() {
    let display = json!({"_name": "Display", "device_name_key": "Studio Display"});
    let no_domain = json!({"_name": "bus_0", "_items": [peer("5C")]});
    let hosts = [mac(
        "studio",
        &[
            bus(1, "5A-01", "40 Gb/s", &[display]),
            bus(2, "5A-02", "80 Gb/s", &[peer("5C")]),
            bus(3, "5A-03", "40 Gb/s", &[peer("5D")]),
            no_domain,
        ],
    )];
    assert_eq!(
        topology(&hosts).problems(),
        [Problem::UnknownPeer {
            from: end("studio:rdma_en3"),
            peer: "Mac16,9, domain 5C".into(),
        }]
    );
}

#[test]
fn ports_that_cannot_carry_rdma_are_told_with_the_reason() {
    let [studio, mini] = two_macs();
    let slow = mac(
        "mini",
        &[bus(1, "5B-01", "Up to 40 Gb/s", &[peer("5A-02")])],
    );
    let slow = topology(&[studio.clone(), slow]);
    assert_eq!(
        unfit(&slow, "mini:rdma_en2"),
        Some(Unfit::Thunderbolt4 {
            gigabits_per_second: 40
        })
    );

    let mut unplugged = bus(1, "5B-01", "80 Gb/s", &[peer("5A-02")]);
    unplugged["receptacle_1_tag"]["receptacle_status_key"] =
        json!("receptacle_no_devices_connected");
    let unplugged = topology(&[studio.clone(), mac("mini", &[unplugged])]);
    assert_eq!(unfit(&unplugged, "mini:rdma_en2"), Some(Unfit::PortDown));

    let devices = "    device          \t   node GUID\n    ------          \t--------------\n    \
                   rdma_en3        \tc00000000001\n";
    let listed = with(mini.clone(), ReportKind::IbvDevices, devices);
    let listed = topology(&[studio.clone(), listed]);
    assert_eq!(unfit(&listed, "mini:rdma_en2"), Some(Unfit::NotListed));
    assert_eq!(unfit(&listed, "mini:rdma_en3"), None);

    let off = |kind, text| {
        let topology = topology(&[studio.clone(), with(mini.clone(), kind, text)]);
        topology[topology.node("mini").unwrap()].rdma.clone()
    };
    assert_eq!(
        off(ReportKind::IbvDevices, "device node GUID\n------ ------\n"),
        Rdma::Off(RdmaOff::NoDevices)
    );
    assert_eq!(
        off(ReportKind::RdmaCtl, "disabled\n"),
        Rdma::Off(RdmaOff::Disabled)
    );
    assert_eq!(off(ReportKind::RdmaCtl, "RDMA is enabled\n"), Rdma::On);
}

const IFCONFIG: &str = "\
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
\tinet 127.0.0.1 netmask 0xff000000
en0: flags=8863<UP,BROADCAST,RUNNING> mtu 1500
\tinet 192.0.2.7 netmask 0xffffff00 broadcast 192.0.2.255
\tstatus: active
en2: flags=8963<UP,BROADCAST,RUNNING,PROMISC> mtu 1500
\tinet 169.254.7.1 netmask 0xffff0000
en3: flags=8963<UP,BROADCAST,RUNNING,PROMISC> mtu 1500
\tinet6 fe80::1%en3 prefixlen 64
bridge0: flags=8863<UP,BROADCAST,RUNNING> mtu 1500
\tmember: en3 flags=3<LEARNING,DISCOVER>
";

#[test]
fn ifconfig_tells_addresses_bridges_and_interfaces_without_ipv4() {
    let [studio, mini] = two_macs();
    let mini = |text: &str| with(mini.clone(), ReportKind::Ifconfig, text);
    let bridged = topology(&[studio.clone(), mini(IFCONFIG)]);
    let node = &bridged[bridged.node("mini").unwrap()];
    assert_eq!(node.bridged, Some(true));
    let addresses: Vec<_> = node.addresses.iter().map(|a| (a.network, &*a.ip)).collect();
    assert_eq!(
        addresses,
        [
            (Network::Ethernet, "192.0.2.7"),
            (Network::Thunderbolt, "169.254.7.1")
        ]
    );
    assert_eq!(
        unfit(&bridged, "mini:rdma_en3"),
        Some(Unfit::NoIpv4 { bridged: true })
    );
    assert_eq!(unfit(&bridged, "mini:rdma_en2"), None);

    let down = IFCONFIG.replace("bridge0: flags=8863<UP,", "bridge0: flags=8862<");
    let down = topology(&[studio, mini(&down)]);
    assert_eq!(down[down.node("mini").unwrap()].bridged, Some(false));
}

/// Two nodes with two cables, identified by their subnets.
fn two_linux() -> [HostReport; 2] {
    let devices = || {
        json!([
            rdma("mlx5_0", "enp1s0", "ACTIVE"),
            rdma("mlx5_1", "enp2s0", "ACTIVE"),
            {"ifindex": 2, "ifname": "mlx5_2", "port": 1, "state": "DOWN"},
            {"ifindex": 3, "ifname": "mlx5_0", "port": 2, "state": "ACTIVE", "netdev": "enp3s0"},
        ])
    };
    [
        linux(
            "one",
            devices(),
            &[
                ("lo", "127.0.0.1", 8),
                ("enp1s0", "198.51.100.1", 30),
                ("enp2s0", "198.51.100.5", 30),
                ("eno1", "192.0.2.1", 24),
            ],
        ),
        linux(
            "two",
            devices(),
            &[
                ("enp1s0", "198.51.100.6", 30),
                ("enp2s0", "198.51.100.2", 30),
                ("wlp4s0", "192.0.2.2", 24),
            ],
        ),
    ]
}

#[test]
fn linux_devices_alone_in_a_subnet_are_a_cable() {
    let [one, two] = two_linux();
    let rates = "/sys/class/infiniband/mlx5_0/ports/1/rate:100 Gb/sec (4X EDR)\n\
                 /sys/class/infiniband/mlx5_1/ports/1/rate:2.5 Gb/sec (1X SDR)\n";
    let topology = topology(&[with(one, ReportKind::Rates, rates), two]);
    assert_eq!(
        sightings(&topology),
        [
            "one:mlx5_0 two:mlx5_1",
            "one:mlx5_1 two:mlx5_0",
            "two:mlx5_0 one:mlx5_1",
            "two:mlx5_1 one:mlx5_0",
        ]
    );
    assert!(topology.problems().is_empty(), "{:?}", topology.problems());
    let rates: Vec<_> = topology
        .ports()
        .map(|(_, port)| port.bytes_per_second)
        .collect();
    assert_eq!(rates[..2], [Some(12_500_000_000), Some(312_500_000)]);
    let plan = plan(&topology, &Options::default()).unwrap();
    assert_eq!(plan.coordinator.unwrap().ip, "192.0.2.1");
    let two = &topology[topology.node("two").unwrap()];
    assert!(
        two.addresses
            .iter()
            .any(|a| a.network == Network::Wifi && a.ip == "192.0.2.2")
    );
}

#[test]
fn the_lines_of_rdma_link_say_the_same_as_its_json() {
    let hosts = two_linux().map(|host| {
        let lines = "link mlx5_0/1 state ACTIVE physical_state LINK_UP netdev enp1s0 \n\
                     2/1: mlx5_1/1: state ACTIVE physical_state LINK_UP netdev enp2s0\n\
                     link mlx5_2/1 state DOWN physical_state DISABLED\n";
        with(host, ReportKind::RdmaLink, lines)
    });
    assert_eq!(
        sightings(&topology(&hosts)),
        sightings(&topology(&two_linux()))
    );
}

#[test]
fn linux_devices_that_are_no_cable_are_told_why() {
    let one = linux(
        "one",
        json!([
            rdma("mlx5_0", "enp1s0", "ACTIVE"),
            rdma("mlx5_1", "enp2s0", "ACTIVE"),
            rdma("mlx5_2", "enp3s0", "DOWN"),
            rdma("mlx5_3", "enp4s0", "ACTIVE"),
        ]),
        &[
            ("enp1s0", "192.0.2.1", 24),
            ("enp2s0", "198.51.100.1", 30),
            ("enp3s0", "203.0.113.1", 30),
        ],
    );
    let two = linux(
        "two",
        json!([
            rdma("mlx5_0", "enp1s0", "ACTIVE"),
            rdma("mlx5_1", "enp2s0", "ACTIVE"),
            rdma("mlx5_2", "enp3s0", "ACTIVE"),
        ]),
        &[
            ("enp1s0", "192.0.2.2", 24),
            ("enp2s0", "192.0.2.3", 24),
            ("enp3s0", "203.0.113.2", 30),
        ],
    );
    let topology = topology(&[one, two]);
    assert_eq!(
        topology.problems(),
        [
            Problem::UnfitDevice {
                device: end("one:mlx5_3"),
                why: Unfit::NoIpv4 { bridged: false }
            },
            Problem::SharedSubnet {
                subnet: "192.0.2.0/24".into(),
                devices: vec![end("one:mlx5_0"), end("two:mlx5_0"), end("two:mlx5_1")],
            },
            Problem::UnknownPeer {
                from: end("one:mlx5_1"),
                peer: "nobody else in 198.51.100.0/30".into(),
            },
        ]
    );
    assert_eq!(unfit(&topology, "one:mlx5_2"), Some(Unfit::PortDown));
    assert_eq!(sightings(&topology).len(), 2);
}

/// A node with one device, at an address.
fn one_device(name: &str, ip: &str, prefix: u8) -> HostReport {
    let devices = json!([rdma("mlx5_0", "enp1s0", "ACTIVE")]);
    linux(name, devices, &[("enp1s0", ip, prefix)])
}

#[test]
fn devices_with_one_address_are_no_cable() {
    for prefix in [30, 32] {
        let hosts = ["node", "node.local"].map(|name| one_device(name, "192.0.2.1", prefix));
        let topology = topology(&hosts);
        assert!(sightings(&topology).is_empty());
        assert_eq!(
            topology.problems(),
            [Problem::SharedAddress {
                address: "192.0.2.1".into(),
                devices: vec![end("node:mlx5_0"), end("node.local:mlx5_0")],
            }]
        );
    }
}

#[test]
fn addresses_that_only_their_own_node_reaches_make_no_cable() {
    let pairs = [("127.0.0.1", "127.0.0.2"), ("0.0.0.0", "0.0.0.1")];
    for (here, there) in pairs {
        let topology = topology(&[one_device("a", here, 8), one_device("b", there, 8)]);
        assert!(sightings(&topology).is_empty());
        assert!(topology.problems().contains(&Problem::UnfitDevice {
            device: end("a:mlx5_0"),
            why: Unfit::NoIpv4 { bridged: false },
        }));
        let a = &topology[topology.node("a").unwrap()];
        assert!(a.addresses.is_empty(), "{:?}", a.addresses);
    }
}

#[test]
fn a_device_without_an_interface_is_told_of() {
    let devices = json!([
        {"ifname": "mlx4_0", "port": 1, "state": "ACTIVE"},
        {"ifname": "mlx4_1", "port": 1, "state": "DOWN"},
    ]);
    let topology = topology(&[linux("one", devices, &[])]);
    assert_eq!(
        topology.problems(),
        [Problem::UnfitDevice {
            device: end("one:mlx4_0"),
            why: Unfit::NoInterface,
        }]
    );
    assert_eq!(unfit(&topology, "one:mlx4_1"), Some(Unfit::PortDown));
}

#[test]
fn a_rate_of_zero_is_not_known() {
    let [one, two] = two_linux();
    let rates = "/sys/class/infiniband/mlx5_0/ports/1/rate:0 Gb/sec (4X SDR)\n";
    let topology = topology(&[with(one, ReportKind::Rates, rates), two]);
    let (_, port) = topology.ports().next().unwrap();
    assert_eq!((&*port.device, port.bytes_per_second), ("mlx5_0", None));
}

#[test]
fn ports_that_no_cable_is_in_may_share_a_name() {
    let [studio, mini] = two_macs();
    let (_, ports) = &mini.texts[1];
    let adapter = "Hardware Port: USB 10/100/1000 LAN\nDevice: en";
    let ports = String::from_utf8_lossy(ports);
    let ports = format!("{ports}\n{adapter}8\n\n{adapter}9\n");
    let mini = with(mini, ReportKind::Networksetup, &ports);
    assert_eq!(sightings(&topology(&[studio, mini])).len(), 4);
}

#[test]
fn mistakes_are_told_with_node_report_and_place() {
    let [studio, mini] = two_macs();
    let [one, _] = two_linux();
    let without = |host: &HostReport, kind| {
        let mut host = host.clone();
        host.texts.retain(|(of, _)| *of != kind);
        host
    };
    let mut no_receptacle = bus(1, "5B-01", "80 Gb/s", &[peer("5A-02")]);
    no_receptacle["receptacle_1_tag"] = Value::Null;
    let cases = [
        (
            with(
                mini.clone(),
                ReportKind::SystemProfiler,
                r#"{"SPThunderboltDataType": [{"_items": 3}]}"#,
            ),
            "mini/system_profiler.json: SPThunderboltDataType[0]._items: expected a list, found 3",
        ),
        (
            mac("mini", &[no_receptacle]),
            "mini/system_profiler.json: SPThunderboltDataType[0].receptacle_1_tag.receptacle_id_key: expected",
        ),
        (
            mac("mini", &[bus(9, "5B-01", "80 Gb/s", &[peer("5A-02")])]),
            "mini/networksetup.txt: there is no 'Hardware Port: Thunderbolt 9'",
        ),
        (
            with(mini.clone(), ReportKind::Networksetup, "command not found"),
            "mini/networksetup.txt: line 1: expected lines 'Hardware Port: NAME'",
        ),
        (
            with(
                mini.clone(),
                ReportKind::Networksetup,
                "Hardware Port: Thunderbolt 1\nDevice: en2\nHardware Port: Thunderbolt 1\nDevice: en3\n",
            ),
            "mini/networksetup.txt: line 4: the port 'Thunderbolt 1' is there twice",
        ),
        (
            with(mini.clone(), ReportKind::RdmaCtl, "no such command"),
            "mini/rdma_ctl.txt: line 1: expected 'enabled' or 'disabled', found 'no such command'",
        ),
        (
            with(mini.clone(), ReportKind::Ifconfig, "en0: up\n"),
            "mini/ifconfig.txt: line 1: expected 'INTERFACE: flags=...', found 'en0: up'",
        ),
        (
            with(mini.clone(), ReportKind::IbvDevices, &"x".repeat(513)),
            "mini/ibv_devices.txt: line 1: expected at most 512 bytes, found 513",
        ),
        (
            HostReport {
                name: "m".repeat(513),
                ..mini.clone()
            },
            "the name of node 'mmmm",
        ),
        (
            with(
                mini.clone(),
                ReportKind::SystemProfiler,
                r#"{"SPThunderboltDataType": [["5A"]]}"#,
            ),
            "mini/system_profiler.json: SPThunderboltDataType[0]: expected an object, found a list",
        ),
        (
            without(&mini, ReportKind::Networksetup),
            "of node 'mini' there is no networksetup.txt; run `networksetup -listallhardwareports`",
        ),
        (
            without(&mini, ReportKind::SystemProfiler),
            "of node 'mini' there is neither system_profiler.json (macOS) nor rdma_link.json",
        ),
        (
            without(&one, ReportKind::IpAddress),
            "of node 'one' there is no ip_address.json; run `ip -j address`",
        ),
        (
            with(one.clone(), ReportKind::RdmaLink, "\nlink\n"),
            "one/rdma_link.json: line 2: expected 'link DEVICE/PORT",
        ),
        (
            with(one.clone(), ReportKind::IpAddress, r#"[{"ifname": 7}]"#),
            "one/ip_address.json: [0].ifname: expected a string, found 7",
        ),
        (
            with(one.clone(), ReportKind::Rates, "fast"),
            "one/rates.txt: line 1: expected 'PATH/rate:NUMBER Gb/sec ...', found 'fast'",
        ),
    ];
    for (host, expected) in cases {
        let message = refusal(&[studio.clone(), host]);
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_node_that_is_given_twice_is_told() {
    let [studio, _] = two_macs();
    let again = HostReport {
        name: "studio.local".into(),
        ..studio.clone()
    };
    assert_eq!(
        read::reports(&[studio.clone(), again]).unwrap_err(),
        ReadError::SharedDomain {
            domain: "5A-01".into(),
            first: end("studio:rdma_en2"),
            second: end("studio.local:rdma_en2"),
        }
    );
    let twice = topology(&[studio.clone(), studio]);
    assert!(twice.problems().contains(&Problem::DuplicateNode {
        node: "studio".into()
    }));
}

#[test]
fn every_report_has_a_file_of_its_own_and_belongs_to_a_system() {
    let mut files: Vec<_> = ReportKind::ALL.iter().map(|kind| kind.file()).collect();
    files.sort_unstable();
    files.dedup();
    assert_eq!(files.len(), ReportKind::ALL.len());
    for (uname, system) in [("Darwin\n", System::MacOs), ("Linux\n", System::Linux)] {
        assert_eq!(System::of_uname(uname), Some(system));
        assert!(system.reports().all(|kind| kind.system() == system));
        assert!(system.reports().any(|kind| kind.is_needed()));
    }
    assert_eq!(System::of_uname("FreeBSD"), None);
}
