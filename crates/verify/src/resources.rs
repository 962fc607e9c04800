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
    sweep,
    verdict::Finding,
};

/// The most of every resource that a device had in use in a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The setting.
    #[serde(flatten)]
    pub setting: Setting,
    /// The most of any device; the device itself is that of the most memory regions.
    pub used: Used,
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
            "interrupted": matches!(it.stopped, Some(Stop::Interrupted)),
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
            let (setting, used) = (&row.setting, &row.used);
            table.add_row([
                setting.backend.name().to_owned(),
                setting.ranks.to_string(),
                setting.wires.to_string(),
                setting.frames.name().to_owned(),
                used.queue_pairs.to_string(),
                used.regions.to_string(),
                used.domains.to_string(),
                used.completion_queues.to_string(),
                used.send_frames.to_string(),
                used.receive_frames.to_string(),
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
        for case in sweep::cases(Level::Quick, &wanted, features) {
            settings.entry(case.setting).or_default().push(case);
        }
        if settings.is_empty() {
            return Err(RunError::Nothing {
                variant: variant.name(),
                of: None,
            });
        }
        let bench = Bench {
            programs: self.programs,
            build: &variant.build,
            features,
            launcher: self.launcher,
        };
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
        used: Used::default(),
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
    let mut group = match bench.join(row.setting, Patience::Long)? {
        Ok(group) => group,
        Err(finding) => return Ok(Some(finding)),
    };
    let mut failed = None;
    for case in cases {
        failed = bench.perform(&mut group, case, Patience::Long)?;
        if failed.is_some() {
            break;
        }
    }
    row.used = most(group.used());
    Ok(failed)
}

/// The most of any device.
fn most(used: Vec<Used>) -> Used {
    let device = used.iter().max_by_key(|used| used.regions);
    let device = device.map(|used| used.device.clone()).unwrap_or_default();
    let most = |of: fn(&Used) -> u64| used.iter().map(of).max().unwrap_or_default();
    Used {
        device,
        queue_pairs: most(|it| it.queue_pairs),
        regions: most(|it| it.regions),
        domains: most(|it| it.domains),
        completion_queues: most(|it| it.completion_queues),
        send_frames: most(|it| it.send_frames),
        receive_frames: most(|it| it.receive_frames),
    }
}
