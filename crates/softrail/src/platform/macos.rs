use std::{
    fs::File,
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

/// The file name that cargo gives the library of `softrail-provider`.
pub const PROVIDER: &str = "libsoftrail_provider.dylib";

/// Names the folders that the loader searches first. macOS removes it from the
/// environment of its own programs, such as `sh`, and so from that of the programs they
/// start.
pub const LIBRARY_PATH: &str = "DYLD_LIBRARY_PATH";

/// Files are stored on disk; they are in memory only while they are in use.
pub const MEMORY: Option<&str> = None;

/// The only loopback address that is configured.
pub fn loopback(_: [u8; 3]) -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

/// Reserves nothing: macOS reserves only at the end of a file, and would set its length.
pub fn reserve(_: &File, _: u64, _: u64) -> io::Result<()> {
    Ok(())
}

/// No process sleeps longer than [`PAUSE`] on this system.
pub fn wake(_: &AtomicU32) {}

/// How long a waiting process sleeps between two looks at the word: on macOS a process
/// cannot wait for a word in another process's memory.
const PAUSE: Duration = Duration::from_micros(100);

/// Waits until the word has another value, at most for `timeout`.
pub fn wait(word: &AtomicU32, value: u32, timeout: Option<Duration>) {
    let until = timeout.map(|time| Instant::now() + time);
    while word.load(Ordering::SeqCst) == value && until.is_none_or(|at| Instant::now() < at) {
        thread::sleep(PAUSE);
    }
}

/// The start time of a process, which is always 0: macOS does not report it here. `None`
/// if no process has this number.
pub fn start_of_process(number: u32) -> Option<u32> {
    super::is_there(number).then_some(0)
}

/// The system does not report here what a process has mapped, so no process gets a
/// signal.
pub fn signal_user(_: u32, _: &Path, _: Signal) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}
