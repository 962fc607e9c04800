//! The rules for rigs, however a rig was made.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
};

use super::{Cable, Cables, End, Rig, RigError, RigProblem};

mod fault;
mod hosts;

/// The part of a rig that a problem is about. The parser turns it into a line number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Rig,
    Rules,
    Node(usize),
    Cable(usize),
    End(usize, usize),
    /// This field of a fault.
    Fault(usize, &'static str),
}

/// The possible subjects of a fault.
struct Parts<'a> {
    devices: HashSet<&'a End>,
    cables: HashSet<&'a String>,
    nodes: HashSet<&'a str>,
}

impl Rig {
    /// Checks that the profile has the rules that are not the usual ones, that names are
    /// given and unique, that every cable joins two different nodes of the rig, that a
    /// device has one cable, that no cable's bandwidth is zero, and that every fault is on
    /// a device, cable or node of the rig, has the times and values that its kind
    /// requires, and does not overlap another of its subject.
    ///
    /// # Errors
    /// The first problem in the order of the rig.
    pub fn check(&self) -> Result<(), RigError> {
        self.check_places().map_err(|(_, problem)| problem.into())
    }

    pub(super) fn check_places(&self) -> Result<(), (Place, RigProblem)> {
        self.rules
            .check()
            .map_err(|problem| (Place::Rules, problem))?;
        let nodes = self.check_nodes()?;
        let mut names = HashSet::new();
        let mut used = HashMap::new();
        for (c, cable) in self.cables.iter().enumerate() {
            self.check_cable(c, cable, &nodes)?;
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
        if self.kind == Cables::Real && !self.faults.is_empty() {
            return Err((Place::Fault(0, "kind"), RigProblem::FaultOnRealCables));
        }
        self.check_faults(&Parts {
            devices: used.into_keys().collect(),
            cables: names,
            nodes,
        })
    }

    /// The names of the nodes.
    fn check_nodes(&self) -> Result<HashSet<&str>, (Place, RigProblem)> {
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
            if !names.insert(node.name.as_str()) {
                return Err((Place::Node(n), RigProblem::DuplicateNode(node.name.clone())));
            }
        }
        if self.needs_hosts() {
            hosts::check(&self.nodes).map_err(|(n, problem)| (Place::Node(n), problem))?;
        }
        Ok(names)
    }

    fn check_cable(
        &self,
        c: usize,
        cable: &Cable,
        nodes: &HashSet<&str>,
    ) -> Result<(), (Place, RigProblem)> {
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
            if !nodes.contains(end.node.as_str()) {
                let problem = RigProblem::UnknownNode {
                    cable: name.clone(),
                    node: end.node.clone(),
                    known: list(self.nodes.iter().map(|node| &node.name)),
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

/// Quoted names in a row, for people: up to twelve, and a mark if there are more.
pub(super) fn list(names: impl Iterator<Item = impl Display>) -> String {
    const SHOWN: usize = 12;
    let mut names = names.map(|name| format!("'{name}'"));
    let shown: Vec<_> = names.by_ref().take(SHOWN).collect();
    let more = if names.next().is_some() { ", ..." } else { "" };
    shown.join(", ") + more
}
