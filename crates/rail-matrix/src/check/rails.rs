//! Checks whether the rails that jaccl opens can carry: the k-th devices of a pair must
//! be the two ends of one cable, which no other rail uses.

use std::collections::{BTreeMap, HashSet};

use super::{
    cell::Cell,
    finding::{Finding, Outcome},
    findings::{Findings, SHOWN},
    subject::Subject,
    wrong::Wrong,
};
use crate::{Account, Backend, EndState, NodeId, NodeState, PortId, Problem, Topology};

/// The queue pairs of a Thunderbolt device (Apple's technote TN3205).
const QUEUE_PAIRS: usize = 10;

/// The memory regions of a Thunderbolt device (TN3205: about 100).
const REGIONS: usize = 100;

/// What the names of Thunderbolt devices begin with.
const THUNDERBOLT: &str = "rdma_";

pub fn judge(subject: &Subject<'_>, findings: &mut Findings) {
    named(subject, findings);
    once(subject, findings);
    limits(subject, findings);
    let Some((topology, account)) = &subject.cabling else {
        return;
    };
    let cabled = Cabled {
        subject,
        topology,
        account,
    };
    cabled.description(findings);
    for pair in subject.pairs() {
        for rail in 0..subject.opened(pair) {
            cabled.rail(pair, rail, findings);
        }
    }
}

fn named(subject: &Subject<'_>, findings: &mut Findings) {
    let nameless = subject
        .opened_devices()
        .filter(|(_, device)| device.is_empty());
    findings.extend(nameless.map(|(cell, _)| Finding::new(Outcome::Fails, cell, Wrong::Nameless)));
}

/// Findings for devices that are opened more than once.
fn once(subject: &Subject<'_>, findings: &mut Findings) {
    let mut uses: BTreeMap<(usize, &str), Vec<Cell>> = BTreeMap::new();
    let opened = subject.opened_devices();
    for (cell, device) in opened.filter(|(_, device)| !device.is_empty()) {
        uses.entry((cell.from, device)).or_default().push(cell);
    }
    let repeated = uses.iter().filter(|(_, cells)| cells.len() > 1);
    for (&(rank, device), cells) in repeated {
        // If both ends are repeated alike, they are several queue pairs of one cable,
        // which do carry.
        let there = |cell: &Cell| &subject.cells[cell.to][cell.from][cell.rail.unwrap_or(0)];
        let same = |cell: &Cell| cell.to == cells[0].to && there(cell) == there(&cells[0]);
        let alike = cells.iter().all(same);
        let wrong = Wrong::Repeated {
            device: subject.device(rank, device),
            cells: cells.iter().take(SHOWN).copied().collect(),
            more: cells.len().saturating_sub(SHOWN),
            alike,
            when: subject.when(cells[1].rail.unwrap_or(0)),
        };
        let outcome = if alike {
            Outcome::Wasted
        } else {
            Outcome::Hangs
        };
        findings.push(Finding::new(outcome, cells[1], wrong));
    }
}

/// Findings for devices that are opened more often than they can be.
fn limits(subject: &Subject<'_>, findings: &mut Findings) {
    let mut asked: BTreeMap<(usize, &str), (Cell, usize, usize)> = BTreeMap::new();
    let devices = subject.opened_devices();
    for (cell, device) in devices.filter(|(_, device)| device.starts_with(THUNDERBOLT)) {
        let (pairs, regions) = taken(subject, cell);
        let sums = asked.entry((cell.from, device)).or_insert((cell, 0, 0));
        sums.1 += pairs;
        sums.2 += regions;
    }
    for (&(rank, device), &(cell, pairs, regions)) in &asked {
        let limits = [
            ("queue pairs", pairs, QUEUE_PAIRS),
            ("memory regions", regions, REGIONS),
        ];
        let over = limits.into_iter().filter(|(_, asked, most)| asked > most);
        findings.extend(over.map(|(what, asked, most)| {
            let wrong = Wrong::Limit {
                device: subject.device(rank, device),
                what,
                asked,
                most,
            };
            Finding::new(Outcome::Fails, Cell { rail: None, ..cell }, wrong)
        }));
    }
}

/// The queue pairs and memory regions that jaccl takes of a device for one place in the
/// matrix (`allocate_buffers` in `ring.cpp` and `mesh.cpp`): 16 buffers, each registered
/// for sends and for receives. Two ranks are neighbours on both sides, so a ring opens
/// their devices twice. A mesh also has buffers for passing parts to both neighbours.
fn taken(subject: &Subject<'_>, cell: Cell) -> (usize, usize) {
    let both = 32;
    let neighbours = subject.counts.neighbours(cell.from);
    let sides = neighbours.iter().filter(|rank| **rank == cell.to).count();
    match subject.backend {
        Backend::Ring => (sides, sides * both),
        Backend::Mesh => (1, both + sides * both),
    }
}

struct Cabled<'a> {
    subject: &'a Subject<'a>,
    topology: &'a Topology,
    account: &'a Account,
}

impl Cabled<'_> {
    /// Findings for nodes that cannot take part in any job, and warnings about what the
    /// matrix uses.
    fn description(&self, findings: &mut Findings) {
        let ranks = self.subject.ranks();
        let is_rank = |name: &str| {
            let id = self.topology.node(name);
            id.is_some_and(|NodeId(node)| node < ranks)
        };
        let opened = self.subject.opened_devices();
        let opened = opened.map(|(cell, device)| (&*self.topology[NodeId(cell.from)].name, device));
        let opened: HashSet<_> = opened.collect();
        let used = |end: &rig::End| opened.contains(&(&*end.node, &*end.device));
        for problem in self.account.problems() {
            let outcome = match problem {
                Problem::RdmaDisabled { .. } => Outcome::Fails,
                problem if problem.is_warning() => Outcome::Note,
                _ => continue,
            };
            let concerned = match problem {
                Problem::RdmaDisabled { node, .. } => is_rank(node),
                Problem::DoubtfulPort { device, .. } => used(device),
                Problem::RepeatedAddress { devices, .. } => devices.iter().any(used),
                problem => problem.nodes().into_iter().any(is_rank),
            };
            if concerned {
                let problem = problem.clone();
                findings.push(Finding::new(outcome, None, Wrong::Description { problem }));
            }
        }
    }

    fn rail(&self, (i, j): (usize, usize), rail: usize, findings: &mut Findings) {
        let off = |rank: &usize| matches!(self.account.node(NodeId(*rank)), NodeState::Off(_));
        // The cables of a node that does no RDMA are unknown.
        if [i, j].iter().any(off) {
            return;
        }
        let ends = [(i, j), (j, i)].map(|(from, to)| {
            let rail = Some(rail);
            self.end(Cell { from, to, rail })
        });
        match ends {
            [End::Cabled(a), End::Cabled(b)] => {
                findings.extend(self.one_cable((i, j), rail, [a, b]));
                findings.extend(self.one_sided((i, j), rail, a));
            }
            [End::Wrong(a), End::Wrong(b)] if b.wrong.is_said_by(&a.wrong) => findings.push(*a),
            [End::Wrong(a), End::Wrong(b)] if a.wrong.is_said_by(&b.wrong) => findings.push(*b),
            ends => findings.extend(ends.into_iter().filter_map(|end| match end {
                End::Wrong(finding) => Some(*finding),
                _ => None,
            })),
        }
    }

    /// What is in a place of the matrix.
    fn end(&self, cell: Cell) -> End {
        let Cell { from, to, rail } = cell;
        let rail = rail.unwrap_or(0);
        let name = &self.subject.cells[from][to][rail];
        if name.is_empty() {
            return End::Nameless;
        }
        let device = self.subject.device(from, name);
        let when = self.subject.when(rail);
        let wrong = |outcome, wrong| End::Wrong(Box::new(Finding::new(outcome, cell, wrong)));
        let Some(port) = self.topology.find_port(NodeId(from), name) else {
            return wrong(Outcome::Fails, Wrong::UnknownDevice { device });
        };
        if let Some(why) = self.topology[port].unfit {
            return wrong(Outcome::Fails, Wrong::UnfitDevice { device, why });
        }
        match self.account.end(port) {
            &EndState::Cabled { other, .. } if self.topology[other].node == NodeId(to) => {
                End::Cabled(port)
            }
            &EndState::Cabled { cable, other } => {
                let cable = &self.account.cables[cable];
                wrong(
                    Outcome::Hangs,
                    Wrong::LeadsElsewhere {
                        device,
                        cable: self.topology.cable_name(cable),
                        to: self.subject.device_at(self.topology, other),
                        wanted: self.subject.names.titles[to].clone(),
                        exchange: self.exchange(cell, self.topology[other].node),
                        when,
                    },
                )
            }
            EndState::Unreachable { other, problem }
                if !matches!(**problem, Problem::DeviceOnTwoCables { .. }) =>
            {
                let problem = Problem::clone(problem);
                let other = *other;
                let known = matches!(problem, Problem::UnfitDevice { .. });
                match self.topology[other].node == NodeId(to) || known {
                    true => wrong(Outcome::Fails, Wrong::Description { problem }),
                    false => wrong(
                        Outcome::Hangs,
                        Wrong::Unplugged {
                            device,
                            problem: Some(problem),
                            when,
                        },
                    ),
                }
            }
            state => {
                let partner = self.subject.cells[to][from].get(rail);
                let partner = partner.and_then(|name| self.topology.find_port(NodeId(to), name));
                match partner.and_then(|partner| self.stated(port, partner)) {
                    Some(problem) => wrong(Outcome::Note, Wrong::OneSided { problem, when }),
                    None => wrong(
                        Outcome::Hangs,
                        Wrong::Unplugged {
                            device,
                            problem: state.problem(self.topology, port),
                            when,
                        },
                    ),
                }
            }
        }
    }

    /// The problem of a cable between two devices that one of them alone states.
    fn stated(&self, a: PortId, b: PortId) -> Option<Problem> {
        let stated = |by: PortId, end: PortId| matches!(self.account.end(by), &EndState::Stated { from, to } if (from, to) == (by, end));
        let by = [(a, b), (b, a)]
            .into_iter()
            .find(|&(by, end)| stated(by, end));
        by.and_then(|(by, _)| self.account.end(by).problem(self.topology, by))
    }

    /// A place in the row of a cell whose device leads to the cell's rank, in the column
    /// of the rank that the cell's device leads to: the two are exchanged.
    fn exchange(&self, cell: Cell, leads_to: NodeId) -> Option<Cell> {
        let NodeId(column) = leads_to;
        let devices = self.subject.cells[cell.from].get(column)?;
        let rail = devices.iter().position(|name| {
            let port = self.topology.find_port(NodeId(cell.from), name);
            let other = port.and_then(|port| self.account.other(port));
            other.is_some_and(|other| self.topology[other].node == NodeId(cell.to))
        })?;
        Some(Cell {
            from: cell.from,
            to: column,
            rail: Some(rail),
        })
    }

    /// A note for a cable that one end states and the caller accepts.
    fn one_sided(&self, (from, to): (usize, usize), rail: usize, port: PortId) -> Option<Finding> {
        let &EndState::Cabled { cable, .. } = self.account.end(port) else {
            return None;
        };
        let join = &self.account.cables[cable];
        let rail = Some(rail);
        join.one_sided.then(|| {
            let cable = self.topology.cable_name(join);
            Finding::new(
                Outcome::Note,
                Cell { from, to, rail },
                Wrong::Accepted { cable },
            )
        })
    }

    /// Checks that two devices with cables between their nodes have the same cable.
    fn one_cable(
        &self,
        (from, to): (usize, usize),
        rail: usize,
        [a, b]: [PortId; 2],
    ) -> Option<Finding> {
        let other = self.account.other(a)?;
        let device = |port| self.subject.device_at(self.topology, port);
        (other != b).then(|| {
            let wrong = Wrong::Crossed {
                ends: [device(a), device(b)],
                leads_to: device(other),
                when: self.subject.when(rail),
            };
            let rail = Some(rail);
            Finding::new(Outcome::Hangs, Cell { from, to, rail }, wrong)
        })
    }
}

/// What is in a place of the matrix.
enum End {
    /// A device without a name, which has a finding of its own.
    Nameless,
    /// A device whose cable leads to the rank of the place.
    Cabled(PortId),
    Wrong(Box<Finding>),
}

impl Wrong {
    /// Whether another finding of the same rail says the same: the same problem of their
    /// cable, or why its other end is the reason.
    fn is_said_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OneSided { problem: a, .. }, Self::OneSided { problem: b, .. })
            | (
                Self::Unplugged {
                    problem: Some(a), ..
                },
                Self::Unplugged {
                    problem: Some(b), ..
                },
            )
            | (Self::Description { problem: a }, Self::Description { problem: b }) => a == b,
            (
                Self::Description {
                    problem: Problem::UnfitDevice { device: unfit, .. },
                },
                Self::UnfitDevice { device, .. },
            ) => *unfit == device.end,
            // Its cable is unknown because of the other end.
            (Self::Unplugged { problem: None, .. }, other) => {
                !matches!(other, Self::Unplugged { .. })
            }
            _ => false,
        }
    }
}
