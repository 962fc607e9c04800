//! Devices whose cable the description leaves open.

use std::collections::HashMap;

use crate::Problem;

/// Why devices have no cable that is known for certain. Devices are written as in
/// problems, `node:device`.
pub struct Unsettled<'a> {
    one_sided: HashMap<(&'a str, &'a str), &'a Problem>,
    by_device: HashMap<&'a str, &'a Problem>,
}

impl<'a> Unsettled<'a> {
    pub fn of(problems: &'a [Problem]) -> Self {
        let mut one_sided = HashMap::new();
        let mut by_device = HashMap::new();
        // Statements of other devices count less than a device's own.
        let mut by_others = HashMap::new();
        for problem in problems {
            match problem {
                Problem::OneSided { from, to } => {
                    one_sided.insert((&**from, &**to), problem);
                    by_device.entry(&**from).or_insert(problem);
                    by_others.entry(&**to).or_insert(problem);
                }
                Problem::Stale { from, to, .. } => {
                    by_device.entry(&**from).or_insert(problem);
                    by_others.entry(&**to).or_insert(problem);
                }
                Problem::NoOtherEnd { from, .. } => {
                    by_device.entry(&**from).or_insert(problem);
                }
                Problem::DeviceOnTwoCables { device, .. } => {
                    by_device.insert(&**device, problem);
                }
                _ => {}
            }
        }
        for (device, problem) in by_others {
            by_device.entry(device).or_insert(problem);
        }
        Self {
            one_sided,
            by_device,
        }
    }

    /// The problem of a cable between two devices that only one of them states.
    pub fn between(&self, a: &str, b: &str) -> Option<&'a Problem> {
        let stated = |ends| self.one_sided.get(&ends).copied();
        stated((a, b)).or_else(|| stated((b, a)))
    }

    /// Why the cable of a device is unknown.
    pub fn at(&self, device: &str) -> Option<&'a Problem> {
        self.by_device.get(device).copied()
    }
}
