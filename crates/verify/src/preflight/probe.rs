//! A probe: two devices as a group of their own.

use std::time::Duration;

use jaccl::{Dtype, Operation, Report, Step};
use launch::Launcher;
use rig::{End, Rig};

use super::{
    plan::is_of_message,
    plugs::whose,
    rate::{Load, Rates, link_between, shortest_transit},
};
use crate::{
    case::{Backend, Frames},
    group::{self, Build, Ends, Group, GroupError, Programs, Until},
    setup::{Setup, Start},
};

/// The result of a group of two devices.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Messages arrive in both directions, at these rates if they were measured.
    Carries(Option<Rates>),
    /// jaccl connected the two, but not both of their messages arrived. For each of the
    /// two, whether it received the other's message.
    Silent([bool; 2]),
    /// A rank refused, died or got wrong bytes: the device, and the message.
    Failed(String),
}

impl Outcome {
    /// Whether the two are the ends of one cable.
    pub fn is_connected(&self) -> bool {
        match self {
            Self::Carries(_) => true,
            Self::Silent(heard) => heard.contains(&true),
            Self::Failed(_) => false,
        }
    }

    /// Whether neither received the other's message, although neither failed.
    pub fn is_silent(&self) -> bool {
        *self == Self::Silent([false, false])
    }

    /// The measured rates.
    pub fn rates(&self) -> Option<Rates> {
        match self {
            Self::Carries(rates) => *rates,
            Self::Silent(_) | Self::Failed(_) => None,
        }
    }

    /// Merges a second measurement: the better rates if both measured some, else the
    /// second outcome, since a rail that carries only sometimes is not usable.
    pub fn look_again(&mut self, again: Self) {
        *self = match (self.rates(), again.rates()) {
            (Some(before), Some(now)) => Self::Carries(Some(before.best(now))),
            _ => again,
        };
    }
}

/// Connects two devices of different nodes by a probe.
pub trait Prober {
    /// Why a probe could not be run.
    type Error;

    /// Makes both devices send a small message, then those of `load` if there is one.
    ///
    /// # Errors
    /// If the probe gave no result. A failure of the devices is an outcome, not an error.
    fn probe(&mut self, ends: [&End; 2], load: Option<Load>) -> Result<Outcome, Self::Error>;
}

/// Ranks of a jaccl build, over the emulated rig.
pub struct Ranks<'a> {
    /// The programs of the rank and of the emulator.
    pub programs: &'a Programs,
    /// The build of jaccl.
    pub build: &'a Build,
    /// The actual cabling.
    pub rig: &'a Rig,
    /// How much longer than the rig states a message may take while the ranks have the
    /// processor and no byte moves.
    pub timeout: Duration,
    /// Starts the ranks; its stop flag ends them.
    pub launcher: &'a Launcher,
}

/// The limit on joining: jaccl itself waits 1, 2 and 4 s between attempts to connect
/// (`SideChannel` in `rdma.cpp`).
const JOINING: Duration = Duration::from_secs(10);

/// The shortest possible message; jaccl sends a whole frame for it.
const GREETING: usize = 8;

impl Prober for Ranks<'_> {
    type Error = GroupError;

    fn probe(&mut self, ends: [&End; 2], load: Option<Load>) -> Result<Outcome, GroupError> {
        let setup = setup(self.rig, ends);
        let mut group = Group::start(self.programs, self.build, &setup, self.launcher)?;
        let joined = group.joined(JOINING.max(self.timeout).into(), Until::FirstFailure)?;
        if let Some(failure) = failure(&joined, ends) {
            return Ok(failure);
        }
        if joined.values().any(waits) {
            return Ok(Outcome::Failed(format!(
                "jaccl does not connect {} and {}: {}",
                whose(ends[0]),
                whose(ends[1]),
                group::standing(&joined)
            )));
        }

        let greeting = vec![step(Operation::AllGather, GREETING)];
        let patience = self.timeout + shortest_transit(link_between(self.rig, ends));
        let greeted = group.run(greeting, None, patience.into(), Until::All)?;
        if let Some(failure) = failure(&greeted, ends) {
            return Ok(failure);
        }
        let heard = [0, 1].map(|place| nanos(&greeted, place).is_some());
        if heard != [true, true] {
            return Ok(Outcome::Silent(heard));
        }
        match load {
            None => Ok(Outcome::Carries(None)),
            Some(load) => self.load(&mut group, ends, load),
        }
    }
}

impl Ranks<'_> {
    fn load(&self, group: &mut Group, ends: [&End; 2], load: Load) -> Result<Outcome, GroupError> {
        let Load {
            bytes,
            repeat,
            expected,
        } = load;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut rates = [0.0; 2];
        for (from, to) in [(0, 1), (1, 0)] {
            let steps = vec![step(Operation::Send { from, to }, bytes); repeat];
            // Moving bytes reset the silence, and a message is several frames.
            let ended = group.run(steps, None, (self.timeout + expected).into(), Until::All)?;
            if let Some(failure) = failure(&ended, ends) {
                return Ok(failure);
            }
            // The time of the sender: a receiver that has yet to prepare its buffer
            // counts that too.
            let Some(fastest) = nanos(&ended, from).and_then(|all| all.iter().min()) else {
                return Ok(Outcome::Failed(format!(
                    "short messages arrive, and one of {bytes} bytes from {} to {} does not: {}",
                    whose(ends[from]),
                    whose(ends[to]),
                    group::standing(&ended)
                )));
            };
            rates[from] = bytes as f64 / Duration::from_nanos(*fastest).as_secs_f64();
        }
        Ok(Outcome::Carries(Some(Rates(rates))))
    }
}

/// The setup of two ranks on the nodes of the two ends, without the faults of single
/// messages.
fn setup(rig: &Rig, ends: [&End; 2]) -> Setup {
    let mut rig = rig.clone();
    rig.faults.retain(|fault| !is_of_message(fault));
    let cell = |end: &End| vec![end.device.clone()];
    let start = |rank| Start {
        rank,
        library: true,
        fabric: true,
    };
    Setup {
        rig,
        nodes: ends.map(|end| end.node.clone()).to_vec(),
        matrix: vec![vec![vec![], cell(ends[0])], vec![cell(ends[1]), vec![]]],
        backend: Backend::Mesh,
        frames: Frames::Big,
        starts: vec![start(0), start(1)],
        exhausted: Vec::new(),
        variables: Vec::new(),
    }
}

fn step(operation: Operation, bytes: usize) -> Step {
    Step {
        operation,
        bytes,
        dtype: Dtype::UInt8,
        in_place: false,
        salt: 0,
    }
}

/// The times of the steps of a rank, if it completed them all.
fn nanos(ends: &Ends, place: usize) -> Option<&[u64]> {
    match ends.get(&place) {
        Some(group::End::Report(Report::Passed { nanos })) => Some(nanos),
        _ => None,
    }
}

fn waits(end: &group::End) -> bool {
    matches!(end, group::End::Waits(_) | group::End::Abandoned)
}

/// Reports of ranks that are neither success nor silence, by device.
fn failure(ended: &Ends, ends: [&End; 2]) -> Option<Outcome> {
    let told = ended.iter().filter_map(|(&place, end)| {
        let words = match end {
            group::End::Died { how, .. } => format!("the rank {how}"),
            group::End::Report(Report::Error { message, .. }) => message.clone(),
            group::End::Report(Report::Wrong { detail, .. }) => format!("wrong data: {detail}"),
            group::End::Report(Report::Overrun { detail, .. }) => {
                format!("out of bounds: {detail}")
            }
            _ => return None,
        };
        let hint = hint(&words).map_or(String::new(), |hint| format!(" ({hint})"));
        Some(format!("{}: {words}{hint}", whose(ends[place])))
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| Outcome::Failed(told.join("; ")))
}

/// The meaning of jaccl's messages, as found in the field.
fn hint(words: &str) -> Option<&'static str> {
    const MEANINGS: [(&str, &str); 3] = [
        (
            "errno 22",
            "an interface without an IPv4 address, at either end, or a bridge over it",
        ),
        ("errno 60", "the address at the other end cannot be reached"),
        ("protection domain", "its port is down"),
    ];
    let meaning = MEANINGS.iter().find(|(part, _)| words.contains(part));
    meaning.map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use rail_matrix::Options;
    use rig::{CableFault, Defect, Fault, MessageFault};

    use super::{super::Plan, *};

    #[test]
    fn a_probe_meets_what_is_broken_and_no_fault_of_single_messages() {
        let mut rig = Rig::embedded();
        let [a, b] = rig.cables[0].ends.clone();
        let dropped = Fault::from(Defect::Message {
            device: a.clone(),
            queue_pair: 0,
            message: 0,
            kind: MessageFault::Drop,
        });
        let cut = |cable: &str| {
            Fault::from(Defect::Cable {
                cable: cable.to_owned(),
                kind: CableFault::Cut,
            })
        };
        let (cut, mut later) = (cut("cable-1"), cut("cable-2"));
        later.span.at = Duration::from_secs(2);
        rig.faults = vec![dropped.clone(), cut.clone(), later.clone()];
        assert_eq!(setup(&rig, [&a, &b]).rig.faults, [cut, later.clone()]);
        let plan = Plan::of_rig(rig, &Options::default()).expect("it has rails");
        assert!(plan.left_out().eq(&[dropped, later]));
    }
}
