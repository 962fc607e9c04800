//! The objects behind the pointers that the application holds. Each begins with
//! the structure of `verbs.h`, so that a pointer to one is a pointer to the other.

use std::{
    cell::UnsafeCell,
    ffi::{c_char, c_int, c_void},
    io,
    mem::{self, MaybeUninit, offset_of},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering},
    },
};

use super::{
    bindings as ibv,
    builder::{self, Builder},
    clock,
    completions::{Completions, Wanted},
    engine::Engine,
    events::{AsyncEvents, ChannelEvents, EventQueue, Subject},
    handles, lock,
    memory::{Region, Regions},
    offer::Offer,
    ops::{self, OPERATIONS},
    port::Port,
    queue_pair::{Limits, Parts, QueuePair, Transport},
};
use rig::Profile;
use softrail::{
    Condition,
    claims::{Claimed, Resource},
    config,
    shm::{ClaimError, SharedCable, ShmError, Side},
};

/// What `ibv_devinfo` on a Mac prints as the transport "Thunderbolt".
const TRANSPORT_THUNDERBOLT: ibv::ibv_transport_type = 100;

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
        raw.transport_type = match config.rules.profile {
            Profile::Thunderbolt => TRANSPORT_THUNDERBOLT,
            Profile::Rdma => ibv::IBV_TRANSPORT_IB,
        };
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
    pub async_events: Arc<AsyncEvents>,
    /// Whether memory stays registered: a queue pair was destroyed in the error state to
    /// which the application had moved it, and the rig has Macs that leak then.
    leaks: AtomicBool,
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
            leaks: AtomicBool::new(false),
            users: Arc::default(),
        }))
    }

    /// Records that the application has closed the device. Returns whether objects made
    /// in it are still alive; the last of them then closes it.
    pub fn close(&self) -> bool {
        self.users.0.fetch_or(Users::CLOSED, Ordering::AcqRel) >= Users::ONE
    }

    /// What the device offers.
    pub fn offer(&self) -> &'static Offer {
        Offer::of(self.device.config.rules.profile)
    }

    /// Whether memory cannot be deregistered any more.
    pub fn leaks(&self) -> bool {
        self.leaks.load(Ordering::Relaxed)
    }

    /// Claims one of the device's resources, where their number is limited. `None` if
    /// there is no more.
    fn claim(&self, resource: Resource) -> Option<Share> {
        let (cable, side) = (Arc::clone(&self.cable), self.device.config.side);
        let claimed = match self.offer().has_credits {
            true => Some(cable.end(side).claims.claim(resource)?),
            false => None,
        };
        Some(Share {
            cable,
            side,
            claimed,
        })
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

/// One of what a device has a limited number of. Dropping it gives it back.
struct Share {
    cable: Arc<SharedCable>,
    side: Side,
    claimed: Option<Claimed>,
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(claimed) = &self.claimed {
            self.cable.end(self.side).claims.release(claimed);
        }
    }
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
    _share: Share,
    _user: User,
}

impl ProtectionDomain {
    /// Makes a protection domain; `None` if the device has no more.
    pub fn new(context: *mut ibv::ibv_context) -> Option<Box<Self>> {
        // SAFETY: objects are made in live contexts only.
        let share = unsafe { &*Context::behind(context) }.claim(Resource::Domain)?;
        Some(Box::new(ProtectionDomain {
            raw: ibv::ibv_pd { context, handle: 0 },
            regions: Arc::default(),
            _share: share,
            _user: User::of(context),
        }))
    }

    /// The context in which it was made.
    pub fn context(&self) -> &Context {
        // SAFETY: a context stays open for its objects.
        unsafe { &*Context::behind(self.raw.context) }
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
    _share: Share,
    regions: Arc<Regions>,
}

impl MemoryRegion {
    /// Registers `bytes` at `host` as memory that work requests and the other end address
    /// from `address`. `None` if the device has no more regions.
    pub fn register(
        domain: &ProtectionDomain,
        host: *mut c_void,
        bytes: usize,
        address: u64,
        access: u32,
    ) -> Option<Box<Self>> {
        let share = domain.context().claim(Resource::Region)?;
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
        Some(Box::new(MemoryRegion {
            raw,
            _share: share,
            regions: Arc::clone(&domain.regions),
        }))
    }
}

impl MemoryRegion {
    /// Whether it cannot be deregistered: see [`Context::leaks`].
    pub fn is_leaked(&self) -> bool {
        // SAFETY: a context stays open for its objects, and a region is in one of them.
        unsafe { &*Context::behind(self.raw.context) }.leaks()
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
    pub events: Arc<ChannelEvents>,
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

/// An `ibv_cq`.
#[repr(C)]
pub struct CompletionQueue {
    /// The application reads it while other threads use the queue. Only `cqe` changes.
    raw: UnsafeCell<ibv::ibv_cq>,
    pub completions: Arc<Completions>,
    /// The queue pairs that report to it.
    sources: Mutex<Vec<Arc<QueuePair>>>,
    _share: Share,
    _user: User,
}

impl CompletionQueue {
    pub fn new(
        context: *mut ibv::ibv_context,
        entries: c_int,
        user: *mut c_void,
        channel: Option<&Channel>,
    ) -> Option<Box<Self>> {
        // SAFETY: objects are made in live contexts only.
        let share = unsafe { &*Context::behind(context) }.claim(Resource::Queue)?;
        // SAFETY: integers, nullable pointers, and a mutex and condition variable
        // whose static initialisers are zero: zero is valid.
        let mut raw: ibv::ibv_cq = unsafe { mem::zeroed() };
        raw.context = context;
        raw.cq_context = user;
        raw.cqe = entries;
        if let Some(channel) = channel {
            raw.channel = (&raw const channel.raw).cast_mut();
        }
        // SAFETY: objects are made in live contexts only.
        let async_events = Arc::clone(unsafe { &(*Context::behind(context)).async_events });
        let place = Box::<Self>::new_uninit();
        let completions = Completions::new(
            entries.cast_unsigned() as usize,
            channel.map(|channel| Arc::clone(&channel.events)),
            async_events,
            Subject::new(place.as_ptr() as usize, user as usize),
        );
        Some(Box::write(
            place,
            CompletionQueue {
                raw: UnsafeCell::new(raw),
                completions: Arc::new(completions),
                sources: Mutex::default(),
                _share: share,
                _user: User::of(context),
            },
        ))
    }

    pub fn is_used(&self) -> bool {
        !self.sources().is_empty()
    }

    /// Collects the completions that are available by now.
    pub fn poll(&self, entries: &mut [MaybeUninit<ibv::ibv_wc>]) -> usize {
        drop(self.serve());
        let count = self.completions.pop(entries);
        clock::polled(count);
        count
    }

    /// Changes the capacity; `false` if more completions wait than would fit.
    pub fn resize(&self, entries: c_int) -> bool {
        let fits = self.completions.resize(entries.cast_unsigned() as usize);
        if fits {
            // SAFETY: an aligned field of this object, which from here only this function
            // writes. The application may read it at the same time, as it may with
            // libibverbs, which writes it without a lock: this write does not tear.
            let shown = unsafe { AtomicI32::from_ptr(&raw mut (*self.raw.get()).cqe) };
            shown.store(entries, Ordering::Relaxed);
        }
        fits
    }

    /// Serves the queue pairs that report to it.
    fn serve(&self) -> MutexGuard<'_, Vec<Arc<QueuePair>>> {
        let now = clock::now();
        let sources = self.sources();
        for pair in &*sources {
            pair.serve(now);
        }
        sources
    }

    /// Requests an event for the next completion after now. `false` if there is no
    /// channel.
    pub fn notify(&self, wanted: Wanted) -> bool {
        let sources = self.serve();
        let has_channel = self.completions.arm(wanted);
        for pair in &*sources {
            pair.await_bell();
        }
        has_channel
    }

    fn attach(&self, pair: &Arc<QueuePair>) {
        self.sources().push(Arc::clone(pair));
    }

    fn detach(&self, pair: &Arc<QueuePair>) {
        self.sources().retain(|source| !Arc::ptr_eq(source, pair));
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Arc<QueuePair>>> {
        lock(&self.sources)
    }
}

/// An `ibv_qp`, which is the first field of the `ibv_qp_ex` at its beginning.
///
/// Other threads may use a queue pair while one modifies it, so there is never a `&mut`
/// to it.
#[repr(C)]
pub struct Qp {
    /// Also read and written by the application, hence the cell and no reference to it.
    /// Its fields do not change after creation, except for these: `state`, which only
    /// [`show_state`](Self::show_state) writes, and `wr_id` and `wr_flags`, which the
    /// application sets before it calls one of the functions of `ibv_wr_start` on the
    /// same thread.
    raw: UnsafeCell<ibv::ibv_qp_ex>,
    pub inner: Arc<QueuePair>,
    /// The initial attributes that the application asked for, as they were granted.
    pub wanted: ibv::ibv_qp_init_attr,
    /// The attributes that it was last modified to, and with them the state. The lock is
    /// held over the check and the step of a transition.
    pub attributes: Mutex<ibv::ibv_qp_attr>,
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
        let place = Box::<Self>::new_uninit();
        let subject = Subject::new(place.as_ptr() as usize, wanted.qp_context as usize);
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
            send_queue: Arc::clone(&send_queue.completions),
            receive_queue: Arc::clone(&receive_queue.completions),
            async_events: Arc::clone(&context.async_events),
            subject,
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
        send_queue.attach(&pair);
        if wanted.send_cq != wanted.recv_cq {
            receive_queue.attach(&pair);
        }
        context.engine.add(Arc::clone(&pair));
        let qp = Qp {
            raw: UnsafeCell::new(raw),
            inner: pair,
            wanted: *wanted,
            attributes: Mutex::new(attributes),
            builder: builder.map(Mutex::new),
        };
        Ok(Box::write(place, qp))
    }

    /// Its current state, whether the application set it or a failure did. `attributes`
    /// are its own.
    pub fn state(&self, attributes: &ibv::ibv_qp_attr) -> ibv::ibv_qp_state {
        match self.inner.has_failed() {
            true => ibv::IBV_QPS_ERR,
            false => attributes.qp_state,
        }
    }

    /// Shows the application the state that it has set.
    pub fn show_state(&self, state: ibv::ibv_qp_state) {
        // SAFETY: an aligned field of this object, which from here only this function
        // writes. The application may read it at the same time, as it may with
        // libibverbs, which writes it without a lock: this write does not tear.
        let shown = unsafe { AtomicU32::from_ptr(&raw mut (*self.raw.get()).qp_base.state) };
        shown.store(state, Ordering::Relaxed);
    }

    /// The id and the flags that the application has set for the request that it begins.
    pub fn next_request(&self) -> (u64, u32) {
        // SAFETY: the thread that calls has set them.
        unsafe { ((*self.raw.get()).wr_id, (*self.raw.get()).wr_flags) }
    }

    /// The context in which it was made.
    pub fn context(&self) -> &Context {
        // SAFETY: the field never changes; a queue pair's protection domain keeps the
        // context, and cannot be freed before the queue pair.
        unsafe { &*Context::behind((*self.raw.get()).qp_base.context) }
    }

    /// Withdraws it from everything that serves it, drops its completions and events, and
    /// waits until the application has acknowledged the events that it has read.
    pub fn retire(&self) {
        let context = self.context();
        let rules = &context.device.config.rules;
        let was_moved = lock(&self.attributes).qp_state == ibv::IBV_QPS_ERR;
        if was_moved && context.offer().has_credits && rules.likeness.leaks_after_error {
            context.leaks.store(true, Ordering::Relaxed);
        }
        context.engine.remove(&self.inner);
        for queue in [self.wanted.send_cq, self.wanted.recv_cq] {
            // SAFETY: the application keeps a completion queue for as long as a
            // queue pair uses it, and `ibv_destroy_cq` refuses to free it before.
            unsafe { &*queue.cast::<CompletionQueue>() }.detach(&self.inner);
        }
        self.inner.forget_completions();
        context.async_events.forget(self.inner.subject());
        self.inner.subject().await_acknowledgements();
    }
}
