//! The hostfile of `mlx.launch`, as `common.py` and `launch.py` of MLX read it.

use std::net::Ipv4Addr;

use serde::Serialize;

use super::pretty;
use crate::{Backend, NodeInfo, Plan};

#[derive(Serialize)]
struct Hostfile<'a> {
    backend: &'static str,
    envs: &'a [String],
    hosts: Vec<Host<'a>>,
}

#[derive(Serialize)]
struct Host<'a> {
    ssh: String,
    /// The first address of rank 0 is the coordinator's.
    ips: Vec<Ipv4Addr>,
    rdma: Vec<Cell<'a>>,
}

/// MLX accepts null, a device, or a list of several. 0.31.2 and later require null on the
/// diagonal.
#[derive(Serialize)]
#[serde(untagged)]
enum Cell<'a> {
    None,
    One(&'a str),
    Several(&'a [String]),
}

pub fn hostfile(plan: &Plan) -> String {
    let hosts = plan.nodes.iter().enumerate().map(|(rank, node)| {
        let ips = node.reachable_ipv4();
        let cell = |peer| match plan.matrix.cell(rank, peer) {
            [] => Cell::None,
            [one] => Cell::One(one),
            several => Cell::Several(several),
        };
        Host {
            ssh: ssh(node, &ips),
            rdma: (0..plan.nodes.len()).map(cell).collect(),
            ips,
        }
    });
    pretty(&Hostfile {
        backend: match plan.backend {
            Backend::Mesh => "jaccl",
            Backend::Ring => "jaccl-ring",
        },
        envs: &plan.variables,
        hosts: hosts.collect(),
    })
}

/// How `ssh` reaches a node: the given destination, else an address; the network need not
/// know the node's name.
fn ssh(node: &NodeInfo, ips: &[Ipv4Addr]) -> String {
    let told = node.ssh.clone();
    told.or_else(|| ips.first().map(Ipv4Addr::to_string))
        .unwrap_or_else(|| node.name.clone())
}
