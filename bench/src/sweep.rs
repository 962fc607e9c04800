//! The cells of a run.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, str::FromStr};

use rail_matrix::{Backend, MAX_RAILS, Matrix, MatrixError};
use rig::{Rig, RigError};

use crate::{
    model::{ModelSpec, SplitError},
    protocol::Strategy,
};

/// One point of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// The parallel strategy.
    pub strategy: Strategy,
    /// The connection of the ranks; none for the reference.
    pub backend: Option<Backend>,
    /// Cables of each joined pair of nodes.
    pub cables: usize,
}

impl Cell {
    /// One process and no cable: the other cells' tokens must equal its tokens.
    pub const REFERENCE: Self = Self {
        strategy: Strategy::Single,
        backend: None,
        cables: 0,
    };

    /// The baseline of a cell's gain: the same strategy with the ring over one cable, so
    /// that only the cables differ.
    pub fn baseline(self) -> Self {
        Self {
            backend: Some(Backend::Ring),
            cables: 1,
            ..self
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backend {
            None => f.write_str("single"),
            Some(backend) => write!(f, "{} {backend}-{}", self.strategy, self.cables),
        }
    }
}

/// Numbers of cables: `3`, `1,3`, `1..3` (both included), or a mix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CableCounts(BTreeSet<usize>);

/// Why numbers of cables cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CableCountsError {
    /// They are not numbers.
    #[error("write numbers of cables as 3, 1,3 or 1..3")]
    Syntax,
    /// A number is zero.
    #[error("a cell needs at least 1 cable")]
    Zero,
    /// A range is empty.
    #[error("the range {0}..{1} holds nothing; write the smaller number first")]
    Empty(usize, usize),
}

impl CableCounts {
    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

impl From<RangeInclusive<usize>> for CableCounts {
    fn from(range: RangeInclusive<usize>) -> Self {
        Self(range.collect())
    }
}

impl FromStr for CableCounts {
    type Err = CableCountsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(0) => Err(CableCountsError::Zero),
            Ok(n) if n <= u16::MAX.into() => Ok(n),
            _ => Err(CableCountsError::Syntax),
        };
        let mut counts = BTreeSet::new();
        for part in text.split(',') {
            match part.split_once("..") {
                Some((first, last)) => {
                    let last = last.strip_prefix('=').unwrap_or(last);
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(CableCountsError::Empty(first, last));
                    }
                    counts.extend(first..=last);
                }
                None => {
                    counts.insert(number(part)?);
                }
            }
        }
        Ok(Self(counts))
    }
}

/// Why the rig or the model does not permit a sweep.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The rig has only one node.
    #[error("the rig has the one node '{0}', and cables join two")]
    OneNode(String),
    /// The sweep needs more cables than the rig has.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The rig has no matrix, for example because of too many rails.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// The cables do not close a ring.
    #[error(
        "{0} cables a pair do not make a ring: every node needs that many cables to the node \
         before it and after it in the rig's order, the last being next to the first"
    )]
    NotARing(usize),
    /// Some pair of nodes has no cable.
    #[error("the cables do not make a mesh: every pair of nodes needs one")]
    NotAMesh,
    /// The model cannot be divided over the nodes.
    #[error(transparent)]
    Split(#[from] SplitError),
}

impl SweepError {
    /// The remedy, if the message does not contain it.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::OneNode(_) => Some("add a [[node]] and its [[cable]]s to the rig"),
            Self::NotARing(_) => {
                Some("reorder the nodes of the rig, add cables, or use the mesh backend alone")
            }
            Self::NotAMesh => Some("add cables to the rig, or use the ring backend alone"),
            Self::Split(error) => Some(error.help()),
            Self::Rig(_) | Self::Matrix(_) => None,
        }
    }
}

/// The cells of a run, without the reference: for each strategy the mesh over
/// one cable, the ring over one, and the ring over each of `counts` (over all
/// that the rig has when none are given).
///
/// The ring over one cable is always among a ring's cells: it is the baseline for the
/// gain of further cables.
///
/// # Errors
/// When the rig does not have the cables, or the model cannot be split over its nodes.
pub fn cells(
    rig: &Rig,
    model: &ModelSpec,
    strategies: &[Strategy],
    backends: &[Backend],
    counts: Option<&CableCounts>,
) -> Result<Vec<Cell>, SweepError> {
    let ranks = rig.nodes.len();
    if let [only] = &rig.nodes[..] {
        return Err(SweepError::OneNode(only.name.clone()));
    }
    let counts = match counts {
        Some(counts) => counts.clone(),
        None => CableCounts::from(1..=rig.cables_per_pair().clamp(1, MAX_RAILS)),
    };
    let ring_counts: BTreeSet<usize> = std::iter::once(1).chain(counts.iter()).collect();
    for &cables in &ring_counts {
        let matrix = Matrix::from_rig(&rig.with_cables(cables)?)?;
        if backends.contains(&Backend::Ring) && !matrix.is_valid_ring() {
            return Err(SweepError::NotARing(cables));
        }
        if backends.contains(&Backend::Mesh) && !matrix.is_valid_mesh() {
            return Err(SweepError::NotAMesh);
        }
    }

    let mut cells = BTreeSet::new();
    for &strategy in strategies {
        match strategy {
            Strategy::Tp => model.check_tensor_split(ranks)?,
            Strategy::Pp => model.check_pipeline_split(ranks)?,
            // Every run has a reference.
            Strategy::Single => continue,
        }
        for &backend in backends {
            let counts = match backend {
                Backend::Mesh => &BTreeSet::from([1]),
                Backend::Ring => &ring_counts,
            };
            cells.extend(counts.iter().map(|&cables| Cell {
                strategy,
                backend: Some(backend),
                cables,
            }));
        }
    }
    Ok(cells.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Preset;

    fn names(
        rig: &Rig,
        backends: &[Backend],
        counts: Option<&str>,
    ) -> Result<Vec<String>, SweepError> {
        let counts = counts.map(|text| text.parse::<CableCounts>().unwrap());
        let strategies = [Strategy::Tp, Strategy::Pp];
        let cells = cells(
            rig,
            &Preset::ALL[0].spec,
            &strategies,
            backends,
            counts.as_ref(),
        )?;
        Ok(cells.iter().map(Cell::to_string).collect())
    }

    const BOTH: &[Backend] = &[Backend::Mesh, Backend::Ring];

    #[test]
    fn the_whole_sweep_of_the_embedded_rig() {
        assert_eq!(
            names(&Rig::embedded(), BOTH, None).unwrap(),
            [
                "tp mesh-1",
                "tp ring-1",
                "tp ring-2",
                "tp ring-3", //
                "pp mesh-1",
                "pp ring-1",
                "pp ring-2",
                "pp ring-3",
            ]
        );
    }

    #[test]
    fn the_baselines_are_never_left_out() {
        assert_eq!(
            names(&Rig::embedded(), BOTH, Some("3")).unwrap()[..3],
            ["tp mesh-1", "tp ring-1", "tp ring-3"]
        );
        assert_eq!(
            names(&Rig::embedded(), &[Backend::Mesh], None).unwrap(),
            ["tp mesh-1", "pp mesh-1"]
        );
    }

    #[test]
    fn cables_the_rig_lacks_are_refused() {
        let error = names(&Rig::embedded(), BOTH, Some("1..4")).unwrap_err();
        assert!(error.to_string().contains("ask for at most 3"), "{error}");
    }

    #[test]
    fn a_line_of_three_nodes_is_neither_ring_nor_mesh() {
        let line = Rig::parse(
            r#"
            node = [{ name = "a" }, { name = "b" }, { name = "c" }]
            cable = [
                { name = "ab", ends = ["a:1", "b:1"] },
                { name = "bc", ends = ["b:2", "c:1"] },
            ]
            "#,
        )
        .unwrap();
        assert!(matches!(
            names(&line, &[Backend::Ring], None),
            Err(SweepError::NotARing(1))
        ));
        assert!(matches!(
            names(&line, &[Backend::Mesh], None),
            Err(SweepError::NotAMesh)
        ));
    }

    #[test]
    fn one_node_and_an_indivisible_model_are_refused() {
        let alone = Rig::parse("node = [{ name = \"a\" }]").unwrap();
        assert!(matches!(
            names(&alone, BOTH, None),
            Err(SweepError::OneNode(_))
        ));
        let triangle = Rig::parse(
            r#"
            node = [{ name = "a" }, { name = "b" }, { name = "c" }]
            cable = [
                { name = "ab", ends = ["a:1", "b:1"] },
                { name = "bc", ends = ["b:2", "c:1"] },
                { name = "ca", ends = ["c:2", "a:2"] },
            ]
            "#,
        )
        .unwrap();
        assert!(matches!(
            names(&triangle, BOTH, None),
            Err(SweepError::Split(_))
        ));
    }

    #[test]
    fn cable_counts_are_read_as_lists_and_ranges() {
        let read = |text: &str| {
            text.parse::<CableCounts>()
                .map(|c| c.iter().collect::<Vec<_>>())
        };
        assert_eq!(read("1..3").unwrap(), [1, 2, 3]);
        assert_eq!(read("1..=3").unwrap(), [1, 2, 3]);
        assert_eq!(read("3,1").unwrap(), [1, 3]);
        assert_eq!(read("1..2,4").unwrap(), [1, 2, 4]);
        assert_eq!(read("0"), Err(CableCountsError::Zero));
        assert_eq!(read("3..1"), Err(CableCountsError::Empty(3, 1)));
        for bad in ["", "x", "1..", "1;2", "-1", "99999999999999999999"] {
            assert_eq!(read(bad), Err(CableCountsError::Syntax), "{bad}");
        }
    }
}
