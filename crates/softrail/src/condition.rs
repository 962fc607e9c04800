//! The current properties and faults of one end of a cable.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use rig::{DeviceFault, Link, Unplugged};

/// The outgoing direction at one end of a cable, and the device there. A launcher sets it
/// from the rig, and any process of the user may change it while programs run. Programs
/// read it each time they use the cable.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Condition {
    bytes_per_second: AtomicU64,
    latency: AtomicU64,
    /// `WHOLE`, `CUT`, or what an unplugged cable does.
    cable: AtomicU32,
    faults: AtomicU32,
}

impl Condition {
    /// The current bandwidth and latency.
    pub fn link(&self) -> Link {
        Link {
            bytes_per_second: self.bytes_per_second.load(Ordering::Relaxed),
            latency: Duration::from_nanos(self.latency.load(Ordering::Relaxed)),
        }
    }

    /// Sets bandwidth and latency for what is sent from now on.
    pub fn set_link(&self, link: &Link) {
        let latency = u64::try_from(link.latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.store(latency, Ordering::Relaxed);
        self.bytes_per_second
            .store(link.bytes_per_second, Ordering::Relaxed);
    }

    /// Whether the direction is cut: what is sent leaves and never arrives.
    pub fn is_cut(&self) -> bool {
        self.cable.load(Ordering::Relaxed) != WHOLE
    }

    /// Whether the cable was pulled out, and what a post to it does then.
    pub fn unplugged(&self) -> Option<Unplugged> {
        match self.cable.load(Ordering::Relaxed) {
            CRASH => Some(Unplugged::Crash),
            HANG => Some(Unplugged::Hang),
            _ => None,
        }
    }

    /// Breaks the direction in this way, or mends it, for what is sent from now on.
    pub fn set_cable(&self, broken: Option<Broken>) {
        let state = match broken {
            None => WHOLE,
            Some(Broken::Cut) => CUT,
            Some(Broken::Unplugged(Unplugged::Crash)) => CRASH,
            Some(Broken::Unplugged(Unplugged::Hang)) => HANG,
        };
        self.cable.store(state, Ordering::Relaxed);
    }

    /// Whether the device's port is down: by a fault of the device, or without a cable.
    pub fn is_down(&self) -> bool {
        self.is(DeviceFault::PortDown) || self.unplugged().is_some()
    }

    /// Whether the device has this fault.
    pub fn is(&self, fault: DeviceFault) -> bool {
        self.faults.load(Ordering::Relaxed) & bit(fault) != 0
    }

    /// Injects or clears a fault of the device.
    pub fn set(&self, fault: DeviceFault, broken: bool) {
        if broken {
            self.faults.fetch_or(bit(fault), Ordering::Relaxed);
        } else {
            self.faults.fetch_and(!bit(fault), Ordering::Relaxed);
        }
    }

    /// Whether what is sent from this end arrives at the other end. It does when the
    /// cable is whole and the ports at both its ends are up.
    pub fn reaches(&self, other: &Condition) -> bool {
        !self.is_cut() && ![self, other].iter().any(|end| end.is_down())
    }

    /// Every fault that the device has.
    pub fn faults(&self) -> impl Iterator<Item = DeviceFault> + '_ {
        DeviceFault::ALL.into_iter().filter(|fault| self.is(*fault))
    }
}

/// How a cable is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// What is sent leaves and never arrives.
    Cut,
    /// It was pulled out.
    Unplugged(Unplugged),
}

const WHOLE: u32 = 0;
const CUT: u32 = 1;
// Not small numbers: stray bytes in the shared memory must not end a process.
const CRASH: u32 = u32::from_be_bytes(*b"pull");
const HANG: u32 = u32::from_be_bytes(*b"hang");

fn bit(fault: DeviceFault) -> u32 {
    1 << fault as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_and_go_by_themselves() {
        let condition = Condition::default();
        condition.set(DeviceFault::NoGid, true);
        condition.set(DeviceFault::PortDown, true);
        condition.set(DeviceFault::NoGid, false);
        assert_eq!(
            condition.faults().collect::<Vec<_>>(),
            [DeviceFault::PortDown]
        );
    }
}
