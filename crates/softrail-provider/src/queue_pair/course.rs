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
    /// It leaves and does not arrive.
    Lost,
}

impl QueuePair {
    /// What becomes of the message that is posted now. To be asked once for each.
    pub(super) fn course(&self) -> Course {
        match self.own_end().injections.next(self.ordinal) {
            None => Course::Late(Duration::ZERO),
            Some(MessageFault::Delay(by)) => Course::Late(by),
            Some(MessageFault::Drop) => Course::Lost,
        }
    }

    /// How much later than it would a message on this course arrives, if it does at all
    /// when it leaves now.
    pub(super) fn delay(&self, course: Course) -> Option<Duration> {
        match course {
            Course::Late(by) if self.is_whole() => Some(by),
            _ => None,
        }
    }

    /// Whether the cable carries to the other end what leaves now.
    pub(super) fn is_whole(&self) -> bool {
        self.own_end().condition.reaches(&self.peer_end().condition)
    }

    /// After how long a message that misses the other end is sent again, if it is.
    pub(super) fn resends(&self, state: &State) -> Option<Duration> {
        let is_known = matches!(state.peer, Some(Peer::Number(_)));
        self.resend(state).filter(|_| is_known)
    }

    /// The next time from `now` on at which a message is sent again whose first try was
    /// then. Nothing after the last try.
    pub(super) fn next_try(&self, state: &State, first: Time, now: Time) -> Option<Time> {
        let every = self.resend(state)?;
        let tries = (now - first).as_nanos().div_ceil(every.as_nanos().max(1));
        let tries = u32::try_from(tries.max(1)).unwrap_or(u32::MAX);
        let next = first + every.saturating_mul(tries);
        // Of the patience, the last part is for the answer to the last try.
        let last = state
            .patience
            .answer
            .map(|answer| first + answer.saturating_sub(every));
        last.is_none_or(|last| next <= last).then_some(next)
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
