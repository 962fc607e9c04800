//! Alignment, order, and jaccl's rules, over random rigs.

use std::time::Duration;

use proptest::prelude::*;
use rail_matrix::{
    Backend, MAX_RAILS, Matrix, Note, Options, PlanError, RankOrder, Spare, Topology, plan,
};
use rig::{
    Cable, CableFault, Crossed, Defect, DeviceFault, End, Fault, Likeness, Link, MessageFault,
    Node, NodeFault, ReceiverNotReady, Rig, Rules, Span,
};

fn node(rank: usize) -> String {
    format!("node-{rank}")
}

/// A rig from the number of cables of each pair. `shuffle` decides the numbering of the
/// devices, so that sorting by device name would misalign.
fn rig(counts: &[Vec<usize>], shuffle: usize) -> Rig {
    let ranks = counts.len();
    let mut cables = Vec::new();
    let mut plugged = vec![0; ranks];
    let mut plug = |rank: usize| {
        plugged[rank] += 1;
        End {
            node: node(rank),
            device: format!("rdma_en{}", plugged[rank] * (shuffle + rank + 1) % 97),
        }
    };
    for (i, row) in counts.iter().enumerate() {
        for (j, &count) in row.iter().enumerate().skip(i + 1) {
            for _ in 0..count {
                let name = format!("cable-{}", cables.len() + 1);
                cables.push(Cable::new(name, [plug(i), plug(j)], Link::default()));
            }
        }
    }
    let nodes = (0..ranks).map(|rank| Node::new(node(rank)));
    Rig::new(nodes.collect(), cables)
}

fn rigs() -> impl Strategy<Value = Rig> {
    (1..6_usize)
        .prop_flat_map(|ranks| {
            let row = prop::collection::vec(0..=MAX_RAILS, ranks);
            (prop::collection::vec(row, ranks), 0..12_usize)
        })
        .prop_map(|(counts, shuffle)| rig(&counts, shuffle))
}

/// Rigs whose nodes a ring or a mesh joins in their order.
fn joined_rigs() -> impl Strategy<Value = Rig> {
    rigs().prop_filter("joined", |rig| Matrix::from_rig(rig).is_ok())
}

/// The rules of either profile.
fn rules() -> impl Strategy<Value = Rules> {
    let receivers = [
        ReceiverNotReady::Wait,
        ReceiverNotReady::Drop,
        ReceiverNotReady::Error,
    ];
    let rdma = prop::sample::select(receivers.to_vec()).prop_map(|receiver_not_ready| Rules {
        receiver_not_ready,
        ..Rules::rdma()
    });
    let knobs = any::<[bool; 4]>().prop_map(|[posting, local, error, end]| Likeness {
        refuses_over_posting: posting,
        refuses_local_write_alone: local,
        leaks_after_error: error,
        loses_first_after_abnormal_end: end,
    });
    let thunderbolt = (knobs, 1..=7_u8).prop_map(|(likeness, gid_index)| Rules {
        likeness,
        gid_index,
        ..Rules::default()
    });
    prop_oneof![rdma, thunderbolt]
}

/// Rigs with some of the faults they can have, each at some time.
fn broken_rigs() -> impl Strategy<Value = Rig> {
    let crossed = prop::sample::select(vec![Crossed::BlackHole, Crossed::Refuse, Crossed::Stall]);
    (rigs(), 1..50_000_u64, crossed, rules()).prop_flat_map(|(rig, value, crossed, rules)| {
        let all = every_defect(&rig, value);
        let count = 0..=all.len().min(5);
        let some = prop::sample::subsequence(all, count);
        let times = prop::collection::vec((0..5_u64, prop::option::of(1..5_u64)), 5);
        (Just(rig), some, times).prop_map(move |(rig, defects, times)| {
            let faults = defects.into_iter().zip(times);
            let faults = faults.map(|(defect, times)| timed(defect, times));
            rig.with_rules(Rules { crossed, ..rules })
                .with_faults(faults.collect())
        })
    })
}

fn every_defect(rig: &Rig, value: u64) -> Vec<Defect> {
    let (bandwidth, latency) = (Some(value), Some(Duration::from_micros(value)));
    let degraded = |bandwidth, latency| CableFault::Degraded { bandwidth, latency };
    let cable = |cable: &Cable, kind| Defect::Cable {
        cable: cable.name.clone(),
        kind,
    };
    let cables = rig.cables.iter().flat_map(|it| {
        let slower = match value % 3 {
            0 => degraded(bandwidth, None),
            1 => degraded(None, latency),
            _ => degraded(bandwidth, latency),
        };
        [cable(it, CableFault::Cut), cable(it, slower)]
    });
    let ends = rig.cables.iter().flat_map(|cable| &cable.ends);
    let devices = ends.flat_map(|end| {
        let device = |kind| Defect::Device {
            device: end.clone(),
            kind,
        };
        let message = |message, kind| Defect::Message {
            device: end.clone(),
            queue_pair: value as u32,
            message,
            kind,
        };
        let delay = MessageFault::Delay(Duration::from_nanos(value));
        let messages = [message(0, MessageFault::Drop), message(1, delay)];
        DeviceFault::ALL.map(device).into_iter().chain(messages)
    });
    let nodes = rig.nodes.iter().flat_map(|node| {
        [NodeFault::Kill, NodeFault::Freeze].map(|kind| Defect::Node {
            node: node.name.clone(),
            kind,
        })
    });
    cables.chain(devices).chain(nodes).collect()
}

/// The defect at these times, in seconds from the start and from that time, as far as its
/// kind permits.
fn timed(defect: Defect, (at, lasts): (u64, Option<u64>)) -> Fault {
    let seconds = Duration::from_secs;
    let (at, lasts) = match &defect {
        Defect::Message { .. } => (0, None),
        Defect::Device { kind, .. } if *kind == DeviceFault::Absent => (0, None),
        Defect::Node { kind, .. } if *kind == NodeFault::Kill => (at + 1, None),
        Defect::Node { .. } => (at + 1, lasts),
        _ => (at, lasts),
    };
    let span = Span {
        at: seconds(at),
        until: lasts.map(|lasts| seconds(at + lasts)),
    };
    Fault { defect, span }
}

/// A rig, and the same rig with its cables and their ends listed in another order.
fn relisted() -> impl Strategy<Value = (Rig, Rig)> {
    rigs().prop_flat_map(|rig| {
        let flips = prop::collection::vec(any::<bool>(), rig.cables.len());
        (
            Just(rig.clone()),
            Just(rig.cables.clone()).prop_shuffle(),
            flips,
        )
            .prop_map(|(rig, mut cables, flips)| {
                for (cable, flip) in cables.iter_mut().zip(flips) {
                    if flip {
                        cable.ends.reverse();
                    }
                }
                (
                    rig.clone(),
                    Rig::new(rig.nodes, cables)
                        .with_rules(rig.rules)
                        .with_faults(rig.faults),
                )
            })
    })
}

proptest! {
    #[test]
    fn rail_k_of_both_directions_is_one_cable(rig in joined_rigs()) {
        let matrix = Matrix::from_rig(&rig).unwrap();
        for i in 0..matrix.ranks() {
            for j in 0..matrix.ranks() {
                prop_assert_eq!(matrix.rails(i, j), matrix.rails(j, i));
                prop_assert_eq!(matrix.cell(i, j).len(), matrix.rails(i, j).len());
                for (k, name) in matrix.rails(i, j).iter().enumerate() {
                    let cable = rig.cables.iter().find(|cable| &cable.name == name).unwrap();
                    prop_assert_eq!(&cable.end_on(&node(i)).unwrap().device, &matrix.cell(i, j)[k]);
                    prop_assert_eq!(&cable.end_on(&node(j)).unwrap().device, &matrix.cell(j, i)[k]);
                }
            }
        }
    }

    #[test]
    fn a_rigs_matrix_is_the_pinned_plan_of_its_topology(rig in rigs()) {
        let options = Options::default().order(RankOrder::Pinned);
        let planned = plan(&Topology::from_rig(&rig).unwrap(), &options);
        prop_assert_eq!(Matrix::from_rig(&rig), planned.map(|plan| plan.matrix));
    }

    /// A ring has the same number of rails on every link and nothing in its other cells; a
    /// mesh before MLX 0.32.4 has one wire to each peer.
    #[test]
    fn every_cell_has_the_same_number_of_rails_or_none(rig in joined_rigs()) {
        let matrix = Matrix::from_rig(&rig).unwrap();
        let ranks = matrix.ranks();
        let rails = matrix.cell(0, 1).len();
        let is_ring = matrix.is_valid_ring();
        prop_assert!(is_ring || rails == 1);
        for i in 0..ranks {
            for j in 0..ranks {
                let apart = i.abs_diff(j);
                let neighbours = apart == 1 || apart + 1 == ranks;
                let joined = i != j && (neighbours || matrix.is_valid_mesh());
                prop_assert_eq!(matrix.cell(i, j).len(), if joined { rails } else { 0 });
            }
        }
    }

    #[test]
    fn the_order_in_which_a_rig_is_listed_does_not_matter((rig, other) in relisted()) {
        prop_assert_eq!(Matrix::from_rig(&rig), Matrix::from_rig(&other));
    }

    #[test]
    fn a_rig_survives_being_written(rig in broken_rigs()) {
        prop_assert_eq!(Rig::parse(&rig.to_toml()).unwrap(), rig);
    }

    #[test]
    fn faults_leave_the_matrix_as_it_is(rig in broken_rigs()) {
        let sound = rig.clone().with_faults(Vec::new());
        prop_assert_eq!(Matrix::from_rig(&rig), Matrix::from_rig(&sound));
    }

    #[test]
    fn equal_counts_make_a_ring_of_all_and_a_mesh_of_one(ranks in 2..6_usize, rails in 1..=MAX_RAILS) {
        let rig = rig(&vec![vec![rails; ranks]; ranks], 3);
        let options = Options::default().order(RankOrder::Pinned);
        let of = |backend| plan(&Topology::from_rig(&rig).unwrap(), &options.clone().backend(backend));
        let (ring, mesh) = (of(Backend::Ring).unwrap(), of(Backend::Mesh).unwrap());
        prop_assert!(ring.matrix.is_valid_ring());
        prop_assert!(mesh.matrix.is_valid_mesh());
        prop_assert_eq!((ring.rails, mesh.rails), (rails, 1));
    }

    #[test]
    fn the_json_is_square_with_arrays_everywhere(rig in joined_rigs()) {
        let matrix = Matrix::from_rig(&rig).unwrap();
        let json: Vec<Vec<Vec<String>>> = serde_json::from_str(&matrix.to_jaccl_json()).unwrap();
        prop_assert_eq!(json.len(), matrix.ranks());
        for (i, row) in json.iter().enumerate() {
            prop_assert_eq!(row.len(), matrix.ranks());
            for (j, cell) in row.iter().enumerate() {
                prop_assert_eq!(&cell[..], matrix.cell(i, j));
            }
        }
    }
}

#[test]
fn crossed_cables_are_aligned_by_cable_and_not_by_device() {
    let rig = Rig::parse(
        r#"
        node = [{ name = "A" }, { name = "B" }]
        cable = [
            { name = "cable 1", ends = ["A:en6", "B:en7"] },
            { name = "cable 2", ends = ["A:en7", "B:en6"] },
        ]
        "#,
    )
    .unwrap();
    let matrix = Matrix::from_rig(&rig).unwrap();
    assert_eq!(
        matrix.to_jaccl_json(),
        r#"[[[],["en6","en7"]],[["en7","en6"],[]]]"#
    );
    assert_eq!(matrix.rails(1, 0), ["cable 1", "cable 2"]);
}

#[test]
fn ten_cables_are_ordered_as_people_count() {
    let mut rig = rig(&[vec![0, 4], vec![4, 0]], 0);
    for (cable, name) in rig.cables.iter_mut().zip(["c10", "c9", "c2", "c1"]) {
        cable.name = name.to_owned();
    }
    assert_eq!(
        Matrix::from_rig(&rig).unwrap().rails(0, 1),
        ["c1", "c2", "c9", "c10"]
    );
}

#[test]
fn of_five_cables_four_are_rails_and_a_note_names_the_fifth() {
    let five = rig(&[vec![0, 5], vec![5, 0]], 0);
    let matrix = Matrix::from_rig(&five).unwrap();
    assert_eq!(
        matrix.rails(0, 1),
        ["cable-1", "cable-2", "cable-3", "cable-4"]
    );
    let plan = plan(&Topology::from_rig(&five).unwrap(), &Options::default()).unwrap();
    let spare = Note::Spare {
        pair: [node(0), node(1)],
        cables: vec!["cable-5".to_owned()],
        why: Spare::Cap { max_rails: 4 },
    };
    assert!(plan.notes.contains(&spare), "{:?}", plan.notes);
}

#[test]
fn a_rig_that_makes_no_sense_has_no_matrix() {
    let mut broken = Rig::embedded();
    broken.cables[0].link.bytes_per_second = 0;
    let error = Matrix::from_rig(&broken).unwrap_err();
    assert!(matches!(error, PlanError::Rig(_)));
    assert!(error.to_string().contains("bandwidth of zero"), "{error}");
}

#[test]
fn nodes_that_neither_backend_joins_have_no_matrix() {
    let of = |counts: &[[usize; 4]; 4]| {
        let counts: Vec<_> = counts.iter().map(|row| row.to_vec()).collect();
        let matrix = Matrix::from_rig(&rig(&counts, 5))?;
        Ok((matrix.is_valid_ring(), matrix.is_valid_mesh()))
    };
    let ring_of_four = [[0, 2, 0, 2], [0, 0, 2, 0], [0, 0, 0, 2], [0; 4]];
    assert_eq!(of(&ring_of_four), Ok((true, false)));
    let with_a_chord = [[0, 2, 1, 2], [0, 0, 2, 0], [0, 0, 0, 2], [0; 4]];
    assert_eq!(of(&with_a_chord), Ok((true, false)));
    // Not in this order, though another order closes a ring.
    let astray = [[0, 0, 2, 2], [0, 0, 2, 2], [0; 4], [0; 4]];
    assert!(matches!(of(&astray), Err(PlanError::NoBackend { .. })));
    assert!(matches!(of(&[[0; 4]; 4]), Err(PlanError::NoBackend { .. })));

    let alone = Matrix::from_rig(&Rig::parse("node = [{ name = \"a\" }]").unwrap());
    assert!(matches!(alone, Err(PlanError::TooFewNodes { has: 1, .. })));
}
