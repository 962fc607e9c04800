//! Faults of single messages.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use rig::MessageFault;

use crate::process::Process;

/// How many message faults of a device may be pending at a time.
pub const INJECTIONS: usize = 64;

/// The faults of messages that an end of a cable is yet to send, in memory that the
/// injecting processes share with the senders. All zeros is no fault.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Injections {
    /// One bit for each entry that may be ready; almost always all are clear. A bit
    /// changes only while a process holds the entry.
    pending: AtomicU64,
    /// How many queue pairs were created at this end.
    created: AtomicU32,
    entries: [Entry; INJECTIONS],
}

#[derive(Debug, Default)]
#[repr(C)]
struct Entry {
    /// How many messages pass before the one with the fault, and above these 32 bits how
    /// often the entry was used: a process that was stopped while it looked at the entry
    /// must not count, or take, another fault.
    before: AtomicU64,
    /// The queue pair whose messages count, from 1; 0 if the messages of all count.
    queue_pair: AtomicU32,
    /// `FREE`, `READY`, or the number of the process that writes the entry or takes from
    /// it. If that process was killed meanwhile, the entry counts as free.
    state: AtomicU32,
    /// The delay in nanoseconds; 0 for a message that is dropped.
    delay: AtomicU64,
}

/// The bits of [`Entry::before`] that count messages.
const MESSAGES: u32 = u32::BITS;

/// States of an entry that are not the number of any process.
const FREE: u32 = 0;
const READY: u32 = u32::MAX;

impl Default for Injections {
    fn default() -> Self {
        Injections {
            pending: AtomicU64::default(),
            created: AtomicU32::default(),
            entries: std::array::from_fn(|_| Entry::default()),
        }
    }
}

impl Injections {
    /// Counts another queue pair and returns its number, from 0.
    pub fn created(&self) -> u32 {
        self.created.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a fault for a message. Messages are counted from the next one as 0: those of
    /// one queue pair, which may be yet to be created, or of all. Returns `false` if
    /// `INJECTIONS` faults are pending.
    pub fn add(&self, queue_pair: Option<u32>, message: u32, fault: MessageFault) -> bool {
        let mut entries = self.entries.iter().enumerate();
        let Some((index, entry)) = entries.find(|(_, entry)| entry.claim()) else {
            return false;
        };
        let queue_pair = queue_pair.map_or(0, |number| number.saturating_add(1));
        let delay = match fault {
            MessageFault::Drop => 0,
            MessageFault::Delay(by) => u64::try_from(by.as_nanos()).unwrap_or(u64::MAX).max(1),
        };
        let uses = (entry.before.load(Ordering::Relaxed) >> MESSAGES).wrapping_add(1);
        let before = uses << MESSAGES | u64::from(message);
        entry.before.store(before, Ordering::Relaxed);
        entry.queue_pair.store(queue_pair, Ordering::Relaxed);
        entry.delay.store(delay, Ordering::Relaxed);
        // In this order, a process that is killed in between leaves no ready entry
        // without its bit.
        self.pending.fetch_or(1 << index, Ordering::Relaxed);
        entry.state.store(READY, Ordering::Release);
        true
    }

    /// The fault of the queue pair's next message, if it has one. Call it once for each
    /// message.
    pub fn next(&self, queue_pair: u32) -> Option<MessageFault> {
        let mut pending = self.pending.load(Ordering::Relaxed);
        let mut fault = None;
        while pending != 0 {
            let index = pending.trailing_zeros();
            pending &= pending - 1;
            let entry = &self.entries[index as usize];
            if let Some(of_entry) = entry.pass(queue_pair) {
                self.pending.fetch_and(!(1 << index), Ordering::Relaxed);
                entry.state.store(FREE, Ordering::Release);
                fault = fault.or(Some(of_entry));
            }
        }
        fault
    }
}

impl Entry {
    /// Makes this process the entry's holder, if the entry is unused.
    fn claim(&self) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let is_unused = match state {
            FREE => true,
            READY => false,
            process => !Process::numbered(process).is_alive(),
        };
        is_unused && self.hold(state)
    }

    /// Makes this process the entry's holder if the entry is in this state.
    fn hold(&self, state: u32) -> bool {
        let own = std::process::id();
        self.state
            .compare_exchange(state, own, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Counts a message and returns its fault if it is the one with the fault. This
    /// process then holds the entry.
    fn pass(&self, queue_pair: u32) -> Option<MessageFault> {
        let found = self.before.load(Ordering::Acquire);
        if self.state.load(Ordering::Acquire) != READY {
            return None;
        }
        let meant = self.queue_pair.load(Ordering::Relaxed);
        if meant != 0 && meant - 1 != queue_pair {
            return None;
        }
        let count = |before: u64| {
            let is_same = before >> MESSAGES == found >> MESSAGES;
            (is_same && before as u32 > 0).then(|| before - 1)
        };
        // Of two processes that pass it at the same time, only one gets the last count.
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let Err(last) = self.before.fetch_update(success, failure, count) else {
            return None;
        };
        if last >> MESSAGES != found >> MESSAGES || !self.hold(READY) {
            return None;
        }
        if self.before.load(Ordering::Acquire) != last {
            // Another fault by now, whose turn has not come.
            self.state.store(READY, Ordering::Release);
            return None;
        }
        Some(match self.delay.load(Ordering::Relaxed) {
            0 => MessageFault::Drop,
            nanos => MessageFault::Delay(Duration::from_nanos(nanos)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: MessageFault = MessageFault::Delay(Duration::from_millis(5));

    #[test]
    fn a_fault_meets_the_message_that_is_meant_and_no_other() {
        let injections = Injections::default();
        assert!(injections.add(Some(1), 2, MessageFault::Drop));
        assert!(injections.add(None, 3, DELAY));
        let met: Vec<_> = [0, 1, 1, 0, 1, 1]
            .into_iter()
            .map(|queue_pair| injections.next(queue_pair))
            .collect();
        let drop = Some(MessageFault::Drop);
        assert_eq!(met, [None, None, None, Some(DELAY), drop, None]);
    }

    #[test]
    fn room_comes_back_with_the_message() {
        let injections = Injections::default();
        assert!((0..INJECTIONS).all(|_| injections.add(Some(7), 0, DELAY)));
        assert!(!injections.add(Some(7), 0, DELAY));
        assert_eq!(injections.next(0), None);
        assert_eq!(injections.next(7), Some(DELAY));
        assert!(injections.add(None, 0, MessageFault::Drop));
    }

    #[test]
    fn who_was_killed_in_the_middle_takes_no_room_along() {
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("true runs");
        child.wait().expect("it ends");
        let injections = Injections::default();
        injections.entries[0]
            .state
            .store(child.id(), Ordering::Relaxed);
        injections.pending.store(1, Ordering::Relaxed);
        assert_eq!(injections.next(0), None);
        assert!((0..INJECTIONS).all(|_| injections.add(None, 0, DELAY)));
        assert_eq!(injections.next(0), Some(DELAY));
    }

    #[test]
    fn who_is_in_the_middle_is_left_alone() {
        let injections = Injections::default();
        let own = std::process::id();
        injections.entries[0].state.store(own, Ordering::Relaxed);
        assert!((1..INJECTIONS).all(|_| injections.add(None, 0, DELAY)));
        assert!(!injections.add(None, 0, DELAY));
    }
}
