use super::{Time, stream::Cursor};
use crate::sync::{AtomicU64, Ordering};

/// The most receives that a queue pair may have posted and not used: as many as frames of
/// the longest queue of RDMA over Thunderbolt, rounded up to a power of two.
pub const RECEIVES: usize = 1 << 12;

/// The receives that a queue pair has posted. Where a cable has credits, its peer may send
/// one message for each. All zeros is a queue pair that posted none.
///
/// One receiver and one sender use it at the same time, from two processes. The sender has
/// looked at a receive before the receiver has used it, so no time is overwritten before it
/// was read.
#[derive(Debug)]
#[repr(C)]
pub struct Credits {
    posted: Cursor,
    at: [AtomicU64; RECEIVES],
}

impl Default for Credits {
    fn default() -> Self {
        Credits {
            posted: Cursor::default(),
            at: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl Credits {
    /// Forgets every receive, for another connection.
    pub fn reset(&self) {
        self.posted.0.store(0, Ordering::Release);
    }

    /// Grants the peer another message for a receive that was posted at `now`. Only the
    /// receiver may call this.
    pub fn grant(&self, now: Time) {
        let number = self.posted.0.load(Ordering::Relaxed);
        self.entry(number).store(now.as_nanos(), Ordering::Relaxed);
        let next = number.wrapping_add(1);
        self.posted.0.store(next, Ordering::Release);
    }

    /// When the receive for message `number` of a connection was posted, counted from 0;
    /// `None` if it was not posted yet.
    pub fn granted(&self, number: u64) -> Option<Time> {
        let posted = self.posted.0.load(Ordering::Acquire);
        // An impossible count is another process's fault: the memory is not trusted.
        let is_posted = (1..=RECEIVES as u64).contains(&posted.wrapping_sub(number));
        is_posted.then(|| Time::from_nanos(self.entry(number).load(Ordering::Relaxed)))
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
            credits.grant(Time::from_nanos(number + 7));
            assert_eq!(
                credits.granted(number),
                Some(Time::from_nanos(number + 7)),
                "{number}"
            );
            assert_eq!(credits.granted(number + 1), None);
        }
        credits.reset();
        assert_eq!(credits.granted(0), None);
    }
}
