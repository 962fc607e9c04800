use rig::ReceiverNotReady;

use super::{Incoming, Time};

/// What the receiver does with the message at the head of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet: the message is still on its way, or waits for a receive.
    Pending,
    /// The message goes into the oldest posted receive, at this time.
    Deliver(Time),
    /// The message is lost and the sender is not notified.
    Drop,
    /// The message is lost and the sender is notified.
    Refuse,
}

/// Decides at `now` about a message. `posted` is the time at which the oldest unused
/// receive was posted, `None` if there is none. Messages for memory need no receive.
///
/// The decision is the one that hardware would have made at the message's arrival,
/// however late this is called.
pub fn decide(
    policy: ReceiverNotReady,
    is_reliable: bool,
    now: Time,
    incoming: &Incoming,
    posted: Option<Time>,
) -> Decision {
    let Incoming {
        message, arrives, ..
    } = *incoming;
    if arrives > now {
        return Decision::Pending;
    }
    if !message.uses_receive() {
        return Decision::Deliver(arrives);
    }
    let policy = match policy {
        _ if message.insists => ReceiverNotReady::Wait,
        // A reliable connection loses no message silently.
        ReceiverNotReady::Drop if is_reliable => ReceiverNotReady::Error,
        policy => policy,
    };
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
    use crate::fabric::{Message, Operation, Remote};

    const POLICIES: [ReceiverNotReady; 3] = [
        ReceiverNotReady::Wait,
        ReceiverNotReady::Drop,
        ReceiverNotReady::Error,
    ];

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// The decision of an unreliable receiver about a message that arrives at 10.
    fn of(message: Message, policy: ReceiverNotReady, now: u64, posted: Option<u64>) -> Decision {
        let incoming = incoming(message);
        decide(policy, false, at(now), &incoming, posted.map(at))
    }

    fn incoming(message: Message) -> Incoming {
        Incoming {
            number: 0,
            offset: 0,
            message,
            arrives: at(10),
        }
    }

    const SEND: Message = Message::send(1);

    #[test]
    fn a_message_on_its_way_is_pending_under_every_policy() {
        for policy in POLICIES {
            assert_eq!(of(SEND, policy, 9, Some(0)), Decision::Pending);
            assert_eq!(of(SEND, policy, 10, Some(10)), Decision::Deliver(at(10)));
        }
    }

    #[test]
    fn a_receive_posted_too_late_decides_by_policy_however_late_anyone_looks() {
        for now in [11, 1000] {
            let decided = POLICIES.map(|policy| of(SEND, policy, now, Some(11)));
            let (wait, drop) = (Decision::Deliver(at(11)), Decision::Drop);
            assert_eq!(decided, [wait, drop, Decision::Refuse]);
        }
    }

    #[test]
    fn without_a_receive_only_waiting_waits() {
        let decided = POLICIES.map(|policy| of(SEND, policy, 10, None));
        let (wait, drop) = (Decision::Pending, Decision::Drop);
        assert_eq!(decided, [wait, drop, Decision::Refuse]);
    }

    #[test]
    fn a_message_for_memory_needs_no_receive_unless_it_brings_immediate_data() {
        let write = Message {
            operation: Operation::Write(Remote::default()),
            ..SEND
        };
        let with_immediate = Message {
            immediate: Some(1),
            ..write
        };
        for policy in POLICIES {
            assert_eq!(of(write, policy, 10, None), Decision::Deliver(at(10)));
            let with_immediate = of(with_immediate, policy, 10, None);
            assert_eq!(with_immediate, of(SEND, policy, 10, None));
        }
    }

    #[test]
    fn a_reliable_connection_refuses_rather_than_drops_and_waits_for_who_insists() {
        let insists = Message {
            insists: true,
            ..SEND
        };
        let decided =
            |message| POLICIES.map(|policy| decide(policy, true, at(10), &incoming(message), None));
        assert_eq!(decided(insists), [Decision::Pending; 3]);
        let refuse = Decision::Refuse;
        assert_eq!(decided(SEND), [Decision::Pending, refuse, refuse]);
    }
}
