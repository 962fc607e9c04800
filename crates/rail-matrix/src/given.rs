//! A matrix that somebody else made, over a rig.

use std::collections::HashSet;

use rig::{Cable, End, Link, Node, Rig, RigError};
use serde::Serialize;

use crate::{
    Backend, Jaccl, MAX_MESH, MAX_RAILS, Options, PlanError, Topology,
    check::{self, Existing},
    plan,
    read::ReadError,
    words::some_of,
};

/// A device matrix as jaccl reads it: `[i][j]` lists the devices on rank `i` towards rank
/// `j`. Unlike a [`Matrix`](crate::Matrix), it may pair devices that no cable joins.
pub type Devices = Vec<Vec<Vec<String>>>;

/// A device matrix that somebody else made, and the node of a rig for each of its ranks.
///
/// It fits the rig: its devices are on the nodes of their ranks, and the two cells of a
/// pair have the same number of them. The k-th devices of two cells need not be the ends
/// of one cable.
///
/// ```
/// use rail_matrix::{Backend, Given};
/// use rig::Rig;
///
/// let crossed = br#"[[[], ["rdma_en5", "rdma_en6"]], [["rdma_en6", "rdma_en5"], []]]"#;
/// let given = Given::over(crossed, &Rig::embedded())?;
/// assert_eq!(given.nodes(), ["a", "b"]);
/// assert_eq!((given.backend()?, given.rails()), (Backend::Ring, 2));
/// # Ok::<(), rail_matrix::GivenError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Given {
    nodes: Vec<String>,
    devices: Devices,
    #[serde(skip)]
    backend: Option<Backend>,
}

/// Why a document has no matrix for a rig.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GivenError {
    /// It is not a document with a matrix.
    #[error(
        "not a device matrix: {0}; write a row a rank, in it a cell a rank, in it null, a device or a list of devices, such as [[[],[\"rdma_en5\"]],[[\"rdma_en5\"],[]]]"
    )]
    Document(ReadError),
    /// It is a state of exo's with more than one matrix.
    #[error("there are {0} matrices in it; give the instance that is meant by itself")]
    Several(usize),
    /// The rig is invalid.
    #[error(transparent)]
    Rig(#[from] RigError),
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
    /// The document names another number of nodes than the matrix has rows.
    #[error("the matrix has {rows} rows, and its document names {names} nodes")]
    Names {
        /// The rows of the matrix.
        rows: usize,
        /// The nodes that its document names.
        names: usize,
    },
    /// The document names a node that the rig does not have.
    #[error("the matrix is of node '{node}', which the rig does not have; its nodes are {known}")]
    UnknownNode {
        /// The node that the document names.
        node: String,
        /// The nodes of the rig.
        known: String,
    },
    /// The document names a node for two ranks.
    #[error("the matrix names node '{0}' for two ranks; a node is one rank")]
    RepeatedNode(String),
    /// A row has another length.
    #[error(
        "row {rank} of the matrix has {cells} cells; there is one for each of the {ranks} ranks, its own included"
    )]
    Cells {
        /// The row, from 0.
        rank: usize,
        /// The number of its cells.
        cells: usize,
        /// The rows of the matrix.
        ranks: usize,
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
    /// The matrix does not state a cabling by itself, for example because two of its cells
    /// have the same device.
    #[error("the matrix states no cabling by itself ({0}); describe the true cabling as a rig")]
    NoCabling(RigError),
    /// jaccl makes neither a mesh nor a ring of it.
    #[error(
        "jaccl forms no group of the matrix: a ring needs the same number of devices in every cell of neighbours, and a mesh a device in every cell"
    )]
    NoGroup,
    /// jaccl refuses a ring of this many rails.
    #[error("the matrix is a ring of {0} rails, and jaccl opens at most {MAX_RAILS}")]
    TooManyRails(usize),
    /// jaccl refuses a mesh of this many ranks.
    #[error("the matrix is a mesh of {0} ranks, and jaccl joins at most {MAX_MESH}")]
    TooManyRanks(usize),
}

impl GivenError {
    /// The remedy, if the message does not contain it.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::UnknownNode { .. } => Some(
                "name the rig's nodes as the matrix names them, or give the rows of the matrix \
                 alone, in the order of the rig's nodes",
            ),
            _ => None,
        }
    }
}

impl Given {
    /// Reads the only matrix of a document ([`check::read`]) over a rig. Its ranks are on
    /// the nodes that the document names. A document without names has a row for each node
    /// of the rig, in the rig's order.
    ///
    /// # Errors
    /// If the document has not one matrix, or one that does not fit the rig.
    pub fn over(document: &[u8], rig: &Rig) -> Result<Self, GivenError> {
        let existing = only(document)?;
        rig.check()?;
        let nodes = nodes(&existing, rig)?;
        let given = Self::new(existing, nodes)?;
        let ends: HashSet<_> = rig.cables.iter().flat_map(|cable| &cable.ends).collect();
        for (rank, row) in given.devices.iter().enumerate() {
            for device in row.iter().flatten() {
                let (node, device) = (given.nodes[rank].clone(), device.clone());
                let end = End { node, device };
                if !ends.contains(&end) {
                    return Err(not_on_node(rig, rank, end));
                }
            }
        }
        Ok(given)
    }

    /// Reads the only matrix of a document, and the cabling that it states by itself: a
    /// cable joins the k-th devices of two cells. The nodes are those that the document
    /// names, or else `rank-0`, `rank-1` and so on.
    ///
    /// # Errors
    /// If the document has not one matrix, or one that states no cabling.
    pub fn alone(document: &[u8], link: Link) -> Result<(Self, Rig), GivenError> {
        let existing = only(document)?;
        let unnamed = || (0..existing.cells.len()).map(|rank| format!("rank-{rank}"));
        let nodes = match &existing.nodes {
            Some(names) => names.clone(),
            None => unnamed().collect(),
        };
        let given = Self::new(existing, nodes)?;
        let cables = given.pairs().map(|(index, ends)| {
            let name = format!("rail {index} between {} and {}", ends[0].node, ends[1].node);
            Cable::new(name, ends, link)
        });
        let nodes = given.nodes.iter().map(Node::new).collect();
        let rig = Rig::new(nodes, cables.collect());
        rig.check().map_err(GivenError::NoCabling)?;
        Ok((given, rig))
    }

    /// The planner's matrix for a rig.
    ///
    /// # Errors
    /// If the rig is invalid or has no plan with these options.
    pub fn planned(rig: &Rig, options: &Options) -> Result<Self, PlanError> {
        let planned = plan(&Topology::from_rig(rig)?, options)?;
        Ok(Self {
            nodes: planned.nodes.into_iter().map(|node| node.name).collect(),
            devices: planned.matrix.devices().to_vec(),
            backend: Some(planned.backend),
        })
    }

    fn new(existing: Existing, nodes: Vec<String>) -> Result<Self, GivenError> {
        let (rows, names) = (existing.cells.len(), nodes.len());
        if rows != names {
            return Err(GivenError::Names { rows, names });
        }
        let mut named = HashSet::new();
        if let Some(repeated) = nodes.iter().find(|node| !named.insert(*node)) {
            return Err(GivenError::RepeatedNode(repeated.clone()));
        }
        check_shape(&existing.cells)?;
        // Only the shape decides about the backend, in every MLX alike.
        let verdict = check::check(&existing, None, None, &Jaccl::default());
        Ok(Self {
            nodes,
            backend: verdict.ok().and_then(|verdict| verdict.backend),
            devices: existing.cells,
        })
    }

    /// The node of each rank.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// The devices on each rank towards each other rank.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The backend that jaccl makes of it.
    ///
    /// # Errors
    /// If jaccl refuses it.
    pub fn backend(&self) -> Result<Backend, GivenError> {
        let (ranks, rails) = (self.nodes.len(), self.rails());
        match self.backend {
            Some(Backend::Ring) if rails > MAX_RAILS => Err(GivenError::TooManyRails(rails)),
            Some(Backend::Mesh) if ranks > MAX_MESH => Err(GivenError::TooManyRanks(ranks)),
            Some(backend) => Ok(backend),
            None => Err(GivenError::NoGroup),
        }
    }

    /// The fewest devices between two ranks that its backend joins. A mesh before
    /// MLX 0.32.4 opens one of them.
    pub fn rails(&self) -> usize {
        let ranks = self.nodes.len();
        let joined = |i: usize, j: usize| match self.backend {
            Some(Backend::Ring) => j == (i + 1) % ranks,
            _ => i != j,
        };
        let pairs = (0..ranks).flat_map(|i| (0..ranks).map(move |j| (i, j)));
        let counts = pairs
            .filter(|&(i, j)| joined(i, j))
            .map(|(i, j)| self.devices[i][j].len());
        counts.min().unwrap_or(0)
    }

    /// Every two devices that the matrix pairs, pair after pair: their position in the
    /// cells, and the device on the lower rank before the one on the higher.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, [End; 2])> {
        let ranks = self.nodes.len();
        let pairs = (0..ranks).flat_map(move |i| (i + 1..ranks).map(move |j| (i, j)));
        pairs.flat_map(move |(i, j)| {
            let cells = self.devices[i][j].iter().zip(&self.devices[j][i]);
            cells.enumerate().map(move |(index, (here, there))| {
                let end = |rank: usize, device: &String| End {
                    node: self.nodes[rank].clone(),
                    device: device.clone(),
                };
                (index, [end(i, here), end(j, there)])
            })
        })
    }
}

fn only(document: &[u8]) -> Result<Existing, GivenError> {
    let document = check::read(document).map_err(GivenError::Document)?;
    match <[_; 1]>::try_from(document.matrices) {
        Ok([matrix]) => Ok(matrix),
        Err(several) => Err(GivenError::Several(several.len())),
    }
}

/// The node of each row.
fn nodes(existing: &Existing, rig: &Rig) -> Result<Vec<String>, GivenError> {
    let (rows, nodes) = (existing.cells.len(), rig.nodes.len());
    let known = || rig.nodes.iter().map(|node| &node.name);
    match &existing.nodes {
        None if rows != nodes => Err(GivenError::Rows { rows, nodes }),
        None => Ok(known().cloned().collect()),
        Some(names) => match names.iter().find(|name| rig.rank(name).is_none()) {
            None => Ok(names.clone()),
            Some(node) => Err(GivenError::UnknownNode {
                node: node.clone(),
                known: listed(known()),
            }),
        },
    }
}

fn check_shape(devices: &Devices) -> Result<(), GivenError> {
    let ranks = devices.len();
    for (rank, row) in devices.iter().enumerate() {
        let cells = row.len();
        if cells != ranks {
            return Err(GivenError::Cells { rank, cells, ranks });
        }
        if !row[rank].is_empty() {
            return Err(GivenError::Diagonal(rank));
        }
    }
    let pairs = (0..ranks).flat_map(|from| (from + 1..ranks).map(move |to| (from, to)));
    for (from, to) in pairs {
        let (forth, back) = (devices[from][to].len(), devices[to][from].len());
        if forth != back {
            return Err(GivenError::Uneven {
                from,
                to,
                forth,
                back,
            });
        }
    }
    match devices.iter().flatten().all(Vec::is_empty) {
        true => Err(GivenError::Empty),
        false => Ok(()),
    }
}

/// The error for a device that its node does not have.
fn not_on_node(rig: &Rig, rank: usize, End { node, device }: End) -> GivenError {
    let ends = rig.cables.iter().filter_map(|cable| cable.end_on(&node));
    GivenError::UnknownDevice {
        rank,
        device,
        known: listed(ends.map(|end| &end.device)),
        node,
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    /// The most names of a message.
    const SHOWN: usize = 12;
    some_of(&names.collect::<Vec<_>>(), SHOWN)
}
