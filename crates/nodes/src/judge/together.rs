//! What is wrong between machines.

use std::collections::BTreeSet;

use crate::{Finding, ModelFile, NodeFacts, Scope, Severity};

/// Seconds from which on clocks are said to be apart: the times of logs do not join.
const CLOCKS_APART: f64 = 1.0;

/// Seconds from which on they are a failure: what was staged seems to come from the future,
/// and a time of one node means nothing on the other.
const CLOCKS_FAR_APART: f64 = 10.0;

/// What is wrong between the machines.
pub fn findings(scope: Scope, nodes: &[NodeFacts]) -> Vec<Finding> {
    let Some((first, others)) = nodes.split_first() else {
        return vec![];
    };
    let mut findings = Vec::new();
    for other in others {
        findings.extend(platform(first, other));
        findings.extend(release(first, other));
        findings.extend(chip(first, other));
    }
    findings.extend(clocks(nodes));
    if scope.model {
        findings.extend(models(nodes));
    }
    findings
}

fn titles<'a>(a: &'a NodeFacts, b: &'a NodeFacts) -> [&'a str; 2] {
    [a.title(), b.title()]
}

fn platform(a: &NodeFacts, b: &NodeFacts) -> Option<Finding> {
    let of = |node: &NodeFacts| {
        let software = node.software.as_ref()?;
        Some(format!("{} {}", software.kernel, software.architecture))
    };
    let (is, other) = (of(a)?, of(b)?);
    let nodes @ [first, second] = titles(a, b);
    (is != other).then(|| {
        Finding::new(
            Severity::Failure,
            "different-platforms",
            nodes,
            format!("node '{first}' is {is} and node '{second}' is {other}"),
            "take nodes of one system and one kind of processor: all ranks run one build",
        )
    })
}

fn release(a: &NodeFacts, b: &NodeFacts) -> Option<Finding> {
    let (is, other) = (a.software.as_ref()?, b.software.as_ref()?);
    let of = |it: &crate::Software| format!("{} {}", it.name, it.version);
    let same = (&is.name, &is.version, &is.build) == (&other.name, &other.version, &other.build);
    let nodes @ [first, second] = titles(a, b);
    let builds = |it: &crate::Software| {
        it.build
            .clone()
            .map_or(String::new(), |it| format!(" ({it})"))
    };
    // Of different systems another finding says so.
    (!same && is.kernel == other.kernel).then(|| {
        Finding::new(
            Severity::Warning,
            "different-releases",
            nodes,
            format!(
                "node '{first}' runs {}{} and node '{second}' {}{}",
                of(is),
                builds(is),
                of(other),
                builds(other)
            ),
            "update the older one: RDMA over Thunderbolt changed between releases",
        )
    })
}

fn chip(a: &NodeFacts, b: &NodeFacts) -> Option<Finding> {
    let (is, other) = (&a.chip.as_ref()?.name, &b.chip.as_ref()?.name);
    let nodes @ [first, second] = titles(a, b);
    (is != other).then(|| {
        Finding::new(
            Severity::Warning,
            "different-chips",
            nodes,
            format!("node '{first}' has {is} and node '{second}' has {other}"),
            "expect the pace of the slower one: every rank gets the same share of the model",
        )
    })
}

/// The two clocks that are surely the farthest apart.
fn clocks(nodes: &[NodeFacts]) -> Option<Finding> {
    let known = || nodes.iter().filter_map(|node| Some((node, node.clock?)));
    let least = known().min_by(|a, b| a.1.ahead_at_most.total_cmp(&b.1.ahead_at_most))?;
    let most = known().max_by(|a, b| a.1.ahead_at_least.total_cmp(&b.1.ahead_at_least))?;
    let apart = most.1.ahead_at_least - least.1.ahead_at_most;
    let severity = match apart {
        CLOCKS_FAR_APART.. => Severity::Failure,
        CLOCKS_APART..CLOCKS_FAR_APART => Severity::Warning,
        _ => return None,
    };
    let nodes @ [ahead, behind] = titles(most.0, least.0);
    Some(Finding::new(
        severity,
        "clocks-apart",
        nodes,
        format!("the clock of node '{ahead}' is at least {apart:.0} s ahead of that of '{behind}'"),
        "let both take the time from the network (macOS: `sudo sntp -sS time.apple.com`; Linux: \
         `sudo timedatectl set-ntp true`)",
    ))
}

/// Nodes without the model, and files in which they differ from the first that has it.
fn models(nodes: &[NodeFacts]) -> Vec<Finding> {
    let has = |node: &NodeFacts| node.model.as_ref().is_some_and(|files| !files.is_empty());
    let (with, without): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| has(node));
    let missing = without.into_iter().map(|node| {
        let title = node.title();
        let why = node
            .missing
            .get("model")
            .map_or("its folder has no file of one", |why| why);
        Finding::new(
            Severity::Failure,
            "model-missing",
            [title],
            format!("node '{title}' does not have the model: {why}"),
            "copy the model's folder there, or name its parent as `models` in the [[node]]",
        )
    });
    let mut findings: Vec<_> = missing.collect();
    if let Some((first, others)) = with.split_first() {
        findings.extend(others.iter().filter_map(|other| files(first, other)));
    }
    findings
}

fn files(a: &NodeFacts, b: &NodeFacts) -> Option<Finding> {
    let set = |node: &'_ NodeFacts| -> BTreeSet<(String, u64, String)> {
        let files = node.model.iter().flatten();
        let key = |file: &ModelFile| (file.name.clone(), file.bytes, file.sha256.clone());
        files.map(key).collect()
    };
    let (in_a, in_b) = (set(a), set(b));
    let names: BTreeSet<_> = in_a
        .symmetric_difference(&in_b)
        .map(|file| &*file.0)
        .collect();
    let nodes @ [first, second] = titles(a, b);
    let names: Vec<_> = names.into_iter().collect();
    (!names.is_empty()).then(|| {
        Finding::new(
            Severity::Failure,
            "model-differs",
            nodes,
            format!(
                "the model's files differ between nodes '{first}' and '{second}': {}",
                names.join(", ")
            ),
            "copy them from the node that has the right ones",
        )
    })
}
