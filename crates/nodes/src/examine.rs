//! From the answers of the nodes to their facts and to what is wrong.

use std::slice;

use rail_matrix::{Topology, Unfit, read::reports, write::Diagnosis};
use rig::Rig;
use serde_json::Value;

use crate::{
    Device, Finding, NodeFacts, State,
    facts::EMULATED,
    judge::{self, Joined},
    read::{self, Node},
};

/// What is expected of the nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// The rig whose nodes they are.
    pub rig: Option<&'a Rig>,
    /// Whether the cables are real, so that nodes must have RDMA devices of their own.
    pub real: bool,
    /// Whether the nodes must have the files of one model.
    pub model: bool,
}

/// What the script printed on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Its stdout.
    pub text: String,
    /// When it was started, by this machine's clock, in seconds since 1970.
    pub asked: f64,
    /// When it had ended.
    pub answered: f64,
    /// Whether it was ended because it took too long.
    pub late: bool,
}

/// Why a node did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

/// The answer of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What `ssh` calls it, or `localhost`.
    pub host: String,
    /// The nodes of the rig that it is.
    pub nodes: Vec<String>,
    /// What it said.
    pub said: Result<Said, Unreachable>,
}

/// The facts of the nodes, and what is wrong with them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Examination {
    /// Of every machine that answered, in the order of the answers.
    pub nodes: Vec<NodeFacts>,
    /// Failures first.
    pub findings: Vec<Finding>,
    /// The account of the real cables, in the schema `mlx-rails/matrix-doctor/1`.
    pub cabling: Option<Value>,
}

impl Examination {
    /// What keeps ranks from being started.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_failure())
    }

    /// Whether nothing does. Warnings do not count.
    pub fn is_well(&self) -> bool {
        self.failures().next().is_none()
    }
}

/// Reads and judges the answers of the nodes.
pub fn examine(scope: Scope, answers: &[Answer]) -> Examination {
    let mut findings = Vec::new();
    let mut nodes = Vec::new();
    for answer in answers {
        match &answer.said {
            Ok(said) => {
                let node = read::node(&answer.host, &answer.nodes, said);
                let title = node.facts.title();
                findings.extend(node.hung.iter().map(|tool| judge::hung(title, tool)));
                findings.extend(said.late.then(|| judge::late(title, said, &node.last)));
                nodes.push(node);
            }
            Err(unreachable) => findings.push(judge::unreachable(answer, unreachable)),
        }
    }
    let emulated = scope.rig.filter(|_| !scope.real);
    let topology = match emulated {
        Some(rig) => {
            let each = nodes.iter_mut();
            each.for_each(|node| node.facts.devices = Some(emulated_devices(rig, &node.facts)));
            None
        }
        None => {
            let (topology, contradiction) = join(scope, &mut nodes);
            findings.extend(contradiction);
            Some(topology)
        }
    };
    let diagnosis = topology.as_ref().map(Diagnosis::of);
    let cabling = diagnosis.as_ref().map(Diagnosis::value);
    if let (Some(topology), Some(diagnosis)) = (&topology, &diagnosis) {
        let account = diagnosis.account();
        for node in &mut nodes {
            add_devices(node, topology, diagnosis);
        }
        let facts: Vec<_> = nodes.iter().map(|node| &node.facts).collect();
        let joined = Joined { topology, account };
        findings.extend(judge::cabling(scope, &facts, joined));
    }
    let nodes: Vec<_> = nodes.into_iter().map(|node| node.facts).collect();
    findings.extend(judge::machines(scope, &nodes));
    findings.sort_by_key(|finding| finding.severity);
    Examination {
        nodes,
        findings,
        cabling,
    }
}

/// Adds to the facts of nodes what they answered to [`state_script`](crate::state_script)
/// after their ranks had run. Returns what was not wrong with them before.
pub fn after(nodes: &mut [NodeFacts], answers: &[Answer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for answer in answers {
        let said = match &answer.said {
            Ok(said) => said,
            Err(unreachable) => {
                findings.push(judge::unreachable(answer, unreachable));
                continue;
            }
        };
        let now = read::node(&answer.host, &answer.nodes, said).facts;
        for node in nodes.iter_mut().filter(|node| node.host == answer.host) {
            let before: Vec<_> = judge::state(node).map(|finding| finding.kind).collect();
            let new = judge::state(&now).filter(|finding| !before.contains(&finding.kind));
            findings.extend(new);
            node.after = Some(State {
                power: now.power,
                heat: now.heat,
            });
        }
    }
    findings
}

/// Joins what the nodes report of their cables. A node without usable reports is left out.
fn join(scope: Scope, nodes: &mut [Node]) -> (Topology, Option<Finding>) {
    let mut usable = Vec::new();
    for node in nodes.iter_mut() {
        let report =
            node.report
                .clone()
                .and_then(|report| match reports(slice::from_ref(&report)) {
                    Ok(_) => Ok(report),
                    Err(error) => Err(error.to_string()),
                });
        usable.extend(node.facts.fact("devices", report));
    }
    match reports(&usable) {
        // The rig says which cables there are.
        Ok(topology) => (topology.accept_one_sided(scope.rig.is_some()), None),
        // Each can be read alone, so two of them are of one machine.
        Err(error) => {
            let error = error.to_string();
            for node in nodes {
                node.facts.missing.entry("devices").or_insert(error.clone());
            }
            let names = usable.iter().map(|report| &*report.name);
            let contradiction = judge::contradiction(names, &error);
            (Topology::new(), Some(contradiction))
        }
    }
}

/// The devices of a node as its rig has them.
fn emulated_devices(rig: &Rig, facts: &NodeFacts) -> Vec<Device> {
    let several = facts.nodes.len() > 1;
    let ends = rig.cables.iter().flat_map(|cable| {
        let [a, b] = &cable.ends;
        [(a, b), (b, a)]
    });
    let own = ends.filter(|(end, _)| facts.nodes.contains(&end.node));
    let device = |(end, other): (&rig::End, &rig::End)| Device {
        name: match several {
            true => end.to_string(),
            false => end.device.clone(),
        },
        port: None,
        gids: None,
        addresses: None,
        cable: EMULATED,
        other: Some(other.to_string()),
    };
    own.map(device).collect()
}

/// Adds the devices of a node, as far as it reports any.
fn add_devices(node: &mut Node, topology: &Topology, diagnosis: &Diagnosis) {
    let Node { facts, ports, .. } = node;
    let Some(id) = topology.node(facts.title()) else {
        return;
    };
    facts.bridged = topology[id].bridged;
    let own = topology.ports().filter(|(_, info)| info.node == id);
    let real = own.filter(|(_, info)| info.unfit != Some(Unfit::NotListed));
    let devices: Vec<_> = real
        .map(|(port, info)| {
            let known = ports
                .as_ref()
                .ok()
                .and_then(|ports| ports.get(&info.device));
            let addresses = info.addresses.as_ref();
            Device {
                name: info.device.clone(),
                port: known.and_then(|port| port.state.clone()),
                gids: known.map(|port| port.gids.clone()),
                addresses: addresses.map(|all| all.iter().map(ToString::to_string).collect()),
                cable: diagnosis.account().end(port).name(),
                other: diagnosis
                    .other(port)
                    .map(|other| topology.end(other).to_string()),
            }
        })
        .collect();
    if let (Err(why), false) = (&*ports, devices.is_empty()) {
        facts.missing.insert("gids", why.clone());
    }
    facts.devices = Some(devices);
}
