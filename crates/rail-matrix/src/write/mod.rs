//! A plan as documents for other programs and for people.

mod cabling;
mod diagnosis;
mod dot;
mod environment;
mod hostfile;
mod json;
mod svg;
mod table;

use std::{fmt, str::FromStr};

use crate::{Backend, DialectError, Exo, Plan, Topology};

pub use diagnosis::{DIAGNOSIS_SCHEMA, Diagnosis};
pub use json::SCHEMA;

pub use crate::words::one_line;

/// The documents that a plan can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Output {
    /// Tables for people, with the plan's notes.
    Table,
    /// Everything for programs: ranks, matrix, cables, environment, notes. See [`SCHEMA`].
    Json,
    /// The file that jaccl reads (`MLX_IBV_DEVICES`).
    Jaccl,
    /// The matrix as exo passes it to its runners.
    Exo(Exo),
    /// The hostfile of `mlx.launch`.
    Hostfile,
    /// The environment of each rank, as lines for `sh`.
    Environment,
    /// Nodes and cables for Graphviz.
    Dot,
    /// Nodes and cables as a drawing.
    Svg,
}

impl Output {
    /// Every one there is.
    pub const ALL: [Self; 10] = [
        Self::Table,
        Self::Json,
        Self::Jaccl,
        Self::Exo(Exo::Main),
        Self::Exo(Exo::Pr2160),
        Self::Exo(Exo::Pr2195),
        Self::Hostfile,
        Self::Environment,
        Self::Dot,
        Self::Svg,
    ];

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jaccl => "jaccl",
            Self::Exo(exo) => exo.name(),
            Self::Hostfile => "hostfile",
            Self::Environment => "env",
            Self::Dot => "dot",
            Self::Svg => "svg",
        }
    }

    /// Writes a plan for the topology that it was made from. `devices` is the path at
    /// which the nodes find the matrix of [`Output::Jaccl`]. The text ends with a line
    /// break.
    ///
    /// # Errors
    /// If the document cannot express the plan: only the dialects of exo, whose reader
    /// decides on its own whether jaccl makes a ring.
    pub fn write(
        self,
        topology: &Topology,
        plan: &Plan,
        devices: &str,
    ) -> Result<String, DialectError> {
        let mut text = match self {
            Self::Table => table::table(topology, plan),
            Self::Json => json::json(topology, plan, devices),
            Self::Jaccl => plan.matrix.to_jaccl_json(),
            Self::Exo(exo) => {
                plan.carried_by(exo)?;
                exo.write(&plan.matrix)
            }
            Self::Hostfile => hostfile::hostfile(plan),
            Self::Environment => environment::environment(plan, devices),
            Self::Dot => dot::dot(topology, plan),
            Self::Svg => svg::svg(topology, plan),
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }
}

impl Output {
    /// What the reader of the document has to ensure, where the document cannot.
    pub fn remark(self, plan: &Plan) -> Option<String> {
        let fast = |variable: &String| variable.starts_with("MLX_METAL_FAST_SYNCH=");
        match self {
            Self::Exo(Exo::Pr2195) => {
                let set = match plan.backend {
                    Backend::Ring => "set",
                    Backend::Mesh => "not set",
                };
                Some(format!(
                    "whether {self} sets MLX_JACCL_RING is not known here; this {} needs it {set}",
                    plan.backend
                ))
            }
            Self::Hostfile if !plan.variables.iter().any(fast) => Some(
                "its envs have no MLX_METAL_FAST_SYNCH=1, without which people measure up to six \
                 times slower generation on Metal; MLX warns that it can wedge the GPU, so add it \
                 if you accept that"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a name that is not an [`Output`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{asked}' is no output; there are {}", Output::ALL.map(Output::name).join(", "))]
pub struct UnknownOutput {
    asked: String,
}

impl FromStr for Output {
    type Err = UnknownOutput;

    fn from_str(text: &str) -> Result<Self, UnknownOutput> {
        let found = Self::ALL.into_iter().find(|output| output.name() == text);
        found.ok_or_else(|| UnknownOutput {
            asked: text.to_owned(),
        })
    }
}

/// A document for programs, indented for people.
fn pretty(document: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(document).expect("names, numbers and lists are JSON")
}
