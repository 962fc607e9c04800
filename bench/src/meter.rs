//! How much of a cell's traffic is prefill's.

use std::collections::BTreeMap;

use crate::{
    cabling::Plugged,
    protocol::{Event, Phase},
};

/// Bytes by cable.
pub(crate) type CableBytes = BTreeMap<String, u64>;

/// Reads the cables' counters when a measured run begins and at its first
/// token, as rank 0 tells of them.
///
/// The ranks do not wait for the reading. What they send meanwhile is counted on
/// the wrong side of the first token, but a token's messages are small beside a
/// prompt's.
pub(crate) struct Meter<'a> {
    cables: &'a dyn Plugged,
    at_start: Option<CableBytes>,
    prefill: CableBytes,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(cables: &'a dyn Plugged) -> Self {
        Self {
            cables,
            at_start: None,
            prefill: CableBytes::new(),
        }
    }

    pub(crate) fn hear(&mut self, rank: usize, event: &Event) {
        match event {
            Event::Phase { phase: Phase::Run } if rank == 0 => {
                self.at_start = Some(self.cables.cable_bytes());
            }
            Event::Token { index: 0, .. } if rank == 0 => {
                let Some(at_start) = self.at_start.take() else {
                    return;
                };
                for (cable, bytes) in self.cables.cable_bytes() {
                    let before = at_start.get(&cable).copied().unwrap_or(0);
                    *self.prefill.entry(cable).or_default() += bytes - before;
                }
            }
            _ => {}
        }
    }

    /// All bytes so far, and those of prefill.
    pub(crate) fn read(self) -> (CableBytes, CableBytes) {
        (self.cables.cable_bytes(), self.prefill)
    }
}
