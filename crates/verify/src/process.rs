//! The state of a rank's process that no longer answers: where it is, or how it ended.

use std::{path::Path, time::Duration};

use launch::{Death, Ranks, signal_name};
use rustix::process::Signal;

use crate::stack;

/// How long to wait for a rank to write its stack, or to end after its output has closed.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where a rank is in jaccl, if it writes its stack. `library` is the one with jaccl.
pub fn place(ranks: &mut Ranks, rank: usize, library: &Path) -> Option<String> {
    ranks.process(rank).show_stack();
    let mut place = None;
    ranks.wait_until(PATIENCE, |ranks| {
        place = stack::place(&ranks.process(rank).last_words(), library);
        place.is_some()
    });
    place
}

/// How a rank's process ended after its output was closed: in words, with the place of a
/// crash and its last words, and whether it was killed. No rank kills itself or another.
pub fn death(ranks: &mut Ranks, rank: usize, library: &Path) -> (String, bool) {
    let death = ranks.end_of(rank, PATIENCE);
    let how = match death {
        None => "closed its output".to_owned(),
        Some(Death::Killed(signal)) => {
            format!("died of signal {signal} ({})", signal_name(signal))
        }
        Some(exited) => exited.to_string(),
    };
    let words = ranks.process(rank).last_words();
    let place = stack::place(&words, library).map_or(String::new(), |place| format!(" in {place}"));
    let said: Vec<&str> = stack::without(&words).collect();
    let said = match said.as_slice() {
        [] => String::new(),
        [.., last] => format!(": {last}"),
    };
    let killed = death == Some(Death::Killed(Signal::KILL.as_raw()));
    (format!("{how}{place}{said}"), killed)
}
