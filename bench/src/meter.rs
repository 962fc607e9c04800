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

/// Reads the cables' counters when rank 0 reports that a measured run begins, has its
/// first token and ends.
///
/// The ranks do not wait for the reading. Bytes that they send meanwhile are counted on
/// the wrong side of the first token, but a token's messages are small compared with a
/// prompt's.
pub(crate) struct Meter<'a> {
    cables: &'a dyn Plugged,
    mark: Option<CableBytes>,
    carried: Carried,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(cables: &'a dyn Plugged) -> Self {
        Self {
            cables,
            mark: None,
            carried: Carried::default(),
        }
    }

    pub(crate) fn hear(&mut self, rank: usize, event: &Event) {
        if rank != 0 {
            return;
        }
        let now = || by_cable(self.cables.counters());
        match event {
            Event::Phase { phase: Phase::Run } => self.mark = Some(now()),
            Event::Token { index: 0, .. } => {
                if let Some(mark) = &mut self.mark {
                    let first = now();
                    add(&mut self.carried.prefill, mark, &first);
                    *mark = first;
                }
            }
            Event::Run { .. } => {
                if let Some(mark) = self.mark.take() {
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
