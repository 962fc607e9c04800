//! A receiver that posts, uses and drops receives while its peer asks for credits.

use std::sync::Arc;

use loom::thread;
use softrail_models::{
    check,
    fabric::{Credits, Time},
};

/// When receive `number` is posted.
fn posted(number: u64) -> Time {
    Time::from_nanos(100 + number)
}

/// Whatever is granted, its time is that of the receive, and no receive is granted twice.
#[test]
fn a_credit_comes_with_the_time_of_its_receive() {
    check(3, || {
        let credits = Arc::new(Credits::default());
        let receiver = Arc::clone(&credits);
        let receiver = thread::spawn(move || {
            receiver.grant(posted(0));
            receiver.grant(posted(1));
        });
        let mut next = 0;
        for _ in 0..3 {
            if let Some((number, at)) = credits.granted(next) {
                assert_eq!((number, at), (next, posted(number)));
                next = number + 1;
            }
        }
        receiver.join().expect("it does not panic");
        let granted = credits.granted(next);
        assert_eq!(granted.is_some(), next < 2, "{granted:?} after {next}");
    });
}

/// A sender that begins anew while the peer uses and drops receives never gets one that the
/// peer had dropped before the sender began.
#[test]
fn what_was_dropped_before_is_granted_to_nobody() {
    check(3, || {
        let credits = Arc::new(Credits::default());
        credits.grant(posted(0));
        credits.spend();
        let receiver = Arc::clone(&credits);
        let receiver = thread::spawn(move || {
            receiver.grant(posted(1));
            receiver.withdraw();
            receiver.grant(posted(2));
        });
        if let Some((number, at)) = credits.granted(0) {
            assert!(number > 0);
            assert_eq!(at, posted(number));
        }
        receiver.join().expect("it does not panic");
        assert_eq!(credits.granted(0), Some((2, posted(2))));
    });
}
