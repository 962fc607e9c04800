//! The output of each node's own tools, joined.
//!
//! A node knows its own ports and, on macOS, the Thunderbolt domain at the other end of
//! each cable, which is a port of some other node. On Linux no node knows the other end:
//! two devices that share an IPv4 subnet with no third are taken for the ends of a cable.

mod kind;
mod lines;
mod linux;
mod mac;
mod sysfs;

use serde::Deserialize;

use super::{MAX_NAME_BYTES, ReadError, few_enough, json, text};
use crate::Topology;

pub use kind::{ReportKind, System};

/// The output of the tools of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// The destination by which `ssh` reaches it.
    pub name: String,
    /// The outputs, with their reports. Of several outputs of one report the first
    /// counts.
    pub texts: Vec<(ReportKind, Vec<u8>)>,
}

/// Joins the reports of all nodes, in the order of the ranks if those are pinned.
///
/// # Errors
/// If a report is not in its tool's format, or a node lacks one that describes its
/// cables.
pub fn reports(hosts: &[HostReport]) -> Result<Topology, ReadError> {
    few_enough(hosts.len())?;
    let mut topology = Topology::new();
    let mut domains = mac::Domains::default();
    let mut subnets = linux::Subnets::default();
    for host in hosts {
        host.short_enough()?;
        let known = topology.node(&host.name).is_some();
        let node = topology.add_node(&host.name);
        if known {
            continue;
        }
        topology.set_ssh(node, &host.name);
        match host.system()? {
            System::MacOs => mac::read(host, node, &mut topology, &mut domains)?,
            System::Linux => linux::read(host, node, &mut topology, &mut subnets)?,
        }
    }
    domains.sight(&mut topology);
    subnets.sight(&mut topology);
    Ok(topology)
}

impl HostReport {
    fn short_enough(&self) -> Result<(), ReadError> {
        match self.name.len() {
            bytes if bytes > MAX_NAME_BYTES => Err(ReadError::LongName {
                host: text::short(&self.name),
                bytes,
            }),
            _ => Ok(()),
        }
    }

    fn system(&self) -> Result<System, ReadError> {
        let telling = [System::MacOs, System::Linux];
        let told = |system: &System| self.text(system.telling()).is_some();
        let system = telling.into_iter().find(told);
        system.ok_or_else(|| ReadError::NoReports {
            host: self.name.clone(),
        })
    }

    fn text(&self, kind: ReportKind) -> Option<&[u8]> {
        let (_, text) = self.texts.iter().find(|(of, _)| *of == kind)?;
        Some(text)
    }

    fn needed(&self, kind: ReportKind) -> Result<&[u8], ReadError> {
        self.text(kind).ok_or_else(|| ReadError::MissingReport {
            host: self.name.clone(),
            report: kind,
        })
    }

    /// Adds to an error which report it is in.
    fn within<T>(&self, kind: ReportKind, outcome: Result<T, ReadError>) -> Result<T, ReadError> {
        outcome.map_err(|error| ReadError::Report {
            host: self.name.clone(),
            report: kind,
            error: Box::new(error),
        })
    }

    /// Reads a report in JSON.
    fn json<'a, T: Deserialize<'a>>(&'a self, kind: ReportKind) -> Result<T, ReadError> {
        let text = self.needed(kind)?;
        let first = text.trim_ascii_start().first();
        let parsed = match first {
            Some(b'{' | b'[' | 0xef) | None => json::parse(text),
            Some(_) => Err(ReadError::NotJson {
                command: kind.command(),
            }),
        };
        self.within(kind, parsed)
    }

    /// Reads a report that not every node has.
    fn optional<'a, T: Default>(
        &'a self,
        kind: ReportKind,
        read: impl FnOnce(&'a [u8]) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let read = self.text(kind).map(read);
        self.within(kind, read.unwrap_or_else(|| Ok(T::default())))
    }
}
