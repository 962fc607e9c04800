//! Reads the documents that contain matrices.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::{
    Backend, Topology,
    read::{
        self, Input, JsonError, ReadError,
        cell::Cell,
        few_enough,
        hostfile::{self, Host},
        json::{Entries, Text, parse},
    },
};

/// The most devices of a cell. jaccl's ring takes four.
const MAX_DEVICES: usize = 1024;

/// An existing matrix, and what its document states about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
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
    /// What its document asks for.
    pub asks: Asks,
}

/// The backend that a document asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Asks {
    /// It is none that names a backend.
    #[default]
    Unknown,
    /// It is a hostfile, and names none.
    NoBackend,
    /// It is a hostfile, and names one that uses no RDMA.
    NoRdma(String),
    /// It is a hostfile, and names one of jaccl's.
    For {
        /// Which one.
        backend: Backend,
        /// A variable of its environment that asks for a ring.
        ring_variable: Option<String>,
    },
}

impl Existing {
    /// A matrix of which nothing else is known.
    pub fn new(cells: Vec<Vec<Vec<String>>>) -> Self {
        Self {
            cells,
            ..Self::default()
        }
    }

    /// Sets the node of each rank.
    #[must_use]
    pub fn with_nodes(self, nodes: Vec<String>) -> Self {
        let nodes = Some(nodes);
        Self { nodes, ..self }
    }

    /// Whether any cell has more than one device.
    pub fn has_several(&self) -> bool {
        self.cells.iter().flatten().any(|cell| cell.len() > 1)
    }
}

/// The matrices of a document, and its cabling.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Document {
    /// At least one.
    pub matrices: Vec<Existing>,
    /// The cabling of a whole state of exo's.
    pub topology: Option<Topology>,
}

/// Reads a jaccl device file, an MLX hostfile, or of exo the `/state`, an instance of it,
/// or the `/instance/previews`.
///
/// # Errors
/// If it is none of them, has no matrix, or one of more than
/// [`MAX_NODES`](crate::MAX_NODES) rows.
pub fn read(bytes: &[u8]) -> Result<Document, ReadError> {
    let object = match parse(bytes)? {
        Top::Rows(rows) => return Ok(alone(Existing::new(cells(rows)?))),
        Top::Hosts(hosts) => return Ok(alone(hostfile(hosts, None, &[])?)),
        Top::Object(object) => object,
    };
    if let Some(instance) = object.instance {
        return Ok(alone(instance.existing("MlxJacclInstance", None)?));
    }
    if let Some(Tagged { instance }) = object.created {
        let what = "expected a MlxJacclInstance: this instance does not use jaccl";
        let missing = || JsonError::at("instance".to_owned(), what.to_owned());
        let instance = instance.ok_or_else(missing)?;
        return Ok(alone(instance.existing("instance.MlxJacclInstance", None)?));
    }
    if let Some(previews) = object.previews {
        return Ok(Document {
            matrices: of_previews(previews)?,
            topology: None,
        });
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
        let envs = object.envs.unwrap_or_default();
        return Ok(alone(hostfile(hosts, object.backend.as_deref(), &envs)?));
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

fn hostfile(
    hosts: Vec<Host<'_>>,
    backend: Option<&str>,
    envs: &[Text<'_>],
) -> Result<Existing, ReadError> {
    hostfile::has_rdma(&hosts)?;
    let in_environment = envs.iter().find(|variable| {
        let name = variable.split('=').next();
        matches!(name, Some("MLX_JACCL_RING" | "JACCL_RING"))
    });
    let asks = |backend| Asks::For {
        backend,
        ring_variable: in_environment.map(|variable| variable.to_string()),
    };
    Ok(Existing {
        name: None,
        nodes: Some(hosts.iter().map(|host| host.ssh.to_string()).collect()),
        ring_variable: match backend {
            Some("jaccl-ring") => Some(true),
            Some("jaccl") => Some(in_environment.is_some()),
            _ => None,
        },
        asks: match backend {
            Some("jaccl-ring") => asks(Backend::Ring),
            Some("jaccl") => asks(Backend::Mesh),
            Some("") | None => Asks::NoBackend,
            Some(other) => Asks::NoRdma(other.to_owned()),
        },
        cells: cells(hosts.into_iter().map(|host| host.rdma).collect())?,
    })
}

/// The instances that exo would make of a model, those of jaccl.
fn of_previews(previews: Vec<Preview<'_>>) -> Result<Vec<Existing>, ReadError> {
    let mut matrices = Vec::new();
    for (p, preview) in previews.into_iter().enumerate() {
        let instance = preview.instance.and_then(|tagged| tagged.instance);
        let Some(instance) = instance else { continue };
        let told = [preview.model_id, preview.sharding].into_iter().flatten();
        let told: Vec<_> = told.map(|text| text.to_string()).collect();
        let mut name = told.join(", ");
        let is_taken = |it: &Existing| it.name.as_deref() == Some(&*name);
        if name.is_empty() || matrices.iter().any(is_taken) {
            name = format!("{name} (preview {p})").trim_start().to_owned();
        }
        let path = format!("previews[{p}].instance.MlxJacclInstance");
        matrices.push(instance.existing(&path, Some(name))?);
    }
    if matrices.is_empty() {
        let what = "no preview here uses jaccl: expected an instance with a MlxJacclInstance";
        return Err(JsonError::at("previews".to_owned(), what.to_owned()).into());
    }
    Ok(matrices)
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
            asks: Asks::Unknown,
        })
    }
}

/// The version of exo that writes cells of this kind: see
/// [`Exo`](crate::Exo).
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
    Hosts(Vec<Host<'a>>),
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
    envs: Option<Vec<Text<'a>>>,
    previews: Option<Vec<Preview<'a>>>,
    /// What exo is asked to make.
    #[serde(rename = "instance")]
    created: Option<Tagged<'a>>,
}

/// An instance that exo would make, or why it would not.
#[derive(Deserialize)]
struct Preview<'a> {
    #[serde(borrow)]
    model_id: Option<Text<'a>>,
    sharding: Option<Text<'a>>,
    instance: Option<Tagged<'a>>,
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut rows, mut hosts) = (Vec::new(), Vec::new());
        while let Some(element) = list.next_element()? {
            match element {
                Element::Row(row) if hosts.is_empty() => rows.push(row),
                Element::Host(host) if rows.is_empty() => hosts.push(host),
                Element::Row(_) => {
                    return Err(de::Error::custom(
                        "expected a host like those before, found a list",
                    ));
                }
                Element::Host(_) => {
                    return Err(de::Error::custom(
                        "expected a row like those before, found an object",
                    ));
                }
            }
        }
        Ok(match hosts.is_empty() {
            true => Top::Rows(rows),
            false => Top::Hosts(hosts),
        })
    }
}

/// An element of a list: a row of a device file, or a host of a hostfile.
enum Element<'a> {
    Row(Vec<Cell<'a>>),
    Host(Host<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row, which is a list of cells, or a host of a hostfile")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, cells: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(cells)).map(Element::Row)
    }

    fn visit_map<A: MapAccess<'de>>(self, host: A) -> Result<Self::Value, A::Error> {
        Host::deserialize(MapAccessDeserializer::new(host)).map(Element::Host)
    }
}
