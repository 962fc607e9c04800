//! Whole runs over fake ranks: verdicts, reports and what is refused.

mod support;

use std::{error::Error, fs, time::Duration};

use launch::Launcher;
use rail_bench::{
    Report, RunError,
    cabling::{Cabling, Plugged},
    report::Format,
    verdict::{ReferenceError, Verdict},
};
use rail_matrix::Rig;
use support::{FakeRank, PretendCables, SHORT, args, run, run_until};

/// The verdict of each cell, as `tp ring-2: hang`.
fn verdicts(report: &Report) -> Vec<String> {
    report
        .cells
        .iter()
        .map(|cell| format!("{}: {}", cell.cell(), cell.verdict))
        .collect()
}

#[test]
fn a_run_in_which_all_is_well() {
    let report = run(
        "-p 128 -g 4 -r 3 --warmup 1",
        &FakeRank::new(""),
        &PretendCables,
    )
    .unwrap();
    assert!(report.all_pass());
    insta::assert_snapshot!("all_well_md", report.render(Format::Md));
    insta::assert_snapshot!("all_well_csv", report.render(Format::Csv));
}

#[test]
fn every_kind_of_failure_is_a_row_and_the_other_cells_go_on() {
    let rank = FakeRank::new(
        "tp ring-1=wrong;tp ring-2@1=abort;tp ring-3@0=error;pp mesh-1=short;\
         pp ring-2=hang;pp ring-3@1=hang",
    );
    let report = run(SHORT, &rank, &PretendCables).unwrap();
    assert!(!report.all_pass());
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
            "pp ring-2: hang",
            "pp ring-3: hang",
        ]
    );
    let detail = |index: usize| report.cells[index].detail.as_deref().unwrap();
    assert_eq!(detail(2), "rank 0, run 2, token 2: expected 37, got 38");
    assert_eq!(detail(5), "rank 0 was done after 2 of 3 runs");
    for cell in &report.cells {
        assert_eq!(cell.tokens_match, cell.verdict == Verdict::Pass);
        assert_eq!(cell.detail.is_none(), cell.verdict == Verdict::Pass);
        assert_eq!(
            cell.ttft_ms.is_some(),
            [Verdict::Pass, Verdict::Wrong].contains(&cell.verdict)
        );
    }
    insta::assert_snapshot!("failures_md", report.render(Format::Md));
}

#[test]
fn what_is_amiss_with_the_rig_stands_in_the_report() {
    let mut report = run(SHORT, &FakeRank::new(""), &PretendCables).unwrap();
    assert!(!report.render(Format::Json).contains("warnings"));
    report.warnings = vec!["rail 1 is slow".to_owned()];
    assert!(report.all_pass());
    let json: serde_json::Value = serde_json::from_str(&report.render(Format::Json)).unwrap();
    assert_eq!(json["warnings"], serde_json::json!(["rail 1 is slow"]));
    let text = report.render(Format::Md);
    assert!(text.contains("\n- **warning**: rail 1 is slow\n"), "{text}");
}

#[test]
fn the_json_keeps_the_contract() {
    let line = "-p 8 -g 3 -r 2 --timeout 2 --strategy pp --backend ring --cables 2 --frames big \
        --model qwen3-tiny";
    let report = run(
        line,
        &FakeRank::new("pp ring-1=wants-big-frames;pp ring-2@0=exit"),
        &PretendCables,
    )
    .unwrap();
    insta::assert_snapshot!("contract_json", report.render(Format::Json));
}

#[test]
fn a_single_generated_token_has_a_ttft_and_no_decode() {
    let report = run(
        "-p 8 -g 1 -r 1 --backend mesh",
        &FakeRank::new(""),
        &PretendCables,
    )
    .unwrap();
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
fn reports_are_written_whole_to_the_output_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new/folder");
    let line = format!("{SHORT} --backend mesh --output {}", folder.display());
    let report = run(&line, &FakeRank::new(""), &PretendCables).unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("bench.json"), report.render(Format::Json));
    assert_eq!(read("bench.md"), report.render(Format::Md));
    assert_eq!(read("bench.csv"), report.render(Format::Csv));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
}

#[test]
fn a_reference_that_proves_nothing_voids_the_run() {
    let refuse = |rules: &str| match run(SHORT, &FakeRank::new(rules), &PretendCables) {
        Err(RunError::Reference(error)) => error,
        other => panic!("{rules}: {other:?}"),
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
    let failed = refuse("single=abort").to_string();
    assert!(failed.contains("SIGABRT"), "{failed}");
}

#[test]
fn cables_that_cannot_be_plugged_in_fail_their_cell_alone() {
    struct Unpluggable;
    impl Cabling for Unpluggable {
        fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>> {
            if rig.cables.len() == 2 {
                Err("no space left".into())
            } else {
                PretendCables.plug(rig)
            }
        }
    }
    let line = format!("{SHORT} --strategy tp");
    let report = run(&line, &FakeRank::new(""), &Unpluggable).unwrap();
    assert_eq!(
        verdicts(&report),
        [
            "single: pass",
            "tp mesh-1: pass",
            "tp ring-1: pass",
            "tp ring-2: error",
            "tp ring-3: pass"
        ]
    );
    let detail = report.cells[3].detail.as_deref();
    assert_eq!(
        detail,
        Some("the cables could not be plugged in: no space left")
    );
}

#[test]
fn an_interrupted_run_leaves_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let rank = FakeRank::new("tp ring-1=hang");
    let line = format!(
        "-p 8 -g 4 -r 2 --strategy tp --timeout 60 --output {}",
        folder.path().display()
    );
    let launcher = Launcher::default();
    let error = std::thread::scope(|scope| {
        let run = scope.spawn(|| run_until(&line, &rank, &PretendCables, &launcher));
        // The reference, mesh-1's two ranks, and both ranks that will hang.
        while rank.started().len() < 5 && !run.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        launcher.cancel().cancel();
        run.join().unwrap().unwrap_err()
    });
    assert!(error.is_interrupted(), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn bad_input_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let rig = folder.path().join("rig.toml");
    fs::write(
        &rig,
        "[[node]]\nname = \"a\"\n[[cable]]\nname = \"x\"\nends = [\"a:1\", \"b:1\"]\n",
    )
    .unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refuse = |line: &str| {
        rail_bench::Plan::from_args(&args(line))
            .unwrap_err()
            .to_string()
    };

    assert_eq!(
        refuse(&format!("--rig {}", rig.display())),
        format!(
            "{}: line 5: cable 'x' ends on node 'b', which the rig does not have; its nodes are 'a'",
            rig.display()
        )
    );
    assert!(refuse("--rig /no/such/rig.toml").starts_with("cannot read the rig /no/such/rig.toml"));
    assert!(refuse("--cables 1..4").contains("nodes 'a' and 'b' have 3"));
    let output = refuse(&format!("--output {}/reports", file.display()));
    assert!(
        output.starts_with("cannot write reports to ") && output.contains("--output"),
        "{output}"
    );
}
