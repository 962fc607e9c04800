//! Any texts are the reports of two nodes or are refused.
//!
//! The input is the reports of two nodes in the order of their kinds, with a zero byte
//! after each; an empty one is not there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rail_matrix::{
    Options, plan,
    read::{self, HostReport, ReportKind},
};

fuzz_target!(|bytes: &[u8]| {
    let texts: Vec<_> = bytes.split(|byte| *byte == 0).collect();
    let hosts: Vec<_> = texts
        .chunks(ReportKind::ALL.len())
        .take(2)
        .zip(["a", "b"])
        .map(|(texts, name)| HostReport {
            name: name.to_owned(),
            texts: ReportKind::ALL
                .into_iter()
                .zip(texts)
                .filter(|(_, text)| !text.is_empty())
                .map(|(kind, text)| (kind, text.to_vec()))
                .collect(),
        })
        .collect();
    if let Ok(topology) = read::reports(&hosts) {
        let _ = topology.account();
        let _ = plan(&topology, &Options::default());
    }
});
