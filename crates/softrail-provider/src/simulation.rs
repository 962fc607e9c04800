//! Queue pairs in virtual time: those of the provider, driven by a clock that jumps from
//! one event to the next.
//!
//! A queue pair takes the time as an argument, so nothing here differs from what programs
//! use but the clock. A rig may be far larger than the machine: an event costs O(queue
//! pairs of its cable + log cables), and a message of n frames is n + 2 events or fewer.
//! Bytes are copied as ever, and the cables are files in the folder for temporary files.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use rig::{Link, Rules};
use softrail::{
    Fabric,
    config::{self, Device},
    fabric::{Message, Operation, QUEUE_BYTES, Remote, Time},
    shm::{SharedCable, Side},
};

use crate::{
    bindings as ibv,
    completions::Completions,
    events::AsyncEvents,
    memory::{Memory, Region, Regions},
    queue_pair::{Limits, Parts, Patience, Peer, Phase, QueuePair},
    work::{Payload, Pieces, ReceiveRequest, SendRequest},
};

pub use crate::queue_pair::Transport;

/// Bytes a second over one cable for a program that has so many messages of `bytes` sent,
/// and so many receives posted, and posts the next of each when one has completed: jaccl
/// has two (`RingImpl::send` and `recv`).
///
/// # Panics
/// As for [`Simulation::new`].
pub fn window(rules: Rules, link: Link, outstanding: u64, bytes: u64) -> f64 {
    const MESSAGES: u64 = 4000;
    let mut simulation = Simulation::new(rules, link, 1);
    let [from, to] = simulation.connect(0, Transport::Unreliable);
    for _ in 0..outstanding {
        simulation.receive(to, bytes);
        simulation.send(from, Message::send(bytes));
    }
    let mut received = 0;
    while received < MESSAGES {
        let completion = simulation.step().expect("there is always a next message");
        match completion.is_receive {
            true => {
                received += 1;
                simulation.receive(to, bytes);
            }
            false => simulation.send(from, Message::send(bytes)),
        }
    }
    (MESSAGES * bytes) as f64 / (simulation.now() - Time::ZERO).as_secs_f64()
}

/// Cables that are all alike, and the devices at their ends.
pub(crate) struct Rig {
    _fabric: Fabric,
    _parent: tempfile::TempDir,
    /// The two devices of each cable.
    pub devices: Vec<[Device; 2]>,
}

impl Rig {
    pub fn of(rules: Rules, link: Link, cables: usize) -> Self {
        let embedded = rig::Rig::embedded();
        let numbered = (0..cables).map(|number| {
            let mut cable = embedded.cables[0].clone();
            cable.name = format!("cable-{number}");
            cable.link = link;
            for end in &mut cable.ends {
                end.device = format!("rdma_en{number}");
            }
            cable
        });
        let rig = rig::Rig::new(embedded.nodes.clone(), numbered.collect()).with_rules(rules);
        let parent = tempfile::tempdir().expect("a temporary folder");
        let fabric = Fabric::create(parent.path(), &rig).expect("a fabric");
        let [first, second] = ["a", "b"].map(|node| {
            let devices = config::devices(fabric.path(), node);
            devices.expect("the node's devices")
        });
        let devices = first.into_iter().zip(second);
        Rig {
            devices: devices.map(|(first, second)| [first, second]).collect(),
            _fabric: fabric,
            _parent: parent,
        }
    }

    /// A queue pair on one of the cables.
    pub fn endpoint_on(
        &self,
        cable: usize,
        side: Side,
        transport: Transport,
        limits: Limits,
    ) -> Endpoint {
        let async_events = Arc::new(AsyncEvents::new().expect("sockets"));
        let capacity = limits.sends + limits.receives;
        let events = Arc::clone(&async_events);
        let completions = Completions::new(capacity, None, events, Arc::default());
        let device = self.devices[cable][side.index()].clone();
        Endpoint::new(
            device,
            transport,
            limits,
            async_events,
            Arc::new(completions),
        )
    }
}

/// Makes two queue pairs ready to send to each other.
pub(crate) fn connect(ends: &[Endpoint; 2]) {
    ends[0].go_ready(Peer::Number(ends[1].pair.number()));
    ends[1].go_ready(Peer::Number(ends[0].pair.number()));
}

/// A queue pair and the memory it sends from and receives into.
pub(crate) struct Endpoint {
    pub pair: QueuePair,
    pub regions: Arc<Regions>,
    pub completions: Arc<Completions>,
    #[cfg(test)]
    pub async_events: Arc<AsyncEvents>,
    pub memory: Vec<u8>,
}

impl Endpoint {
    pub const KEY: u32 = 9;

    /// The access rights of the other end, unless a test sets others.
    pub const ACCESS: u32 =
        ibv::IBV_ACCESS_LOCAL_WRITE | ibv::IBV_ACCESS_REMOTE_WRITE | ibv::IBV_ACCESS_REMOTE_READ;

    pub fn new(
        device: Device,
        transport: Transport,
        limits: Limits,
        async_events: Arc<AsyncEvents>,
        completions: Arc<Completions>,
    ) -> Self {
        let cable = Arc::new(SharedCable::open(&device.cable).expect("the fabric's cable"));
        let regions = Arc::new(Regions::default());
        let parts = Parts {
            cable,
            device,
            regions: Arc::clone(&regions),
            transport,
            limits,
            send_queue: Arc::clone(&completions),
            receive_queue: Arc::clone(&completions),
            async_events: Arc::clone(&async_events),
            subject: Arc::default(),
        };
        let mut endpoint = Endpoint {
            pair: QueuePair::create(parts).expect("a free slot"),
            regions,
            completions,
            #[cfg(test)]
            async_events,
            memory: Vec::new(),
        };
        endpoint.register(64 * 1024);
        endpoint
    }

    /// Replaces the memory.
    pub fn register(&mut self, bytes: u64) {
        self.memory = vec![0; bytes as usize];
        self.permit(Self::ACCESS);
    }

    /// Registers the memory for these uses.
    pub fn permit(&mut self, access: u32) {
        let host = self.memory.as_ptr() as u64;
        let region = Region {
            host,
            address: host,
            bytes: self.memory.len() as u64,
            access,
        };
        self.regions.insert(Self::KEY, region);
        self.pair.allow(Self::ACCESS);
    }

    pub fn go_ready(&self, peer: Peer) {
        assert!(self.pair.advance(Phase::Init));
        assert!(self.pair.connect(peer));
        assert!(self.pair.advance(Phase::ReadyToSend));
    }

    /// The first bytes of the memory.
    pub fn piece(&mut self, bytes: u64) -> Memory {
        Memory {
            address: self.memory.as_mut_ptr() as u64,
            bytes,
            key: Self::KEY,
        }
    }

    pub fn request(&mut self, id: u64, bytes: u64) -> SendRequest {
        SendRequest {
            id,
            payload: Payload::Pieces(Pieces::One(self.piece(bytes))),
            operation: Operation::Send,
            immediate: None,
            signalled: true,
            solicited: false,
            fenced: false,
        }
    }

    /// The memory as the other end names it.
    pub fn remote(&self, offset: u64) -> Remote {
        Remote {
            address: self.memory.as_ptr() as u64 + offset,
            key: Self::KEY,
        }
    }

    pub fn post(&self, now: Time, request: SendRequest) {
        self.pair.post_send(now, request).expect("room for a send");
    }

    pub fn receive(&mut self, now: Time, id: u64, bytes: u64) {
        let request = self.receive_request(id, bytes);
        self.pair
            .post_receive(now, request)
            .expect("room for a receive");
    }

    pub fn receive_request(&mut self, id: u64, bytes: u64) -> ReceiveRequest {
        ReceiveRequest {
            id,
            scatter: Pieces::One(self.piece(bytes)),
        }
    }
}

/// Cables with connections on them, and the time.
pub struct Simulation {
    now: Time,
    rig: Rig,
    cables: Vec<Cable>,
    /// The time at which each cable is due. An entry is out of date where the cable
    /// itself has another time.
    agenda: BinaryHeap<Reverse<(Time, usize)>>,
    completions: VecDeque<Completion>,
}

#[derive(Default)]
struct Cable {
    connections: Vec<[Endpoint; 2]>,
    /// When the cable is due.
    next: Option<Time>,
}

/// A queue pair of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    cable: usize,
    connection: usize,
    side: Side,
}

/// A completion, with the earliest time at which a completion queue could have reported
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The time.
    pub at: Time,
    /// The queue pair that it belongs to.
    pub pair: Pair,
    /// Whether a message has used up a receive; otherwise a send has ended.
    pub is_receive: bool,
    /// How the request ended.
    pub status: ibv::ibv_wc_status,
    /// The bytes of the message.
    pub bytes: u64,
}

impl Simulation {
    /// Cables that are all alike, without connections, at the origin of time.
    ///
    /// # Panics
    /// If their files cannot be made.
    pub fn new(rules: Rules, link: Link, cables: usize) -> Self {
        Simulation {
            now: Time::ZERO,
            rig: Rig::of(rules, link, cables),
            cables: (0..cables).map(|_| Cable::default()).collect(),
            agenda: BinaryHeap::new(),
            completions: VecDeque::new(),
        }
    }

    /// Adds two queue pairs to a cable and connects them. The first is at the cable's
    /// first end.
    ///
    /// # Panics
    /// If there is no such cable, or if its devices have no more queue pairs.
    pub fn connect(&mut self, cable: usize, transport: Transport) -> [Pair; 2] {
        const REQUESTS: usize = 1 << 12;
        let limits = Limits {
            sends: REQUESTS,
            receives: REQUESTS,
            signal_all: true,
        };
        let ends = Side::BOTH.map(|side| {
            let mut end = self.rig.endpoint_on(cable, side, transport, limits);
            end.register(QUEUE_BYTES);
            // A reliable sender does not wait without end for a peer that has failed.
            end.pair.set_patience(Patience {
                answer: Some(Duration::from_millis(10)),
                ..Patience::default()
            });
            end
        });
        connect(&ends);
        let connections = &mut self.cables[cable].connections;
        connections.push(ends);
        let connection = connections.len() - 1;
        Side::BOTH.map(|side| Pair {
            cable,
            connection,
            side,
        })
    }

    /// The current virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The bytes sent over a cable from one of its ends.
    pub fn bytes(&self, cable: usize, from: Side) -> u64 {
        let connection = &self.cables[cable].connections[0];
        connection[from.index()].pair.own_end().direction.bytes()
    }

    /// Sends a message of up to [`QUEUE_BYTES`]. A write or a read is of the other end's
    /// memory, whichever place the message names.
    ///
    /// # Panics
    /// If the queue pair refuses it: its queue is full, or its transport or the rules have
    /// no such operation.
    pub fn send(&mut self, pair: Pair, message: Message) {
        let now = self.now;
        let remote = self.end(Pair {
            side: pair.side.opposite(),
            ..pair
        });
        let remote = remote.remote(0);
        let operation = match message.operation {
            Operation::Send => Operation::Send,
            Operation::Write(_) => Operation::Write(remote),
            Operation::Read(_) => Operation::Read(remote),
        };
        let end = self.end(pair);
        let request = end.request(message.bytes, message.bytes);
        end.post(
            now,
            SendRequest {
                operation,
                immediate: message.immediate,
                ..request
            },
        );
        self.schedule(pair.cable, now);
    }

    /// Posts a receive of so many bytes, up to [`QUEUE_BYTES`].
    ///
    /// # Panics
    /// If the queue pair refuses it because its queue is full.
    pub fn receive(&mut self, pair: Pair, bytes: u64) {
        let now = self.now;
        self.end(pair).receive(now, 0, bytes);
        self.schedule(pair.cable, now);
    }

    /// Advances the clock to the next completion and returns it, or `None` if no event is
    /// left.
    pub fn step(&mut self) -> Option<Completion> {
        while self.completions.is_empty() {
            let &Reverse((time, _)) = self.agenda.peek()?;
            self.follow_agenda(time);
        }
        self.completions.pop_front()
    }

    /// Advances the clock to a time and processes every event until then.
    pub fn run_until(&mut self, time: Time) -> impl Iterator<Item = Completion> {
        self.follow_agenda(time);
        self.now = self.now.max(time);
        self.completions.drain(..)
    }

    /// Advances the clock to a time, or leaves it alone if that time has passed, and
    /// looks at the cables only then. This models a machine that was busy until that
    /// time.
    pub fn sleep_until(&mut self, time: Time) -> impl Iterator<Item = Completion> {
        for cable in 0..self.cables.len() {
            self.look_at(cable, time);
        }
        self.completions.drain(..)
    }

    fn follow_agenda(&mut self, until: Time) {
        while let Some(&Reverse((time, cable))) = self.agenda.peek()
            && time <= until
        {
            self.agenda.pop();
            if self.cables[cable].next == Some(time) {
                self.look_at(cable, time);
            }
        }
    }

    fn look_at(&mut self, index: usize, time: Time) {
        self.now = self.now.max(time);
        let now = self.now;
        let cable = &mut self.cables[index];
        cable.next = None;
        let mut goes_on = true;
        while goes_on {
            goes_on = false;
            // Queue pairs in the error state leave this to others.
            for end in cable.connections.first().into_iter().flatten() {
                end.pair.own_end().look(now);
            }
            for (connection, ends) in cable.connections.iter().enumerate() {
                for (side, end) in Side::BOTH.into_iter().zip(ends) {
                    end.pair.serve(now);
                    goes_on |= end.pair.outlook(now).0;
                    for (at, entry) in end.completions.drain() {
                        self.completions.push_back(Completion {
                            at,
                            pair: Pair {
                                cable: index,
                                connection,
                                side,
                            },
                            is_receive: entry.opcode & ibv::IBV_WC_RECV != 0,
                            status: entry.status,
                            bytes: u64::from(entry.byte_len),
                        });
                        goes_on = true;
                    }
                }
            }
        }
        if let Some(next) = cable.next_event(now) {
            self.schedule(index, next);
        }
    }

    fn schedule(&mut self, index: usize, time: Time) {
        let next = &mut self.cables[index].next;
        if next.is_none_or(|next| time < next) {
            *next = Some(time);
            self.agenda.push(Reverse((time, index)));
        }
    }

    fn end(&mut self, pair: Pair) -> &mut Endpoint {
        &mut self.cables[pair.cable].connections[pair.connection][pair.side.index()]
    }
}

impl Cable {
    /// When something happens on the cable that did not happen by `now`.
    fn next_event(&self, now: Time) -> Option<Time> {
        let ends = self.connections.iter().flatten();
        let events = ends.filter_map(|end| end.pair.next_event());
        let events = events.filter(|time| *time > now);
        let starts = self.connections.first().into_iter().flatten();
        let starts = starts.filter_map(|end| end.pair.own_end().next_start());
        events.chain(starts.map(|start| start.max(now))).min()
    }
}
