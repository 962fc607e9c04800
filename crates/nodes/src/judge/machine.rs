//! What is wrong with one machine.

use crate::{Finding, NodeFacts, Scope, Severity, write::gibibytes};

/// Programs of a rank, and what they write, have room in it.
const LEAST_DISK: u64 = 256 << 20;

/// A wheel with its environment has room in it too.
const ENOUGH_DISK: u64 = 2 << 30;

/// The first macOS with RDMA over Thunderbolt.
const MACOS_WITH_RDMA: (u32, u32) = (26, 2);

/// What is wrong with a machine.
pub fn findings(scope: Scope, node: &NodeFacts) -> Vec<Finding> {
    let real = scope.real.then(|| {
        let users = users(scope, node);
        old_macos(node).into_iter().chain(users)
    });
    let own = disk(node).into_iter().chain(state(node));
    own.chain(real.into_iter().flatten()).collect()
}

/// What may slow a machine down, and can change while ranks run.
pub fn state(node: &NodeFacts) -> impl Iterator<Item = Finding> {
    let found = [power(node), low_power(node), heat(node)];
    found.into_iter().flatten()
}

fn disk(node: &NodeFacts) -> Option<Finding> {
    let (disk, title) = (node.disk.as_ref()?, node.title());
    let free = gibibytes(disk.free_bytes);
    let on = &disk.mounted;
    // This machine needs no stage.
    if !disk.writable && !node.is_here() {
        return Some(Finding::new(
            Severity::Failure,
            "stage-not-writable",
            [title],
            format!("the user may not write the folder for programs on {on} of node '{title}'"),
            "give the node a `stage` in its [[node]] that the user may write",
        ));
    }
    let severity = match disk.free_bytes {
        ..LEAST_DISK => Severity::Failure,
        LEAST_DISK..ENOUGH_DISK => Severity::Warning,
        _ => return None,
    };
    Some(Finding::new(
        severity,
        "low-disk",
        [title],
        format!("{free} are free on {on} of node '{title}', where its programs are kept"),
        "free some (`cargo xtask gc` if this is the machine with the store), or give the node a \
         `stage` on another disk",
    ))
}

fn power(node: &NodeFacts) -> Option<Finding> {
    let (power, title) = (node.power.as_ref()?, node.title());
    power.on_battery.then(|| {
        Finding::new(
            Severity::Warning,
            "on-battery",
            [title],
            format!("node '{title}' runs on its battery, and may be slowed down"),
            "plug it in",
        )
    })
}

fn low_power(node: &NodeFacts) -> Option<Finding> {
    let (power, title) = (node.power.as_ref()?, node.title());
    (power.low_power_mode == Some(true)).then(|| {
        Finding::new(
            Severity::Warning,
            "low-power-mode",
            [title],
            format!("node '{title}' is in low power mode, which slows it down"),
            "switch it off (macOS: `sudo pmset -a lowpowermode 0`; Linux: `powerprofilesctl set \
             balanced`)",
        )
    })
}

fn heat(node: &NodeFacts) -> Option<Finding> {
    let (heat, title) = (node.heat.as_ref()?, node.title());
    let warned = heat.warning_level.is_some_and(|level| level > 0);
    let limited = heat.speed_limit_percent.filter(|percent| *percent < 100);
    let what = match limited {
        Some(percent) => format!("node '{title}' is held to {percent} % of its speed by its heat"),
        None if warned => format!("node '{title}' gives a warning of its heat"),
        None => return None,
    };
    Some(Finding::new(
        Severity::Warning,
        "hot",
        [title],
        what,
        "let it cool down, and measure again",
    ))
}

fn old_macos(node: &NodeFacts) -> Option<Finding> {
    let (software, title) = (node.software.as_ref()?, node.title());
    let mut numbers = software
        .version
        .split('.')
        .map(|number| number.parse().ok());
    let version = (numbers.next()??, numbers.next().flatten().unwrap_or(0));
    (software.kernel == "Darwin" && version < MACOS_WITH_RDMA).then(|| {
        Finding::new(
            Severity::Failure,
            "old-system",
            [title],
            format!(
                "node '{title}' runs {} {}, which has no RDMA over Thunderbolt",
                software.name, software.version
            ),
            "update it to macOS 26.2 or newer",
        )
    })
}

/// Other processes at the devices. One that holds a device of the rig is in the way of its
/// ranks. Of another it is not known.
fn users(scope: Scope, node: &NodeFacts) -> Vec<Finding> {
    let title = node.title();
    let of_rig = |device: &str| match scope.rig {
        Some(rig) => {
            let mut ends = rig.cables.iter().flat_map(|cable| &cable.ends);
            ends.any(|end| end.node == title && end.device == device)
        }
        None => true,
    };
    let finding = |user: &crate::User| {
        let (pid, program, owner) = (user.pid, &user.program, &user.user);
        let (severity, does) = match &user.device {
            Some(device) if of_rig(device) => (Severity::Failure, format!("has {device} open")),
            Some(device) => (Severity::Warning, format!("has {device} open")),
            None => (Severity::Warning, "may use the RDMA devices".to_owned()),
        };
        Finding::new(
            severity,
            "device-in-use",
            [title],
            format!("process {pid} ({program}, of {owner}) {does} on node '{title}'"),
            format!("end it, or wait until it has ended: `kill {pid}` there"),
        )
    };
    node.users.iter().flatten().map(finding).collect()
}
