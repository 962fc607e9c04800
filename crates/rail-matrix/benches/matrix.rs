//! The cost of a plan. A plan is made at every placement, so its cost must stay
//! negligible beside the placement itself.
//!
//! The same run also measures a straightforward Python rendering of what exo does today
//! (the first interface for every ordered pair, without joining directions or checking
//! anything), over the same cabling. `PYTHON` names an interpreter other than `python3`.

use std::{
    hint::black_box,
    process::{Command, Stdio},
    time::Duration,
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rail_matrix::{Options, PortId, Topology, plan};

const NODES: [usize; 7] = [2, 4, 8, 12, 16, 32, 64];

/// Every pair of `nodes` joined by `cables`, as both ends see it.
fn fully_joined(nodes: usize, cables: usize) -> Topology {
    let mut topology = Topology::new();
    let ids: Vec<_> = (0..nodes)
        .map(|n| topology.add_node(&format!("node-{n}")))
        .collect();
    let mut port = |from: usize, to: usize, cable: usize| -> PortId {
        topology.port(ids[from], &format!("rdma_en{}", to * cables + cable))
    };
    let mut ends = Vec::new();
    for a in 0..nodes {
        for b in a + 1..nodes {
            ends.extend((0..cables).map(|c| (port(a, b, c), port(b, a, c))));
        }
    }
    for &(a, b) in &ends {
        topology.sight(a, b);
        topology.sight(b, a);
    }
    topology
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for nodes in NODES {
        for cables in 1..=4 {
            let topology = fully_joined(nodes, cables);
            let count = nodes * (nodes - 1) / 2 * cables;
            group.throughput(Throughput::Elements(count as u64));
            let id = BenchmarkId::new(format!("{nodes} nodes"), format!("{cables} cables a pair"));
            group.bench_with_input(id, &topology, |b, topology| {
                b.iter(|| plan(black_box(topology), &Options::default()).expect("it is joined"));
            });
        }
    }
    group.finish();
}

/// Times one call, in nanoseconds, after the cabling was made. Each line of its input is
/// `nodes cables calls`, each line of its output one time.
const PYTHON: &str = r#"
import sys, time

class Digraph:
    def __init__(self, nodes, cables):
        self.edges = {}
        for a in range(nodes):
            for b in range(nodes):
                if a != b:
                    self.edges[f"node-{a}", f"node-{b}"] = [
                        (f"rdma_en{b * cables + c}", f"rdma_en{a * cables + c}")
                        for c in range(cables)
                    ]

    def between(self, a, b):
        return self.edges.get((a, b), [])

def first_of_each(cycle, digraph):
    matrix = [[None] * len(cycle) for _ in cycle]
    for i, a in enumerate(cycle):
        for j, b in enumerate(cycle):
            if i == j:
                continue
            for source, _sink in digraph.between(a, b):
                matrix[i][j] = source
                break
            else:
                raise ValueError(f"{a} and {b} are not joined")
    return matrix

for line in sys.stdin:
    nodes, cables, calls = map(int, line.split())
    digraph, cycle = Digraph(nodes, cables), [f"node-{n}" for n in range(nodes)]
    first_of_each(cycle, digraph)
    start = time.perf_counter_ns()
    for _ in range(calls):
        first_of_each(cycle, digraph)
    print(time.perf_counter_ns() - start, flush=True)
"#;

fn python(criterion: &mut Criterion) {
    let interpreter = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let child = Command::new(&interpreter)
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("{interpreter} does not start, so nothing is measured beside it");
        return;
    };
    let mut to = child.stdin.take().expect("it is piped");
    let from = child.stdout.take().expect("it is piped");
    let mut times = std::io::BufRead::lines(std::io::BufReader::new(from));

    let mut group = criterion.benchmark_group("python, first of each");
    for nodes in NODES {
        for cables in 1..=4 {
            let id = BenchmarkId::new(format!("{nodes} nodes"), format!("{cables} cables a pair"));
            group.bench_function(id, |b| {
                b.iter_custom(|calls| {
                    use std::io::Write;
                    writeln!(to, "{nodes} {cables} {calls}").expect("Python reads");
                    let nanos = times.next().expect("Python answers").expect("in text");
                    Duration::from_nanos(nanos.parse().expect("with a time"))
                });
            });
        }
    }
    group.finish();
    drop(to);
    let _ = child.wait();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    targets = plans, python
}
criterion_main!(benches);
