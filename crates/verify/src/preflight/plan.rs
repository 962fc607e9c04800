//! The rails to check, determined before anything is built.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rail_matrix::{Matrix, MatrixError};
use rig::{Defect, Fault, Rig};

use super::rails::{Devices, MatrixProblem, Rail, parse_devices, rails};

/// A rig and the rails that a matrix has over it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The actual cabling.
    pub rig: Rig,
    /// The rails of the matrix, pair after pair.
    pub rails: Vec<Rail>,
}

/// Why a matrix cannot be checked over a rig.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A device file cannot be opened.
    #[error("cannot read the device file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A device file does not contain a matrix for the rig.
    #[error("{} is no matrix of the rig", path.display())]
    Devices {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        #[source]
        source: MatrixProblem,
    },
    /// The rig has no matrix.
    #[error(transparent)]
    Rig(#[from] MatrixError),
    /// The matrix does not fit the rig, or has no rails.
    #[error(transparent)]
    Matrix(#[from] MatrixProblem),
}

impl PlanError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        match self {
            PlanError::Unreadable { .. } => Some(
                "name a file that can be read, or none to check the matrix of the rig".to_owned(),
            ),
            PlanError::Devices { .. } | PlanError::Rig(_) | PlanError::Matrix(_) => None,
        }
    }
}

impl Plan {
    /// The rails of a given matrix, whose rank `i` is the `i`-th node of the rig.
    ///
    /// # Errors
    /// If the matrix does not fit this rig, or has no rails.
    pub fn new(rig: Rig, matrix: &Devices) -> Result<Self, MatrixProblem> {
        let rails = rails(&rig, matrix)?;
        Ok(Plan { rig, rails })
    }

    /// The rails of the rig's own matrix.
    ///
    /// # Errors
    /// If the rig has no matrix or no cables.
    pub fn of_rig(rig: Rig) -> Result<Self, PlanError> {
        let matrix = Matrix::from_rig(&rig)?.devices().to_vec();
        Ok(Self::new(rig, &matrix)?)
    }

    /// The rig's faults that are not active while rails are checked: those that begin
    /// later, and those of single messages, which are for a job rather than a rail.
    pub fn left_out(&self) -> impl Iterator<Item = &Fault> {
        let faults = self.rig.faults.iter();
        faults.filter(|fault| !fault.span.at.is_zero() || is_of_message(fault))
    }

    /// The rails of a jaccl device file over the rig.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a matrix for this rig.
    pub fn of_device_file(rig: Rig, path: &Path) -> Result<Self, PlanError> {
        rig.check().map_err(MatrixError::from)?;
        let text = fs::read_to_string(path).map_err(|source| PlanError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let matrix = parse_devices(&text);
        matrix
            .and_then(|matrix| Self::new(rig, &matrix))
            .map_err(|source| PlanError::Devices {
                path: path.to_owned(),
                source,
            })
    }
}

/// Whether the fault drops or delays a single message. A probe's own message would be the
/// first to meet it.
pub(super) fn is_of_message(fault: &Fault) -> bool {
    matches!(fault.defect, Defect::Message { .. })
}
