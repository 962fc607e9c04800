//! What is broken in an emulated rig.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Cable, End, Rig};

/// Something that is broken in an emulated rig, from the start. Means nothing
/// on a real rig.
///
/// A rig with faults has the matrix of the same rig without: a matrix says how
/// the cables are plugged in, not whether they work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A device is broken. Its cable and the other end are well.
    Device {
        /// Which: an end of a cable of the rig.
        device: End,
        /// How.
        kind: DeviceFault,
    },
    /// A cable is broken. The devices at its ends are well.
    Cable {
        /// Its name.
        cable: String,
        /// How.
        kind: CableFault,
    },
}

/// How a device is broken: what a client of libibverbs sees of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceFault {
    /// `ibv_get_device_list` does not list it.
    Absent,
    /// Its table of GIDs has no IPv4-mapped one, as that of an interface
    /// without an IPv4 address.
    NoGid,
    /// Its port is down, and `ibv_alloc_pd` gives null.
    PortDown,
    /// Its sends complete with `IBV_WC_RETRY_EXC_ERR`, and carry nothing.
    Failing,
    /// `ibv_post_send` and `ibv_post_recv` on it return `ENOMEM`.
    Refusing,
}

/// How a cable is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CableFault {
    /// Frames leave and never arrive, and nobody is told.
    Cut,
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
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 1] = [Self::Cut];

    /// The kind's name in `rig.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
        }
    }
}

impl Fault {
    /// Whether it is on this cable or a device at its ends.
    pub(super) fn is_on(&self, plugged: &Cable) -> bool {
        match self {
            Self::Device { device, .. } => plugged.ends.contains(device),
            Self::Cable { cable, .. } => *cable == plugged.name,
        }
    }
}

impl fmt::Display for Fault {
    /// Such as `device 'b:rdma_en6' is no-gid`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { device, kind } => write!(f, "device '{device}' is {}", kind.name()),
            Self::Cable { cable, kind } => write!(f, "cable '{cable}' is {}", kind.name()),
        }
    }
}

impl Serialize for Fault {
    /// An entry of `rig.toml`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct FaultShape<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            device: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            cable: Option<&'a str>,
            kind: &'static str,
        }
        let shape = match self {
            Self::Device { device, kind } => FaultShape {
                device: Some(device.to_string()),
                cable: None,
                kind: kind.name(),
            },
            Self::Cable { cable, kind } => FaultShape {
                device: None,
                cable: Some(cable),
                kind: kind.name(),
            },
        };
        shape.serialize(serializer)
    }
}

impl Rig {
    /// What is broken about a device.
    pub fn device_faults<'a>(&'a self, end: &'a End) -> impl Iterator<Item = DeviceFault> + 'a {
        self.faults.iter().filter_map(move |fault| match fault {
            Fault::Device { device, kind } if device == end => Some(*kind),
            _ => None,
        })
    }

    /// What is broken about the cable of this name.
    pub fn cable_faults<'a>(&'a self, name: &'a str) -> impl Iterator<Item = CableFault> + 'a {
        self.faults.iter().filter_map(move |fault| match fault {
            Fault::Cable { cable, kind } if cable == name => Some(*kind),
            _ => None,
        })
    }
}
