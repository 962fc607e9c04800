//! The rails that a job would use: the devices that its matrix pairs.

use std::{collections::HashSet, fmt};

use rail_matrix::{check, read::ReadError};
use rig::{End, Rig};

/// A device matrix as jaccl reads it: `[i][j]` lists the devices on rank `i` towards rank
/// `j`. Unlike a [`Matrix`](rail_matrix::Matrix), it may pair devices that no cable
/// joins.
pub type Devices = Vec<Vec<Vec<String>>>;

/// One rail of a matrix: two devices that jaccl connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rail {
    /// The nodes' names, lower rank first.
    pub pair: [String; 2],
    /// Its position in the cells of the pair, from 0.
    pub index: usize,
    /// The devices, on the nodes of the pair in that order.
    pub ends: [End; 2],
}

impl fmt::Display for Rail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.index, &self.pair))
    }
}

/// The name of a rail: `rail 1 between a and b`.
pub(super) fn name(index: usize, [a, b]: &[String; 2]) -> String {
    format!("rail {index} between {a} and {b}")
}

/// Why a device matrix cannot be checked over a rig.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatrixProblem {
    /// It is not a document with a matrix.
    #[error(
        "not a device matrix: {0}; write a row a rank, in it a cell a rank, in it null, a device or a list of devices, such as [[[],[\"rdma_en5\"]],[[\"rdma_en5\"],[]]]"
    )]
    Document(ReadError),
    /// It is a state of exo's with more than one matrix.
    #[error("there are {0} matrices in it; give the instance that is meant by itself")]
    Several(usize),
    /// The numbers of ranks and nodes differ.
    #[error(
        "the matrix has {rows} rows, and the rig has {nodes} nodes; there is a row for each node, in the rig's order"
    )]
    Rows {
        /// Its rows.
        rows: usize,
        /// The rig's nodes.
        nodes: usize,
    },
    /// A row has another length.
    #[error(
        "row {rank} of the matrix has {cells} cells; there is one for each of the {nodes} ranks, its own included"
    )]
    Cells {
        /// The row, from 0.
        rank: usize,
        /// The number of its cells.
        cells: usize,
        /// The rig's nodes.
        nodes: usize,
    },
    /// A device is not on the node of its rank.
    #[error(
        "rank {rank} of the matrix has the device '{device}', which node '{node}' of the rig does not have; its devices are {known}"
    )]
    UnknownDevice {
        /// The row, from 0.
        rank: usize,
        /// The device.
        device: String,
        /// The node of that rank.
        node: String,
        /// The node's devices.
        known: String,
    },
    /// A rank has devices towards itself.
    #[error("rank {0} of the matrix has devices towards itself; leave the diagonal empty")]
    Diagonal(usize),
    /// The two cells of a pair have different lengths.
    #[error(
        "the matrix has {forth} devices on rank {from} towards rank {to} and {back} the other way; a rail has a device at each end"
    )]
    Uneven {
        /// A rank.
        from: usize,
        /// A higher rank.
        to: usize,
        /// The number of devices from the first to the second.
        forth: usize,
        /// The number of devices from the second to the first.
        back: usize,
    },
    /// The matrix has no rails.
    #[error(
        "the matrix has no rails, and an empty check proves nothing; name a device between two ranks"
    )]
    Empty,
}

/// Reads the only matrix of a document: a jaccl device file, a hostfile, an instance of
/// exo's.
///
/// # Errors
/// If it is not such a document, or has several matrices.
pub fn parse_devices(text: &str) -> Result<Devices, MatrixProblem> {
    let document = check::read(text.as_bytes()).map_err(MatrixProblem::Document)?;
    match <[_; 1]>::try_from(document.matrices) {
        Ok([matrix]) => Ok(matrix.cells),
        Err(several) => Err(MatrixProblem::Several(several.len())),
    }
}

/// The rails of a matrix, pair after pair. Rank `i` is the `i`-th node of the rig.
///
/// # Errors
/// If the matrix does not fit this rig, or has no rails.
pub fn rails(rig: &Rig, matrix: &Devices) -> Result<Vec<Rail>, MatrixProblem> {
    check_shape(rig, matrix)?;
    let ranks = 0..matrix.len();
    let pairs = ranks
        .clone()
        .flat_map(|from| (from + 1..ranks.end).map(move |to| (from, to)));
    let mut rails = Vec::new();
    for (from, to) in pairs {
        let (there, back) = (&matrix[from][to], &matrix[to][from]);
        if there.len() != back.len() {
            return Err(MatrixProblem::Uneven {
                from,
                to,
                forth: there.len(),
                back: back.len(),
            });
        }
        for (index, (first, second)) in there.iter().zip(back).enumerate() {
            rails.push(Rail {
                pair: [from, to].map(|rank| rig.nodes[rank].name.clone()),
                index,
                ends: [end(rig, from, first)?, end(rig, to, second)?],
            });
        }
    }
    if rails.is_empty() {
        return Err(MatrixProblem::Empty);
    }
    Ok(rails)
}

fn check_shape(rig: &Rig, matrix: &Devices) -> Result<(), MatrixProblem> {
    let (rows, nodes) = (matrix.len(), rig.nodes.len());
    if rows != nodes {
        return Err(MatrixProblem::Rows { rows, nodes });
    }
    for (rank, row) in matrix.iter().enumerate() {
        if row.len() != nodes {
            let cells = row.len();
            return Err(MatrixProblem::Cells { rank, cells, nodes });
        }
        if !row[rank].is_empty() {
            return Err(MatrixProblem::Diagonal(rank));
        }
    }
    Ok(())
}

/// A device of the rig, by the rank of its node.
fn end(rig: &Rig, rank: usize, device: &str) -> Result<End, MatrixProblem> {
    let node = &rig.nodes[rank].name;
    let here: Vec<&End> = rig
        .cables
        .iter()
        .filter_map(|cable| cable.end_on(node))
        .collect();
    let found = here.iter().find(|end| end.device == device);
    found.map(|end| (*end).clone()).ok_or_else(|| {
        let known: Vec<_> = here.iter().map(|end| format!("'{}'", end.device)).collect();
        MatrixProblem::UnknownDevice {
            rank,
            device: device.to_owned(),
            node: node.clone(),
            known: known.join(", "),
        }
    })
}

/// The devices of the rig that are on no rail.
pub(super) fn left_out<'a>(rig: &'a Rig, rails: &[Rail]) -> Vec<&'a End> {
    let named: HashSet<&End> = rails.iter().flat_map(|rail| &rail.ends).collect();
    let all = rig.cables.iter().flat_map(|cable| &cable.ends);
    all.filter(|end| !named.contains(end)).collect()
}
