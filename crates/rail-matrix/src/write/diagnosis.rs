//! What is known of every node and end, and what is wrong with it.

use std::fmt::Write as _;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use rig::{End, units};
use serde::Serialize;
use serde_json::Value;

use super::{one_line, pretty};
use crate::{
    Account, EndState, Note, PortAddress, PortId, PortInfo, Problem, Rdma, Topology, Unfit,
    words::joined,
};

/// The name and version of [`Diagnosis::json`].
pub const DIAGNOSIS_SCHEMA: &str = "mlx-rails/matrix-doctor/1";

/// An [`Account`] as documents.
#[derive(Debug)]
pub struct Diagnosis<'a> {
    topology: &'a Topology,
    account: Account,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    well: bool,
    nodes: Vec<Node<'a>>,
    problems: Vec<Remark<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    name: &'a str,
    label: Option<&'a str>,
    model: Option<&'a str>,
    /// `on`, `off` or `unknown`, or null if the description does not say.
    rdma: Option<&'static str>,
    bridged: Option<bool>,
    ends: Vec<Port<'a>>,
}

#[derive(Serialize)]
struct Port<'a> {
    device: &'a str,
    state: &'static str,
    /// The other end of its cable, if that is known.
    other: Option<End>,
    /// What keeps a cable from being in it.
    problem: Option<Problem>,
    bytes_per_second: Option<u64>,
    line_bytes_per_second: Option<u64>,
    /// As `address/prefix`, or null if they are unknown.
    addresses: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Remark<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    warning: bool,
    sentence: String,
}

impl<'a> Diagnosis<'a> {
    /// The diagnosis of a cabling.
    pub fn of(topology: &'a Topology) -> Self {
        Self {
            topology,
            account: topology.account(),
        }
    }

    /// The account that it is of.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether nothing is wrong. Warnings do not count, and neither do the other ends of
    /// the cables of a node that was described alone.
    pub fn is_well(&self) -> bool {
        let alone = self.topology.nodes().len() == 1;
        self.account.problems().iter().all(|problem| {
            let peer = matches!(problem, Problem::UnknownPeer { .. });
            problem.is_warning() || (alone && peer)
        })
    }

    /// For people: a table a node, and what is wrong. The text ends with a line break.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (id, node) in self.topology.nodes() {
            let rdma = match rdma(&node.rdma) {
                Some("on") => ": RDMA is on",
                Some("off") => ": RDMA is off",
                Some(_) => ": whether RDMA is on is unknown",
                None => "",
            };
            let title = match &node.label {
                Some(label) if *label != node.name => format!("{label} ({})", node.name),
                _ => node.name.clone(),
            };
            let mut table = Table::new();
            table.load_style(ASCII_MARKDOWN).set_header([
                "device",
                "cable",
                "carries",
                "addresses",
            ]);
            let own = self.topology.ports().filter(|(_, info)| info.node == id);
            for (port, info) in own {
                let addresses = info.addresses.as_deref();
                let addresses = addresses.map_or("?".to_owned(), |all| {
                    joined(all.iter().map(PortAddress::to_string), ", ")
                });
                let row = [
                    info.device.clone(),
                    self.cable(port),
                    info.bytes_per_second
                        .map_or_else(|| "?".to_owned(), units::about_rate),
                    addresses,
                ];
                table.add_row(row.map(|cell| one_line(&cell).replace('|', "\\|")));
            }
            let _ = writeln!(text, "{}{rdma}\n\n{table}\n", one_line(&title));
        }
        for problem in self.account.problems() {
            let sentence = match problem.is_warning() {
                true => Note::of(problem.clone()).to_string(),
                false => format!("wrong: {problem}"),
            };
            let _ = writeln!(text, "- {}", one_line(&sentence));
        }
        if self.account.problems().is_empty() {
            let cables = self.account.cables().len();
            let cables = format!("{cables} {}", crate::words::plural(cables, "cable"));
            let _ = writeln!(text, "{cables}, and nothing is wrong with the description.");
        }
        text
    }

    /// For programs, as one object. See [`DIAGNOSIS_SCHEMA`]. The text ends with a line
    /// break.
    pub fn json(&self) -> String {
        pretty(&self.document()) + "\n"
    }

    /// The same as a value, to be a part of another document.
    pub fn value(&self) -> Value {
        serde_json::to_value(self.document()).expect("names, numbers and lists are JSON")
    }

    fn document(&self) -> Document<'_> {
        let nodes = self.topology.nodes().map(|(id, node)| {
            let own = self.topology.ports().filter(|(_, info)| info.node == id);
            Node {
                name: &node.name,
                label: node.label.as_deref(),
                model: node.model.as_deref(),
                rdma: rdma(&node.rdma),
                bridged: node.bridged,
                ends: own.map(|(port, info)| self.port(port, info)).collect(),
            }
        });
        let problems = self.account.problems().iter().map(|problem| Remark {
            problem,
            warning: problem.is_warning(),
            sentence: problem.to_string(),
        });
        Document {
            schema: DIAGNOSIS_SCHEMA,
            well: self.is_well(),
            nodes: nodes.collect(),
            problems: problems.collect(),
        }
    }

    fn port<'b>(&'b self, port: PortId, info: &'b PortInfo) -> Port<'b> {
        let addresses = info.addresses.as_ref();
        Port {
            device: &info.device,
            state: self.account.end(port).name(),
            problem: self.account.end(port).problem(self.topology, port),
            other: self.other(port).map(|other| self.topology.end(other)),
            bytes_per_second: info.bytes_per_second,
            line_bytes_per_second: info.line_bytes_per_second,
            addresses: addresses.map(|all| all.iter().map(PortAddress::to_string).collect()),
        }
    }

    /// The device that a device is said to lead to, if it is one.
    pub fn other(&self, port: PortId) -> Option<PortId> {
        match *self.account.end(port) {
            EndState::Cabled { other, .. }
            | EndState::Unreachable { other, .. }
            | EndState::Loop { other } => Some(other),
            EndState::Stated { from, to } if from == port => Some(to),
            EndState::Stated { from, .. } => Some(from),
            EndState::Stale { to, .. } => Some(to),
            _ => None,
        }
    }

    fn cable(&self, port: PortId) -> String {
        let to = |other| self.topology.end(other).to_string();
        match self.account.end(port) {
            EndState::Cabled { other, .. } => format!("to {}", to(*other)),
            EndState::Stated { from, to: end } if *from == port => {
                format!("to {}, which says nothing of it", to(*end))
            }
            EndState::Stated { from, .. } => format!("{} says so alone", to(*from)),
            EndState::Contested { by } => format!("{} devices say so", by.len()),
            EndState::Stale { to: end, .. } => format!("left from before: to {}", to(*end)),
            EndState::Several { places, .. } => format!("one of {}", places.len()),
            EndState::Loop { other } => format!("to {} of the same node", to(*other)),
            EndState::Unreachable { other, .. } => format!("to {}, unreachable", to(*other)),
            EndState::Unfit { why } => unfit(*why).to_owned(),
            EndState::Unknown { .. } => "its other end is unknown".to_owned(),
            EndState::Silent => "none is stated".to_owned(),
        }
    }
}

/// Why a device cannot carry RDMA, in a few words.
fn unfit(why: Unfit) -> &'static str {
    match why {
        Unfit::NotListed => "no RDMA device",
        Unfit::Thunderbolt4 { .. } => "Thunderbolt 4 or older",
        Unfit::PortDown => "the port is down",
        Unfit::NoInterface => "no network interface",
        Unfit::NoIpv4 { bridged: false } => "no IPv4 address",
        Unfit::NoIpv4 { bridged: true } => "no IPv4 address, in a bridge",
    }
}

fn rdma(known: &Rdma) -> Option<&'static str> {
    Some(match known {
        Rdma::Undescribed => return None,
        Rdma::Unknown => "unknown",
        Rdma::On => "on",
        Rdma::Off(_) => "off",
    })
}
