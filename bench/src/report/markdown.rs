//! The table for people, with notes for reading it.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use rail_matrix::Backend;
use rig::{Cable, Rig, units};
use softrail::counters::Counters;
use stats::{Change, Summary};

use super::{CellReport, Report, Runs, detail, explained};
use crate::{checks::Check, meter::CableBytes, protocol::Strategy, verdict::Verdict};

/// Shown in place of a missing figure.
pub(super) const NONE: &str = "-";

/// The columns from this one on contain figures.
const FIRST_FIGURE: usize = 4;

const COLUMNS: [&str; 14] = [
    "cell",
    "test",
    "verdict",
    "tokens",
    "TTFT ms",
    "TTFT gain",
    "prompt tok/s",
    "decode tok/s",
    "decode gain",
    "ITL ms p50",
    "p90",
    "p99",
    "prefill MB a cable",
    "decode MB a cable",
];

pub(super) fn render(report: &Report) -> String {
    let sections = [
        heading(report),
        stop(report),
        table(report),
        report.tally() + ".",
        detail::times(report),
        detail::split(report),
        explained::section(report),
        against(report),
        texts(report),
        failures(report),
        losses(report),
        warnings(report),
        notes(report),
        decode_note(report),
    ];
    let told: Vec<_> = sections
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    told.join("\n\n") + "\n"
}

fn heading(report: &Report) -> String {
    let Report {
        build,
        rig,
        model,
        cells,
        ..
    } = report;
    let nodes: Vec<_> = rig.nodes.iter().map(|node| node.name.as_str()).collect();
    let mut lines = vec![
        format!("# MLX {}, {}\n", build.mlx, build.series),
        format!("- build {}, tree {}", build.key, build.patched_tree),
        format!("- nodes {}; {}", nodes.join(", "), cables(&rig.cables)),
    ];
    lines.extend(ranks(report));
    lines.push(format!("- model {}{}", model.name(), task(report)));
    lines.push(format!("- {}", runs(&report.runs)));
    if let Some(cell) = cells.iter().find(|cell| !cell.env.is_empty()) {
        let env = cell.env.iter();
        let env: Vec<_> = env.map(|(name, value)| format!("{name}={value}")).collect();
        lines.push(format!("- environment {}", env.join(", ")));
    }
    lines.join("\n")
}

/// How often and in which order the cells ran.
fn runs(runs: &Runs) -> String {
    let Runs {
        repeat,
        warmup,
        rounds,
        ..
    } = runs;
    let order = match (runs.shuffle, rounds) {
        (None, _) => "cells in this order".to_owned(),
        (Some(seed), 1) => format!("cells shuffled by the seed {seed}"),
        (Some(seed), _) => format!("cells shuffled in each round by the seed {seed}"),
    };
    let delay = match runs.delay {
        0.0 => String::new(),
        seconds => format!(", {seconds} s apart"),
    };
    let runs = if *repeat == 1 { "run" } else { "runs" };
    let launches = if *rounds == 1 { "launch" } else { "launches" };
    format!(
        "{repeat} {runs} a cell in {rounds} {launches}, each after a warm-up of {warmup}; {order}{delay}"
    )
}

/// What the cells compute, if they compute the same.
fn task(report: &Report) -> String {
    let workloads = report.workloads();
    match (workloads.first(), workloads.len()) {
        (Some(workload), 1) => format!(
            "; a prompt of {} tokens, {} generated, {} frames",
            workload.prompt_tokens, workload.generation_tokens, workload.frames
        ),
        (_, several) => format!("; {several} workloads"),
    }
}

/// The node of each rank, where the ranks are not the rig's nodes in their order, and a
/// matrix that was given.
fn ranks(report: &Report) -> Vec<String> {
    if let Some(given) = &report.given {
        let matrix = serde_json::to_string(given.devices()).expect("a matrix is strings");
        let nodes = given.nodes().join(", ");
        return vec![format!(
            "- matrix given, not planned: ranks {nodes}; {matrix}"
        )];
    }
    let mut orders = BTreeMap::<_, Vec<String>>::new();
    for cell in report.cells.iter().filter(|cell| !cell.nodes.is_empty()) {
        let cells = orders.entry(&cell.nodes).or_default();
        cells.push(report.name(cell));
    }
    let listed: Vec<_> = report.rig.nodes.iter().map(|node| &node.name).collect();
    let moved = orders
        .iter()
        .filter(|(nodes, _)| !nodes.iter().eq(listed.iter().copied()));
    let told =
        moved.map(|(nodes, cells)| format!("- ranks {} in {}", nodes.join(", "), cells.join(", ")));
    told.collect()
}

/// Missing parts of the table, and the reasons.
fn stop(report: &Report) -> String {
    let why = match (report.interrupted, &report.error) {
        (true, _) => "**interrupted**".to_owned(),
        (false, Some(error)) => format!("**stopped**: {}", one_line(error)),
        (false, None) => return String::new(),
    };
    let (measured, all) = (report.measured(), report.cells.len());
    format!("{why}; {measured} of {all} cells were measured")
}

/// The cables, with their link if all are alike.
fn cables(cables: &[Cable]) -> String {
    let count = cables.len();
    match cables {
        [first, rest @ ..] if rest.iter().all(|cable| cable.link == first.link) => {
            let rate = units::format_rate(first.link.bytes_per_second);
            let latency = units::format_time(first.link.latency);
            format!("{count} cables of {rate} and {latency}")
        }
        _ => format!("{count} cables"),
    }
}

fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(COLUMNS);
    for column in table.column_iter_mut().skip(FIRST_FIGURE) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let rows = report.cells.iter().map(|cell| row(report, cell));
    table.add_rows(rows.map(|row| row.map(|text| text.replace('|', "\\|"))));
    table.trim_fmt()
}

fn row(report: &Report, cell: &CellReport) -> [String; COLUMNS.len()] {
    let ttft_gain = report.gain(cell, |cell| Some(1.0 / cell.ttft_ms.as_ref()?.median));
    let itl = cell.itl_ms;
    let tokens = match cell.verdict {
        Verdict::Pass if cell.evidence.is_some() => "reference",
        Verdict::Pass if cell.tokens_match => "match",
        Verdict::Pass if cell.reference.as_deref() == Some("none") => NONE,
        Verdict::Pass | Verdict::Drift | Verdict::Wrong => "differ",
        Verdict::Hang | Verdict::Crash | Verdict::Error | Verdict::NotRun => NONE,
    };
    [
        cell.cell().to_string(),
        cell.workload.to_string(),
        cell.verdict.to_string(),
        tokens.to_owned(),
        spread(&cell.ttft_ms),
        gain(ttft_gain),
        figure(cell.prompt_tps.as_ref().map(|tps| tps.median), 0),
        spread(&cell.generation_tps),
        gain(decode_gain(report, cell)),
        figure(itl.map(|itl| itl.p50), 2),
        figure(itl.map(|itl| itl.p90), 2),
        figure(itl.map(|itl| itl.p99), 2),
        megabytes(&report.rig, &cell.cable_bytes),
        megabytes(&report.rig, &cell.decode_cable_bytes),
    ]
}

fn decode_gain(report: &Report, cell: &CellReport) -> Option<f64> {
    report.gain(cell, |cell| Some(cell.generation_tps.as_ref()?.median))
}

pub(super) fn spread(summary: &Option<Summary>) -> String {
    match summary {
        None => NONE.to_owned(),
        Some(Summary {
            median,
            stddev: None,
            ..
        }) => format!("{median:.1}"),
        Some(Summary {
            median,
            stddev: Some(stddev),
            ..
        }) => format!("{median:.1} ± {stddev:.1}"),
    }
}

fn gain(gain: Option<f64>) -> String {
    gain.map_or(NONE.to_owned(), |gain| format!("{gain:.2}x"))
}

pub(super) fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or(NONE.to_owned(), |value| format!("{value:.decimals$}"))
}

/// The bytes of each cable, and how much those of a pair of nodes differ.
fn megabytes(rig: &Rig, bytes: &CableBytes) -> String {
    if bytes.is_empty() {
        return NONE.to_owned();
    }
    let each: Vec<_> = bytes
        .values()
        .map(|&bytes| format!("{:.1}", bytes as f64 / 1e6))
        .collect();
    let each = each.join(" / ");
    match pair_spread(rig, bytes) {
        Some(spread) => format!("{each} ({:.1} %)", 100.0 * spread),
        None => each,
    }
}

/// The largest difference between the cables of a pair of nodes, as a fraction of their
/// mean, over all pairs. Pairs are not compared with each other: the strategy decides how
/// much two nodes send.
fn pair_spread(rig: &Rig, bytes: &CableBytes) -> Option<f64> {
    /// The distribution of a few bytes is random.
    const ENOUGH: f64 = 1e5;

    let mut pairs = BTreeMap::<_, Vec<f64>>::new();
    for cable in &rig.cables {
        if let Some(&carried) = bytes.get(&cable.name) {
            let mut pair = cable.ends.each_ref().map(|end| &end.node);
            pair.sort();
            pairs.entry(pair).or_default().push(carried as f64);
        }
    }
    let spreads = pairs.into_values().filter_map(|carried| {
        let mean = carried.iter().sum::<f64>() / carried.len() as f64;
        let least = carried.iter().copied().fold(f64::INFINITY, f64::min);
        let most = carried.iter().copied().fold(0.0, f64::max);
        (carried.len() > 1 && mean >= ENOUGH).then(|| (most - least) / mean)
    });
    spreads.max_by(f64::total_cmp)
}

/// The earlier report, cell by cell.
fn against(report: &Report) -> String {
    let Some(comparison) = &report.against else {
        return String::new();
    };
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let mut columns = vec!["cell", "TTFT", "time a token"];
    let judged = comparison.fail_over.is_some();
    if judged {
        columns.push("");
    }
    table.set_header(columns);
    for cell in &comparison.cells {
        let told = |change: &Option<Change>| change.map_or(NONE.to_owned(), |it| it.to_string());
        let mut row = vec![cell.cell.clone(), told(&cell.ttft), told(&cell.decode)];
        if judged {
            let slower = comparison.slower().any(|slower| slower == cell);
            row.push(if slower { "**slower**" } else { "" }.to_owned());
        }
        table.add_row(row);
    }
    let limit = comparison.fail_over.map(|limit| {
        format!(" A cell is slower if the whole interval of a figure is above {limit}.")
    });
    format!(
        "How much longer it took than in {}, with the 95 % interval of the means:\n\n{table}\n\n\
         Negative is faster.{}",
        comparison.file,
        limit.unwrap_or_default()
    )
}

fn failures(report: &Report) -> String {
    let failed = report.cells.iter().filter(|cell| cell.detail.is_some());
    let failed: Vec<_> = failed.collect();
    let alike = |a: &&CellReport, b: &&CellReport| {
        (a.verdict, &a.detail) == (b.verdict, &b.detail) && a.verdict == Verdict::NotRun
    };
    let told = failed.chunk_by(alike).map(|alike| {
        let cells: Vec<_> = alike.iter().map(|cell| report.name(cell)).collect();
        let why = alike[0].detail.as_deref().unwrap_or_default();
        let verdict = alike[0].verdict;
        format!("- **{}: {verdict}**: {}", cells.join(", "), one_line(why))
    });
    told.collect::<Vec<_>>().join("\n")
}

/// Arbitrary text as one line that does not end a list.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

/// The text that came out of each cell.
fn texts(report: &Report) -> String {
    let texts = report.cells.iter();
    let told = texts.filter_map(|cell| {
        let text = cell.text.as_ref()?;
        Some(format!("- **{}** continues {text:?}", report.name(cell)))
    });
    told.collect::<Vec<_>>().join("\n")
}

/// The lost messages, and the state of the cables when a cell failed.
fn losses(report: &Report) -> String {
    let directions = report.cells.iter().flat_map(|cell| {
        let failed = cell.verdict != Verdict::Pass;
        let told = move |it: &&Counters| it.lost > 0 || failed && it.pending > 0;
        let told = cell.directions.iter().filter(told);
        told.map(move |direction| format!("- **{}**: {direction}", report.name(cell)))
    });
    directions.collect::<Vec<_>>().join("\n")
}

fn warnings(report: &Report) -> String {
    let warnings = report.warnings.iter();
    let told = warnings.map(|warning| format!("- **warning**: {}", one_line(warning)));
    told.collect::<Vec<_>>().join("\n")
}

fn notes(report: &Report) -> String {
    format!(
        "{} TTFT and decode are medians ± sample standard deviation, as rank 0 saw \
         them; ITL percentiles are by nearest rank over all measured runs. TPOT is the time a \
         token after the first takes. Skew is how far apart the ranks had a token. busbw is \
         what the cell's cables carried in one direction, the mean of both, beside what they \
         carry by the rig. Gains are against \
         ring-1 of the same strategy and test, so that a change of backend is not taken for the gain of a \
         cable. MB a cable count both directions over the measured runs: prefill up to their first \
         token, decode from there. In brackets how far the cables of a pair of nodes are apart, of \
         their mean.",
        checks_note(report)
    )
}

/// What the cells were put to, each check with the strategies of its cells.
fn checks_note(report: &Report) -> String {
    let ranks = report.cells.iter().map(|cell| cell.nodes.len()).max();
    let ranks = ranks.unwrap_or_default();
    let told = Check::ALL.into_iter().filter_map(|check| {
        let cells = report
            .cells
            .iter()
            .filter(|cell| cell.checks.contains(&check));
        let strategies: BTreeSet<_> = cells.map(|cell| cell.strategy.name()).collect();
        let strategies: Vec<_> = strategies.into_iter().collect();
        let holds = match check {
            Check::Ranks => format!("all {ranks} ranks have the same logits, bit for bit"),
            Check::Cross => "all cells have the same logits, bit for bit".to_owned(),
            Check::Exact => "every token of every run on every rank is the reference's".to_owned(),
            Check::Logits => "given the reference's tokens, no logit moves farther than another \
                              order of sums moves it; a cell with other tokens drifts"
                .to_owned(),
            Check::Needle => "what a long prompt hides comes back".to_owned(),
        };
        let of = strategies.join(", ");
        (!strategies.is_empty()).then(|| format!("{check} ({of}): {holds}"))
    });
    let told: Vec<_> = told.collect();
    let references: BTreeSet<_> = report
        .cells
        .iter()
        .filter_map(|cell| cell.reference.as_deref())
        .collect();
    let references: Vec<_> = references.into_iter().filter(|it| *it != "none").collect();
    let reference = match references.is_empty() {
        true => "There is no reference.".to_owned(),
        false => format!("The reference is {}.", references.join(", ")),
    };
    match told.is_empty() {
        true => "A cell passes when it ends.".to_owned(),
        false => format!(
            "A cell passes when its checks hold. {}. {reference}",
            told.join(". ")
        ),
    }
}

/// Why more cables do not make every decode faster, with the measurements.
fn decode_note(report: &Report) -> String {
    /// The limit of `RingImpl::all_sum` for one wire, in bytes, up to MLX 0.32.0.
    const ONE_WIRE: usize = 64 * 1024;

    let small = (report.model.message_bytes()).filter(|it| *it <= ONE_WIRE);
    let mut said = Vec::new();
    let tensor_parallel = report
        .cells
        .iter()
        .any(|cell| cell.strategy == Strategy::Tp);
    // The tuned series deals frames over all cables, from two frames on.
    let one_wire = report.build.series != "tuned";
    if let (true, Some(message)) = (tensor_parallel && one_wire, small) {
        said.push(format!(
            "A ring's all-reduce of up to 64 KiB (32 KiB from MLX 0.32.1) goes over one cable. TP \
             decode at batch 1 reduces {message} bytes at a time, so further cables do not speed \
             it up and the first carries all of it; prefill uses all."
        ));
    }
    let gains: Vec<_> = widest_rings(report)
        .into_iter()
        .filter_map(|cell| {
            let gain = decode_gain(report, cell)?;
            Some(format!("{} {gain:.2}x", report.name(cell)))
        })
        .collect();
    if !gains.is_empty() {
        said.push(format!(
            "Decode, most cables against one: {}.",
            gains.join(", ")
        ));
    }
    said.join(" ")
}

/// The ring over most cables of every baseline that there is.
fn widest_rings(report: &Report) -> Vec<&CellReport> {
    let rings = report.cells.iter();
    let rings = rings.filter(|cell| cell.backend == Some(Backend::Ring) && cell.cables > 1);
    let mut widest = Vec::<&CellReport>::new();
    for ring in rings {
        let baseline = ring.cell().baseline();
        match widest
            .iter_mut()
            .find(|it| it.cell().baseline() == baseline)
        {
            Some(found) if found.cables < ring.cables => *found = ring,
            Some(_) => {}
            None => widest.push(ring),
        }
    }
    widest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cables_are_compared_within_their_pair() {
        let rig = Rig::parse(
            r#"
            node = [{ name = "a" }, { name = "b" }, { name = "c" }]
            cable = [
                { name = "ab-1", ends = ["a:1", "b:1"] },
                { name = "ab-2", ends = ["b:2", "a:2"] },
                { name = "bc-1", ends = ["b:3", "c:1"] },
                { name = "bc-2", ends = ["b:4", "c:2"] },
            ]
            "#,
        )
        .unwrap();
        let carried = |bytes: &[(&str, u64)]| {
            let bytes = bytes.iter().map(|&(cable, n)| (cable.to_owned(), n));
            megabytes(&rig, &bytes.collect())
        };
        let all = [
            ("ab-1", 900_000),
            ("ab-2", 1_100_000),
            ("bc-1", 0),
            ("bc-2", 40),
        ];
        assert_eq!(carried(&all), "0.9 / 1.1 / 0.0 / 0.0 (20.0 %)");
        assert_eq!(carried(&[("ab-1", 900_000), ("bc-1", 0)]), "0.9 / 0.0");
        assert_eq!(carried(&[]), "-");
    }
}
