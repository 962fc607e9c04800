//! The objects behind the pointers that the application holds. Each begins with
//! the structure of `verbs.h`, so that a pointer to one is a pointer to the other.

use std::{
    ffi::{c_char, c_int, c_void},
    mem,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{
    bindings as ibv, clock,
    completions::Completions,
    lock,
    memory::{Region, Regions},
    ops::OPERATIONS,
    queue_pair::QueuePair,
};
use softrail::{
    config,
    shm::{SharedCable, ShmError},
};

/// An `ibv_device`.
#[repr(C)]
pub struct Device {
    raw: ibv::ibv_device,
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
        Arc::new(Device { raw, config })
    }
}

/// Cuts a name that is too long for its field, and ends it with a NUL.
fn write_name(field: &mut [c_char], name: &str) {
    let room = field.len() - 1;
    for (target, byte) in field[..room].iter_mut().zip(name.bytes()) {
        *target = byte as c_char;
    }
}

/// An `ibv_context`: a device that is open.
#[repr(C)]
pub struct Context {
    raw: ibv::ibv_context,
    pub device: Arc<Device>,
    pub cable: Arc<SharedCable>,
}

impl Context {
    pub fn open(device: Arc<Device>) -> Result<Box<Self>, ShmError> {
        let cable = Arc::new(SharedCable::open(&device.config.cable)?);
        // SAFETY: integers, nullable pointers and functions, and a mutex whose
        // static initialiser is zero: zero is valid.
        let mut raw: ibv::ibv_context = unsafe { mem::zeroed() };
        raw.device = Arc::as_ptr(&device).cast_mut().cast();
        raw.ops = OPERATIONS;
        raw.cmd_fd = -1;
        raw.async_fd = -1;
        raw.num_comp_vectors = 1;
        Ok(Box::new(Context { raw, device, cable }))
    }
}

/// An `ibv_pd`.
#[repr(C)]
pub struct ProtectionDomain {
    pub raw: ibv::ibv_pd,
    pub regions: Arc<Regions>,
}

/// An `ibv_mr`. Dropping it deregisters the memory.
#[repr(C)]
pub struct MemoryRegion {
    raw: ibv::ibv_mr,
    regions: Arc<Regions>,
}

impl MemoryRegion {
    pub fn register(domain: &ProtectionDomain, address: *mut c_void, bytes: usize) -> Box<Self> {
        static NEXT_KEY: AtomicU32 = AtomicU32::new(1);
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        let raw = ibv::ibv_mr {
            context: domain.raw.context,
            pd: (&raw const domain.raw).cast_mut(),
            addr: address,
            length: bytes,
            handle: key,
            lkey: key,
            rkey: key,
        };
        let region = Region {
            address: address as u64,
            bytes: bytes as u64,
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

/// An `ibv_cq`. It queues nothing: completions stay with the queue pairs until
/// the application asks for them.
#[repr(C)]
pub struct CompletionQueue {
    raw: ibv::ibv_cq,
    sources: Mutex<Vec<Source>>,
}

/// A half of a queue pair that reports to a completion queue.
struct Source {
    pair: Arc<QueuePair>,
    half: Half,
}

/// Which half.
#[derive(Debug, Clone, Copy)]
pub enum Half {
    Send,
    Receive,
}

impl CompletionQueue {
    pub fn new(context: *mut ibv::ibv_context, entries: c_int, user: *mut c_void) -> Box<Self> {
        // SAFETY: integers, nullable pointers, and a mutex and condition variable
        // whose static initialisers are zero: zero is valid.
        let mut raw: ibv::ibv_cq = unsafe { mem::zeroed() };
        raw.context = context;
        raw.cq_context = user;
        raw.cqe = entries;
        Box::new(CompletionQueue {
            raw,
            sources: Mutex::default(),
        })
    }

    pub fn is_used(&self) -> bool {
        !self.sources().is_empty()
    }

    /// Collects what has completed by now.
    pub fn poll(&self, mut completions: Completions<'_>) -> usize {
        let now = clock::now();
        for source in &*self.sources() {
            match source.half {
                Half::Send => source.pair.poll_sends(now, &mut completions),
                Half::Receive => source.pair.poll_receives(now, &mut completions),
            }
        }
        clock::polled(completions.filled());
        completions.filled()
    }

    fn attach(&self, pair: &Arc<QueuePair>, half: Half) {
        self.sources().push(Source {
            pair: Arc::clone(pair),
            half,
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

/// An `ibv_qp`. Dropping it takes it from its completion queues.
#[repr(C)]
pub struct Qp {
    pub raw: ibv::ibv_qp,
    pub inner: Arc<QueuePair>,
}

impl Qp {
    /// Wraps a queue pair and attaches it to the completion queues that `wanted`
    /// names, which must be live and stay so until this is dropped.
    pub fn new(
        domain: &ProtectionDomain,
        wanted: &ibv::ibv_qp_init_attr,
        inner: Arc<QueuePair>,
    ) -> Box<Self> {
        // SAFETY: as for a completion queue.
        let mut raw: ibv::ibv_qp = unsafe { mem::zeroed() };
        raw.context = domain.raw.context;
        raw.qp_context = wanted.qp_context;
        raw.pd = (&raw const domain.raw).cast_mut();
        raw.send_cq = wanted.send_cq;
        raw.recv_cq = wanted.recv_cq;
        raw.qp_num = inner.number();
        raw.handle = inner.number();
        raw.state = ibv::IBV_QPS_RESET;
        raw.qp_type = wanted.qp_type;
        let qp = Box::new(Qp { raw, inner });
        qp.completion_queue(Half::Send)
            .attach(&qp.inner, Half::Send);
        qp.completion_queue(Half::Receive)
            .attach(&qp.inner, Half::Receive);
        qp
    }

    fn completion_queue(&self, half: Half) -> &CompletionQueue {
        let queue = match half {
            Half::Send => self.raw.send_cq,
            Half::Receive => self.raw.recv_cq,
        };
        // SAFETY: the application keeps a completion queue for as long as a queue
        // pair uses it, and `ibv_destroy_cq` refuses to free it before.
        unsafe { &*queue.cast::<CompletionQueue>() }
    }
}

impl Drop for Qp {
    fn drop(&mut self) {
        self.completion_queue(Half::Send).detach(&self.inner);
        self.completion_queue(Half::Receive).detach(&self.inner);
    }
}
