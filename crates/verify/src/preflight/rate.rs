//! The load on a rail, and the limit below which its rate is too low.

use std::time::Duration;

use rig::{Cable, End, Link, Rig, units};
use softrail::fabric::serialisation;

use super::{Outcome, Rail};

/// The fraction of its cable's stated rate that a rail must reach.
const OF_STATED: f64 = 0.8;

/// The fraction of the rate of the fastest rail of its pair that a rail must reach. jaccl
/// gives every rail of a pair the same share, so the slowest rail limits the rate of all.
const OF_FASTEST: f64 = 0.5;

/// The minimum duration of one message, so that the emulation's granularity does not show
/// ...
const LONG_ENOUGH: Duration = Duration::from_millis(25);
/// ... and the minimum in latencies, so that latency does not show either.
const LATENCIES: u32 = 20;

/// The shortest frame that jaccl sends, whatever is in it.
const SHORTEST: u64 = 4 * 1024;
/// The memory that a rank has available for a message.
const LONGEST: u64 = 8 * 1024 * 1024;

/// Messages for measuring a rail, in each direction separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Length of a message: a power of two, so that jaccl's frames are full.
    pub bytes: u64,
    /// The number of messages. The fastest counts, because other work on this machine
    /// delayed it least.
    pub repeat: usize,
    /// The duration of one message at the rate that the rig states.
    pub expected: Duration,
}

impl Load {
    /// The load for a cable.
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

/// The time from handing over a message to its arrival, at the rate that the rig states.
fn transit(link: Link, bytes: u64) -> Duration {
    serialisation(&link, bytes) + link.latency
}

/// The same for the shortest message.
pub(super) fn shortest_transit(link: Link) -> Duration {
    transit(link, SHORTEST)
}

/// The properties that the rig states for the cables at two devices: those of the slower
/// cable, if there are two.
pub(super) fn link_between(rig: &Rig, ends: [&End; 2]) -> Link {
    let cables = ends.into_iter().filter_map(|end| cable_at(rig, end));
    let slower = cables.min_by_key(|cable| cable.link.bytes_per_second);
    slower.map(|cable| cable.link).unwrap_or_default()
}

/// Bytes a second: from the first device of a rail to the second, and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates(pub [f64; 2]);

impl Rates {
    /// The slower of the two directions, with the sender's position.
    fn slower(self) -> (usize, f64) {
        let Rates([forth, back]) = self;
        if back < forth { (1, back) } else { (0, forth) }
    }

    /// The better of two measurements, for each direction separately.
    pub fn best(self, other: Self) -> Self {
        Rates([0, 1].map(|way| self.0[way].max(other.0[way])))
    }
}

/// A rail that is too slow, and the rate that it is compared with.
pub(super) struct Slow {
    /// Its position among the rails.
    pub rail: usize,
    pub why: String,
}

/// The rails that are too slow compared with the rig's rate or with the others of their
/// pair.
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

/// Megabytes as text for people.
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
