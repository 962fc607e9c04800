//! Some of the nodes, in an order of the caller's.

use std::collections::HashMap;

use super::{NodeId, NodeInfo, PortId, Problem, Sighting, Topology};

/// Nodes that cannot be picked from a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// A name that no node has.
    #[error("there is no node '{node}'; there {}", there_are(known))]
    Unknown {
        /// What was asked for.
        node: String,
        /// The names there are, each with its label in brackets where it has one.
        known: Vec<String>,
    },
    /// A label that several nodes have.
    #[error("several nodes are called '{label}': {}; name the one that is meant", names.join(", "))]
    Ambiguous {
        /// What was asked for.
        label: String,
        /// The nodes that are called so.
        names: Vec<String>,
    },
    /// A node that is named twice.
    #[error("node '{node}' is named twice; a node is one rank")]
    Repeated {
        /// Its name.
        node: String,
    },
}

impl Topology {
    /// These nodes alone, in this order, with the cables between them. A node is named by
    /// its name, or by its label where no other has the same.
    ///
    /// # Errors
    /// When a name is nobody's, stands for several nodes, or comes twice.
    pub fn select(&self, names: &[impl AsRef<str>]) -> Result<Self, SelectError> {
        let mut position = HashMap::with_capacity(names.len());
        let mut selected = Self {
            cables: self.cables.clone(),
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
        let kept = self.sightings.iter().filter_map(|sighting| {
            Some(Sighting {
                from: ports[sighting.from.0]?,
                to: ports[sighting.to.0]?,
                cable: sighting.cable,
            })
        });
        selected.sightings = kept.collect();
        let concerned = |problem: &&Problem| {
            let about = |id: NodeId| problem.is_about(&self[id].name);
            position.keys().any(|&id| about(id)) || !self.nodes().any(|(id, _)| about(id))
        };
        selected.problems = self.problems.iter().filter(concerned).cloned().collect();
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

/// Up to twelve names, and how many more there are.
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
