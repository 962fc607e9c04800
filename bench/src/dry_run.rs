//! What a plan would do, in words, without doing it.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use rail_matrix::Backend;

use crate::{
    baseline::Baseline,
    plan::{Launch, Plan},
    protocol::{Pass, Strategy},
    sweep::{Cell, PlannedCell},
};

/// Seconds of a launch beside loading and runs: processes, and the group.
const START: f64 = 1.5;

/// Bytes of weights that one process is taken to read in a second, for a token of decode and
/// for a token of a prompt, and to load. They are of a laptop's order; only a measurement
/// knows better.
const DECODE_RATE: f64 = 1e10;
const PREFILL_RATE: f64 = 5e10;
const LOAD_RATE: f64 = 1e9;

/// Seconds that a cell takes for a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// Of the prompt.
    pub(crate) prefill: f64,
    /// Of those generated after the first.
    pub(crate) decode: f64,
}

/// The cells of a plan, their matrices and their launches, and about how long they take: at
/// the pace of an earlier report, where there is one that has it.
pub fn describe(plan: &Plan, earlier: Option<&Baseline>) -> String {
    let schedule = plan.schedule();
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["cell", "test", "launches", "runs", "about"]);
    let mut all = Duration::ZERO;
    let mut measured = true;
    let spread = plan.cells.iter().map(|it| (it.cell, Some(it)));
    let cells = plan.references().map(|cell| (cell, None)).chain(spread);
    let mut count = 0;
    for (cell, planned) in cells {
        let launches: Vec<_> = schedule.iter().filter(|it| it.cell == cell).collect();
        let known = earlier.and_then(|earlier| earlier.pace(cell));
        measured &= known.is_some();
        let pace = known.unwrap_or_else(|| assumed(plan, cell, planned));
        let time: Duration = launches.iter().map(|launch| time(plan, launch, pace)).sum();
        all += time;
        count += 1;
        let warmup = plan.settings.warmup * launches.len();
        table.add_row([
            cell.to_string(),
            cell.workload.to_string(),
            launches.len().to_string(),
            format!("{warmup} + {}", plan.settings.repeat),
            minutes(time),
        ]);
    }
    let how = match measured {
        true => "as long as they took in the earlier report",
        false => "an assumption where no earlier report of this model has the cell's strategy",
    };
    format!(
        "{count} cells in {} launches, about {}: {how}. Builds and the preflight come on top.\n\n\
         {table}\n\n{}\n",
        schedule.len(),
        minutes(all),
        matrices(plan)
    )
}

fn matrices(plan: &Plan) -> String {
    let mut cells = BTreeMap::<String, Vec<String>>::new();
    for PlannedCell { cell, joining } in &plan.cells {
        let matrix = serde_json::to_string(&joining.devices).expect("a matrix is strings");
        let matrix = format!("ranks {}; {matrix}", joining.nodes.join(", "));
        let names = cells.entry(matrix).or_default();
        let name = cell.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let lines = cells.into_iter();
    let lines = lines.map(|(matrix, names)| format!("- {}: {matrix}", names.join(", ")));
    lines.collect::<Vec<_>>().join("\n")
}

fn minutes(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 60.0 => format!("{:.0} s", seconds.max(1.0)),
        seconds => format!("{:.0} min", (seconds / 60.0).ceil()),
    }
}

fn time(plan: &Plan, launch: &Launch, pace: Pace) -> Duration {
    let workload = launch.cell.workload;
    let prompt = (workload.depth + workload.prompt_tokens) as f64;
    let generated = workload.generation_tokens as f64;
    let run = prompt * pace.prefill + generated * pace.decode;
    let passes = Pass::of(launch.cell.strategy).len() * launch.split(&plan.settings);
    let runs = (plan.settings.warmup + launch.repeat + passes) as f64;
    let load = plan.settings.model.bytes().unwrap_or_default() as f64 / LOAD_RATE;
    Duration::from_secs_f64(START + load + runs * run) + plan.settings.delay
}

/// The pace of a model of this size over cables of this rate.
fn assumed(plan: &Plan, cell: Cell, planned: Option<&PlannedCell>) -> Pace {
    let model = &plan.settings.model;
    let bytes = model.bytes().unwrap_or_default() as f64;
    let ranks = planned.map_or(1, |it| it.joining.nodes.len()) as f64;
    let share = match cell.strategy {
        Strategy::Tp => bytes / ranks,
        Strategy::Pp | Strategy::Single => bytes,
    };
    let cables = planned.map_or(
        Pace {
            prefill: 0.0,
            decode: 0.0,
        },
        |planned| over_cables(plan, planned),
    );
    Pace {
        prefill: share / PREFILL_RATE + cables.prefill,
        decode: share / DECODE_RATE + cables.decode,
    }
}

/// What the cables take: prefill goes over all, a message of decode over one.
fn over_cables(plan: &Plan, planned: &PlannedCell) -> Pace {
    let PlannedCell { cell, joining } = planned;
    let links = joining.rig.cables.iter().map(|cable| cable.link);
    let slowest = links.min_by_key(|link| link.bytes_per_second);
    let model = &plan.settings.model;
    let message = model.message_bytes().unwrap_or_default() as f64;
    let layers = model.layers().unwrap_or(1) as f64;
    let messages = match cell.strategy {
        Strategy::Tp => 2.0 * layers,
        Strategy::Pp | Strategy::Single => joining.nodes.len() as f64,
    };
    let Some(link) = slowest else {
        return Pace {
            prefill: 0.0,
            decode: 0.0,
        };
    };
    let rate = link.bytes_per_second as f64;
    let cables = match cell.backend {
        Some(Backend::Ring) => cell.cables.max(1) as f64,
        _ => 1.0,
    };
    Pace {
        prefill: messages * message / (rate * cables),
        decode: messages * (message / rate + link.latency.as_secs_f64()),
    }
}
