//! The cost of laying out a matrix: it runs at every placement, so it must stay
//! negligible beside the placement itself.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rail_matrix::{Cable, End, Link, Matrix, Node, ReceiverNotReady, Rig};

/// Every pair of `ranks` nodes joined by four cables.
fn full_mesh(ranks: usize) -> Rig {
    let name = |rank: usize| format!("node-{rank}");
    let end = |rank, peer, rail| End {
        node: name(rank),
        device: format!("rdma_{peer}_{rail}"),
    };
    let mut cables = Vec::new();
    for i in 0..ranks {
        for j in i + 1..ranks {
            cables.extend((0..4).map(|rail| Cable {
                name: format!("{i}-{j}-{rail}"),
                ends: [end(i, j, rail), end(j, i, rail)],
                link: Link::default(),
            }));
        }
    }
    let nodes = (0..ranks).map(|rank| Node { name: name(rank) }).collect();
    Rig {
        nodes,
        cables,
        receiver_not_ready: ReceiverNotReady::Wait,
        faults: Vec::new(),
    }
}

fn from_rig(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Matrix::from_rig");
    for ranks in [2, 4, 8] {
        let rig = full_mesh(ranks);
        group.bench_with_input(BenchmarkId::from_parameter(ranks), &rig, |b, rig| {
            b.iter(|| Matrix::from_rig(black_box(rig)).expect("a full mesh is a valid rig"));
        });
    }
    group.finish();
}

criterion_group!(benches, from_rig);
criterion_main!(benches);
