use std::{
    io,
    net::Ipv4Addr,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

/// The name under which jaccl opens the RDMA library.
pub const LIBRARY: &str = "librdma.dylib";

/// What cargo calls the library that `softrail-provider` is.
pub const PROVIDER: &str = "libsoftrail_provider.dylib";

/// Names the folders in which libraries are looked for first. The system takes it from
/// its own programs, such as `sh`, and so from what they start.
pub const LIBRARY_PATH: &str = "DYLD_LIBRARY_PATH";

/// Files are on a disk, and in memory for as long as they are used.
pub const MEMORY: Option<&str> = None;

/// The one address of its network that is answered.
pub fn loopback(_: [u8; 3]) -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

/// Nobody sleeps longer than [`PAUSE`] here.
pub fn wake(_: &AtomicU32) {}

/// How long who waits for a word sleeps between two looks: processes cannot wait for
/// each other's memory.
const PAUSE: Duration = Duration::from_micros(100);

/// Waits until the word has another value, and no longer than `timeout`.
pub fn wait(word: &AtomicU32, value: u32, timeout: Option<Duration>) {
    let until = timeout.map(|time| Instant::now() + time);
    while word.load(Ordering::SeqCst) == value && until.is_none_or(|at| Instant::now() < at) {
        thread::sleep(PAUSE);
    }
}

/// 0 for every process that runs: the system does not tell. Nothing when none of this
/// number runs.
pub fn start_of_process(number: u32) -> Option<u32> {
    super::is_there(number).then_some(0)
}

/// Nobody is told here what a process has mapped, so nobody gets a signal.
pub fn signal_user(_: u32, _: &Path, _: Signal) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}
