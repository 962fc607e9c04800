//! What a finding is about, for programs, and its sentence for people.

use std::fmt;

use serde::Serialize;

use super::{
    cell::{Cell, Device},
    rule::Rule,
};
use crate::{
    Backend, MAX_MESH, MAX_RAILS, Problem, Unfit,
    danger::Danger,
    words::{listed, plural, some_of},
};

/// What is wrong with a matrix, or not known of it. `Display` is a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Wrong {
    /// There are fewer than two rows.
    FewRows {
        /// How many there are.
        rows: usize,
    },
    /// A row has another length.
    RowLength {
        /// The row.
        row: usize,
        /// Its cells.
        cells: usize,
        /// The number of rows.
        ranks: usize,
    },
    /// A ring has no rail, or too many.
    RailCount {
        /// How many it has.
        rails: usize,
    },
    /// A mesh has too many ranks.
    MeshRanks {
        /// How many it has.
        ranks: usize,
    },
    /// A cell of neighbours has another number of devices than the first.
    RingCount {
        /// Its devices.
        has: usize,
        /// Those of cell (0, 1).
        first: usize,
        /// What jaccl makes instead.
        makes: Option<Backend>,
    },
    /// A cell is empty where a mesh has a device, or the other way round.
    MeshCell {
        /// Its devices.
        has: usize,
        /// Whether it is on the diagonal.
        diagonal: bool,
        /// What jaccl makes instead.
        makes: Option<Backend>,
    },
    /// A hostfile asks for a backend that does not fit its cells.
    AsksFor {
        /// The hostfile's backend.
        backend: String,
        /// What jaccl makes of it.
        makes: Backend,
        /// The backend that fits.
        fits: &'static str,
    },
    /// A hostfile's environment asks for a ring, and its backend for a mesh.
    RingInEnvironment {
        /// The variable.
        variable: String,
    },
    /// A hostfile asks for a backend that uses no RDMA.
    NoRdma {
        /// The hostfile's backend.
        backend: String,
    },
    /// A hostfile asks for no backend.
    NoBackend,
    /// A device has no name.
    Nameless,
    /// A device is in several cells, or several times in one.
    Repeated {
        /// The device.
        device: Device,
        /// Its first positions.
        cells: Vec<Cell>,
        /// The number of the others.
        more: usize,
        /// Whether the device at its other end is repeated alike, so that its rails are
        /// several queue pairs of one cable. Otherwise one of them leads elsewhere.
        alike: bool,
        /// When that shows.
        when: When,
    },
    /// Nothing is known of a device on the node of its rank.
    UnknownDevice {
        /// The device.
        device: Device,
    },
    /// A device cannot carry RDMA.
    UnfitDevice {
        /// The device.
        device: Device,
        /// Why not.
        why: Unfit,
    },
    /// A node or a device may not, or does not, carry RDMA.
    Description {
        /// The problem of the description.
        problem: Problem,
    },
    /// No cable is in a device, or none that is known for certain.
    Unplugged {
        /// The device.
        device: Device,
        /// What keeps the cable unknown.
        problem: Option<Problem>,
        /// When that shows.
        when: When,
    },
    /// A rail is a cable that only one of its ends states.
    OneSided {
        /// The problem of the description.
        problem: Problem,
        /// When it shows that the cable is not plugged in.
        when: When,
    },
    /// A rail is a cable that only one of its ends states, which the caller accepts.
    Accepted {
        /// The cable.
        cable: String,
    },
    /// The cable of a device leads to another rank.
    LeadsElsewhere {
        /// The device.
        device: Device,
        /// Its cable.
        cable: String,
        /// The device at the other end.
        to: Device,
        /// The node of the cell.
        wanted: String,
        /// The position in the same row to exchange it with.
        exchange: Option<Cell>,
        /// When that shows.
        when: When,
    },
    /// Two devices of one rail are the ends of different cables.
    Crossed {
        /// The two devices.
        ends: [Device; 2],
        /// The device to which the first one's cable leads.
        leads_to: Device,
        /// When that shows.
        when: When,
    },
    /// A device is asked for more than the devices of Thunderbolt have.
    Limit {
        /// The device.
        device: Device,
        /// What is asked for, such as `queue pairs`.
        what: &'static str,
        /// How many are asked for.
        asked: usize,
        /// How many there are.
        most: usize,
    },
    /// Devices in the matrix that jaccl does not open.
    NotOpened {
        /// The number opened.
        opened: usize,
        /// The number in the larger of the pair's two cells.
        has: usize,
        /// Why no more.
        why: NotOpened,
    },
    /// Cables between two ranks that are not in the matrix.
    NotNamed {
        /// The cables.
        cables: Vec<String>,
        /// The two nodes.
        nodes: [String; 2],
        /// Whether they are no neighbours on the ring.
        apart: bool,
    },
    /// Matrix, nodes and topology do not belong together.
    Nodes {
        /// Why not.
        why: String,
    },
    /// The jaccl of the MLX version has a defect that the matrix meets.
    Defect {
        /// The defect.
        danger: Danger,
    },
    /// The ring variable is not known.
    AssumedVariable {
        /// What is assumed.
        set: bool,
    },
    /// The nodes of the rows are not known.
    AssumedOrder {
        /// The nodes assumed.
        nodes: Vec<String>,
        /// Their names for people.
        titles: Vec<String>,
    },
    /// There is no topology to check the alignment with.
    NoTopology,
    /// The ranks are in another order than the cables.
    OtherOrder {
        /// The rows in an order that works.
        rows: Vec<usize>,
        /// The nodes of the ranks in that order.
        nodes: Vec<String>,
        /// Whether only the nodes are in another order, and the matrix stays.
        nodes_alone: bool,
    },
    /// There are more findings of a rule.
    More {
        /// The rule.
        rule: Rule,
        /// How many.
        count: usize,
    },
}

/// Why devices of a matrix are not opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NotOpened {
    /// The two ranks are no neighbours on the ring.
    NoNeighbours,
    /// A mesh opens as many wires everywhere, and some cell has no more.
    NarrowestCell,
    /// The mesh of the MLX version opens one wire.
    OneWire {
        /// The version.
        mlx: String,
    },
}

/// The operations that do not return if a rail does not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct When {
    /// The backend.
    pub backend: Backend,
    /// The rail, from 0, which carries every message.
    pub rail: usize,
    /// A ring's other rails carry all-reduces that are longer; a mesh's other wires
    /// messages from this length on.
    pub bytes: u64,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.bytes / 1024;
        match (self.backend, self.rail) {
            (_, 0) => f.write_str("everything that passes it hangs, from the first message on"),
            (Backend::Ring, _) => write!(
                f,
                "send, all_gather and all-reduces above {kib} KiB hang; smaller all-reduces use \
                 rail 0 alone and pass"
            ),
            (Backend::Mesh, _) => write!(
                f,
                "messages of {kib} KiB and more hang; smaller ones use wire 0 alone and pass"
            ),
        }
    }
}

impl Wrong {
    pub(super) fn rule(&self) -> Rule {
        match self {
            Self::RowLength { .. } => Rule::Square,
            Self::FewRows { .. } | Self::MeshRanks { .. } => Rule::Ranks,
            Self::RailCount { .. } => Rule::RailCount,
            Self::RingCount { .. } => Rule::RingCounts,
            Self::MeshCell { .. } => Rule::MeshCells,
            Self::AsksFor { .. } | Self::RingInEnvironment { .. } | Self::NoRdma { .. } => {
                Rule::Asked
            }
            Self::Nameless => Rule::Named,
            Self::Repeated { .. } => Rule::Once,
            Self::UnknownDevice { .. } => Rule::OnNode,
            Self::UnfitDevice { .. } | Self::Description { .. } => Rule::Fit,
            Self::Unplugged { .. } | Self::OneSided { .. } => Rule::Plugged,
            Self::LeadsElsewhere { .. } => Rule::RightNode,
            Self::Crossed { .. } => Rule::OneCable,
            Self::Limit { .. } => Rule::Limits,
            Self::NotOpened { .. } => Rule::Opened,
            Self::NotNamed { .. } => Rule::Used,
            Self::Nodes { .. } => Rule::Nodes,
            Self::Defect { .. } => Rule::Defect,
            Self::AssumedVariable { .. }
            | Self::AssumedOrder { .. }
            | Self::NoTopology
            | Self::Accepted { .. }
            | Self::NoBackend
            | Self::OtherOrder { .. } => Rule::Told,
            Self::More { rule, .. } => *rule,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The most names of a list.
        const SHOWN: usize = 16;
        match self {
            Self::FewRows { rows } => write!(
                f,
                "the matrix has {rows} {}, and jaccl joins two ranks or more; with none to join, \
                 MLX without `strict` goes on alone",
                plural(*rows, "row")
            ),
            Self::RowLength { row, cells, ranks } => write!(
                f,
                "row {row} has {cells} cells, and there are {ranks} ranks; jaccl refuses the file"
            ),
            Self::RailCount { rails: 0 } => f.write_str(
                "a ring without any device: jaccl takes it for valid and then reads connections \
                 that are not there",
            ),
            Self::RailCount { rails } => write!(
                f,
                "a ring of {rails} rails; jaccl opens at most {MAX_RAILS} and refuses, so take {} \
                 out of every cell of neighbours",
                rails.saturating_sub(MAX_RAILS)
            ),
            Self::MeshRanks { ranks } => write!(
                f,
                "a mesh of {ranks} ranks; jaccl joins at most {MAX_MESH} so and refuses"
            ),
            Self::RingCount { has, first, makes } => write!(
                f,
                "{} here and {first} in (0, 1): a ring has as many in every cell of neighbours, {}",
                devices(*has),
                made(*makes)
            ),
            Self::MeshCell {
                has,
                diagonal: true,
                makes,
            } => write!(
                f,
                "{} from a rank to itself, where a mesh has none, {}",
                devices(*has),
                made(*makes)
            ),
            Self::MeshCell { makes, .. } => write!(
                f,
                "no device, and a mesh has one towards every rank, {}",
                made(*makes)
            ),
            Self::AsksFor {
                backend,
                makes,
                fits,
            } => write!(
                f,
                "the hostfile's backend is '{backend}', and its cells are those of a {makes}, which \
                 jaccl makes of them without a word; write \"{fits}\""
            ),
            Self::RingInEnvironment { variable } => write!(
                f,
                "'{variable}' in the hostfile's envs asks for a ring, whatever its value, and its \
                 backend 'jaccl' for a mesh; take the variable out, or write \"jaccl-ring\""
            ),
            Self::NoRdma { backend } => write!(
                f,
                "the hostfile's backend is '{backend}', with which mlx.launch leaves its rdma rows \
                 unused; write \"jaccl\" or \"jaccl-ring\""
            ),
            Self::NoBackend => f.write_str(
                "the hostfile names no backend, so mlx.launch takes that of its --backend, and \
                 without one TCP's ring",
            ),
            Self::Nameless => {
                f.write_str("a device without a name: jaccl opens nothing for it and then uses it")
            }
            Self::Repeated {
                device,
                cells,
                more,
                alike,
                when,
            } => {
                let mut places: Vec<_> = cells.iter().map(Cell::to_string).collect();
                if *more > 0 {
                    places.push(format!("{more} more"));
                }
                let places = places.join(" and ");
                write!(
                    f,
                    "'{}' of '{}' is in {places}; ",
                    device.end.device, device.title
                )?;
                match alike {
                    true => f.write_str("its rails share one cable, and add nothing"),
                    false => write!(
                        f,
                        "a device is the end of one cable, so one of them leads elsewhere: {when}"
                    ),
                }
            }
            Self::UnknownDevice { device } => write!(
                f,
                "nothing is known of a device '{}' on '{}'; where there is none jaccl refuses, and \
                 that of MLX before 0.32.4 crashes",
                device.end.device, device.title
            ),
            Self::UnfitDevice { device, why } => {
                write!(f, "'{}' of '{}' {why}", device.end.device, device.title)
            }
            Self::Description { problem } => write!(f, "{problem}"),
            Self::Unplugged {
                problem: Some(problem),
                when,
                ..
            } => write!(f, "{problem}: {when}"),
            Self::Unplugged { device, when, .. } => write!(
                f,
                "no cable that both its ends agree on is in '{}' of '{}': {when}",
                device.end.device, device.title
            ),
            Self::OneSided { problem, when } => write!(
                f,
                "cannot be judged: {problem}; while that cable is not plugged in, {when}"
            ),
            Self::Accepted { cable } => {
                write!(f, "'{cable}' is accepted, although one end alone states it")
            }
            Self::LeadsElsewhere {
                device,
                cable,
                to,
                wanted,
                exchange,
                when,
            } => {
                write!(
                    f,
                    "the cable in '{}' of '{}' ({cable}) leads to {to} and not to '{wanted}': {when}",
                    device.end.device, device.title
                )?;
                match exchange {
                    Some(cell) => write!(f, "; exchange it with {cell}"),
                    None => Ok(()),
                }
            }
            Self::Crossed {
                ends: [a, b],
                leads_to,
                when,
            } => write!(
                f,
                "crossed: {a} is paired with {b}, and its cable leads to {leads_to}: {when}"
            ),
            Self::Limit {
                device,
                what,
                asked,
                most,
            } => write!(
                f,
                "jaccl asks '{}' of '{}' for {asked} {what}, and a Thunderbolt device has {most}; \
                 take it out of some cells",
                device.end.device, device.title
            ),
            Self::NotOpened { opened, has, why } => {
                write!(f, "{opened} of {has} devices opened: {why}")
            }
            Self::NotNamed {
                cables,
                nodes: [a, b],
                apart,
            } => write!(
                f,
                "no cell has {} between '{a}' and '{b}'{}",
                listed(cables),
                if *apart {
                    ", which are no neighbours on the ring"
                } else {
                    ""
                }
            ),
            Self::Nodes { why } => f.write_str(why),
            Self::Defect { danger } => write!(f, "{danger}"),
            Self::AssumedVariable { set: true } => f.write_str(
                "judged with MLX_JACCL_RING set, because a cell has several devices; ask for a \
                 mesh to judge it without",
            ),
            Self::AssumedVariable { set: false } => f.write_str(
                "judged without MLX_JACCL_RING, because no cell has several devices; ask for a \
                 ring to judge it with it",
            ),
            Self::AssumedOrder { titles, .. } => {
                let shown = some_of(&titles[..titles.len().min(SHOWN)], SHOWN);
                let more = if titles.len() > SHOWN { ", ..." } else { "" };
                write!(
                    f,
                    "the matrix does not name its nodes, so its rows are taken for those of the \
                     topology in their order: {shown}{more}; where the ranks are in another, name \
                     them (`--nodes`)"
                )
            }
            Self::NoTopology => f.write_str(
                "without a topology nothing tells whether the k-th devices of two cells are the \
                 ends of one cable, and crossed ones hang; give one",
            ),
            Self::OtherOrder {
                rows,
                nodes,
                nodes_alone,
            } => {
                let nodes = some_of(nodes, SHOWN);
                let rows = rows.iter().take(SHOWN).map(usize::to_string);
                let rows = rows.collect::<Vec<_>>().join(", ");
                match nodes_alone {
                    true => write!(
                        f,
                        "the nodes are in another order than the rows; this order works: {nodes}"
                    ),
                    false => write!(
                        f,
                        "the ranks are in another order than the cables; this order works: {nodes} \
                         (rows and columns {rows})"
                    ),
                }
            }
            Self::More { rule, count } => write!(f, "and {count} more {}", rule.alike()),
        }
    }
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNeighbours => f.write_str("the two are no neighbours on the ring"),
            Self::NarrowestCell => {
                f.write_str("the mesh opens as many wires to every rank, and some cell has no more")
            }
            Self::OneWire { mlx } => write!(
                f,
                "the mesh of MLX {mlx} opens the first device of a cell alone"
            ),
        }
    }
}

/// What jaccl makes of cells that do not fit.
fn made(makes: Option<Backend>) -> &'static str {
    match makes {
        Some(Backend::Ring) => "so jaccl makes a ring, and nothing says so",
        Some(Backend::Mesh) => "so jaccl makes a mesh, and nothing says so",
        None => {
            "and there is no other group to make; jaccl refuses, and MLX without `strict` goes on \
             with every rank alone"
        }
    }
}

fn devices(count: usize) -> String {
    match count {
        0 => "no device".to_owned(),
        1 => "1 device".to_owned(),
        many => format!("{many} devices"),
    }
}
