//! Rows for people and for programs.

mod csv;
mod markdown;

use std::path::Path;

use nodes::NodeFacts;
use rail_verify::{
    report::{WriteError, write_all},
    run::{Stop, Variant},
};
use rig::Rig;
use serde_json::json;

use crate::{Measured, Options};

/// The name and version of the JSON.
pub const SCHEMA: &str = "mlx-rails/collectives/1";

/// What was measured, to be rendered.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The builds, in the order of their rows.
    pub variants: &'a [Variant],
    /// How they were measured.
    pub options: &'a Options,
    /// The rig that they were measured on, if it was given.
    pub rig: Option<&'a Rig>,
    /// The rows.
    pub measured: &'a Measured,
    /// What the machines said of themselves, if the nodes are machines of their own.
    pub nodes: &'a [NodeFacts],
}

impl Report<'_> {
    /// Whether the caller asked to stop before the end.
    pub fn interrupted(&self) -> bool {
        matches!(self.measured.stopped, Some(Stop::Interrupted))
    }

    /// A table.
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// A line a row, without the samples.
    pub fn csv(&self) -> String {
        csv::render(&self.measured.rows)
    }

    /// Schema [`SCHEMA`], all samples included.
    pub fn json(&self) -> String {
        let variants = self.variants.iter().map(|variant| {
            let (mlx, series, key) = (&variant.mlx, &variant.series, &variant.build.key);
            json!({ "mlx": mlx, "series": series, "key": key })
        });
        let report = json!({
            "schema": SCHEMA,
            "interrupted": self.interrupted(),
            "builds": variants.collect::<Vec<_>>(),
            "rig": self.rig,
            "nodes": self.nodes,
            "rows": self.measured.rows,
        });
        serde_json::to_string_pretty(&report).expect("a report is plain data")
    }

    /// Writes `collectives.json`, `collectives.md` and `collectives.csv` into a folder. No
    /// file gets its name before all are complete.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        write_all(
            folder,
            [
                ("collectives.json", self.json() + "\n"),
                ("collectives.md", self.markdown()),
                ("collectives.csv", self.csv()),
            ],
        )
    }
}
