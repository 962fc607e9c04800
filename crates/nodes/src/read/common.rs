//! What the tools of both systems print.

use super::{Read, odd};
use crate::{Clock, Disk, ModelFile, Said, User, sections::Sections};

/// `uname -sm`: the kernel and the architecture.
pub fn uname(text: &str) -> Read<(String, String)> {
    let words = text.split_once(' ');
    let (kernel, architecture) = words.ok_or_else(|| odd("'KERNEL ARCHITECTURE'", text))?;
    Ok((kernel.to_owned(), architecture.trim().to_owned()))
}

/// The clock of the node, which was read at its first and at its last moment.
///
/// The first reading was not before this machine sent the question, the last not after it
/// had the answer. So the length of the script is no part of the uncertainty.
pub fn clock(sections: &Sections, said: &Said) -> Read<Clock> {
    let read = |name| sections.some(name).and_then(time);
    let (first, _) = read("clock")?;
    let (last, step) = read("clock-after")?;
    // Neither clock is read more exactly.
    let rounded = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    Ok(Clock {
        ahead_at_least: rounded(last - said.answered),
        ahead_at_most: rounded(first + step - said.asked),
    })
}

/// Seconds since 1970, and the step in which they are counted.
fn time(text: &str) -> Read<(f64, f64)> {
    let seconds = text.parse().ok().filter(|it: &f64| it.is_finite());
    let seconds = seconds.ok_or_else(|| odd("seconds since 1970", text))?;
    Ok((seconds, if text.contains('.') { 0.001 } else { 1.0 }))
}

/// Whether the folder can be written, and `df -Pk` of it.
pub fn disk(text: &str) -> Read<Disk> {
    let wrong = || odd("a line of `df -Pk`", text);
    let (writable, table) = text.split_once('\n').ok_or_else(wrong)?;
    let row: Vec<_> = table.lines().last().ok_or_else(wrong)?.split(' ').collect();
    let row: Vec<_> = row.into_iter().filter(|word| !word.is_empty()).collect();
    // The names before and after may have blanks.
    let capacity = row.iter().position(|word| word.ends_with('%'));
    let capacity = capacity.filter(|place| *place > 3).ok_or_else(wrong)?;
    let bytes = |word: &str| -> Read<u64> {
        let blocks: u64 = word.parse().map_err(|_| wrong())?;
        Ok(blocks.saturating_mul(1024))
    };
    Ok(Disk {
        mounted: row[capacity + 1..].join(" "),
        free_bytes: bytes(row[capacity - 1])?,
        total_bytes: bytes(row[capacity - 3])?,
        writable: writable == "writable",
    })
}

/// Lines `PID USER DEVICE PROGRAM`, where `-` is no device.
pub fn users(text: &str) -> Read<Vec<User>> {
    text.lines().map(user).collect()
}

fn user(line: &str) -> Read<User> {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().filter(|word| !word.is_empty());
    let (Some(pid), Some(user), Some(device), Some(program)) = (word(), word(), word(), word())
    else {
        return Err(odd("'PID USER DEVICE PROGRAM'", line));
    };
    Ok(User {
        pid: pid.parse().map_err(|_| odd("a process id", pid))?,
        user: user.to_owned(),
        program: program.to_owned(),
        device: (device != "-").then(|| device.to_owned()),
    })
}

/// Lines `SIZE SHA256 NAME`.
pub fn model(text: &str) -> Read<Vec<ModelFile>> {
    let file = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().filter(|word| !word.is_empty());
        let (Some(bytes), Some(sha256), Some(name)) = (word(), word(), word()) else {
            return Err(odd("'SIZE SHA256 NAME'", line));
        };
        Ok(ModelFile {
            name: name.to_owned(),
            bytes: bytes.parse().map_err(|_| odd("a size", bytes))?,
            sha256: sha256.to_owned(),
        })
    };
    text.lines().map(file).collect()
}

/// The value of a line `KEY: VALUE`, `KEY=VALUE` or `KEY VALUE`.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| {
        let rest = line.trim_start().strip_prefix(key)?;
        let value = rest.trim_start().trim_start_matches([':', '=']);
        (rest.is_empty() || value.len() < rest.len()).then(|| value.trim().trim_matches('"'))
    };
    text.lines().find_map(value)
}
