use std::{
    ffi::OsStr, fs, fs::File, io, net::Ipv4Addr, os::unix::ffi::OsStrExt, path::Path,
    sync::atomic::AtomicU32, time::Duration,
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
    process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    thread::futex,
};

use super::{is_there, pid};

/// The name under which jaccl opens libibverbs.
pub const LIBRARY: &str = "libibverbs.so.1";

/// The file name that cargo gives the library of `softrail-provider`.
pub const PROVIDER: &str = "libsoftrail_provider.so";

/// Names the folders that the loader searches first.
pub const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// A folder whose files live in memory only.
pub const MEMORY: Option<&str> = Some("/dev/shm");

/// A loopback address with these last three bytes: this machine answers on all of
/// 127.0.0.0/8.
pub fn loopback([a, b, c]: [u8; 3]) -> Ipv4Addr {
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}

/// Reserves the memory or the disk blocks of a range of a file, if the file system can.
/// Bytes that are there stay.
pub fn reserve(file: &File, start: u64, length: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), start, length) {
            Err(Errno::INTR) => {}
            // Such a file system shows by a signal only that it is full.
            Err(errno) if [Errno::OPNOTSUPP, Errno::NOTSUP].contains(&errno) => return Ok(()),
            reserved => return Ok(reserved?),
        }
    }
}

/// Wakes every thread that [`wait`]s for a word.
pub fn wake(word: &AtomicU32) {
    // Fails only if the word is not mapped.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

/// Sleeps until it is woken if the word has this value, at most for `timeout`.
pub fn wait(word: &AtomicU32, value: u32, timeout: Option<Duration>) {
    let timeout = timeout.and_then(|time| time.try_into().ok());
    // The caller looks for work again, however the wait ended.
    let _ = futex::wait(word, futex::Flags::empty(), value, timeout.as_ref());
}

/// The start time of a process in ticks since boot. Its 32 bits wrap after more than a
/// year. 0 if the system does not report it, `None` if no process has this number.
pub fn start_of_process(number: u32) -> Option<u32> {
    start_told_by(Path::new("/proc"), number)
}

fn start_told_by(proc: &Path, number: u32) -> Option<u32> {
    match fs::read(proc.join(number.to_string()).join("stat")) {
        Ok(text) => start_in(&String::from_utf8_lossy(&text)),
        // Also the case where there is no `/proc` and where no file descriptor is left to
        // read it.
        Err(_) => is_there(number).then_some(0),
    }
}

/// The start time in a process's `stat`, unless the process has ended.
fn start_in(stat: &str) -> Option<u32> {
    // The process name comes first, in parentheses, and may hold any character.
    let (_, fields) = stat.rsplit_once(')')?;
    // proc(5) counts fields from 1; the first of these is its field 3.
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let threads = fields.nth(16)?;
    let start: u64 = fields.nth(1)?.parse().ok()?;
    // The first thread of a process may end before the others do.
    let has_ended = matches!(state, "Z" | "X") && matches!(threads, "0" | "1");
    (!has_ended).then_some(start as u32)
}

/// Sends a signal to a process if it has a file in `folder` mapped. Returns whether it
/// has.
pub fn signal_user(number: u32, folder: &Path, signal: Signal) -> io::Result<bool> {
    let Some(pid) = pid(number) else {
        return Ok(false);
    };
    // The signal goes to the process whose mappings were read, through its descriptor. So
    // no other process gets the signal if this one ends and its number is used again.
    let sent = pidfd_open(pid, PidfdFlags::empty()).and_then(|handle| {
        let is_user = has_mapped(number, folder);
        if is_user {
            pidfd_send_signal(handle, signal)?;
        }
        Ok(is_user)
    });
    match sent {
        Err(Errno::SRCH) => Ok(false),
        sent => Ok(sent?),
    }
}

/// Whether a process has a file in a folder mapped. `false` if the system does not show
/// the mappings, as for another user's process.
fn has_mapped(number: u32, folder: &Path) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else {
        return false;
    };
    let maps = fs::read(format!("/proc/{number}/maps")).unwrap_or_default();
    maps.split(|byte| *byte == b'\n').any(|line| {
        let name = line.iter().position(|byte| *byte == b'/');
        let file = name.map(|at| Path::new(OsStr::from_bytes(&line[at..])));
        file.and_then(Path::parent) == Some(&folder)
    })
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn without_proc_a_process_is_known_by_its_number_alone() {
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(start_told_by(empty.path(), process::id()), Some(0));
        let mut ended = process::Command::new("true").spawn().expect("true runs");
        ended.wait().expect("it ends");
        assert_eq!(start_told_by(empty.path(), ended.id()), None);
    }

    #[test]
    fn a_process_that_cannot_be_asked_is_there() {
        let proc = tempfile::tempdir().expect("a temporary folder");
        let stat = proc.path().join(process::id().to_string()).join("stat");
        fs::create_dir_all(stat).expect("a folder, which is no text");
        assert_eq!(start_told_by(proc.path(), process::id()), Some(0));
    }
}
