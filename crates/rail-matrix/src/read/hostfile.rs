//! MLX's hostfile, as `Hostfile.from_file` of `mlx.launch` reads it: an object with
//! `hosts`, or the list of hosts alone.
//!
//! `rdma[j]` of host `i` is the cell `(i, j)` of the matrix: null, a device, or several.
//! It determines which devices jaccl will pair, so index `k` of cells `(i, j)` and `(j,
//! i)` is read as a statement that they are the two ends of one cable.

use serde::Deserialize;

use super::{
    JsonError, ReadError,
    cell::Cell,
    detect::{Shape, shape},
    few_enough,
    json::{self, Object, Text},
};
use crate::{Network, Problem, Topology};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    hosts: Vec<Object<Host<'a>>>,
    /// `NAME=VALUE`, for every rank.
    #[serde(default)]
    envs: Vec<Text<'a>>,
}

/// A host, with its devices towards each host.
#[derive(Deserialize)]
pub(crate) struct Host<'a> {
    #[serde(borrow)]
    pub ssh: Text<'a>,
    #[serde(default)]
    ips: Vec<Text<'a>>,
    #[serde(default)]
    pub rdma: Vec<Cell<'a>>,
}

/// Refuses a hostfile for TCP, whose hosts have no devices.
pub(crate) fn has_rdma<'a>(hosts: impl IntoIterator<Item = &'a Host<'a>>) -> Result<(), ReadError> {
    let mut hosts = hosts.into_iter().peekable();
    match hosts.peek().is_some() && hosts.all(|host| host.rdma.is_empty()) {
        true => Err(ReadError::TcpHostfile),
        false => Ok(()),
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Topology, ReadError> {
    let (hosts, envs, root) = match shape(bytes)? {
        Shape::List { .. } => (json::parse::<Vec<Object<Host>>>(bytes)?, Vec::new(), ""),
        Shape::Object { .. } | Shape::Other => {
            let Object(document) = json::parse::<Object<Document>>(bytes)?;
            (document.hosts, document.envs, "hosts")
        }
    };
    few_enough(hosts.len())?;
    has_rdma(hosts.iter().map(|Object(host)| host))?;
    for (i, host) in hosts.iter().enumerate() {
        let cells = host.rdma.len();
        if cells != 0 && cells != hosts.len() {
            let expected = format!("expected {} cells, one a host, found {cells}", hosts.len());
            return Err(JsonError::at(format!("{root}[{i}].rdma"), expected).into());
        }
    }
    let mut topology = topology(&hosts);
    for (i, variable) in envs.iter().enumerate() {
        if !topology.add_variable(variable) {
            let what = format!("expected NAME=VALUE, found '{}'", &**variable);
            return Err(JsonError::at(format!("envs[{i}]"), what).into());
        }
    }
    Ok(topology)
}

fn topology(hosts: &[Object<Host>]) -> Topology {
    let mut topology = Topology::new();
    let add = |host: &Object<Host>| {
        let id = topology.add_node(&host.ssh);
        topology.set_ssh(id, &host.ssh);
        for ip in &host.ips {
            topology.add_address(id, Network::Unknown, ip);
        }
        id
    };
    let nodes: Vec<_> = hosts.iter().map(add).collect();
    for (i, host) in hosts.iter().enumerate() {
        for (j, cell) in host.rdma.iter().enumerate() {
            let here = cell.devices();
            let there = hosts[j].rdma.get(i).map_or(&[][..], Cell::devices);
            for (here, there) in here.iter().zip(there) {
                let from = topology.port(nodes[i], here);
                let to = topology.port(nodes[j], there);
                topology.sight(from, to);
            }
            if let Some(device) = here.get(there.len()) {
                let port = topology.port(nodes[i], device);
                let problem = Problem::NoOtherEnd {
                    from: topology.end(port),
                    node: hosts[j].ssh.to_string(),
                    place: there.len() + 1,
                    back: there.len(),
                };
                topology.report_at(&[port], problem);
            }
        }
    }
    topology
}
