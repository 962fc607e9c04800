//! Input of the maximum size, and more of one kind of entry than any real description:
//! each is read, or refused with a short message.

use rail_matrix::{
    Jaccl, Topology, check,
    read::{self, HostReport, Input, MAX_BYTES, MAX_RIG_BYTES, ReadError, ReportKind},
};

/// `before`, as many of `piece(i)` as fit between with commas, and `after`: close to
/// `limit` in all.
fn filled(
    limit: usize,
    before: &str,
    between: &str,
    piece: impl Fn(usize) -> String,
    after: &str,
) -> Vec<u8> {
    let mut text = before.to_owned();
    let room = limit - after.len() - 200;
    for i in 0.. {
        if i > 0 {
            text.push_str(between);
        }
        text.push_str(&piece(i));
        if text.len() > room {
            break;
        }
    }
    text.push_str(after);
    assert!((limit - 1000..=limit).contains(&text.len()));
    text.into_bytes()
}

fn message(outcome: Result<Topology, ReadError>) -> String {
    let Err(error) = outcome else {
        panic!("it was taken");
    };
    let message = error.to_string();
    assert!(message.len() < 4000, "{} bytes", message.len());
    message
}

#[test]
fn exo() {
    let edge = |i| format!(r#"{{"sourceRdmaIface":"a{i}","sinkRdmaIface":"b{i}"}}"#);
    let edges = filled(
        MAX_BYTES,
        r#"{"nodes":["A","B"],"connections":{"A":{"B":["#,
        ",",
        edge,
        "]}}}",
    );
    let topology = read::read(&edges, None).unwrap();
    assert!(topology.sightings().len() > 1_000_000);

    let nodes = filled(
        MAX_BYTES,
        r#"{"connections":{},"nodes":["#,
        ",",
        |i| format!("\"{i}\""),
        "]}",
    );
    assert!(message(read::read(&nodes, None)).contains("more than the 1024"));

    // Every edge is a problem that repeats the name of its source.
    let name = "n".repeat(MAX_BYTES / 4);
    let before = format!(r#"{{"nodes":["{name}"],"connections":{{"{name}":{{"gone":["#);
    let problems = filled(MAX_BYTES, &before, ",", edge, "]}}}");
    let refused = message(read::read(&problems, None));
    assert!(refused.starts_with("nodes[0]: expected a string of at most 512 bytes"));
}

#[test]
fn hostfile() {
    let cell = filled(
        MAX_BYTES,
        r#"{"hosts":[{"ssh":"a","rdma":[null,["#,
        ",",
        |i| format!("\"{i}\""),
        r#"]]},{"ssh":"b"}]}"#,
    );
    let topology = read::read(&cell, None).unwrap();
    assert_eq!(topology.problems().len(), 1);

    let row = filled(
        MAX_BYTES,
        r#"[{"ssh":"a","rdma":["#,
        ",",
        |_| "null".to_owned(),
        "]}]",
    );
    assert!(message(read::read(&row, None)).starts_with("[0].rdma: expected 1 cells"));
}

#[test]
fn rig() {
    let comment = |_| "# ".repeat(40);
    let comments = filled(MAX_BYTES, "[[node]]\n", "\n", comment, "\n");
    assert!(message(read::read(&comments, None)).contains("more than the 8 MiB"));

    let node = |i| format!("[[node]]\nname = \"{i}\"");
    let nodes = filled(MAX_RIG_BYTES, "", "\n", node, "\n");
    assert!(message(read::read(&nodes, None)).contains("more than the 1024"));

    let cable = |i| format!("[[cable]]\nname = \"{i}\"\nends = [\"a:{i}\", \"b:{i}\"]");
    let two = "[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\n";
    let cables = filled(MAX_RIG_BYTES, two, "\n", cable, "\n");
    assert!(read::read(&cables, None).unwrap().sightings().len() > 100_000);

    let fault = |i| format!("[[fault]]\ncable = \"{i}\"\nkind = \"cut\"");
    let some: String = (0..60_000).map(|i| cable(i) + "\n").collect();
    let faults = filled(MAX_RIG_BYTES, &(two.to_owned() + &some), "\n", fault, "\n");
    let refused = message(read::read(&faults, None));
    assert!(refused.contains("fault is on cable '60000'"), "{refused}");
}

#[test]
fn reports() {
    let report = |kind, bytes| {
        let texts = match kind {
            ReportKind::SystemProfiler => vec![(ReportKind::Networksetup, PORTS.into())],
            ReportKind::Networksetup => vec![(ReportKind::SystemProfiler, NO_BUS.into())],
            ReportKind::RdmaLink => vec![(ReportKind::IpAddress, b"[]".into())],
            _ => vec![(ReportKind::RdmaLink, b"[]".into())],
        };
        let texts = texts.into_iter().chain([(kind, bytes)]).collect();
        read::reports(&[HostReport {
            name: "a".to_owned(),
            texts,
        }])
    };

    let bus = |i| {
        format!(
            r#"{{"domain_uuid_key":"{i}","receptacle_1_tag":{{"receptacle_id_key":"1"}},"_items":[{{"domain_uuid_key":"{i}"}}]}}"#
        )
    };
    let buses = filled(MAX_BYTES, r#"{"SPThunderboltDataType":["#, ",", bus, "]}");
    let topology = report(ReportKind::SystemProfiler, buses).unwrap();
    assert!(topology.sightings().len() > 100_000);

    let port = |i| format!("Hardware Port: {i}\nDevice: en{i}");
    let ports = filled(MAX_BYTES, "", "\n", port, "");
    assert!(report(ReportKind::Networksetup, ports).is_ok());

    let device = |i| format!(r#"{{"ifname":"{i}","netdev":"en{i}"}}"#);
    let devices = filled(MAX_BYTES, "[", ",", device, "]");
    let topology = report(ReportKind::RdmaLink, devices).unwrap();
    assert!(topology.problems().len() > 1_000_000);

    let address =
        |i| format!(r#"{{"ifname":"e{i}","addr_info":[{{"family":"inet","local":"192.0.2.1"}}]}}"#);
    let addresses = filled(MAX_BYTES, "[", ",", address, "]");
    assert!(report(ReportKind::IpAddress, addresses).is_ok());
}

const PORTS: &str = "Hardware Port: Thunderbolt 1\nDevice: en2\n";
const NO_BUS: &str = r#"{"SPThunderboltDataType": []}"#;

#[test]
fn matrices() {
    let verdict = |bytes: &[u8]| {
        let document = check::read(bytes).unwrap();
        let existing = document.matrices.into_iter().next().unwrap();
        let verdict = check::check(&existing, None, None, &Jaccl::default()).unwrap();
        assert!(!verdict.is_safe());
        let text = check::markdown(&[(existing, verdict)], &Jaccl::default());
        assert!(!text.is_empty());
    };
    let cell = |name: fn(usize) -> String| filled(MAX_BYTES, "[[[],[", ",", name, "]],[[],[]]]");
    let refused = |bytes: &[u8]| {
        let message = check::read(bytes).unwrap_err().to_string();
        assert!(message.contains("at most 1024 devices"), "{message}");
    };
    refused(&cell(|i| format!("\"{i}\"")));
    refused(&cell(|_| "\"a\"".to_owned()));

    let square = |piece: &str, ranks: usize| {
        let row = format!("[{}]", vec![piece; ranks].join(","));
        format!("[{}]", vec![row; ranks].join(",")).into_bytes()
    };
    verdict(&square("\"a\"", 1024));
    let Err(error) = check::read(&square("[]", 4700)) else {
        panic!("it was taken");
    };
    assert!(error.to_string().contains("more than the 1024"));
}

#[test]
fn deep() {
    let fill = |opening: &str, limit: usize| opening.repeat(limit / opening.len()).into_bytes();
    let deep = |opening: &str| fill(opening, MAX_BYTES - 100);
    for opening in [
        "[",
        "{\"hosts\":",
        "{\"topology\":",
        "[{\"ssh\":",
        "a.",
        "[[node]]\na=[[[",
    ] {
        let bytes = deep(opening);
        message(read::read(&bytes, None));
        for input in Input::ALL {
            message(read::read(&bytes, Some(input)));
        }
    }
    for opening in ["[", "a.", "a=[{", "[[node]]\na=[[["] {
        let bytes = fill(opening, MAX_RIG_BYTES);
        message(read::read(&bytes, Some(Input::Rig)));
    }
    let items = deep(r#"{"_items":["#);
    let profile = [br#"{"SPThunderboltDataType":["#, &items[..]].concat();
    let texts = vec![
        (ReportKind::SystemProfiler, profile),
        (ReportKind::Networksetup, PORTS.into()),
    ];
    let host = HostReport {
        name: "a".to_owned(),
        texts,
    };
    assert!(message(read::reports(&[host])).contains("nested too deep"));
}
