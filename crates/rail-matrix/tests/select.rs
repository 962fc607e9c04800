//! Selections of a topology's nodes.

mod support;

use rail_matrix::{Options, Problem, RankOrder, SelectError, Topology, Unfit, plan};
use support::end;

/// Three nodes joined pair by pair; `a` and `c` have the label studio.
fn triangle() -> Topology {
    let mut topology = Topology::new();
    let ids = ["a", "b", "c"].map(|name| topology.add_node(name));
    for (id, label) in [(ids[0], "studio"), (ids[1], "mini"), (ids[2], "studio")] {
        topology.set_label(id, label);
    }
    for (k, (i, j)) in [(0, 1), (1, 2), (2, 0)].into_iter().enumerate() {
        let ends = [i, j].map(|node| topology.port(ids[node], &format!("rdma_en{k}")));
        topology.add_cable(&format!("cable-{k}"), ends);
    }
    topology
}

#[test]
fn the_order_of_the_names_is_that_of_the_ranks() {
    let selected = triangle().select(&["c", "mini"]).unwrap();
    let options = Options::default().order(RankOrder::Pinned).strict(true);
    let plan = plan(&selected, &options).unwrap();
    let names: Vec<_> = plan.nodes.iter().map(|node| &*node.name).collect();
    assert_eq!(names, ["c", "b"]);
    assert_eq!(plan.matrix.rails(0, 1), ["cable-1"]);
    assert_eq!(plan.matrix.cell(0, 1), ["rdma_en1"]);
}

#[test]
fn what_is_wrong_elsewhere_does_not_concern_them() {
    let mut topology = triangle();
    let (a, b) = (topology.node("a").unwrap(), topology.node("b").unwrap());
    let (on_a, on_b) = (topology.port(a, "rdma_en9"), topology.port(b, "rdma_en9"));
    let unfit = |device: &str| Problem::UnfitDevice {
        device: end(device),
        why: Unfit::PortDown,
    };
    topology.report(unfit("a:rdma_en9"));
    topology.report(unfit("b:rdma_en9"));
    topology.report(Problem::EmptyNode { position: 4 });
    topology.sight(on_a, on_b);
    let selected = topology.select(&["b", "c"]).unwrap();
    assert_eq!(
        selected.problems(),
        [unfit("b:rdma_en9"), Problem::EmptyNode { position: 4 }]
    );
    assert_eq!(selected.sightings().len(), 2);
}

#[test]
fn a_name_that_will_not_do_is_told_with_those_that_would() {
    let refusal = |names: &[&str]| triangle().select(names).unwrap_err().to_string();
    assert_eq!(
        refusal(&["a", "d"]),
        "there is no node 'd'; there are: a (studio), b (mini), c (studio)"
    );
    assert_eq!(
        refusal(&["b", "studio"]),
        "several nodes are called 'studio': a, c; name the one that is meant"
    );
    assert_eq!(
        triangle().select(&["b", "mini"]).unwrap_err(),
        SelectError::Repeated { node: "b".into() }
    );
}

#[test]
fn a_device_on_two_cables_stays_in_doubt_without_the_node_of_the_second() {
    let mut topology = Topology::new();
    let nodes = ["A", "B", "C"].map(|name| topology.add_node(name));
    let [a, b, c] = nodes.map(|node| topology.port(node, "en5"));
    for (from, to) in [(a, b), (b, a), (a, c), (c, a)] {
        topology.sight(from, to);
    }
    let pair = topology.select(&["A", "B"]).unwrap();
    let said = [Problem::DeviceOnTwoCables {
        device: end("A:en5"),
        cables: vec!["A:en5 = B:en5".into(), "A:en5 = C:en5".into()],
    }];
    assert_eq!(pair.account().problems(), said);
    assert_eq!(topology.account().problems(), said);
    assert!(plan(&pair, &Options::default()).is_err());
}
