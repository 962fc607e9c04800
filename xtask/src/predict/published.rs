//! `cargo xtask predict --published`: the model of a cell against figures of others.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use predict::{
    Call, Message,
    published::{ALL_SUM_M4_PRO, CLAIM, EXO_M3_ULTRA, FAST_FENCE, FENCE, sums},
    report::{error, micros, percent},
};
use rail_verify::case::{Backend, Dtype, Frames};
use rig::Link;
use serde_json::{Value, json};
use terminal::ReportFormat;

use super::{Group, Times};
use crate::{exit::Result, output};

/// A Thunderbolt 5 cable as it was seen: the greatest published rate, and half of the
/// published 10 us of a round trip.
const CABLE: Link = Link {
    bytes_per_second: 8_000_000_000,
    latency: Duration::from_micros(5),
};

/// A row of a table: what it is, the published figure, and the predictions of it.
type Line = Vec<String>;

pub fn run(jaccl: &Times<'_>, format: ReportFormat) -> Result {
    let group = |backend, ranks, cables| Group {
        backend,
        ranks,
        cables,
        frames: Frames::Big,
        link: CABLE,
    };
    let mut times = BTreeMap::new();
    for ranks in [2, 4] {
        let sums = sums().into_iter().filter(|(it, _)| *it == ranks);
        let sums: Vec<_> = sums.map(|(_, message)| message).collect();
        let of = jaccl.of(&group(Backend::Mesh, ranks, 1), Dtype::BFloat16, &sums)?;
        times.extend(of.iter().map(|it| ((ranks, it.message), it.seconds)));
    }
    let claimed = CLAIM.shape().sums().0;
    let of_claim = |backend, cables| -> Result<f64> {
        let of = jaccl.of_one(&group(backend, 2, cables), Dtype::BFloat16, claimed)?;
        Ok(of.seconds)
    };
    let claim = [of_claim(Backend::Mesh, 1)?, of_claim(Backend::Ring, 3)?];
    let message = |ranks: usize, message: Message| times[&(ranks, message)];

    let decode = decode(&message);
    let all_sum = all_sum(&message);
    let claim = examined(claim);
    match format {
        ReportFormat::Md => output::document(&markdown(&decode, &all_sum, &claim))?,
        ReportFormat::Json => output::document(&(json(&decode, &all_sum, &claim) + "\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

const DECODE: [&str; 10] = [
    "model",
    "nodes",
    "published tok/s",
    "predicted, fence 4 us",
    "error",
    "predicted, fence 180 us",
    "error",
    "fence that would explain it",
    "by the two rates before, as a + b / n",
    "error",
];

fn decode(message: &impl Fn(usize, Message) -> f64) -> Vec<Line> {
    let mut lines = Vec::new();
    for model in &EXO_M3_ULTRA {
        let [fast, usual] = [FAST_FENCE, FENCE].map(|fence| model.predictions(fence, message));
        for (at, ((ranks, published, fast), (_, _, usual))) in
            fast.into_iter().zip(usual).enumerate()
        {
            let fence = model.fence_of(at, message);
            let from = model.rates[0].0;
            let by_two = model.by_two().filter(|_| at > 0);
            let none = || "-".to_owned();
            lines.push(vec![
                model.model.to_owned(),
                format!("{from} -> {ranks}"),
                format!("{published:.1}"),
                format!("{fast:.1}"),
                percent(error(fast, published)),
                format!("{usual:.1}"),
                percent(error(usual, published)),
                fence.map_or_else(none, micros),
                by_two.map_or_else(none, |it| format!("{it:.1}")),
                by_two.map_or_else(none, |it| percent(error(it, published))),
            ]);
        }
    }
    lines
}

const ALL_SUM: [&str; 4] = ["bytes", "published", "jaccl in virtual time", "error"];

fn all_sum(message: &impl Fn(usize, Message) -> f64) -> Vec<Line> {
    let line = |(bytes, published): (usize, f64)| {
        let call = Call::AllSum;
        let predicted = message(2, Message { call, bytes });
        vec![
            bytes.to_string(),
            micros(published),
            micros(predicted),
            percent(error(predicted, published)),
        ]
    };
    ALL_SUM_M4_PRO.map(line).into()
}

const EXAMINED: [&str; 3] = ["", "one cable, mesh", "three cables, ring"];

/// What is left of a token of the claim, by what fences were used.
fn examined([mesh, ring]: [f64; 2]) -> Vec<Line> {
    let rates = [CLAIM.one_cable, CLAIM.three_cables];
    let line = |what: &str, of: [f64; 2], show: fn(f64) -> String| {
        vec![what.to_owned(), show(of[0]), show(of[1])]
    };
    let millis = |seconds: f64| format!("{:.1} ms", 1e3 * seconds);
    let left = |fence| {
        let of = [(rates[0], mesh), (rates[1], ring)];
        of.map(|(rate, message)| CLAIM.left(rate, message, fence))
    };
    vec![
        line("claimed tok/s", rates, |it| format!("{it:.1}")),
        line("a token", rates.map(|it| 1.0 / it), millis),
        line("an all_sum of 4 KiB by jaccl, of 96", [mesh, ring], micros),
        line("left for computation, fence 4 us", left(FAST_FENCE), millis),
        line("left for computation, fence 180 us", left(FENCE), millis),
    ]
}

fn markdown(decode: &[Line], all_sum: &[Line], claim: &[Line]) -> String {
    let difference = micros(CLAIM.a_message());
    format!(
        "Published figures, none of them measured here, beside the model of a cell. jaccl ran in \
         virtual time over emulated cables of 8 GB/s and 5 us, big frames.\n\n\
         Decoding in TP, exo with RDMA on M3 Ultras, predicted from the fewest nodes:\n\n{}\n\n\
         MLX's all_sum between two M4 Pro over one cable:\n\n{}\n\n\
         The claim of exo's pull request 2160, 19.4 to 42.0 tok/s, which is {difference} a \
         message:\n\n{}\n",
        table(&DECODE, decode),
        table(&ALL_SUM, all_sum),
        table(&EXAMINED, claim)
    )
}

fn table(heads: &[&str], lines: &[Line]) -> String {
    let row = |fields: &[String]| format!("| {} |\n", fields.join(" | "));
    let heads: Line = heads.iter().map(|&head| head.to_owned()).collect();
    let rule = vec!["---".to_owned(); heads.len()];
    let lines = lines.iter().map(|line| row(line));
    let text: String = [row(&heads), row(&rule)].into_iter().chain(lines).collect();
    text.trim_end().to_owned()
}

fn json(decode: &[Line], all_sum: &[Line], claim: &[Line]) -> String {
    let rows =
        |heads: &[&str], lines: &[Line]| -> Value { json!({ "columns": heads, "rows": lines }) };
    let document = json!({
        "schema": "mlx-rails/published/1",
        "decode": rows(&DECODE, decode),
        "all_sum": rows(&ALL_SUM, all_sum),
        "claim": rows(&EXAMINED, claim),
    });
    serde_json::to_string_pretty(&document).expect("plain data")
}
