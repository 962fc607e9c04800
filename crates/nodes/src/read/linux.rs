//! What the tools of Linux print, and its files.

use super::{
    Read, Tools,
    common::{self, value},
    odd, ports,
};
use crate::{Chip, Heat, Memory, Power, User, sections::Sections};

pub fn tools(sections: &Sections) -> Tools {
    Tools {
        release: sections.some("os").and_then(release),
        chip: chip(sections),
        memory: sections.some("memory").and_then(memory),
        rdma_enabled: Err("Linux has no such switch".to_owned()),
        power: power(sections),
        heat: sections.get("heat").and_then(heat),
        users: users(sections),
        ports: sections.some("ports").and_then(ports::sysfs),
    }
}

/// `/etc/os-release`. A system that is never released has no version.
fn release(text: &str) -> Read<(String, String, Option<String>)> {
    let name = value(text, "NAME").ok_or_else(|| odd("a line NAME=", text))?;
    let version = value(text, "VERSION_ID").unwrap_or_default();
    Ok((name.to_owned(), version.to_owned(), None))
}

/// The lines `model name : NAME` of `/proc/cpuinfo` or `Model name: NAME` of `lscpu`.
fn chip(sections: &Sections) -> Read<Chip> {
    let text = sections.some("chip")?;
    let (_, name) = text
        .split_once(':')
        .ok_or_else(|| odd("'model name: NAME'", text))?;
    let optional = |name| sections.some(name).ok();
    Ok(Chip {
        name: name.trim().to_owned(),
        processors: optional("processors").and_then(|count| count.parse().ok()),
        machine: optional("machine").map(str::to_owned),
    })
}

/// `MemTotal: 16384 kB` of `/proc/meminfo`.
fn memory(text: &str) -> Read<Memory> {
    let bytes = |key| {
        let kilobytes = value(text, key)?.strip_suffix("kB")?.trim();
        let kilobytes: u64 = kilobytes.parse().ok()?;
        Some(kilobytes.saturating_mul(1024))
    };
    Ok(Memory {
        total_bytes: bytes("MemTotal").ok_or_else(|| odd("'MemTotal: N kB'", text))?,
        available_bytes: bytes("MemAvailable"),
    })
}

/// The lines `/sys/class/power_supply/NAME/FILE:VALUE`, and the profile of the platform.
fn power(sections: &Sections) -> Read<Power> {
    let text = sections.get("battery")?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let supplies: Vec<_> = lines
        .filter_map(|(path, value)| {
            let (supply, file) = path.rsplit_once('/')?;
            Some((supply, file, value.trim()))
        })
        .collect();
    let of = |kind: &str, file: &str| {
        let is = |supply| supplies.contains(&(supply, "type", kind));
        let found = supplies
            .iter()
            .filter(|(supply, of, _)| *of == file && is(supply));
        found.map(|(_, _, value)| *value).collect::<Vec<_>>()
    };
    let profile = sections.get("settings").ok().map(str::trim);
    if supplies.is_empty() && profile.is_none_or(str::is_empty) {
        return Err("the system names no power supply".to_owned());
    }
    let discharging = of("Battery", "status").contains(&"Discharging");
    Ok(Power {
        on_battery: discharging && !of("Mains", "online").contains(&"1"),
        charge_percent: of("Battery", "capacity")
            .first()
            .and_then(|it| it.parse().ok()),
        low_power_mode: profile
            .filter(|it| !it.is_empty())
            .map(|it| it == "low-power"),
    })
}

/// The lines `/sys/class/thermal/thermal_zoneN/temp:MILLIDEGREES`.
fn heat(text: &str) -> Read<Heat> {
    let degrees = text.lines().filter_map(|line| {
        let (_, value) = line.split_once(':')?;
        Some(value.trim().parse::<i64>().ok()? as f64 / 1000.0)
    });
    Ok(Heat {
        hottest_celsius: Some(
            degrees
                .max_by(f64::total_cmp)
                .ok_or("the system names no thermal zone")?,
        ),
        ..Heat::default()
    })
}

/// Those that hold a device, then the others that may.
fn users(sections: &Sections) -> Read<Vec<User>> {
    let mut users = sections.get("holders").and_then(common::users)?;
    let jobs = sections.get("jobs").and_then(common::users)?;
    let holds = |job: &User| users.iter().any(|user| user.pid == job.pid);
    let others: Vec<_> = jobs.into_iter().filter(|job| !holds(job)).collect();
    users.extend(others);
    Ok(users)
}
