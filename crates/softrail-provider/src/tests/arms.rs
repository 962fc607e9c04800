//! One test body with two arms: queue pairs in virtual time, and the C interface in real
//! time. Both must behave the same.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use proptest::{prelude::*, test_runner::Config};
use rig::{Link, ReceiverNotReady, Rules};

use super::*;
use crate::simulation::{self, Pair, Simulation, Transport};
use softrail::{
    fabric::{Message, Operation, Remote, Time, serialisation},
    shm::Side,
};

/// Fast enough for a test, and slow enough to tell times apart.
const LINK: Link = Link {
    bytes_per_second: 100_000_000,
    latency: Duration::from_micros(200),
};

/// The longest message.
const MOST: u64 = 256 * 1024;

/// An end of a connection.
type At = (usize, Side);

/// A completion, and how long after the beginning it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Completed {
    end: At,
    is_receive: bool,
    succeeded: bool,
    bytes: u64,
    at: Duration,
}

/// Connections over one cable, each with as many receives and sends as are needed.
trait Arm {
    fn now(&self) -> Duration;
    fn send(&mut self, end: At, message: Message);
    fn receive(&mut self, end: At);
    /// Lets time pass in which no side looks.
    fn rest(&mut self, time: Duration);
    /// Waits for the next completion. There must be one.
    fn next(&mut self) -> Completed;
}

struct Virtual {
    simulation: Simulation,
    connections: Vec<[Pair; 2]>,
    /// The completions from a time in which no side looked.
    found: VecDeque<simulation::Completion>,
}

impl Virtual {
    fn new(link: Link, reliable: &[bool], receiver_not_ready: ReceiverNotReady) -> Self {
        let rules = Rules {
            receiver_not_ready,
            ..Rules::rdma()
        };
        let mut simulation = Simulation::new(rules, link, 1);
        let connect = |is_reliable: &bool| {
            let transport = match is_reliable {
                true => Transport::Reliable,
                false => Transport::Unreliable,
            };
            simulation.connect(0, transport)
        };
        let connections = reliable.iter().map(connect).collect();
        Virtual {
            simulation,
            connections,
            found: VecDeque::new(),
        }
    }

    fn pair(&self, (connection, side): At) -> Pair {
        self.connections[connection][side.index()]
    }
}

impl Arm for Virtual {
    fn now(&self) -> Duration {
        self.simulation.now() - Time::ZERO
    }

    fn send(&mut self, end: At, message: Message) {
        self.simulation.send(self.pair(end), message);
    }

    fn receive(&mut self, end: At) {
        self.simulation.receive(self.pair(end), MOST);
    }

    fn rest(&mut self, time: Duration) {
        let until = self.simulation.now() + time;
        self.found.extend(self.simulation.sleep_until(until));
    }

    fn next(&mut self) -> Completed {
        let found = self.found.pop_front();
        let completion = found.or_else(|| self.simulation.step());
        let completion = completion.expect("something completes");
        let all = || (0..self.connections.len()).flat_map(|n| Side::BOTH.map(|side| (n, side)));
        let is_it = |end: &At| self.pair(*end) == completion.pair;
        Completed {
            end: all().find(is_it).expect("it is one of ours"),
            is_receive: completion.is_receive,
            succeeded: completion.status == ibv::IBV_WC_SUCCESS,
            bytes: completion.bytes,
            at: completion.at - Time::ZERO,
        }
    }
}

struct Real {
    begun: Instant,
    clients: Vec<[Client; 2]>,
    // The folder and the fabric outlive the clients.
    _fabric: (Fabric, tempfile::TempDir),
}

impl Real {
    fn new(link: Link, reliable: &[bool], receiver_not_ready: ReceiverNotReady) -> Self {
        let mut rig = Rig::embedded().with_rules(Rules {
            receiver_not_ready,
            ..Rules::rdma()
        });
        rig.cables[0].link = link;
        let parent = tempfile::tempdir().expect("a temporary folder");
        let fabric = Fabric::create(parent.path(), &rig).expect("a fabric");
        let connect = |is_reliable: &bool| {
            let wanted = Wanted {
                kind: if *is_reliable {
                    ibv::IBV_QPT_RC
                } else {
                    ibv::IBV_QPT_UC
                },
                memory: MOST as usize,
                requests: 128,
            };
            let clients = ["a", "b"].map(|node| Client::of(fabric.path(), node, 0, wanted));
            clients[0].connect(&clients[1]);
            clients[1].connect(&clients[0]);
            clients
        };
        Real {
            begun: Instant::now(),
            clients: reliable.iter().map(connect).collect(),
            _fabric: (fabric, parent),
        }
    }

    fn client(&self, (connection, side): At) -> &Client {
        &self.clients[connection][side.index()]
    }
}

impl Arm for Real {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn send(&mut self, end: At, message: Message) {
        let (client, peer) = (self.client(end), self.client((end.0, end.1.opposite())));
        let opcode = match message.operation {
            Operation::Send => ibv::IBV_WR_SEND,
            Operation::Write(_) => ibv::IBV_WR_RDMA_WRITE,
            Operation::Read(_) => ibv::IBV_WR_RDMA_READ,
        };
        let local = client.first(message.bytes as u32);
        // The completion of a send does not contain its length.
        let errno = client.post_send(message.bytes, opcode, local, peer.entry(), 0);
        assert_eq!(errno, 0);
    }

    fn receive(&mut self, end: At) {
        let client = self.client(end);
        assert_eq!(client.post_receive(0, client.entry()), 0);
    }

    fn rest(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn next(&mut self) -> Completed {
        let given_up = Instant::now() + Duration::from_secs(30);
        loop {
            for (connection, clients) in self.clients.iter().enumerate() {
                for side in Side::BOTH {
                    let Some(completion) = clients[side.index()].poll() else {
                        continue;
                    };
                    let is_receive = completion.opcode & ibv::IBV_WC_RECV != 0;
                    return Completed {
                        end: (connection, side),
                        is_receive,
                        succeeded: completion.status == ibv::IBV_WC_SUCCESS,
                        bytes: match is_receive {
                            true => u64::from(completion.byte_len),
                            false => completion.wr_id,
                        },
                        at: self.now(),
                    };
                }
            }
            assert!(Instant::now() < given_up, "nothing completes");
        }
    }
}

/// Runs a test on both arms, with a connection for each of `reliable`.
fn on_both(link: Link, reliable: &[bool], policy: ReceiverNotReady, body: impl Fn(&mut dyn Arm)) {
    eprintln!("in virtual time:");
    body(&mut Virtual::new(link, reliable, policy));
    eprintln!("in real time:");
    body(&mut Real::new(link, reliable, policy));
}

fn write(bytes: u64) -> Message {
    Message {
        operation: Operation::Write(Remote::default()),
        ..Message::send(bytes)
    }
}

fn read(bytes: u64) -> Message {
    Message {
        operation: Operation::Read(Remote::default()),
        ..Message::send(bytes)
    }
}

/// The shortest time of a message: that of its own bytes and the latency.
fn least(bytes: u64) -> Duration {
    serialisation(&LINK, bytes) + LINK.latency
}

/// Posts everything, each receive before or after its message, and checks the
/// completions.
fn exchange(arm: &mut dyn Arm, posts: &[(At, Message, bool)]) {
    let mut sent: HashMap<At, Vec<(Duration, Message)>> = HashMap::new();
    let mut late = Vec::new();
    for &(end, message, is_ready) in posts {
        let other = (end.0, end.1.opposite());
        if message.uses_receive() {
            match is_ready {
                true => arm.receive(other),
                false => late.push(other),
            }
        }
        sent.entry(end).or_default().push((arm.now(), message));
        arm.send(end, message);
    }
    late.into_iter().for_each(|end| arm.receive(end));

    let receives = posts
        .iter()
        .filter(|(_, message, _)| message.uses_receive());
    let mut completed: HashMap<(At, bool), Vec<Completed>> = HashMap::new();
    for _ in 0..posts.len() + receives.count() {
        let it = arm.next();
        assert!(it.succeeded, "{it:?}");
        completed
            .entry((it.end, it.is_receive))
            .or_default()
            .push(it);
    }
    for (end, sent) in sent {
        let other = (end.0, end.1.opposite());
        let took = |it: &Completed| it.bytes;
        let lengths: Vec<_> = sent.iter().map(|(_, message)| message.bytes).collect();
        let ended: Vec<_> = completed[&(end, false)].iter().map(took).collect();
        assert_eq!(ended, lengths, "every message ends once, in order");
        let owed = sent.iter().filter(|(_, message)| message.uses_receive());
        let received = completed.remove(&(other, true)).unwrap_or_default();
        assert_eq!(owed.clone().count(), received.len());
        for ((posted, message), received) in owed.zip(received) {
            assert_eq!(received.bytes, message.bytes, "in order");
            assert!(
                received.at >= *posted + least(message.bytes),
                "{received:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(Config::with_cases(12))]

    #[test]
    fn nothing_is_lost_reordered_or_early(
        (reliable, posts) in prop::collection::vec(any::<bool>(), 1..4).prop_flat_map(|reliable| {
            let kinds = reliable.clone();
            let post = (0..reliable.len(), any::<bool>(), 0..3, 0..MOST / 8, any::<bool>());
            let post = post.prop_map(move |(connection, is_first, kind, bytes, is_ready)| {
                let side = if is_first { Side::First } else { Side::Second };
                let message = match kind {
                    1 => write(bytes),
                    2 if kinds[connection] => read(bytes),
                    _ => Message::send(bytes),
                };
                ((connection, side), message, is_ready)
            });
            (Just(reliable), prop::collection::vec(post, 1..60))
        })
    ) {
        on_both(LINK, &reliable, ReceiverNotReady::Wait, |arm| exchange(arm, &posts));
    }
}

#[test]
fn who_is_not_ready_is_waited_for_or_loses_the_message() {
    for (policy, is_reliable) in [
        (ReceiverNotReady::Wait, false),
        (ReceiverNotReady::Wait, true),
        (ReceiverNotReady::Drop, false),
    ] {
        on_both(LINK, &[is_reliable], policy, |arm| {
            let (from, to) = ((0, Side::First), (0, Side::Second));
            arm.send(from, Message::send(100));
            arm.rest(10 * LINK.latency);
            arm.receive(to);
            arm.send(from, Message::send(200));
            let mut lengths = vec![];
            while lengths.is_empty() {
                let it = arm.next();
                assert!(it.succeeded, "{it:?}");
                lengths.extend(it.is_receive.then_some(it.bytes));
            }
            let waits = policy == ReceiverNotReady::Wait;
            assert_eq!(lengths, [if waits { 100 } else { 200 }]);
        });
    }
}

#[test]
fn an_unreliable_sender_is_told_of_a_receiver_that_refuses() {
    on_both(LINK, &[false], ReceiverNotReady::Error, |arm| {
        arm.send((0, Side::First), Message::send(100));
        let it = arm.next();
        assert!(!it.is_receive && !it.succeeded, "{it:?}");
    });
}
