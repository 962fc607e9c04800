//! What is to be checked, before anything is built for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rail_matrix::{Defect, Fault, Matrix, MatrixError, Rig};

use super::rails::{Devices, MatrixProblem, Rail, parse_devices, rails};

/// A rig and the rails that a matrix has over it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The cabling as it is.
    pub rig: Rig,
    /// The rails of the matrix, pair after pair.
    pub rails: Vec<Rail>,
}

/// A matrix that cannot be checked over a rig.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A device file that cannot be opened.
    #[error("cannot read the device file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A device file that is no matrix of the rig.
    #[error("{} is no matrix of the rig", path.display())]
    Devices {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: MatrixProblem,
    },
    /// A rig that has no matrix.
    #[error(transparent)]
    Rig(#[from] MatrixError),
    /// A matrix that is none of the rig's, or has no rails.
    #[error(transparent)]
    Matrix(#[from] MatrixProblem),
}

impl PlanError {
    /// What to do about it.
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
    /// When the matrix is not one for this rig, or has no rails.
    pub fn new(rig: Rig, matrix: &Devices) -> Result<Self, MatrixProblem> {
        let rails = rails(&rig, matrix)?;
        Ok(Plan { rig, rails })
    }

    /// The rails that the rig itself has.
    ///
    /// # Errors
    /// When the rig has no matrix or no cables.
    pub fn of_rig(rig: Rig) -> Result<Self, PlanError> {
        let matrix = Matrix::from_rig(&rig)?.devices().to_vec();
        Ok(Self::new(rig, &matrix)?)
    }

    /// The rig's faults that are not there while rails are tried: those that come later, and
    /// those of single messages, which are a job's and not a rail's.
    pub fn left_out(&self) -> impl Iterator<Item = &Fault> {
        let faults = self.rig.faults.iter();
        faults.filter(|fault| !fault.span.at.is_zero() || is_of_message(fault))
    }

    /// The rails that a jaccl device file has over the rig.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a matrix for this rig.
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

/// Whether a single message is dropped or delayed. The first one to come along would be
/// a probe's own.
pub(super) fn is_of_message(fault: &Fault) -> bool {
    matches!(fault.defect, Defect::Message { .. })
}
