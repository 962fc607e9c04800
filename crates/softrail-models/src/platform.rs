//! As `platform` of softrail, for a model: the system call `futex`.

use std::time::Duration;

use loom::{
    lazy_static,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

lazy_static! {
    /// Held by the system while it compares a word and puts a thread to sleep, and while
    /// it wakes threads.
    static ref SYSTEM: Mutex<()> = Mutex::new(());
    /// All threads that sleep, whatever word they wait for: a thread may wake without a
    /// reason.
    static ref ASLEEP: Condvar = Condvar::new();
}

/// Wakes every thread that [`wait`]s for a word.
pub fn wake(_: &AtomicU32) {
    let _system = SYSTEM.lock().expect("no model panics here");
    ASLEEP.notify_all();
}

/// Sleeps until it is woken if the word has this value. With a timeout it may also return
/// at once.
pub fn wait(word: &AtomicU32, value: u32, timeout: Option<Duration>) {
    if timeout.is_some() {
        thread::yield_now();
        return;
    }
    let system = SYSTEM.lock().expect("no model panics here");
    // The system compares the latest value, which of loom's operations only those see
    // that write.
    if word.fetch_add(0, Ordering::SeqCst) == value {
        drop(ASLEEP.wait(system));
    }
}
