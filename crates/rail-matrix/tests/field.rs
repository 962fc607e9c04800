//! What people had and what they needed to be told: inputs of the kinds that public
//! reports describe, with names and addresses of our own.

mod support;

use rail_matrix::{
    Backend, Jaccl, Note, Options, Problem, RdmaOff, THUNDERBOLT_5, Topology, Unfit,
    check::{self, Existing, Outcome, Rule, Verdict, Wrong, check},
    plan,
    read::{self, HostReport, ReadError, ReportKind},
    write::Output,
};
use serde_json::{Value, json};
use support::{bus, end, linux, mac, peer, rdma, with};

/// A peer with the services that it offers over the cable.
fn peer_with(domain: &str, protocols: &[u64]) -> Value {
    let mut peer = peer(domain);
    let service = |id: &u64| json!({"_name": "service", "protocol_id_key": id});
    peer["services_title"] = protocols.iter().map(service).collect();
    peer
}

/// A peer that does RDMA.
fn on(domain: &str) -> Value {
    peer_with(domain, &[1, 64087])
}

/// An interface of `ifconfig`, with its address and netmask.
fn interface(name: &str, inet: Option<(&str, &str)>, more: &str) -> String {
    let inet = inet.map_or_else(String::new, |(ip, mask)| {
        format!("\tinet {ip} netmask {mask} broadcast 192.0.2.255\n")
    });
    format!("{name}: flags=8863<UP,BROADCAST,RUNNING> mtu 1500\n{inet}{more}")
}

fn ibv_devices(names: &[&str]) -> String {
    let lines = names
        .iter()
        .map(|name| format!("    {name}\t0000000000000001\n"));
    format!(
        "    device          \t   node GUID\n    ------          \t----------------\n{}",
        lines.collect::<String>()
    )
}

fn topology(hosts: &[HostReport]) -> Topology {
    read::reports(hosts).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(topology: &Topology) -> String {
    plan(topology, &Options::default()).unwrap_err().to_string()
}

fn alone(document: &Value) -> Existing {
    let document = check::read(document.to_string().as_bytes());
    document
        .unwrap_or_else(|error| panic!("{error}"))
        .matrices
        .remove(0)
}

fn judged(document: &Value, topology: Option<&Topology>) -> Verdict {
    check(&alone(document), topology, None, &Jaccl::default()).unwrap()
}

/// The sentences of the findings with an outcome.
fn said(verdict: &Verdict, outcome: Outcome) -> Vec<String> {
    let found = verdict.findings.iter().filter(|it| it.outcome == outcome);
    found.map(|finding| finding.sentence()).collect()
}

/// Two Macs, one cable; the second does not see the RDMA service of the first.
fn off_at_one_end() -> [HostReport; 2] {
    [
        mac("local", &[bus(2, "D4", "80 Gb/s", &[on("D3")])]),
        mac("peer", &[bus(2, "D3", "80 Gb/s", &[peer_with("D4", &[1])])]),
    ]
}

#[test]
fn report_03_rdma_is_off_at_one_end() {
    let two_reports_alone = topology(&off_at_one_end());
    let message = refused(&two_reports_alone);
    assert!(message.starts_with("1 node can take part"), "{message}");
    assert!(
        message.contains("RDMA is switched off on node 'local': peer:rdma_en3 does not see"),
        "{message}"
    );

    let [local, peer] = off_at_one_end();
    let local = with(local, ReportKind::RdmaCtl, "disabled\n");
    let local = with(local, ReportKind::IbvDevices, &ibv_devices(&[]));
    let whole = topology(&[local, peer]);
    assert_eq!(
        whole.account().problems(),
        [Problem::RdmaDisabled {
            node: "local".into(),
            why: RdmaOff::Disabled,
        }]
    );
}

#[test]
fn reports_that_do_not_tell_whether_rdma_is_on_are_warned_about() {
    let hosts = [
        mac("one", &[bus(1, "D1", "80 Gb/s", &[peer("D2")])]),
        mac("two", &[bus(1, "D2", "80 Gb/s", &[on("D1")])]),
    ];
    let topology = topology(&hosts);
    let strict = plan(&topology, &Options::default().strict(true)).unwrap();
    let problem = Problem::RdmaUnknown {
        nodes: vec!["two".into()],
    };
    assert!(
        strict.notes.contains(&Note::Warning { problem }),
        "{:?}",
        strict.notes
    );
}

#[test]
fn report_04_rdma_is_enabled_and_there_is_no_device() {
    let node = |name, domain, other| {
        let host = mac(
            name,
            &[bus(2, domain, "80 Gb/s", &[peer_with(other, &[1])])],
        );
        let host = with(host, ReportKind::RdmaCtl, "enabled\n");
        with(host, ReportKind::IbvDevices, &ibv_devices(&[]))
    };
    let message = refused(&topology(&[node("a", "D1", "D2"), node("b", "D2", "D1")]));
    assert!(
        message.contains("node 'a' has no RDMA device, whatever else says that RDMA is on"),
        "{message}"
    );
    assert!(message.ends_with("(likewise 'b')"), "{message}");
}

/// Three Macs in a triangle, each with a bridge over its cabled interfaces.
fn bridged_triangle(own_addresses: bool) -> [HostReport; 3] {
    let bridge = "bridge0: flags=8863<UP,BROADCAST,RUNNING> mtu 1500\n\
                  \tinet 169.254.20.7 netmask 0xffff0000\n\
                  \tmember: en3 flags=3<LEARNING,DISCOVER>\n\
                  \tmember: en4 flags=3<LEARNING,DISCOVER>\n";
    // Cable 1 joins h and o, cable 2 h and t, cable 3 o and t.
    let nodes = [
        ("h", ["H2", "H3"], ["O3", "T3"], ["10.0.1.1", "10.0.2.1"]),
        ("o", ["O2", "O3"], ["T2", "H2"], ["10.0.3.1", "10.0.1.2"]),
        ("t", ["T2", "T3"], ["O2", "H3"], ["10.0.3.2", "10.0.2.2"]),
    ];
    nodes.map(|(name, domains, others, addresses)| {
        let buses = [0, 1].map(|k| {
            let port = u32::try_from(k).unwrap() + 2;
            bus(port, domains[k], "80 Gb/s", &[on(others[k])])
        });
        let interfaces = ["en3", "en4"].iter().zip(addresses).map(|(name, ip)| {
            let inet = own_addresses.then_some((ip, "0xffffff00"));
            interface(name, inet, "\tstatus: active\n")
        });
        let ifconfig = interfaces.collect::<String>() + bridge;
        with(mac(name, &buses), ReportKind::Ifconfig, &ifconfig)
    })
}

#[test]
fn report_06_a_bridge_beside_addresses_of_ones_own_is_at_most_a_warning() {
    let devices = json!([
        [null, "rdma_en3", "rdma_en4"],
        ["rdma_en4", null, "rdma_en3"],
        ["rdma_en4", "rdma_en3", null]
    ]);
    let beside = topology(&bridged_triangle(true));
    let verdict_of = |topology| judged(&devices, Some(topology));
    let working = verdict_of(&beside);
    assert!(working.is_safe(), "{:?}", working.findings);
    let warned = said(&working, Outcome::Note);
    let bridges = warned
        .iter()
        .filter(|it| it.contains("RDMA works beside it"));
    assert_eq!(bridges.count(), 3, "{warned:?}");
    assert!(plan(&beside, &Options::default().strict(true)).is_ok());

    let broken = verdict_of(&topology(&bridged_triangle(false)));
    let fails = said(&broken, Outcome::Fails);
    for end in ["h", "o", "t"]
        .into_iter()
        .flat_map(|n| [(n, "en3"), (n, "en4")])
    {
        let named = format!(
            "'rdma_{}' of 'Mac Studio ({})' has no IPv4 address",
            end.1, end.0
        );
        let findings = fails.iter().filter(|it| it.starts_with(&named));
        assert_eq!(findings.count(), 1, "{named}: {fails:#?}");
    }
    assert_eq!(fails.len(), 6, "nothing but the six ends: {fails:#?}");
}

#[test]
fn report_09_text_where_json_was_wanted_is_asked_for_as_json() {
    let text =
        "Thunderbolt/USB4:\n\n    Thunderbolt/USB4 Bus 2:\n\n      Vendor Name: Apple Inc.\n";
    let host = with(mac("mini", &[]), ReportKind::SystemProfiler, text);
    let asked = "run `system_profiler SPThunderboltDataType -json` and give what it prints";
    let message = read::reports(&[host]).unwrap_err().to_string();
    assert!(
        message.starts_with("mini/system_profiler.json: this is text"),
        "{message}"
    );
    assert!(message.ends_with(asked), "{message}");
    let single = read::read(text.as_bytes(), None).unwrap_err();
    assert!(single.to_string().ends_with(asked), "{single}");

    let addresses = "1: lo: <LOOPBACK,UP> mtu 65536\n    inet 127.0.0.1/8 scope host lo\n";
    let host = with(
        linux("one", json!([]), &[]),
        ReportKind::IpAddress,
        addresses,
    );
    let message = read::reports(&[host]).unwrap_err().to_string();
    assert!(
        message.ends_with("run `ip -j address` and give what it prints"),
        "{message}"
    );
}

/// A hostfile's host.
fn host(ssh: &str, rdma: Value) -> Value {
    json!({"ssh": ssh, "ips": [], "rdma": rdma})
}

#[test]
fn report_10_a_hostfile_may_be_the_list_of_hosts_alone() {
    let list = json!([
        host("book.local", json!([null, "rdma_en2"])),
        host("studio.local", json!(["rdma_en7", null]))
    ]);
    let existing = alone(&list);
    assert_eq!(existing.cells[1][0], ["rdma_en7"]);
    assert_eq!(existing.nodes.unwrap(), ["book.local", "studio.local"]);
    let verdict = judged(&list, None);
    assert!(verdict.is_safe());
    assert!(
        said(&verdict, Outcome::Note)
            .iter()
            .any(|it| it.contains("names no backend"))
    );

    let tcp = json!([{"ssh": "a", "ips": ["192.0.2.1"]}, {"ssh": "b", "ips": ["192.0.2.2"]}]);
    let refused = check::read(tcp.to_string().as_bytes()).unwrap_err();
    assert_eq!(refused, ReadError::TcpHostfile);
}

#[test]
fn report_13_a_hostfiles_environment_is_kept_and_a_cable_counts_as_measured() {
    let hostfile = |envs: Value| {
        json!({
            "backend": "jaccl-ring",
            "envs": envs,
            "hosts": [
                host("m1", json!([null, ["rdma_en1", "rdma_en2"]])),
                host("m2", json!([["rdma_en3", "rdma_en5"], null])),
            ]
        })
    };
    let read = |document: Value| read::read(document.to_string().as_bytes(), None);
    let fast = read(hostfile(json!([
        "MLX_METAL_FAST_SYNCH=1",
        "MLX_JACCL_RING=0"
    ])))
    .unwrap();
    let plan = plan(&fast, &Options::default()).unwrap();
    let written = Output::Hostfile.write(&fast, &plan, "").unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["envs"], json!(["MLX_METAL_FAST_SYNCH=1"]));
    let own = Note::Overridden {
        variable: "MLX_JACCL_RING=0".into(),
    };
    assert!(plan.notes.contains(&own), "{:?}", plan.notes);
    let environment = plan.environment(0, "devices.json");
    assert!(
        environment
            .iter()
            .any(|it| { (&*it.name, it.value.as_deref()) == ("MLX_METAL_FAST_SYNCH", Some("1")) })
    );
    assert_eq!(Output::Hostfile.remark(&plan), None);

    let notes: Vec<_> = plan.notes.iter().map(Note::to_string).collect();
    let estimate = notes.iter().find(|it| it.starts_with("ring: ")).unwrap();
    assert!(
        estimate.contains("13 GB/s on a ring of 2 rails")
            && estimate.contains("a cable taken for 6.5 GB/s, which people measure"),
        "{estimate}"
    );
    let wrong = read(hostfile(json!(["export A=1"])))
        .unwrap_err()
        .to_string();
    assert_eq!(wrong, "envs[0]: expected NAME=VALUE, found 'export A=1'");
}

/// Four hosts in a ring a, b, c, d, listed in this order.
fn ring_of_four(backend: &str, order: [&str; 4]) -> Value {
    let ring = ["a", "b", "c", "d"];
    let place = |name: &str| ring.iter().position(|it| *it == name).unwrap();
    let cell = |from: &str, to: &str| match (place(to) + 4 - place(from)) % 4 {
        1 => json!("rdma_en2"),
        3 => json!("rdma_en3"),
        _ => Value::Null,
    };
    let hosts = order.map(|from| host(from, order.map(|to| cell(from, to)).into_iter().collect()));
    json!({"backend": backend, "envs": [], "hosts": hosts})
}

#[test]
fn report_17_ranks_in_another_order_than_the_cables_get_the_order_that_works() {
    let wrong = ring_of_four("jaccl-ring", ["a", "c", "b", "d"]);
    let verdict = judged(&wrong, None);
    assert_eq!((verdict.backend, verdict.is_safe()), (None, false));
    let order = verdict
        .findings
        .iter()
        .find_map(|finding| match &finding.wrong {
            Wrong::OtherOrder { rows, nodes, .. } => Some((rows.clone(), nodes.clone())),
            _ => None,
        });
    let (rows, nodes) = order.expect("an order that works");
    assert_eq!(rows, [0, 2, 1, 3]);
    assert_eq!(nodes, ["a", "b", "c", "d"]);
    let mended = ring_of_four("jaccl-ring", ["a", "b", "c", "d"]);
    assert!(judged(&mended, None).is_safe());
}

#[test]
fn report_17_a_rings_file_that_asks_for_a_mesh_is_no_mesh() {
    let verdict = judged(&ring_of_four("jaccl", ["a", "b", "c", "d"]), None);
    assert_eq!(
        (verdict.backend, verdict.is_safe()),
        (Some(Backend::Ring), false)
    );
    let finding = &verdict.findings[0];
    assert_eq!(
        (finding.outcome, finding.rule()),
        (Outcome::FallsBack, Rule::Asked)
    );
    assert!(
        finding.sentence().ends_with("write \"jaccl-ring\""),
        "{}",
        finding.sentence()
    );
}

#[test]
fn a_hostfile_whose_environment_asks_for_a_ring_is_no_mesh() {
    let hosts = json!([
        host("a", json!([null, "rdma_en2"])),
        host("b", json!(["rdma_en2", null]))
    ]);
    let envs = json!(["MLX_JACCL_RING=0"]);
    let document = json!({"backend": "jaccl", "envs": envs, "hosts": hosts});
    let verdict = judged(&document, None);
    assert_eq!(verdict.backend, Some(Backend::Ring));
    assert!(!verdict.is_safe());
    let tcp = json!({"backend": "ring", "envs": [], "hosts": hosts});
    let verdict = judged(&tcp, None);
    assert!(said(&verdict, Outcome::FallsBack)[0].contains("leaves its rdma rows unused"));
}

/// Two Macs with two cables, their interfaces at these addresses.
fn pair_at(one: [Option<(&str, &str)>; 2], two: [Option<(&str, &str)>; 2]) -> [HostReport; 2] {
    let node = |name, domains: [&str; 2], others: [&str; 2], at: [Option<(&str, &str)>; 2]| {
        let buses = [0, 1].map(|k| {
            let port = u32::try_from(k).unwrap() + 2;
            bus(port, domains[k], "80 Gb/s", &[on(others[k])])
        });
        let interfaces = ["en3", "en4"].iter().zip(at);
        let ifconfig = interfaces.map(|(name, inet)| interface(name, inet, ""));
        let ifconfig: String = ifconfig.collect();
        let host = with(mac(name, &buses), ReportKind::Ifconfig, &ifconfig);
        let host = with(host, ReportKind::RdmaCtl, "enabled\n");
        let devices = ibv_devices(&["rdma_en2", "rdma_en3", "rdma_en4"]);
        with(host, ReportKind::IbvDevices, &devices)
    };
    [
        node("a", ["A3", "A4"], ["B3", "B4"], one),
        node("b", ["B3", "B4"], ["A3", "A4"], two),
    ]
}

const MASK: &str = "0xfffffffc";

#[test]
fn report_35_ends_in_different_subnets_are_no_cable() {
    let hosts = pair_at(
        [Some(("10.9.1.1", MASK)), Some(("10.9.2.1", MASK))],
        [Some(("10.9.7.2", MASK)), Some(("10.9.2.2", MASK))],
    );
    let topology = topology(&hosts);
    let apart = Problem::DifferentSubnets {
        ends: [end("a:rdma_en3"), end("b:rdma_en3")],
        subnets: ["10.9.1.0/30".into(), "10.9.7.0/30".into()],
    };
    assert_eq!(topology.account().problems(), std::slice::from_ref(&apart));
    let plan = plan(&topology, &Options::default()).unwrap();
    assert_eq!(
        (plan.rails, plan.matrix.cell(0, 1)),
        (1, &["rdma_en4".to_owned()][..])
    );
    let both = json!([
        [null, ["rdma_en3", "rdma_en4"]],
        [["rdma_en3", "rdma_en4"], null]
    ]);
    let fails = said(&judged(&both, Some(&topology)), Outcome::Fails);
    assert_eq!(fails, [apart.to_string()]);
}

#[test]
fn both_ends_at_one_address_are_no_cable_and_one_address_on_two_cables_is_a_warning() {
    let hosts = pair_at(
        [Some(("10.9.1.1", MASK)), Some(("10.9.2.1", MASK))],
        [Some(("10.9.1.1", MASK)), Some(("10.9.2.2", MASK))],
    );
    let problems = topology(&hosts).account().problems().to_vec();
    let equal = Problem::EqualAddresses {
        address: "10.9.1.1".into(),
        ends: [end("a:rdma_en3"), end("b:rdma_en3")],
    };
    assert_eq!(problems, [equal]);

    let hosts = pair_at(
        [Some(("10.9.1.1", MASK)), Some(("10.9.1.1", MASK))],
        [Some(("10.9.1.2", MASK)), Some(("10.9.1.2", MASK))],
    );
    let repeated = topology(&hosts);
    assert!(
        repeated
            .account()
            .problems()
            .iter()
            .all(Problem::is_warning)
    );
    assert_eq!(repeated.account().problems().len(), 2);
    assert_eq!(plan(&repeated, &Options::default()).unwrap().rails, 2);
}

#[test]
fn report_37_both_ends_without_ipv4_are_named() {
    let topology = topology(&pair_at([None, None], [None, None]));
    let pair = json!([[null, "rdma_en3"], ["rdma_en3", null]]);
    let verdict = judged(&pair, Some(&topology));
    let of = |node: &str| format!("'rdma_en3' of 'Mac Studio ({node})' has no IPv4 address");
    let fails = said(&verdict, Outcome::Fails);
    assert_eq!(fails.len(), 2, "{fails:?}");
    assert!(
        fails[0].starts_with(&of("a")) && fails[1].starts_with(&of("b")),
        "{fails:?}"
    );
}

/// Four Macs of one model, each joined with every other; device `en{k}` of a node is
/// towards the k-th of the others.
fn four_studios() -> Topology {
    let names = ["king", "one", "two", "three"];
    let domain = |from: usize, to: usize| format!("{from}-{to}");
    let hosts: Vec<_> = (0..4)
        .map(|from| {
            let others = (0..4).filter(|to| *to != from).enumerate();
            let buses: Vec<_> = others
                .map(|(k, to)| {
                    let port = u32::try_from(k).unwrap() + 2;
                    bus(port, &domain(from, to), "80 Gb/s", &[on(&domain(to, from))])
                })
                .collect();
            mac(names[from], &buses)
        })
        .collect();
    topology(&hosts)
}

#[test]
fn report_37_exchanged_cells_are_told_and_nodes_of_one_label_told_apart() {
    let topology = four_studios();
    let exchanged = json!([
        [null, "rdma_en3", "rdma_en5", "rdma_en4"],
        ["rdma_en3", null, "rdma_en4", "rdma_en5"],
        ["rdma_en3", "rdma_en4", null, "rdma_en5"],
        ["rdma_en3", "rdma_en4", "rdma_en5", null]
    ]);
    let verdict = judged(&exchanged, Some(&topology));
    let elsewhere: Vec<_> = verdict
        .findings
        .iter()
        .filter_map(|finding| match &finding.wrong {
            Wrong::LeadsElsewhere { exchange, .. } => {
                Some((finding.cell?.to_string(), exchange.as_ref()?.to_string()))
            }
            _ => None,
        })
        .collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        elsewhere,
        [
            pair("(0, 2)[0]", "(0, 3)[0]"),
            pair("(0, 3)[0]", "(0, 2)[0]")
        ]
    );
    let hangs = said(&verdict, Outcome::Hangs);
    assert!(
        hangs[0].contains("leads to Mac Studio (three):rdma_en3 and not to 'Mac Studio (two)'"),
        "{hangs:?}"
    );
    assert!(
        hangs[0].ends_with("exchange it with (0, 3)[0]"),
        "{hangs:?}"
    );
    assert_eq!(hangs.len(), 2, "the other ends are right: {hangs:?}");

    let plan = plan(&topology, &Options::default()).unwrap();
    let table = Output::Table.write(&topology, &plan, "").unwrap();
    for name in ["king", "one", "two", "three"] {
        assert!(table.contains(&format!("Mac Studio ({name})")), "{table}");
    }
    assert!(!table.contains("Mac Studio - Mac Studio"), "{table}");
}

/// exo's `/instance/previews` of a model: one that does not use jaccl, and one that does.
fn previews(devices: Value) -> Value {
    let shard = |rank: usize| json!({"PipelineShardMetadata": {"deviceRank": rank}});
    json!({"previews": [
        {"model_id": "some/model", "sharding": "Pipeline", "instance_meta": "MlxRing",
         "instance": null, "error": "no placement"},
        {"model_id": "some/model", "sharding": "Pipeline", "instance_meta": "MlxJaccl",
         "instance": {"MlxJacclInstance": {
             "instanceId": "i",
             "shardAssignments": {
                 "nodeToRunner": {"b": "r0", "a": "r1"},
                 "runnerToShard": {"r0": shard(0), "r1": shard(1)}
             },
             "jacclDevices": devices
         }},
         "error": null}
    ]})
}

#[test]
fn report_40_exos_previews_are_checked_before_one_is_launched() {
    let mut cabling = Topology::new();
    let (a, b) = (cabling.add_node("a"), cabling.add_node("b"));
    let ends = [cabling.port(a, "rdma_en3"), cabling.port(b, "rdma_en5")];
    cabling.sight(ends[0], ends[1]);
    cabling.sight(ends[1], ends[0]);
    let right = previews(json!([[null, "rdma_en5"], ["rdma_en3", null]]));
    let existing = alone(&right);
    assert_eq!(existing.name.as_deref(), Some("some/model, Pipeline"));
    assert_eq!(existing.nodes.as_deref().unwrap(), ["b", "a"]);
    assert!(judged(&right, Some(&cabling)).is_safe());

    let gone = previews(json!([[null, "rdma_en5"], ["rdma_en4", null]]));
    let fails = said(&judged(&gone, Some(&cabling)), Outcome::Fails);
    assert!(
        fails[0].starts_with("nothing is known of a device 'rdma_en4' on 'a'"),
        "{fails:?}"
    );

    let none = json!({"previews": [{"model_id": "m", "instance": null, "error": "no placement"}]});
    let message = check::read(none.to_string().as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("previews: no preview here uses jaccl"),
        "{message}"
    );
    let asked = json!({"instance": right["previews"][1]["instance"]});
    assert_eq!(alone(&asked).cells, existing.cells);
}

#[test]
fn the_port_beside_ethernet_of_a_mac_studio_is_warned_about() {
    let hosts = [
        mac("a", &[bus(1, "A2", "80 Gb/s", &[on("B3")])]),
        mac("b", &[bus(2, "B3", "80 Gb/s", &[on("A2")])]),
    ];
    let topology = topology(&hosts);
    let doubtful = Problem::DoubtfulPort {
        device: end("a:rdma_en2"),
        model: "Mac Studio".into(),
    };
    assert_eq!(
        topology.account().problems(),
        std::slice::from_ref(&doubtful)
    );
    let used = json!([[null, "rdma_en2"], ["rdma_en3", null]]);
    let notes = said(&judged(&used, Some(&topology)), Outcome::Note);
    assert!(notes.contains(&doubtful.to_string()), "{notes:?}");
}

/// Two Macs; the second says nothing of the cable.
fn one_sided() -> Topology {
    topology(&[
        mac("a", &[bus(2, "A3", "80 Gb/s", &[on("B3")])]),
        mac("b", &[bus(2, "B3", "80 Gb/s", &[])]),
    ])
}

#[test]
fn a_cable_that_one_end_alone_states_is_offered_and_may_be_accepted() {
    let doubted = one_sided();
    let message = refused(&doubted);
    assert!(
        message.contains("a:rdma_en3 is said to lead to b:rdma_en3, and b:rdma_en3 says nothing")
            && message.contains("accept it (`--accept-one-sided`)"),
        "{message}"
    );
    let matrix = json!([[null, "rdma_en3"], ["rdma_en3", null]]);
    let unsure = judged(&matrix, Some(&doubted));
    assert_eq!(
        said(&unsure, Outcome::Note)
            .iter()
            .filter(|it| it.contains("cannot be judged"))
            .count(),
        1
    );

    let accepted = one_sided().accept_one_sided(true);
    let plan = plan(&accepted, &Options::default()).unwrap();
    assert_eq!(plan.matrix.cell(1, 0), ["rdma_en3"]);
    let cable = "a:rdma_en3 = b:rdma_en3".to_owned();
    assert!(
        plan.notes.contains(&Note::Accepted {
            cables: vec![cable]
        }),
        "{:?}",
        plan.notes
    );
    let sure = judged(&matrix, Some(&accepted));
    assert!(
        said(&sure, Outcome::Note)
            .iter()
            .all(|it| !it.contains("cannot be judged"))
    );
}

#[test]
fn a_device_that_two_others_state_is_accepted_from_neither() {
    let mut contested = Topology::new();
    let nodes = ["a", "b", "c"].map(|name| contested.add_node(name));
    let [a, b, c] = nodes.map(|node| contested.port(node, "rdma_en3"));
    contested.sight(a, b);
    contested.sight(c, b);
    let contested = contested.accept_one_sided(true);
    assert_eq!(contested.account().cables().len(), 0);
    assert!(plan(&contested, &Options::default()).is_err());
}

#[test]
fn an_error_advises_no_cable_where_one_was_left_out() {
    let hosts = pair_at(
        [Some(("10.9.1.1", MASK)), None],
        [Some(("10.9.7.2", MASK)), None],
    );
    let message = refused(&topology(&hosts));
    assert!(message.contains("Left out: "), "{message}");
    assert!(
        message.contains("in different subnets") && !message.contains("add "),
        "{message}"
    );
    let mut apart = Topology::new();
    apart.add_node("a");
    apart.add_node("b");
    assert!(refused(&apart).ends_with("add two cables between them, or leave nodes out"));
}

#[test]
fn devices_on_one_bonded_interface_are_told_as_such() {
    let devices = json!([
        rdma("mlx5_0", "bond0", "ACTIVE"),
        rdma("mlx5_1", "bond0", "ACTIVE")
    ]);
    let one = linux("one", devices, &[("bond0", "192.0.2.1", 30)]);
    let two = linux(
        "two",
        json!([rdma("mlx5_0", "eth1", "ACTIVE")]),
        &[("eth1", "192.0.2.2", 30)],
    );
    let topology = topology(&[one, two]);
    let shared = Problem::SharedInterface {
        interface: "bond0".into(),
        devices: vec![end("one:mlx5_0"), end("one:mlx5_1")],
    };
    assert!(
        topology.problems().contains(&shared),
        "{:?}",
        topology.problems()
    );
    assert!(refused(&topology).contains("share the interface 'bond0' and its address"));
}

#[test]
fn an_interface_without_link_or_altogether_missing_cannot_carry() {
    let host = |ifconfig: &str| {
        let studio = mac("a", &[bus(2, "A3", "80 Gb/s", &[on("B3")])]);
        let host = with(studio, ReportKind::Ifconfig, ifconfig);
        let topology = topology(&[host, mac("b", &[bus(2, "B3", "80 Gb/s", &[on("A3")])])]);
        let (port, _) = topology.ports().next().unwrap();
        topology[port].unfit
    };
    let at = Some(("192.0.2.1", MASK));
    assert_eq!(host(&interface("en3", at, "\tstatus: active\n")), None);
    let inactive = host(&interface("en3", at, "\tstatus: inactive\n"));
    assert_eq!(inactive, Some(Unfit::PortDown));
    assert_eq!(host(&interface("en0", at, "")), Some(Unfit::NoInterface));
}

/// exo's state of two Macs with a cable, and the addresses of the first one's interface.
fn exo_state(addresses: &[&str], bridge: bool) -> Topology {
    let interface = |name: &str, ip: &str| json!({"name": name, "ipAddress": ip});
    let own = addresses.iter().map(|ip| interface("en3", ip));
    let own: Vec<_> = own.chain([interface("en0", "198.51.100.1")]).collect();
    let edge = json!([{"sourceRdmaIface": "rdma_en3", "sinkRdmaIface": "rdma_en3"}]);
    let state = json!({
        "topology": {"nodes": ["A", "B"], "connections": {"A": {"B": edge}, "B": {"A": edge}}},
        "nodeNetwork": {
            "A": {"interfaces": own},
            "B": {"interfaces": [interface("en3", "169.254.9.9")]}
        },
        "nodeThunderboltBridge": {"A": {"enabled": bridge}},
        "nodeRdmaCtl": {"A": {"enabled": true}, "B": {"enabled": true}},
    });
    read::read(state.to_string().as_bytes(), None).unwrap()
}

#[test]
fn exo_tells_the_addresses_of_the_ends() {
    let cables = |topology: &Topology| topology.account().cables().len();
    assert_eq!(cables(&exo_state(&["fe80::1", "169.254.1.1"], true)), 1);
    let without = exo_state(&["fe80::1"], true);
    assert_eq!(
        without.account().problems(),
        [Problem::UnfitDevice {
            device: end("A:rdma_en3"),
            why: Unfit::NoIpv4 { bridged: true },
        }]
    );
    let equal = exo_state(&["169.254.9.9"], false);
    assert!(matches!(
        equal.account().problems(),
        [Problem::EqualAddresses { .. }]
    ));
    // Of an interface that exo does not list nothing is known.
    assert_eq!(cables(&exo_state(&[], false)), 1);
}

#[test]
fn rows_in_another_order_than_the_topologys_nodes_get_the_order_that_works() {
    let mut chain = Topology::new();
    let nodes = ["a", "b", "c"].map(|name| chain.add_node(name));
    for (name, [from, to]) in [("ab", [0, 1]), ("bc", [1, 2]), ("ca", [2, 0])] {
        let devices = [format!("to-{to}"), format!("to-{from}")];
        let ends = [
            chain.port(nodes[from], &devices[0]),
            chain.port(nodes[to], &devices[1]),
        ];
        chain.add_cable(name, ends);
    }
    // Rows are c, a, b, and nothing says so.
    let rows = [2, 0, 1];
    let cell = |i: usize, j: usize| match i == j {
        true => Value::Null,
        false => json!(format!("to-{}", rows[j])),
    };
    let matrix: Value = (0..3)
        .map(|i| (0..3).map(|j| cell(i, j)).collect::<Value>())
        .collect();
    let verdict = judged(&matrix, Some(&chain));
    assert!(!verdict.is_safe());
    let order = verdict
        .findings
        .iter()
        .find_map(|finding| match &finding.wrong {
            Wrong::OtherOrder {
                nodes,
                nodes_alone: true,
                ..
            } => Some(nodes.clone()),
            _ => None,
        });
    assert_eq!(order.expect("an order that works"), ["c", "a", "b"]);
}

#[test]
fn stock_jaccl_has_its_known_defects_on_a_matrix() {
    let ring_2 = json!([[null, ["en1", "en2"]], [["en1", "en2"], null]]);
    let mesh = json!([[null, "en1"], ["en1", null]]);
    let found = |cells: &Value, version: [u32; 3], patched: bool| {
        let jaccl = Jaccl::of(version).patched(patched);
        let verdict = check(&alone(cells), None, None, &jaccl).unwrap();
        let defects = verdict
            .findings
            .iter()
            .filter_map(|finding| match finding.wrong {
                Wrong::Defect { danger } if danger.ordinary => {
                    Some((finding.outcome, danger.patch))
                }
                _ => None,
            });
        defects.collect::<Vec<_>>()
    };
    let prefill = (Outcome::Hangs, "ring-recv-prefill");
    assert_eq!(found(&ring_2, [0, 31, 2], false), [prefill]);
    assert_eq!(found(&ring_2, [0, 31, 2], true), []);
    assert_eq!(found(&ring_2, [0, 32, 0], false), []);
    let halves = (Outcome::Corrupts, "ring-all-gather-halves");
    assert_eq!(found(&ring_2, [0, 32, 1], false), [halves]);
    assert_eq!(found(&ring_2, [0, 32, 2], false), [halves]);
    assert_eq!(found(&ring_2, [0, 32, 4], false), []);
    let staging = (Outcome::Corrupts, "mesh-all-sum-staging");
    assert_eq!(found(&mesh, [0, 31, 2], false), [staging]);
    assert_eq!(found(&mesh, [0, 32, 0], false), []);

    let of = |cells: &Value, version: &str| {
        let jaccl = version.parse::<Jaccl>().unwrap().patched(false);
        check(&alone(cells), None, None, &jaccl).unwrap().is_safe()
    };
    assert!(
        !of(&ring_2, "0.32.0.dev20260506"),
        "it may lack the release's mend"
    );
    assert!(!of(&mesh, "0.32.0.dev20260506"));
    assert!(!of(&ring_2, "exo"), "exo's build is from before the mend");
    assert!(of(&mesh, "exo"), "exo's build mends the mesh by itself");
}

#[test]
fn a_device_is_not_asked_for_more_than_thunderbolt_has() {
    let limits = |cells: &Value| {
        let verdict = judged(cells, None);
        let limits = verdict
            .findings
            .iter()
            .filter_map(|finding| match &finding.wrong {
                Wrong::Limit {
                    what, asked, most, ..
                } => Some((*what, *asked, *most)),
                _ => None,
            });
        limits.collect::<Vec<_>>()
    };
    // A ring of two opens each place twice.
    let twice = json!([
        [null, ["rdma_en2", "rdma_en2"]],
        [["rdma_en2", "rdma_en2"], null]
    ]);
    let regions = ("memory regions", 128, 100);
    assert_eq!(limits(&twice), [regions, regions]);
    let mesh = json!([[null, "rdma_en2"], ["rdma_en2", null]]);
    assert_eq!(limits(&mesh), [], "96 of 100 regions");
    // One device towards seven peers.
    let star: Value = (0..8)
        .map(|i| {
            let cell = |j| {
                if i == j {
                    Value::Null
                } else {
                    json!("rdma_en2")
                }
            };
            (0..8).map(cell).collect::<Value>()
        })
        .collect();
    assert!(
        limits(&star)
            .iter()
            .all(|(what, ..)| *what == "memory regions")
    );
    assert_eq!(limits(&star).len(), 8);
}

#[test]
fn thunderbolt_5_counts_as_what_people_measure_and_a_rigs_own_figure_wins() {
    let hosts = [
        mac("a", &[bus(2, "A3", "80 Gb/s", &[on("B3")])]),
        mac("b", &[bus(2, "B3", "Up to 80 Gb/s", &[on("A3")])]),
    ];
    let topology = topology(&hosts);
    let plan = plan(&topology, &Options::default()).unwrap();
    let measured = Note::Measured {
        bytes_per_second: THUNDERBOLT_5,
        line_bytes_per_second: 10_000_000_000,
    };
    assert!(plan.notes.contains(&measured), "{:?}", plan.notes);
    let rig = rig::Rig::parse(
        r#"
        node = [{ name = "a" }, { name = "b" }]
        cable = [{ name = "c", ends = ["a:1", "b:1"], bandwidth = "7.9 GB/s" }]
        "#,
    )
    .unwrap();
    let own = Topology::from_rig(&rig).unwrap();
    assert!(
        own.ports()
            .all(|(_, port)| port.bytes_per_second == Some(7_900_000_000))
    );
}

#[test]
fn a_slow_second_cable_switches_no_node_off() {
    let node = |name, fast: [&str; 2], slow: [&str; 2]| {
        let buses = [
            bus(2, fast[0], "80 Gb/s", &[on(fast[1])]),
            bus(3, slow[0], "40 Gb/s", &[peer_with(slow[1], &[1])]),
        ];
        mac(name, &buses)
    };
    let both = topology(&[
        node("a", ["A3", "B3"], ["A4", "B4"]),
        node("b", ["B3", "A3"], ["B4", "A4"]),
    ]);
    let plan = plan(&both, &Options::default()).unwrap();
    assert_eq!(plan.matrix.cell(0, 1), ["rdma_en3"]);
    let slow_alone = topology(&[
        mac("a", &[bus(3, "A4", "40 Gb/s", &[peer_with("B4", &[1])])]),
        mac("b", &[bus(3, "B4", "40 Gb/s", &[peer_with("A4", &[1])])]),
    ]);
    let message = refused(&slow_alone);
    assert!(message.contains("RDMA needs Thunderbolt 5"), "{message}");
    assert!(!message.contains("switched off"), "{message}");
}

#[test]
fn one_peer_that_sees_the_service_settles_that_rdma_is_on() {
    let seen = topology(&[
        mac(
            "a",
            &[
                bus(2, "A3", "80 Gb/s", &[on("B3")]),
                bus(3, "A4", "80 Gb/s", &[on("C3")]),
            ],
        ),
        mac("b", &[bus(2, "B3", "80 Gb/s", &[on("A3")])]),
        mac("c", &[bus(2, "C3", "80 Gb/s", &[peer_with("A4", &[1])])]),
    ]);
    assert!(
        seen.account().problems().is_empty(),
        "{:?}",
        seen.account().problems()
    );
}

#[test]
fn an_error_tells_every_reason_that_is_another() {
    let hosts = pair_at(
        [None, Some(("10.9.2.1", MASK))],
        [Some(("10.9.1.2", MASK)), None],
    );
    let [a, b] = hosts;
    let b = with(b, ReportKind::IbvDevices, &ibv_devices(&["rdma_en3"]));
    let message = refused(&topology(&[a, b]));
    assert!(
        message.contains("a:rdma_en3 has no IPv4 address"),
        "{message}"
    );
    assert!(
        message.contains("b:rdma_en4 is not among its node's RDMA devices"),
        "{message}"
    );
}

#[test]
fn what_leaves_nothing_out_does_not_hide_the_remedy() {
    let mut bridged = Topology::new();
    let (a, b) = (bridged.add_node("a"), bridged.add_node("b"));
    bridged.set_bridged(a, true);
    let remedy = "add two cables between them, or leave nodes out";
    assert!(refused(&bridged).ends_with(remedy), "{}", refused(&bridged));

    let mut repeated = bridged;
    let ends = [repeated.port(a, "en3"), repeated.port(b, "en3")];
    repeated.add_node("c");
    for [from, to] in [ends, ends, [ends[1], ends[0]]] {
        repeated.sight(from, to);
    }
    assert!(
        refused(&repeated).ends_with(remedy),
        "{}",
        refused(&repeated)
    );
}

#[test]
fn a_bridge_of_which_nothing_tells_the_addresses_is_a_warning_to_plan_and_check() {
    let state = json!({
        "topology": {"nodes": ["A", "B"], "connections": {
            "A": {"B": [{"sourceRdmaIface": "rdma_en3", "sinkRdmaIface": "rdma_en3"}]},
            "B": {"A": [{"sourceRdmaIface": "rdma_en3", "sinkRdmaIface": "rdma_en3"}]}
        }},
        "nodeThunderboltBridge": {"A": {"enabled": true}},
    });
    let topology = read::read(state.to_string().as_bytes(), None).unwrap();
    assert!(plan(&topology, &Options::default().strict(true)).is_ok());
    let verdict = judged(
        &json!([[null, "rdma_en3"], ["rdma_en3", null]]),
        Some(&topology),
    );
    assert!(verdict.is_safe());
    assert!(
        said(&verdict, Outcome::Note)
            .iter()
            .any(|it| it.contains("bridge is active"))
    );
}

#[test]
fn a_silent_end_that_two_others_state_is_judged_alike_with_both() {
    let safe = |first: &str, second: &str| {
        let mut contested = Topology::new();
        for name in ["a", "b", "c"] {
            contested.add_node(name);
        }
        let mut port = |name: &str| {
            let node = contested.node(name).unwrap();
            contested.port(node, "rdma_en3")
        };
        let [first, second, c] = [port(first), port(second), port("c")];
        contested.sight(first, c);
        contested.sight(second, c);
        let pair = alone(&json!([[null, "rdma_en3"], ["rdma_en3", null]]));
        ["a", "b"].map(|with| {
            let existing = pair
                .clone()
                .with_nodes(vec![with.to_owned(), "c".to_owned()]);
            let verdict = check(&existing, Some(&contested), None, &Jaccl::default()).unwrap();
            (verdict.is_safe(), said(&verdict, Outcome::Note).join("\n"))
        })
    };
    let judged = safe("a", "b");
    assert!(
        judged
            .iter()
            .all(|(safe, note)| *safe && note.contains("cannot be judged")),
        "{judged:?}"
    );
    assert_eq!(judged, safe("b", "a"));
}

#[test]
fn an_order_is_said_to_work_only_where_the_cabling_agrees() {
    let mut ring = Topology::new();
    let nodes = ["a", "b", "c", "d"].map(|name| ring.add_node(name));
    for (k, [from, to]) in [[0, 1], [1, 2], [2, 3], [3, 0]].into_iter().enumerate() {
        let ends = [
            ring.port(nodes[from], "rdma_en2"),
            ring.port(nodes[to], "rdma_en3"),
        ];
        ring.add_cable(&format!("cable-{k}"), ends);
    }
    // In the order a, c, b, d; the second matrix has the two devices of c exchanged.
    let matrix = |c: [&str; 2]| {
        json!([
            [null, null, "rdma_en2", "rdma_en3"],
            [null, null, c[0], c[1]],
            ["rdma_en3", "rdma_en2", null, null],
            ["rdma_en2", "rdma_en3", null, null]
        ])
    };
    let order = |cells: Value| {
        let by_rows = ["a", "c", "b", "d"].map(str::to_owned);
        let existing = alone(&cells).with_nodes(by_rows.to_vec());
        let verdict = check(
            &existing,
            Some(&ring),
            Some(Backend::Ring),
            &Jaccl::default(),
        );
        let findings = verdict.unwrap().findings;
        findings
            .iter()
            .any(|it| matches!(it.wrong, Wrong::OtherOrder { .. }))
    };
    assert!(order(matrix(["rdma_en3", "rdma_en2"])));
    assert!(!order(matrix(["rdma_en2", "rdma_en3"])));
}

#[test]
fn a_defect_of_jaccl_does_not_hide_the_order_that_works() {
    let (two, more) = (["rdma_en2", "rdma_en3"], ["rdma_en4", "rdma_en5"]);
    let cells = json!([
        [null, null, two, more],
        [null, null, two, more],
        [two, more, null, null],
        [two, more, null, null]
    ]);
    let stock = Jaccl::default().patched(false);
    let verdict = check(&alone(&cells), None, Some(Backend::Ring), &stock).unwrap();
    let is_order = |it: &check::Finding| matches!(it.wrong, Wrong::OtherOrder { .. });
    assert!(
        verdict.findings.iter().any(is_order),
        "{:?}",
        verdict.findings
    );
}

#[test]
fn what_exo_says_of_one_node_it_could_have_said_of_all() {
    let state = json!({
        "topology": {"nodes": ["A", "B"], "connections": {}},
        "nodeRdmaCtl": {"A": {"enabled": true}},
    });
    let topology = read::read(state.to_string().as_bytes(), None).unwrap();
    let unknown = Problem::RdmaUnknown {
        nodes: vec!["B".into()],
    };
    assert_eq!(topology.account().problems(), [unknown]);
    let twice = exo_state(&["169.254.1.1", "169.254.1.1"], false);
    assert!(
        twice.account().problems().is_empty(),
        "{:?}",
        twice.account().problems()
    );
}

#[test]
fn a_variable_that_changes_nothing_is_no_mistake() {
    // Cells of which only a mesh can be made.
    let two = json!(["en2", "en3"]);
    let hosts = json!([
        host("a", json!([null, "en1", two])),
        host("b", json!(["en1", null, "en2"])),
        host("c", json!([two, "en1", null]))
    ]);
    let envs = json!(["MLX_JACCL_RING=1"]);
    let document = json!({"backend": "jaccl", "envs": envs, "hosts": hosts});
    let verdict = judged(&document, None);
    assert_eq!(
        (verdict.backend, said(&verdict, Outcome::FallsBack)),
        (Some(Backend::Mesh), vec![])
    );
}

#[test]
fn ends_of_loops_and_of_nameless_cables_are_not_silent() {
    let mut odd = Topology::new();
    let (a, b) = (odd.add_node("a"), odd.add_node("b"));
    let [one, two, three] = ["en1", "en2", "en3"].map(|device| odd.port(a, device));
    let nameless = odd.port(b, "");
    odd.sight(one, two);
    odd.sight(three, nameless);
    let account = odd.account();
    let states = [one, two, three].map(|port| account.end(port).name());
    assert_eq!(states, ["loop", "loop", "unknown"]);
}

#[test]
fn a_check_tells_which_rail_rests_on_one_ends_word() {
    let accepted = one_sided().accept_one_sided(true);
    let matrix = json!([[null, "rdma_en3"], ["rdma_en3", null]]);
    let notes = said(&judged(&matrix, Some(&accepted)), Outcome::Note);
    let of_cable = "'a:rdma_en3 = b:rdma_en3' is accepted, although one end alone states it";
    assert!(notes.iter().any(|it| it == of_cable), "{notes:?}");
}

#[test]
fn previews_of_one_model_are_told_apart() {
    let one = previews(json!([[null, "rdma_en5"], ["rdma_en3", null]]))["previews"][1].clone();
    let twice = json!({"previews": [one, one]});
    let document = check::read(twice.to_string().as_bytes()).unwrap();
    let names: Vec<_> = document
        .matrices
        .iter()
        .map(|it| it.name.clone().unwrap())
        .collect();
    assert_eq!(
        names,
        ["some/model, Pipeline", "some/model, Pipeline (preview 1)"]
    );
}
