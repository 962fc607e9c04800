//! What is wrong with nodes.

mod cabling;
mod machine;
mod together;

use crate::{Answer, Finding, NodeFacts, Scope, Severity, Unreachable};

pub use cabling::{Joined, cabling};

/// A node that did not answer.
pub fn unreachable(answer: &Answer, unreachable: &Unreachable) -> Finding {
    let Unreachable { why, remedy } = unreachable;
    let nodes = match &*answer.nodes {
        [] => std::slice::from_ref(&answer.host),
        nodes => nodes,
    };
    let nodes = nodes.iter().map(|node| &**node);
    Finding::new(Severity::Failure, "unreachable", nodes, why, remedy)
}

/// Reports that cannot all be true.
pub fn contradiction<'a>(nodes: impl Iterator<Item = &'a str>, error: &str) -> Finding {
    let what = format!("the nodes contradict each other: {error}");
    let remedy = "name every machine once";
    Finding::new(Severity::Failure, "contradiction", nodes, what, remedy)
}

/// What is wrong with machines, whatever their cables.
pub fn machines(scope: Scope, nodes: &[NodeFacts]) -> Vec<Finding> {
    let each = nodes.iter().flat_map(|node| machine::findings(scope, node));
    each.chain(together::findings(scope, nodes)).collect()
}
