//! What keeps messages from arriving as they should.

use std::time::Duration;

use rail_matrix::{Crossed, MessageFault};

use super::{Peer, QueuePair, State};

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
    pub(super) fn course(&self, state: &State) -> Course {
        let end = self.own_end();
        match end.injections.next(self.ordinal) {
            None => Course::Late(Duration::ZERO),
            Some(MessageFault::Delay(by)) => Course::Late(by),
            Some(MessageFault::Drop) => {
                match state.patience.resend.filter(|_| self.is_reliable()) {
                    // It is sent again, and by then nothing keeps it.
                    Some(after) => {
                        end.tally.count_loss();
                        Course::Late(after)
                    }
                    None => Course::Lost,
                }
            }
        }
    }

    /// How much later than it would a message on this course arrives, if it does at all
    /// when it leaves now.
    pub(super) fn delay(&self, course: Course) -> Option<Duration> {
        let (own, other) = (self.own_end(), self.peer_end());
        match course {
            Course::Late(by) if own.condition.reaches(&other.condition) => Some(by),
            _ => None,
        }
    }

    /// Whether nothing that is sent to `peer` ever leaves.
    pub(super) fn is_stalled(&self, peer: Option<Peer>) -> bool {
        matches!(peer, Some(Peer::Unreachable)) && self.device().crossed == Crossed::Stall
    }
}
