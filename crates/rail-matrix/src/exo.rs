//! The shapes in which exo passes a matrix to its runners.
//!
//! exo writes the matrix to a file and starts jaccl on it. None of its shapes states
//! whether jaccl is to make a ring: the code that reads the shape decides, from the
//! matrix alone. So a shape can carry a plan only if that code reaches the plan's
//! decision.

use std::fmt;

use serde::Serialize;

use crate::{Backend, Matrix, words::plural};

/// One of exo's shapes of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exo {
    /// exo's main branch: a device or null in each cell. It never asks jaccl for a ring.
    Main,
    /// exo's pull request 2160: a list in each cell, `[]` on the diagonal. It asks for a
    /// ring when any cell has more than one device.
    Pr2160,
    /// exo's pull request 2195: a list in each cell, null on the diagonal. Its matrix is
    /// known; whether it asks for a ring is not.
    Pr2195,
}

/// Why a shape of exo's cannot carry a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "not-carried", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DialectError {
    /// A cell holds one device.
    #[error("{}; plan for one rail, or write another shape", self.why())]
    OneDevice {
        /// The shape.
        exo: Exo,
        /// The number of rails of the plan.
        rails: usize,
    },
    /// exo and jaccl would form another group.
    #[error(
        "{}; plan for a {made}{}, or write another shape", self.why(),
        if *made == Backend::Mesh { " of one rail" } else { "" }
    )]
    OtherBackend {
        /// The shape.
        exo: Exo,
        /// The plan's backend.
        planned: Backend,
        /// The number of rails of the plan.
        rails: usize,
        /// The backend that jaccl would use.
        made: Backend,
    },
}

impl DialectError {
    /// The part that is not carried, and why, without the remedy.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::OneDevice { exo, rails } => {
                format!("{exo} holds one device a cell, and the plan has {rails} rails a link")
            }
            Self::OtherBackend {
                exo,
                planned,
                rails,
                made,
            } => format!(
                "{exo} cannot carry a {planned} of {rails} {}: exo {} MLX_JACCL_RING for it, and \
                 jaccl makes a {made} of it",
                plural(*rails, "rail"),
                if *made == Backend::Ring {
                    "sets"
                } else {
                    "does not set"
                },
            ),
        }
    }
}

impl Exo {
    /// `exo-main`, `exo-2160` or `exo-2195`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "exo-main",
            Self::Pr2160 => "exo-2160",
            Self::Pr2195 => "exo-2195",
        }
    }

    /// Checks that exo and jaccl make the planned group of a matrix in this shape.
    ///
    /// # Errors
    /// If they do not.
    pub(crate) fn carries(
        self,
        planned: Backend,
        rails: usize,
        matrix: &Matrix,
    ) -> Result<(), DialectError> {
        let exo = self;
        let ring_variable = match self {
            Self::Main if rails > 1 => return Err(DialectError::OneDevice { exo, rails }),
            Self::Main => false,
            Self::Pr2160 => rails > 1,
            Self::Pr2195 => planned == Backend::Ring,
        };
        match matrix.backend(ring_variable) {
            Some(made) if made != planned => Err(DialectError::OtherBackend {
                exo,
                planned,
                rails,
                made,
            }),
            _ => Ok(()),
        }
    }

    /// The matrix in this shape, as JSON.
    pub(crate) fn write(self, matrix: &Matrix) -> String {
        match self {
            Self::Main => json(matrix, |_, cell| cell.first()),
            Self::Pr2160 => json(matrix, |_, cell| cell),
            Self::Pr2195 => json(matrix, |diagonal, cell| (!diagonal).then_some(cell)),
        }
    }
}

impl fmt::Display for Exo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn json<'a, C: Serialize>(matrix: &'a Matrix, cell: impl Fn(bool, &'a [String]) -> C) -> String {
    let ranks = 0..matrix.ranks();
    let cell = |i: usize, j: usize| cell(i == j, matrix.cell(i, j));
    let row = |i| ranks.clone().map(|j| cell(i, j)).collect();
    let rows: Vec<Vec<C>> = ranks.clone().map(row).collect();
    serde_json::to_string(&rows).expect("a matrix is lists of names")
}
