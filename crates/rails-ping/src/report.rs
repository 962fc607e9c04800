//! The output of a measurement.

use serde::Serialize;
use serde_json::json;

use crate::flags::{Format, Measure, Transport};

/// One combination of transport and size.
pub struct Row {
    pub transport: Transport,
    pub bytes: u32,
    pub figures: Figures,
}

pub enum Figures {
    /// Halves of round trips, in nanoseconds, in the order they were measured.
    Latency(Vec<u64>),
    /// The time from the first message to the last acknowledgement.
    Bandwidth { messages: u64, seconds: f64 },
}

/// Figures of latencies, in microseconds.
#[derive(Serialize)]
struct Latency {
    min: f64,
    max: f64,
    median: f64,
    mean: f64,
    standard_deviation: f64,
    p99: f64,
    p99_9: f64,
}

impl Latency {
    fn of(nanos: &[u64]) -> Self {
        let mut sorted = nanos.to_vec();
        sorted.sort_unstable();
        let last = sorted.len() - 1;
        // The smallest value that this percentage of the samples does not exceed.
        let percentile = |percent: f64| {
            let place = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
            micros(sorted[place.saturating_sub(1).min(last)])
        };
        let count = sorted.len() as f64;
        let mean = sorted.iter().map(|&nanos| micros(nanos)).sum::<f64>() / count;
        let squares = sorted.iter().map(|&nanos| (micros(nanos) - mean).powi(2));
        Latency {
            min: micros(sorted[0]),
            max: micros(sorted[last]),
            median: percentile(50.0),
            mean,
            standard_deviation: (squares.sum::<f64>() / (count - 1.0).max(1.0)).sqrt(),
            p99: percentile(99.0),
            p99_9: percentile(99.9),
        }
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// The rows in the format that the user chose.
pub fn render(measure: Measure, device: &str, rows: &[Row], format: Format) -> String {
    match format {
        Format::Text => text(measure, rows),
        Format::Json => {
            let rows: Vec<_> = rows.iter().map(object).collect();
            let report = json!({
                "schema": "mlx-rails/ping/1",
                "version": env!("CARGO_PKG_VERSION"),
                "measure": measure,
                "device": device,
                "rows": rows,
            });
            format!("{report:#}\n")
        }
    }
}

/// The columns of perftest, after one for the transport.
fn text(measure: Measure, rows: &[Row]) -> String {
    let mut text = match measure {
        Measure::Latency => format!(
            " {:<4} {:<10} {:<11} {:<11} {:<11} {:<15} {:<12} {:<13} {:<17} {}\n",
            "#qp",
            "#bytes",
            "#iterations",
            "t_min[usec]",
            "t_max[usec]",
            "t_typical[usec]",
            "t_avg[usec]",
            "t_stdev[usec]",
            "99%[usec]",
            "99.9%[usec]",
        ),
        Measure::Bandwidth => format!(
            " {:<4} {:<10} {:<11} {:<19} {}\n",
            "#qp", "#bytes", "#iterations", "BW average[MB/sec]", "MsgRate[Mpps]",
        ),
    };
    for row in rows {
        let qp = match row.transport {
            Transport::Uc => "UC",
            Transport::Rc => "RC",
        };
        text += &match &row.figures {
            Figures::Latency(nanos) => {
                let it = Latency::of(nanos);
                format!(
                    " {qp:<4} {:<10} {:<11} {:<11.2} {:<11.2} {:<15.2} {:<12.2} {:<13.2} {:<17.2} {:.2}\n",
                    row.bytes,
                    nanos.len(),
                    it.min,
                    it.max,
                    it.median,
                    it.mean,
                    it.standard_deviation,
                    it.p99,
                    it.p99_9,
                )
            }
            Figures::Bandwidth { messages, seconds } => format!(
                " {qp:<4} {:<10} {messages:<11} {:<19.2} {:.6}\n",
                row.bytes,
                *messages as f64 * f64::from(row.bytes) / seconds / 1e6,
                *messages as f64 / seconds / 1e6,
            ),
        };
    }
    text
}

fn object(row: &Row) -> serde_json::Value {
    let (transport, bytes) = (row.transport, row.bytes);
    match &row.figures {
        Figures::Latency(nanos) => json!({
            "transport": transport,
            "bytes": bytes,
            "iterations": nanos.len(),
            "microseconds": Latency::of(nanos),
            "samples_ns": nanos,
        }),
        Figures::Bandwidth { messages, seconds } => json!({
            "transport": transport,
            "bytes": bytes,
            "iterations": messages,
            "seconds": seconds,
            "bytes_per_second": *messages as f64 * f64::from(bytes) / seconds,
            "messages_per_second": *messages as f64 / seconds,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let nanos: Vec<u64> = (1..=1000).rev().map(|n| n * 1000).collect();
        let it = Latency::of(&nanos);
        assert_eq!(
            (it.min, it.median, it.p99, it.p99_9, it.max),
            (1.0, 500.0, 990.0, 999.0, 1000.0)
        );
        assert!((it.mean - 500.5).abs() < 1e-9);
        assert!((it.standard_deviation - 288.819).abs() < 1e-3);
        let one = Latency::of(&[2500]);
        assert_eq!((one.min, one.p99, one.standard_deviation), (2.5, 2.5, 0.0));
    }
}
