//! The parts of exo's documents that describe the cabling.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        self, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::read::json::{Entries, Object, Text};

/// `/state`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'a> {
    #[serde(borrow)]
    pub topology: Object<Snapshot<'a>>,
    #[serde(default)]
    pub node_identities: Entries<'a, Object<Identity<'a>>>,
    #[serde(default)]
    pub node_network: Entries<'a, Object<NodeNetwork<'a>>>,
    #[serde(default)]
    pub node_thunderbolt: Entries<'a, Object<Thunderbolt<'a>>>,
    #[serde(default)]
    pub node_rdma_ctl: Entries<'a, Object<Switch>>,
    #[serde(default)]
    pub node_thunderbolt_bridge: Entries<'a, Object<Switch>>,
}

impl<'a> State<'a> {
    /// A document that contains only the topology.
    pub fn of(topology: Object<Snapshot<'a>>) -> Self {
        Self {
            topology,
            node_identities: Entries::default(),
            node_network: Entries::default(),
            node_thunderbolt: Entries::default(),
            node_rdma_ctl: Entries::default(),
            node_thunderbolt_bridge: Entries::default(),
        }
    }
}

/// `/state/topology`.
#[derive(Deserialize)]
pub struct Snapshot<'a> {
    #[serde(borrow)]
    pub nodes: Vec<Text<'a>>,
    pub connections: Connections<'a>,
}

/// Edges by source and sink.
pub enum Connections<'a> {
    Maps(Entries<'a, Entries<'a, Vec<Edge<'a>>>>),
    /// The form that some versions write.
    Triples(Vec<(Text<'a>, Text<'a>, Edge<'a>)>),
}

/// How a source reaches a sink.
pub enum Edge<'a> {
    /// Over IP, at this address if it is known.
    Ip(Option<String>),
    /// Over a cable from a device of the source to one of the sink.
    Rdma { source: Text<'a>, sink: Text<'a> },
    /// A kind that does not exist in the exo examined here.
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity<'a> {
    #[serde(borrow)]
    pub friendly_name: Option<Text<'a>>,
    /// Such as `Mac Studio`.
    pub model_id: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub struct NodeNetwork<'a> {
    #[serde(borrow, default)]
    pub interfaces: Vec<Object<Interface<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    pub ip_address: Text<'a>,
    pub interface_type: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub struct Thunderbolt<'a> {
    #[serde(borrow, default)]
    pub interfaces: Vec<Object<ThunderboltInterface<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThunderboltInterface<'a> {
    #[serde(borrow)]
    pub rdma_interface: Text<'a>,
    pub link_speed: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub struct Switch {
    pub enabled: Option<bool>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Connections<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConnectionsVisitor)
    }
}

struct ConnectionsVisitor;

impl<'de> Visitor<'de> for ConnectionsVisitor {
    type Value = Connections<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object by source and sink, or a list of [source, sink, edge]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Entries::deserialize(MapAccessDeserializer::new(map)).map(Connections::Maps)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Connections::Triples)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EdgeText<'a> {
    #[serde(borrow)]
    sink_multiaddr: Option<Object<Multiaddr<'a>>>,
    source_rdma_iface: Option<Text<'a>>,
    sink_rdma_iface: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Multiaddr<'a> {
    #[serde(borrow)]
    address: Text<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Edge<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(edge) = Object::<EdgeText>::deserialize(deserializer)?;
        let missing = |field| Err(de::Error::missing_field(field));
        match (edge.source_rdma_iface, edge.sink_rdma_iface) {
            (Some(source), Some(sink)) => Ok(Self::Rdma { source, sink }),
            (Some(_), None) => missing("sinkRdmaIface"),
            (None, Some(_)) => missing("sourceRdmaIface"),
            (None, None) => Ok(match edge.sink_multiaddr {
                Some(multiaddr) => Self::Ip(multiaddr.ip()),
                None => Self::Other,
            }),
        }
    }
}

impl Multiaddr<'_> {
    /// `192.0.2.1` of `/ip4/192.0.2.1/tcp/52415`.
    fn ip(&self) -> Option<String> {
        let mut parts = self.address.strip_prefix('/')?.split('/');
        match parts.next()? {
            "ip4" | "ip6" => parts.next().map(str::to_owned),
            _ => None,
        }
    }
}
