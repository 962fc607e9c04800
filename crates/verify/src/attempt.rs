//! One attempt at one case, in ranks of its own or in a group that exists already.

use std::time::Duration;

use jaccl::{Features, Operation, Reduction, Report, Step};
use launch::{Launcher, Limit};

use crate::{
    case::{Case, Direction, Op, Setting},
    group::{Build, End, Ends, Group, GroupError, Programs, Rank, Until, finding, standing},
    sequence,
    setup::{AFFLICTED, GivenMatrix, Setup},
    verdict::{Finding, Verdict},
};

/// How often one [`Op::Init`] joins and leaves.
const JOININGS: usize = 5;

/// The size of a condition's message for every wire: two frames, and enough for the mesh
/// to use several wires (`MESH_MULTI_WIRE_MIN_BYTES` in `mesh_impl.h`).
const CONDITION_BYTES: usize = 1 << 20;

/// The limit on silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The limit of a first attempt among other cases. A case that fails it is tried
    /// again.
    Short,
    /// The limit of the final attempt, alone.
    Long,
}

impl Patience {
    /// The limit on silence within a case.
    fn silence(self, case: &Case, rank: &Rank) -> Limit {
        let silence = match self {
            Patience::Short => Duration::from_millis(200),
            Patience::Long => Duration::from_millis(600),
        };
        let longest = case.bytes.max(CONDITION_BYTES);
        let parts = case.setting.ranks + 1;
        Limit {
            silence,
            work: rank.work_per_byte().mul_f64((longest * parts) as f64),
        }
    }

    /// The limit on silence while joining: jaccl itself waits 1, 2 and 4 s between
    /// attempts to connect (`SideChannel` in `rdma.cpp`).
    pub(crate) fn joining(self) -> Limit {
        match self {
            Patience::Short => Duration::from_secs(6).into(),
            Patience::Long => Duration::from_secs(10).into(),
        }
    }
}

/// Why a case has no verdict. The cause is outside jaccl.
#[derive(Debug, thiserror::Error)]
pub enum Unjudged {
    /// A group could not be started, or the caller asked to stop.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A rank was killed by something other than this program, which sends no SIGKILL
    /// while a case runs: usually by a system that is out of memory.
    #[error("a rank was killed from outside")]
    Killed,
}

/// The ends of the ranks, unless a rank was killed from outside: the reports of the other
/// ranks are then useless too.
pub(crate) fn unless_killed(ends: Ends) -> Result<Ends, Unjudged> {
    let killed = |end: &End| matches!(end, End::Died { killed: true, .. });
    match ends.values().any(killed) {
        true => Err(Unjudged::Killed),
        false => Ok(ends),
    }
}

/// The resources that cases run with.
#[derive(Debug, Clone, Copy)]
pub struct Bench<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// The build of jaccl.
    pub build: &'a Build,
    /// The operations that the build has.
    pub features: Features,
    /// The matrix of every case that is not a condition, if it was given.
    pub given: Option<&'a GivenMatrix>,
    /// Starts the ranks; its stop flag ends them.
    pub launcher: &'a Launcher,
}

impl<'a> Bench<'a> {
    /// Runs a case in ranks of its own. Returns `None` if it passes.
    ///
    /// # Errors
    /// If a group cannot be started, a rank is killed from outside, or the caller asked
    /// to stop.
    pub fn alone(&self, case: &Case, patience: Patience) -> Result<Option<Finding>, Unjudged> {
        match case.op {
            Op::Init => self.init(case, patience),
            Op::Unequal => self.disagree(case, patience),
            op if op.is_loss() => self.lose(case, patience),
            op if op.is_condition() => self.condition(case, patience),
            _ => match self.join(case.setting, patience)? {
                Ok(mut group) => self.perform(&mut group, case, patience),
                Err(finding) => Ok(Some(finding)),
            },
        }
    }

    /// Joins a group, or returns a finding of how joining failed.
    ///
    /// # Errors
    /// As for [`Bench::alone`].
    pub fn join(
        &self,
        setting: Setting,
        patience: Patience,
    ) -> Result<Result<Group, Finding>, Unjudged> {
        let mut group = self.start(&self.setup(setting))?;
        Ok(match self.joined(&mut group, patience)? {
            None => Ok(group),
            Some(finding) => Err(finding),
        })
    }

    /// The setup of a group in a setting: over the matrix that was given, or over one of
    /// verify's own.
    pub fn setup(&self, setting: Setting) -> Setup {
        match self.given {
            Some(given) => given.setup(setting.frames),
            None => Setup::of(setting),
        }
    }

    /// Waits until a group has joined, or returns a finding of how joining failed.
    ///
    /// # Errors
    /// As for [`Bench::alone`].
    pub fn joined(
        &self,
        group: &mut Group,
        patience: Patience,
    ) -> Result<Option<Finding>, Unjudged> {
        let ends = unless_killed(group.joined(patience.joining(), Until::FirstFailure)?)?;
        Ok(finding(&ends).map(|finding| while_joining(group.with_cables(finding))))
    }

    /// Starts the ranks of a group, which begin to join.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn start(&self, setup: &Setup) -> Result<Group, GroupError> {
        Group::start(self.programs, self.build, setup, self.launcher)
    }

    /// Runs an operation in a group that has joined. The group remains usable after a
    /// finding of wrong data only.
    ///
    /// # Errors
    /// If a rank is killed from outside, or the caller asked to stop.
    pub fn perform(
        &self,
        group: &mut Group,
        case: &Case,
        patience: Patience,
    ) -> Result<Option<Finding>, Unjudged> {
        let steps = match case.op {
            Op::Sequence => sequence::steps(case, self.features),
            _ => vec![step(case)],
        };
        let ends = unless_killed(group.run(
            steps.clone(),
            first(case),
            patience.silence(case, &self.programs.rank),
            Until::FirstFailure,
        )?)?;
        let mut finding = finding(&ends).map(|finding| group.with_cables(finding));
        if let Some(finding) = &mut finding
            && let Some(at) = failed_step(&ends)
            && steps.len() > 1
        {
            let step = &steps[at];
            finding.detail.push_str(&format!(
                "; in step {at} of the sequence, {:?} of {} bytes of {}",
                step.operation, step.bytes, step.dtype
            ));
        }
        Ok(finding)
    }

    fn init(&self, case: &Case, patience: Patience) -> Result<Option<Finding>, Unjudged> {
        for _ in 0..JOININGS {
            let group = match self.join(case.setting, patience)? {
                Ok(group) => group,
                Err(finding) => return Ok(Some(finding)),
            };
            let ends = unless_killed(group.leave(patience.joining())?)?;
            if let Some(mut finding) = finding(&ends) {
                finding.detail.push_str(", while leaving");
                return Ok(Some(finding));
            }
        }
        Ok(None)
    }

    /// A condition passes if jaccl refuses with its own message, on every rank that can
    /// detect it.
    fn condition(&self, case: &Case, patience: Patience) -> Result<Option<Finding>, Unjudged> {
        let mut group = self.start(&Setup::of_case(case))?;
        let finding = self.condition_in(&mut group, case, patience)?;
        Ok(finding.map(|finding| group.with_cables(finding)))
    }

    fn condition_in(
        &self,
        group: &mut Group,
        case: &Case,
        patience: Patience,
    ) -> Result<Option<Finding>, Unjudged> {
        let joined = unless_killed(group.joined(patience.joining(), Until::All)?)?;
        match case.op {
            // A build that posts receives while joining (tuned) is refused there. The other
            // ranks have posted theirs.
            Op::FailedWire if finding(&joined).is_some() && group.has_posted_receives() => {
                Ok(refusals(&joined, 0..1))
            }
            Op::NonNeighbour
            | Op::FailedSend
            | Op::FailedWire
            | Op::UnequalFrames
            | Op::SendFirst => {
                if let Some(finding) = finding(&joined) {
                    return Ok(Some(while_joining(finding)));
                }
                self.message_condition(group, case, patience)
            }
            Op::NoDevices | Op::NoLibrary => {
                let refused = refusals(&joined, 0..case.setting.ranks);
                let said = match group.available().get(&AFFLICTED) {
                    Some(false) => return Ok(refused),
                    Some(true) => "was told by jaccl that RDMA is available",
                    None => "did not say whether RDMA is available",
                };
                let detail = format!("rank {AFFLICTED} {said}");
                Ok(refused.or_else(|| Some(Finding::new(Verdict::Wrong, detail))))
            }
            Op::BadRank => Ok(refusals(&joined, 0..1)),
            Op::MissingDevice | Op::MissingGid => Ok(refusals(&joined, 0..case.setting.ranks)
                .or_else(|| unnamed_cause(&joined, case.op))),
            _ => Ok(refusals(&joined, 0..case.setting.ranks)),
        }
    }

    fn message_condition(
        &self,
        group: &mut Group,
        case: &Case,
        patience: Patience,
    ) -> Result<Option<Finding>, Unjudged> {
        let Direction::Pair { from, to } = case.direction else {
            unreachable!("a condition of a message has a direction");
        };
        let limit = patience.silence(case, &self.programs.rank);
        let whole = Step {
            bytes: CONDITION_BYTES,
            ..step(case)
        };
        match case.op {
            Op::UnequalFrames => {
                let shorter = CONDITION_BYTES / 8;
                let bytes = |rank| if rank == from { shorter } else { whole.bytes };
                let unequal = |rank| Step {
                    bytes: bytes(rank),
                    ..whole
                };
                let ends = unless_killed(group.run_apart(unequal, limit)?)?;
                return Ok(refusals(&ends, [to]));
            }
            Op::SendFirst => {
                let other = |rank| if rank == from { to } else { from };
                let operation = |from| Operation::Send {
                    from,
                    to: other(from),
                };
                let sends = |rank| Step {
                    operation: operation(rank),
                    ..whole
                };
                let ends = unless_killed(group.run_apart(sends, limit)?)?;
                return Ok(unless_all_wait(&ends));
            }
            _ => {}
        }
        let steps = vec![whole];
        if case.op == Op::NonNeighbour {
            let ends = unless_killed(group.run(steps, None, limit, Until::All)?)?;
            return Ok(refusals(&ends, [from, to]));
        }
        // Over an unreliable connection the receiver cannot detect it.
        let ends = unless_killed(group.run(steps, None, limit, Until::FirstFailure)?)?;
        Ok(refusals(&ends, [from]))
    }
}

pub(crate) fn while_joining(mut finding: Finding) -> Finding {
    finding.detail.push_str(", while joining");
    finding
}

/// The request to jaccl in a case that is one operation.
fn step(case: &Case) -> Step {
    let operation = match (case.op, case.direction) {
        (Op::AllSum, _) => Operation::AllReduce(Reduction::Sum),
        (Op::AllMax, _) => Operation::AllReduce(Reduction::Max),
        (Op::AllMin, _) => Operation::AllReduce(Reduction::Min),
        (Op::AllGather, _) => Operation::AllGather,
        (Op::SumScatter, _) => Operation::SumScatter,
        (_, Direction::Pair { from, to }) => Operation::Send { from, to },
        (_, Direction::All) => Operation::Barrier,
    };
    Step {
        operation,
        bytes: case.bytes,
        dtype: case.dtype,
        in_place: case.in_place,
        salt: 0,
    }
}

/// The rank that begins.
fn first(case: &Case) -> Option<usize> {
    match (case.op, case.direction) {
        (Op::Send, Direction::Pair { from, .. }) => Some(from),
        (Op::Recv, Direction::Pair { to, .. }) => Some(to),
        _ => None,
    }
}

fn failed_step(ends: &Ends) -> Option<usize> {
    ends.values().find_map(|end| match end {
        End::Report(Report::Wrong { step, .. } | Report::Overrun { step, .. }) => Some(*step),
        End::Report(Report::Error { step, .. }) => *step,
        _ => None,
    })
}

/// The finding if the rank with the fault does not name its cause: a user cannot act on
/// "errno 22".
fn unnamed_cause(ends: &Ends, condition: Op) -> Option<Finding> {
    let cause = match condition {
        Op::MissingGid => "GID",
        _ => "device",
    };
    match &ends[&AFFLICTED] {
        End::Report(Report::Error { message, .. }) if !message.contains(cause) => {
            Some(Finding::new(
                Verdict::Error,
                format!("rank {AFFLICTED} got an error that does not name the {cause}: {message}"),
            ))
        }
        _ => None,
    }
}

/// The finding if a rank did not wait without end, in jaccl.
fn unless_all_wait(ends: &Ends) -> Option<Finding> {
    ends.iter().find_map(|(rank, end)| {
        let (verdict, what) = match end {
            End::Waits(_) => return None,
            End::Abandoned => (Verdict::Hang, "has no processor to itself".to_owned()),
            End::Died { how, .. } => (Verdict::Crash, how.clone()),
            End::Report(Report::Error { message, .. }) => (Verdict::Error, message.clone()),
            End::Report(_) => (
                Verdict::Wrong,
                "sent what no rank has posted a receive for".to_owned(),
            ),
        };
        Some(Finding::new(verdict, format!("rank {rank}: {what}")))
    })
}

/// The finding if one of the ranks did not refuse with jaccl's own message.
pub(crate) fn refusals(ends: &Ends, ranks: impl IntoIterator<Item = usize>) -> Option<Finding> {
    ranks.into_iter().find_map(|rank| match &ends[&rank] {
        End::Report(Report::Error { message, .. }) if message.starts_with("[jaccl]") => None,
        End::Report(Report::Error { message, .. }) => Some(Finding::new(
            Verdict::Error,
            format!("rank {rank} got an error that is not jaccl's own: {message}"),
        )),
        End::Died { how, .. } => Some(Finding::new(Verdict::Crash, format!("rank {rank} {how}"))),
        End::Waits(_) | End::Abandoned => Some(Finding::new(Verdict::Hang, standing(ends))),
        End::Report(_) => Some(Finding::new(
            Verdict::Wrong,
            format!("rank {rank} reported success where there was none"),
        )),
    })
}
