//! What a rail is loaded with, and what rate is too low.

use std::time::Duration;

use rail_matrix::{Cable, End, Link, Rig, units};
use softrail::fabric::serialisation;

use super::{Outcome, Rail};

/// Part of the rate stated for its cable that a rail must reach.
const OF_STATED: f64 = 0.8;

/// Part of the fastest rail of its pair that a rail must reach. jaccl gives every rail
/// of a pair the same share, so that the slowest sets the pace of all.
const OF_FASTEST: f64 = 0.5;

/// How long one message is to take, so that the emulation's steps do not show ...
const LONG_ENOUGH: Duration = Duration::from_millis(25);
/// ... and in latencies, so that these do not either.
const LATENCIES: u32 = 20;

/// jaccl sends no frame shorter than this, whatever is in it.
const SHORTEST: u64 = 4 * 1024;
/// What a rank has ready in memory.
const LONGEST: u64 = 8 * 1024 * 1024;

/// Messages for measuring a rail, in each direction on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Length of a message: a power of two, so that jaccl's frames are full.
    pub bytes: u64,
    /// Messages. The fastest counts, being the one that other work on this machine
    /// held up least.
    pub repeat: usize,
    /// How long one takes at the rate the rig states.
    pub expected: Duration,
}

impl Load {
    /// For a cable.
    pub fn over(link: Link) -> Self {
        let time = LONG_ENOUGH.max(link.latency * LATENCIES);
        let wanted = link.bytes_per_second as f64 * time.as_secs_f64();
        let bytes = 1 << (wanted as u64).clamp(SHORTEST, LONGEST).ilog2();
        Load {
            bytes,
            repeat: 4,
            expected: transit(link, bytes),
        }
    }
}

/// From handing over a message to its arrival, at the rate that the rig states.
fn transit(link: Link, bytes: u64) -> Duration {
    serialisation(&link, bytes) + link.latency
}

/// The same for the shortest message there is.
pub(super) fn shortest_transit(link: Link) -> Duration {
    transit(link, SHORTEST)
}

/// What the rig states for the cables at two devices: the slower one, should they be
/// two.
pub(super) fn link_between(rig: &Rig, ends: [&End; 2]) -> Link {
    let cables = ends.into_iter().filter_map(|end| cable_at(rig, end));
    let slower = cables.min_by_key(|cable| cable.link.bytes_per_second);
    slower.map(|cable| cable.link).unwrap_or_default()
}

/// Bytes a second: from the first device of a rail to the second, and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates(pub [f64; 2]);

impl Rates {
    /// The lesser of the two directions, by the sender's place.
    fn slower(self) -> (usize, f64) {
        let Rates([forth, back]) = self;
        if back < forth { (1, back) } else { (0, forth) }
    }

    /// The better of two measurements, each direction on its own.
    pub fn best(self, other: Self) -> Self {
        Rates([0, 1].map(|way| self.0[way].max(other.0[way])))
    }
}

/// A rail that carries too little, and less than what.
pub(super) struct Slow {
    /// Its place among the rails.
    pub rail: usize,
    pub why: String,
}

/// The rails that are too slow for what the rig states or for the others of their pair.
pub(super) fn slow(rig: &Rig, rails: &[Rail], outcomes: &[Outcome]) -> Vec<Slow> {
    let measured: Vec<(usize, Rates)> = outcomes
        .iter()
        .enumerate()
        .filter_map(|(rail, outcome)| Some((rail, outcome.rates()?)))
        .collect();
    let slow = measured.iter().filter_map(|&(at, rates)| {
        let rail = &rails[at];
        let (sender, rate) = rates.slower();
        let less = less_than_stated(rig, rail, rate).or_else(|| {
            let of_pair = |(other, _): &&(usize, Rates)| rails[*other].pair == rail.pair;
            let (fastest, best) = measured
                .iter()
                .filter(of_pair)
                .map(|(other, rates)| (&rails[*other], rates.slower().1))
                .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
            less_than_fastest(rate, fastest, best)
        })?;
        let [from, to] = [&rail.pair[sender], &rail.pair[1 - sender]];
        let why = format!("{from} to {to} carries {} MB/s{less}", megabytes(rate));
        Some(Slow { rail: at, why })
    });
    slow.collect()
}

fn less_than_stated(rig: &Rig, rail: &Rail, rate: f64) -> Option<String> {
    let cable = cable_at(rig, &rail.ends[0])?;
    let stated = cable.link.bytes_per_second;
    (rate < OF_STATED * stated as f64).then(|| {
        let stated = units::format_rate(stated);
        format!(" of the {stated} that the rig states for {}", cable.name)
    })
}

fn less_than_fastest(rate: f64, fastest: &Rail, best: f64) -> Option<String> {
    (rate < OF_FASTEST * best).then(|| {
        format!(
            ", and rail {} {}; jaccl gives every rail of a pair the same share, so all go at the \
             pace of this one: leave it out, or replace its cable",
            fastest.index,
            megabytes(best)
        )
    })
}

/// Megabytes, as people read them.
fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}

/// The cable that is plugged into a device, as the rig labels it.
pub(super) fn cable_at<'a>(rig: &'a Rig, end: &End) -> Option<&'a Cable> {
    rig.cables.iter().find(|cable| cable.ends.contains(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(bytes_per_second: u64, latency: Duration) -> u64 {
        Load::over(Link {
            bytes_per_second,
            latency,
        })
        .bytes
    }

    #[test]
    fn a_load_takes_long_enough_for_its_cable_and_fits_into_memory() {
        let short = Duration::from_micros(20);
        assert_eq!(load(50_000_000, short), 1 << 20);
        assert_eq!(load(50_000_000, Duration::from_millis(5)), 4 << 20);
        assert_eq!(load(1_000, short), SHORTEST);
        assert_eq!(load(10_000_000_000, short), LONGEST);
    }
}
