//! The rails that a job would use: the devices that its matrix pairs.

use std::{collections::HashSet, fmt};

use rail_matrix::Devices;
use rig::{End, Rig};

/// One rail of a matrix: two devices that jaccl connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rail {
    /// The nodes' names, lower rank first.
    pub pair: [String; 2],
    /// Its position in the cells of the pair, from 0.
    pub index: usize,
    /// The devices, on the nodes of the pair in that order.
    pub ends: [End; 2],
}

impl Rail {
    /// Whether its devices are these two, in either order.
    pub(super) fn is_over(&self, ends: &[End; 2]) -> bool {
        ends.iter().all(|end| self.ends.contains(end))
    }
}

impl fmt::Display for Rail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.index, &self.pair))
    }
}

/// The name of a rail: `rail 1 between a and b`.
pub(super) fn name(index: usize, [a, b]: &[String; 2]) -> String {
    format!("rail {index} between {a} and {b}")
}

/// The rails of a matrix, pair after pair, with the node of each rank.
pub(super) fn rails(nodes: &[String], matrix: &Devices) -> impl Iterator<Item = Rail> {
    let ranks = nodes.len();
    let pairs = (0..ranks).flat_map(move |from| (from + 1..ranks).map(move |to| (from, to)));
    pairs.flat_map(move |(from, to)| {
        let cells = matrix[from][to].iter().zip(&matrix[to][from]);
        cells.enumerate().map(move |(index, (here, there))| {
            let end = |rank: usize, device: &String| End {
                node: nodes[rank].clone(),
                device: device.clone(),
            };
            Rail {
                pair: [from, to].map(|rank| nodes[rank].clone()),
                index,
                ends: [end(from, here), end(to, there)],
            }
        })
    })
}

/// The devices of the rig that are on no rail.
pub(super) fn left_out<'a>(rig: &'a Rig, rails: &[Rail]) -> Vec<&'a End> {
    let named: HashSet<&End> = rails.iter().flat_map(|rail| &rail.ends).collect();
    let all = rig.cables.iter().flat_map(|cable| &cable.ends);
    all.filter(|end| !named.contains(end)).collect()
}
