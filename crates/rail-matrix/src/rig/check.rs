//! What every rig must satisfy, however it was made.

use std::collections::{HashMap, HashSet};

use super::{Cable, Rig, RigError, RigProblem};

/// The part of a rig that a problem is about. The parser turns it into a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Rig,
    Node(usize),
    Cable(usize),
    End(usize, usize),
}

impl Rig {
    /// Checks that names are given and unique, that every cable joins two
    /// different nodes of the rig, that a device has one cable and that no
    /// cable's bandwidth is zero.
    ///
    /// # Errors
    /// The first problem in the order of the rig.
    pub fn check(&self) -> Result<(), RigError> {
        self.check_places().map_err(|(_, problem)| problem.into())
    }

    pub(super) fn check_places(&self) -> Result<(), (Place, RigProblem)> {
        self.check_nodes()?;
        let mut names = HashSet::new();
        let mut used = HashMap::new();
        for (c, cable) in self.cables.iter().enumerate() {
            self.check_cable(c, cable)?;
            if !names.insert(&cable.name) {
                return Err((
                    Place::Cable(c),
                    RigProblem::DuplicateCable(cable.name.clone()),
                ));
            }
            for (e, end) in cable.ends.iter().enumerate() {
                if let Some(first) = used.insert(end, &cable.name) {
                    let (end, first, second) = (end.to_string(), first.clone(), cable.name.clone());
                    return Err((
                        Place::End(c, e),
                        RigProblem::DeviceUsedTwice { end, first, second },
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_nodes(&self) -> Result<(), (Place, RigProblem)> {
        if self.nodes.is_empty() {
            return Err((Place::Rig, RigProblem::NoNodes));
        }
        let mut names = HashSet::new();
        for (n, node) in self.nodes.iter().enumerate() {
            if node.name.is_empty() {
                let problem = RigProblem::EmptyName {
                    what: "node",
                    position: n + 1,
                    example: "a",
                };
                return Err((Place::Node(n), problem));
            }
            if !names.insert(&node.name) {
                return Err((Place::Node(n), RigProblem::DuplicateNode(node.name.clone())));
            }
        }
        Ok(())
    }

    fn check_cable(&self, c: usize, cable: &Cable) -> Result<(), (Place, RigProblem)> {
        let name = &cable.name;
        if name.is_empty() {
            let problem = RigProblem::EmptyName {
                what: "cable",
                position: c + 1,
                example: "cable-1",
            };
            return Err((Place::Cable(c), problem));
        }
        for (e, end) in cable.ends.iter().enumerate() {
            if end.node.is_empty() || end.device.is_empty() {
                let problem = RigProblem::BadEnd {
                    cable: name.clone(),
                    end: end.to_string(),
                };
                return Err((Place::End(c, e), problem));
            }
            if self.rank(&end.node).is_none() {
                let names: Vec<_> = self.nodes.iter().map(|n| format!("'{}'", n.name)).collect();
                let problem = RigProblem::UnknownNode {
                    cable: name.clone(),
                    node: end.node.clone(),
                    known: names.join(", "),
                };
                return Err((Place::End(c, e), problem));
            }
        }
        let [first, second] = &cable.ends;
        if first.node == second.node {
            let problem = RigProblem::BothEndsOnOneNode {
                cable: name.clone(),
                node: first.node.clone(),
            };
            return Err((Place::Cable(c), problem));
        }
        if cable.link.bytes_per_second == 0 {
            return Err((Place::Cable(c), RigProblem::ZeroBandwidth(name.clone())));
        }
        Ok(())
    }
}
