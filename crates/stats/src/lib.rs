//! Summaries that keep their samples.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// Samples of one quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle sample, or the mean of the two middle ones.
    pub median: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n - 1); none for a single sample.
    pub stddev: Option<f64>,
    /// Smallest sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
    /// The samples, in the order in which they were taken.
    pub samples: Vec<f64>,
}

impl Summary {
    /// Summarises samples; `None` if there are none.
    pub fn of(samples: Vec<f64>) -> Option<Self> {
        let sorted = sorted(&samples)?;
        let n = sorted.len();
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let squares: f64 = sorted.iter().map(|x| (x - mean).powi(2)).sum();
        Some(Self {
            median: (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
            mean,
            stddev: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
            min: sorted[0],
            max: sorted[n - 1],
            samples,
        })
    }
}

/// Percentiles by nearest rank: the p-th is the smallest sample that at least p percent
/// of the samples do not exceed. It is always one of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median by nearest rank.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl Percentiles {
    /// The percentiles of samples; `None` if there are none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let sorted = sorted(samples)?;
        let at = |percent: usize| sorted[(percent * sorted.len()).div_ceil(100) - 1];
        Some(Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
        })
    }
}

/// An interval around the median of what was sampled, from one sample to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MedianInterval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// How often such an interval has the median in it, from 0 to 1, for independent
    /// samples of any distribution.
    pub confidence: f64,
}

impl MedianInterval {
    /// The narrowest interval of order statistics with a confidence of at least `wanted`.
    /// Where there are too few samples for that, it is from the least to the greatest, with
    /// the confidence that this has: 1 - 2 / 2^n for n samples. `None` for fewer than two.
    pub fn of(samples: &[f64], wanted: f64) -> Option<Self> {
        let sorted = sorted(samples).filter(|sorted| sorted.len() > 1)?;
        let n = sorted.len();
        let interval = |out: usize, outside: f64| Self {
            low: sorted[out],
            high: sorted[n - 1 - out],
            confidence: 1.0 - outside,
        };
        // The k-th smallest is above the median when fewer than k of n fair coins fall below.
        let mut chance = 0.5_f64.powf(n as f64);
        let mut outside = 2.0 * chance;
        let mut narrowest = interval(0, outside);
        for out in 1..n / 2 {
            chance *= (n - out + 1) as f64 / out as f64;
            outside += 2.0 * chance;
            if 1.0 - outside < wanted {
                break;
            }
            narrowest = interval(out, outside);
        }
        Some(narrowest)
    }

    /// Whether it has values in common with another.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

fn sorted(samples: &[f64]) -> Option<Vec<f64>> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then_some(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_known_samples() {
        let summary = Summary::of(vec![4.0, 2.0, 9.0, 5.0]).unwrap();
        assert_eq!(summary.median, 4.5);
        assert_eq!(summary.mean, 5.0);
        assert!((summary.stddev.unwrap() - (26.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((summary.min, summary.max), (2.0, 9.0));
        assert_eq!(summary.samples, [4.0, 2.0, 9.0, 5.0]);
        assert_eq!(Summary::of(vec![3.0, 1.0, 2.0]).unwrap().median, 2.0);
    }

    #[test]
    fn one_sample_has_no_spread_and_none_has_no_summary() {
        let one = Summary::of(vec![7.0]).unwrap();
        assert_eq!((one.median, one.mean, one.stddev), (7.0, 7.0, None));
        assert_eq!(Summary::of(vec![]), None);
        assert_eq!(Percentiles::of(&[]), None);
    }

    /// Values of the binomial distribution's table for p = 1/2.
    #[test]
    fn a_median_s_interval_has_the_confidence_of_its_order_statistics() {
        let of = |n: i32| {
            let samples: Vec<_> = (1..=n).rev().map(f64::from).collect();
            MedianInterval::of(&samples, 0.95)
        };
        let near = |interval: Option<MedianInterval>, low, high, confidence: f64| {
            let interval = interval.unwrap();
            assert_eq!((interval.low, interval.high), (low, high));
            assert!(
                (interval.confidence - confidence).abs() < 5e-4,
                "{interval:?}"
            );
        };
        assert_eq!(of(1), None);
        near(of(2), 1.0, 2.0, 0.5);
        near(of(5), 1.0, 5.0, 0.9375);
        near(of(6), 1.0, 6.0, 0.9688);
        near(of(9), 2.0, 8.0, 0.9609);
        near(of(10), 2.0, 9.0, 0.9785);
        near(of(20), 6.0, 15.0, 0.9586);
    }

    #[test]
    fn intervals_overlap_when_they_share_a_value() {
        let of = |samples: &[f64]| MedianInterval::of(samples, 0.95).unwrap();
        assert!(of(&[1.0, 2.0]).overlaps(&of(&[2.0, 3.0])));
        assert!(!of(&[1.0, 2.0]).overlaps(&of(&[2.5, 3.0])));
    }

    #[test]
    fn percentiles_are_samples() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            Percentiles::of(&hundred),
            Some(Percentiles {
                p50: 50.0,
                p90: 90.0,
                p99: 99.0
            })
        );
        assert_eq!(
            Percentiles::of(&[1.0, 2.0, 3.0]),
            Some(Percentiles {
                p50: 2.0,
                p90: 3.0,
                p99: 3.0
            })
        );
        assert_eq!(
            Percentiles::of(&[5.0]),
            Some(Percentiles {
                p50: 5.0,
                p90: 5.0,
                p99: 5.0
            })
        );
    }
}
