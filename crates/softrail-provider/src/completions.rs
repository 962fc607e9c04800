//! The completions of a completion queue: what its queue pairs have completed and the
//! application has not polled.

use std::{
    collections::VecDeque,
    mem::MaybeUninit,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
};

use softrail::fabric::Time;

use super::{
    bindings as ibv,
    events::{AsyncEvents, ChannelEvents, Subject},
    lock,
};

/// A completion as a queue pair reports it.
pub struct Completion {
    pub entry: ibv::ibv_wc,
    /// When hardware would have had it.
    pub at: Time,
    /// Whether it produces an event if the application requested one for solicited
    /// messages only.
    pub is_solicited: bool,
}

/// The completions for which the application requested an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wanted {
    Nothing,
    /// Those of solicited messages, and failures.
    Solicited,
    Everything,
}

/// The completions that wait to be polled, in the order of their times.
pub struct Completions {
    waiting: Mutex<VecDeque<(Time, ibv::ibv_wc)>>,
    capacity: AtomicUsize,
    /// How many wait, for a look without the lock.
    count: AtomicUsize,
    /// A [`Wanted`].
    armed: AtomicU8,
    is_overrun: AtomicBool,
    channel: Option<Arc<ChannelEvents>>,
    async_events: Arc<AsyncEvents>,
    subject: Arc<Subject>,
}

impl Completions {
    /// Those of the completion queue that is the `subject` of its events, which go to
    /// `channel`.
    pub fn new(
        capacity: usize,
        channel: Option<Arc<ChannelEvents>>,
        async_events: Arc<AsyncEvents>,
        subject: Arc<Subject>,
    ) -> Self {
        Completions {
            waiting: Mutex::default(),
            capacity: AtomicUsize::new(capacity),
            count: AtomicUsize::new(0),
            armed: AtomicU8::new(Wanted::Nothing as u8),
            is_overrun: AtomicBool::new(false),
            channel,
            async_events,
            subject,
        }
    }

    /// What its events are about.
    pub fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    /// Adds a completion, and the event that the application requested for it. Those with
    /// equal times keep the order in which they are added.
    ///
    /// A completion that finds no room is lost, and so is every later one: the queue has
    /// overrun.
    pub fn push(&self, completion: Completion) {
        let mut waiting = lock(&self.waiting);
        if self.has_overrun() {
            return;
        }
        if waiting.len() == self.capacity.load(Ordering::Relaxed) {
            self.is_overrun.store(true, Ordering::Release);
            self.async_events.push(ibv::IBV_EVENT_CQ_ERR, &self.subject);
            return;
        }
        let earlier = waiting.iter().rposition(|(at, _)| *at <= completion.at);
        let place = earlier.map_or(0, |before| before + 1);
        waiting.insert(place, (completion.at, completion.entry));
        self.count.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        let has_failed = completion.entry.status != ibv::IBV_WC_SUCCESS;
        self.tell(completion.is_solicited || has_failed);
    }

    /// Pushes the event that the application requested, if it wants one for this
    /// completion.
    fn tell(&self, is_solicited: bool) {
        if !self.is_armed() {
            return;
        }
        let disarmed = |armed| {
            let everything = armed == Wanted::Everything as u8;
            let wanted = everything || armed == Wanted::Solicited as u8 && is_solicited;
            wanted.then_some(Wanted::Nothing as u8)
        };
        // In one step, because the application may request another event at this moment.
        let order = Ordering::SeqCst;
        let is_told = self.armed.fetch_update(order, order, disarmed).is_ok();
        if let Some(channel) = self.channel.as_ref().filter(|_| is_told) {
            channel.push((), &self.subject);
        }
    }

    /// Requests an event for the next completion; `false` if there is no channel. A
    /// request for every completion includes one for solicited messages.
    pub fn arm(&self, wanted: Wanted) -> bool {
        if self.channel.is_some() {
            self.armed.fetch_max(wanted as u8, Ordering::SeqCst);
        }
        self.channel.is_some()
    }

    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed) != Wanted::Nothing as u8
    }

    pub fn has_overrun(&self) -> bool {
        self.is_overrun.load(Ordering::Acquire)
    }

    /// Moves the earliest completions to the application's array. Returns how many.
    pub fn pop(&self, entries: &mut [MaybeUninit<ibv::ibv_wc>]) -> usize {
        // A completion that another thread adds meanwhile comes with the next poll.
        if self.count.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut waiting = lock(&self.waiting);
        let count = waiting.len().min(entries.len());
        for (entry, (_, completion)) in entries.iter_mut().zip(waiting.drain(..count)) {
            entry.write(completion);
        }
        self.count.store(waiting.len(), Ordering::Relaxed);
        count
    }

    /// Removes all completions, with their times.
    pub fn drain(&self) -> Vec<(Time, ibv::ibv_wc)> {
        let mut waiting = lock(&self.waiting);
        self.count.store(0, Ordering::Relaxed);
        waiting.drain(..).collect()
    }

    /// Drops the completions of a queue pair.
    pub fn forget(&self, number: u32) {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|(_, completion)| completion.qp_num != number);
        self.count.store(waiting.len(), Ordering::Relaxed);
    }

    /// The sum over the completions of receives, or of sends, of a queue pair that wait, of
    /// what `depth_of` takes the bytes of each for. Call it while the queue pair can report
    /// none.
    pub fn unpolled(&self, number: u32, are_receives: bool, depth_of: impl Fn(u64) -> u64) -> u64 {
        if self.count.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let is_counted = |(_, completion): &&(Time, ibv::ibv_wc)| {
            let is_receive = completion.opcode & ibv::IBV_WC_RECV != 0;
            completion.qp_num == number && is_receive == are_receives
        };
        let waiting = lock(&self.waiting);
        let counted = waiting.iter().filter(is_counted);
        let bytes = counted.map(|(_, completion)| u64::from(completion.byte_len));
        bytes.map(depth_of).sum()
    }

    /// Changes the capacity; `false` if more completions wait than would fit.
    pub fn resize(&self, capacity: usize) -> bool {
        let waiting = lock(&self.waiting);
        let fits = waiting.len() <= capacity;
        if fits {
            self.capacity.store(capacity, Ordering::Relaxed);
        }
        fits
    }

    /// Drops the events that were not handed out, and waits until the application has
    /// acknowledged the others.
    pub fn retire(&self) {
        if let Some(channel) = &self.channel {
            channel.forget(&self.subject);
        }
        self.async_events.forget(&self.subject);
        self.subject.await_acknowledgements();
    }
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    #[test]
    fn one_event_is_told_for_each_time_that_one_was_asked_for() {
        let channel = Arc::new(ChannelEvents::new().expect("sockets"));
        let events = Arc::new(AsyncEvents::new().expect("sockets"));
        let own = Some(Arc::clone(&channel));
        let completions = Completions::new(8, own, events, Arc::default());
        let is_told = |status, is_solicited| {
            // SAFETY: integers and a union of integers, for which zero is valid.
            let mut entry: ibv::ibv_wc = unsafe { mem::zeroed() };
            entry.status = status;
            completions.push(Completion {
                entry,
                at: Time::ZERO,
                is_solicited,
            });
            let is_told = crate::tests::is_readable(channel.fd(), 0);
            is_told && channel.next().is_ok()
        };
        let (well, failed) = (ibv::IBV_WC_SUCCESS, ibv::IBV_WC_LOC_LEN_ERR);
        assert!(!is_told(well, true), "none was asked for");
        completions.arm(Wanted::Solicited);
        assert!(!is_told(well, false));
        assert!(is_told(well, true));
        assert!(!is_told(well, true), "one was asked for");
        completions.arm(Wanted::Solicited);
        assert!(is_told(failed, false), "a failure wakes");
        completions.arm(Wanted::Everything);
        completions.arm(Wanted::Solicited);
        assert!(is_told(well, false), "the wider request holds");
    }
}
