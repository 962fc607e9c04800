//! Properties of cables that hold whatever is sent over them, in virtual time.

use std::{collections::HashMap, time::Duration};

use proptest::{prelude::*, test_runner::Config};
use rig::{Link, ReceiverNotReady, Rules};
use softrail::{
    fabric::{Message, Operation, QUEUE_BYTES, Remote, Time, serialisation},
    shm::Side,
};

use crate::{
    bindings as ibv,
    simulation::{Completion, Pair, Simulation, Transport},
};

/// A step of a run: some time passes, and then one end of a connection does something.
#[derive(Debug, Clone, Copy)]
struct Step {
    nanos: u64,
    connection: usize,
    side: Side,
    act: Act,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Post(Message),
    Receive,
}

fn messages(transport: Transport) -> impl Strategy<Value = Message> {
    let operations = match transport {
        Transport::Reliable => 3,
        Transport::Unreliable => 2,
    };
    (0..=QUEUE_BYTES / 8, 0..operations, any::<bool>()).prop_map(|(bytes, operation, immediate)| {
        let remote = Remote::default();
        let (operation, immediate) = match operation {
            0 => (Operation::Send, immediate),
            1 => (Operation::Write(remote), immediate),
            _ => (Operation::Read(remote), false),
        };
        Message {
            operation,
            immediate: immediate.then_some(7),
            ..Message::send(bytes)
        }
    })
}

fn transports() -> impl Strategy<Value = Transport> {
    prop::sample::select(&[Transport::Unreliable, Transport::Reliable][..])
}

/// The transports of the connections, and the steps.
fn runs() -> impl Strategy<Value = (Vec<Transport>, Vec<Step>)> {
    prop::collection::vec(transports(), 1..5).prop_flat_map(|connections| {
        let step = (
            0..3_000_000_u64,
            0..connections.len(),
            prop::sample::select(&Side::BOTH[..]),
        );
        let transports = connections.clone();
        let step = step.prop_flat_map(move |(nanos, connection, side)| {
            let post = messages(transports[connection]).prop_map(Act::Post);
            prop_oneof![post, Just(Act::Receive)].prop_map(move |act| Step {
                nanos,
                connection,
                side,
                act,
            })
        });
        (Just(connections), prop::collection::vec(step, 1..150))
    })
}

fn links() -> impl Strategy<Value = Link> {
    (1_000_000..5_000_000_000_u64, 0..1_000_u64).prop_map(|(bytes_per_second, micros)| Link {
        bytes_per_second,
        latency: Duration::from_micros(micros),
    })
}

/// The messages posted, and their completions.
struct Outcome {
    simulation: Simulation,
    posted: HashMap<Pair, Vec<(Time, Message)>>,
    completions: Vec<Completion>,
}

impl Outcome {
    /// What a queue pair received, or what became of its sends, in order.
    fn of(&self, pair: Pair, are_receives: bool) -> impl Iterator<Item = &Completion> {
        let its = self.completions.iter();
        its.filter(move |it| it.pair == pair && it.is_receive == are_receives)
    }

    /// The lengths of the messages that succeeded, in order.
    fn lengths(&self, pair: Pair, are_receives: bool) -> Vec<u64> {
        let its = self.of(pair, are_receives);
        its.filter(|it| it.status == ibv::IBV_WC_SUCCESS)
            .map(|it| it.bytes)
            .collect()
    }

    /// The lengths of the posted messages that use up a receive.
    fn owed(&self, pair: Pair) -> Vec<u64> {
        let posted = self.posted.get(&pair).into_iter().flatten();
        let owed = posted.filter(|(_, message)| message.uses_receive());
        owed.map(|(_, message)| message.bytes).collect()
    }
}

/// One cable between devices that have all that InfiniBand has.
fn cable(link: Link, receiver_not_ready: ReceiverNotReady) -> Simulation {
    let rules = Rules {
        receiver_not_ready,
        ..Rules::rdma()
    };
    Simulation::new(rules, link, 1)
}

/// Runs the steps. Receives are then posted until no message is left.
fn run(
    (connections, steps): &(Vec<Transport>, Vec<Step>),
    link: Link,
    policy: ReceiverNotReady,
) -> (Vec<[Pair; 2]>, Outcome) {
    let mut simulation = cable(link, policy);
    let pairs: Vec<_> = connections
        .iter()
        .map(|transport| simulation.connect(0, *transport))
        .collect();
    let mut posted: HashMap<Pair, Vec<_>> = HashMap::new();
    let mut completions = Vec::new();
    let mut now = Time::ZERO;
    for step in steps {
        now = now + Duration::from_nanos(step.nanos);
        completions.extend(simulation.run_until(now));
        let pair = pairs[step.connection][step.side.index()];
        match step.act {
            Act::Receive => simulation.receive(pair, QUEUE_BYTES),
            Act::Post(message) => {
                posted.entry(pair).or_default().push((now, message));
                simulation.send(pair, message);
            }
        }
    }
    for _ in steps {
        for pair in pairs.iter().flatten() {
            simulation.receive(*pair, QUEUE_BYTES);
        }
    }
    completions.extend(std::iter::from_fn(|| simulation.step()));
    let outcome = Outcome {
        simulation,
        posted,
        completions,
    };
    (pairs, outcome)
}

proptest! {
    #![proptest_config(Config::with_cases(64))]

    #[test]
    fn waiting_delivers_everything_once_and_in_order(run_of in runs(), link in links()) {
        let (pairs, outcome) = run(&run_of, link, ReceiverNotReady::Wait);
        for [first, second] in pairs {
            for (from, to) in [(first, second), (second, first)] {
                prop_assert_eq!(outcome.lengths(to, true), outcome.owed(from));
                let posted = outcome.posted.get(&from).into_iter().flatten();
                let sent: Vec<_> = posted.map(|(_, message)| message.bytes).collect();
                let ended = outcome.lengths(from, false);
                prop_assert_eq!(ended, sent);
            }
        }
    }

    /// Every byte is carried once; the bytes of reads are carried on the way back.
    #[test]
    fn a_cable_carries_what_was_sent_and_nothing_else(run_of in runs(), link in links()) {
        let (_, outcome) = run(&run_of, link, ReceiverNotReady::Wait);
        let mut carried = [0; 2];
        for step in &run_of.1 {
            if let Act::Post(message) = step.act {
                let back = matches!(message.operation, Operation::Read(_));
                let from = if back { step.side.opposite() } else { step.side };
                carried[from.index()] += message.bytes;
            }
        }
        prop_assert_eq!(Side::BOTH.map(|side| outcome.simulation.bytes(0, side)), carried);
    }

    /// Where receivers are not waited for, a sender that is told of it fails, and with it
    /// all that it sends later. A sender whose peer has failed may wait without end.
    #[test]
    fn what_is_lost_is_lost_in_order_and_nothing_stops(
        run_of in runs(),
        link in links(),
        drops in any::<bool>(),
    ) {
        let policy = if drops { ReceiverNotReady::Drop } else { ReceiverNotReady::Error };
        let (pairs, outcome) = run(&run_of, link, policy);
        for (transport, [first, second]) in run_of.0.iter().zip(pairs) {
            let is_told = *transport == Transport::Reliable || !drops;
            for (from, to) in [(first, second), (second, first)] {
                let owed = outcome.owed(from);
                let mut rest = owed.iter();
                let received = outcome.lengths(to, true);
                prop_assert!(received.iter().all(|bytes| rest.any(|owed| owed == bytes)));
                let ended: Vec<_> = outcome.of(from, false).map(|it| it.status).collect();
                let posted = outcome.posted.get(&from).map_or(0, Vec::len);
                let has_failed = |end| outcome.of(end, false).any(|it| it.status != ibv::IBV_WC_SUCCESS);
                prop_assert!(ended.len() == posted || is_told && has_failed(to));
                let mut failures = ended.into_iter().skip_while(|status| *status == ibv::IBV_WC_SUCCESS);
                if let Some(why) = failures.next() {
                    let reasons = [ibv::IBV_WC_RNR_RETRY_EXC_ERR, ibv::IBV_WC_RETRY_EXC_ERR];
                    prop_assert!(is_told && reasons.contains(&why));
                    // The receiver may have taken what was under way.
                    let may_follow = [ibv::IBV_WC_WR_FLUSH_ERR, ibv::IBV_WC_SUCCESS];
                    prop_assert!(failures.all(|status| may_follow.contains(&status)));
                }
            }
        }
    }

    #[test]
    fn nothing_arrives_before_its_bytes_and_the_latency(run_of in runs(), link in links()) {
        let (pairs, outcome) = run(&run_of, link, ReceiverNotReady::Wait);
        for side in Side::BOTH {
            // Whatever became ready last: everything that arrives later had to be carried
            // first.
            let mut arrivals: Vec<_> = outcome
                .completions
                .iter()
                .filter(|it| it.is_receive)
                .filter(|it| pairs.iter().any(|ends| ends[side.index()] == it.pair))
                .collect();
            arrivals.sort_by_key(|it| it.at);
            let mut bytes = 0;
            for it in arrivals {
                bytes += it.bytes;
                prop_assert!(it.at >= Time::ZERO + serialisation(&link, bytes) + link.latency);
            }
        }
        for ends in pairs {
            for (from, to) in [(ends[0], ends[1]), (ends[1], ends[0])] {
                let posted = outcome.posted.get(&from).into_iter().flatten();
                let owed = posted.filter(|(_, message)| message.uses_receive());
                let received = outcome.completions.iter().filter(|it| it.pair == to && it.is_receive);
                for ((posted, message), it) in owed.zip(received) {
                    prop_assert!(it.at >= *posted + serialisation(&link, message.bytes) + link.latency);
                }
            }
        }
    }

    /// Frequent looks do not change what hardware would have done by itself.
    #[test]
    fn a_ready_receiver_has_its_messages_at_line_rate_however_rarely_anybody_looks(
        link in links(),
        lengths in prop::collection::vec(1..=QUEUE_BYTES / 4, 1..60),
        pause in 1..50_000_000_u64,
    ) {
        let mut simulation = cable(link, ReceiverNotReady::Wait);
        let [from, to] = simulation.connect(0, Transport::Unreliable);
        for bytes in &lengths {
            simulation.receive(to, QUEUE_BYTES);
            simulation.send(from, Message::send(*bytes));
        }
        let mut received = Vec::new();
        let mut now = Time::ZERO;
        while received.len() < lengths.len() {
            let completions = simulation.sleep_until(now);
            received.extend(completions.filter(|it| it.is_receive));
            now = now + Duration::from_nanos(pause);
        }
        let serial: Duration = lengths.iter().map(|bytes| serialisation(&link, *bytes)).sum();
        // A full queue waits for credits, which take the latency to come back.
        let total: u64 = lengths.iter().sum();
        let last = received.last().map(|it| it.at);
        if total <= QUEUE_BYTES {
            prop_assert_eq!(last, Some(Time::ZERO + serial + link.latency));
        } else {
            prop_assert!(last >= Some(Time::ZERO + serial + link.latency));
        }
    }
}

/// A rig far larger than the machine: sixteen ranks in a ring, eight cables to each
/// neighbour, an all-reduce of 64 MiB whose chunks are spread over the cables and sent in
/// messages of 512 KiB. Busbw comes within a tenth of the line rate of the eight.
#[test]
fn a_large_ring_all_reduce_reaches_the_line_rate_of_all_cables() {
    const RANKS: usize = 16;
    const CABLES: usize = 8;
    const BYTES: u64 = 64 << 20;
    const MESSAGE: u64 = 512 << 10;
    let link = Link {
        bytes_per_second: 1_000_000_000,
        latency: Duration::from_micros(5),
    };
    let mut simulation = Simulation::new(Rules::rdma(), link, RANKS * CABLES);
    // `wires[rank][k]` goes from a rank to the next one.
    let wires: Vec<Vec<[Pair; 2]>> = (0..RANKS)
        .map(|rank| {
            let cables = (0..CABLES).map(|k| rank * CABLES + k);
            cables
                .map(|cable| simulation.connect(cable, Transport::Unreliable))
                .collect()
        })
        .collect();
    let owner: HashMap<Pair, (usize, usize)> = (0..RANKS)
        .flat_map(|rank| (0..CABLES).map(move |k| (rank, k)))
        .map(|(rank, k)| (wires[rank][k][1], (rank, k)))
        .collect();

    // Each step sends a chunk on. A rank sends its next chunk when it has the data for
    // it.
    let steps = 2 * (RANKS - 1);
    let per_step = BYTES / RANKS as u64 / CABLES as u64 / MESSAGE;
    let mut arrived = vec![[0; CABLES]; RANKS];
    for rank in &wires {
        for [from, to] in rank {
            (0..steps as u64 * per_step).for_each(|_| simulation.receive(*to, MESSAGE));
            (0..per_step).for_each(|_| simulation.send(*from, Message::send(MESSAGE)));
        }
    }
    let mut messages = 0;
    while let Some(completion) = simulation.step() {
        let Some(&(rank, k)) = owner.get(&completion.pair) else {
            continue;
        };
        assert_eq!(completion.status, ibv::IBV_WC_SUCCESS);
        messages += 1;
        arrived[rank][k] += 1;
        let next = (rank + 1) % RANKS;
        if arrived[rank][k] <= (steps as u64 - 1) * per_step {
            simulation.send(wires[next][k][0], Message::send(MESSAGE));
        }
    }
    assert_eq!(messages, (RANKS * CABLES * steps) as u64 * per_step);
    let took = simulation.now() - Time::ZERO;
    let moved = 2.0 * (RANKS as f64 - 1.0) / RANKS as f64 * BYTES as f64;
    let busbw = moved / took.as_secs_f64();
    let line = (CABLES as u64 * link.bytes_per_second) as f64;
    assert!((0.9..=1.0).contains(&(busbw / line)), "{busbw} of {line}");
}
