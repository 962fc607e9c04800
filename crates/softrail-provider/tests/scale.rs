//! As many nodes, cables and queue pairs as any user will have.
#![cfg(target_os = "linux")]

mod client;

use std::{env, path::Path, time::Duration};

use launch::Launcher;
use rig::{Cable, End, Link, Node, Rig, Rules};
use softrail::{
    Fabric,
    config::{self, Device},
    default_parent, provider_library,
    shm::SLOTS,
    up::{End as Ended, Job},
};
use softrail_provider::bindings as ibv;

use client::{Client, Wanted};

/// The number of nodes, and of cables between each two of them.
const NODES: usize = 16;
const CABLES: usize = 8;

/// Longer than any step here takes.
const LIMIT: Duration = Duration::from_secs(120);

/// The first half of a client's memory is sent, and received messages go into the other
/// half.
const HALF: usize = 4096;
const WANTED: Wanted = Wanted {
    kind: ibv::IBV_QPT_UC,
    memory: 2 * HALF,
    requests: 1,
};

#[test]
fn sixteen_nodes_use_eight_cables_to_each_of_the_others() {
    let rig = all_joined();
    assert_eq!(rig.cables.len(), NODES * (NODES - 1) / 2 * CABLES);
    // The files might take gigabytes, which a folder in memory does not have on every
    // machine.
    let parents = [default_parent(), env::temp_dir()];
    let mut fabrics = parents
        .iter()
        .flat_map(|parent| Fabric::create(parent, &rig));
    let fabric = fabrics.next().expect("room for that many");
    let this = env::current_exe().expect("a program");
    let this = this.to_str().expect("a path in Unicode");
    let names: Vec<_> = rig.nodes.iter().map(|node| node.name.as_str()).collect();
    let nodes: Vec<_> = (0..NODES).collect();
    let job = Job {
        command: &[this, "--exact", "uses_every_device", "--nocapture"].map(str::to_owned),
        nodes: &nodes,
        provider: &provider_library().expect("the provider"),
        limit: Some(LIMIT),
    };
    let mut said = String::new();
    let ends = fabric.up(&names, &job, &Launcher::default(), |_, _, line| {
        said.extend([line, "\n"]);
        Ok(())
    });
    let well: Vec<_> = nodes.iter().map(|node| (*node, Ended::Code(0))).collect();
    assert_eq!(ends.expect("they start"), well, "{said}");
    for (cable, bytes) in fabric.cable_bytes() {
        assert_eq!(bytes, 2 * HALF as u64, "{cable}");
    }
}

fn all_joined() -> Rig {
    let name = |node| format!("node-{node}");
    let end = |from, to, k| End {
        node: name(from),
        device: format!("to_{to}_{k}"),
    };
    let pairs = (0..NODES).flat_map(|a| (a + 1..NODES).map(move |b| (a, b)));
    let cables = pairs.flat_map(|(a, b)| (0..CABLES).map(move |k| (a, b, k)));
    let cables = cables.map(|(a, b, k)| {
        let ends = [end(a, b, k), end(b, a, k)];
        Cable::new(format!("{a}-{b}-{k}"), ends, Link::default())
    });
    let nodes = (0..NODES).map(|node| Node::new(name(node)));
    Rig::new(nodes.collect(), cables.collect()).with_rules(Rules::rdma())
}

/// The roles of the processes that the test above starts.
#[test]
fn uses_every_device() {
    let variables = [config::FABRIC_VARIABLE, config::NODE_VARIABLE].map(env::var);
    let [Ok(fabric), Ok(node)] = variables else {
        return;
    };
    let fabric = Path::new(&fabric);
    let devices = config::devices(fabric, &node).expect("a node of the rig");
    let mut clients: Vec<_> = (0..devices.len())
        .map(|device| Client::of(fabric, &node, device, WANTED))
        .collect();
    for (client, Device { peer_address, .. }) in clients.iter().zip(&devices) {
        let raw = peer_address.to_ipv6_mapped().octets();
        // Both ends of a new cable give their queue pairs the same numbers.
        client.connect_to(client.number(), ibv::ibv_gid { raw });
    }
    for (client, device) in clients.iter_mut().zip(&devices) {
        post(client, &device.address.octets());
    }
    for (client, device) in clients.iter().zip(&devices) {
        finish(client, &device.peer_address.octets());
    }
}

#[test]
fn every_queue_pair_of_a_device_carries() {
    let parent = tempfile::tempdir().expect("a folder");
    let fabric = Fabric::create(parent.path(), &Rig::embedded().with_rules(Rules::rdma()))
        .expect("a fabric");
    let [mut a, mut b] = ["a", "b"].map(|node| -> Vec<_> {
        let open = |_| Client::of(fabric.path(), node, 0, WANTED);
        (0..SLOTS).map(open).collect()
    });
    for (a, b) in a.iter().zip(&b) {
        a.connect(b);
        b.connect(a);
    }
    let word = |number: u32| number.to_ne_bytes();
    for client in a.iter_mut().chain(&mut b) {
        post(client, &word(client.number()));
    }
    for (a, b) in a.iter().zip(&b) {
        finish(a, &word(b.number()));
        finish(b, &word(a.number()));
    }
}

/// Sends this word many times, and posts a receive.
fn post(client: &mut Client, word: &[u8; 4]) {
    for place in client.memory[..HALF].chunks_exact_mut(4) {
        place.copy_from_slice(word);
    }
    let outgoing = client.first(HALF as u32);
    let mut incoming = outgoing;
    incoming.addr += HALF as u64;
    assert_eq!(client.post_receive(0, incoming), 0);
    let sent = client.post_send(0, ibv::IBV_WR_SEND, outgoing, outgoing, 0);
    assert_eq!(sent, 0);
}

/// Waits until everything that was posted has completed, and this word has arrived.
fn finish(client: &Client, word: &[u8; 4]) {
    for _ in 0..2 {
        assert_eq!(client.complete().status, ibv::IBV_WC_SUCCESS);
    }
    let mut came = client.memory[HALF..].chunks_exact(4);
    assert!(came.all(|place| place == word));
}
