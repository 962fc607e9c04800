//! Pins each process to a processor of its own. Two processes that share one take turns,
//! and a measurement would measure the turns.

/// Pins this process to the first or the second of the processors that it may use. Does
/// nothing if there is only one, or if the system does not support it.
pub fn keep_to(index: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

        let allowed = sched_getaffinity(None).unwrap_or_default();
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        if let Some(core) = cores.nth(index) {
            let mut one = CpuSet::new();
            one.set(core);
            // The measurement runs all the same; its spread shows the effect.
            let _ = sched_setaffinity(None, &one);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = index;
}
