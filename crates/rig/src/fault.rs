//! The faults of an emulated rig, and their times.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use super::{Cable, End, Link, Rig};
use crate::units;

/// A fault of an emulated rig. It has no effect on a real rig.
///
/// A rig with faults has the same matrix as without: a matrix describes how the cables
/// are plugged in, not whether they work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The defect.
    pub defect: Defect,
    /// Its times.
    pub span: Span,
}

/// When a fault is active, counted from the start of the job that runs on the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The beginning. Zero is before the first process starts.
    pub at: Duration,
    /// The end, if there is one.
    pub until: Option<Duration>,
}

/// What is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// A fault of a device. Its cable and the other end are not affected.
    Device {
        /// The device: an end of a cable of the rig.
        device: End,
        /// The kind of fault.
        kind: DeviceFault,
    },
    /// A fault of a cable. The devices at its ends are not affected.
    Cable {
        /// Its name.
        cable: String,
        /// The kind of fault.
        kind: CableFault,
    },
    /// A fault of one message that leaves a device.
    Message {
        /// The device.
        device: End,
        /// The number of its queue pair among those created on the device, from 0.
        queue_pair: u32,
        /// The number of the message on that queue pair, from 0.
        message: u32,
        /// The kind of fault.
        kind: MessageFault,
    },
    /// A fault of the processes of a node that use the rig.
    Node {
        /// The node's name.
        node: String,
        /// The kind of fault.
        kind: NodeFault,
    },
}

/// The faults of a device, by what a client of libibverbs sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceFault {
    /// `ibv_get_device_list` does not list it.
    Absent,
    /// Its GID table has no IPv4-mapped entry, like that of an interface without an IPv4
    /// address.
    NoGid,
    /// Its port is down: `ibv_alloc_pd` returns null, and nothing leaves or arrives.
    PortDown,
    /// Its sends complete with `IBV_WC_RETRY_EXC_ERR` and transfer nothing.
    Failing,
    /// `ibv_post_send` and `ibv_post_recv` on it return `ENOMEM`.
    Refusing,
}

/// The faults of a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CableFault {
    /// Frames leave and never arrive, without an error.
    Cut,
    /// It was pulled out: the ports at both ends are down, and the next post there ends so.
    Unplugged(Unplugged),
    /// It has another line rate, or another latency, or both, in both directions.
    Degraded {
        /// In bytes a second; `None` leaves it unchanged.
        bandwidth: Option<u64>,
        /// `None` leaves it unchanged.
        latency: Option<Duration>,
    },
}

/// What becomes of the next post to a queue pair of a cable that was pulled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unplugged {
    /// The process crashes inside Apple's library (`SIGSEGV`), as was seen on Macs
    /// (ml-explore/mlx 4192).
    Crash,
    /// The post is accepted and never completes.
    Hang,
}

/// The faults of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFault {
    /// It leaves and does not arrive. A reliable connection sends it again after its
    /// timeout.
    Drop,
    /// It arrives this much later, and so do later messages of its queue pair.
    Delay(Duration),
}

/// The faults of the processes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFault {
    /// They are killed (`SIGKILL`).
    Kill,
    /// They are stopped (`SIGSTOP`), and continued (`SIGCONT`) when the fault ends.
    Freeze,
}

impl DeviceFault {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 5] = [
        Self::Absent,
        Self::NoGid,
        Self::PortDown,
        Self::Failing,
        Self::Refusing,
    ];

    /// The kind's name in `rig.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NoGid => "no-gid",
            Self::PortDown => "port-down",
            Self::Failing => "failing",
            Self::Refusing => "refusing",
        }
    }
}

impl CableFault {
    /// The properties of the cable while the fault is active.
    pub fn degrade(self, link: Link) -> Link {
        match self {
            Self::Cut | Self::Unplugged(_) => link,
            Self::Degraded { bandwidth, latency } => Link {
                bytes_per_second: bandwidth.unwrap_or(link.bytes_per_second),
                latency: latency.unwrap_or(link.latency),
            },
        }
    }
}

impl Span {
    /// Whether the spans overlap.
    pub(super) fn overlaps(self, other: Self) -> bool {
        let ends_after = |until: Option<Duration>, at| until.is_none_or(|until| until > at);
        ends_after(self.until, other.at) && ends_after(other.until, self.at)
    }
}

impl Defect {
    /// The kind's name in `rig.toml`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Device { kind, .. } => kind.name(),
            Self::Cable { kind, .. } => match kind {
                CableFault::Cut => "cut",
                CableFault::Unplugged(Unplugged::Crash) => "unplugged",
                CableFault::Unplugged(Unplugged::Hang) => "unplugged-hang",
                CableFault::Degraded { .. } => "degraded",
            },
            Self::Message { kind, .. } => match kind {
                MessageFault::Drop => "drop-message",
                MessageFault::Delay(_) => "delay-message",
            },
            Self::Node { kind, .. } => match kind {
                NodeFault::Kill => "kill",
                NodeFault::Freeze => "freeze",
            },
        }
    }

    /// The fields that it may have in `rig.toml`, beside its kind and its subject.
    pub(super) const fn fields(&self) -> &'static [&'static str] {
        match self {
            Self::Device {
                kind: DeviceFault::Absent,
                ..
            } => &[],
            Self::Device { .. } => &["at", "until"],
            Self::Cable { kind, .. } => match kind {
                CableFault::Cut | CableFault::Unplugged(_) => &["at", "until"],
                CableFault::Degraded { .. } => &["bandwidth", "latency", "at", "until"],
            },
            Self::Message { kind, .. } => match kind {
                MessageFault::Drop => &["queue_pair", "message"],
                MessageFault::Delay(_) => &["queue_pair", "message", "by"],
            },
            Self::Node { kind, .. } => match kind {
                NodeFault::Kill => &["at"],
                NodeFault::Freeze => &["at", "until"],
            },
        }
    }

    /// Its subject. Two defects of one subject cannot be active at once.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Message {
                device,
                queue_pair,
                message,
                ..
            } => format!("message {message} of queue pair {queue_pair} on device '{device}'"),
            _ => self.to_string(),
        }
    }

    /// Whether its subject is a node, one of these cables or a device at their ends.
    pub(super) fn is_among(&self, cables: &[Cable]) -> bool {
        match self {
            Self::Device { device, .. } | Self::Message { device, .. } => {
                cables.iter().any(|plugged| plugged.ends.contains(device))
            }
            Self::Cable { cable, .. } => cables.iter().any(|plugged| *cable == plugged.name),
            Self::Node { .. } => true,
        }
    }
}

impl From<Defect> for Fault {
    /// A fault that is active from the start to the end.
    fn from(defect: Defect) -> Self {
        Self {
            defect,
            span: Span::default(),
        }
    }
}

impl fmt::Display for Defect {
    /// Such as `device 'b:rdma_en6' is no-gid`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { device, kind } => write!(f, "device '{device}' is {}", kind.name()),
            Self::Cable { cable, .. } => write!(f, "cable '{cable}' is {}", self.name()),
            Self::Message { kind, .. } => match kind {
                MessageFault::Drop => write!(f, "{} is dropped", self.subject()),
                MessageFault::Delay(_) => write!(f, "{} is delayed", self.subject()),
            },
            Self::Node { node, kind } => match kind {
                NodeFault::Kill => write!(f, "node '{node}' is killed"),
                NodeFault::Freeze => write!(f, "node '{node}' is frozen"),
            },
        }
    }
}

impl Serialize for Fault {
    /// Writes an entry of `rig.toml`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shape = FaultShape {
            kind: self.defect.name(),
            at: (!self.span.at.is_zero()).then(|| units::format_time(self.span.at)),
            until: self.span.until.map(units::format_time),
            ..FaultShape::default()
        };
        match &self.defect {
            Defect::Device { device, .. } => shape.device = Some(device.to_string()),
            Defect::Cable { cable, kind } => {
                shape.cable = Some(cable);
                if let CableFault::Degraded { bandwidth, latency } = kind {
                    shape.bandwidth = bandwidth.map(units::format_rate);
                    shape.latency = latency.map(units::format_time);
                }
            }
            Defect::Message {
                device,
                queue_pair,
                message,
                kind,
            } => {
                shape.device = Some(device.to_string());
                shape.queue_pair = Some(*queue_pair);
                shape.message = Some(*message);
                if let MessageFault::Delay(by) = kind {
                    shape.by = Some(units::format_time(*by));
                }
            }
            Defect::Node { node, .. } => shape.node = Some(node),
        }
        shape.serialize(serializer)
    }
}

#[derive(Serialize, Default)]
struct FaultShape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cable: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_pair: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl Rig {
    /// A fault of a device from the start.
    pub fn device_faults<'a>(&'a self, end: &'a End) -> impl Iterator<Item = DeviceFault> + 'a {
        self.first_defects().filter_map(move |defect| match defect {
            Defect::Device { device, kind } if device == end => Some(*kind),
            _ => None,
        })
    }

    /// A fault of the cable of this name from the start.
    pub fn cable_faults<'a>(&'a self, name: &'a str) -> impl Iterator<Item = CableFault> + 'a {
        self.first_defects().filter_map(move |defect| match defect {
            Defect::Cable { cable, kind } if cable == name => Some(*kind),
            _ => None,
        })
    }

    fn first_defects(&self) -> impl Iterator<Item = &Defect> {
        let faults = self.faults.iter();
        faults.filter_map(|fault| fault.span.at.is_zero().then_some(&fault.defect))
    }
}
