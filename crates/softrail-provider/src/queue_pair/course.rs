//! Reasons why a message arrives late or not at all.

use std::time::Duration;

use rig::{Crossed, MessageFault};

use super::{Peer, QueuePair, State};
use softrail::fabric::Time;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It arrives this much late; normally zero.
    Late(Duration),
    /// It leaves and never arrives.
    Lost,
}

impl QueuePair {
    /// The course of the message that is posted now. Call it once for each message.
    pub(super) fn course(&self) -> Course {
        match self.own_end().injections.next(self.ordinal) {
            None => Course::Late(Duration::ZERO),
            Some(MessageFault::Delay(by)) => Course::Late(by),
            Some(MessageFault::Drop) => Course::Lost,
        }
    }

    /// The extra delay of a message that leaves now, or `None` if it will be lost.
    pub(super) fn delay(&self, course: Course) -> Option<Duration> {
        match course {
            Course::Late(by) if self.is_whole() => Some(by),
            _ => None,
        }
    }

    /// Whether a message that leaves now reaches the other end.
    pub(super) fn is_whole(&self) -> bool {
        self.own_end().condition.reaches(&self.peer_end().condition)
    }

    /// The interval after which a message that misses the other end is sent again, if it
    /// is.
    pub(super) fn resends(&self, state: &State) -> Option<Duration> {
        let is_known = matches!(state.peer, Some(Peer::Number(_)));
        self.resend(state).filter(|_| is_known)
    }

    /// The next retry from `now` on of a message that was first sent at `first`. `None`
    /// after the last retry.
    pub(super) fn next_try(&self, state: &State, first: Time, now: Time) -> Option<Time> {
        let every = self.resend(state)?;
        let tries = (now - first).as_nanos().div_ceil(every.as_nanos().max(1));
        let tries = u32::try_from(tries.max(1)).unwrap_or(u32::MAX);
        let next = first + every.saturating_mul(tries);
        // The last interval of the time limit is for the answer to the last retry.
        let last = state
            .patience
            .answer
            .map(|answer| first + answer.saturating_sub(every));
        last.is_none_or(|last| next <= last).then_some(next)
    }

    /// The interval after which an unanswered message is sent again, if it is.
    fn resend(&self, state: &State) -> Option<Duration> {
        state.patience.resend.filter(|_| self.is_reliable())
    }

    /// Whether messages to `peer` never leave.
    pub(super) fn is_stalled(&self, peer: Option<Peer>) -> bool {
        matches!(peer, Some(Peer::Unreachable)) && self.device().rules.crossed == Crossed::Stall
    }
}
