//! Descriptions of other programs: what is read from them, and the errors for those that
//! cannot be read.

mod support;

use rail_matrix::{
    Network, Options, PortId, Problem, Rdma, THUNDERBOLT_5, Topology, Unfit, plan,
    read::{self, Input, MAX_BYTES, ReadError},
};
use support::end;

/// Two nodes with a crossed pair of cables, in exo's form, and an edge of a third node
/// that is gone.
const EXO: &str = include_str!("data/exo-state.json");

fn read(text: &str) -> Topology {
    read::read(text.as_bytes(), None).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refusal(text: impl AsRef<[u8]>) -> String {
    read::read(text.as_ref(), None).unwrap_err().to_string()
}

/// Every sighting as `node:device node:device`.
fn sightings(topology: &Topology) -> Vec<String> {
    let written = |port: PortId| {
        let port = &topology[port];
        format!("{}:{}", topology[port.node].name, port.device)
    };
    let mut sightings: Vec<_> = topology
        .sightings()
        .map(|(from, to)| format!("{} {}", written(from), written(to)))
        .collect();
    sightings.sort();
    sightings
}

#[test]
fn kinds_are_told_by_content() {
    let kinds = [
        ("# mine\n[[node]]\nname = 'a'\n", Input::Rig),
        (EXO, Input::Exo),
        (r#" {"connections": {}, "nodes": []}"#, Input::Exo),
        (r#"{"backend": "jaccl", "hosts": []}"#, Input::Hostfile),
        (r#"[{"ips": [], "ssh": "a"}]"#, Input::Hostfile),
        (r#"{"SPThunderboltDataType": []}"#, Input::Reports),
        (r#"[{"ifindex": 0, "ifname": "mlx5_0"}]"#, Input::Reports),
        ("\nHardware Port: Wi-Fi\nDevice: en0\n", Input::Reports),
    ];
    for (text, kind) in kinds {
        assert_eq!(read::detect(text.as_bytes()), Ok(kind), "{text}");
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    for nothing in [
        "[{\"a\": 1}, 2]",
        "hello",
        "{}",
        "17",
        "[[null, \"rdma_en5\"]]",
        "[]",
        "\"nodes\"",
    ] {
        let message = refusal(nothing);
        for kind in Input::ALL {
            assert!(message.contains(kind.name()), "{message}");
        }
    }
    assert_eq!(read::detect(b" \n"), Err(ReadError::Empty));
    assert!(
        "yaml"
            .parse::<Input>()
            .unwrap_err()
            .to_string()
            .contains("hostfile")
    );
}

#[test]
fn a_cut_off_document_is_judged_by_what_is_left_of_it() {
    let cut = &EXO[..EXO.find("rdma_en7").unwrap()];
    let message = refusal(cut);
    assert!(
        message.starts_with(
            "topology.connections.studio-id.mini-id[1].sinkRdmaIface: the JSON is cut off"
        ),
        "{message}"
    );
    assert!(refusal("{\"nod").contains("cut off"));
}

#[test]
fn exo_gives_nodes_devices_facts_and_what_each_direction_says() {
    let topology = read(EXO);
    assert_eq!(
        sightings(&topology),
        [
            "mini-id:rdma_en6 studio-id:rdma_en7",
            "mini-id:rdma_en7 studio-id:rdma_en6",
            "studio-id:rdma_en6 mini-id:rdma_en7",
            "studio-id:rdma_en7 mini-id:rdma_en6",
        ]
    );
    assert_eq!(
        topology.problems(),
        [Problem::UnknownNode {
            from: end("studio-id:rdma_en3"),
            node: "gone-id".into()
        }]
    );
    let studio = &topology[topology.node("studio-id").unwrap()];
    assert_eq!(studio.label.as_deref(), Some("Studio"));
    assert_eq!(
        (&studio.rdma, studio.bridged, studio.model.as_deref()),
        (&Rdma::On, Some(true), Some("Mac Studio"))
    );
    let mini = &topology[topology.node("mini-id").unwrap()];
    assert_eq!((&mini.rdma, mini.bridged), (&Rdma::On, Some(false)));
}

#[test]
fn exo_addresses_are_those_that_were_reached_and_their_kind_is_the_nodes_word() {
    let topology = read(EXO);
    let addresses = |name| {
        let node = &topology[topology.node(name).unwrap()];
        let pairs = node.addresses.iter().map(|a| (a.network, a.ip.as_str()));
        pairs.collect::<Vec<_>>()
    };
    // The mini's Ethernet address is known, but no node reached it.
    assert_eq!(
        addresses("mini-id"),
        [
            (Network::Wifi, "192.0.2.52"),
            (Network::Unknown, "2001:db8::7")
        ]
    );
    // No node reached the studio at all.
    assert_eq!(
        addresses("studio-id"),
        [
            (Network::Wifi, "192.0.2.51"),
            (Network::Ethernet, "198.51.100.1")
        ]
    );
    let plan = plan(&topology, &Options::default()).unwrap();
    assert_eq!(plan.nodes[0].label.as_deref(), Some("Studio"));
    assert_eq!(plan.coordinator.unwrap().ip, "198.51.100.1");
}

#[test]
fn exo_speeds_set_rates_and_thunderbolt_4_apart() {
    let topology = read(EXO);
    let port = |device: &str| {
        let mut ports = topology.ports().map(|(_, port)| port);
        let named =
            ports.find(|port| port.device == device && topology[port.node].name == "studio-id");
        let port = named.unwrap();
        (port.bytes_per_second, port.unfit)
    };
    assert_eq!(port("rdma_en6"), (Some(THUNDERBOLT_5), None));
    assert_eq!(
        port("rdma_en7"),
        (
            Some(5_000_000_000),
            Some(Unfit::Thunderbolt4 {
                gigabits_per_second: 40
            })
        )
    );
    assert_eq!(port("rdma_en2"), (None, None));
}

#[test]
fn exo_topologies_alone_and_as_triples_say_the_same() {
    let edge = |from, to| format!(r#"{{"sourceRdmaIface": "{from}", "sinkRdmaIface": "{to}"}}"#);
    let maps = format!(
        r#"{{"nodes": ["A", "B"], "connections": {{"A": {{"B": [{}]}}, "B": {{"A": [{}]}}}}}}"#,
        edge("rdma_en5", "rdma_en6"),
        edge("rdma_en6", "rdma_en5")
    );
    let triples = format!(
        r#"{{"nodes": ["A", "B"], "connections": [["A", "B", {}], ["B", "A", {}]]}}"#,
        edge("rdma_en5", "rdma_en6"),
        edge("rdma_en6", "rdma_en5")
    );
    let said = ["A:rdma_en5 B:rdma_en6", "B:rdma_en6 A:rdma_en5"];
    assert_eq!(sightings(&read(&maps)), said);
    assert_eq!(sightings(&read(&triples)), said);
}

#[test]
fn mistakes_in_exo_are_told_with_their_place() {
    let with = |edge: &str| {
        format!("{{\"nodes\": [\"A\", \"B\"],\n \"connections\": {{\"A\": {{\"B\": [{edge}]}}}}}}")
    };
    let cases = [
        (
            with(r#"{"sourceRdmaIface": "rdma_en5", "sinkRdmaIface": 7}"#),
            "connections.A.B[0].sinkRdmaIface: expected a string, found 7 (line 2, ",
        ),
        (
            with(r#"{"sourceRdmaIface": "rdma_en5"}"#),
            "connections.A.B[0]: missing field `sinkRdmaIface`",
        ),
        (
            with(r#"{"sinkRdmaIface": "a", "sinkRdmaIface": "b"}"#),
            "connections.A.B[0]: duplicate field `sinkRdmaIface`",
        ),
        (
            r#"{"nodes": [], "connections": {"A": {}, "A": {}}}"#.to_owned(),
            "connections: the key 'A' is there twice",
        ),
        (
            with(r#"[null, "rdma_en5", "rdma_en6"]"#),
            "connections.A.B[0]: expected an object, found a list",
        ),
        (
            r#"{"nodes": [], "connections": [["A", "B"]]}"#.to_owned(),
            "connections[0]: expected a list of 3, found 2",
        ),
        (
            r#"{"topology": {"nodes": [], "connections": {}}, "nodeRdmaCtl": {"A": {"enabled": 1.5}}}"#.to_owned(),
            "nodeRdmaCtl.A.enabled: expected true or false, found 1.5",
        ),
        (
            r#"{"topology": {"nodes": {}, "connections": {}}}"#.to_owned(),
            "topology.nodes: expected a list, found an object",
        ),
        (
            r#"{"topology": {"nodes": []}}"#.to_owned(),
            "topology: missing field `connections`",
        ),
    ];
    for (text, expected) in cases {
        let message = refusal(&text);
        assert!(message.starts_with(expected), "{message}");
    }
}

const HOSTFILE: &str = r#"{
  "backend": "jaccl", "envs": ["MLX_METAL_FAST_SYNCH=1"],
  "hosts": [
    {"ssh": "m1", "ips": ["192.0.2.1"], "rdma": [null, ["rdma_en6", "rdma_en7", "rdma_en8"]]},
    {"ssh": "m2", "ips": [], "rdma": [["rdma_en7", "rdma_en6"], []], "extra": 1}
  ]
}"#;

#[test]
fn a_hostfiles_cells_claim_cables_by_index() {
    let topology = read(HOSTFILE);
    assert_eq!(
        sightings(&topology),
        [
            "m1:rdma_en6 m2:rdma_en7",
            "m1:rdma_en7 m2:rdma_en6",
            "m2:rdma_en6 m1:rdma_en7",
            "m2:rdma_en7 m1:rdma_en6",
        ]
    );
    assert_eq!(
        topology.problems(),
        [Problem::NoOtherEnd {
            from: end("m1:rdma_en8"),
            node: "m2".into(),
            place: 3,
            back: 2,
        }]
    );
    let (_, first) = topology.nodes().next().unwrap();
    assert_eq!(first.ssh.as_deref(), Some("m1"));
    assert_eq!(first.addresses[0].ip, "192.0.2.1");
}

#[test]
fn a_hostfile_may_be_the_list_alone_with_one_device_a_cell() {
    let list =
        r#"[{"ssh": "m1", "rdma": [null, "rdma_en5"]}, {"ssh": "m2", "rdma": ["rdma_en4", null]}]"#;
    let said = ["m1:rdma_en5 m2:rdma_en4", "m2:rdma_en4 m1:rdma_en5"];
    assert_eq!(sightings(&read(list)), said);
    for tcp in [
        r#"[{"ssh": "m1"}, {"ssh": "m2"}]"#,
        r#"{"backend": "ring", "envs": [], "hosts": [{"ssh": "m1", "ips": ["192.0.2.1"], "rdma": []}]}"#,
    ] {
        let refused = read::read(tcp.as_bytes(), None).unwrap_err();
        assert_eq!(refused, ReadError::TcpHostfile);
    }
}

#[test]
fn mistakes_in_a_hostfile_are_told_with_their_place() {
    let cases = [
        (
            r#"{"hosts": [{"ssh": "a", "rdma": [null, 7]}]}"#,
            "hosts[0].rdma[1]: expected null, a device or a list of devices, found 7",
        ),
        (
            r#"{"hosts": [{"ssh": "a", "rdma": [null, ["b", null]]}]}"#,
            "hosts[0].rdma[1][1]: expected a string, found null",
        ),
        (
            r#"[{"ssh": "a", "rdma": [null]}, {"ssh": "b"}]"#,
            "[0].rdma: expected 2 cells, one a host, found 1",
        ),
        (
            r#"{"hosts": [["a", [], []]]}"#,
            "hosts[0]: expected an object, found a list",
        ),
        (
            r#"[{"ssh": "a"}, {"rdma": []}]"#,
            "[1]: missing field `ssh`",
        ),
        (
            r#"{"hosts": [{"ssh": "a"}], "hosts": []}"#,
            "duplicate field `hosts`",
        ),
    ];
    for (text, expected) in cases {
        let message = refusal(text);
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn what_is_no_text_is_told_with_its_offset() {
    let mut bytes = HOSTFILE.as_bytes().to_vec();
    bytes[40] = 0xff;
    assert!(refusal(&bytes).starts_with("byte 40 is not UTF-8"));
    assert_eq!(
        read::read(&vec![b' '; MAX_BYTES + 1], None).unwrap_err(),
        ReadError::TooLarge {
            bytes: MAX_BYTES + 1,
            limit: MAX_BYTES
        }
    );
}

#[test]
fn a_name_has_at_most_512_bytes() {
    let cases = [
        (512, r#"[{"ssh": "NAME", "rdma": ["NAME"]}]"#, None),
        (513, r#"[{"ssh": "NAME"}]"#, Some("[0].ssh")),
        (
            513,
            r#"[{"ssh": "a", "rdma": ["NAME"]}]"#,
            Some("[0].rdma[0]"),
        ),
        (
            513,
            r#"{"nodes": [], "connections": {"A": {"NAME": []}}}"#,
            Some("connections.A.nnn"),
        ),
        // A string without a meaning here may have any length.
        (
            1000,
            r#"{"NAME": "NAME", "hosts": [{"ssh": "a", "rdma": [null], "NAME": "NAME"}]}"#,
            None,
        ),
    ];
    for (bytes, pattern, place) in cases {
        let text = pattern.replace("NAME", &"n".repeat(bytes));
        match place {
            None => _ = read(&text),
            Some(place) => {
                let message = refusal(&text);
                assert!(message.starts_with(place), "{message}");
                let what = ": expected a string of at most 512 bytes, found one of 513";
                assert!(message.contains(what), "{message}");
            }
        }
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let documents = [
        "[[node]]\nname = 'a'\n",
        EXO,
        HOSTFILE,
        r#"[{"ssh": "m1", "rdma": [null]}]"#,
    ];
    for text in documents {
        let marked = format!("\u{feff}{text}");
        assert_eq!(sightings(&read(&marked)), sightings(&read(text)));
    }
}

#[test]
fn a_message_is_short_however_long_what_it_is_about() {
    let long = "x".repeat(1 << 20);
    let cases = [
        format!(r#"{{"nodes": [], "connections": {{"{long}": "{long}"}}}}"#),
        format!(r#"{{"nodes": "{long}", "connections": {{}}}}"#),
        format!(r#"[{{"ssh": "a", "rdma": [{long}]}}]"#),
    ];
    for text in cases {
        let message = refusal(&text);
        assert!(message.len() < 1000, "{} bytes", message.len());
    }
}
