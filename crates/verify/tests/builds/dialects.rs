//! jaccl's behaviour with the matrices that exo, its two proposals and rail-matrix make
//! of the same cables. `docs/rails.md` has the table.

use std::time::Duration;

use jaccl::{Dtype, Operation, Reduction, Step};
use launch::Launcher;
use pins::Series;
use rail_matrix::{Backend as Wanted, Options, Topology, plan};
use rail_verify::{
    case::{Backend, Frames},
    group::{Ends, Group, Until, finding},
    setup::{Setup, Start},
    verdict::Verdict,
};
use rig::Rig;

use crate::harness::{build, programs};

type Matrix = Vec<Vec<Vec<String>>>;

/// How joining and each operation ended, up to the first that did not pass.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything passes, and this many cables carried it.
    Passes { cables: usize },
    /// jaccl reports an error.
    Refuses,
    /// No operation returns, from this one on.
    Hangs(&'static str),
}
use Outcome::{Hangs, Passes, Refuses};

const SMALL: usize = 64;
const LARGE: usize = 1 << 20;

/// The operations of a job, smallest first.
fn work() -> [(&'static str, Operation, usize); 3] {
    let sum = Operation::AllReduce(Reduction::Sum);
    [
        ("small all_sum", sum, SMALL),
        ("large all_sum", sum, LARGE),
        ("send", Operation::Send { from: 0, to: 1 }, LARGE),
    ]
}

fn rig(nodes: &[&str], cables: &[(&str, &str)]) -> Rig {
    let mut text = "[defaults]\nbandwidth = \"2 GB/s\"\nlatency = \"2 us\"\n".to_owned();
    for node in nodes {
        text += &format!("[[node]]\nname = \"{node}\"\n");
    }
    for (c, (a, b)) in cables.iter().enumerate() {
        text += &format!(
            "[[cable]]\nname = \"cable-{}\"\nends = [\"{a}\", \"{b}\"]\n",
            c + 1
        );
    }
    Rig::parse(&text).unwrap()
}

/// Rows of cells of device names, a `+` between two of one cell.
fn matrix(rows: &[&[&str]]) -> Matrix {
    let cell = |cell: &&str| {
        cell.split('+')
            .filter(|d| !d.is_empty())
            .map(str::to_owned)
            .collect()
    };
    rows.iter()
        .map(|row| row.iter().map(cell).collect())
        .collect()
}

/// Runs a job with a matrix over the cables of a rig, with the real jaccl of both pins.
fn run(rig: &Rig, matrix: &Matrix, backend: Backend) -> Outcome {
    let [old, new] = ["0.31.2", "0.32.4"].map(|mlx| run_with(mlx, rig, matrix, backend));
    assert_eq!(old, new, "the two pins differ");
    old
}

fn run_with(mlx: &str, rig: &Rig, matrix: &Matrix, backend: Backend) -> Outcome {
    let library = build(mlx, Series::Patched, None).build;
    let (programs, launcher) = (programs(), Launcher::default());
    let start = |rank| Start {
        rank,
        library: true,
        fabric: true,
    };
    let setup = Setup {
        rig: rig.clone(),
        nodes: rig.nodes.iter().map(|node| node.name.clone()).collect(),
        matrix: matrix.clone(),
        backend,
        frames: Frames::Small,
        starts: (0..matrix.len()).map(start).collect(),
        exhausted: Vec::new(),
        variables: Vec::new(),
    };
    let mut group = Group::start(&programs, &library, &setup, &launcher).unwrap();
    let joined = group.joined(Duration::from_secs(6).into(), Until::FirstFailure);
    if let Some(outcome) = failure("joining", &joined.unwrap()) {
        return outcome;
    }
    for (name, operation, bytes) in work() {
        let step = Step {
            operation,
            bytes,
            dtype: Dtype::Float32,
            in_place: false,
            salt: 0,
        };
        let silence = Duration::from_millis(600);
        let ends = group.run(vec![step], None, silence.into(), Until::FirstFailure);
        if let Some(outcome) = failure(name, &ends.unwrap()) {
            return outcome;
        }
    }
    Passes {
        cables: group.cables_used(),
    }
}

fn failure(doing: &'static str, ends: &Ends) -> Option<Outcome> {
    let finding = finding(ends)?;
    Some(match finding.verdict {
        Verdict::Hang => Hangs(doing),
        Verdict::Error if finding.detail.contains("[jaccl]") => Refuses,
        other => panic!("{doing}: {other}: {}", finding.detail),
    })
}

/// The result of our plan for these nodes of a rig.
fn planned(rig: &Rig, nodes: usize) -> Outcome {
    let job: Vec<_> = rig.nodes[..nodes]
        .iter()
        .map(|node| node.name.clone())
        .collect();
    let topology = Topology::from_rig(rig).unwrap().select(&job).unwrap();
    let plan = plan(&topology, &Options::default()).unwrap();
    let backend = match plan.backend {
        Wanted::Mesh => Backend::Mesh,
        Wanted::Ring => Backend::Ring,
    };
    // The rig's own order of nodes determines the devices of the processes.
    assert_eq!(
        plan.nodes.iter().map(|node| &node.name).collect::<Vec<_>>(),
        job.iter().collect::<Vec<_>>()
    );
    run(rig, &plan.matrix.devices().to_vec(), backend)
}

#[test]
fn two_nodes_with_crossed_cables() {
    let rig = rig(&["a", "b"], &[("a:en6", "b:en7"), ("a:en7", "b:en6")]);
    // Each node lists its own interfaces in order, and equal positions are of different
    // cables.
    let main = matrix(&[&["", "en6"], &["en6", ""]]);
    assert_eq!(run(&rig, &main, Backend::Mesh), Hangs("small all_sum"));
    let united = matrix(&[&["", "en6+en7"], &["en7+en6", ""]]);
    assert_eq!(run(&rig, &united, Backend::Ring), Passes { cables: 2 });
    let per_direction = matrix(&[&["", "en6+en7"], &["en6+en7", ""]]);
    assert_eq!(
        run(&rig, &per_direction, Backend::Ring),
        Hangs("small all_sum")
    );
    assert_eq!(planned(&rig, 2), Passes { cables: 2 });
}

#[test]
fn a_triangle_with_three_two_and_one_cables() {
    let ab = [("a:en1", "b:en1"), ("a:en2", "b:en2"), ("a:en3", "b:en3")];
    let bc = [("b:en4", "c:en4"), ("b:en5", "c:en5")];
    let ca = [("c:en6", "a:en6")];
    let rig = rig(&["a", "b", "c"], &[&ab[..], &bc, &ca].concat());
    let one_each = matrix(&[
        &["", "en1", "en6"],
        &["en1", "", "en4"],
        &["en6", "en4", ""],
    ]);
    // exo's main branch, and the second proposal, which cuts every pair to the smallest
    // number.
    assert_eq!(run(&rig, &one_each, Backend::Mesh), Passes { cables: 3 });
    let united = matrix(&[
        &["", "en1+en2+en3", "en6"],
        &["en1+en2+en3", "", "en4+en5"],
        &["en6", "en4+en5", ""],
    ]);
    // A ring is requested but the matrix is none, so jaccl silently makes a mesh.
    assert_eq!(run(&rig, &united, Backend::Ring), Passes { cables: 3 });
    assert_eq!(planned(&rig, 3), Passes { cables: 3 });
}

#[test]
fn five_cables_between_two_nodes() {
    let ends: Vec<_> = (1..=5)
        .map(|k| (format!("a:en{k}"), format!("b:en{k}")))
        .collect();
    let ends: Vec<_> = ends.iter().map(|(a, b)| (&**a, &**b)).collect();
    let rig = rig(&["a", "b"], &ends);
    let main = matrix(&[&["", "en1"], &["en1", ""]]);
    assert_eq!(run(&rig, &main, Backend::Mesh), Passes { cables: 1 });
    let all = "en1+en2+en3+en4+en5";
    assert_eq!(
        run(&rig, &matrix(&[&["", all], &[all, ""]]), Backend::Ring),
        Refuses
    );
    assert_eq!(planned(&rig, 2), Passes { cables: 4 });
}

/// a still states that its en6 leads to en7 of b, and both were plugged into c since.
#[test]
fn an_edge_that_one_node_still_states() {
    let cables = [("a:en5", "b:en5"), ("a:en6", "c:en5"), ("b:en7", "c:en6")];
    let rig = rig(&["a", "b", "c"], &cables);
    let stale_first = matrix(&[&["", "en6"], &["en5", ""]]);
    assert_eq!(
        run(&rig, &stale_first, Backend::Mesh),
        Hangs("small all_sum")
    );
    let united = matrix(&[&["", "en5+en6"], &["en5+en7", ""]]);
    assert_eq!(run(&rig, &united, Backend::Ring), Hangs("large all_sum"));
    assert_eq!(planned(&rig, 2), Passes { cables: 1 });
}

/// exo's main branch does not request a ring. If no mesh is possible jaccl makes a ring
/// anyway, so that shape can carry one.
#[test]
fn four_nodes_in_a_circle_without_a_ring_asked_for() {
    let rig = rig(
        &["a", "b", "c", "d"],
        &[
            ("a:en1", "b:en1"),
            ("b:en2", "c:en1"),
            ("c:en2", "d:en1"),
            ("d:en2", "a:en2"),
        ],
    );
    let circle = matrix(&[
        &["", "en1", "", "en2"],
        &["en1", "", "en2", ""],
        &["", "en1", "", "en2"],
        &["en2", "", "en1", ""],
    ]);
    assert_eq!(run(&rig, &circle, Backend::Mesh), Passes { cables: 4 });
    assert_eq!(planned(&rig, 4), Passes { cables: 4 });
}
