//! What must not pass, and how it fails.

use std::time::Duration;

use crate::harness::{Backend, Group, Series, Verdict, once};
use jaccl::{Dtype, Operation, Reduction};

/// Long enough for a loaded machine to do in time what does not hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// `RingImpl::recv` before the fix posts more receives than there are sends for
/// two frames over two wires, and waits for the rest.
#[test]
fn a_recv_of_two_frames_over_two_cables_hangs_unless_patched() {
    let step = once(Operation::Send { from: 0, to: 1 }, 8192);
    let patched = Group::new(2, 2, Backend::Ring, vec![step]);
    assert_eq!(patched.run().verdict, Verdict::Pass);
    let stock = Group {
        series: Series::Stock,
        patience: PATIENCE,
        ..patched
    };
    assert_eq!(stock.run().verdict, Verdict::Hang);
}

/// One frame over two wires is received as it was sent, patched or not.
#[test]
fn a_recv_of_one_frame_over_two_cables_passes_on_stock() {
    let step = once(Operation::Send { from: 0, to: 1 }, 4096);
    let group = Group::new(2, 2, Backend::Ring, vec![step]);
    assert_eq!(
        Group {
            series: Series::Stock,
            ..group
        }
        .run()
        .verdict,
        Verdict::Pass
    );
}

/// Each node lists its devices in an order of its own, so that wire 0 is paired
/// across two cables, and nothing sent on it arrives.
#[test]
fn crossed_rails_hang() {
    let step = once(Operation::Send { from: 0, to: 1 }, 4096);
    let crossed = r#"[[[], ["rdma_1_0", "rdma_1_1"]], [["rdma_0_1", "rdma_0_0"], []]]"#;
    let group = Group {
        matrix_json: Some(crossed.to_owned()),
        patience: PATIENCE,
        ..Group::new(2, 2, Backend::Ring, vec![step])
    };
    assert_eq!(group.run().verdict, Verdict::Hang);
}

/// `MeshImpl::all_reduce` before the fix refills a staging buffer that the peer's
/// part was not yet added to, as soon as a message needs a third frame.
#[test]
fn a_mesh_all_sum_above_two_frames_is_wrong_unless_patched() {
    let operation = Operation::AllReduce {
        reduction: Reduction::Sum,
        dtype: Dtype::Float32,
    };
    for ranks in [2, 3] {
        let patched = Group::new(ranks, 1, Backend::Mesh, vec![once(operation, 100_000)]);
        assert_eq!(patched.run().verdict, Verdict::Pass);
        let stock = Group {
            series: Series::Stock,
            ..patched
        };
        let verdict = stock.run().verdict;
        assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict:?}");
    }
}

/// Whole elements only: fewer bytes than asked for would pass for all of them.
#[test]
fn a_step_that_ends_inside_an_element_is_refused() {
    let operation = Operation::AllReduce {
        reduction: Reduction::Sum,
        dtype: Dtype::Float32,
    };
    let verdict = Group::new(2, 1, Backend::Ring, vec![once(operation, 4098)])
        .run()
        .verdict;
    assert!(
        matches!(&verdict, Verdict::Error(text) if text.contains("4098 bytes")),
        "{verdict:?}"
    );
}

/// A process that is not on a node of a fabric has no devices, which a stock jaccl
/// does not survive; its user finds the reason on standard error.
#[test]
fn without_devices_the_reason_is_told() {
    let group = Group {
        series: Series::Stock,
        on_the_fabric: false,
        patience: PATIENCE,
        ..Group::new(2, 1, Backend::Ring, vec![])
    };
    let verdict = group.run().verdict;
    assert!(
        matches!(&verdict, Verdict::Crash(text) if text.contains("SOFTRAIL_FABRIC is not set")),
        "{verdict:?}"
    );
}
