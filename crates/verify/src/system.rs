//! What differs between systems: how much memory a process may still allocate.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Bytes that this process and its children may still allocate, as far as the system
/// reports it: the smallest of the machine's available memory and the room in its
/// containers.
pub fn available_memory() -> Option<u64> {
    #[cfg(target_os = "macos")]
    let machine = of_macos();
    #[cfg(not(target_os = "macos"))]
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| of_meminfo(&text));
    machine.into_iter().chain(of_containers()).min()
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// macOS has no `/proc`, and its `vm_stat` counts pages.
#[cfg(target_os = "macos")]
fn of_macos() -> Option<u64> {
    let output = std::process::Command::new("/usr/bin/vm_stat")
        .output()
        .ok()?;
    of_vm_stat(&String::from_utf8_lossy(&output.stdout))
}

/// The pages that `vm_stat` counts as free, or as freed at once on demand.
#[cfg_attr(not(target_os = "macos"), allow(dead_code))]
fn of_vm_stat(text: &str) -> Option<u64> {
    const FREE: [&str; 4] = [
        "Pages free",
        "Pages inactive",
        "Pages speculative",
        "Pages purgeable",
    ];
    let (_, rest) = text.split_once("page size of ")?;
    let page: u64 = rest.split_whitespace().next()?.parse().ok()?;
    let pages = text.lines().filter_map(|line| {
        let (name, count) = line.split_once(':')?;
        let count: u64 = count.trim().trim_end_matches('.').parse().ok()?;
        FREE.contains(&name).then_some(count)
    });
    Some(pages.sum::<u64>() * page)
}

/// `MemAvailable` of `/proc/meminfo`.
#[cfg_attr(target_os = "macos", allow(dead_code))]
fn of_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The room below each limit of a control group that contains this process
/// (`cgroups(7)`).
fn of_containers() -> Vec<u64> {
    let Some(text) = read(Path::new("/proc/self/cgroup")) else {
        return vec![];
    };
    let rooms = groups(&text).into_iter().map(|(files, folder)| {
        let of = |name: &str| read(&folder.join(name));
        let limit = of(files.limit)?;
        room(
            &limit,
            &of(files.used)?,
            of("memory.stat").as_deref().unwrap_or(""),
            files,
        )
    });
    rooms.flatten().collect()
}

/// The names of the files of a cgroup version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`: the file cache that is freed when needed.
    cache: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: "total_inactive_file",
};
const V2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    cache: "inactive_file",
};

/// The folders of the groups that `/proc/self/cgroup` names, and of all groups around
/// them. In a container without a namespace of its own the path is the host's, and only
/// the last folder, the root, exists.
fn groups(text: &str) -> Vec<(Files, PathBuf)> {
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (files, root) = match controllers {
            "" => (V2, "/sys/fs/cgroup"),
            named if named.split(',').any(|name| name == "memory") => (V1, "/sys/fs/cgroup/memory"),
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        groups.extend(
            path.ancestors()
                .map(|path| (files, Path::new(root).join(path))),
        );
    }
    groups
}

/// The room in a group; `None` if it has no limit.
fn room(limit: &str, used: &str, stat: &str, files: Files) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let cache = stat.lines().find_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        (name == files.cache).then(|| bytes.trim().parse::<u64>().ok())?
    });
    Some(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_is_available() {
        let text = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(of_meminfo(text), Some(2 << 20));
        assert_eq!(of_meminfo("MemTotal:       16384 kB\n"), None);
    }

    #[test]
    fn a_mac_counts_pages() {
        let text = "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n\
                    Pages free:                               100.\n\
                    Pages active:                            5000.\n\
                    Pages inactive:                            20.\n\
                    Pages speculative:                          3.\n\
                    Pages purgeable:                            1.\n\
                    \"Translation faults\":                  123456.\n";
        assert_eq!(of_vm_stat(text), Some(124 * 16384));
        assert_eq!(of_vm_stat("no such thing"), None);
    }

    #[test]
    fn a_limit_leaves_what_is_not_used_and_what_is_only_a_cache() {
        let stat = "anon 10\ninactive_file 300\nactive_file 7\n";
        assert_eq!(room("1000\n", "900\n", stat, V2), Some(400));
        assert_eq!(room("1000\n", "900\n", "", V2), Some(100));
        assert_eq!(room("1000\n", "1100\n", "", V2), Some(0));
        assert_eq!(room("max\n", "900\n", stat, V2), None);
        assert_eq!(
            room("1000\n", "900\n", "total_inactive_file 50\n", V1),
            Some(150)
        );
    }

    #[test]
    fn every_group_around_this_process_is_asked() {
        let folders = |text: &str| -> Vec<String> {
            let groups = groups(text).into_iter();
            groups.map(|(_, path)| path.display().to_string()).collect()
        };
        assert_eq!(
            folders("0::/user.slice/run\n"),
            [
                "/sys/fs/cgroup/user.slice/run",
                "/sys/fs/cgroup/user.slice",
                "/sys/fs/cgroup/",
            ]
        );
        assert_eq!(folders("0::/\n"), ["/sys/fs/cgroup/"]);
        let old = "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/docker/x\n";
        assert_eq!(
            folders(old)[..3],
            [
                "/sys/fs/cgroup/memory/docker/x",
                "/sys/fs/cgroup/memory/docker",
                "/sys/fs/cgroup/memory/",
            ]
        );
        assert!(groups(old).iter().any(|(files, _)| *files == V2));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available_memory().is_none_or(|bytes| bytes > 0));
    }
}
