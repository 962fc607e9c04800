//! Checks whether the rails that jaccl opens can carry: the k-th devices of a pair must
//! be the two ends of one cable, which no other rail uses.

use std::collections::BTreeMap;

use super::{
    Cell, Finding, Findings, Outcome, Rule, Subject, findings::SHOWN, unsettled::Unsettled,
};
use crate::{Backend, NodeId, NodeInfo, PortId, Problem, Topology};

pub fn judge(subject: &Subject<'_>, findings: &mut Findings) {
    named(subject, findings);
    once(subject, findings);
    let Some((topology, joined)) = &subject.cabling else {
        return;
    };
    let mut plugged = vec![None; topology.ports().len()];
    for (cable, join) in joined.cables.iter().enumerate() {
        let [a, b] = join.ends;
        plugged[a.0] = Some((cable, b));
        plugged[b.0] = Some((cable, a));
    }
    let cabled = Cabled {
        subject,
        topology,
        plugged,
        unsettled: Unsettled::of(&joined.problems),
        names: &|cable| topology.cable_name(&joined.cables[cable]),
    };
    cabled.nodes(findings);
    for pair in subject.pairs() {
        for rail in 0..subject.opened(pair) {
            cabled.rail(pair, rail, findings);
        }
    }
}

/// Adds a finding for what could not be judged.
pub fn without_topology() -> Finding {
    Finding {
        outcome: Outcome::Note,
        rule: Rule::Told,
        cell: None,
        sentence: "without a topology nothing tells whether the k-th devices of two cells are \
                   the ends of one cable, and crossed ones hang; give one"
            .to_owned(),
    }
}

/// Every device that jaccl opens, by rank and cell.
fn opened<'a>(subject: &'a Subject<'_>) -> impl Iterator<Item = (Cell, &'a str)> {
    let cells = subject.pairs().flat_map(|(i, j)| [(i, j), (j, i)]);
    cells.flat_map(|(from, to)| {
        let devices = subject.cells[from][to].iter().enumerate();
        let devices = devices.take(subject.opened((from, to)));
        devices.map(move |(rail, device)| {
            let rail = Some(rail);
            (Cell { from, to, rail }, device.as_str())
        })
    })
}

fn named(subject: &Subject<'_>, findings: &mut Findings) {
    let nameless = opened(subject).filter(|(_, device)| device.is_empty());
    findings.extend(nameless.map(|(cell, _)| Finding {
        outcome: Outcome::Fails,
        rule: Rule::Named,
        cell: Some(cell),
        sentence: "a device without a name: jaccl opens nothing for it and then uses it".to_owned(),
    }));
}

/// Findings for devices that are opened more than once.
fn once(subject: &Subject<'_>, findings: &mut Findings) {
    let mut uses: BTreeMap<(usize, &str), Vec<Cell>> = BTreeMap::new();
    for (cell, device) in opened(subject).filter(|(_, device)| !device.is_empty()) {
        uses.entry((cell.from, device)).or_default().push(cell);
    }
    let repeated = uses.iter().filter(|(_, cells)| cells.len() > 1);
    for (&(rank, device), cells) in repeated {
        let mut places: Vec<_> = cells.iter().take(SHOWN).map(Cell::to_string).collect();
        if cells.len() > SHOWN {
            places.push(format!("{} more", cells.len() - SHOWN));
        }
        let (places, name) = (places.join(" and "), &subject.names[rank]);
        // If both ends are repeated alike, they are two queue pairs of one cable, which
        // do carry.
        let there = |cell: &Cell| &subject.cells[cell.to][cell.from][cell.rail.unwrap_or(0)];
        let alike = |cell: &Cell| cell.to == cells[0].to && there(cell) == there(&cells[0]);
        let (outcome, consequence) = if cells.iter().all(alike) {
            let text = "its rails share one cable, and add nothing";
            (Outcome::Wasted, text.to_owned())
        } else {
            let when = subject.when(cells[1].rail.unwrap_or(0));
            let text =
                format!("a device is the end of one cable, so one of them leads elsewhere: {when}");
            (Outcome::Hangs, text)
        };
        findings.push(Finding {
            outcome,
            rule: Rule::Once,
            cell: Some(cells[1]),
            sentence: format!("'{device}' of '{name}' is in {places}; {consequence}"),
        });
    }
}

impl Subject<'_> {
    /// The operations that do not return if this rail does not carry.
    fn when(&self, rail: usize) -> String {
        let kib = |bytes: u64| format!("{} KiB", bytes / 1024);
        match (self.backend, rail) {
            (_, 0) => "everything that passes it hangs, from the first message on".to_owned(),
            (Backend::Ring, _) => format!(
                "send, all_gather and all-reduces above {} hang; smaller all-reduces use rail 0 \
                 alone and pass",
                kib(self.jaccl.ring_spreads_above)
            ),
            (Backend::Mesh, _) => format!(
                "messages of {} and more hang; smaller ones use wire 0 alone and pass",
                kib(self.jaccl.mesh_spreads_from)
            ),
        }
    }
}

struct Cabled<'a> {
    subject: &'a Subject<'a>,
    topology: &'a Topology,
    /// By device, its cable and the device at the other end.
    plugged: Vec<Option<(usize, PortId)>>,
    unsettled: Unsettled<'a>,
    names: &'a dyn Fn(usize) -> String,
}

impl Cabled<'_> {
    /// Findings for nodes that cannot take part in any job.
    fn nodes(&self, findings: &mut Findings) {
        for (_, node) in self.topology.nodes().take(self.subject.ranks()) {
            let bridged = node.bridged == Some(true);
            let name = || node.name.clone();
            let problems = [
                is_off(node).then(|| Problem::RdmaDisabled { node: name() }),
                bridged.then(|| Problem::Bridged { node: name() }),
            ];
            findings.extend(problems.into_iter().flatten().map(|problem| Finding {
                outcome: Outcome::Fails,
                rule: Rule::Fit,
                cell: None,
                sentence: problem.to_string(),
            }));
        }
    }

    fn rail(&self, (i, j): (usize, usize), rail: usize, findings: &mut Findings) {
        if [i, j]
            .iter()
            .any(|&rank| is_off(&self.topology[NodeId(rank)]))
        {
            return;
        }
        let ends = [(i, j), (j, i)].map(|(from, to)| {
            let rail = Some(rail);
            self.end(Cell { from, to, rail })
        });
        match ends {
            [Ok(a), Ok(b)] => findings.extend(self.one_cable((i, j), rail, [a, b])),
            ends => {
                let wrong = ends.into_iter().filter_map(Result::err).flatten();
                let (idle, mut wrong): (Vec<_>, Vec<_>) =
                    wrong.partition(|finding| finding.rule == Rule::Plugged);
                // If a cable is unknown because of its other end, that end's finding
                // covers it.
                if wrong.is_empty() {
                    wrong = idle;
                }
                // Both ends of one cable may report the same.
                wrong.dedup_by(|second, first| first.sentence == second.sentence);
                findings.extend(wrong);
            }
        }
    }

    /// The device whose cable leads to the other rank, or the problem with it. An empty
    /// name has a finding already.
    fn end(&self, cell: Cell) -> Result<PortId, Option<Finding>> {
        let Cell { from, to, rail } = cell;
        let device = &self.subject.cells[from][to][rail.unwrap_or(0)];
        if device.is_empty() {
            return Err(None);
        }
        let when = self.subject.when(rail.unwrap_or(0));
        let (here, there) = (&self.subject.names[from], &self.subject.names[to]);
        let wrong = |outcome, rule, sentence| {
            Err(Some(Finding {
                outcome,
                rule,
                cell: Some(cell),
                sentence,
            }))
        };
        let Some(port) = self.topology.find_port(NodeId(from), device) else {
            let sentence = format!(
                "nothing is known of a device '{device}' on '{here}'; where there is none jaccl \
                 refuses, and that of MLX 0.31.2 crashes"
            );
            return wrong(Outcome::Fails, Rule::OnNode, sentence);
        };
        if let Some(unfit) = self.topology[port].unfit {
            let sentence = format!("'{device}' of '{here}' {unfit}");
            return wrong(Outcome::Fails, Rule::Fit, sentence);
        }
        let Some((cable, other)) = self.plugged[port.0] else {
            let (outcome, sentence) = self.unplugged(cell, port);
            return wrong(outcome, Rule::Plugged, sentence);
        };
        if self.topology[other].node != NodeId(to) {
            let sentence = format!(
                "the cable in '{device}' of '{here}' ({}) leads to {} and not to '{there}': {when}",
                (self.names)(cable),
                self.written(other)
            );
            return wrong(Outcome::Hangs, Rule::RightNode, sentence);
        }
        Ok(port)
    }

    /// The outcome for a device whose cable is not known for certain, and the reason.
    fn unplugged(&self, Cell { from, to, rail }: Cell, port: PortId) -> (Outcome, String) {
        let rail = rail.unwrap_or(0);
        let when = self.subject.when(rail);
        let partner = self.subject.cells[to][from].get(rail);
        let partner = partner.and_then(|device| self.topology.find_port(NodeId(to), device));
        let device = self.topology.written(port);
        let partner = partner.map(|port| self.topology.written(port));
        if let Some(problem) = partner.and_then(|partner| self.unsettled.between(&device, &partner))
        {
            let sentence =
                format!("cannot be judged: {problem}; while that cable is not plugged in, {when}");
            return (Outcome::Note, sentence);
        }
        let why = match self.unsettled.at(&device) {
            Some(problem) => problem.to_string(),
            None => format!(
                "no cable that both its ends agree on is in '{}' of '{}'",
                self.topology[port].device, self.subject.names[from]
            ),
        };
        (Outcome::Hangs, format!("{why}: {when}"))
    }

    /// Checks that two devices with cables between their nodes have the same cable.
    fn one_cable(
        &self,
        (i, j): (usize, usize),
        rail: usize,
        [a, b]: [PortId; 2],
    ) -> Option<Finding> {
        let (_, other) = self.plugged[a.0]?;
        (other != b).then(|| Finding {
            outcome: Outcome::Hangs,
            rule: Rule::OneCable,
            cell: Some(Cell {
                from: i,
                to: j,
                rail: Some(rail),
            }),
            sentence: format!(
                "crossed: {} is paired with {}, and its cable leads to {}: {}",
                self.written(a),
                self.written(b),
                self.written(other),
                self.subject.when(rail)
            ),
        })
    }

    /// A device as people write it, by its node's label if there is one.
    fn written(&self, port: PortId) -> String {
        let port = &self.topology[port];
        format!("{}:{}", self.subject.names[port.node.0], port.device)
    }
}

/// Whether a node does no RDMA, whatever cables are plugged in. Its cables are then
/// unknown.
fn is_off(node: &NodeInfo) -> bool {
    node.rdma_enabled == Some(false)
}
