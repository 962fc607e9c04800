//! Whether the machine was the same from the first repeats to the last.

use stats::{MedianInterval, Summary};

use crate::{report::CellReport, verdict::Verdict};

/// The confidence of each interval. Two that are apart are then no chance.
const CONFIDENCE: f64 = 0.95;

/// A smaller change is not worth a warning.
const LEAST: f64 = 0.02;

/// A warning for each figure whose last repeats differ from the first.
///
/// Each repeat is set against its cell's median, so that all cells together are one sample
/// of the machine. The later half of the repeats drifts from the earlier half if the
/// intervals around their medians (order statistics, of any distribution) are apart.
pub(crate) fn warnings(cells: &[CellReport]) -> Vec<String> {
    let passed: Vec<_> = (cells.iter())
        .filter(|cell| cell.verdict == Verdict::Pass)
        .collect();
    let ttft = passed.iter().filter_map(|cell| cell.ttft_ms.as_ref());
    let ttft = of_times(ttft.map(|it| it.samples.clone()), "the time to first token");
    let decode = passed
        .iter()
        .filter_map(|cell| cell.generation_tps.as_ref());
    let seconds = decode.map(|it| it.samples.iter().map(|rate| 1.0 / rate).collect());
    ttft.into_iter()
        .chain(of_times(seconds, "the time a token"))
        .collect()
}

fn of_times(cells: impl Iterator<Item = Vec<f64>>, what: &str) -> Option<String> {
    let (mut first, mut last, mut count) = (Vec::new(), Vec::new(), 0);
    for samples in cells {
        let half = samples.len() / 2;
        let late = samples.len() - half;
        let Some(summary) = Summary::of(samples).filter(|_| half > 0) else {
            continue;
        };
        let relative: Vec<_> = summary
            .samples
            .iter()
            .map(|it| it / summary.median)
            .collect();
        first.extend_from_slice(&relative[..half]);
        last.extend_from_slice(&relative[late..]);
        count += 1;
    }
    let [before, after] = [&first, &last].map(|it| MedianInterval::of(it, CONFIDENCE));
    let (before, after) = (before?, after?);
    let sure = before.confidence.min(after.confidence) >= CONFIDENCE;
    let change = Summary::of(last)?.median / Summary::of(first)?.median - 1.0;
    (sure && !before.overlaps(&after) && change.abs() >= LEAST).then(|| {
        let more = if change > 0.0 { "greater" } else { "smaller" };
        let percent = 100.0 * change.abs();
        format!(
            "{what} drifted: it was {percent:.1} % {more} in the last repeats than in the first, \
             over {count} cells; the machine was not the same throughout"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drift(cells: &[&[f64]]) -> Option<String> {
        of_times(cells.iter().map(|it| it.to_vec()), "it")
    }

    #[test]
    fn a_slow_change_of_all_cells_is_a_drift() {
        let cells: [&[f64]; 3] = [
            &[100.0, 101.0, 105.0, 109.0, 110.0],
            &[20.0, 20.1, 21.0, 21.9, 22.0],
            &[7.0, 7.1, 7.2, 7.8, 7.9],
        ];
        let told = drift(&cells).unwrap();
        assert!(told.contains("% greater in the last repeats"), "{told}");
        assert!(told.contains("over 3 cells"), "{told}");
    }

    #[test]
    fn neither_an_outlier_nor_noise_nor_too_few_repeats_are() {
        let noisy: [&[f64]; 3] = [
            &[100.0, 101.0, 99.0, 100.5, 300.0],
            &[20.0, 20.5, 20.2, 20.1, 20.4],
            &[7.1, 7.0, 7.2, 7.0, 7.1],
        ];
        assert_eq!(drift(&noisy), None);
        assert_eq!(drift(&[&[1.0, 2.0]]), None);
        assert_eq!(drift(&[&[1.0]]), None);
        assert_eq!(drift(&[]), None);
    }
}
