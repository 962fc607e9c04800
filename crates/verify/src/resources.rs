//! What jaccl takes of each device, beside what a Mac's device has.

use std::collections::BTreeMap;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;
use serde_json::json;
use softrail::usage::Used;

use crate::{
    attempt::{Bench, Patience, Unjudged},
    case::{Case, Op, Setting},
    group::GroupError,
    run::{RunError, Runner, Stop, Variant},
    selection::{Level, Selection},
    verdict::Finding,
};

/// The most of every resource that a device had in use in a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The setting.
    #[serde(flatten)]
    pub setting: Setting,
    /// What each device had in use at most.
    pub devices: Vec<Used>,
    /// How the setting failed, if it did.
    pub failed: Option<String>,
}

/// What a variant took in every setting.
#[derive(Debug)]
pub struct Resources {
    /// The variant.
    pub variant: Variant,
    /// Its settings, in order.
    pub rows: Vec<Row>,
    /// Why the run did not finish.
    pub stopped: Option<Stop>,
}

impl Resources {
    /// Whether every setting ran, and stayed below the limits of a Mac.
    pub fn passed(&self) -> bool {
        self.stopped.is_none() && self.rows.iter().all(|row| row.failed.is_none())
    }
}

/// Schema `mlx-rails/resources/1`.
pub fn json(all: &[Resources]) -> serde_json::Value {
    let variants = all.iter().map(|it| {
        json!({
            "mlx": it.variant.mlx,
            "series": it.variant.series,
            "settings": it.rows,
        })
    });
    json!({
        "schema": "mlx-rails/resources/1",
        "limits": Used::limits(),
        "variants": variants.collect::<Vec<_>>(),
    })
}

/// A table for each variant, every number beside the limit of a Mac's device.
pub fn markdown(all: &[Resources]) -> String {
    let limits = Used::limits();
    let head = |name: &str, limit: u64| format!("{name} (of {limit})");
    let mut text = String::new();
    for of_variant in all {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header([
            "backend".to_owned(),
            "ranks".to_owned(),
            "wires".to_owned(),
            "frames".to_owned(),
            head("queue pairs", limits.queue_pairs),
            head("regions", limits.regions),
            head("domains", limits.domains),
            head("completion queues", limits.completion_queues),
            head("send frames", limits.send_frames),
            head("receive frames", limits.receive_frames),
            "failed".to_owned(),
        ]);
        for row in &of_variant.rows {
            let setting = &row.setting;
            let most = |of: fn(&Used) -> u64| {
                let most = row.devices.iter().map(of).max();
                most.unwrap_or_default().to_string()
            };
            table.add_row([
                setting.backend.name().to_owned(),
                setting.ranks.to_string(),
                setting.wires.to_string(),
                setting.frames.name().to_owned(),
                most(|used| used.queue_pairs),
                most(|used| used.regions),
                most(|used| used.domains),
                most(|used| used.completion_queues),
                most(|used| used.send_frames),
                most(|used| used.receive_frames),
                row.failed.clone().unwrap_or_default(),
            ]);
        }
        let name = of_variant.variant.name();
        text += &format!("# {name}: the most of any device\n\n{table}\n\n");
    }
    text.trim_end().to_owned() + "\n"
}

impl Runner<'_> {
    /// Joins a group in every setting of a selection, has it send and sum, and reads what
    /// it took of its devices.
    ///
    /// # Errors
    /// If no setting is left, or the build cannot be loaded.
    pub fn resources(
        &self,
        variant: &Variant,
        selection: &Selection,
    ) -> Result<Resources, RunError> {
        let features = self.programs.rank.features(&variant.build)?;
        let wanted = Selection {
            op: vec![Op::AllSum, Op::Send],
            bytes: vec![LONG],
            ..selection.clone()
        };
        let mut settings = BTreeMap::<Setting, Vec<Case>>::new();
        for case in self.cases(variant, Level::Quick, &wanted, features)? {
            settings.entry(case.setting).or_default().push(case);
        }
        if settings.is_empty() {
            return Err(RunError::Nothing {
                variant: variant.name(),
                of: None,
            });
        }
        let bench = self.bench(variant, features);
        self.progress.step("Counting", &variant.name());
        let total = settings.len() as u64;
        let mut rows = Vec::new();
        let mut stopped = None;
        for (setting, cases) in settings {
            match used(&bench, setting, &cases) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    stopped = Some(error.into());
                    break;
                }
            }
            self.progress.advance(rows.len() as u64, total, "settings");
        }
        self.progress.finish();
        Ok(Resources {
            variant: variant.clone(),
            rows,
            stopped,
        })
    }
}

/// Enough for the longest frames, and for every wire.
const LONG: usize = 8 << 20;

fn used(bench: &Bench<'_>, setting: Setting, cases: &[Case]) -> Result<Row, GroupError> {
    let mut row = Row {
        setting,
        devices: Vec::new(),
        failed: None,
    };
    match tried(bench, &mut row, cases) {
        Err(Unjudged::Group(error)) => return Err(error),
        Err(killed @ Unjudged::Killed) => row.failed = Some(killed.to_string()),
        Ok(finding) => row.failed = finding.map(|Finding { detail, .. }| detail),
    }
    Ok(row)
}

/// Runs the cases, and notes what they took even if one failed.
fn tried(bench: &Bench<'_>, row: &mut Row, cases: &[Case]) -> Result<Option<Finding>, Unjudged> {
    let mut group = bench.start(&bench.setup(row.setting))?;
    let mut failed = bench.joined(&mut group, Patience::Long)?;
    for case in cases {
        if failed.is_none() {
            failed = bench.perform(&mut group, case, Patience::Long)?;
        }
    }
    row.devices = group.used();
    Ok(failed)
}
