//! The figures of one cell with one build.

use rail_verify::{run::Variant, verdict::Verdict};
use rig::Link;
use serde::Serialize;
use stats::{Percentiles, Summary};

use crate::{Op, Options, bandwidth, cells::Cell, foreign::Foreign};

/// The figures of one cell with one build. The fields are those of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The position of the build among those that were measured.
    #[serde(skip)]
    pub build: usize,
    /// The cell, whose fields follow.
    #[serde(skip)]
    pub cell: Cell,
    /// The pin.
    pub mlx: String,
    /// The series.
    pub series: String,
    /// The operation.
    pub op: Op,
    /// `mesh` or `ring`.
    pub backend: &'static str,
    /// The number of ranks.
    pub ranks: usize,
    /// The number of cables between each two ranks that jaccl is given.
    pub cables: usize,
    /// `small` or `big`.
    pub frames: &'static str,
    /// The length passed to jaccl.
    pub bytes: usize,
    /// The number of elements.
    pub count: usize,
    /// The type of the elements.
    pub dtype: &'static str,
    /// How it ended. What is not `pass` or `wrong` has no figures.
    pub verdict: Verdict,
    /// What went wrong, in one line.
    pub detail: Option<String>,
    /// The times of the calls.
    pub time_us: Option<Times>,
    /// The size over the median time, in bytes per second.
    pub algbw: Option<f64>,
    /// What a rank sends at least, in bytes per second.
    pub busbw: Option<f64>,
    /// The bus bandwidth over what the cables carry, from 0 to 1.
    pub line_share: Option<f64>,
    /// The number of wrong elements, of all ranks.
    pub wrong: u64,
    /// Its time beside the first build's; none for the first build.
    pub ratio: Option<Ratio>,
    /// What jaccl's own benchmark measured, if it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
    /// The number of turns in which it was measured.
    pub turns: usize,
    /// How much slower the emulated cables were.
    pub dilate: u32,
    /// The line rate of a cable, in bytes per second, before the dilation.
    pub bandwidth: u64,
    /// The latency of a cable, in microseconds, before the dilation.
    pub latency: f64,
}

/// Times of a call, in microseconds, divided by the dilation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Times {
    /// The middle one, or the mean of the two middle ones.
    pub median: f64,
    /// The smallest time that 99 percent of the calls did not exceed.
    pub p99: f64,
    /// The shortest.
    pub min: f64,
    /// All, in the order of the calls.
    pub samples: Vec<f64>,
}

/// A time over the first build's: below 1 is faster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The medians' ratio.
    pub median: f64,
    /// The least ratio of medians in one turn.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// What a build measured in a cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    /// Microseconds, by turn.
    pub turns: Vec<Vec<f64>>,
    /// The number of wrong elements.
    pub wrong: u64,
    /// How it failed, or the first wrong byte.
    pub failed: Option<(Verdict, String)>,
}

impl Samples {
    fn median(turn: &[f64]) -> Option<f64> {
        Some(Summary::of(turn.to_vec())?.median)
    }

    /// Whether it returned from every turn, with right data or wrong.
    fn ended(&self) -> bool {
        match &self.failed {
            None => true,
            Some((verdict, _)) => *verdict == Verdict::Wrong,
        }
    }
}

impl Times {
    /// The figures of calls; `None` if there were none.
    pub fn of(samples: Vec<f64>) -> Option<Self> {
        let p99 = Percentiles::of(&samples)?.p99;
        let Summary {
            median,
            min,
            samples,
            ..
        } = Summary::of(samples)?;
        Some(Times {
            median,
            p99,
            min,
            samples,
        })
    }
}

impl Ratio {
    /// Compares turns with the first build's turns of the same number.
    pub(crate) fn of(turns: &[Vec<f64>], first: &[Vec<f64>]) -> Option<Self> {
        let pairs = turns.iter().zip(first);
        let each = pairs
            .filter_map(|(turn, first)| Some(Samples::median(turn)? / Samples::median(first)?));
        let each = Summary::of(each.collect())?;
        Some(Ratio {
            median: Samples::median(&turns.concat())? / Samples::median(&first.concat())?,
            min: each.min,
            max: each.max,
        })
    }
}

impl Row {
    pub(crate) fn new(
        (build, variant): (usize, &Variant),
        cell: &Cell,
        options: &Options,
        samples: &Samples,
        first: Option<&Samples>,
    ) -> Self {
        let Link {
            bytes_per_second,
            latency,
        } = options.link;
        let ended = samples.ended();
        let times = ended.then(|| Times::of(samples.turns.concat())).flatten();
        let bandwidths = times
            .as_ref()
            .and_then(|times| bandwidth::of(cell, times.median / 1e6, bytes_per_second));
        let first = first.filter(|first| ended && first.ended());
        let (verdict, detail) = match &samples.failed {
            None => (Verdict::Pass, None),
            Some((verdict, detail)) => (*verdict, Some(detail.clone())),
        };
        Row {
            build,
            cell: *cell,
            mlx: variant.mlx.clone(),
            series: variant.series.clone(),
            op: cell.op,
            backend: cell.backend.name(),
            ranks: cell.ranks,
            cables: cell.cables,
            frames: cell.frames.name(),
            bytes: cell.bytes,
            count: cell.count(),
            dtype: cell.dtype.name(),
            verdict,
            detail,
            time_us: times,
            algbw: bandwidths.map(|it| it.algorithm),
            busbw: bandwidths.map(|it| it.bus),
            line_share: bandwidths.map(|it| it.line_share),
            wrong: samples.wrong,
            ratio: first.and_then(|first| Ratio::of(&samples.turns, &first.turns)),
            foreign: None,
            turns: samples.turns.len(),
            dilate: options.dilate,
            bandwidth: bytes_per_second,
            latency: latency.as_secs_f64() * 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_samples() {
        let times = Times::of(vec![4.0, 2.0, 9.0, 5.0]).expect("samples");
        assert_eq!((times.median, times.p99, times.min), (4.5, 9.0, 2.0));
        assert_eq!(times.samples, [4.0, 2.0, 9.0, 5.0]);
        assert_eq!(Times::of(vec![]), None);
    }

    /// A machine that becomes slower in the second turn slows both builds.
    #[test]
    fn a_ratio_is_taken_turn_by_turn() {
        let first = [vec![10.0, 10.0, 12.0], vec![20.0, 20.0, 20.0]];
        let turns = [vec![5.0, 5.0, 5.0], vec![12.0, 12.0, 30.0]];
        let ratio = Ratio::of(&turns, &first).expect("samples");
        assert_eq!((ratio.min, ratio.max), (0.5, 0.6));
        assert_eq!(ratio.median, 8.5 / 16.0);
        assert_eq!(Ratio::of(&[], &[]), None);
    }
}
