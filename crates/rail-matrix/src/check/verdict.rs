//! The result of checking a matrix.

use super::finding::Finding;
use crate::Backend;

/// The result of checking a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether it was judged with `MLX_JACCL_RING` set.
    pub ring_variable: bool,
    /// The backend that jaccl makes of it, or `None` if it forms no group.
    pub backend: Option<Backend>,
    /// The worst first, then by cell.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether a job with the matrix runs, with the requested backend.
    pub fn is_safe(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.outcome.is_safe())
    }
}
