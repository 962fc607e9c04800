//! A rank's share of the model.

use std::ops::Range;

use mlx_core::{Array, Result};
use rail_bench::protocol::Strategy;

/// A rank's share of the model: some of the layers, and a slice of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The layers of the share.
    pub layers: Range<usize>,
    /// The index of its slice, from 0.
    pub part: usize,
    /// The number of slices.
    pub parts: usize,
}

impl Share {
    /// The share of `rank` among `ranks` of a model with this many layers. With PP, if the
    /// layers do not divide evenly, the first ranks get one more.
    ///
    /// # Panics
    /// There is no such rank, or with PP a rank would have no layer.
    pub fn of(strategy: Strategy, layers: usize, rank: usize, ranks: usize) -> Self {
        assert!(rank < ranks, "rank {rank} of {ranks}");
        match strategy {
            Strategy::Single | Strategy::Tp => Self {
                layers: 0..layers,
                part: rank,
                parts: ranks,
            },
            Strategy::Pp => {
                let (each, left) = (layers / ranks, layers % ranks);
                assert!(each > 0, "{layers} layers on {ranks} ranks");
                let first = rank * each + rank.min(left);
                Self {
                    layers: first..first + each + usize::from(rank < left),
                    part: 0,
                    parts: 1,
                }
            }
        }
    }

    /// This share's slice of `length` units.
    ///
    /// # Panics
    /// They do not divide evenly.
    pub fn slice(&self, length: usize) -> Range<usize> {
        assert!(
            length.is_multiple_of(self.parts),
            "{length} units in {} slices",
            self.parts
        );
        let each = length / self.parts;
        self.part * each..(self.part + 1) * each
    }

    /// This share's slice of a matrix along `axis`, dense.
    pub(crate) fn take(&self, matrix: &Array, axis: usize) -> Result<Array> {
        let range = self.slice(matrix.dim(axis) as usize);
        matrix
            .slice_axis(axis, range.start as i32, range.end as i32)?
            .contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipeline_shares_cover_the_layers_in_order_of_rank() {
        let shares: Vec<_> = (0..3)
            .map(|rank| Share::of(Strategy::Pp, 7, rank, 3))
            .collect();
        assert_eq!(
            shares.iter().map(|s| s.layers.clone()).collect::<Vec<_>>(),
            [0..3, 3..5, 5..7]
        );
        assert!(shares.iter().all(|share| share.slice(8) == (0..8)));
    }

    #[test]
    fn tensor_shares_cut_every_layer() {
        let share = Share::of(Strategy::Tp, 7, 1, 2);
        assert_eq!((share.layers.clone(), share.slice(8)), (0..7, 4..8));
    }
}
