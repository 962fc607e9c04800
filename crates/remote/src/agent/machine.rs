//! Which machine this is.

use std::{fs, process::Command};

/// The name that the machine has for itself.
pub(super) fn name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

/// The same for two agents on one machine, and for no others: the number that the system
/// gave itself when it booted. Containers and network namespaces count as machines.
pub(super) fn identity() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let boot = boot.or_else(|| {
        let mut sysctl = Command::new("/usr/sbin/sysctl");
        let said = sysctl.args(["-n", "kern.bootsessionuuid"]).output().ok()?;
        Some(String::from_utf8_lossy(&said.stdout).into_owned())
    });
    let network = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let boot = boot.unwrap_or_else(name);
    format!("{} {}", boot.trim(), network.display())
}
