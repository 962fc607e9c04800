//! The setup of a group of ranks: cables, a matrix, and the fault of a condition.

use std::time::Duration;

use rig::{Cable, Defect, DeviceFault, End, Link, Node, Rig};

use crate::case::{Backend, Case, Frames, Op, Setting};

/// Fast enough that a sweep waits for jaccl rather than for the emulation.
const LINK: Link = Link {
    bytes_per_second: 2_000_000_000,
    latency: Duration::from_micros(2),
};

/// The rank with the fault, if a condition affects one rank.
pub const AFFLICTED: usize = 1;

/// A process of a group.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The rank that it is given.
    pub rank: usize,
    /// Whether it finds a libibverbs. If not, it does not find the system's either.
    pub library: bool,
    /// Whether it is on the fabric, and so has devices.
    pub fabric: bool,
}

/// A group before it starts.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The cables.
    pub rig: Rig,
    /// The devices on each rank towards each other rank, as jaccl reads them.
    pub matrix: Vec<Vec<Vec<String>>>,
    /// The backend that jaccl is asked to prefer.
    pub backend: Backend,
    /// The frame mode.
    pub frames: Frames,
    /// The processes.
    pub starts: Vec<Start>,
    /// Devices of which another process has all queue pairs, or all memory regions.
    pub exhausted: Vec<(End, Exhausted)>,
}

/// What another process has all of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// Queue pairs.
    QueuePairs,
    /// Memory regions.
    Regions,
}

impl Setup {
    /// The setup of a group without a fault.
    pub fn of(setting: Setting) -> Self {
        let Setting {
            backend,
            ranks,
            wires,
            frames,
        } = setting;
        let start = |rank| Start {
            rank,
            library: true,
            fabric: true,
        };
        Setup {
            rig: rig(ranks, wires),
            matrix: matrix(ranks, wires),
            backend,
            frames,
            starts: (0..ranks).map(start).collect(),
            exhausted: Vec::new(),
        }
    }

    /// The setup of a case: [`Setup::of`] its setting, with the fault of its condition.
    pub fn of_case(case: &Case) -> Self {
        let mut setup = Setup::of(case.setting);
        let ranks = case.setting.ranks;
        match case.op {
            Op::MissingDevice => setup.break_devices_of(AFFLICTED, DeviceFault::Absent, 1),
            Op::MissingGid => setup.break_devices_of(AFFLICTED, DeviceFault::NoGid, 1),
            Op::PortDown => setup.break_devices_of(AFFLICTED, DeviceFault::PortDown, 1),
            Op::NoQueuePairs => setup.exhaust(Exhausted::QueuePairs),
            Op::NoRegions => setup.exhaust(Exhausted::Regions),
            Op::NoDevices => setup.starts[AFFLICTED].fabric = false,
            Op::NoLibrary => setup.starts[AFFLICTED].library = false,
            Op::NoWires => setup.matrix = vec![vec![vec![]; ranks]; ranks],
            Op::BadRank => {
                setup.starts.truncate(1);
                setup.starts[0].rank = ranks;
            }
            Op::FailedSend => setup.break_devices_of(0, DeviceFault::Failing, usize::MAX),
            Op::FailedWire => {
                // Not the last wire, because jaccl handles that one in the caller's
                // thread.
                let device = end(0, 1, case.setting.wires - 2);
                setup.break_device(device, DeviceFault::Refusing);
            }
            _ => {}
        }
        setup
    }

    fn exhaust(&mut self, what: Exhausted) {
        let first = self.devices_of(AFFLICTED, 1);
        self.exhausted
            .extend(first.into_iter().map(|device| (device, what)));
    }

    fn break_devices_of(&mut self, rank: usize, kind: DeviceFault, most: usize) {
        for device in self.devices_of(rank, most) {
            self.break_device(device, kind);
        }
    }

    /// The first devices of a rank.
    fn devices_of(&self, rank: usize, most: usize) -> Vec<End> {
        let node = node(rank);
        let cables = self.rig.cables.iter();
        let ends = cables.filter_map(|cable| cable.end_on(&node));
        ends.take(most).cloned().collect()
    }

    fn break_device(&mut self, device: End, kind: DeviceFault) {
        self.rig.faults.push(Defect::Device { device, kind }.into());
    }
}

fn node(rank: usize) -> String {
    format!("node-{rank}")
}

/// The `wire`-th device on a rank towards another.
fn device(to: usize, wire: usize) -> String {
    format!("rdma_{to}_{wire}")
}

fn end(from: usize, to: usize, wire: usize) -> End {
    End {
        node: node(from),
        device: device(to, wire),
    }
}

/// Every two ranks joined by this many cables.
fn rig(ranks: usize, wires: usize) -> Rig {
    let mut cables = Vec::new();
    for a in 0..ranks {
        for b in a + 1..ranks {
            for wire in 0..wires {
                cables.push(Cable {
                    name: format!("cable-{a}-{b}-{wire}"),
                    ends: [end(a, b, wire), end(b, a, wire)],
                    link: LINK,
                });
            }
        }
    }
    Rig {
        nodes: (0..ranks).map(|rank| Node { name: node(rank) }).collect(),
        cables,
        ..Rig::embedded()
    }
}

/// Written out here rather than made by rail-matrix, which would refuse five wires.
fn matrix(ranks: usize, wires: usize) -> Vec<Vec<Vec<String>>> {
    let cell = |from: usize, to: usize| match from == to {
        true => vec![],
        false => (0..wires).map(|wire| device(to, wire)).collect(),
    };
    (0..ranks)
        .map(|from| (0..ranks).map(|to| cell(from, to)).collect())
        .collect()
}
