//! Plans over rigs and over nodes' statements, and the reasons why there is none.

mod support;

use rail_matrix::{
    Backend, Jaccl, Note, Options, PlanError, Problem, RankOrder, Spare, Topology, plan,
};
use rig::Rig;
use support::end;

/// The topology of a rig whose cables are written `a1 b1`: device 1 of a, device 1 of b.
fn topology(nodes: &[&str], cables: &[&str]) -> Topology {
    let mut topology = Topology::new();
    for node in nodes {
        topology.add_node(node);
    }
    for (c, cable) in cables.iter().enumerate() {
        let (from, to) = cable.split_once(' ').unwrap();
        let ends = [from, to].map(|end| {
            let node = topology.node(&end[..1]).unwrap();
            topology.port(node, end)
        });
        topology.add_cable(&format!("cable-{}", c + 1), ends);
    }
    topology
}

fn ring() -> Options {
    Options::default().backend(Backend::Ring)
}

fn names(plan: &rail_matrix::Plan) -> Vec<&str> {
    plan.nodes.iter().map(|node| &*node.name).collect()
}

#[test]
fn two_nodes_with_crossed_cables_are_aligned() {
    let mut crossed = Topology::new();
    let (a, b) = (crossed.add_node("A"), crossed.add_node("B"));
    for (on_a, on_b) in [("rdma_en6", "rdma_en7"), ("rdma_en7", "rdma_en6")] {
        let (on_a, on_b) = (crossed.port(a, on_a), crossed.port(b, on_b));
        crossed.sight(on_b, on_a);
        crossed.sight(on_a, on_b);
    }
    let plan = plan(&crossed, &Options::default()).unwrap();
    assert_eq!(plan.backend, Backend::Ring);
    assert_eq!(plan.matrix.cell(0, 1), ["rdma_en6", "rdma_en7"]);
    assert_eq!(plan.matrix.cell(1, 0), ["rdma_en7", "rdma_en6"]);
    assert_eq!(plan.matrix.rails(0, 1)[0], "A:rdma_en6 = B:rdma_en7");
}

#[test]
fn a_triangle_of_3_2_1_cables_has_one_rail_a_link_and_says_what_is_spare() {
    let triangle = topology(
        &["a", "b", "c"],
        &["a1 b1", "a2 b2", "a3 b3", "b4 c1", "b5 c2", "a4 c3"],
    );
    let plan = plan(&triangle, &ring()).unwrap();
    assert_eq!(plan.rails, 1);
    assert!(plan.matrix.is_valid_ring());
    let spare: Vec<_> = plan
        .notes
        .iter()
        .filter(|note| matches!(note, Note::Spare { .. }))
        .collect();
    assert_eq!(
        spare
            .iter()
            .map(|note| note.to_string())
            .collect::<Vec<_>>(),
        [
            "'cable-2', 'cable-3' between 'a' and 'b' not used: every link has as many rails, and the one with the fewest cables has 1",
            "'cable-5' between 'b' and 'c' not used: every link has as many rails, and the one with the fewest cables has 1",
        ]
    );
}

#[test]
fn five_cables_are_four_rails_and_a_spare() {
    let five = topology(&["a", "b"], &["a1 b1", "a2 b2", "a3 b3", "a4 b4", "a5 b5"]);
    let plan = plan(&five, &Options::default()).unwrap();
    assert_eq!(
        plan.matrix.rails(0, 1),
        ["cable-1", "cable-2", "cable-3", "cable-4"]
    );
    assert!(plan.notes.contains(&Note::Spare {
        pair: ["a".into(), "b".into()],
        cables: vec!["cable-5".into()],
        why: Spare::Cap { max_rails: 4 },
    }));
}

#[test]
fn a_stale_edge_is_left_out_or_refused() {
    let mut stale = topology(&["a", "b"], &["a1 b1"]);
    let (a, b) = (stale.node("a").unwrap(), stale.node("b").unwrap());
    let (from, to) = (stale.port(a, "a2"), stale.port(b, "b1"));
    stale.sight(from, to);
    let problem = Problem::Stale {
        from: end("a:a2"),
        to: end("b:b1"),
        cable: "cable-1".into(),
    };
    let lenient = plan(&stale, &Options::default()).unwrap();
    assert_eq!(lenient.matrix.cell(0, 1), ["a1"]);
    assert_eq!(
        lenient.notes[0],
        Note::LeftOut {
            problem: problem.clone()
        }
    );
    let strict = Options::default().strict(true);
    assert_eq!(
        plan(&stale, &strict),
        Err(PlanError::Problems(vec![problem]))
    );
}

#[test]
fn the_order_of_ranks_makes_the_narrowest_link_wide() {
    // In the given order a-b-c-d the link b-c has one cable; in a-b-d-c every link has
    // two.
    let square = topology(
        &["a", "b", "c", "d"],
        &[
            "a1 b1", "a2 b2", "b3 d1", "b4 d2", "d3 c1", "d4 c2", "c3 a3", "c4 a4", "b5 c5",
            "d5 a5",
        ],
    );
    let chosen = plan(&square, &ring()).unwrap();
    assert_eq!(names(&chosen), ["a", "b", "d", "c"]);
    assert_eq!(chosen.rails, 2);
    let pinned = plan(&square, &ring().order(RankOrder::Pinned)).unwrap();
    assert_eq!(names(&pinned), ["a", "b", "c", "d"]);
    assert_eq!(pinned.rails, 1);
}

#[test]
fn a_slow_cable_that_would_hold_the_others_up_is_spare() {
    let mut rig = Rig::embedded();
    rig.cables[1].link.bytes_per_second = 1_000_000;
    let plan = plan(&Topology::from_rig(&rig).unwrap(), &Options::default()).unwrap();
    assert_eq!(plan.matrix.rails(0, 1), ["cable-1", "cable-3"]);
    assert!(plan.notes.contains(&Note::Spare {
        pair: ["a".into(), "b".into()],
        cables: vec!["cable-2".into()],
        why: Spare::Slower { rails: 2 },
    }));
}

#[test]
fn the_backend_follows_the_pin_and_the_messages() {
    let rig = Topology::from_rig(&Rig::embedded()).unwrap();
    let backend = |options: Options| plan(&rig, &options).unwrap().backend;
    assert_eq!(backend(Options::default()), Backend::Ring);
    let small = Options::default().messages(vec![4096]);
    assert_eq!(backend(small.clone()), Backend::Mesh);
    let mixed = small.messages(vec![4096, 16 << 20]);
    assert_eq!(backend(mixed), Backend::Ring);
    let several = Options::default().jaccl(Jaccl::of([0, 32, 4]));
    let plan = plan(&rig, &several).unwrap();
    assert_eq!((plan.backend, plan.rails), (Backend::Mesh, 3));
}

#[test]
fn what_cannot_be_joined_names_the_nodes() {
    let refusal = |nodes: &[&str], cables: &[&str]| {
        plan(&topology(nodes, cables), &Options::default())
            .unwrap_err()
            .to_string()
    };
    let no_mesh = |a: &str, b: &str| {
        format!("No mesh: nodes '{a}' and '{b}' have no usable cable between them")
    };
    assert_eq!(
        refusal(&["a", "b", "c"], &["a1 b1", "b2 c1"]),
        "the nodes cannot be joined. No ring: 'a', 'c' have one neighbour or none, and a ring \
         passes every node once. "
            .to_owned()
            + &no_mesh("a", "c")
            + "; add a cable to another node"
    );
    assert_eq!(
        refusal(&["a", "b", "c", "d"], &["a1 b1", "c2 d1"]),
        "the nodes cannot be joined. No ring: no usable cable joins 'a', 'b' with 'c', 'd'. "
            .to_owned()
            + &no_mesh("a", "c")
            + "; add two cables between them, or leave nodes out"
    );
    let bow_tie = ["a1 b1", "b2 c1", "c2 a2", "c3 d1", "d2 e1", "e2 c4"];
    assert_eq!(
        refusal(&["a", "b", "c", "d", "e"], &bow_tie),
        "the nodes cannot be joined. No ring: only 'c' joins 'a', 'b' with 'd', 'e', and a ring \
         would pass it twice. "
            .to_owned()
            + &no_mesh("a", "d")
            + "; add a cable between the two sides"
    );
    assert_eq!(
        refusal(&["a"], &[]),
        "1 node can take part, and a job over cables needs two; add the others to the description"
    );
}

#[test]
fn more_ranks_than_a_mesh_joins_become_a_ring() {
    let names: Vec<_> = ('a'..='i').map(String::from).collect();
    let joined: Vec<_> = (0..9)
        .flat_map(|b| (0..b).map(move |a| (a, b)))
        .map(|(a, b)| format!("{}{b} {}{a}", names[a], names[b]))
        .collect();
    let nodes: Vec<_> = names.iter().map(String::as_str).collect();
    let nine = topology(
        &nodes,
        &joined.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let ring = plan(&nine, &Options::default()).unwrap();
    assert_eq!(ring.backend, Backend::Ring);
    let mesh = Options::default().backend(Backend::Mesh);
    assert_eq!(
        plan(&nine, &mesh).unwrap_err().to_string(),
        "there is no mesh: jaccl joins at most 8 ranks as a mesh, and there are 9; plan for fewer \
         nodes, or use a ring"
    );
    let eight = nine.select(&nodes[..8]).unwrap();
    assert_eq!(
        plan(&eight, &Options::default()).unwrap().backend,
        Backend::Mesh
    );
}

#[test]
fn of_many_nodes_too_it_is_known_that_there_is_no_ring() {
    // Two hubs and three paths between them of four nodes each: a ring would use two.
    let names: Vec<_> = (0..14).map(|n| char::from(b'a' + n).to_string()).collect();
    let ways = [
        ["c", "d", "e", "f"],
        ["g", "h", "i", "j"],
        ["k", "l", "m", "n"],
    ];
    let cables: Vec<_> = ways
        .iter()
        .flat_map(|way| {
            [&["a"], &way[..], &["b"]]
                .concat()
                .windows(2)
                .map(|pair| [pair[0], pair[1]])
                .collect::<Vec<_>>()
        })
        .enumerate()
        .map(|(k, [from, to])| format!("{from}{k} {to}{k}"))
        .collect();
    let names: Vec<_> = names.iter().map(|name| &**name).collect();
    let cables: Vec<_> = cables.iter().map(|cable| &**cable).collect();
    let error = plan(&topology(&names, &cables), &ring()).unwrap_err();
    assert_eq!(
        error,
        PlanError::NoRing {
            obstacle: rail_matrix::Obstacle::NoOrder,
            left_out: rail_matrix::LeftOut::default()
        }
    );
}

#[test]
fn a_mesh_of_many_ranks_passes_large_messages_round_until_it_learned_better() {
    let triangle = ["a1 b1", "a2 b2", "b3 c1", "b4 c2", "c3 a3", "c4 a4"];
    let triangle = topology(&["a", "b", "c"], &triangle);
    let chosen = |mlx| {
        let options = Options::default().jaccl(Jaccl::of(mlx));
        let plan = plan(&triangle, &options).unwrap();
        (plan.backend, plan.rails)
    };
    assert_eq!(chosen([0, 31, 2]), (Backend::Ring, 2));
    assert_eq!(chosen([0, 32, 4]), (Backend::Mesh, 2));
}

#[test]
fn a_rate_of_zero_is_none_that_is_known() {
    let mut pair = topology(&["a", "b"], &["a1 b1", "a2 b2"]);
    let a = pair.node("a").unwrap();
    let port = pair.port(a, "a2");
    pair.set_rate(port, 0);
    assert_eq!(plan(&pair, &Options::default()).unwrap().rails, 2);
}
