//! Finds out how the ends of silent rails are actually plugged.

use std::collections::HashMap;

use rig::{End, Rig};

use super::{Outcome, Prober, Rail, rails::left_out, rate::cable_at};

/// The device at the other end of each device's cable, as far as it was found.
#[derive(Debug, Default)]
pub(super) struct Mates(HashMap<End, End>);

impl Mates {
    pub fn of(&self, end: &End) -> Option<&End> {
        self.0.get(end)
    }

    fn join(&mut self, [a, b]: [&End; 2]) {
        self.0.insert(a.clone(), b.clone());
        self.0.insert(b.clone(), a.clone());
    }
}

/// Tries the ends of silent rails against each other and against devices that are on no
/// rail, until each has a partner or nothing is left to try. Fills in `mates` as they are
/// found.
pub(super) fn trace<P: Prober>(
    rig: &Rig,
    rails: &[Rail],
    outcomes: &[Outcome],
    prober: &mut P,
    mut tell: impl FnMut(&str),
    mates: &mut Mates,
) -> Result<(), P::Error> {
    let rails_that = |wanted: fn(&Outcome) -> bool| {
        let all = rails.iter().zip(outcomes);
        all.filter(move |(_, outcome)| wanted(outcome))
            .map(|(rail, _)| rail)
    };
    for rail in rails_that(Outcome::is_connected) {
        mates.join(rail.ends.each_ref());
    }
    let silent: Vec<&Rail> = rails_that(Outcome::is_silent).collect();
    let ends = silent.iter().flat_map(|rail| &rail.ends);
    let open: Vec<&End> = ends.chain(left_out(rig, rails)).collect();
    let mut strangers: Vec<[&End; 2]> = silent.iter().map(|rail| rail.ends.each_ref()).collect();
    for rail in silent {
        let [a, b] = &rail.ends;
        for (end, expected) in [(a, b), (b, a)] {
            // The most frequent case is a plug in the wrong port of the right machine.
            let (right, wrong): (Vec<&End>, Vec<&End>) =
                open.iter().partition(|other| other.node == expected.node);
            for other in right.into_iter().chain(wrong) {
                let met = strangers.contains(&[end, other]) || strangers.contains(&[other, end]);
                let taken = mates.of(end).or(mates.of(other)).is_some();
                if met || taken || other.node == end.node {
                    continue;
                }
                tell(&format!("{} with {}", whose(end), whose(other)));
                if prober.probe([end, other], None)?.is_connected() {
                    mates.join([end, other]);
                } else {
                    strangers.push([end, other]);
                }
            }
        }
    }
    Ok(())
}

/// How a rail's ends are actually plugged, and the remedy; `None` if neither was found at
/// the end of another cable.
pub(super) fn crossing(rig: &Rig, rails: &[Rail], rail: &Rail, mates: &Mates) -> Option<String> {
    let found = rail.ends.each_ref().map(|end| mates.of(end));
    if found == [None, None] {
        return None;
    }
    if let Some(other) = swapped_with(rails, rail, mates) {
        let (first, second) = if other.index < rail.index {
            (other, rail)
        } else {
            (rail, other)
        };
        let [a, b] = &rail.pair;
        return Some(format!(
            "rails {} and {} between {a} and {b} are swapped: {} and {}; exchange the two plugs \
             at one node, or the two devices in one node's row of the matrix",
            first.index,
            second.index,
            plugged(rig, &first.ends[0], mates),
            plugged(rig, &second.ends[0], mates),
        ));
    }
    Some(format!(
        "{rail} is no cable: {}, {}; plug them as the matrix says, or correct the matrix",
        plugged(rig, &rail.ends[0], mates),
        plugged(rig, &rail.ends[1], mates),
    ))
}

/// The other rail of the pair that is swapped with this one.
fn swapped_with<'a>(rails: &'a [Rail], rail: &Rail, mates: &Mates) -> Option<&'a Rail> {
    let [a, b] = rail.ends.each_ref().map(|end| mates.of(end));
    rails.iter().find(|other| {
        other.pair == rail.pair && Some(&other.ends[1]) == a && Some(&other.ends[0]) == b
    })
}

/// For example `a's rdma_en6 is cabled to b's rdma_en7 (cable-3)`.
fn plugged(rig: &Rig, end: &End, mates: &Mates) -> String {
    let cable = cable_at(rig, end).map_or("no cable", |cable| &cable.name);
    match mates.of(end) {
        Some(mate) => format!("{} is cabled to {} ({cable})", whose(end), whose(mate)),
        None => format!("nothing answers {} ({cable})", whose(end)),
    }
}

/// For example `a's rdma_en6`.
pub(super) fn whose(end: &End) -> String {
    format!("{}'s {}", end.node, end.device)
}
