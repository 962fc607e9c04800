//! What is counted of each context.
//!
//! Each context that is opened takes a slot, and gets a table of functions that are
//! compiled for this slot. So a call finds the functions that it stands for without
//! looking anything up, from any thread: a slot is written before its context is handed to
//! the application, and never again. It is not used again either, because the objects of a
//! context may outlive it.

use std::{
    env,
    ffi::c_int,
    path::Path,
    slice,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use meter::{Device, FILE_VARIABLE, FRAME_BYTES, Sheet};

use crate::{bindings as ibv, complain};

type PostSend = unsafe extern "C" fn(
    *mut ibv::ibv_qp,
    *mut ibv::ibv_send_wr,
    *mut *mut ibv::ibv_send_wr,
) -> c_int;
type Poll = unsafe extern "C" fn(*mut ibv::ibv_cq, c_int, *mut ibv::ibv_wc) -> c_int;

/// Contexts that are counted. jaccl opens a device once for each connection that it makes
/// over it.
const SLOTS: usize = 64;

/// Queue pairs of a context whose depth is counted. A device over Thunderbolt has ten.
const PAIRS: usize = 16;

static TAKEN: [OnceLock<Slot>; SLOTS] = [const { OnceLock::new() }; SLOTS];

/// The number of slots that were asked for.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// A context.
struct Slot {
    post_send: PostSend,
    poll: Poll,
    device: &'static Device,
    pairs: [Pair; PAIRS],
    /// Whether the last look for completions found none.
    is_waiting: AtomicBool,
}

/// A queue pair's sends.
#[derive(Default)]
struct Pair {
    /// Its number, plus one. Zero is a free place.
    number: AtomicU64,
    in_flight: AtomicI64,
}

/// The functions of a slot.
struct Table {
    post_send: PostSend,
    poll: Poll,
}

macro_rules! tables {
    ($($slot:literal)*) => {
        [$(Table { post_send: post_send::<$slot>, poll: poll::<$slot> }),*]
    };
}

static TABLES: [Table; SLOTS] = tables![
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
    29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53
    54 55 56 57 58 59 60 61 62 63
];

/// The file of this process; `None` if there is none, which was said.
fn sheet() -> Option<&'static Sheet> {
    static SHEET: OnceLock<Option<Sheet>> = OnceLock::new();
    let open = || {
        let Some(path) = env::var_os(FILE_VARIABLE) else {
            complain(format_args!(
                "{FILE_VARIABLE} is not set, so nothing is counted"
            ));
            return None;
        };
        Sheet::open(Path::new(&path)).map_err(complain).ok()
    };
    SHEET.get_or_init(open).as_ref()
}

/// Counts what goes through a context from now on.
///
/// # Safety
/// The context must be live, and no other thread may use it yet.
pub unsafe fn count(context: *mut ibv::ibv_context, device: &str) {
    let Some(sheet) = sheet() else { return };
    let Some(device) = sheet.device(device) else {
        complain(format_args!(
            "the file has no room for {device}, which is not counted"
        ));
        return;
    };
    // SAFETY: a live context, and its `ops` are plain function pointers.
    let ops = unsafe { &raw mut (*context).ops };
    // SAFETY: as above.
    let (post_send, poll) = unsafe { ((*ops).post_send, (*ops).poll_cq) };
    let (Some(post_send), Some(poll)) = (post_send, poll) else {
        return;
    };
    let place = ASKED.fetch_add(1, Ordering::Relaxed);
    let Some((slot, table)) = TAKEN.get(place).zip(TABLES.get(place)) else {
        complain("more devices were opened than are counted");
        return;
    };
    slot.get_or_init(|| Slot {
        post_send,
        poll,
        device,
        pairs: Default::default(),
        is_waiting: AtomicBool::new(false),
    });
    // SAFETY: the caller's promise that no other thread reads the table meanwhile.
    unsafe {
        (*ops).post_send = Some(table.post_send);
        (*ops).poll_cq = Some(table.poll);
    }
}

fn slot<const N: usize>() -> &'static Slot {
    let slot = TAKEN[N].get();
    slot.expect("the slot is written before its functions are in a table")
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

unsafe extern "C" fn post_send<const N: usize>(
    pair: *mut ibv::ibv_qp,
    first: *mut ibv::ibv_send_wr,
    bad: *mut *mut ibv::ibv_send_wr,
) -> c_int {
    let slot = slot::<N>();
    // SAFETY: a live queue pair.
    let sends = slot.pair(unsafe { (*pair).qp_num });
    // SAFETY: the application's list, which it keeps until the call returns.
    let all = unsafe { Sum::of(first) };
    // Before they are posted, because another thread may see their completions at once.
    if let Some(sends) = sends {
        let in_flight = sends.fetch_add(all.signalled, Ordering::Relaxed) + all.signalled;
        let depth = u64::try_from(in_flight).unwrap_or(0);
        slot.device.depth.fetch_max(depth, Ordering::Relaxed);
    }
    // SAFETY: the function that was in the table of this context, with its arguments.
    let result = unsafe { (slot.post_send)(pair, first, bad) };
    let refused = match result {
        0 => Sum::default(),
        // SAFETY: the first request that was refused is one of the list.
        _ => unsafe { Sum::of(*bad) },
    };
    if let Some(sends) = sends {
        sends.fetch_sub(refused.signalled, Ordering::Relaxed);
    }
    add(&slot.device.sent, all.messages - refused.messages);
    add(&slot.device.sent_bytes, all.bytes - refused.bytes);
    add(&slot.device.sent_frames, all.frames - refused.frames);
    result
}

unsafe extern "C" fn poll<const N: usize>(
    queue: *mut ibv::ibv_cq,
    capacity: c_int,
    entries: *mut ibv::ibv_wc,
) -> c_int {
    let slot = slot::<N>();
    // SAFETY: the function that was in the table of this context, with its arguments.
    let result = unsafe { (slot.poll)(queue, capacity, entries) };
    let found = usize::try_from(result).unwrap_or(0);
    let is_waiting = slot.is_waiting.load(Ordering::Relaxed);
    if is_waiting != (found == 0) {
        slot.is_waiting.store(!is_waiting, Ordering::Relaxed);
        add(&slot.device.waits, u64::from(!is_waiting));
    }
    if found > 0 {
        // SAFETY: the function has filled this many entries.
        for completion in unsafe { slice::from_raw_parts(entries, found) } {
            slot.complete(completion);
        }
    }
    result
}

impl Slot {
    /// The number of sends in flight of a queue pair. `None` if there are too many pairs.
    fn pair(&self, number: u32) -> Option<&AtomicI64> {
        let number = u64::from(number) + 1;
        let mut pairs = self.pairs.iter();
        let found = pairs.find(|pair| match pair.number.load(Ordering::Relaxed) {
            0 => {
                let order = Ordering::Relaxed;
                let claimed = pair.number.compare_exchange(0, number, order, order);
                claimed.unwrap_or_else(|other| if other == number { 0 } else { other }) == 0
            }
            other => other == number,
        });
        found.map(|pair| &pair.in_flight)
    }

    fn complete(&self, completion: &ibv::ibv_wc) {
        let device = self.device;
        // Of a failure neither the kind nor the length is valid.
        if completion.status != ibv::IBV_WC_SUCCESS {
            add(&device.failed, 1);
        } else if completion.opcode & ibv::IBV_WC_RECV != 0 {
            add(&device.received, 1);
            add(&device.received_bytes, completion.byte_len.into());
        } else if let Some(sends) = self.pair(completion.qp_num) {
            sends.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A list of sends.
#[derive(Debug, Default)]
struct Sum {
    messages: u64,
    bytes: u64,
    frames: u64,
    /// Those that will have a completion.
    signalled: i64,
}

impl Sum {
    /// # Safety
    /// `first` must be null or begin a null-terminated list of live requests, each with as
    /// many entries as it says.
    unsafe fn of(first: *const ibv::ibv_send_wr) -> Self {
        let mut sum = Self::default();
        let mut next = first;
        // SAFETY: the caller's promise.
        while let Some(request) = unsafe { next.as_ref() } {
            let entries = match usize::try_from(request.num_sge) {
                Ok(count @ 1..) => {
                    // SAFETY: the caller's promise.
                    unsafe { slice::from_raw_parts(request.sg_list, count) }
                }
                _ => &[],
            };
            let bytes: u64 = entries.iter().map(|it| u64::from(it.length)).sum();
            sum.messages += 1;
            sum.bytes += bytes;
            sum.frames += bytes.div_ceil(FRAME_BYTES).max(1);
            sum.signalled += i64::from(request.send_flags & ibv::IBV_SEND_SIGNALED != 0);
            next = request.next;
        }
        sum
    }
}
