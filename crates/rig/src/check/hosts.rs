//! The rules for nodes that are machines of their own.

use crate::{Node, RigProblem};

/// The first problem, and the node that it is about.
pub(super) fn check(nodes: &[Node]) -> Result<(), (usize, RigProblem)> {
    for (n, node) in nodes.iter().enumerate() {
        alone(node).map_err(|problem| (n, problem))?;
        for first in &nodes[..n] {
            together(first, node).map_err(|problem| (n, problem))?;
        }
    }
    Ok(())
}

fn alone(node: &Node) -> Result<(), RigProblem> {
    let name = node.name.clone();
    if let Some(ssh) = &node.ssh
        && (ssh.is_empty() || ssh.starts_with('-') || ssh.contains(char::is_whitespace))
    {
        let ssh = ssh.clone();
        return Err(RigProblem::BadHost { node: name, ssh });
    }
    match node.address {
        Some(address) if !address.is_loopback() && !address.is_unspecified() => Ok(()),
        address => Err(RigProblem::NoAddress {
            node: name,
            address,
        }),
    }
}

fn together(first: &Node, second: &Node) -> Result<(), RigProblem> {
    let names = || (first.name.clone(), second.name.clone());
    if first.ssh == second.ssh {
        let ssh = first.ssh.clone();
        let (first, second) = names();
        return Err(RigProblem::OneMachine { first, second, ssh });
    }
    match second.address {
        Some(address) if first.address == second.address => {
            let (first, second) = names();
            Err(RigProblem::AddressTwice {
                first,
                second,
                address,
            })
        }
        _ => Ok(()),
    }
}
