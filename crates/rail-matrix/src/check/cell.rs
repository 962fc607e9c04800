//! Positions in a matrix, and the devices there.

use std::fmt;

use rig::End;
use serde::Serialize;

/// A position in a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct Cell {
    /// The row: the rank that the devices are on.
    pub from: usize,
    /// The column: the rank that they lead to.
    pub to: usize,
    /// The position in the cell, from 0, if the finding is about one device.
    pub rail: Option<usize>,
}

impl From<(usize, usize)> for Cell {
    fn from((from, to): (usize, usize)) -> Self {
        Self {
            from,
            to,
            rail: None,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.from, self.to)?;
        self.rail.map_or(Ok(()), |rail| write!(f, "[{rail}]"))
    }
}

/// A device of a matrix, and what people call its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Device {
    /// The device and the name of its node.
    #[serde(flatten)]
    pub end: End,
    /// The node's name for people.
    pub title: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.title, self.end.device)
    }
}
