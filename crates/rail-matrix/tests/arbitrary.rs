//! Every parser accepts any input: it returns a topology that can be planned over, or an
//! error of readable length.

use proptest::{collection::vec, prelude::*, sample::select};
use rail_matrix::{
    Backend, Jaccl, Options, RankOrder, Topology,
    check::{self, Document},
    plan,
    read::{self, HostReport, Input, ReadError, ReportKind},
};
use serde_json::{Value, json};

const EXO: &str = include_str!("data/exo-state.json");

const HOSTFILE: &str = r#"{"backend": "jaccl", "envs": [], "hosts": [
    {"ssh": "a", "ips": ["192.0.2.1"], "rdma": [null, ["rdma_en6", "rdma_en7"], "rdma_en2"]},
    {"ssh": "b", "ips": [], "rdma": [["rdma_en7", "rdma_en6"], null, "rdma_en3"]},
    {"ssh": "c", "rdma": ["rdma_en2", ["rdma_en3"], []]}
]}"#;

const RIG: &str = r#"
[defaults]
bandwidth = "50 MB/s"
[[node]]
name = "a"
[[node]]
name = "b"
[[cable]]
name = "cable-1"
ends = ["a:rdma_en5", "b:rdma_en5"]
latency = "20 us"
[[fault]]
cable = "cable-1"
kind = "cut"
"#;

const PROFILER: &str = r#"{"SPThunderboltDataType": [
    {"domain_uuid_key": "5A", "device_name_key": "Mac", "receptacle_1_tag":
        {"receptacle_id_key": "1", "current_speed_key": "80 Gb/s"},
     "_items": [{"_items": [{"domain_uuid_key": "5B", "device_name_key": "Mac"}]}]},
    {"domain_uuid_key": "5B", "receptacle_1_tag": {"receptacle_id_key": "2",
        "current_speed_key": "Up to 40 Gb/s", "receptacle_status_key": "receptacle_connected"}}
]}"#;

const RDMA_LINK: &str = r#"[
    {"ifindex": 0, "ifname": "mlx5_0", "port": 1, "state": "ACTIVE", "netdev": "enp1s0"},
    {"ifindex": 1, "ifname": "mlx5_1", "port": 1, "state": "DOWN", "netdev": "enp2s0"}
]"#;

const IP_ADDRESS: &str = r#"[
    {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
    {"ifname": "enp1s0", "addr_info": [{"family": "inet", "local": "192.0.2.1", "prefixlen": 30}]},
    {"ifname": "enp2s0", "addr_info": [{"family": "inet", "local": "192.0.2.2", "prefixlen": 30}]}
]"#;

const DEVICES: &str = r#"[[[], "a", ["b", "c"]], ["a", null, ["d"]], [["c", "b"], "d", []]]"#;

const INSTANCES: &str = r#"{
    "topology": {"nodes": ["x", "y"], "connections": {
        "x": {"y": [{"sourceRdmaIface": "a", "sinkRdmaIface": "b"}]},
        "y": {"x": [{"sourceRdmaIface": "b", "sinkRdmaIface": "a"}]}}},
    "instances": {"i": {"MlxJacclInstance": {
        "instanceId": "i",
        "jacclDevices": [[null, "a"], ["b", null]],
        "shardAssignments": {
            "nodeToRunner": {"x": "r", "y": "s"},
            "runnerToShard": {
                "r": {"TensorShardMetadata": {"deviceRank": 0}},
                "s": {"TensorShardMetadata": {"deviceRank": 1}}}}}}}
}"#;

/// A valid report of each kind.
fn valid(kind: ReportKind) -> &'static str {
    match kind {
        ReportKind::SystemProfiler => PROFILER,
        ReportKind::Networksetup => {
            "Hardware Port: Thunderbolt 1\nDevice: en2\n\nHardware Port: Thunderbolt 2\nDevice: en3\n"
        }
        ReportKind::IbvDevices => "device node GUID\n------ ----\nrdma_en2 0c\n",
        ReportKind::RdmaCtl => "enabled\n",
        ReportKind::Ifconfig => {
            "en2: flags=1<UP> mtu 1500\n\tinet 192.0.2.1\nbridge0: flags=1<UP>\n\tmember: en3\n"
        }
        ReportKind::RdmaLink => RDMA_LINK,
        ReportKind::IpAddress => IP_ADDRESS,
        ReportKind::Rates => "/sys/class/infiniband/mlx5_0/ports/1/rate:100 Gb/sec (4X EDR)\n",
    }
}

/// Does everything that can be done with a description.
fn take(outcome: Result<Topology, ReadError>) {
    let topology = match outcome {
        Ok(topology) => topology,
        Err(error) => {
            let message = error.to_string();
            assert!((1..4000).contains(&message.len()), "{message}");
            return;
        }
    };
    for strict in [false, true] {
        for order in [RankOrder::Pinned, RankOrder::Widest] {
            let options = Options::default().strict(strict).order(order);
            match plan(&topology, &options) {
                Ok(plan) => assert_eq!(plan.matrix.ranks(), plan.nodes.len()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// Does everything that can be done with existing matrices.
fn take_matrices(outcome: Result<Document, ReadError>) {
    let document = match outcome {
        Ok(document) => document,
        Err(error) => return take(Err(error)),
    };
    for existing in &document.matrices {
        for topology in [None, document.topology.as_ref()] {
            for wanted in [None, Some(Backend::Mesh), Some(Backend::Ring)] {
                for jaccl in [Jaccl::of([0, 31, 2]), Jaccl::of([0, 32, 4])] {
                    match check::check(existing, topology, wanted, &jaccl) {
                        Ok(verdict) => {
                            let checked = [(existing.clone(), verdict)];
                            assert!(!check::markdown(&checked, &jaccl).is_empty());
                            assert!(!check::json(&checked, &jaccl).is_empty());
                        }
                        Err(error) => assert!(!error.to_string().is_empty()),
                    }
                }
            }
        }
    }
}

/// Reads the bytes as a description of every kind, as matrices, and as each report of a
/// node that has the others.
fn take_as_anything(bytes: &[u8]) {
    take_matrices(check::read(bytes));
    take(read::read(bytes, None));
    for input in Input::ALL {
        take(read::read(bytes, Some(input)));
    }
    for kind in ReportKind::ALL {
        take(read::reports(&[
            host("a", Some((kind, bytes))),
            host("b", None),
        ]));
    }
}

/// A node with every report of both systems, one of them replaced. The Mac's reports come
/// first, so a Linux report is read only where the Mac's main report is left out.
fn host(name: &str, replaced: Option<(ReportKind, &[u8])>) -> HostReport {
    let system = replaced.map(|(kind, _)| kind.system());
    let kinds = ReportKind::ALL.into_iter();
    let texts = kinds
        .filter(|kind| system.is_none_or(|system| kind.system() == system))
        .map(|kind| match replaced {
            Some((of, bytes)) if of == kind => (kind, bytes.to_owned()),
            _ => (kind, valid(kind).as_bytes().to_owned()),
        });
    HostReport {
        name: name.to_owned(),
        texts: texts.collect(),
    }
}

fn seeds() -> impl Strategy<Value = &'static str> {
    let reports = ReportKind::ALL.map(valid);
    select([&[EXO, HOSTFILE, RIG, DEVICES, INSTANCES][..], &reports].concat())
}

/// Strings with a meaning for the parsers, and unexpected ones.
fn words() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "a",
        "studio-id",
        "rdma_en6",
        "80 Gb/s",
        "Up to 40 Gb/s",
        "1e999 Gb/s",
        "-1 Gb/s",
        "/ip4/192.0.2.9/tcp/1",
        "/ip4",
        "ethernet",
        "ACTIVE",
        "inet",
        "0.0.0.0",
        "\u{0}",
        "\u{1f600}",
        "thunderbolt",
        "a:b",
        "5B",
        "255.255.255.255",
    ])
}

fn values() -> impl Strategy<Value = Value> {
    let keys = select(vec![
        "nodes",
        "connections",
        "topology",
        "hosts",
        "ssh",
        "rdma",
        "ips",
        "_items",
        "ifname",
        "sourceRdmaIface",
        "sinkRdmaIface",
        "domain_uuid_key",
        "prefixlen",
        "addr_info",
        "enabled",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let object = vec((keys.clone(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|entries| entries
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect()),
        ]
    })
}

/// The value of this number, counted from the outermost.
fn nth<'a>(value: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|inner| nth(inner, n)),
        Value::Object(map) => map.values_mut().find_map(|inner| nth(inner, n)),
        _ => None,
    }
}

/// The ways in which the bytes of a document are damaged.
#[derive(Debug, Clone)]
enum Harm {
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, Vec<u8>),
}

fn harms() -> impl Strategy<Value = Harm> {
    let tokens = vec(select(&b"{}[],:\"\\\n=#0e.-/ \xff\xf0"[..]), 1..4);
    prop_oneof![
        any::<usize>().prop_map(Harm::Cut),
        (any::<usize>(), 1..40_usize).prop_map(|(at, len)| Harm::Remove(at, len)),
        (any::<usize>(), 1..80_usize).prop_map(|(at, len)| Harm::Repeat(at, len)),
        (any::<usize>(), tokens).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
    ]
}

impl Harm {
    fn befall(self, bytes: &mut Vec<u8>) {
        let within = |at: usize| at % (bytes.len() + 1);
        match self {
            Self::Cut(at) => bytes.truncate(within(at)),
            Self::Remove(at, len) => {
                let start = within(at);
                bytes.drain(start..bytes.len().min(start + len));
            }
            Self::Repeat(at, len) => {
                let start = within(at);
                let again = bytes[start..bytes.len().min(start + len)].to_vec();
                bytes.splice(start..start, again);
            }
            Self::Insert(at, more) => {
                let start = within(at);
                bytes.splice(start..start, more);
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..200)) {
        take_as_anything(&bytes);
    }

    #[test]
    fn arbitrary_text(text in "\\PC{0,100}") {
        take_as_anything(text.as_bytes());
    }

    #[test]
    fn arbitrary_json(value in values()) {
        take_as_anything(value.to_string().as_bytes());
    }

    #[test]
    fn valid_documents_with_values_replaced(
        seed in seeds(),
        replaced in vec((any::<usize>(), values()), 1..4),
    ) {
        let Ok(mut document) = serde_json::from_str::<Value>(seed) else {
            return Ok(());
        };
        for (at, value) in replaced {
            if let Some(place) = nth(&mut document, &mut (at % 60)) {
                *place = value;
            }
        }
        take_as_anything(document.to_string().as_bytes());
    }

    #[test]
    fn valid_documents_that_came_to_harm(seed in seeds(), harms in vec(harms(), 1..4)) {
        let mut bytes = seed.as_bytes().to_vec();
        for harm in harms {
            harm.befall(&mut bytes);
        }
        take_as_anything(&bytes);
    }

    #[test]
    fn every_edge_between_some_nodes(
        edges in vec((words(), words(), words(), words()), 0..20),
        nodes in vec(words(), 0..6),
        as_triples in any::<bool>(),
    ) {
        let edge = |from: &str, to: &str| json!({"sourceRdmaIface": from, "sinkRdmaIface": to});
        let connections = if as_triples {
            let triples = edges.iter().map(|(a, b, from, to)| json!([a, b, edge(from, to)]));
            triples.collect()
        } else {
            let mut maps = json!({});
            for (a, b, from, to) in &edges {
                maps[a][b] = json!([edge(from, to)]);
            }
            maps
        };
        let document = json!({"nodes": nodes, "connections": connections}).to_string();
        let topology = read::read(document.as_bytes(), None);
        prop_assert!(topology.is_ok(), "{topology:?}");
        take(topology);
    }
}

#[test]
fn the_valid_documents_are() {
    for (seed, input) in [
        (EXO, Input::Exo),
        (HOSTFILE, Input::Hostfile),
        (RIG, Input::Rig),
    ] {
        assert!(read::read(seed.as_bytes(), Some(input)).is_ok());
    }
    for matrices in [HOSTFILE, DEVICES, INSTANCES] {
        assert!(check::read(matrices.as_bytes()).is_ok());
    }
    for kind in ReportKind::ALL {
        let bytes = valid(kind).as_bytes();
        let topology = read::reports(&[host("a", Some((kind, bytes)))]);
        assert!(topology.is_ok(), "{topology:?}");
    }
}
