//! The setup of a group of ranks: cables, a matrix, and the fault of a condition.

use std::time::Duration;

use rail_matrix::{Devices, Given, GivenError, Jaccl, MAX_RAILS, Options, PlanError, RankOrder};
use rig::{Cable, Defect, DeviceFault, End, Link, Node, Rig};

use crate::{
    case::{Backend, Case, Frames, MAX_RANKS, Op, Setting},
    selection::Selection,
};

/// Fast enough that a sweep waits for jaccl rather than for the emulation.
const LINK: Link = Link {
    bytes_per_second: 2_000_000_000,
    latency: Duration::from_micros(2),
};

/// Slow enough that something can happen in the middle of an operation.
const SLOW_LINK: Link = Link {
    bytes_per_second: 20_000_000,
    latency: Duration::from_micros(20),
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
    /// The node of each rank of the matrix.
    pub nodes: Vec<String>,
    /// The devices on each rank towards each other rank, as jaccl reads them.
    pub matrix: Devices,
    /// The backend that jaccl is asked to prefer.
    pub backend: Backend,
    /// The frame mode.
    pub frames: Frames,
    /// The processes.
    pub starts: Vec<Start>,
    /// Devices of which another process has all queue pairs, or all memory regions.
    pub exhausted: Vec<(End, Exhausted)>,
    /// Variables of the environment of every rank.
    pub variables: Vec<(String, String)>,
}

/// What another process has all of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// Queue pairs.
    QueuePairs,
    /// Memory regions.
    Regions,
}

/// A matrix that somebody else made, with the cables that its ranks run on.
#[derive(Debug, Clone)]
pub struct GivenMatrix {
    given: Given,
    backend: Backend,
    rig: Rig,
    /// The flags of `cargo xtask verify` that name it, for the command below a failure.
    flags: String,
}

/// Why a matrix that was given cannot be swept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GivenMatrixError {
    /// It fits no rig, or jaccl refuses it.
    #[error(transparent)]
    Given(#[from] GivenError),
    /// The planner has none for the rig.
    #[error(transparent)]
    Plan(Box<PlanError>),
    /// It has more ranks than a sweep runs.
    #[error("the matrix has {0} ranks, and a sweep runs at most {MAX_RANKS}")]
    Ranks(usize),
}

impl From<PlanError> for GivenMatrixError {
    fn from(error: PlanError) -> Self {
        Self::Plan(Box::new(error))
    }
}

impl GivenMatrixError {
    /// The remedy, if the message does not contain it.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Given(error) => error.help(),
            Self::Plan(_) | Self::Ranks(_) => None,
        }
    }
}

impl GivenMatrix {
    /// A matrix over the rig that it was read for. The rig's cabling, rules and faults
    /// count; its cables become as fast as those of verify's own rigs, because a sweep is
    /// to wait for jaccl rather than for the emulation.
    ///
    /// # Errors
    /// If jaccl refuses the matrix, or it has more than [`MAX_RANKS`] ranks.
    pub fn new(given: Given, mut rig: Rig, flags: String) -> Result<Self, GivenMatrixError> {
        let (backend, ranks) = (given.backend()?, given.nodes().len());
        if ranks > MAX_RANKS {
            return Err(GivenMatrixError::Ranks(ranks));
        }
        for cable in &mut rig.cables {
            cable.link = LINK;
        }
        Ok(GivenMatrix {
            given,
            backend,
            rig,
            flags,
        })
    }

    /// The planner's matrix for a rig, with the backend and the wires of a selection if it has
    /// them.
    ///
    /// # Errors
    /// If the rig has no such plan, and as for [`GivenMatrix::new`].
    pub fn planned(
        mut rig: Rig,
        selection: &Selection,
        flags: String,
    ) -> Result<Self, GivenMatrixError> {
        if let Some(wires) = selection.wires.first() {
            rig = rig.with_cables(*wires).map_err(PlanError::from)?;
        }
        let given = Given::planned(&rig, &options(selection.backend.first().copied()))?;
        Self::new(given, rig, flags)
    }

    /// A matrix over the cabling that it states by itself.
    ///
    /// # Errors
    /// As for [`Given::alone`] and [`GivenMatrix::new`].
    pub fn alone(document: &[u8], flags: String) -> Result<Self, GivenMatrixError> {
        let (given, rig) = Given::alone(document, LINK)?;
        Self::new(given, rig, flags)
    }

    /// The cabling.
    pub fn rig(&self) -> &Rig {
        &self.rig
    }

    /// The matrix and its nodes.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// The flags of `cargo xtask verify` that name it.
    pub fn flags(&self) -> &str {
        &self.flags
    }

    /// The selection with the matrix's ranks, wires and backend where the caller's leaves
    /// a choice.
    pub fn select(&self, selection: &Selection) -> Selection {
        fn or<T: Clone>(wanted: &[T], only: T) -> Vec<T> {
            match wanted {
                [] => vec![only],
                wanted => wanted.to_vec(),
            }
        }
        let (backend, ranks, wires) = self.extent();
        Selection {
            backend: or(&selection.backend, backend),
            ranks: or(&selection.ranks, ranks),
            wires: or(&selection.wires, wires),
            ..selection.clone()
        }
    }

    /// A value of a selection that no case over the matrix has: a condition, which has a
    /// matrix and cables of its own, or a flag with its value.
    pub(crate) fn refuses(&self, selection: &Selection) -> Option<String> {
        let (backend, ranks, wires) = self.extent();
        let other = |flag: &str, values: &[usize], own: usize| {
            let other = values.iter().find(|value| **value != own);
            other.map(|value| format!("{flag} {value}"))
        };
        let op = selection.op.iter().find(|op| op.is_condition());
        let mut backends = selection.backend.iter();
        let other_backend = backends.find(|other| **other != backend);
        None.or_else(|| op.map(Op::to_string))
            .or_else(|| other_backend.map(|other| format!("--backend {other}")))
            .or_else(|| other("--ranks", &selection.ranks, ranks))
            .or_else(|| other("--wires", &selection.wires, wires))
    }

    /// The backend, ranks and wires of every case.
    fn extent(&self) -> (Backend, usize, usize) {
        (self.backend, self.given.nodes().len(), self.given.rails())
    }

    pub(crate) fn setup(&self, frames: Frames) -> Setup {
        Setup::of_given(self.rig.clone(), &self.given, (self.backend, frames))
    }
}

impl Setup {
    /// The setup of a group without a fault: every two ranks joined by the setting's wires,
    /// and the matrix that the planner makes of it.
    pub fn of(setting: Setting) -> Self {
        let Setting {
            backend,
            ranks,
            wires,
            frames,
        } = setting;
        let rig = rig(ranks, wires);
        Setup {
            // The planner refuses the five wires of the condition of that name.
            matrix: match wires <= MAX_RAILS {
                true => planned(&rig, backend),
                false => full(ranks, wires),
            },
            nodes: (0..ranks).map(node).collect(),
            rig,
            backend,
            frames,
            starts: starts(ranks),
            exhausted: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// The setup of a group over a rig, on its nodes in their order: every two nodes that the
    /// backend joins by as many of their cables as the setting has wires.
    ///
    /// # Errors
    /// If the rig has fewer cables, or no such plan.
    pub fn over(rig: &Rig, setting: Setting) -> Result<Self, PlanError> {
        let rig = rig.with_cables(setting.wires)?;
        let given = Given::planned(&rig, &options(setting.backend))?;
        Ok(Self::of_given(
            rig,
            &given,
            (setting.backend, setting.frames),
        ))
    }

    /// The setup of a group over a matrix of a rig.
    fn of_given(rig: Rig, given: &Given, (backend, frames): (Backend, Frames)) -> Self {
        Setup {
            rig,
            nodes: given.nodes().to_vec(),
            matrix: given.devices().clone(),
            backend,
            frames,
            starts: starts(given.nodes().len()),
            exhausted: Vec::new(),
            variables: Vec::new(),
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
            // The planner refuses a rig without cables.
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
            op if op.is_loss() => {
                for cable in &mut setup.rig.cables {
                    cable.link = SLOW_LINK;
                }
            }
            _ => {}
        }
        setup
    }

    /// The node of a process.
    pub(crate) fn node(&self, start: Start) -> &str {
        &self.nodes[start.rank % self.nodes.len()]
    }

    /// The device matrix as jaccl reads it (`MLX_IBV_DEVICES`).
    pub(crate) fn matrix_json(&self) -> String {
        serde_json::to_string(&self.matrix).expect("a matrix is arrays of strings")
    }

    /// The first cable between the first two ranks.
    pub(crate) fn first_cable(&self) -> &Cable {
        &self.rig.cables[0]
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
                let ends = [end(a, b, wire), end(b, a, wire)];
                cables.push(Cable::new(format!("cable-{a}-{b}-{wire}"), ends, LINK));
            }
        }
    }
    let nodes = (0..ranks).map(|rank| Node::new(node(rank)));
    Rig::new(nodes.collect(), cables)
}

/// The planner's matrix of a rig.
fn planned(rig: &Rig, backend: Backend) -> Devices {
    let given = Given::planned(rig, &options(backend));
    given.expect("every two ranks are joined").devices().clone()
}

/// A mesh gets every wire, whatever the jaccl of the pin opens: one that opens fewer must
/// take such a matrix, too.
fn options(backend: impl Into<Option<Backend>>) -> Options {
    Options::default()
        .order(RankOrder::Pinned)
        .backend(backend)
        .jaccl(Jaccl::of(SEVERAL_WIRES))
}

/// The first MLX whose mesh opens several wires.
const SEVERAL_WIRES: [u32; 3] = [0, 32, 4];

/// Every wire of every two ranks.
fn full(ranks: usize, wires: usize) -> Devices {
    let cell = |from: usize, to: usize| match from == to {
        true => vec![],
        false => (0..wires).map(|wire| device(to, wire)).collect(),
    };
    (0..ranks)
        .map(|from| (0..ranks).map(|to| cell(from, to)).collect())
        .collect()
}

/// A process for each rank.
fn starts(ranks: usize) -> Vec<Start> {
    let start = |rank| Start {
        rank,
        library: true,
        fabric: true,
    };
    (0..ranks).map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(backend: Backend, ranks: usize, wires: usize) -> Setting {
        Setting {
            backend,
            ranks,
            wires,
            frames: Frames::Small,
        }
    }

    #[test]
    fn every_setting_has_its_wires_between_all_that_its_backend_joins() {
        for backend in Backend::ALL {
            for ranks in 2..=MAX_RANKS {
                for wires in 1..=MAX_RAILS {
                    let setup = Setup::of(setting(backend, ranks, wires));
                    let all = full(ranks, wires);
                    for (from, to) in (0..ranks).flat_map(|i| (0..ranks).map(move |j| (i, j))) {
                        let apart = from.abs_diff(to);
                        let neighbours = apart == 1 || apart + 1 == ranks;
                        let cell = &setup.matrix[from][to];
                        if backend == Backend::Mesh || neighbours {
                            assert_eq!(cell, &all[from][to], "{backend} {ranks} {wires}");
                        } else {
                            assert!(cell.is_empty());
                        }
                    }
                }
            }
        }
        let five = Setup::of(setting(Backend::Ring, 2, 5));
        assert_eq!(five.matrix, full(2, 5));
    }

    #[test]
    fn a_given_matrix_decides_the_setting_and_leaves_the_rest_of_a_selection() {
        let json = br#"[[null, ["en1", "en2"]], [["en2", "en1"], null]]"#;
        let matrix = GivenMatrix::alone(json, "--devices it".to_owned()).expect("a ring");
        let flags = ["--op", "send", "--wires", "3"].map(str::to_owned);
        let selection = matrix.select(&Selection::parse(&flags).expect("a selection"));
        assert_eq!(selection.op, [Op::Send]);
        assert_eq!(
            (selection.backend, selection.ranks),
            (vec![Backend::Ring], vec![2])
        );
        assert_eq!(
            selection.wires,
            [3],
            "what the caller asks for is not changed"
        );

        let setup = matrix.setup(Frames::Big);
        assert_eq!(setup.nodes, ["rank-0", "rank-1"]);
        assert_eq!(setup.matrix[1][0], ["en2", "en1"]);
        assert!(setup.rig.cables.iter().all(|cable| cable.link == LINK));
    }

    #[test]
    fn a_ring_of_more_ranks_than_are_verified_is_refused() {
        let cell = |i: usize, j: usize| match (i + 1) % 9 == j || (j + 1) % 9 == i {
            true => vec![format!("en{j}")],
            false => vec![],
        };
        let nine: Vec<Vec<Vec<String>>> = (0..9)
            .map(|i| (0..9).map(|j| cell(i, j)).collect())
            .collect();
        let json = serde_json::to_vec(&nine).expect("JSON");
        let error = GivenMatrix::alone(&json, String::new()).expect_err("nine ranks");
        assert_eq!(error, GivenMatrixError::Ranks(9));
    }
}
