//! What the cables of a cell carried, beside what they can carry.

use rig::Rig;
use serde::Serialize;

use super::CellReport;
use crate::meter::CableBytes;

/// Bytes a second over all cables of a cell together, in one direction: the mean of both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BusBandwidth {
    /// What the cables carry by the rig's description.
    pub line: f64,
    /// What they carried from the start of the measured runs to the first tokens.
    pub prefill: f64,
    /// From the first tokens to the last ones. None if only one token was requested.
    pub decode: Option<f64>,
}

impl BusBandwidth {
    /// The bandwidth of a cell whose times and bytes are known. None if there is no cable
    /// to count.
    pub(super) fn of(cell: &CellReport, rig: &Rig) -> Option<Self> {
        let used = rig.cables.iter();
        let used = used.filter(|cable| cell.cable_bytes.contains_key(&cable.name));
        let line: f64 = used.map(|cable| cable.link.bytes_per_second as f64).sum();
        let prefill: f64 = cell.ttft_ms.as_ref()?.samples.iter().sum();
        let whole: f64 = cell.e2e_ms.as_ref()?.samples.iter().sum();
        let rate = |bytes: &CableBytes, ms: f64| {
            let both: u64 = bytes.values().sum();
            both as f64 / 2.0 / (ms / 1e3)
        };
        (line > 0.0).then(|| Self {
            line,
            prefill: rate(&cell.cable_bytes, prefill),
            decode: (whole > prefill).then(|| rate(&cell.decode_cable_bytes, whole - prefill)),
        })
    }
}
