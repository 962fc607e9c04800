//! An examination as documents.

use std::fmt::Write as _;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;
use serde_json::Value;

use crate::{Device, Examination, Finding, NodeFacts, facts::EMULATED};

/// The name and version of [`Examination::json`].
pub const SCHEMA: &str = "mlx-rails/rig-doctor/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    well: bool,
    nodes: &'a [NodeFacts],
    cabling: &'a Option<Value>,
    findings: &'a [Finding],
}

impl Examination {
    /// For programs, as one object. See [`SCHEMA`]. The text ends with a line break.
    pub fn json(&self) -> String {
        let document = Document {
            schema: SCHEMA,
            well: self.is_well(),
            nodes: &self.nodes,
            cabling: &self.cabling,
            findings: &self.findings,
        };
        let json = serde_json::to_string_pretty(&document);
        json.expect("facts are plain data") + "\n"
    }

    /// For people: a table of the nodes, one of their devices, and what is wrong. The text
    /// ends with a line break.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        if !self.nodes.is_empty() {
            let _ = writeln!(text, "{}\n", self.facts());
        }
        let devices: Vec<_> = self.nodes.iter().flat_map(rows_of_devices).collect();
        if !devices.is_empty() {
            let mut table = table(["device", "port", "IPv4 GID", "addresses", "cable"]);
            table.add_rows(devices);
            let _ = writeln!(text, "{table}\n");
        }
        for finding in &self.findings {
            let Finding {
                severity,
                what,
                remedy,
                ..
            } = finding;
            let _ = writeln!(
                text,
                "- {severity}: {}\n  {}",
                one_line(what),
                one_line(remedy)
            );
        }
        if self.findings.is_empty() {
            text += "Nothing is wrong.\n";
        }
        text
    }

    /// A row a fact, a column a node.
    fn facts(&self) -> Table {
        let heads = self.nodes.iter().map(|node| match &*node.nodes {
            [] | [_] => node.title().to_owned(),
            several => format!("{} ({})", node.host, several.join(", ")),
        });
        let mut table = table(std::iter::once("node".to_owned()).chain(heads));
        for (name, key, value) in FACTS {
            let known = self
                .nodes
                .iter()
                .map(|node| match (value(node), node.missing.get(key)) {
                    (Some(known), _) => known,
                    (None, Some(why)) => format!("? ({why})"),
                    (None, None) => "?".to_owned(),
                });
            let optional = self.nodes.iter().all(|node| value(node).is_none());
            if optional && OPTIONAL.contains(&key) {
                continue;
            }
            let cells = known.map(|cell| one_line(&cell));
            table.add_row(std::iter::once(name.to_owned()).chain(cells));
        }
        table
    }
}

/// Facts that have no row if no node has them.
const OPTIONAL: [&str; 3] = ["rdma_enabled", "bridged", "model"];

type Row = (&'static str, &'static str, fn(&NodeFacts) -> Option<String>);

/// The rows: the name for people, that in [`NodeFacts::missing`], and the value.
const FACTS: [Row; 11] = [
    ("system", "software", |node| {
        let it = node.software.as_ref()?;
        let build = it
            .build
            .as_ref()
            .map_or(String::new(), |build| format!(" ({build})"));
        Some(format!(
            "{} {}{build}, {}",
            it.name, it.version, it.architecture
        ))
    }),
    ("chip", "chip", |node| {
        let it = node.chip.as_ref()?;
        let cores = it
            .processors
            .map_or(String::new(), |count| format!(", {count} processors"));
        let machine = it
            .machine
            .as_ref()
            .map_or(String::new(), |name| format!(" ({name})"));
        Some(format!("{}{machine}{cores}", it.name))
    }),
    ("memory", "memory", |node| {
        let it = node.memory?;
        let free = it
            .available_bytes
            .map(|free| format!(", {} available", gibibytes(free)));
        Some(gibibytes(it.total_bytes) + &free.unwrap_or_default())
    }),
    ("rdma_ctl", "rdma_enabled", |node| {
        let word = |enabled| if enabled { "enabled" } else { "disabled" };
        node.rdma_enabled.map(|it| word(it).to_owned())
    }),
    ("bridge", "bridged", |node| {
        let word = |bridged| if bridged { "active" } else { "none" };
        node.bridged.map(|it| word(it).to_owned())
    }),
    ("disk", "disk", |node| {
        let it = node.disk.as_ref()?;
        let (free, total) = (gibibytes(it.free_bytes), gibibytes(it.total_bytes));
        let writable = if it.writable { "" } else { ", not writable" };
        Some(format!(
            "{free} of {total} free on {}{writable}",
            it.mounted
        ))
    }),
    ("clock", "clock", |node| {
        let it = node.clock?;
        Some(format!(
            "{:+.1} to {:+.1} s",
            it.ahead_at_least, it.ahead_at_most
        ))
    }),
    ("power", "power", |node| {
        let it = node.power?;
        let source = if it.on_battery { "battery" } else { "mains" };
        let charge = it
            .charge_percent
            .map_or(String::new(), |percent| format!(", {percent} %"));
        let low = if it.low_power_mode == Some(true) {
            ", low power mode"
        } else {
            ""
        };
        Some(format!("{source}{charge}{low}"))
    }),
    ("heat", "heat", |node| {
        let it = node.heat?;
        let parts = [
            it.hottest_celsius.map(|degrees| format!("{degrees:.0} C")),
            it.warning_level
                .map(|level| format!("warning level {level}")),
            it.speed_limit_percent
                .map(|percent| format!("{percent} % speed")),
        ];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }),
    ("RDMA users", "users", |node| {
        let users = node.users.as_ref()?;
        let user = |user: &crate::User| format!("{} ({})", user.program, user.pid);
        let users: Vec<_> = users.iter().map(user).collect();
        Some(if users.is_empty() {
            "none".to_owned()
        } else {
            users.join(", ")
        })
    }),
    ("model", "model", |node| {
        let files = node.model.as_ref()?;
        let bytes = files.iter().map(|file| file.bytes).sum();
        Some(format!("{} files, {}", files.len(), gibibytes(bytes)))
    }),
];

fn rows_of_devices(node: &NodeFacts) -> Vec<[String; 5]> {
    let row = |device: &Device| {
        let gids = device.gids.as_ref();
        let gid = gids.map(|_| match device.ipv4_gid() {
            Some((ip, index)) => format!("{ip} (index {index})"),
            None => "none".to_owned(),
        });
        let unknown = || match device.cable {
            EMULATED => String::new(),
            _ => "?".to_owned(),
        };
        let cable = match &device.other {
            Some(other) => format!("{}, to {other}", device.cable),
            None => device.cable.to_owned(),
        };
        let name = match device.name.contains(':') {
            true => device.name.clone(),
            false => format!("{}:{}", node.title(), device.name),
        };
        let cells = [
            name,
            device.port.clone().unwrap_or_else(unknown),
            gid.unwrap_or_else(unknown),
            device
                .addresses
                .as_ref()
                .map_or_else(unknown, |all| all.join(", ")),
            cable,
        ];
        cells.map(|cell| one_line(&cell))
    };
    node.devices.iter().flatten().map(row).collect()
}

fn table<T: ToString>(head: impl IntoIterator<Item = T>) -> Table {
    let mut table = Table::new();
    let head: Vec<_> = head.into_iter().map(|cell| cell.to_string()).collect();
    table.load_style(ASCII_MARKDOWN).set_header(head);
    table
}

/// Text of a node on one line of a table.
fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(visible).collect();
    text.replace('|', "\\|")
}

/// Bytes in GiB.
pub fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)
}
