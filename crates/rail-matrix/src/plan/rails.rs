//! The matrix of a choice, and the cables that it leaves over.

use super::{
    backend::Choice,
    note::{Note, Spare},
    options::Options,
    pairs::Pairs,
};
use crate::{Backend, Matrix};

/// The cables that a choice uses, as rails: in the same order at both ends.
pub fn matrix(pairs: &Pairs<'_>, choice: &Choice) -> Matrix {
    let topology = pairs.topology;
    let mut matrix = Matrix::empty(pairs.nodes.len());
    for cable in pairs.cables.iter().filter(|cable| choice.uses(cable)) {
        let ranks = cable.join.ends.map(|end| {
            let (a, b) = cable.pair;
            let node = if topology[end].node == pairs.nodes[a] {
                a
            } else {
                b
            };
            choice.ranks[node]
        });
        let devices = cable.join.ends.map(|end| &*topology[end].device);
        matrix.push(ranks, devices, topology.cable_name(&cable.join));
    }
    matrix
}

/// The cables that a choice leaves unused: one note for each pair that it joins, one for
/// the rest.
pub fn spare(pairs: &Pairs<'_>, choice: &Choice, options: &Options) -> Vec<Note> {
    let why = why_spare(pairs, choice, options);
    let mut notes = Vec::new();
    let mut apart = Vec::new();
    for cables in pairs.links() {
        let unused = cables.iter().filter(|cable| !choice.uses(cable));
        let names: Vec<_> = unused
            .map(|cable| pairs.topology.cable_name(&cable.join))
            .collect();
        if names.is_empty() {
            continue;
        }
        let (a, b) = cables[0].pair;
        let pair = [a, b].map(|node| pairs.name(node).to_owned());
        if choice.neighbours((a, b)) {
            let cables = names;
            notes.push(Note::Spare { pair, cables, why });
        } else {
            apart.push(pair);
        }
    }
    if !apart.is_empty() {
        notes.push(Note::NotNeighbours { pairs: apart });
    }
    notes
}

/// Why a cable between two nodes that a choice joins is unused.
fn why_spare(pairs: &Pairs<'_>, choice: &Choice, options: &Options) -> Spare {
    let (rails, max_rails) = (choice.rails, options.max_rails);
    if choice.backend == Backend::Mesh && !options.jaccl.mesh_opens_several {
        return Spare::MeshWires { wires: 1 };
    }
    if rails == max_rails {
        return Spare::Cap { max_rails };
    }
    let joined = pairs
        .links()
        .filter(|cables| choice.neighbours(cables[0].pair));
    match joined.map(<[_]>::len).min() {
        Some(fewest) if fewest > rails => Spare::Slower { rails },
        _ => Spare::EqualCounts { rails },
    }
}
