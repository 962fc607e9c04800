//! Predictions for people and for programs.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use rail_bench::sweep;
use rail_matrix::Frames;
use rig::{
    Link,
    units::{format_rate, format_time},
};
use serde::{Serialize, Serializer};

use crate::{Alone, Message, Parts, Prediction, measured::Times};

/// The name and version of the JSON.
pub const SCHEMA: &str = "mlx-rails/prediction/2";

/// The predictions of a rig.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The pin.
    pub mlx: String,
    /// The series.
    pub series: String,
    /// The model's name.
    pub model: String,
    /// Length of the prompt in tokens.
    pub prompt_tokens: usize,
    /// jaccl's largest message.
    pub frames: Frames,
    /// Where the times of single processes come from.
    pub calibration: String,
    /// What each message costs beside jaccl, in seconds.
    pub fence: f64,
    /// The cells.
    pub cells: Vec<Row>,
}

/// A cell.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The cell.
    #[serde(serialize_with = "by_name")]
    pub cell: sweep::Cell,
    /// The node of each rank.
    pub nodes: Vec<String>,
    /// The cables of the cell, each as its slowest.
    #[serde(serialize_with = "link")]
    pub link: Link,
    /// What a process took without cables, for each rank.
    #[serde(serialize_with = "alone")]
    pub alone: Vec<Alone>,
    /// What each message took.
    pub messages: Vec<Timed>,
    /// What the cell should take, in seconds.
    pub predicted: Prediction,
    /// What it took.
    pub measured: Option<Times>,
}

/// What jaccl takes for a message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Timed {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// The time.
    pub seconds: f64,
    /// How much slower the emulated cables were on which it was measured.
    pub dilate: u32,
}

fn by_name<S: Serializer>(cell: &sweep::Cell, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cell)
}

fn link<S: Serializer>(link: &Link, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields {
        bytes_per_second: u64,
        latency: f64,
    }
    let fields = Fields {
        bytes_per_second: link.bytes_per_second,
        latency: link.latency.as_secs_f64(),
    };
    fields.serialize(serializer)
}

fn alone<S: Serializer>(alone: &[Alone], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields {
        work_bytes: f64,
        ttft: f64,
        token: f64,
        deviation: f64,
        choice: Option<f64>,
    }
    serializer.collect_seq(alone.iter().map(|it| Fields {
        work_bytes: it.work.total(),
        ttft: it.ttft,
        token: it.token,
        deviation: it.deviation,
        choice: it.choice,
    }))
}

/// How far a prediction is from what was measured, as a part of the latter.
pub fn error(predicted: f64, measured: f64) -> f64 {
    predicted / measured - 1.0
}

impl Report {
    /// Everything.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data") + "\n"
    }

    /// A table with notes.
    pub fn markdown(&self) -> String {
        let mut text = self.heading();
        text += "\n\n";
        text += &self.table();
        if self.cells.iter().any(|row| row.measured.is_some()) {
            text += "\n\n";
            text += &self.comparison();
        }
        text + "\n"
    }

    fn heading(&self) -> String {
        let Self {
            mlx,
            series,
            model,
            prompt_tokens,
            frames,
            calibration,
            fence,
            ..
        } = self;
        let mut text = format!(
            "Predicted, not measured: {model}, a prompt of {prompt_tokens} tokens, MLX {mlx} \
             ({series}), {frames} frames. Computation by {calibration}. A message costs a fence of \
             {} beside jaccl.",
            micros(*fence)
        );
        if let Some(row) = self.cells.first() {
            let cables = format!(
                "{} and {}",
                format_rate(row.link.bytes_per_second),
                format_time(row.link.latency)
            );
            let _ = write!(text, " jaccl was measured over emulated cables of {cables}");
            text += match row.messages.iter().all(|it| it.dilate == 1) {
                true => ".",
                false => " in virtual time: its processors cost nothing there.",
            };
        }
        text
    }

    fn table(&self) -> String {
        let mut table = with_heads(&[
            "cell", "TTFT ms", "compute", "fence", "cables", "tok/s", "token ms", "compute",
            "fence", "cables", "wait",
        ]);
        for row in &self.cells {
            let Prediction { ttft, token } = &row.predicted;
            let mut fields = vec![row.cell.to_string()];
            fields.extend(parts(ttft));
            fields.push(format!("{:.1}", 1.0 / token.total()));
            fields.extend(parts(token));
            fields.push(millis(token.wait));
            table.add_row(fields);
        }
        table.trim_fmt()
    }

    /// How much of each measured cell is explained.
    fn comparison(&self) -> String {
        let mut table = with_heads(&[
            "cell",
            "TTFT ms, measured",
            "predicted",
            "error",
            "explained by compute, fence, cables, wait",
            "tok/s, measured",
            "predicted",
            "error",
            "explained by compute, fence, cables, wait",
        ]);
        for row in &self.cells {
            let Some(measured) = row.measured else {
                continue;
            };
            let Prediction { ttft, token } = &row.predicted;
            table.add_row(vec![
                row.cell.to_string(),
                millis(measured.ttft),
                millis(ttft.total()),
                percent(error(ttft.total(), measured.ttft)),
                explained(ttft, measured.ttft),
                format!("{:.1}", 1.0 / measured.token),
                format!("{:.1}", 1.0 / token.total()),
                percent(error(measured.token, token.total())),
                explained(token, measured.token),
            ]);
        }
        table.trim_fmt()
    }
}

fn with_heads(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(heads);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn parts(parts: &Parts) -> [String; 4] {
    [parts.total(), parts.compute, parts.fence, parts.cables].map(millis)
}

/// Each part of what was measured, and what is left.
fn explained(parts: &Parts, measured: f64) -> String {
    let Parts {
        compute,
        fence,
        cables,
        wait,
    } = parts;
    let [compute, fence, cables, wait] =
        [compute, fence, cables, wait].map(|it| 100.0 * it / measured);
    let left = 100.0 - compute - fence - cables - wait;
    format!("{compute:.0} + {fence:.0} + {cables:.0} + {wait:.0} %, {left:.0} % left")
}

fn millis(seconds: f64) -> String {
    let millis = 1e3 * seconds;
    match millis {
        ..10.0 => format!("{millis:.2}"),
        _ => format!("{millis:.1}"),
    }
}

/// Microseconds, for people.
pub fn micros(seconds: f64) -> String {
    let micros = 1e6 * seconds;
    match micros {
        ..100.0 => format!("{micros:.1} us"),
        _ => format!("{micros:.0} us"),
    }
}

/// A signed percentage, for people.
pub fn percent(part: f64) -> String {
    format!("{:+.1} %", 100.0 * part)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rail_bench::{engine::Engine, protocol::Strategy};
    use rail_matrix::Backend;

    use super::*;
    use crate::{Call, Work};

    fn report(measured: Option<Times>) -> Report {
        let parts = |compute, cables| Parts {
            compute,
            fence: 0.0,
            cables,
            wait: 0.0,
        };
        Report {
            schema: SCHEMA,
            mlx: "0.31.2".to_owned(),
            series: "patched".to_owned(),
            model: "qwen3-wide".to_owned(),
            prompt_tokens: 256,
            frames: Frames::Small,
            calibration: "a single process of bench.json".to_owned(),
            fence: 4e-6,
            cells: vec![Row {
                cell: sweep::Cell {
                    engine: Engine::Rust,
                    workload: rail_bench::Workload::DEFAULT,
                    strategy: Strategy::Tp,
                    backend: Some(Backend::Ring),
                    cables: 3,
                },
                nodes: vec!["a".to_owned(), "b".to_owned()],
                link: Link {
                    bytes_per_second: 6_500_000_000,
                    latency: Duration::from_micros(5),
                },
                alone: vec![Alone {
                    work: Work {
                        cut: 3.0,
                        whole: 1.0,
                        tail: 0.0,
                    },
                    ttft: 0.08,
                    token: 0.005,
                    deviation: 0.0,
                    choice: None,
                }],
                messages: vec![Timed {
                    message: Message {
                        call: Call::AllSum,
                        bytes: 8192,
                    },
                    seconds: 20e-6,
                    dilate: 130,
                }],
                predicted: Prediction {
                    ttft: parts(0.04, 0.06),
                    token: parts(0.003, 0.002),
                },
                measured,
            }],
        }
    }

    #[test]
    fn a_prediction_says_that_it_is_one_and_what_it_is_made_of() {
        let text = report(None).markdown();
        assert!(
            text.starts_with("Predicted, not measured: qwen3-wide"),
            "{text}"
        );
        for part in [
            "a fence of 4.0 us",
            "6500 MB/s and 5 us in virtual time",
            "tp ring-3",
            " 100.0 |",
            " 200.0 |",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("explained"));
    }

    #[test]
    fn a_measured_cell_shows_what_is_explained() {
        let measured = Times {
            ttft: 0.2,
            token: 0.004,
        };
        let text = report(Some(measured)).markdown();
        for part in [
            " -50.0 % |",
            "20 + 0 + 30 + 0 %, 50 % left",
            // 250 tokens a second were measured, and 200 predicted.
            " -20.0 % |",
            "75 + 0 + 50 + 0 %, -25 % left",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn programs_get_seconds_under_fixed_names() {
        let json: serde_json::Value = serde_json::from_str(&report(None).json()).expect("JSON");
        let row = &json["cells"][0];
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(
            (&row["cell"], &row["messages"][0]["dilate"]),
            (&"tp ring-3".into(), &130.into())
        );
        assert_eq!(row["link"]["latency"], 5e-6);
        assert_eq!(row["predicted"]["token"]["cables"], 0.002);
        assert_eq!(row["messages"][0]["call"], "all_sum");
        assert!(row["measured"].is_null());
    }
}
