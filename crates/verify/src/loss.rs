//! What is lost in the middle of an operation: a rank, a cable, or for a while a rank's
//! processor.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use jaccl::{Dtype, Operation, Reduction, Report, Step};
use launch::{Cancel, Limit};
use rig::{CableFault, Defect, Unplugged};
use softrail::live::{Live, Order};

use crate::{
    attempt::{Bench, Patience, Unjudged, refusals, unless_killed, while_joining},
    case::{Case, Direction, Op},
    group::{Broken, End, Ends, Until, finding},
    setup::{AFFLICTED, Setup},
    verdict::{Finding, Verdict},
};

/// The lengths of an operation in which something is lost, the next one where the loss came
/// too late in the one before. The first takes four tenths of a second over one cable.
const LENGTHS: [usize; 3] = [8 << 20, 32 << 20, 128 << 20];

/// The bytes on all cables after which the loss happens.
const MIDDLE: u64 = 1 << 18;

/// The part of an operation that the cables may have carried when the loss happens. Later, on
/// a machine too busy to break a cable in time, a rank may have had all it needs.
const EARLY: usize = 4;

/// How long a rank is stopped: longer than jaccl needs to notice that a rank is gone.
const FROZEN: Duration = Duration::from_millis(1200);

/// The limit of a rank that shall not wait for a stopped one, in jaccl's words.
const TIMEOUT: (&str, &str) = ("JACCL_TIMEOUT", "0.5");

/// One loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// This rank is killed.
    Death(usize),
    /// The first cable of the first two ranks is pulled.
    Cable,
    /// This rank is stopped for a while.
    Pause(usize),
    /// This rank is stopped, and the others have a limit.
    Limit(usize),
}

impl Bench<'_> {
    /// Loses something in the middle of every operation of the case, each in ranks of its
    /// own. Returns the first finding.
    ///
    /// # Errors
    /// As for [`Bench::alone`].
    pub(crate) fn lose(
        &self,
        case: &Case,
        patience: Patience,
    ) -> Result<Option<Finding>, Unjudged> {
        for operation in self.operations(case) {
            for &loss in losses(case) {
                if let Some(mut finding) = self.lose_in(case, operation, loss, patience)? {
                    let what = format!("{loss:?} in {operation:?}: ");
                    finding.detail.insert_str(0, &what);
                    return Ok(Some(finding));
                }
            }
        }
        Ok(None)
    }

    /// The operations in which something is lost, or goes wrong otherwise.
    pub(crate) fn operations(&self, case: &Case) -> Vec<Operation> {
        match case.direction {
            Direction::Pair { from, to } => vec![Operation::Send { from, to }],
            Direction::All => {
                let mut all = vec![Operation::AllReduce(Reduction::Sum), Operation::AllGather];
                all.extend(self.features.sum_scatter.then_some(Operation::SumScatter));
                all
            }
        }
    }

    fn lose_in(
        &self,
        case: &Case,
        operation: Operation,
        loss: Loss,
        patience: Patience,
    ) -> Result<Option<Finding>, Unjudged> {
        let mut found = None;
        for bytes in LENGTHS {
            let (finding, moved) = self.lose_in_step(
                case,
                loss,
                Step {
                    operation,
                    bytes,
                    dtype: Dtype::UInt8,
                    in_place: false,
                    salt: 0,
                },
                patience,
            )?;
            found = finding;
            let is_late = moved > (bytes / EARLY) as u64;
            let succeeded = |found: &Finding| found.verdict == Verdict::Wrong;
            if !is_late || !found.as_ref().is_some_and(succeeded) {
                break;
            }
        }
        Ok(found)
    }

    /// The finding, and how many bytes the cables had carried when the loss happened.
    fn lose_in_step(
        &self,
        case: &Case,
        loss: Loss,
        step: Step,
        patience: Patience,
    ) -> Result<(Option<Finding>, u64), Unjudged> {
        let mut setup = Setup::of_case(case);
        if let Loss::Limit(_) = loss {
            let (name, value) = TIMEOUT;
            setup.variables.push((name.to_owned(), value.to_owned()));
        }
        let mut group = self.start(&setup)?;
        let joined = unless_killed(group.joined(patience.joining(), Until::All)?)?;
        if let Some(finding) = finding(&joined) {
            return Ok((Some(while_joining(group.with_cables(finding))), 0));
        }
        let cable = setup.first_cable();
        let node = |rank: usize| setup.nodes[rank].as_str();
        let breaks = |live: &Live, cancel: &Cancel| {
            let broken = match loss {
                Loss::Death(rank) => live.order(node(rank), Order::Die),
                Loss::Cable => live.apply(
                    &Defect::Cable {
                        cable: cable.name.clone(),
                        kind: CableFault::Unplugged(Unplugged::Hang),
                    },
                    true,
                ),
                Loss::Pause(rank) => live.order(node(rank), Order::Stop).and_then(|()| {
                    let until = Instant::now() + FROZEN;
                    while Instant::now() < until && !cancel.is_cancelled() {
                        thread::sleep(Duration::from_millis(10));
                    }
                    live.order(node(rank), Order::Continue)
                }),
                Loss::Limit(rank) => live.order(node(rank), Order::Stop),
            };
            // A rank whose process has ended already shows it by how it ended.
            drop(broken);
        };
        let left_out = match loss {
            Loss::Limit(rank) => Some(rank),
            _ => None,
        };
        let limit = silence_after_loss(patience);
        let Broken { ends, times, moved } =
            group.run_broken(step, MIDDLE, breaks, left_out, limit)?;
        if let Loss::Limit(rank) = loss {
            // Its process can be ended only when it runs.
            drop(group.live().order(node(rank), Order::Continue));
        }
        let killed = match loss {
            Loss::Death(rank) => Some(rank),
            _ => None,
        };
        let others: Ends = ends
            .into_iter()
            .filter(|(rank, _)| Some(*rank) != killed && Some(*rank) != left_out)
            .collect();
        let others = unless_killed(others)?;
        let finding = judge(
            case,
            loss,
            &others,
            &cable.ends.clone().map(|end| end.device),
        );
        let finding = finding.map(|mut finding| {
            finding.detail.push_str(&after(&others, &times));
            group.with_cables(finding)
        });
        Ok((finding, moved))
    }
}

/// What is tried for a case. Rank 0 is where the side channel's connections meet, and in a
/// message both ends must learn of the other's death.
fn losses(case: &Case) -> &'static [Loss] {
    match (case.op, case.direction) {
        (Op::DeadPeer, Direction::Pair { .. }) => &[Loss::Death(0), Loss::Death(1)],
        (Op::DeadPeer, Direction::All) => &[Loss::Death(AFFLICTED)],
        (Op::Unplugged, _) => &[Loss::Cable],
        _ => &[Loss::Pause(AFFLICTED), Loss::Limit(AFFLICTED)],
    }
}

/// The limit on silence after a loss. jaccl itself waits half a second, and a second
/// before that if it must find out that a rank called with another length.
pub(crate) fn silence_after_loss(patience: Patience) -> Limit {
    match patience {
        Patience::Short => Duration::from_secs(2).into(),
        Patience::Long => Duration::from_secs(6).into(),
    }
}

/// The finding if a rank that takes part did not end as it must.
fn judge(case: &Case, loss: Loss, ends: &Ends, devices: &[String; 2]) -> Option<Finding> {
    if let Loss::Pause(_) = loss {
        return finding(ends);
    }
    let takes_part = |rank: &usize| match case.direction {
        Direction::All => true,
        Direction::Pair { from, to } => [from, to].contains(rank),
    };
    // A rank that is not at the cable's ends may get all it needs over the others.
    let needs_no_more = |rank: &usize| {
        loss == Loss::Cable && *rank > 1 && matches!(ends[rank], End::Report(Report::Passed { .. }))
    };
    let judged = |rank: &usize| takes_part(rank) && !needs_no_more(rank);
    let ranks: Vec<usize> = ends.keys().copied().filter(judged).collect();
    refusals(ends, ranks.iter().copied()).or_else(|| {
        ranks.into_iter().find_map(|rank| {
            let End::Report(Report::Error { message, .. }) = &ends[&rank] else {
                return None;
            };
            let text = message.to_lowercase();
            let rank_is_named = |lost: usize| text.contains(&format!("rank {lost}"));
            let named = match loss {
                Loss::Death(lost) => rank_is_named(lost),
                // Across a ring of four a rank waits for its neighbours, which wait for
                // the stopped one. A mesh sums long messages in a ring too.
                Loss::Pause(lost) | Loss::Limit(lost) => {
                    let across = case.setting.ranks == 4 && rank.abs_diff(lost) == 2;
                    text.contains(" on rdma_") && (across || rank_is_named(lost))
                }
                Loss::Cable => devices.iter().any(|device| text.contains(device)),
            };
            let detail = format!("rank {rank} got an error that does not name it: {message}");
            (!named).then(|| Finding::new(Verdict::Error, detail))
        })
    })
}

/// When each rank ended, since the loss.
fn after(ends: &Ends, times: &BTreeMap<usize, Duration>) -> String {
    let ended = ends.keys().filter_map(|rank| {
        let time = times.get(rank)?;
        Some(format!(
            "; rank {rank} ended after {:.2} s",
            time.as_secs_f64()
        ))
    });
    ended.collect()
}
