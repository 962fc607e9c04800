//! A run beside an earlier report, over fake ranks.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use models::{
    Family,
    tiny::{self, Weights},
};
use rail_bench::{
    Options, Plan,
    baseline::{Baseline, BaselineError},
    engine::Engine,
    model::{Folder, Model},
    protocol::Strategy,
};
use rail_matrix::Backend;
use support::{FakeRank, PretendCables, run, short};
use tempfile::TempDir;

/// A small model in a folder of this name, below a folder of its own.
fn model(name: &str, seed: u64) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(name);
    fs::create_dir(&path).unwrap();
    tiny::write(Family::Llama, Weights::Quantised, seed, &path).unwrap();
    (root, path)
}

fn options(model: &Path) -> Options {
    let mut options = Options {
        engines: vec![Engine::MlxLm],
        strategies: vec![Strategy::Pp],
        backends: vec![Backend::Ring],
        cables: Some("1".parse().unwrap()),
        ..short()
    };
    options.settings.model = Model::Folder(Folder::open(None, model).unwrap());
    options
}

/// The report of a run, as a file, after a change of its text.
fn baseline(options: Options, change: impl Fn(String) -> String) -> (TempDir, Baseline) {
    let report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.json");
    fs::write(&path, change(report.json())).unwrap();
    let baseline = Baseline::read(&path).unwrap();
    (folder, baseline)
}

fn check(baseline: &Baseline, model: &Path) -> Result<(), BaselineError> {
    let plan = Plan::new(options(model)).unwrap();
    baseline.check_plan(&plan, "0.31.2", "patched")
}

#[test]
fn a_model_is_the_same_wherever_its_folder_is_and_another_one_is_refused() {
    let (_here, here) = model("tiny", 1);
    let (_there, there) = model("tiny", 1);
    let (_named, named) = model("other", 1);
    let (_filled, filled) = model("tiny", 2);
    let (_file, baseline) = baseline(options(&here), |text| text);
    check(&baseline, &here).unwrap();
    check(&baseline, &there).unwrap();
    // As a dry run asks before it takes the earlier report's times.
    let is_of =
        |model: &Path| baseline.is_of_model(&Model::Folder(Folder::open(None, model).unwrap()));
    assert!(is_of(&there) && !is_of(&filled));
    let refused = |model: &Path| check(&baseline, model).unwrap_err().to_string();
    let text = refused(&named);
    assert!(
        text.ends_with("another model: tiny; this run is of other"),
        "{text}"
    );
    let text = refused(&filled);
    assert!(text.ends_with("another model of the name tiny"), "{text}");
}

/// A preset has numbers of 32 bits, of which a file has fewer digits.
#[test]
fn a_preset_is_the_same_as_in_its_own_report() {
    let (_file, baseline) = baseline(short(), |text| text);
    let plan = Plan::new(short()).unwrap();
    baseline.check_plan(&plan, "0.31.2", "patched").unwrap();
}

#[test]
fn an_earlier_version_s_report_names_no_content_and_is_compared_by_the_rest() {
    let (_here, here) = model("tiny", 1);
    let (_filled, filled) = model("tiny", 2);
    let (_named, named) = model("other", 1);
    let without = |text: String| {
        let lines = text.lines().filter(|line| !line.contains("\"digest\""));
        lines.collect::<Vec<_>>().join("\n")
    };
    let (_file, baseline) = baseline(options(&here), without);
    check(&baseline, &filled).unwrap();
    check(&baseline, &named).unwrap_err();
}
