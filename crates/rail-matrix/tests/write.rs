//! Plans as the documents that other programs read.

use proptest::prelude::*;
use rail_matrix::{
    Backend, DialectError, Exo, Jaccl, Network, Note, Options, Plan, PlanError, RankOrder, Rdma,
    RdmaOff, Topology, plan, write::Output,
};
use rig::Rig;
use serde_json::{Value, json};

/// At least two nodes, every two joined by this many cables, with devices numbered so
/// that sorting by name would cross them.
fn full(nodes: &[&str], cables: usize) -> Topology {
    let mut topology = Topology::new();
    let ids: Vec<_> = nodes.iter().map(|node| topology.add_node(node)).collect();
    for (i, &a) in ids.iter().enumerate() {
        for (j, &b) in ids.iter().enumerate().skip(i + 1) {
            for k in 0..cables {
                let on_a = topology.port(a, &format!("rdma_en{}", 10 * j + k));
                let on_b = topology.port(b, &format!("rdma_en{}", 10 * i + 9 - k));
                topology.add_cable(&format!("{i}-{j}-{k}"), [on_a, on_b]);
            }
        }
    }
    topology
}

/// Four nodes in a circle and no cable across.
fn circle() -> Topology {
    let mut topology = Topology::new();
    let ids = ["a", "b", "c", "d"].map(|node| topology.add_node(node));
    for k in 0..4 {
        let (here, there) = (ids[k], ids[(k + 1) % 4]);
        let right = topology.port(here, "rdma_en2");
        let left = topology.port(there, "rdma_en1");
        topology.add_cable(&format!("cable-{k}"), [right, left]);
    }
    topology
}

fn written(output: Output, topology: &Topology, plan: &Plan) -> String {
    output.write(topology, plan, "devices.json").unwrap()
}

fn document(output: Output, topology: &Topology, plan: &Plan) -> Value {
    serde_json::from_str(&written(output, topology, plan)).unwrap()
}

fn as_backend(backend: Backend) -> Options {
    Options::default().backend(backend).order(RankOrder::Pinned)
}

#[test]
fn every_output_is_found_by_its_name_and_ends_its_last_line() {
    let topology = full(&["a", "b"], 1);
    let plan = plan(&topology, &as_backend(Backend::Mesh)).unwrap();
    for output in Output::ALL {
        assert_eq!(output.name().parse(), Ok(output));
        assert!(written(output, &topology, &plan).ends_with('\n'));
    }
    let unknown = "exo".parse::<Output>().unwrap_err().to_string();
    assert!(
        unknown.starts_with("'exo' is no output; there are table, json, "),
        "{unknown}"
    );
}

#[test]
fn each_dialect_of_exo_has_its_cells() {
    let topology = full(&["a", "b"], 2);
    let options = Options::default();
    let document = |exo: Exo| {
        let plan = plan(&topology, &options.clone().carried_by(exo)).unwrap();
        document(Output::Exo(exo), &topology, &plan)
    };
    assert_eq!(
        document(Exo::Main),
        json!([[null, "rdma_en10"], ["rdma_en9", null]])
    );
    let lists = json!([
        [[], ["rdma_en10", "rdma_en11"]],
        [["rdma_en9", "rdma_en8"], []]
    ]);
    assert_eq!(document(Exo::Pr2160), lists);
    let nulls = json!([
        [null, ["rdma_en10", "rdma_en11"]],
        [["rdma_en9", "rdma_en8"], null]
    ]);
    assert_eq!(document(Exo::Pr2195), nulls);
}

#[test]
fn a_dialect_refuses_what_exo_would_make_another_group_of() {
    let two = full(&["a", "b"], 2);
    let ring_2 = plan(&two, &as_backend(Backend::Ring)).unwrap();
    let several = Output::Exo(Exo::Main).write(&two, &ring_2, "").unwrap_err();
    assert_eq!(
        several.to_string(),
        "exo-main holds one device a cell, and the plan has 2 rails a link; plan for one rail, \
         or write another shape"
    );

    let one = full(&["a", "b"], 1);
    let ring_1 = plan(&one, &as_backend(Backend::Ring)).unwrap();
    for exo in [Exo::Main, Exo::Pr2160] {
        assert_eq!(
            Output::Exo(exo).write(&one, &ring_1, ""),
            Err(DialectError::OtherBackend {
                exo,
                planned: Backend::Ring,
                rails: 1,
                made: Backend::Mesh,
            })
        );
    }
    assert_eq!(
        Output::Exo(Exo::Pr2160)
            .write(&one, &ring_1, "")
            .unwrap_err()
            .to_string(),
        "exo-2160 cannot carry a ring of 1 rail: exo does not set MLX_JACCL_RING for it, and \
         jaccl makes a mesh of it; plan for a mesh of one rail, or write another shape"
    );

    let wires = as_backend(Backend::Mesh).jaccl(Jaccl::of([0, 32, 4]));
    let mesh_2 = plan(&two, &wires).unwrap();
    assert_eq!((mesh_2.backend, mesh_2.rails), (Backend::Mesh, 2));
    assert_eq!(
        Output::Exo(Exo::Pr2160)
            .write(&two, &mesh_2, "")
            .unwrap_err()
            .to_string(),
        "exo-2160 cannot carry a mesh of 2 rails: exo sets MLX_JACCL_RING for it, and jaccl \
         makes a ring of it; plan for a ring, or write another shape"
    );
}

#[test]
fn without_a_cable_between_all_even_the_main_dialect_carries_a_ring() {
    // Without a request for a ring, jaccl makes one if no mesh is valid.
    let circle = circle();
    let plan = plan(&circle, &Options::default().carried_by(Exo::Main)).unwrap();
    assert_eq!((plan.backend, plan.rails), (Backend::Ring, 1));
    assert!(
        Output::Exo(Exo::Main)
            .write(&circle, &plan, "")
            .unwrap()
            .contains("null")
    );
}

#[test]
fn the_planner_takes_what_the_dialect_carries_and_says_why() {
    let two = full(&["a", "b"], 3);
    let wires = Options::default().jaccl(Jaccl::of([0, 32, 4]));
    assert_eq!(plan(&two, &wires).unwrap().backend, Backend::Mesh);
    let carried = plan(&two, &wires.clone().carried_by(Exo::Pr2160)).unwrap();
    assert_eq!((carried.backend, carried.rails), (Backend::Ring, 3));
    let why = carried.notes.iter().find_map(|note| match note {
        Note::Backend { why, .. } => Some(why.to_string()),
        _ => None,
    });
    assert_eq!(
        why.as_deref(),
        Some(
            "exo-2160 cannot carry a mesh of 3 rails: exo sets MLX_JACCL_RING for it, and jaccl \
             makes a ring of it"
        ),
        "what to do instead has been done"
    );

    let asked = wires.backend(Backend::Mesh);
    assert!(matches!(
        plan(&two, &asked.carried_by(Exo::Pr2160)),
        Err(PlanError::NotCarried(DialectError::OtherBackend { .. }))
    ));
}

#[test]
fn the_hostfile_has_what_the_launcher_asks_for() {
    let mut topology = full(&["a", "b", "c", "d"], 1);
    let a = topology.node("a").unwrap();
    topology.set_ssh(a, "studio.local");
    for (network, ip) in [
        (Network::Thunderbolt, "169.254.1.2"),
        (Network::Ethernet, "127.0.0.1"),
        (Network::Wifi, "192.168.1.7"),
        (Network::Ethernet, "fe80::1"),
        (Network::Ethernet, "10.0.0.7"),
    ] {
        topology.add_address(a, network, ip);
    }
    let ring = plan(&topology, &as_backend(Backend::Ring)).unwrap();
    let hostfile = document(Output::Hostfile, &topology, &ring);
    assert_eq!(hostfile["backend"], "jaccl-ring");
    assert_eq!(hostfile["envs"], json!([]));
    assert_eq!(
        hostfile["hosts"][0],
        json!({
            "ssh": "studio.local",
            "ips": ["10.0.0.7", "192.168.1.7", "169.254.1.2"],
            "rdma": [null, "rdma_en10", null, "rdma_en30"]
        })
    );
    assert_eq!(hostfile["hosts"][1]["ssh"], "b");
    assert_eq!(ring.coordinator.unwrap().ip, "10.0.0.7");

    let two = full(&["a", "b"], 2);
    let several = plan(&two, &as_backend(Backend::Ring)).unwrap();
    let hostfile = document(Output::Hostfile, &two, &several);
    assert_eq!(
        hostfile["hosts"][1]["rdma"],
        json!([["rdma_en9", "rdma_en8"], null])
    );
    let mesh = plan(&two, &as_backend(Backend::Mesh)).unwrap();
    let hostfile = document(Output::Hostfile, &two, &mesh);
    assert_eq!(hostfile["backend"], "jaccl");
    assert_eq!(hostfile["hosts"][1]["rdma"], json!(["rdma_en9", null]));
}

#[test]
fn the_environment_is_what_sh_reads() {
    let mut topology = full(&["a\nreboot", "b"], 2);
    let a = topology.node("a\nreboot").unwrap();
    topology.add_address(a, Network::Ethernet, "10.0.0.7");
    let ring = plan(&topology, &as_backend(Backend::Ring)).unwrap();
    let lines = Output::Environment
        .write(&topology, &ring, "it's here/devices.json")
        .unwrap();
    assert_eq!(
        lines,
        r#"# rank 0: a\nreboot
unset JACCL_RANK JACCL_IBV_DEVICES JACCL_RING JACCL_COORDINATOR
export MLX_RANK=0
export MLX_IBV_DEVICES="it's here/devices.json"
export MLX_JACCL_RING=1
export MLX_JACCL_COORDINATOR=0.0.0.0:32323

# rank 1: b
unset JACCL_RANK JACCL_IBV_DEVICES JACCL_RING JACCL_COORDINATOR
export MLX_RANK=1
export MLX_IBV_DEVICES="it's here/devices.json"
export MLX_JACCL_RING=1
export MLX_JACCL_COORDINATOR=10.0.0.7:32323
"#
    );
    let nowhere = full(&["a", "b"], 1);
    let mesh = plan(&nowhere, &as_backend(Backend::Mesh)).unwrap();
    let lines = written(Output::Environment, &nowhere, &mesh);
    assert!(lines.contains(" JACCL_COORDINATOR MLX_JACCL_RING\nexport MLX_RANK=0\n"));
    assert!(lines.contains("\n# MLX_JACCL_COORDINATOR: "));
    assert!(!lines.contains("export MLX_JACCL_RING"));
}

#[test]
fn json_tells_the_plan_every_cable_and_each_note() {
    let topology = full(&["a", "b"], 5);
    let ring = plan(&topology, &as_backend(Backend::Ring)).unwrap();
    let json = document(Output::Json, &topology, &ring);
    assert_eq!(json["schema"], "mlx-rails/matrix/2");
    assert_eq!(
        (&json["backend"], &json["rails"]),
        (&json!("ring"), &json!(4))
    );
    assert_eq!(json["matrix"], document(Output::Jaccl, &topology, &ring));
    assert_eq!(json["ranks"][1]["node"], "b");
    assert_eq!(json["ranks"][1]["environment"]["MLX_RANK"], "1");
    assert_eq!(json["ranks"][1]["environment"]["MLX_JACCL_RING"], "1");
    let cables = json["cables"].as_array().unwrap();
    assert_eq!(
        cables
            .iter()
            .map(|cable| &cable["rail"])
            .collect::<Vec<_>>(),
        [&json!(0), &json!(1), &json!(2), &json!(3), &Value::Null]
    );
    assert_eq!(
        cables[1],
        json!({
            "name": "0-1-1",
            "ends": [{"node": "a", "device": "rdma_en11"}, {"node": "b", "device": "rdma_en8"}],
            "bytes_per_second": null,
            "rail": 1
        })
    );
    let notes = json["notes"].as_array().unwrap();
    assert_eq!(notes.len(), ring.notes.len());
    assert_eq!(notes[0]["note"], "spare");
    assert_eq!(notes[0]["sentence"], ring.notes[0].to_string());
}

#[test]
fn the_table_shows_ranks_cables_and_notes() {
    let topology = Topology::from_rig(&Rig::embedded()).unwrap();
    let two = Options::default().max_rails(2);
    let plan = plan(&topology, &two).unwrap();
    let table = written(Output::Table, &topology, &plan);
    for part in [
        "ring of 2 ranks, 2 rails a link",
        "| 1    | b    |",
        "| a - b | 1        | rdma_en6 | rdma_en6 | 50 MB/s | cable-2 |",
        "| a - b | not used | rdma_en7 | rdma_en7 | 50 MB/s | cable-3 |",
        "- 'cable-3' between 'a' and 'b' not used",
    ] {
        assert!(table.contains(part), "{part} is not in:\n{table}");
    }
}

#[test]
fn names_do_not_break_out_of_a_line_of_the_table() {
    let topology = full(&["a\n- evil", "b\x1b[31m"], 2);
    let one = Options::default().max_rails(1);
    let plan = plan(&topology, &one).unwrap();
    let table = written(Output::Table, &topology, &plan);
    assert!(
        table.contains(r"between 'a\n- evil' and 'b\u{1b}[31m' not used"),
        "{table}"
    );
    assert!(!table.contains("\n- evil") && !table.contains('\x1b'));
}

/// The curves of a drawing: the numbers of solid and of dashed ones.
fn curves(svg: &str) -> (usize, usize) {
    let paths: Vec<_> = svg
        .lines()
        .filter(|line| line.starts_with("<path"))
        .collect();
    let dashed = paths.iter().filter(|path| path.contains("dasharray"));
    let dashed = dashed.count();
    (paths.len() - dashed, dashed)
}

#[test]
fn drawings_tell_used_cables_from_unused() {
    let topology = full(&["a", "b", "c"], 5);
    let ring = plan(&topology, &as_backend(Backend::Ring)).unwrap();
    let svg = written(Output::Svg, &topology, &ring);
    assert_eq!(curves(&svg), (12, 3));
    assert!(svg.contains(">rail 3</text>") && svg.contains(">not used</text>"));
    let dot = written(Output::Dot, &topology, &ring);
    assert_eq!(dot.matches(" -- ").count(), 15);
    assert_eq!(dot.matches("style=dashed").count(), 3);
    assert!(
        dot.contains("n0 -- n1 [label=\"rail 0\", taillabel=\"rdma_en10\", headlabel=\"rdma_en9\"")
    );
}

#[test]
fn a_node_that_takes_no_part_is_drawn_without_a_rank() {
    let mut topology = full(&["a", "b", "c"], 1);
    let b = topology.node("b").unwrap();
    topology.set_rdma(b, Rdma::Off(RdmaOff::Disabled));
    let plan = plan(&topology, &Options::default()).unwrap();
    for output in [Output::Svg, Output::Dot] {
        let drawing = written(output, &topology, &plan);
        assert_eq!(drawing.matches("takes no part").count(), 1, "{drawing}");
        assert!(drawing.contains("rank 1") && !drawing.contains("rank 2"));
    }
}

proptest! {
    /// Whatever the names of nodes and devices are, the drawing is XML with nothing else
    /// in it.
    #[test]
    fn names_do_not_break_out_of_a_drawing(a in ".{1,30}", b in ".{1,30}", device in ".{1,30}") {
        prop_assume!(a != b);
        let mut topology = Topology::new();
        let nodes = [&a, &b].map(|node| topology.add_node(node));
        let ends = nodes.map(|node| topology.port(node, &device));
        topology.add_cable(&device, ends);
        let plan = plan(&topology, &Options::default()).unwrap();
        let svg = written(Output::Svg, &topology, &plan);
        let drawn = roxmltree::Document::parse(&svg).expect("well-formed XML");
        let elements = |name| drawn.descendants().filter(|n| n.has_tag_name(name)).count();
        prop_assert_eq!((elements("path"), elements("rect"), elements("g")), (1, 3, 2));

        let dot = written(Output::Dot, &topology, &plan);
        prop_assert_eq!(dot.lines().count(), 9, "{}", dot);
        document(Output::Json, &topology, &plan);
        document(Output::Hostfile, &topology, &plan);
        let lines = written(Output::Environment, &topology, &plan);
        prop_assert_eq!(lines.lines().count(), 11, "{}", lines);
    }
}
