//! A processor for each process: two that share one take turns, and then the turns are
//! what is measured.

/// Keeps this process on one of the processors that it may use: the first or the second
/// of them. Does nothing where there is only one, or where the system has no such wish.
pub fn keep_to(index: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

        let allowed = sched_getaffinity(None).unwrap_or_default();
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        if let Some(core) = cores.nth(index) {
            let mut one = CpuSet::new();
            one.set(core);
            // It is measured all the same, and the spread tells.
            let _ = sched_setaffinity(None, &one);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = index;
}
