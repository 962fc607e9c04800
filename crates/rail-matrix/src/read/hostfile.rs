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
use crate::{Address, Network, Problem, Topology};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    hosts: Vec<Object<Host<'a>>>,
}

#[derive(Deserialize)]
struct Host<'a> {
    #[serde(borrow)]
    ssh: Text<'a>,
    #[serde(default)]
    ips: Vec<Text<'a>>,
    #[serde(default)]
    rdma: Vec<Cell<'a>>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Topology, ReadError> {
    let (hosts, root) = match shape(bytes)? {
        Shape::List { .. } => (json::parse::<Vec<Object<Host>>>(bytes)?, ""),
        Shape::Object { .. } | Shape::Other => {
            let Object(document) = json::parse::<Object<Document>>(bytes)?;
            (document.hosts, "hosts")
        }
    };
    few_enough(hosts.len())?;
    for (i, host) in hosts.iter().enumerate() {
        let cells = host.rdma.len();
        if cells != 0 && cells != hosts.len() {
            let expected = format!("expected {} cells, one a host, found {cells}", hosts.len());
            return Err(JsonError::at(format!("{root}[{i}].rdma"), expected).into());
        }
    }
    Ok(topology(&hosts))
}

fn topology(hosts: &[Object<Host>]) -> Topology {
    let mut topology = Topology::new();
    let add = |host: &Object<Host>| {
        let id = topology.add_node(&host.ssh);
        let facts = topology.node_mut(id);
        *facts.ssh = Some(host.ssh.to_string());
        let addresses = host.ips.iter().map(|ip| Address {
            network: Network::Unknown,
            ip: ip.to_string(),
        });
        facts.addresses.extend(addresses);
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
                topology.report(Problem::NoOtherEnd {
                    from: format!("{}:{}", &*host.ssh, &**device),
                    node: hosts[j].ssh.to_string(),
                    place: there.len() + 1,
                    back: there.len(),
                });
            }
        }
    }
    topology
}
