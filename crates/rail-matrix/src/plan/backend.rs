//! The choice between mesh and ring.
//!
//! A mesh sends a small message to every peer at once, over a cable of its own: one step,
//! and the whole message on every link. A ring passes parts of it round in `2(n - 1)`
//! steps of an n-th (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms",
//! 2009), with more than two ranks in both directions at once. With more than two ranks a
//! mesh also splits large messages: up to MLX 0.32.1 it passes the parts round one wire;
//! since 0.32.4 each rank reduces an n-th and sends it to all (`MeshGroup::all_reduce` in
//! `mesh.cpp`).

use super::{
    note::{Estimate, Note, Speed, Why},
    options::{Options, RankOrder},
    order::{self, Ring},
    pairs::{Pairs, Placed},
    refusal::{MeshObstacle, Obstacle},
    width::Widths,
};
use crate::{Backend, Jaccl, MAX_MESH, THUNDERBOLT_5};

/// A message so large that only the rate counts.
const LARGE: u64 = 1 << 30;

/// A backend with its assignment of ranks.
pub struct Choice {
    pub backend: Backend,
    /// Nodes by rank.
    pub nodes: Vec<usize>,
    /// By node, its rank.
    pub ranks: Vec<usize>,
    pub rails: usize,
    ring: Option<Ring>,
    why: Why,
}

/// Why there is no choice.
pub enum Neither {
    Ring(Obstacle),
    Mesh(MeshObstacle),
    Both { ring: Obstacle, mesh: MeshObstacle },
}

/// A mesh: every node joined with every other.
struct Mesh {
    rails: usize,
    /// Bytes per second of its narrowest link.
    narrowest: u64,
}

impl Choice {
    pub fn of(pairs: &Pairs<'_>, widths: &Widths, options: &Options) -> Result<Self, Neither> {
        let ring = || match options.order {
            RankOrder::Pinned => order::pinned(widths),
            RankOrder::Widest => order::widest(widths),
        };
        let named = |obstacle: Obstacle<usize>| obstacle.map(|node| pairs.name(node).to_owned());
        let mesh = || mesh(pairs, widths, options);
        match options.backend {
            Some(Backend::Ring) => match ring() {
                Ok(ring) => Ok(Self::ring(ring, Why::Asked)),
                Err(obstacle) => Err(Neither::Ring(named(obstacle))),
            },
            Some(Backend::Mesh) => match mesh() {
                Ok(mesh) => Ok(Self::mesh(&mesh, widths, None, Why::Asked)),
                Err(obstacle) => Err(Neither::Mesh(obstacle)),
            },
            None => match (ring(), mesh()) {
                (Ok(ring), Ok(mesh)) => Ok(better(ring, &mesh, pairs, widths, options)),
                (Ok(ring), Err(obstacle)) => Ok(Self::ring(ring, Why::NoMesh { obstacle })),
                (Err(obstacle), Ok(mesh)) => {
                    let obstacle = named(obstacle);
                    Ok(Self::mesh(&mesh, widths, None, Why::NoRing { obstacle }))
                }
                (Err(ring), Err(mesh)) => Err(Neither::Both {
                    ring: named(ring),
                    mesh,
                }),
            },
        }
    }

    fn ring(ring: Ring, why: Why) -> Self {
        Self {
            backend: Backend::Ring,
            nodes: ring.nodes.clone(),
            ranks: order::ranks(&ring.nodes),
            rails: ring.rails,
            ring: Some(ring),
            why,
        }
    }

    /// In the order of the ring if there is one, so that a later change of backend moves
    /// no rank.
    fn mesh(mesh: &Mesh, widths: &Widths, ring: Option<&Ring>, why: Why) -> Self {
        let nodes = ring.map_or_else(|| (0..widths.nodes()).collect(), |ring| ring.nodes.clone());
        Self {
            backend: Backend::Mesh,
            ranks: order::ranks(&nodes),
            nodes,
            rails: mesh.rails,
            ring: None,
            why,
        }
    }

    /// Whether the backend opens devices between these two nodes.
    pub fn neighbours(&self, (a, b): (usize, usize)) -> bool {
        let apart = self.ranks[a].abs_diff(self.ranks[b]);
        self.backend == Backend::Mesh || apart == 1 || apart + 1 == self.nodes.len()
    }

    /// Whether the backend opens a cable's devices.
    pub fn uses(&self, cable: &Placed) -> bool {
        cable.place < self.rails && self.neighbours(cable.pair)
    }

    pub fn notes(self, pairs: &Pairs<'_>, options: &Options) -> impl Iterator<Item = Note> {
        let known = pairs.rates_known;
        let order = self.ring.map(|ring| Note::Order {
            order: options.order,
            rails: ring.rails,
            narrowest: known.then_some(ring.narrowest),
            at_most: (known && ring.bound > ring.narrowest).then_some(ring.bound),
        });
        let backend = Note::Backend {
            backend: self.backend,
            why: self.why,
        };
        order.into_iter().chain([backend])
    }
}

/// The mesh with the number of wires that suits it best.
fn mesh(nodes: &Pairs<'_>, widths: &Widths, options: &Options) -> Result<Mesh, MeshObstacle> {
    if widths.nodes() > MAX_MESH {
        return Err(MeshObstacle::TooManyRanks(widths.nodes()));
    }
    let pairs = || (0..widths.nodes()).flat_map(|b| (0..b).map(move |a| (a, b)));
    if let Some((a, b)) = pairs().find(|&(a, b)| !widths.joined(a, b)) {
        let [a, b] = [a, b].map(|node| nodes.name(node).to_owned());
        return Err(MeshObstacle::NotJoined(a, b));
    }
    let most = if options.jaccl.mesh_opens_several {
        widths.max_rails()
    } else {
        1
    };
    let with = |rails| Mesh {
        rails,
        narrowest: pairs()
            .map(|(a, b)| widths.of(a, b, rails))
            .min()
            .unwrap_or(0),
    };
    let best = (1..=most).map(with).rev().max_by_key(|mesh| mesh.narrowest);
    Ok(best.expect("at least one rail is allowed"))
}

/// The faster of the two for the messages of the job, or for large messages.
fn better(
    ring: Ring,
    mesh: &Mesh,
    pairs: &Pairs<'_>,
    widths: &Widths,
    options: &Options,
) -> Choice {
    let cost = Cost {
        ranks: widths.nodes() as f64,
        scale: if pairs.rates_known {
            1.0
        } else {
            THUNDERBOLT_5 as f64
        },
        jaccl: &options.jaccl,
        // For a large message only the bytes count.
        latency: match options.messages[..] {
            [] => 0.0,
            _ => options.latency.as_secs_f64(),
        },
    };
    let sizes = match &options.messages[..] {
        [] => &[LARGE][..],
        sizes => sizes,
    };
    let sum = |of: &dyn Fn(f64) -> f64| sizes.iter().map(|&bytes| of(bytes as f64)).sum();
    let on_ring: f64 = sum(&|bytes| cost.ring(&ring, bytes));
    let on_mesh: f64 = sum(&|bytes| cost.mesh(mesh, bytes));
    let speed = |seconds: f64| match options.messages.is_empty() {
        true => Speed::BytesPerSecond((LARGE as f64 / seconds) as u64),
        false => Speed::Nanoseconds((seconds * 1e9) as u64),
    };
    let estimate = |rails, seconds| Estimate {
        rails,
        speed: speed(seconds),
    };
    let why = Why::Estimate {
        ring: estimate(ring.rails, on_ring),
        mesh: estimate(mesh.rails, on_mesh),
        mlx: options.jaccl.version(),
        assumed_bytes_per_second: (!pairs.rates_known).then_some(THUNDERBOLT_5),
    };
    // A mesh takes fewer steps, so it wins a tie.
    if on_ring < on_mesh {
        Choice::ring(ring, why)
    } else {
        Choice::mesh(mesh, widths, Some(&ring), why)
    }
}

/// The cost of an all-reduce, in seconds.
struct Cost<'a> {
    ranks: f64,
    /// The bytes per second that count as a width of one.
    scale: f64,
    jaccl: &'a Jaccl,
    /// The fixed cost of one step.
    latency: f64,
}

impl Cost<'_> {
    fn mesh(&self, mesh: &Mesh, bytes: f64) -> f64 {
        let spread = bytes >= self.jaccl.mesh_spreads_from as f64;
        let rate = self.rate(mesh.narrowest, mesh.rails, spread);
        if self.ranks <= 2.0 || bytes <= self.jaccl.mesh_whole_up_to as f64 {
            self.latency + bytes / rate
        } else if self.jaccl.mesh_scatters {
            2.0 * (self.latency + bytes / self.ranks / rate)
        } else {
            self.around(rate, bytes)
        }
    }

    fn ring(&self, ring: &Ring, bytes: f64) -> f64 {
        let spread = bytes > self.jaccl.ring_spreads_above as f64;
        self.around(self.rate(ring.narrowest, ring.rails, spread), bytes)
    }

    /// Passed round, half of it in each direction; between two ranks there is only one
    /// direction.
    fn around(&self, rate: f64, bytes: f64) -> f64 {
        let ways = if self.ranks > 2.0 { 2.0 } else { 1.0 };
        2.0 * (self.ranks - 1.0) * (self.latency + bytes / self.ranks / ways / rate)
    }

    fn rate(&self, narrowest: u64, rails: usize, spread: bool) -> f64 {
        let used = if spread { 1 } else { rails };
        self.scale * narrowest as f64 / used as f64
    }
}
