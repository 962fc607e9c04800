//! From what each node says to the cables that both ends agree on.
//!
//! Cost: linear in the sightings, but for sorting each device's own and the problems.

use std::{cmp::Ordering, ops::Range};

use super::{PortId, Problem, Topology};
use crate::natural;

/// The cables of a topology, and what is wrong with the rest.
#[derive(Debug)]
pub(crate) struct Joined {
    pub cables: Vec<Join>,
    /// By node: whether it can take part.
    pub usable: Vec<bool>,
    /// Sorted, so that no order of the input shows in them.
    pub problems: Vec<Problem>,
}

/// A cable that both of its ends agree on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Join {
    pub ends: [PortId; 2],
    /// Index into the topology's names of cables.
    pub name: Option<usize>,
}

impl Topology {
    /// Joins the two directions of every cable.
    pub(crate) fn join(&self) -> Joined {
        let mut problems = self.problems.clone();
        let usable = self.usable_nodes(&mut problems);
        let said = Said::of(self, &mut problems);
        let mut both = Vec::with_capacity(self.sightings.len() / 2);
        let mut one_sided = Vec::new();
        for from in (0..self.ports.len()).map(PortId) {
            for (to, name) in said.by(from) {
                if !self.can_join(from, to, &mut problems) {
                    continue;
                }
                if !said.leads(to, from) {
                    one_sided.push((from, to));
                } else if from < to {
                    both.push(Join {
                        ends: [from, to],
                        name,
                    });
                }
            }
        }
        let cables = self.one_a_device(both, &one_sided, &mut problems);
        problems.sort_unstable();
        problems.dedup();
        let in_use = |join: &Join| join.ends.iter().all(|&port| usable[self[port].node.0]);
        Joined {
            cables: cables.into_iter().filter(in_use).collect(),
            usable,
            problems,
        }
    }

    fn usable_nodes(&self, problems: &mut Vec<Problem>) -> Vec<bool> {
        let usable = |node: &super::NodeInfo| {
            let node_name = || node.name.clone();
            if node.bridged == Some(true) {
                problems.push(Problem::Bridged { node: node_name() });
            }
            if node.rdma_enabled == Some(false) {
                problems.push(Problem::RdmaDisabled { node: node_name() });
            }
            node.rdma_enabled != Some(false) && !node.name.is_empty()
        };
        self.nodes.iter().map(usable).collect()
    }

    /// Whether a cable between these two could be one.
    fn can_join(&self, from: PortId, to: PortId, problems: &mut Vec<Problem>) -> bool {
        if self[from].node == self[to].node {
            let (first, second) = (from.min(to), from.max(to));
            problems.push(Problem::BothEndsOnOneNode {
                first: self.written(first),
                second: self.written(second),
            });
            return false;
        }
        let mut fit = true;
        for port in [from, to] {
            fit &= !self[port].device.is_empty();
            if let Some(why) = self[port].unfit {
                problems.push(Problem::UnfitDevice {
                    device: self.written(port),
                    why,
                });
                fit = false;
            }
        }
        fit
    }

    /// Leaves out every cable of a device that has several: which of them is plugged in
    /// cannot be told, and the wrong one hangs.
    fn one_a_device(
        &self,
        both: Vec<Join>,
        one_sided: &[(PortId, PortId)],
        problems: &mut Vec<Problem>,
    ) -> Vec<Join> {
        let plugged = Plugged::of(&both);
        let names = |cables: &[(PortId, usize)]| {
            let name = |(_, cable): &(PortId, usize)| self.cable_name(&both[*cable]);
            let mut names: Vec<_> = cables.iter().map(name).collect();
            names.sort_by(|a, b| natural::compare(a, b));
            names
        };
        for &(from, to) in one_sided {
            let taken = [to, from].into_iter().find_map(|end| {
                let first = plugged.cables_in(end).first()?;
                Some((self.written(end), self.cable_name(&both[first.1])))
            });
            let (from, to) = (self.written(from), self.written(to));
            problems.push(match taken {
                Some((taken, cable)) => Problem::Stale {
                    from,
                    to,
                    taken,
                    cable,
                },
                None => Problem::OneSided { from, to },
            });
        }
        for cables in plugged.several() {
            problems.push(Problem::DeviceOnTwoCables {
                device: self.written(cables[0].0),
                cables: names(cables),
            });
        }
        let alone = |join: &Join| {
            join.ends
                .iter()
                .all(|&end| plugged.cables_in(end).len() == 1)
        };
        both.iter().copied().filter(alone).collect()
    }

    /// The name a cable was given, or its two ends.
    pub(crate) fn cable_name(&self, join: &Join) -> String {
        if let Some(name) = join.name {
            return self.cables[name].clone();
        }
        let [a, b] = self.ends_in_order(join);
        let [a, b] = [a, b].map(|port| (&self[self[port].node].name, &self[port].device));
        let mut name = String::with_capacity(a.0.len() + a.1.len() + b.0.len() + b.1.len() + 5);
        for part in [a.0, ":", a.1, " = ", b.0, ":", b.1] {
            name.push_str(part);
        }
        name
    }

    /// The order of the rails of a pair: cables with names first, by name as people
    /// count; then by device, on the node whose name comes first.
    pub(crate) fn compare_cables(&self, x: &Join, y: &Join) -> Ordering {
        let by_name = match (x.name, y.name) {
            (Some(x), Some(y)) => natural::compare(&self.cables[x], &self.cables[y]),
            (x, y) => y.is_some().cmp(&x.is_some()),
        };
        by_name.then_with(|| {
            let (x, y) = (self.ends_in_order(x), self.ends_in_order(y));
            let devices = x.iter().zip(&y);
            devices.fold(Ordering::Equal, |order, (x, y)| {
                order.then_with(|| natural::compare(&self[*x].device, &self[*y].device))
            })
        })
    }

    /// The two ends, by the names of their nodes.
    fn ends_in_order(&self, join: &Join) -> [PortId; 2] {
        let [a, b] = join.ends;
        let name = |port: PortId| &self[self[port].node].name;
        match natural::compare(name(a), name(b)) {
            Ordering::Greater => [b, a],
            _ => [a, b],
        }
    }
}

/// What each device says, without repetitions.
struct Said {
    /// Sorted by device, then by where it leads.
    entries: Vec<(PortId, PortId, Option<usize>)>,
    /// By device, its entries.
    of: Vec<Range<usize>>,
}

impl Said {
    fn of(topology: &Topology, problems: &mut Vec<Problem>) -> Self {
        let said = topology.sightings.iter().map(|s| (s.from, s.to, s.cable));
        let mut entries: Vec<_> = said.collect();
        entries.sort_unstable();
        entries.dedup_by(|next, kept| {
            let repeated = (next.0, next.1) == (kept.0, kept.1);
            if repeated {
                problems.push(Problem::Repeated {
                    from: topology.written(next.0),
                    to: topology.written(next.1),
                });
                kept.2 = kept.2.or(next.2);
            }
            repeated
        });
        let mut of = Vec::with_capacity(topology.ports.len());
        let mut start = 0;
        for port in 0..topology.ports.len() {
            let own = entries[start..]
                .iter()
                .take_while(|entry| entry.0.0 == port);
            let end = start + own.count();
            of.push(start..end);
            start = end;
        }
        Self { entries, of }
    }

    /// Where a device says that it leads.
    fn by(&self, port: PortId) -> impl Iterator<Item = (PortId, Option<usize>)> {
        let entries = &self.entries[self.of[port.0].clone()];
        entries.iter().map(|&(_, to, name)| (to, name))
    }

    /// Whether a device says that it leads to another.
    fn leads(&self, from: PortId, to: PortId) -> bool {
        let entries = &self.entries[self.of[from.0].clone()];
        entries.binary_search_by_key(&to, |entry| entry.1).is_ok()
    }
}

/// Which cables are in which device.
struct Plugged {
    /// A device and the index of a cable in it, sorted.
    ends: Vec<(PortId, usize)>,
}

impl Plugged {
    fn of(cables: &[Join]) -> Self {
        let ends = cables.iter().enumerate();
        let mut ends: Vec<_> = ends
            .flat_map(|(c, join)| join.ends.map(|end| (end, c)))
            .collect();
        ends.sort_unstable();
        Self { ends }
    }

    fn cables_in(&self, port: PortId) -> &[(PortId, usize)] {
        let start = self.ends.partition_point(|end| end.0 < port);
        let count = self.ends[start..]
            .iter()
            .take_while(|end| end.0 == port)
            .count();
        &self.ends[start..start + count]
    }

    /// Devices with more than one cable, as their entries.
    fn several(&self) -> impl Iterator<Item = &[(PortId, usize)]> {
        self.ends
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|cables| cables.len() > 1)
    }
}
