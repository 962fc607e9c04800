//! The kinds of reports, and the commands that produce them.

use std::fmt;

/// An operating system whose tools are supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// macOS.
    MacOs,
    /// Linux.
    Linux,
}

impl System {
    /// The system for which `uname` prints this.
    pub fn of_uname(uname: &str) -> Option<Self> {
        match uname.trim() {
            "Darwin" => Some(Self::MacOs),
            "Linux" => Some(Self::Linux),
            _ => None,
        }
    }

    /// The reports of a node that runs the system.
    pub fn reports(self) -> impl Iterator<Item = ReportKind> {
        let of_this = move |kind: &ReportKind| kind.system() == self;
        ReportKind::ALL.into_iter().filter(of_this)
    }

    /// The report that every node running the system has, and that no other node has.
    pub(super) const fn telling(self) -> ReportKind {
        match self {
            Self::MacOs => ReportKind::SystemProfiler,
            Self::Linux => ReportKind::RdmaLink,
        }
    }
}

/// A report of one tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReportKind {
    /// macOS: Thunderbolt ports and the devices connected to them.
    SystemProfiler,
    /// macOS: the interface of each port.
    Networksetup,
    /// macOS: the RDMA devices.
    IbvDevices,
    /// macOS: whether RDMA is switched on.
    RdmaCtl,
    /// macOS: addresses and bridges.
    Ifconfig,
    /// Linux: RDMA devices, their state and their interface.
    RdmaLink,
    /// Linux: the addresses of interfaces.
    IpAddress,
    /// Linux: the line rates of RDMA devices, from sysfs.
    Rates,
}

impl ReportKind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::SystemProfiler,
        Self::Networksetup,
        Self::IbvDevices,
        Self::RdmaCtl,
        Self::Ifconfig,
        Self::RdmaLink,
        Self::IpAddress,
        Self::Rates,
    ];

    /// The name of its file, in a folder for each node.
    pub const fn file(self) -> &'static str {
        match self {
            Self::SystemProfiler => "system_profiler.json",
            Self::Networksetup => "networksetup.txt",
            Self::IbvDevices => "ibv_devices.txt",
            Self::RdmaCtl => "rdma_ctl.txt",
            Self::Ifconfig => "ifconfig.txt",
            Self::RdmaLink => "rdma_link.json",
            Self::IpAddress => "ip_address.json",
            Self::Rates => "rates.txt",
        }
    }

    /// The shell command that prints it.
    pub const fn command(self) -> &'static str {
        match self {
            Self::SystemProfiler => "system_profiler SPThunderboltDataType -json",
            Self::Networksetup => "networksetup -listallhardwareports",
            Self::IbvDevices => "ibv_devices",
            Self::RdmaCtl => "rdma_ctl status",
            Self::Ifconfig => "ifconfig",
            Self::RdmaLink => "rdma -j link",
            Self::IpAddress => "ip -j address",
            Self::Rates => "grep -H . /sys/class/infiniband/*/ports/1/rate",
        }
    }

    /// Whether a node cannot be described without it.
    pub const fn is_needed(self) -> bool {
        matches!(
            self,
            Self::SystemProfiler | Self::Networksetup | Self::RdmaLink | Self::IpAddress
        )
    }

    /// The system that its tool runs on.
    pub const fn system(self) -> System {
        match self {
            Self::SystemProfiler
            | Self::Networksetup
            | Self::IbvDevices
            | Self::RdmaCtl
            | Self::Ifconfig => System::MacOs,
            Self::RdmaLink | Self::IpAddress | Self::Rates => System::Linux,
        }
    }
}

impl fmt::Display for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file())
    }
}
