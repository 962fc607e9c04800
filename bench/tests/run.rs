//! Whole runs over fake ranks: verdicts, reports and refusals.

mod support;

use std::{env, error::Error, fs, path::Path, process::Command, time::Duration};

use launch::{Launcher, StartError};
use models::{
    Family,
    tiny::{self, Weights},
};
use rail_bench::{
    AfterHang, Measured, Options, Plan, Report, RunError, Text, Workload,
    cabling::{Cabling, Plugged},
    engine::{Engine, EngineProgram},
    launch::LaunchError,
    model::{Folder, Model, Preset},
    protocol::{Prompt, Strategy},
    reference::ReferenceError,
    report::{Explained, Explanation, Parts},
    sweep::SweepError,
    verdict::Verdict,
};
use rail_matrix::{Backend, Frames, Given, RankOrder};
use rig::Rig;
use support::{FakeRank, HASTY, PretendCables, build, run, run_until, short};

/// The verdict of each cell, as `tp ring-2: hang`.
fn verdicts(report: &Report) -> Vec<String> {
    report
        .cells
        .iter()
        .map(|cell| format!("{}: {}", cell.cell(), cell.verdict))
        .collect()
}

/// Only these variants.
fn only(strategy: Strategy, backend: Backend, cables: &str) -> Options {
    Options {
        strategies: vec![strategy],
        backends: vec![backend],
        cables: Some(cables.parse().unwrap()),
        ..short()
    }
}

/// Tensor parallel over mesh-1, ring-1, ring-2 and ring-3.
fn only_tp() -> Options {
    Options {
        strategies: vec![Strategy::Tp],
        ..short()
    }
}

#[test]
fn a_run_in_which_all_is_well() {
    let mut options = short();
    options.workloads[0].prompt_tokens = 128;
    options.settings.repeat = 3;
    let report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    assert!(report.all_pass() && !report.any_failed());
    insta::assert_snapshot!("all_well_md", report.markdown());
    insta::assert_snapshot!("all_well_csv", report.csv());
}

#[test]
fn every_kind_of_failure_is_a_row_and_the_other_cells_go_on() {
    let rank = FakeRank::new(
        "tp ring-1=wrong;tp ring-2@1=abort;tp ring-3@0=error;pp mesh-1=short;pp ring-2@1=nan",
    );
    let report = run(short(), &rank, &PretendCables).unwrap();
    assert!(!report.all_pass() && report.any_failed());
    assert_eq!(
        verdicts(&report),
        [
            "single: pass", //
            "tp mesh-1: pass",
            "tp ring-1: wrong",
            "tp ring-2: crash",
            "tp ring-3: error",
            "pp mesh-1: error",
            "pp ring-1: pass",
            "pp ring-2: wrong",
            "pp ring-3: pass",
        ]
    );
    let detail = |index: usize| report.cells[index].detail.as_deref().unwrap();
    assert_eq!(detail(2), "rank 0, run 2, token 2: expected 37, got 38");
    assert_eq!(detail(5), "rank 0 was done after 2 of 3 runs");
    assert_eq!(
        detail(7),
        "rank 1, run 2: a logit is not a number (NaN)",
        "its tokens are right, which proves nothing"
    );
    for cell in &report.cells {
        assert_eq!(cell.tokens_match, cell.verdict == Verdict::Pass);
        assert_eq!(cell.detail.is_none(), cell.verdict == Verdict::Pass);
        assert_eq!(
            cell.ttft_ms.is_some(),
            [Verdict::Pass, Verdict::Wrong].contains(&cell.verdict)
        );
        let margin = (cell.verdict == Verdict::Pass).then_some(0.25);
        if cell.cell().to_string() != "tp ring-1" {
            assert_eq!(cell.min_margin, margin, "{}", cell.cell());
        }
    }
    insta::assert_snapshot!("failures_md", report.markdown());
}

#[test]
fn a_hang_tells_where_each_rank_stands() {
    let mut options = only(Strategy::Pp, Backend::Ring, "2,3");
    options.settings.limits = HASTY;
    let rank = FakeRank::new("pp ring-2=hang;pp ring-3@1=hang");
    let report = run(options, &rank, &PretendCables).unwrap();
    assert_eq!(
        verdicts(&report),
        [
            "single: pass",
            "pp ring-1: pass",
            "pp ring-2: hang",
            "pp ring-3: hang"
        ]
    );
    let detail = |index: usize| report.cells[index].detail.as_deref().unwrap();
    assert!(
        detail(2).ends_with("rank 0: run 2, after token 2; rank 1: run 2, after token 2"),
        "{}",
        detail(2)
    );
    assert!(
        detail(3).ends_with("rank 0: done; rank 1: run 2, after token 2"),
        "{}",
        detail(3)
    );
}

#[test]
fn what_is_amiss_with_the_rig_stands_in_the_report() {
    let options = only(Strategy::Tp, Backend::Mesh, "1");
    let mut report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    assert!(!report.json().contains("warnings"));
    report.warnings.push("rail 1 is slow".to_owned());
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["warnings"], serde_json::json!(["rail 1 is slow"]));
    let text = report.markdown();
    assert!(text.contains("\n- **warning**: rail 1 is slow\n"), "{text}");
}

#[test]
fn how_much_of_a_cell_is_explained_stands_beside_its_figures() {
    let options = only(Strategy::Tp, Backend::Ring, "1");
    let mut report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    assert!(!report.json().contains("explained"));
    assert!(!report.markdown().contains("explained"));
    let of = |predicted_ms: f64, part| Explanation {
        predicted_ms,
        compute_ms: 0.75 * predicted_ms,
        fence_ms: 0.0,
        cables_ms: 0.25 * predicted_ms,
        part,
    };
    let [_, ring] = &mut report.cells[..] else {
        panic!("{report:?}")
    };
    ring.explained = Some(Explained {
        ttft: of(60.0, 0.5),
        token: of(4.0, 0.8),
    });
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    let explained = &json["cells"][1]["explained"];
    assert_eq!(explained["ttft"]["predicted_ms"], 60.0);
    assert_eq!(explained["token"]["part"], 0.8);
    assert!(json["cells"][0].get("explained").is_none());
    let text = report.markdown();
    let (_, table) = text
        .split_once("How much of the time is explained")
        .unwrap();
    let row = table.lines().find(|line| line.starts_with("| tp ring-1"));
    let row: Vec<_> = row.unwrap().split('|').map(str::trim).collect();
    let [.., ttft, share, _, rate, of_rate, _] = row[..] else {
        panic!("{row:?}")
    };
    assert_eq!((ttft, share), ("60.0", "50 %: 38 + 0 + 12"));
    assert_eq!((rate, of_rate), ("250.0", "80 %: 60 + 0 + 20"));
}

#[test]
fn the_json_keeps_the_contract() {
    let mut options = only(Strategy::Pp, Backend::Ring, "2");
    options.workloads[0].generation_tokens = 3;
    options.workloads[0].frames = Frames::Big;
    options.settings.model = Preset::find("qwen3-tiny").unwrap().into();
    let report = run(
        options,
        &FakeRank::new("pp ring-1=wants-big-frames;pp ring-2@0=exit"),
        &PretendCables,
    )
    .unwrap();
    insta::assert_snapshot!("contract_json", report.json());
}

#[test]
fn a_run_with_a_split_says_where_the_time_went() {
    let mut options = only(Strategy::Tp, Backend::Ring, "2");
    options.settings.split = 2;
    let report = run(
        options,
        &FakeRank::new("tp ring-2@1=no-laps"),
        &PretendCables,
    )
    .unwrap();
    assert!(report.all_pass(), "{report:?}");
    let [single, ring_1, ring_2] = &report.cells[..] else {
        panic!("{report:?}")
    };
    let split = single.time_split.as_ref().unwrap();
    assert_eq!(split.cost.apart, None, "one rank has no messages");
    let [parts] = split.prefill_ms[..] else {
        panic!("{split:?}")
    };
    assert_eq!((parts.fence, parts.cable, parts.wait), (0.0, 0.0, 0.0));

    // Measured runs take 121 and 122 ms to their first token, and 5 ms a token.
    let split = ring_1.time_split.as_ref().unwrap();
    assert_eq!((split.runs, split.decode_ms.len()), (2, 2));
    let near = |found: Parts, expected: [f64; 5]| {
        let pairs = found.each().into_iter().zip(expected);
        for (found, expected) in pairs {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
    };
    near(split.prefill_ms[0], [60.0, 5.5, 24.0, 12.0, 20.0]);
    near(split.decode_ms[0], [2.5, 0.167, 1.0, 0.5, 0.833]);
    assert_eq!(ring_2.time_split, None, "a rank did not report it");
    insta::assert_snapshot!("split_md", report.markdown());
    insta::assert_snapshot!("split_csv", report.csv());
}

#[test]
fn ranks_that_have_a_token_at_other_times_are_apart() {
    let mut options = only(Strategy::Tp, Backend::Ring, "1");
    options.settings.repeat = 1;
    let report = run(options, &FakeRank::new("tp ring-1@1=late"), &PretendCables).unwrap();
    let [single, ring] = &report.cells[..] else {
        panic!("{report:?}")
    };
    assert_eq!(single.skew_ms, None);
    let skew = ring.skew_ms.unwrap();
    assert_eq!((skew.p50, skew.p99), (2.0, 2.0));
    let ttft = |rank: usize| ring.ranks[rank].ttft_ms.as_ref().unwrap().median;
    assert_eq!(ttft(1) - ttft(0), 2.0);
    assert_eq!(ring.ttft_ms, ring.ranks[0].ttft_ms);
}

/// The time at which a row was written, which is another one in each run.
fn timeless(text: &str) -> String {
    let (before, rest) = text.split_once("\"test_time\":\"").expect("a time");
    let (time, after) = rest.split_once('"').unwrap();
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    let after = match after.contains("test_time") {
        true => timeless(after),
        false => after.to_owned(),
    };
    format!("{before}\"test_time\":\"T\"{after}")
}

#[test]
fn reports_in_the_words_of_other_benchmarks_have_the_cells_that_passed() {
    let options = only(Strategy::Pp, Backend::Ring, "2");
    let rank = FakeRank::new("pp ring-1=wrong");
    let report = run(options, &rank, &PretendCables).unwrap();
    insta::assert_snapshot!("exo_json", report.exo());
    insta::assert_snapshot!("llama_jsonl", timeless(&report.llama()));
    insta::assert_snapshot!("llama_md", report.llama_markdown());
}

#[test]
fn every_engine_has_a_reference_and_cells_of_its_own() {
    let options = Options {
        engines: Engine::ALL.to_vec(),
        ..only(Strategy::Tp, Backend::Ring, "2")
    };
    let rank = FakeRank::new("tp ring-2 (mlx-lm)=wrong");
    let report = run(options, &rank, &PretendCables).unwrap();
    assert_eq!(
        verdicts(&report),
        [
            "single: pass",
            "tp ring-1: pass",
            "tp ring-2: pass",
            "single (mlx-lm): pass",
            "tp ring-1 (mlx-lm): pass",
            "tp ring-2 (mlx-lm): wrong",
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    let engines: Vec<_> = (json["cells"].as_array().unwrap().iter())
        .map(|cell| cell["engine"].as_str().unwrap())
        .collect();
    assert_eq!(
        engines,
        ["rust", "rust", "rust", "mlx-lm", "mlx-lm", "mlx-lm"]
    );
}

#[test]
fn every_workload_has_a_reference_and_cells_of_its_own_and_every_row_names_it() {
    let deep = Workload {
        prompt_tokens: 8,
        generation_tokens: 4,
        depth: 16,
        prefill_step: Some(4),
        frames: Frames::Big,
        fast_synch: true,
    };
    let mut options = Options {
        workloads: vec![deep, short().workloads[0], deep],
        ..only(Strategy::Tp, Backend::Ring, "1")
    };
    options.settings.env = [("MLX_SOMETHING".to_owned(), "7".to_owned())].into();
    let words = "pp8+tg4 @ d16, prefill step 4, big frames, fast synch";
    let rank = FakeRank::new(&format!("tp ring-1 [{words}]=wrong"));
    let report = run(options, &rank, &PretendCables).unwrap();
    assert_eq!(
        verdicts(&report),
        [
            "single: pass",
            "tp ring-1: pass",
            "single: pass",
            "tp ring-1: wrong",
        ]
    );
    let wrong = &report.cells[3];
    assert_eq!(wrong.workload, deep);
    assert_eq!(report.name(wrong), format!("tp ring-1 [{words}]"));

    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    let row = &json["cells"][3];
    let expected = serde_json::json!({
        "test": "pp8+tg4 @ d16", "prompt_tokens": 8, "generation_tokens": 4, "depth": 16,
        "prefill_step": 4, "frames": "big", "fast_synch": true, "env": {"MLX_SOMETHING": "7"},
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&row[field], value, "{field}");
    }
    let text = report.markdown();
    assert!(text.contains(&format!("| tp ring-1 | {words} |")), "{text}");
    assert!(text.contains("\n- environment MLX_SOMETHING=7\n"), "{text}");
    let csv = report.csv();
    let last = csv.lines().last().unwrap();
    assert!(
        last.contains(",pp8+tg4 @ d16,16,4,true,MLX_SOMETHING=7,"),
        "{last}"
    );
}

#[test]
fn a_depth_beyond_the_models_context_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tiny::write(Family::Llama, Weights::Plain, 1, folder.path()).unwrap();
    let mut options = only(Strategy::Tp, Backend::Ring, "1");
    options.settings.model = Model::Folder(Folder::open(None, folder.path()).unwrap());
    options.workloads[0].depth = 4096 - 8 - 4;
    Plan::new(options.clone()).unwrap();
    options.workloads[0].depth += 1;
    let refused = Plan::new(options).unwrap_err().to_string();
    assert!(refused.contains("context of 4096"), "{refused}");
}

#[test]
fn a_reference_that_fails_later_ends_the_run_before_any_cell_and_keeps_the_other_one() {
    let options = Options {
        engines: Engine::ALL.to_vec(),
        ..only(Strategy::Tp, Backend::Ring, "1")
    };
    let rank = FakeRank::new("single (mlx-lm)=other-build");
    let Measured { report, stopped } =
        run_until(options, &rank, &PretendCables, &Launcher::default()).unwrap();
    assert!(
        matches!(stopped, Some(RunError::OtherBuild { .. })),
        "{stopped:?}"
    );
    assert_eq!(
        verdicts(&report),
        [
            "single: pass",
            "tp ring-1: not-run",
            "single (mlx-lm): not-run",
            "tp ring-1 (mlx-lm): not-run",
        ]
    );
}

#[test]
fn ranks_with_other_logits_are_wrong_although_their_tokens_are_right() {
    let rank = FakeRank::new("tp ring-1=other-logits");
    let report = run(
        only(Strategy::Tp, Backend::Ring, "1"),
        &rank,
        &PretendCables,
    )
    .unwrap();
    let cell = &report.cells[1];
    assert_eq!(cell.verdict, Verdict::Wrong);
    let detail = cell.detail.as_deref().unwrap();
    assert!(
        detail.starts_with("rank 1, run 2, token 0: its logits differ from rank 0's ("),
        "{detail}"
    );
}

#[test]
fn real_weights_may_decode_other_tokens_in_tp_and_not_in_pp() {
    let folder = tempfile::tempdir().unwrap();
    tiny::write(Family::Qwen3Next, Weights::Plain, 1, folder.path()).unwrap();
    let mut options = only(Strategy::Tp, Backend::Ring, "1");
    options.strategies = Strategy::SPREAD.to_vec();
    options.engines = vec![Engine::MlxLm];
    options.settings.model = Model::Folder(Folder::open(None, folder.path()).unwrap());
    // A real model may repeat itself, too.
    let rank = FakeRank::new("tp ring-1 (mlx-lm)=wrong;pp ring-1 (mlx-lm)=wrong");
    let report = run(options.clone(), &rank, &PretendCables).unwrap();
    let [_, tp, pp] = &report.cells[..] else {
        panic!("{report:?}")
    };
    assert_eq!((tp.verdict, tp.tokens_match), (Verdict::Drift, false));
    assert_eq!((pp.verdict, pp.tokens_match), (Verdict::Wrong, false));
    assert!(
        report.markdown().contains("| drift   | differ"),
        "{}",
        report.markdown()
    );
    run(options.clone(), &FakeRank::new("*=repeat"), &PretendCables).unwrap();

    let config = folder.path().join("config.json");
    let other = fs::read_to_string(&config).unwrap();
    fs::write(&config, other.replace("qwen3_next", "gemma3")).unwrap();
    options.settings.model = Model::Folder(Folder::open(None, folder.path()).unwrap());
    options.engines = Engine::ALL.to_vec();
    let refused = Plan::new(options).unwrap_err();
    assert!(matches!(refused, SweepError::Engine(_)), "{refused}");
    assert!(
        refused
            .help()
            .is_some_and(|help| help.contains("--engine mlx-lm"))
    );
}

#[test]
fn a_text_is_taken_apart_once_and_the_report_has_what_came_out() {
    let folder = tempfile::tempdir().unwrap();
    tiny::write(Family::Llama, Weights::Plain, 1, folder.path()).unwrap();
    let model = Folder::open(None, folder.path()).unwrap();
    let absent = Text::new("w1 w2", &model.content).unwrap_err();
    assert!(
        matches!(absent, models::Error::NoTokenizer { .. }),
        "{absent}"
    );

    let vocab: serde_json::Map<_, _> = (0..256).map(|id| (format!("w{id}"), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": null, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    });
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let text = Text::new("w1 w2 w250", &model.content).unwrap();
    assert_eq!(text.ids, [1, 2, 250]);

    let mut options = only(Strategy::Pp, Backend::Ring, "1");
    options.engines = vec![Engine::MlxLm];
    options.settings.model = Model::Folder(model);
    options.workloads[0].prompt_tokens = text.ids.len();
    options.settings.text = Some(text);
    assert_eq!(
        options.settings.prompt(options.workloads[0]),
        Prompt::Ids(vec![1, 2, 250])
    );
    options.workloads[0].generation_tokens = 3;
    let report = run(options.clone(), &FakeRank::new(""), &PretendCables).unwrap();
    assert!(report.all_pass(), "{report:?}");
    for cell in &report.cells {
        assert_eq!(cell.text.as_deref(), Some("w3 w20 w37"));
    }
    let told = "- **pp ring-1 (mlx-lm)** continues \"w3 w20 w37\"";
    assert!(report.markdown().contains(told), "{}", report.markdown());

    options.workloads[0].generation_tokens = 4094;
    let refused = Plan::new(options).unwrap_err();
    assert!(refused.to_string().contains("context of 4096"), "{refused}");
    assert!(
        refused.help().unwrap().contains("at most 4096"),
        "{refused}"
    );
}

#[test]
fn the_builds_manifest_travels_with_the_report() {
    let options = only(Strategy::Tp, Backend::Mesh, "1");
    let mut report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    report.build.manifest = serde_json::json!({"schema": "mlx-rails/build/1", "key": "k3y"});
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["build"]["manifest"], report.build.manifest);
}

#[test]
fn a_single_generated_token_has_a_ttft_and_no_decode() {
    let mut options = short();
    options.backends = vec![Backend::Mesh];
    options.workloads[0].generation_tokens = 1;
    options.settings.repeat = 1;
    let report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    assert!(report.all_pass());
    for cell in &report.cells {
        assert!(
            cell.ttft_ms
                .as_ref()
                .is_some_and(|ttft| ttft.stddev.is_none())
        );
        assert_eq!((&cell.generation_tps, cell.itl_ms), (&None, None));
    }
}

#[test]
fn reports_are_written_whole_to_a_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new/folder");
    rail_bench::report::check_folder(&folder).unwrap();
    let options = only(Strategy::Tp, Backend::Mesh, "1");
    let report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    report.save(&folder).unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("bench.json"), report.json());
    assert_eq!(read("bench.md"), report.markdown());
    assert_eq!(read("bench.csv"), report.csv());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
}

#[test]
fn a_folder_below_a_file_is_refused_beforehand() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("reports");
    assert!(rail_bench::report::check_folder(&folder).is_err());
    assert!(rail_bench::report::check_folder(Path::new("/proc/none/such")).is_err());
}

/// A detail is the output of a program, which may be anything.
#[test]
fn a_detail_of_several_lines_keeps_its_place_in_every_format() {
    const DETAIL: &str = "first, \"second\"\nthird | fourth";
    let options = only(Strategy::Tp, Backend::Mesh, "1");
    let mut report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    report.cells[1].verdict = Verdict::Crash;
    report.cells[1].detail = Some(DETAIL.to_owned());

    let csv = report.csv();
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let detail = rows.headers().unwrap().iter().position(|it| it == "detail");
    let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), report.cells.len(), "{csv}");
    assert_eq!(&rows[0][detail.unwrap()], "");
    assert_eq!(&rows[1][detail.unwrap()], DETAIL);

    let text = report.markdown();
    let line = "\n- **tp mesh-1: crash**: first, \"second\" third | fourth\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_reference_that_proves_nothing_voids_the_run() {
    let refuse = |rules: &str| {
        let options = only(Strategy::Tp, Backend::Mesh, "1");
        match run(options, &FakeRank::new(rules), &PretendCables) {
            Err(RunError::Reference(error)) => error,
            other => panic!("{rules}: {other:?}"),
        }
    };
    assert_eq!(
        refuse("single=repeat"),
        ReferenceError::Repetitive {
            tokens: 4,
            distinct: 1
        }
    );
    assert!(matches!(
        refuse("single=close"),
        ReferenceError::TooClose { .. }
    ));
    assert!(matches!(
        refuse("single=wrong"),
        ReferenceError::Unsteady(_)
    ));
    assert_eq!(
        refuse("single=nan"),
        ReferenceError::NotANumber("rank 0, run 2: a logit is not a number (NaN)".to_owned())
    );
    let failed = refuse("single=abort").to_string();
    assert!(failed.contains("SIGABRT"), "{failed}");
}

#[test]
fn a_rank_of_another_build_is_refused() {
    let options = only(Strategy::Tp, Backend::Mesh, "1");
    let error = run(
        options,
        &FakeRank::new("single=other-build"),
        &PretendCables,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "rank 0 of single has loaded build 0ther, and the report is about build k3y"
    );
    assert!(error.help().is_some());
}

#[test]
fn a_rank_that_does_not_name_its_build_is_an_error() {
    let options = only(Strategy::Tp, Backend::Mesh, "1");
    let rank = FakeRank::new("tp mesh-1@1=no-build");
    let report = run(options, &rank, &PretendCables).unwrap();
    assert_eq!(report.cells[1].verdict, Verdict::Error);
    let detail = report.cells[1].detail.as_deref().unwrap();
    assert!(
        detail.contains("did not say first which build it has loaded"),
        "{detail}"
    );
}

/// As if another command replaced the rank's program between two cells.
#[test]
fn a_build_that_changes_during_a_run_ends_it_with_what_was_measured() {
    let rank = FakeRank::new("tp ring-2@1=other-build");
    let Measured { report, stopped } =
        run_until(only_tp(), &rank, &PretendCables, &Launcher::default()).unwrap();
    assert!(
        matches!(&stopped, Some(RunError::OtherBuild { rank: 1, loaded: key, .. }) if key == "0ther"),
        "{stopped:?}"
    );
    assert_eq!(
        verdicts(&report),
        [
            "single: pass",
            "tp mesh-1: pass",
            "tp ring-1: pass",
            "tp ring-2: not-run",
            "tp ring-3: not-run"
        ]
    );
    assert!(!report.interrupted);
    assert_eq!(
        report.error.as_deref(),
        Some("rank 1 of tp ring-2 has loaded build 0ther, and the report is about build k3y")
    );
}

/// Cables that cannot be connected for ring-2, or that interrupt the run.
struct Spoiled<F>(F);

impl<F: Fn() -> Result<(), &'static str>> Cabling for Spoiled<F> {
    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>> {
        if rig.cables.len() == 2 {
            (self.0)()?;
        }
        PretendCables.plug(rig)
    }
}

#[test]
fn cables_that_cannot_be_plugged_in_are_no_verdict_on_mlx() {
    let cables = Spoiled(|| Err("no space left"));
    let report = run(only_tp(), &FakeRank::new(""), &cables).unwrap();
    assert_eq!(
        verdicts(&report),
        [
            "single: pass",
            "tp mesh-1: pass",
            "tp ring-1: pass",
            "tp ring-2: not-run",
            "tp ring-3: pass"
        ]
    );
    assert!(!report.all_pass() && !report.any_failed());
    let detail = report.cells[3].detail.as_deref();
    assert_eq!(
        detail,
        Some("the cables could not be plugged in: no space left")
    );
}

#[test]
fn a_hang_stops_the_sweep_if_the_settings_say_so() {
    let mut options = only_tp();
    options.settings.limits = HASTY;
    options.settings.after_hang = AfterHang::Stop;
    let rank = FakeRank::new("tp ring-2=hang");
    let launcher = Launcher::default();
    let Measured { report, stopped } =
        run_until(options, &rank, &PretendCables, &launcher).unwrap();
    assert_eq!(
        verdicts(&report)[2..],
        ["tp ring-1: pass", "tp ring-2: hang", "tp ring-3: not-run"]
    );
    let stopped = stopped.expect("it stopped");
    assert!(
        stopped.to_string().starts_with("tp ring-2 hung"),
        "{stopped}"
    );
    assert!(stopped.help().unwrap().contains("--after-hang continue"));
}

#[test]
fn an_error_in_a_late_cell_keeps_what_was_measured() {
    // The program disappears while ring-2 is connected.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rank");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_fake-rank"), &path).unwrap();
    let cables = Spoiled(|| {
        fs::remove_file(&path).unwrap();
        Ok(())
    });
    let plan = Plan::new(only_tp()).unwrap();
    let rank = FakeRank::new("");
    let mut program = rank.program();
    program.path = path.clone();
    let harness = rail_bench::Harness {
        engines: vec![EngineProgram {
            engine: Engine::Rust,
            program,
            build: "k3y".into(),
        }],
        cabling: &cables,
        build: build(),
        warnings: vec![],
        launcher: &Launcher::default(),
        progress: rail_bench::progress::Progress::hidden(),
        resumed: vec![],
        record: &|_| Ok(()),
    };
    let Measured { report, stopped } = rail_bench::run(&plan, &harness).unwrap();
    rank.assert_none_left();
    assert!(
        matches!(
            stopped,
            Some(RunError::Launch(LaunchError::Start(StartError {
                rank: 0,
                ..
            })))
        ),
        "{stopped:?}"
    );
    assert_eq!(
        verdicts(&report)[2..],
        [
            "tp ring-1: pass",
            "tp ring-2: not-run",
            "tp ring-3: not-run"
        ]
    );
    let why = report.error.as_deref().unwrap();
    assert!(
        why.starts_with("cannot start ") && why.matches("(os error").count() == 1,
        "{why}"
    );
    let text = report.markdown();
    assert!(text.contains("\n**stopped**: cannot start "), "{text}");
}

/// Interrupts a run when this many ranks have been started.
fn interrupted_after(ranks: usize, rank: &FakeRank) -> Result<Measured, RunError> {
    let launcher = Launcher::default();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| run_until(only_tp(), rank, &PretendCables, &launcher));
        while rank.started().len() < ranks && !run.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        launcher.cancel().cancel();
        run.join().unwrap()
    })
}

#[test]
fn an_interrupted_run_keeps_what_it_measured() {
    // The reference, mesh-1's two ranks, and both ranks that will hang.
    let Measured { report, stopped } =
        interrupted_after(5, &FakeRank::new("tp ring-1=hang")).unwrap();
    assert!(stopped.is_some_and(|why| why.is_interrupted()));
    assert_eq!(
        verdicts(&report),
        [
            "single: pass",
            "tp mesh-1: pass",
            "tp ring-1: not-run",
            "tp ring-2: not-run",
            "tp ring-3: not-run"
        ]
    );
    assert!(report.cells[1].ttft_ms.is_some());
    assert_eq!(report.measured(), 2);
    assert!(!report.any_failed());

    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["interrupted"], true);
    assert_eq!(json["cells"][2]["verdict"], "not-run");
    let text = report.markdown();
    assert!(
        text.contains("\n**interrupted**; 2 of 5 cells were measured\n"),
        "{text}"
    );
    let unmeasured = "- **tp ring-1, tp ring-2, tp ring-3: not-run**: ";
    assert!(text.contains(unmeasured), "{text}");
    assert_eq!(report.csv().matches(",not-run,").count(), 3);
}

#[test]
fn a_run_interrupted_in_its_reference_has_nothing_to_report() {
    let error = interrupted_after(1, &FakeRank::new("single=hang")).unwrap_err();
    assert!(error.is_interrupted(), "{error}");
}

#[test]
fn what_the_caller_left_in_the_environment_does_not_reach_ranks() {
    const CHILD: &str = "RAIL_BENCH_TEST_CHILD";
    if env::var_os(CHILD).is_some() {
        let options = only(Strategy::Tp, Backend::Ring, "1");
        let report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
        assert!(report.all_pass(), "{:?}", report.cells);
        return;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "what_the_caller_left_in_the_environment_does_not_reach_ranks",
        ])
        .env(CHILD, "1")
        .env("JACCL_RING", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn a_sweep_that_the_rig_does_not_allow_is_refused_with_a_remedy() {
    let refuse = |options: Options| Plan::new(options).unwrap_err();
    let error = refuse(only(Strategy::Tp, Backend::Ring, "1..4"));
    assert!(error.to_string().contains("nodes 'a' and 'b' have 3"));
    let alone = Options {
        rig: Rig::parse("node = [{ name = \"a\" }]").unwrap(),
        ..short()
    };
    let error = refuse(alone);
    assert!(matches!(error, SweepError::OneNode(_)));
    assert!(error.help().is_some_and(|help| help.contains("[[cable]]")));
}

/// Four nodes whose cables close a ring in the order a, c, b, d, and not in theirs.
fn ring_of_four() -> Rig {
    Rig::parse(include_str!("../../crates/rig/examples/ring-of-four.toml")).unwrap()
}

#[test]
fn ranks_run_on_the_nodes_of_the_widest_ring() {
    let options = Options {
        rig: ring_of_four(),
        ..only(Strategy::Pp, Backend::Ring, "1")
    };
    let rank = FakeRank::new("");
    let report = run(options.clone(), &rank, &PretendCables).unwrap();
    assert_eq!(verdicts(&report), ["single: pass", "pp ring-1: pass"]);
    let matrix = r#"[[[],["en1"],[],["en2"]],[["en1"],[],["en2"],[]],[[],["en1"],[],["en2"]],[["en2"],[],["en1"],[]]]"#;
    let [_reference, ranks @ ..] = &rank.places()[..] else {
        panic!("no rank")
    };
    let expected = ["0 a", "1 c", "2 b", "3 d"].map(|place| format!("{place} {matrix}"));
    assert_eq!(ranks, expected);

    assert_eq!(report.cells[1].nodes, ["a", "c", "b", "d"]);
    let text = report.markdown();
    assert!(
        text.contains(
            "\n- nodes a, b, c, d; 4 cables of 50 MB/s and 20 us\n- ranks a, c, b, d in pp ring-1\n"
        ),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(
        json["cells"][1]["nodes"],
        serde_json::json!(["a", "c", "b", "d"])
    );

    let pinned = Options {
        order: RankOrder::Pinned,
        ..options
    };
    let error = Plan::new(pinned).unwrap_err().to_string();
    assert!(
        error.contains("there is no ring: nodes 'a' and 'b'"),
        "{error}"
    );
}

#[test]
fn a_given_matrix_runs_as_it_is_and_the_report_says_so() {
    let crossed = r#"[[[],["rdma_en5","rdma_en6"]],[["rdma_en6","rdma_en5"],[]]]"#;
    let given = Given::over(crossed.as_bytes(), &Rig::embedded()).unwrap();
    let options = Options {
        given: Some(given),
        ..only_tp()
    };
    let rank = FakeRank::new("");
    let report = run(options, &rank, &PretendCables).unwrap();
    assert_eq!(verdicts(&report), ["single: pass", "tp ring-2: pass"]);
    assert_eq!(
        rank.places()[1..],
        ["0 a", "1 b"].map(|place| format!("{place} {crossed}"))
    );
    assert_eq!(
        report.cells[1].cable_bytes.keys().collect::<Vec<_>>(),
        ["cable-1", "cable-2"]
    );
    let text = report.markdown();
    let told = format!("\n- matrix given, not planned: ranks a, b; {crossed}\n");
    assert!(text.contains(&told), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["given"]["devices"][1][0][0], "rdma_en6");
}

#[test]
fn every_matrix_of_a_plan_is_checked_beforehand_once_and_the_widest_first() {
    let plan = Plan::new(Options::default()).unwrap();
    let rails: Vec<_> = plan
        .matrices()
        .into_iter()
        .map(|(nodes, devices)| {
            assert_eq!(nodes, ["a", "b"]);
            devices[0][1].len()
        })
        .collect();
    assert_eq!(rails, [3, 2, 1]);
}

#[test]
fn a_given_matrix_of_which_jaccl_makes_nothing_is_refused() {
    let line = r#"[[null, null, "en1", null], [null, null, "en1", null], ["en1", "en2", null, null],
                   [null, null, null, null]]"#;
    let given = Given::over(line.as_bytes(), &ring_of_four()).unwrap();
    let options = Options {
        rig: ring_of_four(),
        given: Some(given),
        ..short()
    };
    let error = Plan::new(options).unwrap_err();
    assert!(matches!(error, SweepError::Given(_)));
    assert!(error.to_string().contains("forms no group"), "{error}");
}

#[test]
fn the_defaults_sweep_everything() {
    let plan = Plan::new(Options::default()).unwrap();
    assert_eq!(plan.cells.len(), 8);
    assert!(plan.settings.repeat > 1 && plan.settings.warmup > 0);
}
