//! The width of the link between two nodes, by the number of rails used.

use super::pairs::Placed;
use crate::MAX_RAILS;

/// Bytes per second between every two nodes, by the number of rails.
#[derive(Debug, Clone)]
pub struct Widths {
    nodes: usize,
    max_rails: usize,
    /// By pair, in both orders, and by the number of rails less one.
    widths: Vec<[u64; MAX_RAILS]>,
}

impl Widths {
    /// The widths of the links that these cables make.
    pub fn new(nodes: usize, max_rails: usize, cables: &[Placed]) -> Self {
        let mut widths = vec![[0; MAX_RAILS]; nodes * nodes];
        for Placed {
            pair: (a, b),
            rate,
            place,
            ..
        } in cables
        {
            if *place < max_rails {
                let width = rate.saturating_mul(*place as u64 + 1);
                widths[a * nodes + b][*place] = width;
                widths[b * nodes + a][*place] = width;
            }
        }
        Self {
            nodes,
            max_rails,
            widths,
        }
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The most rails a link may use.
    pub fn max_rails(&self) -> usize {
        self.max_rails
    }

    /// The width of the link between two nodes with this many rails: zero if it has
    /// fewer. Rails carry equal shares, so the slowest one limits the rate.
    pub fn of(&self, a: usize, b: usize, rails: usize) -> u64 {
        self.widths[a * self.nodes + b][rails - 1]
    }

    /// Whether any cable joins the two nodes.
    pub fn joined(&self, a: usize, b: usize) -> bool {
        self.of(a, b, 1) > 0
    }

    /// Every width that links with this many rails have, each once, narrowest first.
    pub fn distinct(&self, rails: usize) -> Vec<u64> {
        let widths = self.widths.iter().map(|of_pair| of_pair[rails - 1]);
        let mut distinct: Vec<_> = widths.filter(|width| *width > 0).collect();
        distinct.sort_unstable();
        distinct.dedup();
        distinct
    }

    /// The graph of the links that are at least this wide.
    pub fn at_least(&self, width: u64, rails: usize) -> Graph {
        let near = (0..self.nodes).map(|a| {
            let wide = |b: &usize| *b != a && self.of(a, *b, rails) >= width.max(1);
            (0..self.nodes).filter(wide).collect()
        });
        Graph {
            near: near.collect(),
        }
    }
}

/// The neighbours of each node.
#[derive(Debug, Clone)]
pub struct Graph {
    /// By node, its neighbours in ascending order.
    pub near: Vec<Vec<usize>>,
}

impl Graph {
    /// Whether two nodes are neighbours.
    pub fn joined(&self, a: usize, b: usize) -> bool {
        self.near[a].binary_search(&b).is_ok()
    }
}
