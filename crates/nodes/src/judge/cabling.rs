//! What is wrong with the devices of nodes and the cables between them.

use rail_matrix::{Account, EndState, PortId, Problem, Topology};
use rig::{Cable, End};

use crate::{Device, Finding, NodeFacts, Scope, Severity};

/// What the nodes report of their cables, joined.
#[derive(Clone, Copy)]
pub struct Joined<'a> {
    pub topology: &'a Topology,
    pub account: &'a Account,
}

/// What is wrong with devices and cables.
pub fn cabling(scope: Scope, nodes: &[&NodeFacts], joined: Joined) -> Vec<Finding> {
    let unknown = nodes.iter().filter_map(|node| unknown(scope, node));
    let without = nodes.iter().filter_map(|node| without_devices(scope, node));
    let mut findings: Vec<_> = unknown.chain(without).collect();
    let problems = joined.account.problems().iter();
    findings.extend(problems.map(|problem| reported(scope, problem, joined)));
    for node in nodes {
        findings.extend(devices(scope, node, joined.account));
    }
    let cables = scope.rig.iter().flat_map(|rig| &rig.cables);
    findings.extend(cables.filter_map(|cable| crossed(cable, joined)));
    if !findings.iter().any(Finding::is_failure) {
        findings.extend(apart(scope, nodes, joined));
    }
    findings
}

/// A node whose devices are not known.
fn unknown(scope: Scope, node: &NodeFacts) -> Option<Finding> {
    let (why, title) = (node.missing.get("devices")?, node.title());
    let severity = match scope.real {
        true => Severity::Failure,
        false => Severity::Warning,
    };
    Some(Finding::new(
        severity,
        "devices-unknown",
        [title],
        format!("the RDMA devices of node '{title}' are not known: {why}"),
        "a node of real cables needs RDMA: macOS 26.2 on Thunderbolt 5, or Linux with iproute2 and \
         an RDMA driver. Emulated cables need none",
    ))
}

/// A node without RDMA. Of a rig's devices each is missed by name, and a Mac's reports have
/// this problem.
fn without_devices(scope: Scope, node: &NodeFacts) -> Option<Finding> {
    let title = node.title();
    let none = node.devices.as_ref().is_some_and(Vec::is_empty);
    (none && scope.real && scope.rig.is_none()).then(|| {
        Finding::new(
            Severity::Failure,
            "no-devices",
            [title],
            format!("node '{title}' lists no RDMA device"),
            "install its driver, or leave the node out. Emulated cables need none",
        )
    })
}

/// Nodes that no cable joins, though nothing is wrong with what they report.
fn apart(scope: Scope, nodes: &[&NodeFacts], joined: Joined) -> Option<Finding> {
    let none = joined.account.cables().len() == 0;
    (none && scope.real && scope.rig.is_none() && nodes.len() > 1).then(|| {
        Finding::new(
            Severity::Failure,
            "no-cable",
            nodes.iter().map(|node| node.title()),
            "no cable joins the nodes",
            "plug one in; on Linux give its two ends addresses in a subnet of their own",
        )
    })
}

/// A problem that the nodes' reports have. It is a warning if the rig does not use what it
/// is about, and so is the unknown other end of a cable of a node that was asked alone.
fn reported(scope: Scope, problem: &Problem, joined: Joined) -> Finding {
    let used = scope.rig.is_none_or(|rig| {
        let mut ends = rig.cables.iter().flat_map(|cable| &cable.ends);
        match problem.ends() {
            about if about.is_empty() => true,
            about => ends.any(|end| about.contains(&end)),
        }
    });
    let alone = joined.topology.nodes().len() == 1;
    let peer = matches!(problem, Problem::UnknownPeer { .. });
    let severity = match problem.is_warning() || !used || (alone && peer) {
        true => Severity::Warning,
        false => Severity::Failure,
    };
    let (what, remedy) = problem.parts();
    let named = serde_json::to_value(problem).unwrap_or_default();
    let kind = named["kind"].as_str().unwrap_or_default();
    Finding::new(severity, kind, problem.nodes(), what, remedy)
}

/// The devices that ranks will open: those of the rig, or those with a cable. Those that the
/// reports have a problem with are left to it.
fn devices(scope: Scope, node: &NodeFacts, account: &Account) -> Vec<Finding> {
    let Some(devices) = &node.devices else {
        return vec![];
    };
    let title = node.title();
    let Some(rig) = scope.rig else {
        let cabled = devices.iter().filter(|device| device.cable == "cabled");
        return cabled.flat_map(|device| ready(title, device)).collect();
    };
    let ends = rig.cables.iter().flat_map(|cable| &cable.ends);
    let known = |end: &End| {
        let mut problems = account.problems().iter().filter(|it| !it.is_warning());
        problems.any(|problem| problem.ends().contains(&end))
    };
    let own = ends.filter(|end| end.node == title && !known(end));
    own.flat_map(
        |end| match devices.iter().find(|device| device.name == end.device) {
            Some(device) => ready(title, device),
            None => vec![absent(end, devices)],
        },
    )
    .collect()
}

fn absent(end: &End, devices: &[Device]) -> Finding {
    let names: Vec<_> = devices.iter().map(|device| &*device.name).collect();
    let has = match &*names {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    Finding::new(
        Severity::Failure,
        "no-such-device",
        [&*end.node],
        format!(
            "node '{}' has no RDMA device {}; it has {has}",
            end.node, end.device
        ),
        "correct the rig (`cargo xtask rig discover` asks the nodes and writes one)",
    )
}

/// What keeps jaccl from connecting a queue pair of a device.
fn ready(title: &str, device: &Device) -> Vec<Finding> {
    let name = &device.name;
    if let Some(state) = device.port.as_ref().filter(|state| *state != "ACTIVE") {
        return vec![Finding::new(
            Severity::Failure,
            "port-down",
            [title],
            format!("the port of {title}:{name} is {state}, not ACTIVE"),
            "check that both ends of its cable are plugged in and both nodes are awake",
        )];
    }
    match device.gids.is_some() && device.ipv4_gid().is_none() {
        true => vec![Finding::new(
            Severity::Failure,
            "no-ipv4-gid",
            [title],
            format!("{title}:{name} has no GID that is an IPv4 address (errno 22 when connected)"),
            "give its interface an IPv4 address; after a start of the node it can take minutes \
             until the GID is there",
        )],
        false => vec![],
    }
}

/// A cable of the rig whose ends are not those that the nodes report.
fn crossed(cable: &Cable, joined: Joined) -> Option<Finding> {
    let Joined { topology, account } = joined;
    let ports = cable.ends.each_ref().map(|end| {
        let node = topology.node(&end.node)?;
        topology.find_port(node, &end.device)
    });
    let [Some(a), Some(b)] = ports else {
        return None;
    };
    let [this, that] = &cable.ends;
    let nodes = [&*this.node, &*that.node];
    let (name, other) = (&cable.name, |port| topology.end(port));
    match [account.end(a), account.end(b)].map(leads) {
        [Some(to), _] if to != b => Some((this, to)),
        [_, Some(to)] if to != a => Some((that, to)),
        [None, None] => {
            let silent = |port| *account.end(port) == EndState::Silent;
            // What else they are is a problem of theirs.
            return (silent(a) && silent(b)).then(|| {
                Finding::new(
                    Severity::Failure,
                    "no-cable",
                    nodes,
                    format!("neither {this} nor {that} reports a cable, and the rig has '{name}' there"),
                    "plug it in; on Linux give its two ends addresses in a subnet of their own",
                )
            });
        }
        _ => None,
    }
    .map(|(end, to)| {
        Finding::new(
            Severity::Failure,
            "other-cable",
            nodes,
            format!(
                "cable '{name}' of the rig joins {this} and {that}, but the cable in {end} leads to {}",
                other(to)
            ),
            "move the cable, or correct the rig: ranks over crossed rails hang",
        )
    })
}

/// The device that the cable in a device leads to.
fn leads(state: &EndState) -> Option<PortId> {
    match *state {
        EndState::Cabled { other, .. } | EndState::Unreachable { other, .. } => Some(other),
        _ => None,
    }
}
