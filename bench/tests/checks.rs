//! What each check finds, over fake ranks, and that nothing else finds it.

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use models::{
    Family,
    tiny::{self, Weights},
};
use rail_bench::{
    Options, Plan, Report, RunError, Workload,
    checks::{Check, CheckError, needle::NeedleError},
    model::{Folder, Model, Preset},
    protocol::Strategy,
    reference::{FileError, ReferenceError, Source},
    sweep::SweepError,
    verdict::Verdict,
};
use rail_matrix::Backend;
use support::{FakeRank, PretendCables, run, short};
use tempfile::TempDir;

/// A folder with a model whose ids are the characters of a text.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny::write(Family::Llama, Weights::Plain, 1, folder.path()).unwrap();
    let vocab: serde_json::Map<_, _> = (0..128u8)
        .map(|id| (char::from(id).to_string(), id.into()))
        .collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": false,
        },
        "post_processor": null, "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "?"},
    });
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn model(folder: &Path) -> Model {
    Model::Folder(Folder::open(Some("chars"), folder).unwrap())
}

/// TP and PP over mesh-1, ring-1 and ring-2.
fn preset() -> Options {
    Options {
        backends: vec![Backend::Mesh, Backend::Ring],
        cables: Some("2".parse().unwrap()),
        ..short()
    }
}

fn real(folder: &Path) -> Options {
    let mut options = preset();
    options.settings.model = model(folder);
    options
}

fn demanding(checks: &[Check], options: Options) -> Options {
    Options {
        checks: Some(checks.iter().copied().collect()),
        ..options
    }
}

fn measured(options: Options, rules: &str) -> Report {
    run(options, &FakeRank::new(rules), &PretendCables).unwrap()
}

/// The verdict of a cell and its reason.
fn verdict_of(report: &Report, name: &str) -> (Verdict, String) {
    let mut cells = report.cells.iter();
    let cell = cells.find(|it| it.cell().to_string() == name).unwrap();
    (cell.verdict, cell.detail.clone().unwrap_or_default())
}

/// The cells that are not pass, as `tp ring-1: wrong`.
fn not_passed(report: &Report) -> Vec<String> {
    let cells = report.cells.iter();
    let cells = cells.filter(|it| it.verdict != Verdict::Pass);
    cells
        .map(|it| format!("{}: {}", it.cell(), it.verdict))
        .collect()
}

/// What a plan is refused for.
fn refused(options: Options) -> CheckError {
    match Plan::new(options) {
        Err(SweepError::Check(error)) => {
            assert!(error.help().is_some(), "{error}");
            error
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn sensible_checks_are_made_without_being_demanded() {
    let made = |report: &Report, name: &str| {
        let mut cells = report.cells.iter();
        let cell = cells.find(|it| it.cell().to_string() == name).unwrap();
        let checks: Vec<_> = cell.checks.iter().map(|it| it.name()).collect();
        checks.join(",")
    };
    let report = measured(preset(), "");
    assert!(report.all_pass() && report.demanded.is_empty());
    assert_eq!(made(&report, "single"), "");
    assert_eq!(made(&report, "tp mesh-1"), "ranks,cross,exact");
    assert_eq!(made(&report, "pp ring-2"), "ranks,exact");

    let folder = folder();
    let report = measured(real(folder.path()), "");
    assert!(report.all_pass(), "{:#?}", report.cells);
    assert_eq!(made(&report, "tp ring-2"), "ranks,cross,logits");
    assert_eq!(made(&report, "pp ring-2"), "ranks,exact");
    let evidence = report.cells[0].evidence.as_ref().unwrap();
    assert_eq!((evidence.tokens.len(), evidence.top.len()), (4, 4));
    assert!(evidence.noise.is_some_and(|it| (it - 0.02).abs() < 1e-6));
    for cell in &report.cells[1..] {
        assert_eq!(cell.reference.as_deref(), Some("single"));
        assert_eq!(cell.movement.is_some(), cell.strategy == Strategy::Tp);
    }
}

#[test]
fn the_tp_cell_that_differs_from_the_first_is_wrong() {
    let rules = "tp ring-2=other-bits";
    let report = measured(preset(), rules);
    assert_eq!(not_passed(&report), ["tp ring-2: wrong"]);
    let (_, detail) = verdict_of(&report, "tp ring-2");
    let expected = "rank 0, run 2, token 1: its logits differ from those of tp mesh-1 (";
    assert!(detail.starts_with(expected), "{detail}");

    let others = [Check::Ranks, Check::Exact];
    assert!(measured(demanding(&others, preset()), rules).all_pass());
}

#[test]
fn the_runs_of_a_tp_cell_agree_and_a_cell_that_failed_is_no_measure() {
    let report = measured(preset(), "tp mesh-1=other-bits");
    assert_eq!(not_passed(&report), ["tp mesh-1: wrong"]);
    let report = measured(preset(), "tp mesh-1=abort");
    assert_eq!(not_passed(&report), ["tp mesh-1: crash"]);
}

#[test]
fn workloads_that_compute_the_same_are_compared_across_frames() {
    let mut options = preset();
    options.strategies = vec![Strategy::Tp];
    let small = options.workloads[0];
    let big = Workload {
        frames: rail_matrix::Frames::Big,
        ..small
    };
    options.workloads = vec![small, big];
    let rules = format!("tp mesh-1 [{big}]=other-bits");
    let report = measured(options, &rules);
    let [wrong] = &not_passed(&report)[..] else {
        panic!("{:#?}", report.cells)
    };
    assert_eq!(wrong, "tp mesh-1: wrong");
    let cell = report.cells.iter().find(|it| it.verdict == Verdict::Wrong);
    let cell = cell.unwrap();
    assert_eq!(cell.workload, big);
    let detail = cell.detail.as_deref().unwrap();
    assert!(
        detail.contains(&format!("of tp mesh-1 [{small}] (")),
        "{detail}"
    );
}

#[test]
fn pp_has_the_bits_of_the_single_process_and_not_its_tokens_alone() {
    let rules = "pp ring-1=other-bits";
    let report = measured(preset(), rules);
    assert_eq!(not_passed(&report), ["pp ring-1: wrong"]);
    let (_, detail) = verdict_of(&report, "pp ring-1");
    let expected = "rank 0, run 2, token 1: its logits differ from the reference's (";
    assert!(detail.starts_with(expected), "{detail}");
    assert!(measured(demanding(&[Check::Ranks], preset()), rules).all_pass());
}

#[test]
fn real_weights_drift_within_the_bounds_that_the_model_has() {
    let folder = folder();
    let options = || real(folder.path());
    let rules = "tp ring-1=drift";
    let report = measured(options(), rules);
    assert_eq!(not_passed(&report), ["tp ring-1: drift"]);
    let (_, detail) = verdict_of(&report, "tp ring-1");
    let expected = "rank 0, run 2, token 2: expected 37, got 38; no logit moved farther than";
    assert!(detail.starts_with(expected), "{detail}");
    assert!(!report.any_failed() && !report.all_pass());
    let text = report.markdown();
    for told in ["| drift   | differ", "\n6 of 7 cells pass, 1 drifts.\n"] {
        assert!(text.contains(told), "{text}");
    }
    // Its figures count: it did the same work.
    let drifted = &report.cells[2];
    assert!(drifted.ttft_ms.is_some() && !drifted.tokens_match);
    assert!(drifted.movement.is_some_and(|it| (it - 0.15).abs() < 1e-6));

    let exact = [Check::Exact, Check::Logits];
    let report = measured(demanding(&exact, options()), rules);
    assert_eq!(not_passed(&report), ["tp ring-1: drift"]);
    assert!(
        report.any_failed(),
        "the single process's tokens were demanded"
    );

    let ranks = measured(demanding(&[Check::Ranks], options()), rules);
    assert!(ranks.all_pass() && !ranks.cells[2].tokens_match);
}

/// Rust cuts a prompt of more than 2048 tokens in other steps in PP than on one process.
#[test]
fn pp_of_real_weights_that_cuts_the_prompt_otherwise_has_the_bounds_of_tp() {
    let folder = folder();
    let mut options = Options {
        strategies: vec![Strategy::Pp],
        ..real(folder.path())
    };
    options.workloads[0].prompt_tokens = 2049;
    let report = measured(options, "pp ring-1=drift;pp ring-2=far");
    assert_eq!(
        not_passed(&report),
        ["pp ring-1: drift", "pp ring-2: wrong"]
    );
}

#[test]
fn a_logit_that_moves_beyond_the_bounds_is_wrong() {
    let folder = folder();
    let rules = "tp ring-1@1=far;tp ring-2=turned";
    let report = measured(real(folder.path()), rules);
    assert_eq!(
        not_passed(&report),
        ["tp ring-1: wrong", "tp ring-2: wrong"]
    );
    let (_, far) = verdict_of(&report, "tp ring-1");
    assert!(
        far.starts_with("rank 1, token 1 after the reference's own: a logit moved by 1.7"),
        "{far}"
    );
    let (_, turned) = verdict_of(&report, "tp ring-2");
    assert!(
        turned.contains("rank 0, token 1 after") && turned.contains("is of 21 and not of 20"),
        "{turned}"
    );
    let others = [Check::Ranks, Check::Cross, Check::Exact];
    assert!(measured(demanding(&others, real(folder.path())), rules).all_pass());

    let rank = FakeRank::new("single=no-noise");
    let void = run(real(folder.path()), &rank, &PretendCables).unwrap_err();
    assert!(
        matches!(void, RunError::Reference(ReferenceError::NoNoise)),
        "{void:?}"
    );
}

fn needles(folder: &Path, step: usize) -> Options {
    let mut options = demanding(&[Check::Needle], real(folder));
    options.workloads[0].prefill_step = Some(step);
    options
}

#[test]
fn what_a_long_prompt_hides_must_come_back_on_every_rank() {
    let folder = folder();
    let options = || needles(folder.path(), 220);
    assert!(measured(options(), "").all_pass());

    let rules = "tp ring-1@1=lost;pp mesh-1=lost";
    let report = measured(options(), rules);
    assert_eq!(
        not_passed(&report),
        ["tp ring-1: wrong", "pp mesh-1: wrong"]
    );
    let (_, detail) = verdict_of(&report, "tp ring-1");
    assert!(
        detail.starts_with("rank 1, needle in ") && detail.contains("2.5 prefill steps: "),
        "{detail}"
    );
    assert!(detail.ends_with("came back as \" 12345. So\""), "{detail}");
    let mut without = options();
    without.checks = Some([Check::Ranks].into());
    assert!(measured(without, rules).all_pass());

    let void = run(options(), &FakeRank::new("single=lost"), &PretendCables).unwrap_err();
    assert!(
        matches!(void, RunError::Reference(ReferenceError::Needle(_))),
        "{void:?}"
    );
}

#[test]
fn a_check_that_cannot_be_made_is_refused_beforehand() {
    let folder = folder();
    let only = |check: Check, options: Options| refused(demanding(&[check], options));
    assert!(matches!(
        only(Check::Needle, preset()),
        CheckError::NoWords(_)
    ));
    let without = |source: Source, check| {
        let reference = source;
        let options = Options {
            reference,
            ..preset()
        };
        only(check, options)
    };
    assert!(matches!(
        without(Source::None, Check::Exact),
        CheckError::NoReference(Check::Exact)
    ));
    let pp = Options {
        strategies: vec![Strategy::Pp],
        ..preset()
    };
    assert!(matches!(
        only(Check::Cross, pp.clone()),
        CheckError::NothingToCross
    ));
    assert!(matches!(only(Check::Logits, pp), CheckError::NoTp));
    let ring = Options {
        backends: vec![Backend::Ring],
        reference: Source::Mesh1,
        ..preset()
    };
    assert!(matches!(refused(ring), CheckError::NoMesh));

    let short = refused(needles(folder.path(), 30));
    let CheckError::Needle(NeedleError::NoRoom { step: 30, least }) = short else {
        panic!("{short:?}")
    };
    assert!(
        short
            .help()
            .unwrap()
            .contains(&format!("--prefill-step {}", 2 * least))
    );
    let long = refused(needles(folder.path(), 4096));
    assert!(
        matches!(&long, CheckError::Needle(NeedleError::Context(_))),
        "{long:?}"
    );
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let wordless = refused(needles(folder.path(), 220));
    assert!(
        matches!(
            &wordless,
            CheckError::Needle(NeedleError::Tokenizer(models::Error::NoTokenizer { .. }))
        ),
        "{wordless:?}"
    );
}

#[test]
fn a_model_too_big_for_one_process_is_compared_with_the_cell_mesh_1() {
    let options = Options {
        reference: Source::Mesh1,
        ..preset()
    };
    let report = measured(options.clone(), "tp ring-2=wrong;pp ring-1=other-bits");
    let names: BTreeSet<_> = report
        .cells
        .iter()
        .map(|it| it.cell().to_string())
        .collect();
    assert!(!names.contains("single"), "{names:?}");
    assert_eq!(
        not_passed(&report),
        ["tp ring-2: wrong", "pp ring-1: wrong"]
    );
    let row = |name: &str| {
        let mut cells = report.cells.iter();
        cells.find(|it| it.cell().to_string() == name).unwrap()
    };
    assert_eq!(row("tp ring-1").reference.as_deref(), Some("tp mesh-1"));
    assert_eq!(row("pp ring-2").reference.as_deref(), Some("pp mesh-1"));
    let first = row("tp mesh-1");
    assert!(first.reference.is_none() && first.evidence.is_some() && first.tokens_match);

    // Without a reference the others are still compared with each other.
    let report = measured(options, "tp mesh-1=abort;tp ring-2=other-bits");
    assert_eq!(
        not_passed(&report),
        ["tp mesh-1: crash", "tp ring-2: wrong"]
    );
    let (_, detail) = verdict_of(&report, "tp ring-2");
    assert!(detail.contains("those of tp ring-1"), "{detail}");
    assert_eq!(report.cells[1].reference.as_deref(), Some("none"));
}

#[test]
fn without_a_reference_ranks_and_cells_are_compared_with_each_other() {
    let options = Options {
        reference: Source::None,
        ..preset()
    };
    let rules = "tp ring-1=other-logits;tp ring-2=other-bits;pp ring-2=wrong";
    let report = measured(options, rules);
    assert_eq!(
        not_passed(&report),
        ["tp ring-1: wrong", "tp ring-2: wrong"]
    );
    let unknown = report.cells.last().unwrap();
    assert_eq!(unknown.reference.as_deref(), Some("none"));
    assert!(!unknown.tokens_match);
    let text = report.markdown();
    assert!(
        text.contains("| pp ring-2 | pp8+tg4 | pass    | -"),
        "{text}"
    );
}

/// The report of a run in a file, after a change of its JSON.
fn saved(report: &Report, change: impl Fn(&mut serde_json::Value)) -> tempfile::NamedTempFile {
    let mut json = serde_json::from_str(&report.json()).unwrap();
    change(&mut json);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), json.to_string()).unwrap();
    file
}

#[test]
fn the_tokens_of_an_earlier_report_are_a_reference() {
    let folder = folder();
    let options = |file: &Path| Options {
        reference: Source::File(file.to_owned()),
        ..real(folder.path())
    };
    let report = measured(real(folder.path()), "");
    let same = saved(&report, |_| {});
    let rules = "tp ring-1@1=far;pp ring-1=other-bits;pp ring-2=wrong";
    let report = measured(options(same.path()), rules);
    let wrong = ["tp ring-1: wrong", "pp ring-1: wrong", "pp ring-2: wrong"];
    assert_eq!(not_passed(&report), wrong);
    let name = same.path().display().to_string();
    for cell in &report.cells {
        assert!(cell.backend.is_some(), "{}", cell.cell());
        assert_eq!(cell.reference.as_deref(), Some(&*name));
    }
    // Another build's bits prove nothing, and its tokens do.
    let built = saved(&measured(real(folder.path()), ""), |json| {
        json["build"]["key"] = "0ther".into();
    });
    let report = measured(options(built.path()), rules);
    assert_eq!(
        not_passed(&report),
        ["tp ring-1: wrong", "pp ring-2: wrong"]
    );
}

#[test]
fn a_file_that_is_no_reference_of_the_run_is_refused_beforehand() {
    let report = measured(preset(), "");
    let refuse = |file: &Path, options: Options| {
        let reference = Source::File(file.to_owned());
        match refused(Options {
            reference,
            ..options
        }) {
            CheckError::File(error) => error,
            other => panic!("{other:?}"),
        }
    };
    let same = saved(&report, |_| {});
    let changed = |change: fn(&mut serde_json::Value)| {
        let file = saved(&report, change);
        refuse(file.path(), preset())
    };
    let absent = refuse(Path::new("/no/such/bench.json"), preset());
    assert!(matches!(absent, FileError::Unreadable { .. }), "{absent}");
    let other = changed(|json| json["cells"] = "none".into());
    assert!(matches!(other, FileError::Malformed { .. }), "{other}");
    let old = changed(|json| json["schema"] = "mlx-rails/bench/1".into());
    assert!(matches!(old, FileError::Schema { .. }), "{old}");
    let bare = changed(|json| {
        json["cells"][0].as_object_mut().unwrap().remove("evidence");
    });
    assert!(
        bare.to_string().contains("has no tokens for tp mesh-1 ["),
        "{bare}"
    );

    let mut tiny = preset();
    tiny.settings.model = Preset::find("qwen3-tiny").unwrap().into();
    let model = refuse(same.path(), tiny);
    assert!(
        model
            .to_string()
            .contains("of the model qwen3-wide, and this run of qwen3-tiny"),
        "{model}"
    );
    let mut seeded = preset();
    seeded.settings.seed = 2;
    let prompt = refuse(same.path(), seeded);
    assert!(matches!(prompt, FileError::Prompt { .. }), "{prompt}");
    let mut longer = preset();
    longer.workloads[0].generation_tokens = 5;
    let missing = refuse(same.path(), longer);
    assert!(matches!(missing, FileError::Missing { .. }), "{missing}");

    let logits = demanding(&[Check::Logits], preset());
    let logits = Options {
        reference: Source::File(same.path().to_owned()),
        ..logits
    };
    assert!(matches!(refused(logits), CheckError::NoLogits));
}
