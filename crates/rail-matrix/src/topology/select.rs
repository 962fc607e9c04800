//! A selection of the nodes, in an order that the caller chooses.

use std::collections::{HashMap, HashSet};

use super::{EndState, NodeId, NodeInfo, PortId, Sighting, Topology};

/// Why nodes cannot be selected from a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// No node has the name.
    #[error("there is no node '{node}'; there {}", there_are(known))]
    Unknown {
        /// The name requested.
        node: String,
        /// The existing names, each with its label in brackets if it has one.
        known: Vec<String>,
    },
    /// Several nodes have the label.
    #[error("several nodes are called '{label}': {}; name the one that is meant", names.join(", "))]
    Ambiguous {
        /// The label requested.
        label: String,
        /// The nodes with this label.
        names: Vec<String>,
    },
    /// A node is selected twice.
    #[error("node '{node}' is named twice; a node is one rank")]
    Repeated {
        /// Its name.
        node: String,
    },
}

impl Topology {
    /// Only these nodes, in this order, with the cables between them. A node is selected
    /// by its name, or by its label if no other node has the same.
    ///
    /// # Errors
    /// If a name is unknown, fits several nodes, or selects a node twice.
    pub fn select(&self, names: &[impl AsRef<str>]) -> Result<Self, SelectError> {
        let mut position = HashMap::with_capacity(names.len());
        let mut selected = Self {
            cables: self.cables.clone(),
            accepts_one_sided: self.accepts_one_sided,
            environment: self.environment.clone(),
            ..Self::default()
        };
        for name in names {
            let id = self.named(name.as_ref())?;
            let node = self[id].clone();
            let new = NodeId(selected.nodes.len());
            if position.insert(id, new).is_some() {
                return Err(SelectError::Repeated { node: node.name });
            }
            selected.ids.insert(node.name.clone(), new);
            selected.nodes.push(node);
            selected.devices.push(HashMap::new());
        }
        let ports: Vec<_> = self
            .ports
            .iter()
            .map(|port| {
                let node = *position.get(&port.node)?;
                let id = PortId(selected.ports.len());
                selected.devices[node.0].insert(port.device.clone(), id);
                let port = port.clone();
                selected.ports.push(super::PortInfo { node, ..port });
                Some(id)
            })
            .collect();
        let left_out = self.nodes().filter(|(id, _)| !position.contains_key(id));
        let left_out: HashSet<_> = left_out.map(|(_, node)| &*node.name).collect();
        let mut strays: HashMap<usize, Vec<PortId>> = HashMap::new();
        for &(port, problem) in &self.strays {
            strays.entry(problem).or_default().extend(ports[port.0]);
        }
        for (p, problem) in self.problems.iter().enumerate() {
            let about = problem.nodes();
            if about.is_empty() || about.iter().any(|node| !left_out.contains(node)) {
                let at = strays.get(&p).map_or(&[][..], Vec::as_slice);
                selected.report_at(at, problem.clone());
            }
        }
        // That a device leads to several places must not be lost with those that are left
        // out: it is unknown which of the places is plugged in, and a job over the wrong
        // one hangs.
        let account = self.account();
        let mut doubtful = vec![false; self.ports.len()];
        for (port, _) in self.ports() {
            let state = account.end(port);
            let EndState::Several { places, .. } = state else {
                continue;
            };
            if places.iter().any(|place| ports[place.0].is_none()) {
                doubtful[port.0] = true;
                if let (Some(kept), Some(problem)) = (ports[port.0], state.problem(self, port)) {
                    selected.report_at(&[kept], problem);
                }
            }
        }
        let kept = self.sightings.iter().filter_map(|sighting| {
            let sound = !doubtful[sighting.from.0] && !doubtful[sighting.to.0];
            let (from, to) = (ports[sighting.from.0]?, ports[sighting.to.0]?);
            let cable = sighting.cable;
            sound.then_some(Sighting { from, to, cable })
        });
        selected.sightings = kept.collect();
        Ok(selected)
    }

    fn named(&self, name: &str) -> Result<NodeId, SelectError> {
        if let Some(id) = self.node(name) {
            return Ok(id);
        }
        let called = |node: &NodeInfo| node.label.as_deref() == Some(name);
        let mut ids = self.nodes().filter(|(_, node)| called(node));
        match (ids.next(), ids.next()) {
            (Some((id, _)), None) => Ok(id),
            (None, _) => Err(SelectError::Unknown {
                node: name.to_owned(),
                known: self.nodes.iter().map(with_label).collect(),
            }),
            (Some(_), Some(_)) => Err(SelectError::Ambiguous {
                label: name.to_owned(),
                names: self
                    .nodes
                    .iter()
                    .filter(|node| called(node))
                    .map(|node| node.name.clone())
                    .collect(),
            }),
        }
    }
}

fn with_label(node: &NodeInfo) -> String {
    match &node.label {
        Some(label) => format!("{} ({label})", node.name),
        None => node.name.clone(),
    }
}

/// Up to twelve names, and the number of others.
fn there_are(known: &[String]) -> String {
    const SHOWN: usize = 12;
    match known {
        [] => "are none".to_owned(),
        few if few.len() <= SHOWN => format!("are: {}", few.join(", ")),
        many => format!(
            "are: {} and {} more",
            many[..SHOWN].join(", "),
            many.len() - SHOWN
        ),
    }
}
