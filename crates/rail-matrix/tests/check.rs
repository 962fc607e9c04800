//! Checks of matrices made by other programs: what would hang, fall back, fail or be
//! wasted.

use proptest::prelude::*;
use rail_matrix::{
    Backend, Exo, Jaccl, Options, Rdma, RdmaOff, Topology, Unfit,
    check::{self, Existing, Finding, Outcome, Rule, Verdict, check},
    plan,
    write::Output,
};
use serde_json::{Value, json};

const NEW: [u32; 3] = [0, 32, 4];

/// One direction of a cable in exo's form: node, device, node, device.
type Edge<'a> = (&'a str, &'a str, &'a str, &'a str);

/// The matrices that exo's three functions make of the edges that they see.
mod exo {
    use super::*;

    fn towards<'a>(edges: &'a [Edge<'a>], from: &'a str, to: &'a str) -> Vec<&'a str> {
        let between = edges.iter().filter(|edge| (edge.0, edge.2) == (from, to));
        between.map(|edge| edge.1).collect()
    }

    fn rows(nodes: &[&str], cell: impl Fn(&str, &str) -> Value) -> Value {
        let row = |i: &&str| nodes.iter().map(|j| cell(i, j)).collect::<Value>();
        nodes.iter().map(row).collect()
    }

    /// The main branch: the first edge of each direction, by itself.
    pub fn main(nodes: &[&str], edges: &[Edge<'_>]) -> Value {
        rows(nodes, |i, j| json!(towards(edges, i, j).first()))
    }

    /// Pull request 2160: the sorted union of both directions.
    pub fn pr_2160(nodes: &[&str], edges: &[Edge<'_>]) -> Value {
        rows(nodes, |i, j| {
            let (low, high) = (i.min(j), i.max(j));
            let pair = |edge: &Edge<'_>| match (edge.0, edge.2) {
                (from, to) if (from, to) == (low, high) => {
                    Some((edge.1.to_owned(), edge.3.to_owned()))
                }
                (from, to) if (from, to) == (high, low) => {
                    Some((edge.3.to_owned(), edge.1.to_owned()))
                }
                _ => None,
            };
            let mut links: Vec<_> = edges.iter().filter_map(pair).collect();
            links.sort();
            links.dedup();
            let own = |(on_low, on_high): (String, String)| if i < j { on_low } else { on_high };
            links.into_iter().map(own).collect()
        })
    }

    /// Pull request 2195: each direction by itself, cut to the smallest number of all
    /// pairs.
    pub fn pr_2195(nodes: &[&str], edges: &[Edge<'_>]) -> Value {
        let pairs = nodes.iter().flat_map(|i| nodes.iter().map(move |j| (i, j)));
        let counts = pairs.filter(|(i, j)| i != j);
        let fewest = counts
            .map(|(i, j)| towards(edges, i, j).len())
            .min()
            .unwrap();
        rows(nodes, |i, j| match i == j {
            true => Value::Null,
            false => json!(towards(edges, i, j)[..fewest]),
        })
    }
}

/// Both directions of a cable.
fn cable<'a>(a: &'a str, on_a: &'a str, b: &'a str, on_b: &'a str) -> [Edge<'a>; 2] {
    [(a, on_a, b, on_b), (b, on_b, a, on_a)]
}

fn topology(edges: &[Edge<'_>]) -> Topology {
    let mut topology = Topology::new();
    for (a, on_a, b, on_b) in edges {
        let [from, to] = [(a, on_a), (b, on_b)].map(|(node, device)| {
            let id = topology.node(node);
            let id = id.unwrap_or_else(|| topology.add_node(node));
            topology.port(id, device)
        });
        topology.sight(from, to);
    }
    topology
}

/// Reads a matrix in exo's form, between these nodes.
fn instance(nodes: &[&str], matrix: &Value) -> Existing {
    let shards = nodes.iter().enumerate().map(|(rank, node)| {
        let shard = json!({"TensorShardMetadata": {"deviceRank": rank, "worldSize": nodes.len()}});
        (format!("runner of {node}"), shard)
    });
    let runners = nodes
        .iter()
        .map(|node| ((*node).to_owned(), json!(format!("runner of {node}"))));
    let instance = json!({"MlxJacclInstance": {
        "instanceId": "one",
        "shardAssignments": {
            "modelId": "some model",
            "nodeToRunner": runners.collect::<serde_json::Map<_, _>>(),
            "runnerToShard": shards.collect::<serde_json::Map<_, _>>(),
        },
        "jacclDevices": matrix,
    }});
    let document = check::read(instance.to_string().as_bytes()).unwrap();
    let [existing] = &document.matrices[..] else {
        panic!("one matrix");
    };
    existing.clone()
}

fn judged(nodes: &[&str], matrix: &Value, edges: &[Edge<'_>], mlx: [u32; 3]) -> Verdict {
    let existing = instance(nodes, matrix);
    check(&existing, Some(&topology(edges)), None, &Jaccl::of(mlx)).unwrap()
}

/// The findings without the sentences: `hangs (0, 1)[0] OneCable`.
fn brief(findings: &[Finding]) -> Vec<String> {
    let found = findings
        .iter()
        .filter(|finding| finding.rule() != Rule::Told);
    let brief = found.map(|finding| {
        let cell = finding
            .cell
            .map_or_else(String::new, |cell| format!("{cell} "));
        format!("{} {cell}{:?}", finding.outcome, finding.rule())
    });
    brief.collect()
}

fn alone(cells: Value) -> Existing {
    check::read(cells.to_string().as_bytes())
        .unwrap()
        .matrices
        .remove(0)
}

/// Without a topology.
fn shape(cells: Value, wanted: Option<Backend>, mlx: [u32; 3]) -> Verdict {
    check(&alone(cells), None, wanted, &Jaccl::of(mlx)).unwrap()
}

fn sentence(findings: &[Finding], rule: Rule) -> String {
    findings
        .iter()
        .find(|finding| finding.rule() == rule)
        .unwrap()
        .sentence()
}

#[test]
fn two_nodes_with_crossed_cables() {
    // Each node lists its own interfaces in their order.
    let edges = [
        ("a", "en6", "b", "en7"),
        ("a", "en7", "b", "en6"),
        ("b", "en6", "a", "en7"),
        ("b", "en7", "a", "en6"),
    ];
    let nodes = ["a", "b"];
    for mlx in [[0, 31, 2], NEW] {
        let main = judged(&nodes, &exo::main(&nodes, &edges), &edges, mlx);
        assert_eq!(
            (main.backend, main.ring_variable),
            (Some(Backend::Mesh), false)
        );
        assert_eq!(brief(&main.findings), ["hangs (0, 1)[0] OneCable"]);
        assert_eq!(
            main.findings[0].sentence(),
            "crossed: a:en6 is paired with b:en6, and its cable leads to b:en7: everything that \
             passes it hangs, from the first message on"
        );

        let pr_2160 = judged(&nodes, &exo::pr_2160(&nodes, &edges), &edges, mlx);
        assert_eq!(pr_2160.backend, Some(Backend::Ring));
        assert_eq!(pr_2160.findings, []);

        let pr_2195 = judged(&nodes, &exo::pr_2195(&nodes, &edges), &edges, mlx);
        assert_eq!(pr_2195.backend, Some(Backend::Ring));
        assert_eq!(
            brief(&pr_2195.findings),
            ["hangs (0, 1)[0] OneCable", "hangs (0, 1)[1] OneCable"]
        );
        // It is unknown whether it sets the variable.
        assert!(sentence(&pr_2195.findings, Rule::Told).contains("judged with MLX_JACCL_RING"));
    }
}

#[test]
fn a_triangle_with_three_two_and_one_cables() {
    let cables = [
        cable("a", "en1", "b", "en1"),
        cable("a", "en2", "b", "en2"),
        cable("a", "en3", "b", "en3"),
        cable("b", "en4", "c", "en4"),
        cable("b", "en5", "c", "en5"),
        cable("c", "en6", "a", "en6"),
    ];
    let (edges, nodes) = (cables.concat(), ["a", "b", "c"]);
    for mlx in [[0, 31, 2], NEW] {
        for matrix in [exo::main(&nodes, &edges), exo::pr_2195(&nodes, &edges)] {
            let verdict = judged(&nodes, &matrix, &edges, mlx);
            assert_eq!(verdict.backend, Some(Backend::Mesh));
            assert_eq!(
                brief(&verdict.findings),
                ["wasted (0, 1) Used", "wasted (1, 2) Used"]
            );
            assert!(verdict.is_safe());
        }
        let pr_2160 = judged(&nodes, &exo::pr_2160(&nodes, &edges), &edges, mlx);
        assert_eq!(
            (pr_2160.backend, pr_2160.ring_variable),
            (Some(Backend::Mesh), true)
        );
        assert_eq!(
            brief(&pr_2160.findings),
            [
                "falls back (0, 2) RingCounts",
                "falls back (1, 2) RingCounts",
                "falls back (2, 0) RingCounts",
                "falls back (2, 1) RingCounts",
                "wasted (0, 1) Opened",
                "wasted (1, 2) Opened",
            ]
        );
        assert_eq!(
            pr_2160.findings[0].sentence(),
            "1 device here and 3 in (0, 1): a ring has as many in every cell of neighbours, so \
             jaccl makes a mesh, and nothing says so"
        );
    }
}

#[test]
fn five_cables_between_two_nodes() {
    let devices = ["en1", "en2", "en3", "en4", "en5"];
    let cables = devices.map(|device| cable("a", device, "b", device));
    let (edges, nodes) = (cables.concat(), ["a", "b"]);
    for mlx in [[0, 31, 2], NEW] {
        let main = judged(&nodes, &exo::main(&nodes, &edges), &edges, mlx);
        assert_eq!(brief(&main.findings), ["wasted (0, 1) Used"]);
        assert!(main.findings[0].sentence().contains("a:en5 = b:en5"));
        for matrix in [exo::pr_2160(&nodes, &edges), exo::pr_2195(&nodes, &edges)] {
            let verdict = judged(&nodes, &matrix, &edges, mlx);
            assert_eq!(brief(&verdict.findings), ["fails (0, 1) RailCount"]);
            assert!(!verdict.is_safe());
        }
    }
}

/// a:en6 was moved from b:en7 to c, and b has not reported since.
#[test]
fn an_edge_that_one_node_still_states() {
    let stale = ("b", "en7", "a", "en6");
    let cables = [cable("a", "en5", "b", "en5"), cable("a", "en6", "c", "en5")];
    let edges = [&[stale], &cables.concat()[..]].concat();
    let nodes = ["a", "b"];
    let main = judged(&nodes, &exo::main(&nodes, &edges), &edges, NEW);
    assert_eq!(brief(&main.findings), ["hangs (1, 0)[0] Plugged"]);
    assert!(
        main.findings[0]
            .sentence()
            .ends_with("from the first message on")
    );

    let old = judged(&nodes, &exo::pr_2160(&nodes, &edges), &edges, [0, 31, 2]);
    assert_eq!(
        brief(&old.findings),
        ["hangs (0, 1)[1] RightNode", "hangs (1, 0)[1] Plugged"]
    );
    assert_eq!(
        old.findings[0].sentence(),
        "the cable in 'en6' of 'a' (a:en6 = c:en5) leads to c:en5 and not to 'b': send, \
         all_gather and all-reduces above 64 KiB hang; smaller all-reduces use rail 0 alone and \
         pass"
    );
    let new = judged(&nodes, &exo::pr_2160(&nodes, &edges), &edges, NEW);
    assert!(new.findings[0].sentence().contains("above 32 KiB"));

    let pr_2195 = judged(&nodes, &exo::pr_2195(&nodes, &edges), &edges, NEW);
    assert_eq!(brief(&pr_2195.findings)[0], "hangs (1, 0)[0] Plugged");
}

/// b has not reported, so it is unknown whether the cable is there.
#[test]
fn a_cable_that_one_end_alone_states_is_not_judged() {
    let edges = [("a", "en5", "b", "en5")];
    let verdict = judged(
        &["a", "b"],
        &json!([[null, "en5"], ["en5", null]]),
        &edges,
        NEW,
    );
    assert_eq!(brief(&verdict.findings), ["note (0, 1)[0] Plugged"]);
    let said = sentence(&verdict.findings, Rule::Plugged);
    assert!(said.starts_with("cannot be judged: a:en5 is said to lead to b:en5, and b:en5 says"));
    assert!(verdict.is_safe());

    let other = judged(
        &["a", "b"],
        &json!([[null, "en5"], ["en6", null]]),
        &[edges[0], ("b", "en6", "c", "en1")],
        NEW,
    );
    assert_eq!(
        brief(&other.findings),
        ["hangs (0, 1)[0] Plugged", "hangs (1, 0)[0] Plugged"]
    );
    let said = other.findings[1].sentence();
    assert!(said.starts_with("b:en6 is said to lead to c:en1, and c:en1 says nothing of it"));
}

#[test]
fn a_device_on_two_cables_is_told_of_as_such() {
    let edges = [cable("a", "en5", "b", "en5"), cable("a", "en5", "b", "en6")].concat();
    let matrix = json!([[null, "en5"], ["en5", null]]);
    let verdict = judged(&["a", "b"], &matrix, &edges, NEW);
    assert_eq!(brief(&verdict.findings)[0], "hangs (0, 1)[0] Plugged");
    let said = verdict.findings[0].sentence();
    assert!(said.starts_with("a:en5 is the end of 2 cables"), "{said}");
}

#[test]
fn many_findings_of_a_rule_are_counted() {
    let names: Vec<_> = (0..8).map(|node| format!("n{node}")).collect();
    let nodes: Vec<_> = names.iter().map(String::as_str).collect();
    let cell = |i: usize, j: usize| (i != j).then(|| format!("en{j}"));
    let row = |i| (0..8).map(|j| json!(cell(i, j))).collect::<Value>();
    let matrix: Value = (0..8).map(row).collect();
    let edges: Vec<_> = nodes.iter().map(|node| (*node, "x", "n0", "y")).collect();
    let verdict = judged(&nodes, &matrix, &edges, NEW);
    assert_eq!(verdict.findings.len(), 17);
    assert_eq!(
        verdict.findings[16].sentence(),
        "and 40 more devices of which nothing is known on their node"
    );
}

#[test]
fn a_later_wire_of_a_mesh_hangs_large_messages_where_it_is_opened() {
    let edges = [cable("a", "en1", "b", "en1"), cable("a", "en2", "b", "en2")].concat();
    let both = instance(
        &["a", "b"],
        &json!([[[], ["en1", "en2"]], [["en1", "en3"], []]]),
    );
    let mut wider = topology(&edges);
    let b = wider.node("b").unwrap();
    wider.port(b, "en3");
    let verdict = |mlx| check(&both, Some(&wider), Some(Backend::Mesh), &Jaccl::of(mlx)).unwrap();
    assert_eq!(
        brief(&verdict([0, 31, 2]).findings),
        ["wasted (0, 1) Opened"]
    );
    let new = verdict(NEW);
    assert_eq!(brief(&new.findings), ["hangs (1, 0)[1] Plugged"]);
    assert!(
        new.findings[0]
            .sentence()
            .contains("messages of 512 KiB and more hang")
    );
}

#[test]
fn what_the_topology_knows_of_nodes_and_devices_counts() {
    let edges = cable("a", "en1", "b", "en1");
    let nodes = ["a", "b"];
    let unknown = judged(&nodes, &json!([[null, "en9"], ["en1", null]]), &edges, NEW);
    assert_eq!(brief(&unknown.findings), ["fails (0, 1)[0] OnNode"]);

    let matrix = instance(&nodes, &json!([[null, "en1"], ["en1", null]]));
    let verdict = |topology: &Topology| {
        let verdict = check(&matrix, Some(topology), None, &Jaccl::default()).unwrap();
        brief(&verdict.findings)
    };
    let sound = topology(&edges);
    assert!(verdict(&sound).is_empty());
    let (a, mut slow) = (sound.node("a").unwrap(), sound.clone());
    let port = slow.find_port(a, "en1").unwrap();
    slow.set_unfit(port, Unfit::PortDown);
    assert_eq!(verdict(&slow)[0], "fails (0, 1)[0] Fit");
    let mut off = sound.clone();
    off.set_rdma(a, Rdma::Off(RdmaOff::Disabled));
    assert_eq!(verdict(&off), ["fails Fit"]);
    let mut bridged = sound;
    bridged.set_bridged(a, true);
    assert_eq!(
        verdict(&bridged),
        ["note Fit"],
        "nothing tells its addresses"
    );
}

#[test]
fn what_is_no_matrix_of_jaccls_says_so() {
    let fails = |cells: Value| {
        let verdict = shape(cells, None, NEW);
        assert_eq!(verdict.backend, None);
        brief(&verdict.findings)
    };
    assert_eq!(fails(json!([])), ["fails Ranks"]);
    assert_eq!(fails(json!([[null]])), ["fails Ranks"]);
    assert_eq!(fails(json!([[null, "x"], ["x"]])), ["fails Square"]);
    // A chain of three is neither.
    let chain = json!([[null, "x", null], ["x", null, "y"], [null, "y", null]]);
    assert_eq!(
        fails(chain),
        [
            "fails (0, 2) RingCounts",
            "fails (0, 2) MeshCells",
            "fails (2, 0) RingCounts",
            "fails (2, 0) MeshCells",
        ]
    );
    // Only a mesh requires an empty diagonal, and these counts are no ring's.
    let diagonal = json!([["x", "x"], [["x", "y"], null]]);
    assert_eq!(
        fails(diagonal),
        ["fails (0, 0) MeshCells", "fails (1, 0) RingCounts"]
    );
}

#[test]
fn jaccl_takes_what_is_valid_and_not_what_is_wanted() {
    let square = |chord: &Value| {
        json!([
            [null, "r", chord, "l"],
            ["l", null, "r", chord],
            [chord, "l", null, "r"],
            ["r", chord, "l", null]
        ])
    };
    let ring = square(&Value::Null);
    let unasked = shape(ring.clone(), None, NEW);
    assert_eq!(
        (unasked.backend, unasked.ring_variable),
        (Some(Backend::Ring), false)
    );
    assert!(unasked.is_safe());
    assert_eq!(
        sentence(&unasked.findings, Rule::MeshCells),
        "no device, and a mesh has one towards every rank, so jaccl makes a ring, and nothing says so"
    );
    let wanted = shape(ring, Some(Backend::Mesh), NEW);
    assert!(!wanted.is_safe());
    assert_eq!(wanted.findings[0].outcome, Outcome::FallsBack);

    let chords = shape(square(&json!("c")), Some(Backend::Ring), NEW);
    assert_eq!(chords.backend, Some(Backend::Ring));
    let brief = brief(&chords.findings);
    assert_eq!(brief, ["wasted (0, 2) Opened", "wasted (1, 3) Opened"]);

    let empty = shape(json!([[[], []], [[], []]]), None, NEW);
    assert_eq!(empty.findings[0].rule(), Rule::RailCount);
    assert_eq!(empty.findings[0].outcome, Outcome::Fails);

    let nine: Value = (0..9)
        .map(|i| {
            (0..9)
                .map(|j| {
                    if i == j {
                        Value::Null
                    } else {
                        json!(format!("en{j}"))
                    }
                })
                .collect::<Value>()
        })
        .collect();
    let nine = shape(nine, None, NEW);
    assert_eq!(nine.backend, Some(Backend::Mesh));
    assert_eq!(
        nine.findings[0].sentence(),
        "a mesh of 9 ranks; jaccl joins at most 8 so and refuses"
    );
}

#[test]
fn a_device_is_the_end_of_one_cable() {
    let twice = |cells: Value| brief(&shape(cells, Some(Backend::Ring), NEW).findings);
    // Both ends alike: two queue pairs over one cable.
    let alike = json!([[[], ["en1", "en1"]], [["en2", "en2"], []]]);
    assert_eq!(
        twice(alike),
        ["wasted (0, 1)[1] Once", "wasted (1, 0)[1] Once"]
    );
    let apart = json!([[[], ["en1", "en1"]], [["en2", "en3"], []]]);
    assert_eq!(twice(apart), ["hangs (0, 1)[1] Once"]);
    let two_peers = json!([
        [[], ["en1"], ["en1"]],
        [["en1"], [], ["en2"]],
        [["en1"], ["en2"], []]
    ]);
    let verdict = shape(two_peers, Some(Backend::Ring), NEW);
    assert_eq!(brief(&verdict.findings), ["hangs (0, 2)[0] Once"]);
    assert!(
        verdict.findings[0]
            .sentence()
            .starts_with("'en1' of 'rank 0' is in (0, 1)[0] and (0, 2)[0]; ")
    );
    let nameless = json!([[[], [""]], [["en1"], []]]);
    assert_eq!(twice(nameless), ["fails (0, 1)[0] Named"]);
}

#[test]
fn without_a_topology_that_is_said() {
    let verdict = shape(
        json!([[[], ["en1", "en2"]], [["en1", "en2"], []]]),
        None,
        NEW,
    );
    assert!(verdict.is_safe());
    let told: Vec<_> = verdict
        .findings
        .iter()
        .map(|finding| (finding.outcome, finding.rule()))
        .collect();
    assert_eq!(
        told,
        [(Outcome::Note, Rule::Told), (Outcome::Note, Rule::Told)]
    );
    assert!(
        verdict
            .findings
            .iter()
            .any(|f| f.sentence().contains("crossed ones hang"))
    );
}

#[test]
fn rows_without_names_are_taken_for_the_nodes_in_their_order_and_that_is_said() {
    let cabling = topology(&cable("a", "en1", "b", "en2"));
    let nameless = alone(json!([[null, "en1"], ["en2", null]]));
    let judged = |existing: &Existing| {
        let verdict = check(
            existing,
            Some(&cabling),
            Some(Backend::Mesh),
            &Jaccl::of(NEW),
        );
        verdict.unwrap().findings
    };
    let found = judged(&nameless);
    assert!(sentence(&found, Rule::Told).contains("in their order: 'a', 'b'; where"));
    let named =
        alone(json!([[null, "en2"], ["en1", null]])).with_nodes(vec!["b".into(), "a".into()]);
    assert_eq!(judged(&named), []);
}

#[test]
fn a_matrix_of_other_nodes_can_be_judged_apart() {
    let cabling = topology(&cable("a", "en1", "b", "en1"));
    let gone = instance(&["a", "z"], &json!([[null, "en1"], ["en1", null]]));
    let jaccl = Jaccl::of(NEW);
    let kept = instance(&["a", "b"], &json!([[null, "en1"], ["en1", null]]));
    let mut document = check::read(b"[[]]").unwrap();
    document.matrices = vec![gone, kept];
    let verdicts = check::check_document(&document, Some(&cabling), None, &jaccl).unwrap();
    let [verdict, kept] = &verdicts[..] else {
        panic!("a verdict for each matrix");
    };
    assert!(kept.is_safe());
    assert!(!verdict.is_safe());
    assert_eq!(brief(&verdict.findings), ["fails Nodes"]);
    assert_eq!(
        sentence(&verdict.findings, Rule::Nodes),
        "there is no node 'z'; there are: a, b"
    );
}

#[test]
fn nodes_and_rows_belong_together() {
    let edges = cable("a", "en1", "b", "en1");
    let three = alone(json!([
        [null, "x", "x"],
        ["x", null, "x"],
        ["x", "x", null]
    ]));
    let refusal = |existing: &Existing| {
        let refused = check(existing, Some(&topology(&edges)), None, &Jaccl::default());
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        refusal(&three),
        "the matrix has 3 rows, and there are 2 nodes; name a node for each row, in the order of \
         the rows"
    );
    let strangers =
        alone(json!([[null, "en1"], ["en1", null]])).with_nodes(vec!["a".into(), "z".into()]);
    assert_eq!(refusal(&strangers), "there is no node 'z'; there are: a, b");
}

#[test]
fn documents_tell_what_their_reader_does() {
    let nodes = ["n1", "n2"];
    let ring_variable = |cells: Value| instance(&nodes, &cells).ring_variable;
    assert_eq!(
        ring_variable(json!([[null, "x"], ["x", null]])),
        Some(false)
    );
    assert_eq!(
        ring_variable(json!([[[], ["x"]], [["x"], []]])),
        Some(false)
    );
    assert_eq!(
        ring_variable(json!([[[], ["x", "y"]], [["x", "y"], []]])),
        Some(true)
    );
    assert_eq!(ring_variable(json!([[null, ["x"]], [["x"], null]])), None);
    let one = instance(&nodes, &json!([[null, "x"], ["x", null]]));
    assert_eq!(one.name.as_deref(), Some("one"));
    assert_eq!(one.nodes, Some(vec!["n1".into(), "n2".into()]));

    let hosts = json!({"backend": "jaccl-ring", "hosts": [
        {"ssh": "h1", "ips": [], "rdma": [null, ["x", "y"]]},
        {"ssh": "h2", "rdma": ["z", null]}
    ]});
    let hosts = alone(hosts);
    assert_eq!(hosts.ring_variable, Some(true));
    assert_eq!(hosts.nodes, Some(vec!["h1".into(), "h2".into()]));
    assert_eq!(
        hosts.cells,
        [
            [vec![], vec!["x".to_owned(), "y".into()]],
            [vec!["z".into()], vec![]]
        ]
    );

    let older = json!({"ibvDevices": [[null, "x"], ["x", null]], "ibvCoordinators": {}});
    assert_eq!(alone(older).cells[0][1], ["x"]);
    let marked = b"\xef\xbb\xbf[[null,\"x\"],[\"x\",null]]";
    assert_eq!(check::read(marked).unwrap().matrices[0].cells[1][0], ["x"]);
}

#[test]
fn a_state_has_its_own_cabling_and_its_jaccl_instances() {
    let state = json!({
        "topology": {
            "nodes": ["n1", "n2"],
            "connections": {
                "n1": {"n2": [{"sourceRdmaIface": "x", "sinkRdmaIface": "y"}]},
                "n2": {"n1": [{"sourceRdmaIface": "y", "sinkRdmaIface": "x"}]}
            }
        },
        "instances": {
            "plain": {"MlxRingInstance": {"hostsByNode": {}}},
            "second": {"MlxJacclInstance": {
                "shardAssignments": {
                    "nodeToRunner": {"n2": "r0", "n1": "r1"},
                    "runnerToShard": {
                        "r1": {"PipelineShardMetadata": {"deviceRank": 1}},
                        "r0": {"PipelineShardMetadata": {"deviceRank": 0}}
                    }
                },
                "jacclDevices": [[null, "y"], ["x", null]]
            }}
        }
    });
    let document = check::read(state.to_string().as_bytes()).unwrap();
    let [second] = &document.matrices[..] else {
        panic!("one instance of jaccl's");
    };
    assert_eq!(second.name.as_deref(), Some("second"));
    assert_eq!(second.nodes, Some(vec!["n2".into(), "n1".into()]));
    let topology = document.topology.unwrap();
    let verdict = check(second, Some(&topology), None, &Jaccl::default()).unwrap();
    assert_eq!(verdict.findings, []);
}

#[test]
fn documents_that_are_none_name_the_place() {
    let refusal = |text: &str| check::read(text.as_bytes()).unwrap_err().to_string();
    for (text, place) in [
        ("", "nothing in it"),
        ("[[null,", "cut off"),
        ("7", "a list of rows"),
        (
            "[[null, 7]]",
            "[0][1]: expected null, a device or a list of devices",
        ),
        ("[[null, [7]]]", "[0][1][0]: expected a string"),
        ("{}", "expected jacclDevices"),
        (
            r#"{"instances": {}}"#,
            "instances: no instance here uses jaccl",
        ),
        (
            r#"{"instances": {"i": {"MlxJacclInstance": {}}}}"#,
            "instances.i.MlxJacclInstance: expected jacclDevices",
        ),
        (
            r#"{"jacclDevices": [[null]], "shardAssignments": {"nodeToRunner": {"n": "r"}, "runnerToShard": {"r": {"T": {"deviceRank": 1}}}}}"#,
            "a node for the deviceRank of every row",
        ),
        (r#"{"hosts": [{"rdma": []}]}"#, "hosts[0]"),
    ] {
        let message = refusal(text);
        assert!(message.contains(place), "{text}: {message}");
    }
    let devices: Value = (0..1025).map(|_| json!("x")).collect();
    assert_eq!(
        refusal(&json!([[null, devices]]).to_string()),
        "row 0, cell 1: expected at most 1024 devices, found 1025"
    );
    assert!(
        check::read(b"[[\xff]]")
            .unwrap_err()
            .to_string()
            .contains("byte 2")
    );
}

#[test]
fn reports_are_for_people_and_for_programs() {
    let edges = cable("a", "en1", "b", "en1");
    let nodes = ["a", "b"];
    let crossed = instance(&nodes, &json!([[null, "en9\n"], ["en1", null]]));
    let jaccl = Jaccl::of(NEW);
    let verdict = check(&crossed, Some(&topology(&edges)), None, &jaccl).unwrap();
    let checked = [(crossed, verdict)];
    let markdown = check::markdown(&checked, &jaccl);
    assert!(markdown.starts_with("instance one\n\n2 ranks, MLX_JACCL_RING not set, MLX 0.32.4: jaccl makes a mesh\n\n- fails (0, 1)[0]: nothing is known of a device 'en9\\n' on 'a'"), "{markdown}");
    let json: Value = serde_json::from_str(&check::json(&checked, &jaccl)).unwrap();
    assert_eq!(json["schema"], "mlx-rails/matrix-check/2");
    assert_eq!(json["safe"], false);
    let finding = &json["matrices"][0]["findings"][0];
    assert_eq!(finding["outcome"], "fails");
    assert_eq!(finding["rule"], "on-node");
    assert_eq!(finding["cell"], json!({"from": 0, "to": 1, "rail": 0}));
}

/// Nodes with 0 to 5 cables for each pair, each device used once.
fn topologies() -> impl Strategy<Value = Topology> {
    (2..=6_usize).prop_flat_map(|nodes| {
        let pairs: Vec<_> = (0..nodes)
            .flat_map(|b| (0..b).map(move |a| (a, b)))
            .collect();
        let counts = prop::collection::vec((0..=5_usize, any::<u8>()), pairs.len());
        counts.prop_map(move |counts| {
            let mut topology = Topology::new();
            let ids: Vec<_> = (0..nodes)
                .map(|n| topology.add_node(&format!("n{n}")))
                .collect();
            for (&(a, b), &(count, shuffle)) in pairs.iter().zip(&counts) {
                for k in 0..count {
                    let on_a = topology.port(ids[a], &format!("{b}-{k}"));
                    let twist = (k + usize::from(shuffle)) % 5;
                    let on_b = topology.port(ids[b], &format!("{a}-{twist}"));
                    topology.sight(on_a, on_b);
                    topology.sight(on_b, on_a);
                }
            }
            topology
        })
    })
}

fn any_cells() -> impl Strategy<Value = Value> {
    let device = prop_oneof![Just(""), Just("0-0"), Just("1-0"), Just("1-1"), Just("2-0")];
    let cell = prop_oneof![
        Just(Value::Null),
        device.clone().prop_map(Value::from),
        prop::collection::vec(device, 0..6).prop_map(Value::from),
    ];
    let row = prop::collection::vec(cell, 0..5);
    prop::collection::vec(row, 0..5).prop_map(Value::from)
}

proptest! {
    /// The check and the planner were written separately: a plan passes the check.
    #[test]
    fn every_plan_is_safe(topology in topologies(), new in any::<bool>()) {
        let jaccl = Jaccl::of(if new { NEW } else { [0, 31, 2] });
        let options = Options::default().jaccl(jaccl);
        let Ok(plan) = plan(&topology, &options) else { return Ok(()) };
        let existing = alone(serde_json::from_str(&plan.matrix.to_jaccl_json()).unwrap()).with_nodes(plan.nodes.iter().map(|node| node.name.clone()).collect());
        let verdict = check(&existing, Some(&topology), Some(plan.backend), &jaccl).unwrap();
        prop_assert_eq!(verdict.backend, Some(plan.backend));
        prop_assert!(verdict.is_safe(), "{:?}", verdict.findings);
        let idle = |finding: &&Finding| finding.rule() != Rule::Used;
        prop_assert_eq!(verdict.findings.iter().filter(idle).count(), 0);
    }

    /// A shape carries a plan if exo and jaccl make the planned group of it.
    #[test]
    fn what_a_shape_of_exos_carries_is_safe(topology in topologies(), new in any::<bool>()) {
        let jaccl = Jaccl::of(if new { NEW } else { [0, 31, 2] });
        let options = Options::default().jaccl(jaccl);
        for exo in [Exo::Main, Exo::Pr2160, Exo::Pr2195] {
            let carried = options.clone().carried_by(exo);
            let Ok(plan) = plan(&topology, &carried) else { continue };
            let nodes: Vec<_> = plan.nodes.iter().map(|node| &*node.name).collect();
            let matrix = serde_json::from_str(&Output::Exo(exo).write(&topology, &plan, "").unwrap()).unwrap();
            let existing = instance(&nodes, &matrix);
            // It is unknown what the reader of the last shape does.
            let wanted = (exo == Exo::Pr2195).then_some(plan.backend);
            let verdict = check(&existing, Some(&topology), wanted, &jaccl).unwrap();
            prop_assert_eq!(verdict.backend, Some(plan.backend), "{}", exo);
            prop_assert!(verdict.is_safe(), "{}: {:?}", exo, verdict.findings);
        }
    }

    #[test]
    fn any_matrix_is_judged(cells in any_cells(), topology in topologies(), ring in any::<Option<bool>>()) {
        let wanted = ring.map(|ring| if ring { Backend::Ring } else { Backend::Mesh });
        for known in [None, Some(&topology)] {
            for mlx in [[0, 31, 2], NEW] {
                if let Ok(verdict) = check(&alone(cells.clone()), known, wanted, &Jaccl::of(mlx)) {
                    let fails = |finding: &Finding| finding.outcome == Outcome::Fails;
                    prop_assert!(verdict.backend.is_some() || verdict.findings.iter().any(fails));
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = check::read(&bytes);
    }

    #[test]
    fn any_cut_of_a_document_is_read_or_refused(at in 0..200_usize) {
        let text = r#"{"instances":{"i":{"MlxJacclInstance":{"jacclDevices":[[null,["x"]],[["x"],null]],"shardAssignments":{"nodeToRunner":{"n":"r"},"runnerToShard":{"r":{"T":{"deviceRank":0}}}}}}}}"#;
        prop_assume!(at < text.len());
        prop_assert!(check::read(&text.as_bytes()[..at]).is_err());
    }
}
