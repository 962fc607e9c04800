//! A cable that became slower, found beside an earlier report of the same rig.

use std::{error::Error, fs, path::PathBuf};

use launch::Launcher;
use rail_bench::{
    BuildInfo, Harness, Options, Plan, Report, Settings,
    baseline::Baseline,
    cabling::{Cabling, Emulated, Plugged},
    engine::EngineProgram,
    progress::Progress,
    protocol::Strategy,
    workload::Workload,
};
use rail_matrix::Backend;
use rig::{Link, Rig};
use softrail::live::Live;
use tempfile::TempDir;

/// As many times slower as no load makes a machine.
const SLOWER: u64 = 500;

/// Emulated cables in a folder of their own.
fn emulated() -> (Emulated, TempDir) {
    let parent = tempfile::tempdir().unwrap();
    let mut emulated = Emulated::beside_this_program().unwrap();
    emulated.parent = parent.path().to_owned();
    (emulated, parent)
}

/// Cables one of which is changed as by `cargo xtask cable link`: the rig stays as it is
/// described.
struct Slowed(Emulated);

impl Cabling for Slowed {
    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>> {
        let plugged = self.0.plug(rig)?;
        let slower = |link: &mut Link| link.bytes_per_second /= SLOWER;
        Live::only(&self.0.parent)?.change_link("cable-1", None, slower)?;
        Ok(plugged)
    }
}

fn plan() -> Plan {
    Plan::new(Options {
        strategies: vec![Strategy::Tp],
        backends: vec![Backend::Ring],
        cables: Some("1".parse().unwrap()),
        workloads: vec![Workload {
            prompt_tokens: 4,
            generation_tokens: 2,
            ..Workload::DEFAULT
        }],
        settings: Settings {
            warmup: 0,
            repeat: 5,
            ..Settings::default()
        },
        ..Options::default()
    })
    .unwrap()
}

fn run(cabling: &dyn Cabling) -> Report {
    let key = mlx_core::build_key();
    let rank = PathBuf::from(env!("CARGO_BIN_EXE_rail-rank"));
    let harness = Harness {
        engines: vec![EngineProgram::rust(rank, key.to_owned())],
        cabling,
        build: BuildInfo {
            mlx: "the default pin".to_owned(),
            series: "patched".to_owned(),
            tree: String::new(),
            patched_tree: String::new(),
            key: key.to_owned(),
            manifest: serde_json::Value::Null,
        },
        launcher: &Launcher::default(),
        progress: Progress::hidden(),
        warnings: vec![],
        resumed: vec![],
        record: &|_| Ok(()),
    };
    let measured = rail_bench::run(&plan(), &harness).unwrap();
    assert!(measured.stopped.is_none(), "{:?}", measured.stopped);
    let report = measured.report;
    assert!(report.all_pass(), "{:#?}", report.cells);
    report
}

#[test]
fn a_slowed_cable_is_slower_beyond_doubt_and_the_same_rig() {
    let (cables, _parent) = emulated();
    let before = run(&cables);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.json");
    fs::write(&path, before.json()).unwrap();
    let baseline = Baseline::read(&path).unwrap();
    baseline
        .check_plan(&plan(), "the default pin", "patched")
        .unwrap();

    let limit = "100%".parse().unwrap();
    let slower = |report: &Report| -> Vec<_> {
        let comparison = baseline.compare(report, Some(limit));
        comparison.slower().map(|it| it.cell.clone()).collect()
    };
    assert!(slower(&before).is_empty());
    let after = run(&Slowed(cables));
    assert_eq!(slower(&after), ["tp ring-1"]);
}
