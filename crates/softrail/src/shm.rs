//! The memory that the two ends of a cable share: one file a cable.
//!
//! The file is a `Layout`, which consists of atomics, followed by what every queue pair
//! has: its [`Credits`], which are atomics too, and its payload ring. All zeros (but for
//! the magic number) is an unused cable, so a launcher makes one by making a file;
//! providers only map it.
//!
//! Each end has [`SLOTS`] slots, one for each queue pair. A queue pair's messages wait in
//! its *own* slot; the peer knows the slot from the queue pair's number and fetches them
//! from there. The owner is the only writer of everything in a slot, except for the
//! settling of messages, which the peer writes.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    mem::size_of,
    ops::Range,
    path::{Path, PathBuf},
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence},
    thread,
    time::{Duration, Instant},
};

use crate::{
    bell::Bell,
    claims::Claims,
    clock,
    condition::Condition,
    fabric::{Credits, Direction, MESSAGE_BYTES, OUTLETS, Outlet, QUEUE_BYTES, Tally, Time},
    injection::Injections,
    lease::{self, Lease},
    platform, private,
    process::Process,
    ring::Ring,
    usage::Usage,
};
use memmap2::{MmapOptions, MmapRaw};

/// Queue pairs on one end of a cable. RDMA over Thunderbolt offers about ten, which is
/// more than jaccl asks for; other programs need more.
pub const SLOTS: usize = OUTLETS;

/// Identifies the file and the version of its layout.
const MAGIC: u64 = u64::from_be_bytes(*b"softrl\x00\x08");

/// One of the two ends of a cable, in the order in which the rig lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// `ends[0]`.
    First,
    /// `ends[1]`.
    Second,
}

impl Side {
    /// Both ends, in order.
    pub const BOTH: [Side; 2] = [Side::First, Side::Second];

    /// The other end.
    pub fn opposite(self) -> Side {
        match self {
            Side::First => Side::Second,
            Side::Second => Side::First,
        }
    }

    /// Its index in the rig's `ends`.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A cable that cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum ShmError {
    /// The operating system refused.
    #[error("cannot {action} the shared memory of a cable, {}", path.display())]
    Io {
        /// `create`, `open`, `map`, `size` or `reserve`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is not a cable, or has the layout of another version.
    #[error("{} is not a cable of this version of softrail", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

impl ShmError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Foreign { .. } => {
                Some("take the launcher and the provider from one build".to_owned())
            }
        }
    }
}

/// A queue pair for which a cable has no room.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// All slots have owners.
    #[error("all queue pairs at this end of the cable are in use")]
    InUse,
    /// There is no memory for its payload.
    #[error(transparent)]
    Memory(ShmError),
}

/// The part of the file before the payload rings.
#[derive(Debug)]
#[repr(C, align(64))]
struct Layout {
    magic: AtomicU64,
    ends: [EndState; 2],
}

/// One end of a cable.
#[derive(Debug)]
#[repr(C)]
pub struct EndState {
    /// The direction away from this end.
    pub direction: Direction,
    /// Held by the process that advances the direction.
    lease: Lease,
    /// What became of the direction's messages.
    pub tally: Tally,
    /// The current condition of that direction and of the device here.
    pub condition: Condition,
    /// Faults of single messages sent from here.
    pub injections: Injections,
    /// What the device here has a limited number of.
    pub claims: Claims,
    /// What its queue pairs took at most.
    pub usage: Usage,
    /// Wakes the processes at this end.
    pub bell: Bell,
    /// How many of the slots have their memory reserved.
    touched: AtomicU64,
    slots: [Slot; SLOTS],
}

impl EndState {
    /// The slots that were ever claimed. The others may have no memory.
    fn slots(&self) -> &[Slot] {
        let touched = self.touched.load(Ordering::Acquire) as usize;
        &self.slots[..touched.min(SLOTS)]
    }

    /// How many messages from here the other end has not taken yet.
    pub fn pending(&self) -> u64 {
        let depths = self.slots().iter().map(|slot| slot.outlet.queue.depth());
        depths.fold(0, u64::saturating_add)
    }

    /// Places the messages that start on the direction by `now`. `news` is a slot that may
    /// have offered something since it was announced.
    ///
    /// If another process is placing messages, this one leaves the work to the next process
    /// that looks.
    pub fn advance(&self, now: Time, news: Option<usize>) {
        if let Some(_leased) = self.lease.try_take(clock::now) {
            let link = self.condition.link();
            let outlet = |slot: usize| &self.slots[slot].outlet;
            self.direction.advance(&link, now, news, outlet);
        } else if let Some(slot) = news {
            self.direction.announce(slot);
        }
    }

    /// Advances only if that places something.
    pub fn look(&self, now: Time) {
        if self.direction.is_due(now) {
            self.advance(now, None);
        }
    }

    /// Places what `slot` has offered, even if the process that was to announce it was
    /// killed.
    pub fn look_for(&self, now: Time, slot: usize) {
        if self.direction.is_due(now) || !self.direction.has_backlog() {
            self.advance(now, Some(slot));
        }
    }

    /// When advancing will next place something, if it ever does without further action.
    pub fn next_start(&self) -> Option<Time> {
        self.direction.next_start(|slot| &self.slots[slot].outlet)
    }

    /// Does something with the messages of this end while no queue pair here is
    /// [emptied](Self::empty). `None` if another process uses the end at this moment.
    pub fn while_kept<R>(&self, act: impl FnOnce() -> R) -> Option<R> {
        let _leased = self.lease.try_take(clock::now)?;
        Some(act())
    }

    /// Empties a slot that the caller has claimed. No process advances the direction
    /// meanwhile.
    pub fn empty(&self, slot: &Slot) {
        let begun = Instant::now();
        let mut leased = None;
        // Whatever the memory says, no process holds the lease for longer than that.
        while leased.is_none() && begun.elapsed() < 2 * lease::TERM {
            leased = self.lease.try_take(clock::now);
            if leased.is_none() {
                thread::sleep(Duration::from_micros(10));
            }
        }
        slot.outlet.reset();
        drop(leased);
    }

    /// For each queue pair here, the process that owns it, or that owned it when it died.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Process> {
        let slots = self.slots().iter();
        slots.filter_map(|slot| Process::from_word(slot.owner.load(Ordering::Acquire)))
    }
}

/// One queue pair.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Slot {
    /// The [`Process`] that owns the slot; 0 when it is free.
    owner: AtomicU64,
    /// How often the slot was claimed: an old queue pair number must not reach a new
    /// queue pair.
    generation: AtomicU32,
    number: AtomicU32,
    peer: AtomicU32,
    /// Whether the queue pair accepts messages at all.
    answers: AtomicU32,
    /// Whether its process sleeps until something happens to the queue pair.
    wants_bell: AtomicU32,
    /// What the queue pair sends.
    pub outlet: Outlet,
}

impl Slot {
    /// Connects the queue pair in this slot to the one numbered `peer` at the other end.
    pub fn connect(&self, peer: u32) {
        self.peer.store(peer, Ordering::Release);
    }

    /// Sets whether the queue pair accepts the messages that reach it.
    pub fn set_answers(&self, answers: bool) {
        self.answers.store(u32::from(answers), Ordering::Release);
    }

    /// Whether a message for the queue pair here will eventually be answered.
    pub fn answers(&self) -> bool {
        self.answers.load(Ordering::Acquire) != 0 && is_alive(self.owner.load(Ordering::Acquire))
    }

    /// Sets whether the process of this queue pair is to be woken when something happens
    /// to it. A process that turns it on must look for earlier events afterwards, and
    /// again until some microseconds later.
    pub fn set_wants_bell(&self, wanted: bool) {
        self.wants_bell.store(u32::from(wanted), Ordering::SeqCst);
    }

    /// Whether the process of this queue pair is to be woken for what the caller has just
    /// written.
    pub fn wants_bell(&self) -> bool {
        // There is no fence, which would cost more than the rest of a short message. So
        // the processor may read this before other processes see what was written. The
        // process that asks to be woken therefore looks again for a while before it
        // sleeps; a store is visible long before that time is over.
        compiler_fence(Ordering::SeqCst);
        self.wants_bell.load(Ordering::Relaxed) != 0
    }

    /// Whether the queue pair here is `number` and is connected to `peer`.
    pub fn links(&self, number: u32, peer: u32) -> bool {
        self.number.load(Ordering::Acquire) == number && self.peer.load(Ordering::Acquire) == peer
    }

    /// Frees the slot of a process that ended without giving it back. Returns whether there
    /// was one.
    fn bury(&self) -> bool {
        let owner = self.owner.load(Ordering::Acquire);
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        owner != 0
            && !is_alive(owner)
            && self
                .owner
                .compare_exchange(owner, 0, success, failure)
                .is_ok()
    }

    fn try_claim(&self, own: Process, even_if_unread: bool) -> bool {
        let owner = self.owner.load(Ordering::Acquire);
        if is_alive(owner) || !even_if_unread && self.outlet.queue.depth() > 0 {
            return false;
        }
        self.owner
            .compare_exchange(owner, own.to_word(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// A slot that was claimed for a queue pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPair {
    /// The slot's index.
    pub slot: usize,
    /// The queue pair's number.
    pub number: u32,
    /// Whether a process ended without giving back its queue pair here, and none was
    /// claimed since.
    pub after_abnormal_end: bool,
}

/// Whether the slot has an owner. A process that was killed never gave its slot back.
fn is_alive(owner: u64) -> bool {
    Process::from_word(owner).is_some_and(Process::is_alive)
}

/// The slot that a queue pair number names.
pub fn slot_of(number: u32) -> usize {
    (number & 0xff) as usize
}

/// What the file has for each queue pair behind the layout. Only what is used takes memory.
const PAIR_BYTES: usize = size_of::<Credits>() + (MESSAGE_BYTES as usize).next_power_of_two();

// The credits of every queue pair are aligned in the mapping, which begins at a page.
const _: () = assert!(
    size_of::<Layout>().is_multiple_of(align_of::<Credits>())
        && PAIR_BYTES.is_multiple_of(align_of::<Credits>())
);

/// A mapped cable.
#[derive(Debug)]
pub struct SharedCable {
    map: MmapRaw,
    /// For reserving memory. The map alone would do for everything else.
    file: File,
    path: PathBuf,
}

impl SharedCable {
    /// The bytes of the file in front of the first payload ring: the state of the cable, and
    /// the credits of the first queue pair.
    pub const STATE_BYTES: usize = size_of::<Layout>() + size_of::<Credits>();

    const FILE_BYTES: usize = size_of::<Layout>() + 2 * SLOTS * PAIR_BYTES;

    /// The memory that a cable takes when jaccl uses it: in a ring of two ranks both ends
    /// have two queue pairs. The rest of the file takes no memory.
    pub const USUAL_BYTES: u64 =
        (1 << 16) + 2 * 2 * (QUEUE_BYTES + (size_of::<Credits>() + size_of::<Slot>()) as u64);

    /// Makes the file of an unused cable and maps it.
    ///
    /// # Errors
    /// When the file exists or cannot be made, or when there is no memory for the part
    /// before the payload rings.
    pub fn create(path: &Path) -> Result<Self, ShmError> {
        let fail = |action| {
            move |source| ShmError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let file = private::create(path).map_err(fail("create"))?;
        file.set_len(Self::FILE_BYTES as u64)
            .map_err(fail("size"))?;
        let cable = Self::map(file, path).map_err(fail("map"))?;
        // A slot is reserved when it is claimed.
        cable.reserve(0..cable.place_of(&cable.layout().ends[0].slots).start)?;
        for side in Side::BOTH {
            let end = cable.end(side);
            let start = cable.place_of(end).start;
            cable.reserve(start..cable.place_of(&end.slots).start)?;
        }
        cable.layout().magic.store(MAGIC, Ordering::Release);
        Ok(cable)
    }

    /// Maps a cable that a launcher made.
    ///
    /// # Errors
    /// When the file cannot be opened, is not such a cable, or may have been made by
    /// another user: then the source is an [`Untrusted`](crate::Untrusted).
    pub fn open(path: &Path) -> Result<Self, ShmError> {
        let fail = |action| {
            move |source| ShmError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let foreign = || ShmError::Foreign {
            path: path.to_owned(),
        };
        let file = private::open(path).map_err(fail("open"))?;
        let length = file.metadata().map_err(fail("open"))?.len();
        if length != Self::FILE_BYTES as u64 {
            return Err(foreign());
        }
        let cable = Self::map(file, path).map_err(fail("map"))?;
        if cable.layout().magic.load(Ordering::Acquire) != MAGIC {
            return Err(foreign());
        }
        Ok(cable)
    }

    fn map(file: File, path: &Path) -> io::Result<Self> {
        let map = MmapOptions::new().len(Self::FILE_BYTES).map_raw(&file)?;
        let path = path.to_owned();
        Ok(SharedCable { map, file, path })
    }

    /// Reserves the memory of a range of the file. Without it a process that touches the
    /// range for the first time gets a signal when the file system is full.
    fn reserve(&self, range: Range<u64>) -> Result<(), ShmError> {
        let length = range.end - range.start;
        platform::reserve(&self.file, range.start, length).map_err(|source| ShmError::Io {
            action: "reserve",
            path: self.path.clone(),
            source,
        })
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the mapping is page-aligned, at least as long as a `Layout` and
        // lives as long as `self`. `Layout` consists of atomics, for which every
        // bit pattern is valid and which other processes may change at any time.
        unsafe { &*self.map.as_ptr().cast::<Layout>() }
    }

    /// The state of one end.
    pub fn end(&self, side: Side) -> &EndState {
        &self.layout().ends[side.index()]
    }

    /// A queue pair of one end, or `None` when there is no such slot.
    pub fn slot(&self, side: Side, slot: usize) -> Option<&Slot> {
        self.end(side).slots.get(slot)
    }

    /// Claims one of the first `most` slots for `own`, which must be this process, and
    /// reserves its memory.
    ///
    /// A slot whose last owner left messages that the peer may still fetch is claimed only
    /// when there is no other, and then the one that was claimed least often: the peer of
    /// the queue pair that died last may be reading its messages at this moment.
    ///
    /// # Errors
    /// When all slots are taken, or when there is no memory for the slot's payload.
    pub fn claim(&self, side: Side, own: Process, most: usize) -> Result<NewPair, ClaimError> {
        let end = self.end(side);
        let after_abnormal_end = end.slots().iter().filter(|slot| slot.bury()).count() > 0;
        let index = self.claim_slot(side, own, most.min(SLOTS))?;
        if let Err(error) = self.reserve_message(side, index, QUEUE_BYTES) {
            self.release(side, index, own);
            return Err(ClaimError::Memory(error));
        }
        end.usage.note_queue_pairs(end.owners().count());
        let slot = &end.slots[index];
        slot.number.store(0, Ordering::Release);
        slot.peer.store(0, Ordering::Relaxed);
        slot.answers.store(0, Ordering::Relaxed);
        slot.wants_bell.store(0, Ordering::Relaxed);
        end.empty(slot);
        self.credits(side, index).withdraw();
        // Queue pair numbers have 24 bits, and 0 and 1 are reserved.
        let generation = slot.generation.fetch_add(1, Ordering::Relaxed) % 0xffff + 1;
        let number = generation << 8 | index as u32;
        slot.number.store(number, Ordering::Release);
        Ok(NewPair {
            slot: index,
            number,
            after_abnormal_end,
        })
    }

    /// Claims every free slot for this process. No queue pair comes of them.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(crate) fn claim_all(&self, side: Side) -> Result<(), ShmError> {
        loop {
            match self.claim_slot(side, Process::own(), SLOTS) {
                Ok(_) => {}
                Err(ClaimError::InUse) => return Ok(()),
                Err(ClaimError::Memory(error)) => return Err(error),
            }
        }
    }

    /// Makes `own` the owner of one of the first `most` slots.
    fn claim_slot(&self, side: Side, own: Process, most: usize) -> Result<usize, ClaimError> {
        let end = self.end(side);
        for (index, slot) in end.slots[..most].iter().enumerate() {
            if index >= end.slots().len() {
                self.reserve(self.place_of(slot))
                    .map_err(ClaimError::Memory)?;
                end.touched.fetch_max(index as u64 + 1, Ordering::AcqRel);
            }
            if slot.try_claim(own, false) {
                return Ok(index);
            }
        }
        let mut slots: Vec<_> = end.slots[..most].iter().enumerate().collect();
        slots.sort_by_key(|(_, slot)| slot.generation.load(Ordering::Relaxed));
        let unread = slots.iter().find(|(_, slot)| slot.try_claim(own, true));
        unread.map(|(index, _)| *index).ok_or(ClaimError::InUse)
    }

    /// Where the file has a part of the layout.
    fn place_of<T>(&self, part: &T) -> Range<u64> {
        let start = ptr::from_ref(part).addr() - self.map.as_ptr().addr();
        start as u64..(start + size_of::<T>()) as u64
    }

    /// Gives back a slot that `owner` has claimed. Frames that have left stay for the peer
    /// to fetch. Does nothing in another process, such as a child that the owner has
    /// forked, or when the slot has another owner by now.
    pub fn release(&self, side: Side, slot: usize, owner: Process) {
        if owner.number() != std::process::id() {
            return;
        }
        let word = &self.end(side).slots[slot].owner;
        let owner = owner.to_word();
        let _ = word.compare_exchange(owner, 0, Ordering::Release, Ordering::Relaxed);
    }

    /// Copies bytes into the payload ring of a slot, at an offset in the range of one
    /// message. Ranges wrap around the end of the ring, and so may the offset.
    ///
    /// # Safety
    /// `source` must be valid for reading `bytes` bytes, and the range must be the
    /// caller's: reserved by it and not yet published, or that of a read at the
    /// head of the queue that it answers.
    pub unsafe fn store(
        &self,
        side: Side,
        slot: usize,
        offset: u64,
        source: *const u8,
        bytes: u64,
    ) {
        // SAFETY: the caller's promise; the mapping never overlaps its buffer.
        unsafe { self.ring(side, slot).store(offset, source, bytes) };
    }

    /// Copies bytes out of the payload ring of a slot, from an offset in the range
    /// of one message. Ranges wrap around the end of the ring, and so may the offset.
    ///
    /// # Safety
    /// `target` must be valid for writing `bytes` bytes, and the range must belong
    /// to the message at the head of that slot's queue, not settled before this
    /// returns, or to a read of the caller's that was answered.
    pub unsafe fn load(&self, side: Side, slot: usize, offset: u64, target: *mut u8, bytes: u64) {
        // SAFETY: as in `store`; a published message is not written again before it
        // is settled.
        unsafe { self.ring(side, slot).load(offset, target, bytes) };
    }

    /// Reserves the memory of a queue pair for messages of up to `bytes`.
    ///
    /// # Errors
    /// When there is none.
    pub fn reserve_message(&self, side: Side, slot: usize, bytes: u64) -> Result<(), ShmError> {
        let start = pair_of(side, slot) as u64;
        self.reserve(start..start + size_of::<Credits>() as u64 + bytes)
    }

    /// The receives that a queue pair has posted.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn credits(&self, side: Side, slot: usize) -> &Credits {
        // SAFETY: `FILE_BYTES` counts them for every slot of both sides, so they are inside
        // the mapping, aligned because all before them is, and live as long as `self`. They
        // consist of atomics, for which every bit pattern is valid and which other
        // processes may change at any time.
        unsafe { &*self.map.as_ptr().add(pair_of(side, slot)).cast::<Credits>() }
    }

    fn ring(&self, side: Side, slot: usize) -> Ring<'_> {
        let start = pair_of(side, slot) + size_of::<Credits>();
        // SAFETY: `PAIR_BYTES` counts the ring behind the credits of every slot, so it is
        // inside the mapping, which lives as long as `self`.
        unsafe { Ring::at(self.map.as_mut_ptr().add(start)) }
    }
}

/// Where the file has what belongs to a queue pair: its credits, and behind them its ring.
fn pair_of(side: Side, slot: usize) -> usize {
    assert!(slot < SLOTS, "slot {slot} of {SLOTS}");
    size_of::<Layout>() + (side.index() * SLOTS + slot) * PAIR_BYTES
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, io::Write, os::unix::fs::PermissionsExt};

    use super::*;

    fn cable() -> (tempfile::TempDir, SharedCable) {
        let folder = private::folder();
        let cable = SharedCable::create(&folder.path().join("cable")).expect("a new file");
        (folder, cable)
    }

    #[test]
    fn two_mappings_of_a_cable_see_one_memory() {
        let (folder, ours) = cable();
        let theirs = SharedCable::open(&folder.path().join("cable")).expect("just made");
        let NewPair { slot, number, .. } = ours
            .claim(Side::First, Process::own(), SLOTS)
            .expect("all are free");
        ours.slot(Side::First, slot).expect("claimed").connect(77);
        assert!(
            theirs
                .slot(Side::First, slot_of(number))
                .expect("same slot")
                .links(number, 77)
        );
    }

    #[test]
    fn every_slot_has_a_ring_of_its_own() {
        let (_folder, cable) = cable();
        let places = || {
            Side::BOTH
                .into_iter()
                .flat_map(|side| (0..SLOTS).map(move |slot| (side, slot)))
        };
        for (number, (side, slot)) in places().enumerate() {
            let sent = [number as u8; 8];
            // SAFETY: the array has this length, and only one thread uses the cable.
            unsafe { cable.store(side, slot, QUEUE_BYTES - 4, sent.as_ptr(), 8) };
        }
        for (number, (side, slot)) in places().enumerate() {
            let mut received = [0xFF; 8];
            // SAFETY: as above.
            unsafe { cable.load(side, slot, QUEUE_BYTES - 4, received.as_mut_ptr(), 8) };
            assert_eq!(received, [number as u8; 8]);
        }
    }

    #[test]
    fn slots_run_out_and_come_back_under_another_number() {
        let (_folder, cable) = cable();
        let own = Process::own();
        let claimed: Vec<_> =
            std::iter::from_fn(|| cable.claim(Side::Second, own, SLOTS).ok()).collect();
        assert_eq!(claimed.len(), SLOTS);
        assert!(
            cable.claim(Side::First, own, SLOTS).is_ok(),
            "the other end has its own"
        );

        let NewPair { slot, number, .. } = claimed[3];
        cable.release(Side::Second, slot, own);
        let again = cable.claim(Side::Second, own, SLOTS);
        let again = again.expect("one came back");
        assert_eq!(again.slot, slot);
        assert_ne!(again.number, number);
        assert!(!again.after_abnormal_end);
    }

    #[test]
    fn the_slots_of_a_dead_process_are_free() {
        let (_folder, cable) = cable();
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("true runs");
        let dead = Process::numbered(child.id());
        child.wait().expect("true ends");
        cable.claim_all(Side::First).expect("there is memory");
        for slot in cable.end(Side::First).slots() {
            slot.owner.store(dead.to_word(), Ordering::Relaxed);
        }
        let ends = [(), ()].map(|()| {
            let pair = cable.claim(Side::First, Process::own(), SLOTS);
            pair.expect("all are free").after_abnormal_end
        });
        assert_eq!(ends, [true, false]);
    }

    #[test]
    fn only_the_owner_gives_a_slot_back() {
        let (_folder, cable) = cable();
        let own = Process::own();
        let NewPair { slot, .. } = cable.claim(Side::First, own, SLOTS).expect("all are free");
        let owner = || {
            cable.end(Side::First).slots[slot]
                .owner
                .load(Ordering::Relaxed)
        };
        cable.release(Side::First, slot, Process::numbered(1));
        assert_eq!(owner(), own.to_word());

        // The slot was taken for a dead process's, and has another owner.
        let next = Process::numbered(1).to_word();
        cable.end(Side::First).slots[slot]
            .owner
            .store(next, Ordering::Relaxed);
        cable.release(Side::First, slot, own);
        assert_eq!(owner(), next);
    }

    /// Tries to open a file that `make` has filled.
    fn refusal(make: impl FnOnce(&File)) -> String {
        let folder = private::folder();
        let path = folder.path().join("cable");
        make(&private::create(&path).expect("made"));
        let error = SharedCable::open(&path).expect_err("not a cable");
        let message = crate::with_causes(&error);
        assert!(message.contains(&path.display().to_string()), "{message}");
        message
    }

    #[test]
    fn a_file_that_is_no_cable_is_refused() {
        let whole = SharedCable::FILE_BYTES as u64;
        let of_another_version = |file: &File| {
            file.set_len(whole).expect("sized");
            (&mut &*file).write_all(b"softrl\x00\x01").expect("written");
        };
        let zeros = |file: &File| file.set_len(whole).expect("sized");
        assert!(refusal(of_another_version).contains("not a cable of this version"));
        assert!(refusal(zeros).contains("not a cable of this version"));
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let whole = SharedCable::FILE_BYTES as u64;
        for length in [0, 1, 4096, whole - 1, whole + 1, u64::from(u32::MAX)] {
            let sized = |file: &File| {
                file.set_len(length).expect("sized");
                if length > 8 {
                    (&mut &*file)
                        .write_all(&MAGIC.to_ne_bytes())
                        .expect("written");
                }
            };
            assert!(refusal(sized).contains("not a cable of this version"));
        }
    }

    #[test]
    fn a_cable_that_others_may_open_is_refused() {
        let open = Permissions::from_mode(0o644);
        let refused = refusal(|file| file.set_permissions(open).expect("changed"));
        assert!(refused.contains("is open to other users"), "{refused}");
    }
}
