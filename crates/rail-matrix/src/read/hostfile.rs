//! MLX's hostfile, as `Hostfile.from_file` of `mlx.launch` reads it: an object with
//! `hosts`, or the list of hosts alone.
//!
//! `rdma[j]` of host `i` is the cell `(i, j)` of the matrix: null, a device, or several.
//! It says which devices jaccl will pair, so index `k` of cells `(i, j)` and `(j, i)` is
//! taken for what it claims to be: the two ends of one cable.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::{
    JsonError, ReadError,
    detect::{Shape, shape},
    few_enough,
    json::{self, Text},
};
use crate::{Address, Network, Problem, Topology};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    hosts: Vec<Host<'a>>,
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

/// The devices of a cell.
struct Cell<'a>(Vec<Text<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Cell<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a device or a list of devices")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Cell<'de>, E> {
        Ok(Cell(Vec::new()))
    }

    fn visit_borrowed_str<E: de::Error>(self, device: &'de str) -> Result<Cell<'de>, E> {
        Ok(Cell(vec![device.into()]))
    }

    fn visit_str<E: de::Error>(self, device: &str) -> Result<Cell<'de>, E> {
        Ok(Cell(vec![device.to_owned().into()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, devices: A) -> Result<Cell<'de>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(devices)).map(Cell)
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Topology, ReadError> {
    let (hosts, root) = match shape(bytes)? {
        Shape::List { .. } => (json::parse::<Vec<Host>>(bytes)?, ""),
        Shape::Object { .. } | Shape::Other => (json::parse::<Document>(bytes)?.hosts, "hosts"),
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

fn topology(hosts: &[Host]) -> Topology {
    let mut topology = Topology::new();
    let add = |host: &Host| {
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
        for (j, Cell(here)) in host.rdma.iter().enumerate() {
            let there = hosts[j].rdma.get(i).map_or(&[][..], |cell| &cell.0);
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
