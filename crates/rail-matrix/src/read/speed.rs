//! Thunderbolt speeds, as `system_profiler` writes them.

use crate::{PortId, Topology, Unfit};

/// Up to this many Gb/s a port is Thunderbolt 4 or older; Thunderbolt 5 begins at 80.
const THUNDERBOLT_4: f64 = 40.0;

/// Reads the line rate of a device from text such as `80 Gb/s` or `Up to 80 Gb/s`. Other
/// text gives no rate: empty ports have such text.
pub(super) fn set(topology: &mut Topology, port: PortId, written: &str) {
    let Some(gigabits) = gigabits_per_second(written) else {
        return;
    };
    topology.set_thunderbolt(port, (gigabits * 1e9 / 8.0) as u64);
    if gigabits <= THUNDERBOLT_4 {
        let gigabits_per_second = gigabits as u32;
        topology.set_unfit(
            port,
            Unfit::Thunderbolt4 {
                gigabits_per_second,
            },
        );
    }
}

fn gigabits_per_second(written: &str) -> Option<f64> {
    let written = written.trim();
    let speed = written.strip_prefix("Up to ").unwrap_or(written);
    let number = speed.trim().strip_suffix("Gb/s")?.trim_end();
    let gigabits: f64 = number.parse().ok()?;
    (gigabits.is_finite() && gigabits > 0.0).then_some(gigabits)
}
