//! What must not pass, and how it fails.

use std::time::Duration;

use crate::harness::{Backend, Group, Series, Verdict, once};
use jaccl::Operation;

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
