//! Joins what each node reports into cables that both ends agree on.
//!
//! Cost: linear in the sightings, except for sorting each device's own and the problems.

use std::{cmp::Ordering, ops::Range};

use rig::natural;

use super::{PortId, Problem, Topology};

/// The cables of a topology, and the problems of the rest.
#[derive(Debug)]
pub(crate) struct Joined {
    pub cables: Vec<Join>,
    /// By node: whether it can have a rank.
    pub usable: Vec<bool>,
    /// Sorted, so that they do not depend on the order of the input.
    pub problems: Vec<Problem>,
}

/// A cable that both of its ends agree on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Join {
    /// In the order of their nodes' names, so that it does not depend on the order in
    /// which they were listed.
    pub ends: [PortId; 2],
    /// Index into the topology's names of cables.
    pub name: Option<usize>,
}

impl Topology {
    /// Everything that is invalid in the description, including what shows only when its
    /// directions are joined. A plan leaves these parts out, and they are often the
    /// reason why there is none.
    pub fn contradictions(&self) -> Vec<Problem> {
        self.join().problems
    }

    /// Joins the two directions of every cable.
    pub(crate) fn join(&self) -> Joined {
        let mut problems = self.problems.clone();
        let usable = self.usable_nodes(&mut problems);
        let said = Said::of(self, &mut problems);
        let places = self.places_by_name();
        let several = self.several(&said, &places);
        problems.extend(several.into_iter().map(|(_, problem)| problem));
        let join = |from, to, name| Join {
            ends: self.in_order(&places, [from, to]),
            name,
        };
        let mut cables = Vec::with_capacity(self.sightings.len() / 2);
        for from in (0..self.ports.len()).map(PortId) {
            let &[(_, to, name)] = said.by(from) else {
                continue;
            };
            if !self.can_join(from, to, &mut problems) {
                continue;
            }
            match *said.by(to) {
                [(_, back, _)] if back == from && from < to => cables.push(join(from, to, name)),
                _ if said.leads(to, from) => {}
                [(_, other, name)] if said.only(other) == Some(to) => {
                    problems.push(Problem::Stale {
                        from: self.written(from),
                        to: self.written(to),
                        taken: self.written(to),
                        cable: self.cable_name(&join(to, other, name)),
                    });
                }
                _ => problems.push(Problem::OneSided {
                    from: self.written(from),
                    to: self.written(to),
                }),
            }
        }
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

    /// Whether a cable between these two devices is possible.
    fn can_join(&self, from: PortId, to: PortId, problems: &mut Vec<Problem>) -> bool {
        if self[from].node == self[to].node {
            let mut ends = [from, to].map(|port| self.written(port));
            ends.sort_by(|a, b| natural::compare(a, b));
            let [first, second] = ends;
            problems.push(Problem::BothEndsOnOneNode { first, second });
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

    /// Of two names of one cable the smaller one, in whatever order they were listed.
    fn first_by_name(&self, a: Option<usize>, b: Option<usize>) -> Option<usize> {
        let by_name = |x: &usize, y: &usize| natural::compare(&self.cables[*x], &self.cables[*y]);
        a.into_iter().chain(b).min_by(by_name)
    }

    /// Devices that are reported to lead to several places. It is unknown which of them
    /// is plugged in, and a job over the wrong one hangs.
    pub(super) fn on_several_places(&self) -> Vec<(PortId, Problem)> {
        self.several(&Said::of(self, &mut Vec::new()), &self.places_by_name())
    }

    fn several(&self, said: &Said, places: &[usize]) -> Vec<(PortId, Problem)> {
        let ports = (0..self.ports.len()).map(PortId);
        let several = ports.filter(|port| said.by(*port).len() > 1).map(|port| {
            let names = said.by(port).iter().map(|&(_, to, name)| {
                let ends = self.in_order(places, [port, to]);
                self.cable_name(&Join { ends, name })
            });
            let mut cables: Vec<_> = names.collect();
            cables.sort_by(|a, b| natural::compare(a, b));
            let device = self.written(port);
            (port, Problem::DeviceOnTwoCables { device, cables })
        });
        several.collect()
    }

    /// The ends of a cable in the order of their nodes' names; of a loop, in that of the
    /// devices'.
    fn in_order(&self, places: &[usize], mut ends: [PortId; 2]) -> [PortId; 2] {
        ends.sort_unstable_by(|a, b| {
            let by_node = places[self[*a].node.0].cmp(&places[self[*b].node.0]);
            by_node.then_with(|| natural::compare(&self[*a].device, &self[*b].device))
        });
        ends
    }

    /// The given name of a cable, or its two ends.
    pub(crate) fn cable_name(&self, join: &Join) -> String {
        if let Some(name) = join.name {
            return self.cables[name].clone();
        }
        let [a, b] = join
            .ends
            .map(|port| (&self[self[port].node].name, &self[port].device));
        let mut name = String::with_capacity(a.0.len() + a.1.len() + b.0.len() + b.1.len() + 5);
        for part in [a.0, ":", a.1, " = ", b.0, ":", b.1] {
            name.push_str(part);
        }
        name
    }

    /// Bytes per second of the slower of a cable's two devices, as far as known.
    pub(crate) fn rate(&self, join: &Join) -> Option<u64> {
        let rates = join.ends.map(|end| self[end].bytes_per_second);
        rates.into_iter().flatten().min()
    }

    /// The order of the rails of a pair: cables with names first, by name with digits
    /// compared by value; then by device, on the node with the smaller name.
    pub(crate) fn compare_cables(&self, x: &Join, y: &Join) -> Ordering {
        let by_name = match (x.name, y.name) {
            (Some(x), Some(y)) => natural::compare(&self.cables[x], &self.cables[y]),
            (x, y) => y.is_some().cmp(&x.is_some()),
        };
        by_name.then_with(|| {
            let devices = x.ends.iter().zip(&y.ends);
            devices.fold(Ordering::Equal, |order, (x, y)| {
                order.then_with(|| natural::compare(&self[*x].device, &self[*y].device))
            })
        })
    }

    /// By node, its position among the sorted names.
    fn places_by_name(&self) -> Vec<usize> {
        let name = |node: &usize| &*self.nodes[*node].name;
        let mut nodes: Vec<_> = (0..self.nodes.len()).collect();
        nodes.sort_by(|a, b| natural::compare(name(a), name(b)));
        let mut places = vec![0; nodes.len()];
        for (place, node) in nodes.into_iter().enumerate() {
            places[node] = place;
        }
        places
    }
}

/// The statements of each device, without repetitions.
struct Said {
    /// Sorted by device, then by the other end.
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
                kept.2 = topology.first_by_name(kept.2, next.2);
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

    /// A statement of a device: the device, the other end, the cable's name.
    fn by(&self, port: PortId) -> &[(PortId, PortId, Option<usize>)] {
        &self.entries[self.of[port.0].clone()]
    }

    /// Whether a device states that it leads to another.
    fn leads(&self, from: PortId, to: PortId) -> bool {
        self.by(from)
            .binary_search_by_key(&to, |said| said.1)
            .is_ok()
    }

    /// The other end that a device states, if it states only one.
    fn only(&self, port: PortId) -> Option<PortId> {
        match self.by(port) {
            [(_, to, _)] => Some(*to),
            _ => None,
        }
    }
}
