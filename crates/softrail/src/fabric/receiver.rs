use rail_matrix::ReceiverNotReady;

use super::Time;

/// What the receiver does with the frame at the head of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet: it is still on its way, or waits for a receive.
    Pending,
    /// It goes into the oldest posted receive, and did so at this time.
    Deliver(Time),
    /// It is lost, unnoticed.
    Drop,
    /// It is lost, and the sender is told.
    Refuse,
}

/// Decides at `now` about a frame that arrives at `arrives`, when the oldest
/// unused receive was posted at `posted` (`None`: there is none).
///
/// The answer is the one hardware would have given at the frame's arrival,
/// however late anyone asks.
pub fn decide(
    policy: ReceiverNotReady,
    now: Time,
    arrives: Time,
    posted: Option<Time>,
) -> Decision {
    if arrives > now {
        return Decision::Pending;
    }
    match (posted, policy) {
        (Some(posted), _) if posted <= arrives => Decision::Deliver(arrives),
        (Some(posted), ReceiverNotReady::Wait) => Decision::Deliver(posted),
        (None, ReceiverNotReady::Wait) => Decision::Pending,
        (_, ReceiverNotReady::Drop) => Decision::Drop,
        (_, ReceiverNotReady::Error) => Decision::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn a_frame_on_its_way_is_pending_under_every_policy() {
        for policy in [
            ReceiverNotReady::Wait,
            ReceiverNotReady::Drop,
            ReceiverNotReady::Error,
        ] {
            assert_eq!(
                decide(policy, at(9), at(10), Some(at(0))),
                Decision::Pending
            );
            assert_eq!(
                decide(policy, at(10), at(10), Some(at(10))),
                Decision::Deliver(at(10))
            );
        }
    }

    #[test]
    fn a_receive_posted_too_late_decides_by_policy_however_late_anyone_looks() {
        let late = Some(at(11));
        for now in [at(11), at(1000)] {
            assert_eq!(
                decide(ReceiverNotReady::Wait, now, at(10), late),
                Decision::Deliver(at(11))
            );
            assert_eq!(
                decide(ReceiverNotReady::Drop, now, at(10), late),
                Decision::Drop
            );
            assert_eq!(
                decide(ReceiverNotReady::Error, now, at(10), late),
                Decision::Refuse
            );
        }
    }

    #[test]
    fn without_a_receive_only_waiting_waits() {
        assert_eq!(
            decide(ReceiverNotReady::Wait, at(10), at(10), None),
            Decision::Pending
        );
        assert_eq!(
            decide(ReceiverNotReady::Drop, at(10), at(10), None),
            Decision::Drop
        );
        assert_eq!(
            decide(ReceiverNotReady::Error, at(10), at(10), None),
            Decision::Refuse
        );
    }
}
