//! Ranks on the nodes of a rig that are machines of their own.

use std::{collections::BTreeMap, path::Path};

use launch::Progress;
use nodes::NodeFacts;
use remote::{Error, Part, Seat, Staged};

use crate::group::Build;

/// The folder of parts with the emulated cables' libibverbs.
const CABLES: &str = "cables";

/// The nodes of a rig, with what a group's ranks need on them.
#[derive(Debug, Clone)]
pub struct Hosts {
    hosts: remote::Hosts,
    /// By node.
    staged: BTreeMap<String, Staged>,
    /// What the machines said of themselves, for the reports.
    pub facts: Vec<NodeFacts>,
}

impl Hosts {
    /// Brings the program of a rank, the emulated RDMA provider and builds of jaccl to every
    /// node.
    ///
    /// # Errors
    /// When a node cannot take them.
    pub fn stage<'a>(
        hosts: remote::Hosts,
        (rank, provider): (&Path, &Path),
        builds: impl IntoIterator<Item = &'a Build>,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let mut parts = vec![
            Part::new("rank", rank),
            Part::new(format!("{CABLES}/{}", softrail::LIBRARY), provider),
        ];
        for Build { library, key } in builds {
            let name = library.file_name().unwrap_or_default().to_string_lossy();
            parts.push(Part::new(format!("builds/{key}/{name}"), library));
        }
        Ok(Hosts {
            staged: hosts.stage(&parts, progress)?,
            hosts,
            facts: Vec::new(),
        })
    }

    /// The place of the next rank on a node.
    ///
    /// # Panics
    /// The rig has no such node.
    pub(crate) fn seat(&self, node: &str) -> Seat {
        Seat::new(self.hosts.host(node), &self.staged[node])
    }

    /// An address and a port at which the rank on a node can listen for the others.
    pub(crate) fn coordinator(&self, node: &str) -> Result<String, Error> {
        Ok(self.hosts.host(node).free_port()?.to_string())
    }
}

/// The variable by which a rank finds the emulated cables on its node.
pub(crate) fn cables(seat: &Seat) -> (String, String) {
    (softrail::LIBRARY_PATH.to_owned(), seat.folders(&[CABLES]))
}
