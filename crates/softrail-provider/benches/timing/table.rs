//! Measured values, beside the expected ones.

use std::fmt;

/// Repetitions of a measurement, in order of size; at least one.
pub struct Samples(Vec<f64>);

impl Samples {
    /// `None` if there are none.
    pub fn new(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Samples(values))
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value that this fraction of the samples does not exceed.
    fn quantile(&self, part: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[(part * last as f64).round() as usize]
    }
}

/// What the median is compared with.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Shown for comparison with other lines only.
    None,
    AtMost(f64),
    AtLeast(f64),
    /// At most this far from 1.
    Within(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Goal::None => true,
            Goal::AtMost(most) => value <= most,
            Goal::AtLeast(least) => value >= least,
            Goal::Within(part) => (value - 1.0).abs() <= part,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::None => Ok(()),
            Goal::AtMost(most) => write!(f, "at most {most}"),
            Goal::AtLeast(least) => write!(f, "at least {least}"),
            Goal::Within(part) => write!(f, "{} to {}", 1.0 - part, 1.0 + part),
        }
    }
}

/// One line a measurement, as Markdown.
#[derive(Default)]
pub struct Table(Vec<String>);

impl Table {
    /// Adds a measurement; does nothing if the command line has selected others.
    pub fn add(&mut self, what: &str, values: impl Iterator<Item = f64>, goal: Goal) {
        let Some(samples) = Samples::new(values.collect()) else {
            return;
        };
        let met = match goal {
            Goal::None => "",
            _ if goal.is_met(samples.median()) => "yes",
            _ => "no",
        };
        let [p10, median, p90] = [0.1, 0.5, 0.9].map(|part| samples.quantile(part));
        self.0.push(format!(
            "| {what} | {median:.3} | {p10:.3} | {p90:.3} | {goal} | {met} |"
        ));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| measured | median | p10 | p90 | goal | met |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
