//! What the cables of a fabric have carried, for people and for programs.

use std::{collections::BTreeMap, fmt, time::Duration};

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use rig::{End, units};
use serde::{Deserialize, Serialize};

use crate::shm::EndState;

/// What one direction of a cable has carried since its launcher made it, and its current
/// condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// The cable.
    pub cable: String,
    /// The end that sends, as `node:device`.
    pub from: String,
    /// The end that receives.
    pub to: String,
    /// Bytes put on the cable.
    pub bytes: u64,
    /// Messages put on the cable.
    pub messages: u64,
    /// The largest number of messages that one queue pair had in flight at a time. It
    /// covers the whole life of the cable, so the difference [`since`](Self::since) a
    /// moment has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u64>,
    /// Messages that waited for a receive.
    pub waited: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// Messages that no receiver has taken yet: they are in flight, or arrived before
    /// their receive.
    pub pending: u64,
    /// The current line rate.
    pub bytes_per_second: u64,
    /// The current latency.
    pub latency_ns: u64,
    /// Whether the cable is cut now.
    pub cut: bool,
    /// The current faults of the sending device, by their names in `rig.toml`.
    pub faults: Vec<String>,
}

impl Counters {
    pub(crate) fn read(cable: &str, [from, to]: [&End; 2], end: &EndState) -> Self {
        let condition = &end.condition;
        let link = condition.link();
        Counters {
            cable: cable.to_owned(),
            from: from.to_string(),
            to: to.to_string(),
            bytes: end.direction.bytes(),
            messages: end.direction.messages(),
            depth: Some(end.tally.deepest()),
            waited: end.tally.waited(),
            lost: end.tally.lost(),
            pending: end.pending(),
            bytes_per_second: link.bytes_per_second,
            latency_ns: u64::try_from(link.latency.as_nanos()).unwrap_or(u64::MAX),
            cut: condition.is_cut(),
            faults: condition.faults().map(|it| it.name().to_owned()).collect(),
        }
    }

    /// Adds what this direction of the same cable carried in another life of it. The
    /// condition is the later one's.
    pub fn add(&mut self, later: &Counters) {
        *self = Counters {
            bytes: self.bytes + later.bytes,
            messages: self.messages + later.messages,
            depth: self.depth.max(later.depth),
            waited: self.waited + later.waited,
            lost: self.lost + later.lost,
            pending: self.pending + later.pending,
            ..later.clone()
        };
    }

    /// What was added since this direction was read as `before`.
    #[must_use]
    pub fn since(mut self, before: &Counters) -> Self {
        self.bytes = self.bytes.saturating_sub(before.bytes);
        self.messages = self.messages.saturating_sub(before.messages);
        self.waited = self.waited.saturating_sub(before.waited);
        self.lost = self.lost.saturating_sub(before.lost);
        self.depth = None;
        self
    }
}

/// One line, for people.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} to {}: {} messages of {} bytes in all, {} of them waited for a receive, \
             {} were lost, {} are not taken yet",
            self.from, self.to, self.messages, self.bytes, self.waited, self.lost, self.pending
        )
    }
}

/// What was added to every direction since the same fabric was read as `before`.
pub fn since(now: Vec<Counters>, before: &[Counters]) -> Vec<Counters> {
    let pairs = now.into_iter().zip(before);
    pairs.map(|(now, before)| now.since(before)).collect()
}

/// The bytes that each cable has carried, both directions together.
pub fn by_cable(counters: Vec<Counters>) -> BTreeMap<String, u64> {
    let mut bytes = BTreeMap::<_, u64>::new();
    for direction in counters {
        let carried = bytes.entry(direction.cable).or_default();
        *carried = carried.saturating_add(direction.bytes);
    }
    bytes
}

/// A Markdown table, for people. Rates count what was added since the counters were read
/// as `before`, and `before` is that long ago.
pub fn markdown(counters: &[Counters], before: Option<(&[Counters], Duration)>) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "cable", "from", "to", "bytes", "rate", "messages", "depth", "waited", "lost", "pending",
        "now",
    ]);
    for (index, it) in counters.iter().enumerate() {
        let rate = before.map_or("-".to_owned(), |(before, ago)| {
            let bytes = it.bytes.saturating_sub(before[index].bytes) as f64;
            units::about_rate((bytes / ago.as_secs_f64()) as u64)
        });
        let depth = it.depth.map_or("-".to_owned(), |depth| depth.to_string());
        let row = [
            it.cable.clone(),
            it.from.clone(),
            it.to.clone(),
            it.bytes.to_string(),
            rate,
            it.messages.to_string(),
            depth,
            it.waited.to_string(),
            it.lost.to_string(),
            it.pending.to_string(),
            condition(it),
        ];
        // A rig's names may hold characters that end a cell of the table.
        table.add_row(row.map(|text| text.replace('|', "\\|")));
    }
    table.trim_fmt() + "\n"
}

/// The current condition of a direction.
fn condition(counters: &Counters) -> String {
    let rate = units::format_rate(counters.bytes_per_second);
    let latency = units::format_time(Duration::from_nanos(counters.latency_ns));
    let cut = counters.cut.then_some("cut");
    let broken: Vec<_> = cut
        .into_iter()
        .chain(counters.faults.iter().map(String::as_str))
        .collect();
    match &*broken {
        [] => format!("{rate}, {latency}"),
        broken => format!("{rate}, {latency}; {}", broken.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use crate::Broken;
    use rig::{DeviceFault, Rig};

    use super::*;
    use crate::{Fabric, live::Live};

    #[test]
    fn the_table_has_a_line_for_each_direction_and_says_what_is_broken() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let fabric = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
        let live = Live::attach(fabric.path()).expect("it is up");
        live.set_cable("cable-3", Some(Broken::Cut))
            .expect("a cable");
        let fault = DeviceFault::Failing;
        live.set_fault("b:rdma_en7", fault, true).expect("a device");
        let table = markdown(&live.counters(), None);
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(
            columns(lines[0]),
            [
                "cable-1",
                "a:rdma_en5",
                "b:rdma_en5",
                "0",
                "-",
                "0",
                "0",
                "0",
                "0",
                "0",
                "50 MB/s, 20 us"
            ]
        );
        assert!(lines[5].ends_with("; cut, failing |"), "{}", lines[5]);
    }

    #[test]
    fn a_name_with_a_bar_does_not_end_its_cell() {
        let named = Counters {
            cable: "left | right".to_owned(),
            ..Counters::default()
        };
        let table = markdown(&[named], None);
        let line = table.lines().nth(2).expect("a row");
        assert!(line.starts_with("| left \\| right |"), "{line}");
    }

    fn columns(line: &str) -> Vec<&str> {
        let line = line.trim_matches('|');
        line.split('|').map(str::trim).collect()
    }

    #[test]
    fn a_rate_is_of_the_bytes_that_came_since() {
        let at = |bytes, messages| Counters {
            bytes,
            messages,
            depth: Some(4),
            ..Counters::default()
        };
        let (before, now) = ([at(1_000_000, 5)], [at(26_000_000, 30)]);
        let table = markdown(&now, Some((&before, Duration::from_millis(500))));
        let line = table.lines().nth(2).expect("a row");
        assert_eq!(columns(line)[3..6], ["26000000", "50 MB/s", "30"]);
        let came = Counters {
            depth: None,
            ..at(25_000_000, 25)
        };
        assert_eq!(since(now.to_vec(), &before), [came]);
    }
}
