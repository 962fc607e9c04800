//! The objects behind the pointers that the application holds. Each begins with
//! the structure of `verbs.h`, so that a pointer to one is a pointer to the other.

use std::{
    ffi::{c_char, c_int, c_void},
    io, mem,
    mem::offset_of,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use super::{
    bindings as ibv,
    builder::{self, Builder},
    clock,
    completions::Completions,
    engine::Engine,
    events::{AsyncEvent, EventQueue, Notifier, Wanted},
    handles, lock,
    memory::{Region, Regions},
    ops::{self, OPERATIONS},
    port::Port,
    queue_pair::{Halves, Limits, Parts, QueuePair, Transport},
};
use softrail::{
    Condition, config,
    shm::{ClaimError, SharedCable, ShmError},
};

/// An `ibv_device`.
#[repr(C)]
pub struct Device {
    raw: ibv::ibv_device,
    /// rdma-core's own libraries check here whether the device is one of theirs (`struct
    /// verbs_device`, which is private to them).
    foreign: [usize; 4],
    pub config: config::Device,
}

impl Device {
    pub fn new(config: config::Device) -> Arc<Self> {
        // SAFETY: integers, arrays of them and nullable pointers: zero is valid.
        let mut raw: ibv::ibv_device = unsafe { mem::zeroed() };
        raw.node_type = ibv::IBV_NODE_CA;
        raw.transport_type = ibv::IBV_TRANSPORT_IB;
        write_name(&mut raw.name, &config.name);
        write_name(&mut raw.dev_name, &config.name);
        Arc::new(Device {
            raw,
            foreign: [0; 4],
            config,
        })
    }
}

/// Truncates a name that is too long for its field, and terminates it with NUL.
fn write_name(field: &mut [c_char], name: &str) {
    let room = field.len() - 1;
    for (target, byte) in field[..room].iter_mut().zip(name.bytes()) {
        *target = byte as c_char;
    }
}

/// An `ibv_context`: an open device. The application's pointer is to the last field of
/// the first field here.
#[repr(C)]
pub struct Context {
    raw: ibv::verbs_context,
    pub device: Arc<Device>,
    pub cable: Arc<SharedCable>,
    pub engine: Engine,
    pub async_events: Arc<EventQueue<AsyncEvent>>,
    users: Arc<Users>,
}

/// Why a device cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    Cable(ShmError),
    Events(io::Error),
}

impl Context {
    pub fn open(device: Arc<Device>) -> Result<Box<Self>, OpenError> {
        let cable = SharedCable::open(&device.config.cable).map_err(OpenError::Cable)?;
        let cable = Arc::new(cable);
        let async_events = Arc::new(EventQueue::new().map_err(OpenError::Events)?);
        // SAFETY: integers, nullable pointers and functions, and a mutex whose
        // static initialiser is zero: zero is valid.
        let mut raw: ibv::verbs_context = unsafe { mem::zeroed() };
        raw.sz = size_of::<ibv::verbs_context>();
        ops::extend(&mut raw);
        let context = &mut raw.context;
        context.device = Arc::as_ptr(&device).cast_mut().cast();
        context.ops = OPERATIONS;
        context.cmd_fd = -1;
        context.async_fd = async_events.fd();
        context.num_comp_vectors = 1;
        // The value that verbs.h calls __VERBS_ABI_IS_EXTENDED.
        context.abi_compat = usize::MAX as *mut c_void;
        let side = device.config.side;
        let port = Port::new(Arc::clone(&async_events), &cable.end(side).condition);
        let engine = Engine::start(Arc::clone(&cable), side, port).map_err(OpenError::Events)?;
        Ok(Box::new(Context {
            raw,
            device,
            cable,
            engine,
            async_events,
            users: Arc::default(),
        }))
    }

    /// Records that the application has closed the device. Returns whether objects made
    /// in it are still alive; the last of them then closes it.
    pub fn close(&self) -> bool {
        self.users.0.fetch_or(Users::CLOSED, Ordering::AcqRel) >= Users::ONE
    }

    /// The current condition of the device.
    pub fn condition(&self) -> &Condition {
        &self.cable.end(self.device.config.side).condition
    }

    /// The pointer that the application gets and owns.
    pub fn into_raw(self: Box<Self>) -> *mut ibv::ibv_context {
        let context = handles::give(self).cast::<u8>();
        context.wrapping_add(Self::OFFSET).cast()
    }

    /// The context behind a pointer from [`into_raw`](Self::into_raw).
    pub fn behind(context: *mut ibv::ibv_context) -> *mut Self {
        context.cast::<u8>().wrapping_sub(Self::OFFSET).cast()
    }

    const OFFSET: usize = offset_of!(ibv::verbs_context, context);
}

/// How many objects of a context are alive, and whether the application has closed the
/// context. Both are in one word, so that exactly one caller sees the last object go
/// after the close.
#[derive(Debug, Default)]
struct Users(AtomicUsize);

impl Users {
    const CLOSED: usize = 1;
    const ONE: usize = 2;
}

/// A reference that an object holds on its context for as long as it lives.
struct User {
    users: Arc<Users>,
    context: *mut Context,
}

impl User {
    fn of(context: *mut ibv::ibv_context) -> Self {
        let context = Context::behind(context);
        // SAFETY: objects are made in live contexts only.
        let users = Arc::clone(unsafe { &(*context).users });
        users.0.fetch_add(Users::ONE, Ordering::Relaxed);
        User { users, context }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let before = self.users.0.fetch_sub(Users::ONE, Ordering::AcqRel);
        if before == Users::ONE | Users::CLOSED {
            handles::take_back(self.context, |_| false);
        }
    }
}

/// An `ibv_pd`.
#[repr(C)]
pub struct ProtectionDomain {
    pub raw: ibv::ibv_pd,
    pub regions: Arc<Regions>,
    _user: User,
}

impl ProtectionDomain {
    pub fn new(context: *mut ibv::ibv_context) -> Box<Self> {
        Box::new(ProtectionDomain {
            raw: ibv::ibv_pd { context, handle: 0 },
            regions: Arc::default(),
            _user: User::of(context),
        })
    }

    /// Whether memory is registered in the domain, or a queue pair uses it.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.regions) > 1
    }
}

/// An `ibv_mr`. Dropping it deregisters the memory.
#[repr(C)]
pub struct MemoryRegion {
    raw: ibv::ibv_mr,
    regions: Arc<Regions>,
}

impl MemoryRegion {
    /// Registers `bytes` at `host` as memory that work requests and the other end address
    /// from `address`.
    pub fn register(
        domain: &ProtectionDomain,
        host: *mut c_void,
        bytes: usize,
        address: u64,
        access: u32,
    ) -> Box<Self> {
        static NEXT_KEY: AtomicU32 = AtomicU32::new(1);
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        let raw = ibv::ibv_mr {
            context: domain.raw.context,
            pd: (&raw const domain.raw).cast_mut(),
            addr: host,
            length: bytes,
            handle: key,
            lkey: key,
            rkey: key,
        };
        let region = Region {
            host: host as u64,
            address,
            bytes: bytes as u64,
            access,
        };
        domain.regions.insert(key, region);
        Box::new(MemoryRegion {
            raw,
            regions: Arc::clone(&domain.regions),
        })
    }
}

impl Drop for MemoryRegion {
    fn drop(&mut self) {
        self.regions.remove(self.raw.lkey);
    }
}

/// An `ibv_comp_channel`.
#[repr(C)]
pub struct Channel {
    raw: ibv::ibv_comp_channel,
    pub events: Arc<EventQueue<usize>>,
    _user: User,
}

impl Channel {
    pub fn open(context: *mut ibv::ibv_context) -> io::Result<Box<Self>> {
        let events = Arc::new(EventQueue::new()?);
        let raw = ibv::ibv_comp_channel {
            context,
            fd: events.fd(),
            refcnt: 0,
        };
        Ok(Box::new(Channel {
            raw,
            events,
            _user: User::of(context),
        }))
    }

    /// Whether a completion queue reports to the channel.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.events) > 1
    }
}

/// An `ibv_cq`. It stores nothing: completions stay with the queue pairs until the
/// application polls.
#[repr(C)]
pub struct CompletionQueue {
    raw: ibv::ibv_cq,
    sources: Mutex<Vec<Source>>,
    /// The source that is polled first. It rotates; otherwise a short array would be
    /// filled by the first source alone.
    first: AtomicUsize,
    notifier: Option<Arc<Notifier>>,
    _user: User,
}

/// A queue pair that reports to a completion queue, and which of its halves do.
struct Source {
    pair: Arc<QueuePair>,
    halves: Halves,
}

impl CompletionQueue {
    pub fn new(
        context: *mut ibv::ibv_context,
        entries: c_int,
        user: *mut c_void,
        channel: Option<&Channel>,
    ) -> Box<Self> {
        // SAFETY: integers, nullable pointers, and a mutex and condition variable
        // whose static initialisers are zero: zero is valid.
        let mut raw: ibv::ibv_cq = unsafe { mem::zeroed() };
        raw.context = context;
        raw.cq_context = user;
        raw.cqe = entries;
        if let Some(channel) = channel {
            raw.channel = (&raw const channel.raw).cast_mut();
        }
        Box::new(CompletionQueue {
            raw,
            sources: Mutex::default(),
            first: AtomicUsize::new(0),
            notifier: channel.map(|channel| Arc::new(Notifier::new(Arc::clone(&channel.events)))),
            _user: User::of(context),
        })
    }

    pub fn is_used(&self) -> bool {
        !self.sources().is_empty()
    }

    /// The context value that the application chose for events.
    pub fn user(&self) -> *mut c_void {
        self.raw.cq_context
    }

    /// Collects the completions that are available by now.
    pub fn poll(&self, mut completions: Completions<'_>) -> usize {
        let now = clock::now();
        let sources = self.sources();
        let first = self.first.load(Ordering::Relaxed) % sources.len().max(1);
        let (late, early) = sources.split_at(first);
        for source in early.iter().chain(late) {
            source.pair.poll(now, source.halves, &mut completions);
        }
        self.first.store(first + 1, Ordering::Relaxed);
        drop(sources);
        clock::polled(completions.filled());
        completions.filled()
    }

    /// Requests an event for the next completion after now. `false` if there is no
    /// channel.
    pub fn notify(&self, wanted: Wanted) -> bool {
        let Some(notifier) = &self.notifier else {
            return false;
        };
        let now = clock::now();
        let sources = self.sources();
        for source in &*sources {
            source.pair.serve(now);
        }
        notifier.arm(wanted);
        for source in &*sources {
            source.pair.await_bell();
        }
        true
    }

    fn attach(&self, pair: &Arc<QueuePair>, halves: Halves) {
        self.sources().push(Source {
            pair: Arc::clone(pair),
            halves,
        });
    }

    fn detach(&self, pair: &Arc<QueuePair>) {
        self.sources()
            .retain(|source| !Arc::ptr_eq(&source.pair, pair));
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Source>> {
        lock(&self.sources)
    }
}

impl Drop for CompletionQueue {
    fn drop(&mut self) {
        if let Some(notifier) = &self.notifier {
            let name = (&raw const *self) as usize;
            notifier.channel().forget(|event| *event == name);
        }
    }
}

/// An `ibv_qp`, which is the first field of the `ibv_qp_ex` at its beginning. Dropping it
/// detaches it from its completion queues.
#[repr(C)]
pub struct Qp {
    pub raw: ibv::ibv_qp_ex,
    pub inner: Arc<QueuePair>,
    /// The initial attributes that the application asked for, as they were granted.
    pub wanted: ibv::ibv_qp_init_attr,
    /// The attributes that it was last modified to.
    pub attributes: ibv::ibv_qp_attr,
    /// Sends under construction; `None` for a queue pair that was not created for
    /// `ibv_wr_start`.
    pub builder: Option<Mutex<Builder>>,
}

impl Qp {
    /// Makes a queue pair, attached to the completion queues that `wanted` names, which
    /// must live until this is dropped.
    ///
    /// # Errors
    /// As for [`QueuePair::create`].
    pub fn new(
        domain: &ProtectionDomain,
        wanted: &ibv::ibv_qp_init_attr,
        transport: Transport,
        builder: Option<Builder>,
    ) -> Result<Box<Self>, ClaimError> {
        // SAFETY: a protection domain belongs to a live context, and the application
        // keeps a completion queue for as long as a queue pair uses it.
        let (context, send_queue, receive_queue) = unsafe {
            (
                &*Context::behind(domain.raw.context),
                &*wanted.send_cq.cast::<CompletionQueue>(),
                &*wanted.recv_cq.cast::<CompletionQueue>(),
            )
        };
        let pair = QueuePair::create(Parts {
            cable: Arc::clone(&context.cable),
            device: context.device.config.clone(),
            regions: Arc::clone(&domain.regions),
            transport,
            limits: Limits {
                sends: wanted.cap.max_send_wr as usize,
                receives: wanted.cap.max_recv_wr as usize,
                signal_all: wanted.sq_sig_all != 0,
            },
            send_events: send_queue.notifier.clone(),
            receive_events: receive_queue.notifier.clone(),
            async_events: Arc::clone(&context.async_events),
        })?;
        let pair = Arc::new(pair);
        // SAFETY: integers, nullable pointers and functions, and a mutex and
        // condition variable whose static initialisers are zero: zero is valid.
        let (mut raw, attributes): (ibv::ibv_qp_ex, _) = unsafe { mem::zeroed() };
        if builder.is_some() {
            builder::fill(&mut raw);
        }
        let base = &mut raw.qp_base;
        base.context = domain.raw.context;
        base.qp_context = wanted.qp_context;
        base.pd = (&raw const domain.raw).cast_mut();
        base.send_cq = wanted.send_cq;
        base.recv_cq = wanted.recv_cq;
        base.qp_num = pair.number();
        base.handle = pair.number();
        base.state = ibv::IBV_QPS_RESET;
        base.qp_type = wanted.qp_type;
        if wanted.send_cq == wanted.recv_cq {
            send_queue.attach(&pair, Halves::Both);
        } else {
            send_queue.attach(&pair, Halves::Sends);
            receive_queue.attach(&pair, Halves::Receives);
        }
        context.engine.add(Arc::clone(&pair));
        let qp = Box::new(Qp {
            raw,
            inner: pair,
            wanted: *wanted,
            attributes,
            builder: builder.map(Mutex::new),
        });
        qp.inner.set_names(
            (&raw const *qp) as usize,
            wanted.send_cq as usize,
            wanted.recv_cq as usize,
        );
        Ok(qp)
    }

    /// Its current state, whether the application set it or a failure did.
    pub fn state(&self) -> ibv::ibv_qp_state {
        match self.inner.has_failed() {
            true => ibv::IBV_QPS_ERR,
            false => self.raw.qp_base.state,
        }
    }

    /// The context in which it was made.
    pub fn context(&self) -> &Context {
        // SAFETY: the application closes a device after it has destroyed its queue pairs.
        unsafe { &*Context::behind(self.raw.qp_base.context) }
    }
}

impl Drop for Qp {
    fn drop(&mut self) {
        let context = self.context();
        context.engine.remove(&self.inner);
        let name = (&raw const *self) as usize;
        context.async_events.forget(|event| event.object == name);
        for queue in [self.wanted.send_cq, self.wanted.recv_cq] {
            // SAFETY: the application keeps a completion queue for as long as a
            // queue pair uses it, and `ibv_destroy_cq` refuses to free it before.
            unsafe { &*queue.cast::<CompletionQueue>() }.detach(&self.inner);
        }
    }
}
