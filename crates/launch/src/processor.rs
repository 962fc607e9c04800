//! The processor time of a process.

use std::time::Duration;

/// The processor time of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// Processor time used so far, by all of its threads.
    pub used: Duration,
    /// Whether one of its threads is running or ready to run.
    pub wants: bool,
}

impl Processor {
    /// Reads it from the system; `None` if the process is gone or the system does not
    /// report it.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        system::processor(pid)
    }
}

/// Linux: fields 14, 15 and 3 of `/proc/PID/stat` (proc(5)). A container may have no
/// `/proc`; `ps` is run then.
#[cfg(target_os = "linux")]
mod system {
    use std::{fs, path::Path, time::Duration};

    use super::{Processor, ps};

    pub(super) fn processor(pid: u32) -> Option<Processor> {
        from_proc(pid).or_else(|| ps::processor(pid))
    }

    fn from_proc(pid: u32) -> Option<Processor> {
        let folder = Path::new("/proc").join(pid.to_string());
        let stat = Stat::read(&folder)?;
        let threads = fs::read_dir(folder.join("task")).ok()?;
        let wants = threads
            .flatten()
            .filter_map(|thread| Stat::read(&thread.path()))
            .any(|thread| thread.runnable);
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Processor {
            used: Duration::from_millis(stat.ticks * 1000 / per_second),
            wants,
        })
    }

    struct Stat {
        ticks: u64,
        runnable: bool,
    }

    impl Stat {
        fn read(folder: &Path) -> Option<Self> {
            let text = fs::read_to_string(folder.join("stat")).ok()?;
            // The process name before it may hold any character.
            let (_, fields) = text.rsplit_once(") ")?;
            let fields: Vec<&str> = fields.split(' ').collect();
            let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
            Some(Stat {
                ticks: ticks(11)? + ticks(12)?,
                runnable: fields.first() == Some(&"R"),
            })
        }
    }
}

/// macOS has no `/proc`.
#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) use super::ps::processor;
}

/// `ps`, which every system has and which needs no system-specific call.
mod ps {
    use std::{
        process::{Command, Stdio},
        time::Duration,
    };

    use super::Processor;

    pub(super) fn processor(pid: u32) -> Option<Processor> {
        let output = Command::new("ps")
            .args(["-o", "time=,state=", "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .output()
            .ok()?;
        parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// `0:03.25 R+` on macOS, `1-02:03:04 S` on Linux.
    pub(super) fn parse(text: &str) -> Option<Processor> {
        let mut words = text.split_whitespace();
        let (time, state) = (words.next()?, words.next()?);
        let (days, clock) = match time.split_once('-') {
            Some((days, clock)) => (days.parse().ok()?, clock),
            None => (0.0, time),
        };
        let mut seconds: f64 = 0.0;
        for part in clock.split(':') {
            seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
        }
        let used = Duration::try_from_secs_f64(days * 86400.0 + seconds).ok()?;
        Some(Processor {
            used,
            wants: state.starts_with('R'),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ps_prints_is_read_on_both_systems() {
        let had = |millis, wants| {
            let used = Duration::from_millis(millis);
            Some(Processor { used, wants })
        };
        assert_eq!(ps::parse("  0:03.25 R+\n"), had(3250, true));
        assert_eq!(ps::parse("12:00.00 S\n"), had(720_000, false));
        assert_eq!(ps::parse("1-02:03:04 Ss\n"), had(93_784_000, false));
        assert_eq!(ps::parse(""), None);
        assert_eq!(ps::parse("TIME STAT"), None);
    }

    #[test]
    fn a_process_without_proc_is_asked_for_by_ps() {
        let mut spin = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(60);
        let wants = || ps::processor(spin.id()).is_some_and(|had| had.wants);
        while !wants() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (by_ps, by_system) = (ps::processor(spin.id()), Processor::of(spin.id()));
        spin.kill().unwrap();
        spin.wait().unwrap();
        assert!(by_ps.is_some_and(|had| had.wants), "{by_ps:?}");
        assert!(by_system.is_some(), "{by_system:?}");
    }
}
