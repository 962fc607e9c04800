//! What keeps messages from arriving as they should.

use std::time::Duration;

use rail_matrix::{Crossed, MessageFault};

use super::{Peer, QueuePair, State};
use softrail::fabric::Time;

/// What becomes of a message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It arrives so much later than it would: usually nothing.
    Late(Duration),
    /// It leaves and does not arrive, and is sent again, to arrive so much later.
    Again(Duration),
    /// It leaves and does not arrive.
    Lost,
}

impl QueuePair {
    /// What becomes of the message that is posted now. To be asked once for each.
    pub(super) fn course(&self, state: &State) -> Course {
        match self.own_end().injections.next(self.ordinal) {
            None => Course::Late(Duration::ZERO),
            Some(MessageFault::Delay(by)) => Course::Late(by),
            Some(MessageFault::Drop) => match self.resend(state) {
                // By then nothing keeps it.
                Some(after) => Course::Again(after),
                None => Course::Lost,
            },
        }
    }

    /// How much later than it would a message on this course arrives, if it does at all
    /// when it leaves now.
    pub(super) fn delay(&self, course: Course) -> Option<Duration> {
        let (own, other) = (self.own_end(), self.peer_end());
        match course {
            Course::Late(by) | Course::Again(by) if own.condition.reaches(&other.condition) => {
                Some(by)
            }
            _ => None,
        }
    }

    /// Whether a message on this course that misses the other end is sent again, for as
    /// long as its sender tries.
    pub(super) fn resends(&self, state: &State, course: Course) -> bool {
        let is_known = matches!(state.peer, Some(Peer::Number(_)));
        is_known && course != Course::Lost && self.resend(state).is_some()
    }

    /// The next time from `now` on at which a message is sent again that was posted then.
    pub(super) fn next_try(&self, state: &State, posted: Time, now: Time) -> Time {
        let Some(every) = self.resend(state) else {
            return now;
        };
        let tries = (now - posted).as_nanos().div_ceil(every.as_nanos().max(1));
        posted + every.saturating_mul(u32::try_from(tries).unwrap_or(u32::MAX))
    }

    /// After how long it sends again what was not answered, if it does.
    fn resend(&self, state: &State) -> Option<Duration> {
        state.patience.resend.filter(|_| self.is_reliable())
    }

    /// Whether nothing that is sent to `peer` ever leaves.
    pub(super) fn is_stalled(&self, peer: Option<Peer>) -> bool {
        matches!(peer, Some(Peer::Unreachable)) && self.device().crossed == Crossed::Stall
    }
}
