//! What the tools of macOS print.

use super::{
    Read, Tools,
    common::{self, value},
    odd, ports,
};
use crate::{Chip, Heat, Memory, Power, sections::Sections};

pub fn tools(sections: &Sections) -> Tools {
    let sysctl = sections.some("sysctl");
    let enabled = sections.some("rdma_ctl.txt").and_then(rdma_ctl);
    let ports = sections.some("ports");
    Tools {
        release: sections.some("sw_vers").and_then(release),
        chip: sysctl.clone().and_then(|text| chip(text, sections)),
        memory: sysctl.and_then(memory),
        rdma_enabled: enabled,
        power: power(sections),
        heat: sections.some("heat").and_then(heat),
        users: sections.get("jobs").and_then(common::users),
        ports: ports.map(ports::ibv_devinfo),
    }
}

/// `sw_vers`.
///
/// ```text
/// ProductName:            macOS
/// ProductVersion:         26.2
/// BuildVersion:           25C56
/// ```
fn release(text: &str) -> Read<(String, String, Option<String>)> {
    let needed = |key| value(text, key).ok_or_else(|| odd(&format!("a line '{key}:'"), text));
    let build = value(text, "BuildVersion").map(str::to_owned);
    let (name, version) = (needed("ProductName")?, needed("ProductVersion")?);
    Ok((name.to_owned(), version.to_owned(), build))
}

fn chip(sysctl: &str, sections: &Sections) -> Read<Chip> {
    let name = value(sysctl, "machdep.cpu.brand_string");
    let processors = sections.some("processors").ok();
    Ok(Chip {
        name: name
            .ok_or_else(|| odd("machdep.cpu.brand_string", sysctl))?
            .to_owned(),
        processors: processors.and_then(|count| count.parse().ok()),
        machine: value(sysctl, "hw.model").map(str::to_owned),
    })
}

fn memory(sysctl: &str) -> Read<Memory> {
    let bytes = value(sysctl, "hw.memsize").and_then(|bytes| bytes.parse().ok());
    Ok(Memory {
        total_bytes: bytes.ok_or_else(|| odd("hw.memsize", sysctl))?,
        available_bytes: None,
    })
}

fn rdma_ctl(text: &str) -> Read<bool> {
    match text.to_ascii_lowercase() {
        text if text.contains("disabled") => Ok(false),
        text if text.contains("enabled") => Ok(true),
        _ => Err(odd("'enabled' or 'disabled'", text)),
    }
}

/// `pmset -g batt` and `pmset -g`.
///
/// ```text
/// Now drawing from 'Battery Power'
///  -InternalBattery-0 (id=1234567)        80%; discharging; 4:02 remaining present: true
/// ```
///
/// ```text
/// Currently in use:
///  lowpowermode         0
/// ```
fn power(sections: &Sections) -> Read<Power> {
    let text = sections.some("battery")?;
    let source = text.split('\'').nth(1);
    let source = source.ok_or_else(|| odd("Now drawing from 'SOURCE'", text))?;
    let percent = text.split_once('%').map(|(before, _)| before);
    let percent = percent.and_then(|before| before.rsplit(char::is_whitespace).next());
    Ok(Power {
        on_battery: source == "Battery Power",
        charge_percent: percent.and_then(|percent| percent.parse().ok()),
        low_power_mode: sections.some("settings").ok().and_then(low_power),
    })
}

/// `lowpowermode` is 1 in the mode; newer systems have `powermode`, where 1 is low, 2 high.
fn low_power(settings: &str) -> Option<bool> {
    let settings = settings
        .split_once("Currently in use:")
        .map_or(settings, |it| it.1);
    let modes = ["lowpowermode", "powermode"].map(|key| value_of_setting(settings, key));
    let known = modes.iter().any(Option::is_some);
    known.then(|| modes.contains(&Some("1")))
}

fn value_of_setting<'a>(settings: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = settings.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next() == Some(key)).then(|| words.next())?)
}

/// `pmset -g therm`. What was never recorded is well.
///
/// ```text
/// Note: No thermal warning level has been recorded
/// Note: No performance warning level has been recorded
/// CPU_Speed_Limit         = 100
/// ```
fn heat(text: &str) -> Read<Heat> {
    let lower = text.to_ascii_lowercase();
    let number = |key| value(&lower, key).and_then(|value| value.parse().ok());
    let (level, limit) = (number("thermal warning level"), number("cpu_speed_limit"));
    let none = lower.contains("no thermal warning level has been recorded");
    if level.is_none() && limit.is_none() && !none {
        return Err(odd("a thermal warning level or CPU_Speed_Limit", text));
    }
    Ok(Heat {
        warning_level: level.or(none.then_some(0)),
        speed_limit_percent: limit,
        hottest_celsius: None,
    })
}
