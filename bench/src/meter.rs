//! The bytes that each cable carried in the measured runs of a cell.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use softrail::counters::by_cable;

use crate::{
    cabling::Plugged,
    protocol::{Event, Phase},
};

/// Bytes by cable.
pub(crate) type CableBytes = BTreeMap<String, u64>;

/// The bytes of the measured runs, both directions together.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Carried {
    /// From a run's start to its first token.
    pub prefill: CableBytes,
    /// From the first token to the end of the run. Decode sends small messages, which
    /// need not use every cable, so the sum of the two has no meaning.
    pub decode: CableBytes,
}

/// Reads what a rank has sent when it reports that a measured run begins, has its first
/// token and ends. What ranks on other machines count comes with these reports, and is of
/// this moment for the rank that makes one.
///
/// The ranks do not wait for the reading. Bytes that they send meanwhile are counted on
/// the wrong side of the first token, but a token's messages are small compared with a
/// prompt's.
pub(crate) struct Meter<'a> {
    cables: &'a dyn Plugged,
    /// The node of each rank.
    nodes: &'a [String],
    /// Of each rank.
    marks: Vec<Option<CableBytes>>,
    carried: Carried,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(cables: &'a dyn Plugged, nodes: &'a [String]) -> Self {
        Self {
            cables,
            nodes,
            marks: vec![None; nodes.len()],
            carried: Carried::default(),
        }
    }

    pub(crate) fn hear(&mut self, rank: usize, event: &Event) {
        let now = || by_cable(self.cables.sent(&self.nodes[rank]));
        match event {
            Event::Phase { phase: Phase::Run } => self.marks[rank] = Some(now()),
            Event::Token { index: 0, .. } => {
                if let Some(mark) = &mut self.marks[rank] {
                    let first = now();
                    add(&mut self.carried.prefill, mark, &first);
                    *mark = first;
                }
            }
            Event::Run { .. } => {
                if let Some(mark) = self.marks[rank].take() {
                    add(&mut self.carried.decode, &mark, &now());
                }
            }
            _ => {}
        }
    }

    pub(crate) fn read(self) -> Carried {
        self.carried
    }
}

fn add(sum: &mut CableBytes, before: &CableBytes, after: &CableBytes) {
    for (cable, bytes) in after {
        let before = before.get(cable).copied().unwrap_or(0);
        *sum.entry(cable.clone()).or_default() += bytes - before;
    }
}
