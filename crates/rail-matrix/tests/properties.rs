//! Properties of every topology, with random topologies made from the cables outward: the
//! cables are drawn first, so that a test knows both ends of each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rail_matrix::{
    Backend, Jaccl, MAX_RAILS, Note, Options, Plan, PlanError, RankOrder, Topology, Unfit, plan,
};

/// A cable as it is plugged in: node and device of either end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plugged {
    ends: [(usize, String); 2],
    rate: u64,
    name: Option<String>,
}

/// A cabling and the flaws of its description.
#[derive(Debug, Clone)]
struct Cabling {
    nodes: usize,
    cables: Vec<Plugged>,
    flaws: Vec<Flaw>,
}

/// A flaw of the cable of this index (modulo the number of cables).
#[derive(Debug, Clone)]
enum Flaw {
    /// Only the first end states it.
    OneSided(usize),
    /// The first end is also stated to lead to the second end of another.
    Stale(usize, usize),
    /// Both ends of the first are also stated to join the second's.
    Twice(usize, usize),
    /// The first end's device cannot carry RDMA.
    Unfit(usize),
    /// The first end is stated to lead back to its own node.
    Itself(usize),
    /// A direction is stated twice.
    Repeated(usize),
}

fn cablings(nodes: impl Into<prop::sample::SizeRange>) -> impl Strategy<Value = Cabling> {
    let nodes = prop::collection::vec(Just(()), nodes).prop_map(|nodes| nodes.len());
    nodes.prop_flat_map(|nodes| {
        let pairs = nodes * nodes.saturating_sub(1) / 2;
        let counts = prop::collection::vec(prop_oneof![Just(0), 1..=6_usize], pairs);
        let rates =
            prop::collection::vec(prop_oneof![3 => Just(10_u64), 1 => 1..20_u64], pairs * 6);
        (counts, rates, 1..97_usize, any::<bool>()).prop_map(
            move |(counts, rates, stride, named)| {
                let mut plugged = vec![0_usize; nodes];
                // Devices are numbered so that sorting by name would misalign them.
                let mut end = |node: usize| {
                    plugged[node] += 1;
                    (
                        node,
                        format!("rdma_en{}", plugged[node] * (stride + node) % 997),
                    )
                };
                let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
                let mut cables = Vec::new();
                for ((a, b), count) in pairs.zip(counts) {
                    for _ in 0..count {
                        let name = named.then(|| format!("cable-{}", cables.len() + 1));
                        let rate = rates[cables.len()];
                        cables.push(Plugged {
                            ends: [end(a), end(b)],
                            rate,
                            name,
                        });
                    }
                }
                Cabling {
                    nodes,
                    cables,
                    flaws: Vec::new(),
                }
            },
        )
    })
}

fn flawed() -> impl Strategy<Value = Cabling> {
    let flaw = (0..6_usize, any::<usize>(), any::<usize>()).prop_map(|(kind, a, b)| match kind {
        0 => Flaw::OneSided(a),
        1 => Flaw::Stale(a, b),
        2 => Flaw::Twice(a, b),
        3 => Flaw::Unfit(a),
        4 => Flaw::Itself(a),
        _ => Flaw::Repeated(a),
    });
    (cablings(2..6), prop::collection::vec(flaw, 1..4))
        .prop_map(|(cabling, flaws)| Cabling { flaws, ..cabling })
        .prop_filter("something to be wrong with", |cabling| {
            !cabling.cables.is_empty()
        })
}

impl Cabling {
    /// The nodes' statements, direction by direction.
    fn statements(&self) -> Vec<(usize, [(usize, String); 2])> {
        let count = self.cables.len();
        let mut said = Vec::new();
        for (c, cable) in self.cables.iter().enumerate() {
            let [a, b] = cable.ends.clone();
            said.push((c, [a.clone(), b.clone()]));
            let one_sided = |flaw: &Flaw| matches!(flaw, Flaw::OneSided(x) if x % count == c);
            if !self.flaws.iter().any(one_sided) {
                said.push((c, [b, a]));
            }
        }
        for flaw in &self.flaws {
            let end = |c: usize, e: usize| self.cables[c % count].ends[e].clone();
            match *flaw {
                Flaw::Stale(x, y) => said.push((x % count, [end(x, 0), end(y, 1)])),
                Flaw::Twice(x, y) => {
                    said.push((x % count, [end(x, 0), end(y, 1)]));
                    said.push((x % count, [end(y, 1), end(x, 0)]));
                }
                Flaw::Itself(x) => {
                    let (node, _) = end(x, 0);
                    said.push((x % count, [end(x, 0), (node, "rdma_loop".to_owned())]));
                }
                Flaw::Repeated(x) => said.push((x % count, [end(x, 0), end(x, 1)])),
                Flaw::OneSided(_) | Flaw::Unfit(_) => {}
            }
        }
        said
    }

    /// The topology of a description that lists the statements in some order.
    fn topology(&self, order: &[usize]) -> Topology {
        let mut topology = Topology::new();
        let ids: Vec<_> = (0..self.nodes)
            .map(|n| topology.add_node(&format!("n{n}")))
            .collect();
        let named = self.flaws.is_empty() && self.cables.iter().all(|cable| cable.name.is_some());
        let said = self.statements();
        for &s in order {
            let (c, ends) = &said[s % said.len()];
            let ports = ends
                .each_ref()
                .map(|(node, device)| topology.port(ids[*node], device));
            if named {
                // Both ends are known; its other direction is the same cable.
                if ends[0] == self.cables[*c].ends[0] {
                    let name = self.cables[*c].name.as_deref().unwrap();
                    topology.add_cable(
                        name,
                        if s % 2 == 0 {
                            ports
                        } else {
                            [ports[1], ports[0]]
                        },
                    );
                }
            } else {
                topology.sight(ports[0], ports[1]);
            }
        }
        for cable in &self.cables {
            for (node, device) in &cable.ends {
                let port = topology.port(ids[*node], device);
                topology.set_rate(port, cable.rate);
            }
        }
        for flaw in &self.flaws {
            if let Flaw::Unfit(x) = flaw {
                let (node, device) = &self.cables[x % self.cables.len()].ends[0];
                let port = topology.port(ids[*node], device);
                topology.set_unfit(port, Unfit::PortDown);
            }
        }
        topology
    }

    fn as_listed(&self) -> Topology {
        self.topology(&(0..self.statements().len()).collect::<Vec<_>>())
    }

    /// Whether these two devices are the ends of one cable.
    fn joins(&self, here: (usize, &str), there: (usize, &str)) -> bool {
        self.cables.iter().any(|cable| {
            let [a, b] = cable
                .ends
                .each_ref()
                .map(|(node, device)| (*node, &**device));
            (a, b) == (here, there) || (a, b) == (there, here)
        })
    }
}

fn options() -> impl Strategy<Value = Options> {
    let order = prop_oneof![Just(RankOrder::Pinned), Just(RankOrder::Widest)];
    let backend = prop_oneof![
        Just(None),
        Just(Some(Backend::Ring)),
        Just(Some(Backend::Mesh))
    ];
    let mlx = prop_oneof![Just([0, 31, 2]), Just([0, 32, 4])];
    let messages = prop::collection::vec(1..(1_u64 << 26), 0..3);
    (order, backend, mlx, messages, 1..=MAX_RAILS).prop_map(
        |(order, backend, mlx, messages, max_rails)| {
            Options::default()
                .order(order)
                .backend(backend)
                .jaccl(Jaccl::of(mlx))
                .messages(messages)
                .max_rails(max_rails)
        },
    )
}

fn node(plan: &Plan, rank: usize) -> usize {
    plan.nodes[rank].name[1..].parse().unwrap()
}

/// The rules that every plan keeps.
fn holds(cabling: &Cabling, options: &Options, plan: &Plan) -> Result<(), TestCaseError> {
    let matrix = &plan.matrix;
    prop_assert!(plan.rails >= 1 && plan.rails <= options.max_rails);
    match plan.backend {
        Backend::Ring => prop_assert!(matrix.is_valid_ring()),
        Backend::Mesh => prop_assert!(matrix.is_valid_mesh()),
    }
    let mut used = BTreeSet::new();
    for i in 0..matrix.ranks() {
        for j in 0..matrix.ranks() {
            let (here, there) = (matrix.cell(i, j), matrix.cell(j, i));
            prop_assert_eq!(here.len(), there.len());
            prop_assert!(here.is_empty() || here.len() == plan.rails);
            prop_assert_eq!(matrix.rails(i, j), matrix.rails(j, i));
            for (on_i, on_j) in here.iter().zip(there) {
                let (i, j) = (node(plan, i), node(plan, j));
                prop_assert!(
                    cabling.joins((i, on_i), (j, on_j)),
                    "{on_i} of n{i}, {on_j} of n{j}"
                );
                prop_assert!(
                    used.insert((i, on_i.clone())),
                    "{on_i} of n{i} has two cells"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rail_k_of_both_ranks_is_one_cable(cabling in cablings(2..8), options in options()) {
        match plan(&cabling.as_listed(), &options) {
            Ok(plan) => holds(&cabling, &options, &plan)?,
            Err(error) => prop_assert!(matches!(
                error,
                PlanError::NoRing { obstacle: _, .. } | PlanError::NoMesh { .. } | PlanError::NoBackend { .. }
            ), "{error}"),
        }
    }

    #[test]
    fn what_is_wrong_is_left_out_and_the_rest_is_aligned(cabling in flawed(), options in options()) {
        if let Ok(plan) = plan(&cabling.as_listed(), &options) {
            holds(&cabling, &options, &plan)?;
        }
    }

    #[test]
    fn what_is_wrong_is_refused_when_strict(cabling in flawed(), options in options()) {
        let topology = cabling.as_listed();
        let strict = options.clone().strict(true);
        let lenient = plan(&topology, &options);
        match plan(&topology, &strict) {
            Err(PlanError::Problems(problems)) => {
                prop_assert!(!problems.is_empty());
                if let Ok(lenient) = lenient {
                    let left_out = lenient.notes.iter().filter_map(|note| match note {
                        Note::LeftOut { problem } => Some(problem.clone()),
                        _ => None,
                    });
                    prop_assert_eq!(left_out.collect::<Vec<_>>(), problems);
                }
            }
            // Two flaws can undo each other: a cable that is repeated and one-sided.
            other => prop_assert_eq!(other, lenient),
        }
    }

    #[test]
    fn the_order_of_listing_does_not_matter(
        (cabling, order) in flawed().prop_flat_map(|cabling| {
            let order: Vec<_> = (0..cabling.statements().len()).collect();
            (Just(cabling), Just(order).prop_shuffle())
        }),
        options in options(),
    ) {
        prop_assert_eq!(
            plan(&cabling.as_listed(), &options),
            plan(&cabling.topology(&order), &options)
        );
    }

    #[test]
    fn every_cable_is_used_or_in_a_note(cabling in cablings(2..6), options in options()) {
        let Ok(plan) = plan(&cabling.as_listed(), &options) else { return Ok(()) };
        let mut left: BTreeMap<[String; 2], usize> = BTreeMap::new();
        for cable in &cabling.cables {
            let mut pair = cable.ends.each_ref().map(|(node, _)| format!("n{node}"));
            pair.sort();
            *left.entry(pair).or_default() += 1;
        }
        for i in 0..plan.matrix.ranks() {
            for j in 0..i {
                let mut pair = [i, j].map(|rank| plan.nodes[rank].name.clone());
                pair.sort();
                if let Some(count) = left.get_mut(&pair) {
                    *count -= plan.matrix.cell(i, j).len();
                }
            }
        }
        for note in &plan.notes {
            match note {
                Note::Spare { pair, cables, .. } => *left.get_mut(pair).unwrap() -= cables.len(),
                Note::NotNeighbours { pairs } => for pair in pairs {
                    *left.get_mut(pair).unwrap() = 0;
                },
                _ => {}
            }
        }
        prop_assert!(left.values().all(|count| *count == 0), "{left:?}");
    }

    #[test]
    fn no_order_is_wider_than_the_one_chosen(cabling in cablings(2..6)) {
        let ring = Options::default().backend(Backend::Ring);
        let narrowest = |plan: &Plan| plan.notes.iter().find_map(|note| match note {
            Note::Order { narrowest, .. } => Some(narrowest.expect("rates are known")),
            _ => None,
        }).expect("a ring has an order");
        let chosen = plan(&cabling.as_listed(), &ring);
        let pinned = ring.order(RankOrder::Pinned);
        let mut best = None;
        for order in permutations(cabling.nodes) {
            let renamed = |(node, device): &(usize, String)| (order[*node], device.clone());
            let cables = cabling.cables.iter().map(|cable| Plugged {
                ends: cable.ends.each_ref().map(renamed),
                ..cable.clone()
            });
            let shuffled = Cabling { cables: cables.collect(), ..cabling.clone() };
            best = best.max(plan(&shuffled.as_listed(), &pinned).ok().as_ref().map(narrowest));
        }
        prop_assert_eq!(chosen.ok().as_ref().map(narrowest), best);
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(count - 1);
    let longer = shorter.iter().flat_map(|order| {
        (0..count).map(|at| {
            let mut order = order.clone();
            order.insert(at, count - 1);
            order
        })
    });
    longer.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Beyond the number of nodes for which the order is exact: there is a ring through
    /// all of them to be found, and the ring that is found keeps every rule.
    #[test]
    fn a_ring_of_many_nodes_is_found(
        nodes in 13..40_usize,
        shuffle in any::<prop::sample::Index>(),
        chords in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..8),
    ) {
        let stride = (1..nodes).filter(|s| gcd(*s, nodes) == 1).collect::<Vec<_>>();
        let stride = stride[shuffle.index(stride.len())];
        let around = (0..nodes).map(|n| (n * stride % nodes, (n + 1) * stride % nodes));
        let across = chords.iter().map(|(a, b)| (a.index(nodes), b.index(nodes)));
        let mut plugged = vec![0; nodes];
        let mut end = |node: usize| { plugged[node] += 1; (node, format!("d{}", plugged[node])) };
        let cables = around.chain(across.filter(|(a, b)| a != b)).map(|(a, b)| Plugged {
            ends: [end(a), end(b)],
            rate: 10,
            name: None,
        });
        let cabling = Cabling { nodes, cables: cables.collect(), flaws: Vec::new() };
        let options = Options::default().backend(Backend::Ring);
        let plan = plan(&cabling.as_listed(), &options).unwrap();
        holds(&cabling, &options, &plan)?;
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
