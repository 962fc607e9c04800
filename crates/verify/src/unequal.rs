//! Ranks that call the same operation with unequal lengths.

use jaccl::{Dtype, Operation, Report, Step};

use crate::{
    attempt::{Bench, Patience, Unjudged, refusals, unless_killed},
    case::{Case, Frames},
    group::{End, Ends, standing},
    loss::silence_after_loss,
    setup::{AFFLICTED, Setup},
    verdict::{Finding, Verdict},
};

/// The length on all ranks but one. Neither it nor the other lengths, in parts for two to
/// four ranks, have equally many frames of 4 KiB: then no rank waits, and the data are wrong.
const BYTES: usize = 100_000;

/// The lengths on that one. If it is the longer one, the others are the shorter ones.
const OTHERS: [usize; 2] = [0, 2 * BYTES];

impl Bench<'_> {
    /// Runs every operation of the case with another length on one rank, each time in ranks
    /// of its own. Returns the first finding.
    ///
    /// # Errors
    /// As for [`Bench::alone`].
    pub(crate) fn disagree(
        &self,
        case: &Case,
        patience: Patience,
    ) -> Result<Option<Finding>, Unjudged> {
        for operation in self.operations(case) {
            for other in OTHERS {
                if let Some(mut finding) = self.disagree_in(case, operation, other, patience)? {
                    let what =
                        format!("{operation:?} of {BYTES} bytes, and of {other} on one rank: ");
                    finding.detail.insert_str(0, &what);
                    return Ok(Some(finding));
                }
            }
        }
        Ok(None)
    }

    fn disagree_in(
        &self,
        case: &Case,
        operation: Operation,
        other: usize,
        patience: Patience,
    ) -> Result<Option<Finding>, Unjudged> {
        let mut group = self.start(&Setup::of_case(case))?;
        if let Some(finding) = self.joined(&mut group, patience)? {
            return Ok(Some(finding));
        }
        let step = |rank| Step {
            operation,
            bytes: if rank == AFFLICTED { other } else { BYTES },
            dtype: Dtype::UInt8,
            in_place: false,
            salt: 0,
        };
        let ends = unless_killed(group.run_apart(step, silence_after_loss(patience))?)?;
        Ok(judge(case, other, &ends).map(|finding| group.with_cables(finding)))
    }
}

/// The finding if a rank waits, or no rank is told. The rank that expects less may return
/// with wrong data before another one finds it out.
fn judge(case: &Case, other: usize, ends: &Ends) -> Option<Finding> {
    let waits = |end: &End| matches!(end, End::Waits(_) | End::Abandoned);
    if ends.values().any(waits) {
        return Some(Finding::new(Verdict::Hang, standing(ends)));
    }
    let returned = |end: &End| {
        matches!(
            end,
            End::Report(Report::Passed { .. } | Report::Wrong { .. })
        )
    };
    let refused: Vec<usize> = ends
        .iter()
        .filter(|(_, end)| !returned(end))
        .map(|(rank, _)| *rank)
        .collect();
    if refused.is_empty() {
        let detail = format!("no rank was told: {}", standing(ends));
        return Some(Finding::new(Verdict::Wrong, detail));
    }
    // Big frames of unequal number fail by themselves, before any rank has waited.
    let lengths = [BYTES, other].map(|bytes| format!(" {bytes} bytes"));
    let named = refused.iter().any(|rank| match &ends[rank] {
        End::Report(Report::Error { message, .. }) => {
            lengths.iter().all(|length| message.contains(length))
        }
        _ => false,
    });
    refusals(ends, refused).or_else(|| {
        (!named && case.setting.frames == Frames::Small).then(|| {
            let detail = format!("no error names both lengths: {}", standing(ends));
            Finding::new(Verdict::Error, detail)
        })
    })
}
