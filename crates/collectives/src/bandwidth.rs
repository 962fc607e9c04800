//! The formulas of nccl-tests (its `doc/PERFORMANCE.md`), with B for the bytes passed to
//! jaccl, n for the ranks and t for the time:
//!
//! | op | algbw | busbw |
//! |---|---|---|
//! | `send` | B / t | algbw |
//! | `all_sum`, `all_max`, `all_min` | B / t | algbw x 2 (n - 1) / n |
//! | `all_gather`, `sum_scatter` | n B / t | algbw x (n - 1) / n |
//! | `barrier` | none | none |
//!
//! busbw is what a rank sends at least, in a second. The *line* is what the cables on
//! which it sends carry in a second: of one pair for `send` and between two ranks, of the
//! n - 1 pairs of a rank in a mesh, of both neighbours in a ring of three and more. A
//! share of the line of 1 is therefore the most that any algorithm reaches. Every cable
//! that jaccl is given counts, also those that it leaves unused: a mesh before MLX 0.32.4
//! opens one of each pair.

use rail_verify::case::Backend;

use crate::{Op, cells::Cell};

/// Bytes that the operation is for, in nccl-tests' sense: the whole of the longer buffer.
pub fn size(op: Op, ranks: usize, bytes: usize) -> f64 {
    let parts = match op {
        Op::AllGather | Op::SumScatter => ranks,
        Op::Send | Op::AllSum | Op::AllMax | Op::AllMin => 1,
        Op::Barrier => 0,
    };
    parts as f64 * bytes as f64
}

/// What algbw is multiplied with for busbw.
pub fn bus_factor(op: Op, ranks: usize) -> f64 {
    let others = (ranks - 1) as f64 / ranks as f64;
    match op {
        Op::AllSum | Op::AllMax | Op::AllMin => 2.0 * others,
        Op::AllGather | Op::SumScatter => others,
        Op::Send | Op::Barrier => 1.0,
    }
}

/// The pairs of ranks on whose cables a rank sends.
pub fn pairs(op: Op, backend: Backend, ranks: usize) -> usize {
    match (op, backend) {
        (Op::Send, _) => 1,
        (_, Backend::Mesh) => ranks - 1,
        (_, Backend::Ring) => (ranks - 1).min(2),
    }
}

/// The bandwidths of a cell, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidths {
    /// The size over the time.
    pub algorithm: f64,
    /// What a rank sends at least.
    pub bus: f64,
    /// The bus bandwidth over the line.
    pub line_share: f64,
}

/// The bandwidths of a cell that takes `seconds`, over cables of `bytes_per_second`.
/// Returns `None` if it moves no data.
pub fn of(cell: &Cell, seconds: f64, bytes_per_second: u64) -> Option<Bandwidths> {
    let size = size(cell.op, cell.ranks, cell.bytes);
    if size == 0.0 || seconds <= 0.0 {
        return None;
    }
    let algorithm = size / seconds;
    let bus = algorithm * bus_factor(cell.op, cell.ranks);
    Some(Bandwidths {
        algorithm,
        bus,
        line_share: bus / line(cell, bytes_per_second),
    })
}

/// The line of a cell, in bytes per second.
pub fn line(cell: &Cell, bytes_per_second: u64) -> f64 {
    let cables = cell.cables * pairs(cell.op, cell.backend, cell.ranks);
    cables as f64 * bytes_per_second as f64
}

#[cfg(test)]
mod tests {
    use rail_verify::case::{Dtype, Frames};

    use super::*;

    fn cell(op: Op, backend: Backend, ranks: usize) -> Cell {
        Cell {
            backend,
            ranks,
            cables: 3,
            frames: Frames::Small,
            op,
            bytes: 3000,
            dtype: Dtype::Float32,
        }
    }

    /// At the least time that the bytes of a rank allow, the share of the line is 1.
    #[test]
    fn the_best_that_is_possible_is_the_whole_line() {
        for (op, backend, ranks, sent) in [
            (Op::Send, Backend::Mesh, 2, 3000.0),
            (Op::Send, Backend::Ring, 4, 3000.0),
            (Op::AllSum, Backend::Ring, 2, 3000.0),
            (Op::AllMax, Backend::Mesh, 3, 4000.0),
            (Op::AllMin, Backend::Ring, 4, 4500.0),
            (Op::AllGather, Backend::Ring, 2, 3000.0),
            (Op::AllGather, Backend::Mesh, 4, 9000.0),
            (Op::SumScatter, Backend::Ring, 3, 6000.0),
        ] {
            let cell = cell(op, backend, ranks);
            let line = line(&cell, 1000);
            let of = of(&cell, sent / line, 1000).expect("it moves bytes");
            assert!((of.line_share - 1.0).abs() < 1e-12, "{op} {ranks}: {of:?}");
        }
    }

    #[test]
    fn bandwidths_are_those_of_nccl_tests() {
        let of = |op, ranks| of(&cell(op, Backend::Ring, ranks), 2.0, 1000).expect("bytes");
        let sum = of(Op::AllSum, 4);
        assert_eq!((sum.algorithm, sum.bus), (1500.0, 2250.0));
        assert_eq!(sum.line_share, 2250.0 / 6000.0);
        let gather = of(Op::AllGather, 4);
        assert_eq!((gather.algorithm, gather.bus), (6000.0, 4500.0));
        let send = of(Op::Send, 2);
        assert_eq!((send.algorithm, send.bus), (1500.0, 1500.0));
        assert_eq!(send.line_share, 0.5);
    }

    #[test]
    fn nothing_moved_has_no_bandwidth() {
        assert_eq!(of(&cell(Op::Barrier, Backend::Mesh, 2), 1.0, 1000), None);
        let none = Cell {
            bytes: 0,
            ..cell(Op::AllSum, Backend::Mesh, 2)
        };
        assert_eq!(of(&none, 1.0, 1000), None);
    }
}
