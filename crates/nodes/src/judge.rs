//! What is wrong with nodes.

mod cabling;
mod machine;
mod together;

use crate::{Answer, Finding, NodeFacts, Said, Scope, Severity, Unreachable};

pub use cabling::{Joined, cabling};
pub use machine::state;

/// A node that did not answer.
pub fn unreachable(answer: &Answer, unreachable: &Unreachable) -> Finding {
    let Unreachable { why, remedy } = unreachable;
    let nodes = match &*answer.nodes {
        [] => std::slice::from_ref(&answer.host),
        nodes => nodes,
    };
    let nodes = nodes.iter().map(|node| &**node);
    let what = match &*answer.nodes {
        [node] if *node != answer.host => format!("node '{node}': {why}"),
        _ => why.clone(),
    };
    Finding::new(Severity::Failure, "unreachable", nodes, what, remedy)
}

/// A node whose answer was cut off. What it has said before is among its facts.
pub fn late(title: &str, said: &Said, last: &str) -> Finding {
    let seconds = said.answered - said.asked;
    let what = format!(
        "node '{title}' had not said everything after {seconds:.0} s; it was asked for '{last}' then"
    );
    Finding::new(Severity::Failure, "late", [title], what, RESTART)
}

/// A tool that does not end. Where the fact is needed that it knows, another finding says so.
pub fn hung(title: &str, tool: &str) -> Finding {
    let what = format!("what node '{title}' was asked for as '{tool}' did not end, and was ended");
    Finding::new(Severity::Warning, "tool-hangs", [title], what, RESTART)
}

const RESTART: &str = "run the tool there in a terminal; a driver that does not answer may need \
                       its cables pulled and plugged in again, or a restart of the node";

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
