//! The shapes in which exo passes a matrix to its runners.
//!
//! exo writes the matrix to a file and starts jaccl on it. None of its shapes states
//! whether jaccl is to make a ring: the code that reads the shape decides, from the
//! matrix alone. So a shape can carry a plan only if that code reaches the plan's
//! decision.

use std::fmt;

use serde::Serialize;

use crate::{Backend, Matrix, Note, Options, Plan, PlanError, Topology, plan};

/// One of exo's shapes of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    fn why(&self) -> String {
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
                if *rails == 1 { "rail" } else { "rails" },
                if *made == Backend::Ring {
                    "sets"
                } else {
                    "does not set"
                },
            ),
        }
    }
}

/// Why no plan can be carried by a shape of exo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExoError {
    /// There is no plan at all.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There are plans, but the shape can carry none of them.
    #[error(transparent)]
    Dialect(#[from] DialectError),
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

    /// Makes a plan that this shape can carry: one rail for [`Exo::Main`], and the
    /// backend that exo will ask jaccl for. If the better plan cannot be carried, the
    /// next is taken, and its [`Note::Backend`] gives the reason.
    ///
    /// # Errors
    /// If there is no such plan.
    pub fn plan(self, topology: &Topology, options: &Options) -> Result<Plan, ExoError> {
        let mut options = options.clone();
        if self == Self::Main {
            options.max_rails = options.max_rails.min(1);
        }
        let better = plan(topology, &options)?;
        let Err(not_carried) = self.carries(&better) else {
            return Ok(better);
        };
        if options.backend.is_some() {
            return Err(not_carried.into());
        }
        let ring = (Backend::Ring, options.max_rails);
        for (backend, max_rails) in [ring, (Backend::Mesh, 1)] {
            let narrower = options.clone().backend(backend).max_rails(max_rails);
            let Ok(mut plan) = plan(topology, &narrower) else {
                continue;
            };
            if self.carries(&plan).is_ok() {
                for note in &mut plan.notes {
                    if let Note::Backend { why, .. } = note {
                        *why = not_carried.why();
                    }
                }
                return Ok(plan);
            }
        }
        Err(not_carried.into())
    }

    /// Checks that exo and jaccl make the planned group of this shape.
    ///
    /// # Errors
    /// If they do not.
    pub fn carries(self, plan: &Plan) -> Result<(), DialectError> {
        let (exo, rails, planned) = (self, plan.rails, plan.backend);
        let ring_variable = match self {
            Self::Main if rails > 1 => return Err(DialectError::OneDevice { exo, rails }),
            Self::Main => false,
            Self::Pr2160 => rails > 1,
            Self::Pr2195 => planned == Backend::Ring,
        };
        match plan.matrix.backend(ring_variable) {
            Some(made) if made != planned => Err(DialectError::OtherBackend {
                exo,
                planned,
                rails,
                made,
            }),
            _ => Ok(()),
        }
    }

    /// What the user of the matrix has to ensure, if this shape leaves something open.
    pub fn remark(self, plan: &Plan) -> Option<String> {
        let set = match plan.backend {
            Backend::Ring => "set",
            Backend::Mesh => "not set",
        };
        (self == Self::Pr2195).then(|| {
            format!(
                "whether {self} sets MLX_JACCL_RING is not known here; this {} needs it {set}",
                plan.backend
            )
        })
    }

    /// The matrix in this shape, as JSON.
    ///
    /// # Errors
    /// If exo and jaccl would not make the planned group of it.
    pub fn write(self, plan: &Plan) -> Result<String, DialectError> {
        self.carries(plan)?;
        let matrix = &plan.matrix;
        Ok(match self {
            Self::Main => json(matrix, |_, cell| cell.first()),
            Self::Pr2160 => json(matrix, |_, cell| cell),
            Self::Pr2195 => json(matrix, |diagonal, cell| (!diagonal).then_some(cell)),
        })
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
