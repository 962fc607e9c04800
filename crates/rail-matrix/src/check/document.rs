//! Reads the documents that contain matrices.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::{
    Topology,
    read::{
        self, Input, JsonError, ReadError,
        cell::Cell,
        few_enough,
        json::{Entries, Text, parse},
    },
};

/// The most devices of a cell. jaccl's ring takes four.
const MAX_DEVICES: usize = 1024;

/// An existing matrix, and what its document states about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Existing {
    /// exo's instance.
    pub name: Option<String>,
    /// The devices by row and column, as `parse_devices_json` in `jaccl.cpp` reads them.
    /// Not always square.
    pub cells: Vec<Vec<Vec<String>>>,
    /// The node of each rank.
    pub nodes: Option<Vec<String>>,
    /// Whether its reader sets `MLX_JACCL_RING`, if that is known: exo's main branch
    /// never does, its pull request 2160 does if a cell has several devices, `mlx.launch`
    /// follows the hostfile's backend.
    pub ring_variable: Option<bool>,
}

impl Existing {
    /// Whether any cell has more than one device.
    pub fn has_several(&self) -> bool {
        self.cells.iter().flatten().any(|cell| cell.len() > 1)
    }
}

/// The matrices of a document, and its cabling.
#[derive(Debug, Clone)]
pub struct Document {
    /// At least one.
    pub matrices: Vec<Existing>,
    /// The cabling of a whole state of exo's.
    pub topology: Option<Topology>,
}

/// Reads a jaccl device file, an MLX hostfile, or exo's `/state` or one instance of it.
///
/// # Errors
/// If it is none of them, has no matrix, or one of more than
/// [`MAX_NODES`](crate::MAX_NODES) rows.
pub fn read(bytes: &[u8]) -> Result<Document, ReadError> {
    let object = match parse(bytes)? {
        Top::Rows(rows) => return Ok(alone(device_file(rows)?)),
        Top::Object(object) => object,
    };
    if let Some(instance) = object.instance {
        return Ok(alone(instance.existing("MlxJacclInstance", None)?));
    }
    if let Some(instances) = object.instances {
        let topology = object.topology.is_some();
        let topology = topology.then(|| read::read(bytes, Some(Input::Exo)));
        return Ok(Document {
            matrices: existing(instances)?,
            topology: topology.transpose()?,
        });
    }
    if let Some(hosts) = object.hosts {
        return Ok(alone(hostfile(hosts, object.backend.as_deref())?));
    }
    let instance = Instance {
        instance_id: object.instance_id,
        shard_assignments: object.shard_assignments,
        devices: object.devices,
    };
    Ok(alone(instance.existing("", None)?))
}

fn alone(existing: Existing) -> Document {
    Document {
        matrices: vec![existing],
        topology: None,
    }
}

fn device_file(rows: Rows<'_>) -> Result<Existing, ReadError> {
    Ok(Existing {
        cells: cells(rows)?,
        ..Existing::default()
    })
}

fn hostfile(hosts: Vec<Host<'_>>, backend: Option<&str>) -> Result<Existing, ReadError> {
    let named = |host: &Host<'_>| host.ssh.to_string();
    Ok(Existing {
        name: None,
        nodes: Some(hosts.iter().map(named).collect()),
        cells: cells(hosts.into_iter().map(|host| host.rdma).collect())?,
        ring_variable: match backend {
            Some("jaccl-ring") => Some(true),
            Some("jaccl") => Some(false),
            _ => None,
        },
    })
}

fn existing(instances: Entries<'_, Tagged<'_>>) -> Result<Vec<Existing>, ReadError> {
    let mut matrices = Vec::new();
    for (id, tagged) in instances.0 {
        if let Some(instance) = tagged.instance {
            let path = format!("instances.{}.MlxJacclInstance", &*id);
            matrices.push(instance.existing(&path, Some(id.to_string()))?);
        }
    }
    if matrices.is_empty() {
        let what = "no instance here uses jaccl: expected a MlxJacclInstance".to_owned();
        return Err(JsonError::at("instances".to_owned(), what).into());
    }
    Ok(matrices)
}

impl Instance<'_> {
    fn existing(self, path: &str, name: Option<String>) -> Result<Existing, ReadError> {
        let missing = |what: &str| JsonError::at(path.to_owned(), what.to_owned());
        let Some(rows) = self.devices else {
            let what = "expected jacclDevices, or a list of rows, a state or a hostfile";
            return Err(missing(what).into());
        };
        let ring_variable = ring_variable(&rows);
        let nodes = self.shard_assignments.map(|shards| {
            let nodes = shards.nodes(rows.len());
            nodes.ok_or_else(|| {
                missing("shardAssignments: expected a node for the deviceRank of every row")
            })
        });
        Ok(Existing {
            name: name.or_else(|| self.instance_id.map(|id| id.to_string())),
            nodes: nodes.transpose()?,
            ring_variable,
            cells: cells(rows)?,
        })
    }
}

/// The version of exo that writes cells of this kind: see
/// [`write::Exo`](crate::write::Exo).
fn ring_variable(rows: &Rows<'_>) -> Option<bool> {
    let all = || rows.iter().flatten();
    let several = all().any(|cell| matches!(cell, Cell::Several(devices) if devices.len() > 1));
    let one = all().any(|cell| matches!(cell, Cell::One(_)));
    let null = all().any(|cell| matches!(cell, Cell::None));
    match (one, null) {
        (true, _) if !several => Some(false),
        (false, false) => Some(several),
        _ => None,
    }
}

impl Shards<'_> {
    /// The node of each rank.
    fn nodes(&self, ranks: usize) -> Option<Vec<String>> {
        let shards = self.runner_to_shard.0.iter();
        let rank_of: HashMap<_, _> = shards
            .filter_map(|(runner, kinds)| Some((runner, kinds.0.first()?.1.device_rank)))
            .collect();
        let mut nodes = vec![None; ranks];
        for (node, runner) in &self.node_to_runner.0 {
            let place = nodes.get_mut(*rank_of.get(runner)?)?;
            if place.replace(node.to_string()).is_some() {
                return None;
            }
        }
        nodes.into_iter().collect()
    }
}

fn cells(rows: Rows<'_>) -> Result<Vec<Vec<Vec<String>>>, ReadError> {
    few_enough(rows.len())?;
    let devices = |i: usize, j: usize, cell: &Cell<'_>| {
        let names = cell.devices();
        if names.len() > MAX_DEVICES {
            let what = format!(
                "expected at most {MAX_DEVICES} devices, found {}",
                names.len()
            );
            return Err(JsonError::at(format!("row {i}, cell {j}"), what).into());
        }
        Ok(names.iter().map(|device| device.to_string()).collect())
    };
    let row = |(i, row): (usize, &Vec<Cell<'_>>)| {
        let cells = row.iter().enumerate();
        cells.map(|(j, cell)| devices(i, j, cell)).collect()
    };
    rows.iter().enumerate().map(row).collect()
}

type Rows<'a> = Vec<Vec<Cell<'a>>>;

enum Top<'a> {
    Rows(Rows<'a>),
    Object(Box<Object<'a>>),
}

/// The keys of an object that indicate what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    topology: Option<IgnoredAny>,
    #[serde(borrow)]
    instances: Option<Entries<'a, Tagged<'a>>>,
    #[serde(rename = "MlxJacclInstance", alias = "MlxIbvInstance")]
    instance: Option<Instance<'a>>,
    instance_id: Option<Text<'a>>,
    shard_assignments: Option<Shards<'a>>,
    #[serde(rename = "jacclDevices", alias = "ibvDevices")]
    devices: Option<Rows<'a>>,
    hosts: Option<Vec<Host<'a>>>,
    backend: Option<Text<'a>>,
}

/// An instance by its kind. Only jaccl's has a matrix.
#[derive(Deserialize)]
struct Tagged<'a> {
    #[serde(borrow, rename = "MlxJacclInstance", alias = "MlxIbvInstance")]
    instance: Option<Instance<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance<'a> {
    #[serde(borrow)]
    instance_id: Option<Text<'a>>,
    shard_assignments: Option<Shards<'a>>,
    #[serde(rename = "jacclDevices", alias = "ibvDevices")]
    devices: Option<Rows<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shards<'a> {
    #[serde(borrow)]
    node_to_runner: Entries<'a, Text<'a>>,
    /// By runner, the kind of its shard.
    runner_to_shard: Entries<'a, Entries<'a, Shard>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shard {
    device_rank: usize,
}

#[derive(Deserialize)]
struct Host<'a> {
    #[serde(borrow)]
    ssh: Text<'a>,
    #[serde(default)]
    rdma: Vec<Cell<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Top<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TopVisitor)
    }
}

struct TopVisitor;

impl<'de> Visitor<'de> for TopVisitor {
    type Value = Top<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows, a state or an instance of exo's, or a hostfile")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Object::deserialize(MapAccessDeserializer::new(map))
            .map(Box::new)
            .map(Top::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, rows: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(rows)).map(Top::Rows)
    }
}
