use super::Time;
use crate::sync::{AtomicU64, Ordering};

/// The most receives that a queue pair may have posted and not used: as many as frames of
/// the longest queue of RDMA over Thunderbolt, rounded up to a power of two.
pub const RECEIVES: usize = 1 << 12;

/// The receives that a queue pair has posted. Where a cable has credits, its peer may send
/// one message for each. All zeros is a queue pair that posted none.
///
/// The counts go on over connections. So a peer that is reset and connected again alone
/// gets no credit of a receive that was used or dropped.
///
/// One receiver and one sender use it at the same time, from two processes. The time of a
/// receive stays until [`RECEIVES`] more were posted, and so for as long as it is of use.
#[derive(Debug)]
#[repr(C)]
pub struct Credits {
    line: Line,
    at: [AtomicU64; RECEIVES],
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Line {
    posted: AtomicU64,
    /// The receives that messages have used, and those that were dropped.
    used: AtomicU64,
}

impl Default for Credits {
    fn default() -> Self {
        Credits {
            line: Line::default(),
            at: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl Credits {
    /// Grants the peer another message for a receive that was posted at `now`. Only the
    /// receiver may call this.
    pub fn grant(&self, now: Time) {
        let number = self.line.posted.load(Ordering::Relaxed);
        self.entry(number).store(now.as_nanos(), Ordering::Relaxed);
        let next = number.wrapping_add(1);
        self.line.posted.store(next, Ordering::Release);
    }

    /// Records that a message has used the oldest receive. Only the receiver may call this.
    pub fn spend(&self) {
        let used = self.line.used.load(Ordering::Relaxed);
        let posted = self.line.posted.load(Ordering::Relaxed);
        self.line
            .used
            .store(posted.min(used.wrapping_add(1)), Ordering::Release);
    }

    /// Takes back what no message has used: the receives are dropped. Only the receiver may
    /// call this.
    pub fn withdraw(&self) {
        let posted = self.line.posted.load(Ordering::Relaxed);
        self.line.used.store(posted, Ordering::Release);
    }

    /// The first receive from number `next` on that is not used, and when it was posted.
    /// `None` if it is yet to be posted. `next` is one more than the number that the
    /// sender's last message got, or 0.
    pub fn granted(&self, next: u64) -> Option<(u64, Time)> {
        let number = next.max(self.line.used.load(Ordering::Acquire));
        let posted = self.line.posted.load(Ordering::Acquire);
        let is_posted = (1..=RECEIVES as u64).contains(&posted.wrapping_sub(number));
        is_posted.then(|| {
            let at = self.entry(number).load(Ordering::Relaxed);
            (number, Time::from_nanos(at))
        })
    }

    fn entry(&self, number: u64) -> &AtomicU64 {
        &self.at[(number % RECEIVES as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_receive_is_a_credit_with_its_time() {
        let credits = Credits::default();
        assert_eq!(credits.granted(0), None);
        for number in 0..2 * RECEIVES as u64 {
            let at = Time::from_nanos(number + 7);
            credits.grant(at);
            assert_eq!(credits.granted(number), Some((number, at)));
            assert_eq!(credits.granted(number + 1), None);
        }
    }

    #[test]
    fn a_sender_that_begins_anew_gets_the_oldest_receive_that_is_there() {
        let credits = Credits::default();
        (0..3).for_each(|at| credits.grant(Time::from_nanos(at)));
        credits.spend();
        assert_eq!(credits.granted(0), Some((1, Time::from_nanos(1))));
        credits.withdraw();
        assert_eq!(credits.granted(0), None);
        assert_eq!(credits.granted(2), None);
        credits.grant(Time::from_nanos(9));
        assert_eq!(credits.granted(0), Some((3, Time::from_nanos(9))));
    }
}
