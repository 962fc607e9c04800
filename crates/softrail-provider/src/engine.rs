//! Work that must be done while the application makes no call: reads and writes of the
//! other end are served, reliable messages are answered, sleeping threads are woken, and
//! changes of the port are reported.
//!
//! Each open device has a thread, which sleeps unless the bell of its end of the cable
//! rings. The work of a client that polls, such as jaccl, is done inside `ibv_post_send`
//! and `ibv_poll_cq`. While its sends wait for receives that are yet to be posted, the
//! thread looks every millisecond, in case the client has stopped to poll.

use std::{
    any::Any,
    io,
    panic::{self, AssertUnwindSafe},
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::thread::sched_yield;

use super::{clock, complain, lock, port::Port, queue_pair::QueuePair};
use softrail::{
    Bell,
    fabric::Time,
    shm::{SharedCable, Side},
};

/// How long the thread looks for more work after it was woken or did something. A sender
/// that waits for each answer sends again within this time, and an event that
/// [`Slot::wants_bell`](softrail::shm::Slot::wants_bell) may miss becomes visible.
const LINGER: Duration = Duration::from_micros(100);

/// How long before an event's time the thread waits for it awake: the time that the
/// system needs to wake a thread.
const ALERT: Duration = Duration::from_micros(60);

/// The thread of an open device. It ends when this is dropped.
pub struct Engine {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    cable: Arc<SharedCable>,
    side: Side,
    port: Port,
    pairs: Mutex<Vec<Arc<QueuePair>>>,
    stop: AtomicBool,
}

impl Engine {
    pub fn start(cable: Arc<SharedCable>, side: Side, port: Port) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            cable,
            side,
            port,
            pairs: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let runs = Arc::clone(&shared);
        let builder = thread::Builder::new().name("softrail".to_owned());
        let thread = Some(builder.spawn(move || or_abort(|| runs.run()))?);
        Ok(Engine { shared, thread })
    }

    pub fn add(&self, pair: Arc<QueuePair>) {
        lock(&self.shared.pairs).push(pair);
    }

    /// Removes a queue pair. The thread does not touch it after this returns.
    pub fn remove(&self, pair: &Arc<QueuePair>) {
        lock(&self.shared.pairs).retain(|other| !Arc::ptr_eq(other, pair));
    }

    /// Wakes the thread to look for work.
    pub fn wake(&self) {
        self.shared.bell().ring();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.bell().rouse();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic without ending the process.
            let _ = thread.join();
        }
    }
}

/// Runs the thread. If the thread panicked and its process went on, the process would wait
/// without end for what the thread was to do.
fn or_abort(run: impl FnOnce()) {
    if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(run)) {
        let why = message_of(&*panic);
        complain(format_args!(
            "a bug: the thread that serves the queue pairs of a device panicked: {why}"
        ));
        process::abort();
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

impl Shared {
    fn bell(&self) -> &Bell {
        &self.cable.end(self.side).bell
    }

    fn run(&self) {
        let mut last_work = clock::now();
        let mut last_rings = self.bell().rings();
        loop {
            let rings = self.bell().rings();
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            self.port.look(&self.cable.end(self.side).condition);
            let now = clock::now();
            let (worked, next) = self.serve(now);
            if worked || rings != last_rings {
                last_work = now;
                last_rings = rings;
            }
            let lingers = (last_work + LINGER) - now;
            let pause = match next {
                Some(next) => {
                    let pause = (next - now).saturating_sub(ALERT);
                    let looks_again = lingers > Duration::ZERO;
                    Some(if looks_again {
                        pause.min(lingers)
                    } else {
                        pause
                    })
                }
                None if lingers > Duration::ZERO => Some(Duration::ZERO),
                None => None,
            };
            if pause == Some(Duration::ZERO) {
                sched_yield();
            } else {
                self.bell().wait(rings, pause);
            }
        }
    }

    /// Does the work that is due by `now`. Returns whether there was any, and when there
    /// will be more.
    fn serve(&self, now: Time) -> (bool, Option<Time>) {
        let pairs = lock(&self.pairs);
        let served = pairs.iter().map(|pair| {
            pair.serve(now);
            pair.outlook(now)
        });
        served.fold((false, None), |(worked, next), (did, then)| {
            let next = [next, then].into_iter().flatten().min();
            (worked || did, next)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Set in a process that is to panic.
    const PANICS: &str = "SOFTRAIL_TEST_PANICS";

    #[test]
    fn a_panic_of_the_thread_ends_the_process_with_its_message() {
        if env::var_os(PANICS).is_some() {
            // An application may have a hook that prints nothing.
            panic::set_hook(Box::new(|_| {}));
            let thread = thread::spawn(|| or_abort(|| panic!("{} is odd", 3)));
            let _ = thread.join();
            return;
        }
        let name = "engine::tests::a_panic_of_the_thread_ends_the_process_with_its_message";
        let ended = Command::new(env::current_exe().expect("this program"))
            .args([name, "--exact", "--nocapture"])
            .env(PANICS, "1")
            .output()
            .expect("this program runs");
        let printed = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{printed}");
        assert!(printed.contains("panicked: 3 is odd"), "{printed}");
    }
}
