//! Summaries that keep their samples.

#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The confidence of the interval of a [`Change`].
const CONFIDENCE: f64 = 0.95;

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
///
/// It shows how well one set of samples knows its median, and assumes no distribution. For
/// what is between two sets there is [`Change`].
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

    /// Whether it has values in common with another. Sets whose intervals are apart differ,
    /// whatever their outliers; sets whose intervals overlap may differ too, see [`Change`].
    pub fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// How much longer something takes than before, in percent; negative if it is faster.
///
/// This says how much two sets of samples differ, and how sure that is. Two
/// [`MedianInterval`]s cannot take its place: intervals that overlap may belong to sets that
/// clearly differ, and how often they do is not known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// Of the geometric means.
    pub percent: f64,
    /// The lower end of the interval, in which the true change is in 95 % of cases.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Change {
    /// The change from one set of times to another. None without two samples in each: there
    /// is no interval then. The samples are greater than 0.
    ///
    /// Welch's t-interval of the logarithms, because a disturbance multiplies a time.
    pub fn between(then: &[f64], now: &[f64]) -> Option<Self> {
        let [a, b] =
            [then, now].map(|times| Summary::of(times.iter().map(|time| time.ln()).collect()));
        let (a, b) = (a?, b?);
        let part = |logs: &Summary| -> Option<(f64, f64)> {
            let n = logs.samples.len() as f64;
            Some((logs.stddev?.powi(2) / n, n - 1.0))
        };
        let ((va, fa), (vb, fb)) = (part(&a)?, part(&b)?);
        let difference = b.mean - a.mean;
        let variance = va + vb;
        // Equal samples have no variance, and no distribution either.
        let margin = match variance > 0.0 {
            false => 0.0,
            true => {
                let freedom = variance.powi(2) / (va.powi(2) / fa + vb.powi(2) / fb);
                let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
                student.inverse_cdf((1.0 + CONFIDENCE) / 2.0) * variance.sqrt()
            }
        };
        let percent = |logarithm: f64| logarithm.exp_m1() * 100.0;
        Some(Self {
            percent: percent(difference),
            low: percent(difference - margin),
            high: percent(difference + margin),
        })
    }
}

impl Change {
    /// Whether the interval is on one side of no change.
    pub fn is_clear(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { percent, low, high } = self;
        write!(f, "{percent:+.1} % ({low:+.1} to {high:+.1})")
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
    fn a_change_of_known_samples() {
        // By Simpson's rule over the density, t is 2.98812 at 3.38277 degrees of freedom.
        let change = Change::between(&[100.0, 104.0, 98.0], &[110.0, 121.0, 115.0]);
        let change = change.unwrap();
        let expected = [
            (change.low, 3.889_709),
            (change.percent, 14.517_580),
            (change.high, 26.232_676),
        ];
        for (found, expected) in expected {
            assert!((found - expected).abs() < 1e-3, "{change}");
        }
    }

    #[test]
    fn equal_samples_have_no_margin_and_single_ones_no_interval() {
        let same = [5.0, 5.0];
        let change = Change::between(&same, &[10.0, 10.0]).unwrap();
        assert_eq!((change.low, change.high), (change.percent, change.percent));
        assert!((change.percent - 100.0).abs() < 1e-9);
        assert_eq!(Change::between(&[5.0], &same), None);
    }

    #[test]
    fn intervals_overlap_when_they_share_a_value() {
        let of = |samples: &[f64]| MedianInterval::of(samples, 0.95).unwrap();
        assert!(of(&[1.0, 2.0]).overlaps(&of(&[2.0, 3.0])));
        assert!(!of(&[1.0, 2.0]).overlaps(&of(&[2.5, 3.0])));
    }

    #[test]
    fn a_change_is_clear_when_its_interval_is_on_one_side() {
        let clear = |then: &[f64], now: &[f64]| Change::between(then, now).unwrap().is_clear();
        // The intervals of these medians overlap: each goes from the least to the greatest.
        let (then, now) = ([10.0, 10.1, 10.2, 11.0], [10.95, 11.2, 11.3, 11.4]);
        assert!(clear(&then, &now) && clear(&now, &then));
        assert!(!clear(&[10.0, 12.0], &[11.0, 13.0]));
        assert!(!clear(&[10.0, 10.0], &[10.0, 10.0]));
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
