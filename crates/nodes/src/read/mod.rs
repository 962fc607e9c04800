//! From the texts of a node's tools to its facts.

mod common;
mod linux;
mod mac;
pub mod ports;

use std::collections::BTreeMap;

use rail_matrix::read::{HostReport, System};

use crate::{ModelFile, NodeFacts, Power, Said, Software, sections::Sections};
use ports::Port;

/// A fact, or why there is none.
type Read<T> = Result<T, String>;

/// A node by its own tools.
pub struct Node {
    pub facts: NodeFacts,
    /// The ports of its RDMA devices.
    pub ports: Read<BTreeMap<String, Port>>,
    /// What it reports of its cables.
    pub report: Read<HostReport>,
    /// The tools that did not end.
    pub hung: Vec<String>,
    /// The last tool that was started.
    pub last: String,
}

/// Reads what the script printed.
pub fn node(host: &str, nodes: &[String], said: &Said) -> Node {
    let sections = Sections::parse(&said.text);
    let mut facts = NodeFacts {
        host: host.to_owned(),
        nodes: nodes.to_vec(),
        ..NodeFacts::default()
    };
    let uname = sections.some("uname").and_then(common::uname);
    let system = uname
        .clone()
        .and_then(|(kernel, _)| System::of_uname(&kernel).ok_or(format!("it runs {kernel}")));
    let clock = common::clock(&sections, said);
    facts.clock = facts.fact("clock", clock);
    let disk = sections.some("disk").and_then(common::disk);
    facts.disk = facts.fact("disk", disk);
    facts.model = facts.fact("model", files(&sections));
    let tools = system.clone().map(|system| match system {
        System::MacOs => mac::tools(&sections),
        System::Linux => linux::tools(&sections),
    });
    let tools = tools.unwrap_or_else(|why| Tools::missing(&why));
    let software = uname.and_then(|(kernel, architecture)| {
        let (name, version, build) = tools.release?;
        Ok(Software {
            kernel,
            architecture,
            name,
            version,
            build,
        })
    });
    facts.software = facts.fact("software", software);
    facts.chip = facts.fact("chip", tools.chip);
    facts.memory = facts.fact("memory", tools.memory);
    facts.rdma_enabled = facts.fact("rdma_enabled", tools.rdma_enabled);
    facts.power = facts.fact("power", tools.power);
    facts.heat = facts.fact("heat", tools.heat);
    facts.users = facts.fact("users", tools.users);
    let report = system.and_then(|system| report(facts.title(), system, &sections));
    Node {
        facts,
        ports: tools.ports,
        report,
        hung: sections.hung().map(str::to_owned).collect(),
        last: sections.last.to_owned(),
    }
}

/// Reads what [`model_script`](crate::model_script) printed.
///
/// # Errors
/// Why the node does not have the model.
pub fn model(said: &str) -> Result<Vec<ModelFile>, String> {
    files(&Sections::parse(said))
}

fn files(sections: &Sections) -> Read<Vec<ModelFile>> {
    sections.get("files").and_then(common::model)
}

/// The facts that the tools of one system print.
struct Tools {
    /// The name, version and build of the system.
    release: Read<(String, String, Option<String>)>,
    chip: Read<crate::Chip>,
    memory: Read<crate::Memory>,
    rdma_enabled: Read<bool>,
    power: Read<Power>,
    heat: Read<crate::Heat>,
    users: Read<Vec<crate::User>>,
    ports: Read<BTreeMap<String, Port>>,
}

impl Tools {
    fn missing(why: &str) -> Self {
        let why = || why.to_owned();
        Self {
            release: Err(why()),
            chip: Err(why()),
            memory: Err(why()),
            rdma_enabled: Err(why()),
            power: Err(why()),
            heat: Err(why()),
            users: Err(why()),
            ports: Err(why()),
        }
    }
}

/// What a node reports of its cables, or which tool failed that has to.
fn report(name: &str, system: System, sections: &Sections) -> Read<HostReport> {
    let mut texts = Vec::new();
    for kind in system.reports() {
        match sections.get(kind.file()) {
            Ok(text) => texts.push((kind, text.to_owned().into_bytes())),
            Err(why) if kind.is_needed() => return Err(format!("`{}`: {why}", kind.command())),
            Err(_) => {}
        }
    }
    let name = name.to_owned();
    Ok(HostReport { name, texts })
}

/// Why a text is not in the shape of its tool.
fn odd(expected: &str, found: &str) -> String {
    let found: String = found.chars().take(80).collect();
    format!("expected {expected}, found '{found}'")
}
