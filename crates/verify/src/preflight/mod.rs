//! Checks every rail of a matrix by itself, before a job starts.
//!
//! A matrix determines which devices jaccl pairs, by index. jaccl does not check that two
//! paired devices are the two ends of one cable, or that the cable carries. A small
//! all-reduce does not show it: it uses one wire, so it passes while the other rails are
//! crossed, and the first long message hangs. So each rail is checked as a group of its
//! own: two ranks with one device each, over jaccl's mesh, which opens the one wire it is
//! given.
//!
//! 1. Both ranks gather a small message ([`Prober`]). What arrives at each rank shows
//!    each direction separately.
//! 2. If both messages arrive, messages long enough for measuring a rate go each way
//!    ([`Load`]). A rail that seems slow is measured again, because a loaded machine
//!    looks like a slow cable.
//! 3. The ends of rails over which nothing arrives are tried against each other, and
//!    against devices that the matrix leaves out, to find out how they are plugged.
//!
//! # Cost
//! One group for each rail, one after the other, since pairs share this machine's cores.
//! With `s` silent rails and `u` devices left out, step 3 is at most `2 s (s + u)`
//! groups, each of which waits for the timeout if nothing arrives.

mod plan;
mod plugs;
mod probe;
mod rails;
mod rate;
mod report;

pub use plan::Plan;
pub use probe::{Outcome, Prober, Ranks};
pub use rails::Rail;
pub use rate::{Load, Rates};
pub use report::{RailReport, Report, SCHEMA, Unfit, Verdict};

use plugs::Mates;
use rig::Rig;

/// How often a rail that seems slow is measured again before it is reported as slow.
const SECOND_LOOKS: usize = 3;

/// The results for the rails.
#[derive(Debug)]
pub struct Checked<E> {
    /// The rails that were tried: all of them, unless the check was stopped.
    pub rails: Vec<RailReport>,
    /// Why the check did not finish. A rail that was slow at first may then lack its
    /// second measurement, and one that is reported as dead may be crossed.
    pub stopped: Option<E>,
}

/// Checks every rail and judges it. `tell` is called with the name of each probe before
/// it starts. If the prober fails or is stopped, the results up to then are kept.
pub fn check<P: Prober>(
    plan: &Plan,
    prober: &mut P,
    mut tell: impl FnMut(&str),
) -> Checked<P::Error> {
    let Plan { rig, rails, .. } = plan;
    let mut outcomes = Vec::with_capacity(rails.len());
    let measured = measure_all(plan, prober, &mut outcomes, &mut tell);
    let rails = &rails[..outcomes.len()];
    let mut mates = Mates::default();
    let traced =
        measured.and_then(|()| plugs::trace(rig, rails, &outcomes, prober, tell, &mut mates));
    Checked {
        rails: report::judge(rig, rails, &outcomes, &mates),
        stopped: traced.err(),
    }
}

/// Probes every rail once, and those that seem slow again.
fn measure_all<P: Prober>(
    Plan { rig, rails, .. }: &Plan,
    prober: &mut P,
    outcomes: &mut Vec<Outcome>,
    tell: &mut impl FnMut(&str),
) -> Result<(), P::Error> {
    for rail in rails {
        tell(&rail.to_string());
        outcomes.push(measure(rig, rail, prober)?);
    }
    for _ in 0..SECOND_LOOKS {
        for slow in rate::slow(rig, rails, outcomes) {
            tell(&format!("{} again", rails[slow.rail]));
            let again = measure(rig, &rails[slow.rail], prober)?;
            outcomes[slow.rail].look_again(again);
        }
    }
    Ok(())
}

fn measure<P: Prober>(rig: &Rig, rail: &Rail, prober: &mut P) -> Result<Outcome, P::Error> {
    let ends = rail.ends.each_ref();
    prober.probe(ends, Some(Load::over(rate::link_between(rig, ends))))
}

#[cfg(test)]
mod tests;
