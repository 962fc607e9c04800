//! The order of a run, its lines, and runs that go on from them.

mod support;

use std::{cell::RefCell, collections::BTreeSet, fs, io, time::Duration};

use launch::Launcher;
use rail_bench::{
    Harness, Measured, Options, Plan, Report, RunError, Workload,
    baseline::Baseline,
    dry_run,
    lines::{self, Resume, ResumeError},
    model::Preset,
    plan::Launch,
    progress::Progress,
    protocol::Strategy,
    verdict::Verdict,
};
use rail_matrix::Backend;
use support::{FakeRank, PretendCables, build, run, run_from, short};

/// Tensor parallel over ring-1 to ring-3, five runs of a cell in two rounds.
fn rounds() -> Options {
    let mut options = Options {
        strategies: vec![Strategy::Tp],
        backends: vec![Backend::Ring],
        ..short()
    };
    options.settings.repeat = 5;
    options.settings.rounds = 2;
    options.settings.shuffle = Some(1);
    options
}

fn order(launches: &[Launch], round: usize) -> Vec<String> {
    let launches = launches.iter().filter(|it| it.round == round);
    launches.map(|it| it.cell.to_string()).collect()
}

#[test]
fn cells_are_shuffled_in_each_round_by_the_seed_and_the_reference_comes_first() {
    let schedule = |seed| {
        let mut options = Options {
            strategies: Strategy::SPREAD.to_vec(),
            ..rounds()
        };
        options.settings.shuffle = seed;
        Plan::new(options).unwrap().schedule()
    };
    let shuffled = schedule(Some(1));
    assert_eq!(shuffled, schedule(Some(1)));
    let [first, second] = [0, 1].map(|round| order(&shuffled, round));
    assert_eq!(first[0], "single");
    assert_ne!(first, second);
    assert_ne!(first, order(&schedule(Some(2)), 0));
    let plain = schedule(None);
    assert_eq!(order(&plain, 0), order(&plain, 1));
    assert_ne!(order(&plain, 0), first);
    // Every cell in every round, and all measured runs.
    for order in [&first, &second] {
        let cells: BTreeSet<_> = order.iter().collect();
        assert_eq!(cells.len(), 7);
    }
    let repeats: Vec<_> = shuffled.iter().map(|it| (it.round, it.repeat)).collect();
    assert!(repeats.iter().all(|it| [(0, 3), (1, 2)].contains(it)));
}

#[test]
fn there_are_no_more_rounds_than_runs() {
    let mut options = rounds();
    options.settings.repeat = 1;
    let schedule = Plan::new(options).unwrap().schedule();
    assert!(schedule.iter().all(|it| (it.round, it.repeat) == (0, 1)));
}

#[test]
fn where_the_time_goes_is_asked_of_the_first_launch_of_a_cell_alone() {
    let mut options = rounds();
    options.settings.split = 2;
    let plan = Plan::new(options.clone()).unwrap();
    for launch in plan.schedule() {
        let runs = if launch.round == 0 { 2 } else { 0 };
        assert_eq!(launch.split(&plan.settings), runs);
    }
    let report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    assert!(report.cells.iter().all(|cell| cell.time_split.is_some()));
}

#[test]
fn a_cell_has_the_samples_of_all_its_launches() {
    let rank = FakeRank::new("");
    let report = run(rounds(), &rank, &PretendCables).unwrap();
    assert!(report.all_pass());
    for cell in &report.cells {
        assert_eq!(cell.ttft_ms.as_ref().unwrap().samples.len(), 5);
        assert_eq!(cell.load_ms.len(), cell.nodes.len().max(1));
        for direction in &cell.directions {
            assert_eq!(direction.messages, 2 * 7, "those of two lives of the cable");
        }
    }
    // The single process, and two ranks of three cells, twice.
    assert_eq!(rank.started().len(), 2 * (1 + 2 * 3));
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    let runs = serde_json::json!({
        "seed": 1, "warmup": 1, "repeat": 5, "rounds": 2, "shuffle": 1, "delay": 0.0,
        "split": 0,
    });
    assert_eq!(json["runs"], runs);
    let told = "\n- 5 runs a cell in 2 launches, each after a warm-up of 1; cells shuffled in \
                each round by the seed 1\n";
    assert!(report.markdown().contains(told), "{}", report.markdown());
}

#[test]
fn a_cell_that_failed_is_not_launched_again() {
    let rank = FakeRank::new("tp ring-2=error");
    let report = run(rounds(), &rank, &PretendCables).unwrap();
    let failed = &report.cells[2];
    assert_eq!(failed.verdict, Verdict::Error);
    assert_eq!(rank.started().len(), 2 * (1 + 2 * 3) - 2);
    assert!(report.cells[3].verdict == Verdict::Pass);
}

#[test]
fn a_failure_in_a_later_launch_says_in_which() {
    // The later launch of two measured runs is the one that is cut short.
    let rank = FakeRank::new("tp ring-2=wrong-in-later");
    let report = run(rounds(), &rank, &PretendCables).unwrap();
    let cell = &report.cells[2];
    assert_eq!(cell.verdict, Verdict::Wrong);
    assert!(!cell.tokens_match);
    let detail = cell.detail.as_deref().unwrap();
    assert!(detail.starts_with("launch 2: rank 0, run 2"), "{detail}");
}

#[test]
fn launches_are_apart_by_the_delay() {
    let mut options = rounds();
    options.cables = Some("1".parse().unwrap());
    options.settings.repeat = 1;
    options.settings.delay = Duration::from_millis(300);
    let began = std::time::Instant::now();
    let report = run(options, &FakeRank::new(""), &PretendCables).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(report.markdown().contains(", 0.3 s apart"));
}

#[test]
fn a_machine_that_slows_down_is_a_warning() {
    let rank = FakeRank::new("*=slower");
    let report = run(rounds(), &rank, &PretendCables).unwrap();
    let [warning] = &report.warnings[..] else {
        panic!("{:?}", report.warnings)
    };
    assert!(
        warning.starts_with("the time to first token drifted: it was ")
            && warning.contains(" % greater in the last repeats"),
        "{warning}"
    );
    let report = run(rounds(), &FakeRank::new(""), &PretendCables).unwrap();
    assert_eq!(report.warnings, Vec::<String>::new());
}

/// The report of a run and its lines, from the launches of an earlier one.
fn recorded(options: Options, rules: &str, from: Option<&Resume>) -> (Report, String, usize) {
    let rank = FakeRank::new(rules);
    let text = RefCell::new(from.map(Resume::text).unwrap_or_default());
    let record = |line: &str| {
        text.borrow_mut().push_str(&format!("{line}\n"));
        Ok(())
    };
    let resumed = from.map(Resume::launched).unwrap_or_default();
    let launcher = Launcher::default();
    let measured = run_from(options, &rank, &PretendCables, &launcher, resumed, &record);
    let Measured { report, stopped } = measured.unwrap();
    assert!(stopped.is_none(), "{stopped:?}");
    (report, text.into_inner(), rank.started().len())
}

#[test]
fn a_run_goes_on_from_its_lines_and_reports_what_an_unbroken_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, text, started) = recorded(rounds(), "tp ring-3=wrong", None);
    // The wrong cell has no second launch.
    assert_eq!((text.lines().count(), started), (7, 12));
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["schema"], lines::SCHEMA);
    assert_eq!(first["run"]["key"], "k3y");
    assert_eq!(first["cell"]["test"], "pp8+tg4");
    assert_eq!(
        first["cell"]["ttft_ms"]["samples"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    // A file of an earlier run is replaced by the first line, and then appended to.
    let path = folder.path().join(lines::NAME);
    fs::write(&path, "old").unwrap();
    let writer = lines::Writer::new(folder.path(), None);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    text.lines().for_each(|line| writer.append(line).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    // As if it had been killed while it wrote the fourth line.
    let kept: String = text
        .lines()
        .take(3)
        .map(|line| format!("{line}\n"))
        .collect();
    let cut = &text.lines().nth(3).unwrap()[..50];
    fs::write(&path, kept.clone() + cut).unwrap();
    let resume = Resume::read(folder.path()).unwrap();
    assert_eq!((resume.len(), resume.text()), (3, kept));
    let plan = Plan::new(rounds()).unwrap();
    resume.check_plan(&plan, "0.31.2", "patched").unwrap();
    resume.check_build(&build()).unwrap();

    let (resumed, again, started) = recorded(rounds(), "tp ring-3=wrong", Some(&resume));
    // The reference and two cells were known.
    assert_eq!((again.lines().count(), started), (7, 12 - 5));
    let writer = lines::Writer::new(folder.path(), Some(&resume));
    writer.append("new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), resume.text() + "new\n");
    assert_eq!(again, text);
    assert_eq!(resumed.json(), whole.json());
}

#[test]
fn a_run_whose_launches_are_all_known_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A NaN is no number of JSON.
    let (whole, text, _) = recorded(rounds(), "tp ring-3=nan", None);
    let path = folder.path().join("any.jsonl");
    fs::write(&path, text).unwrap();
    let resume = Resume::read(&path).unwrap();
    let harness = Harness {
        engines: vec![],
        cabling: &PretendCables,
        build: build(),
        warnings: vec![],
        launcher: &Launcher::default(),
        progress: Progress::hidden(),
        resumed: resume.launched(),
        record: &|_| panic!("nothing is measured"),
    };
    let measured = rail_bench::run(&Plan::new(rounds()).unwrap(), &harness).unwrap();
    assert_eq!(measured.report.cells[3].verdict, Verdict::Wrong);
    assert_eq!(measured.report.json(), whole.json());
}

#[test]
fn lines_of_something_else_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(lines::NAME);
    let (_, text, _) = recorded(rounds(), "", None);
    fs::write(&path, &text).unwrap();
    let resume = Resume::read(&path).unwrap();
    let refused = |options: Options, series: &str| {
        let plan = Plan::new(options).unwrap();
        let error = resume.check_plan(&plan, "0.31.2", series).unwrap_err();
        assert!(error.help().contains("--resume"));
        error
            .to_string()
            .replace(&path.display().to_string(), "FILE")
    };
    assert_eq!(
        refused(rounds(), "tuned"),
        "line 1 of FILE has another build: MLX 0.31.2, patched; this run is of 0.31.2, tuned"
    );
    let mut other = rounds();
    other.settings.model = Preset::find("qwen3-tiny").unwrap().into();
    assert_eq!(
        refused(other, "patched"),
        "line 1 of FILE has another model: qwen3-wide; this run is of qwen3-tiny"
    );
    let mut other = rounds();
    other.rig.cables.pop();
    assert_eq!(
        refused(other, "patched"),
        "line 1 of FILE has another rig or matrix"
    );
    let mut other = rounds();
    other.settings.repeat = 6;
    let told = refused(other, "patched");
    assert!(
        told.contains("\"repeat\":5") && told.contains("\"repeat\":6"),
        "{told}"
    );
    let mut other = rounds();
    other.settings.env = [("A".to_owned(), "1".to_owned())].into();
    assert_eq!(
        refused(other, "patched"),
        "line 1 of FILE has another environment: {}; this run has {\"A\":\"1\"}"
    );
    let mut other = rounds();
    other.workloads[0].depth = 16;
    assert_eq!(
        refused(other, "patched"),
        "line 1 of FILE is of single [pp8+tg4], which this run does not measure"
    );
    let mut other = build();
    other.key = "0ther".to_owned();
    let error = resume.check_build(&other).unwrap_err().to_string();
    assert!(error.contains("of the same series: k3y"), "{error}");
    // More cells than before are no difference.
    let more = Options {
        workloads: vec![
            rounds().workloads[0],
            Workload {
                depth: 16,
                ..rounds().workloads[0]
            },
        ],
        ..rounds()
    };
    let more = Plan::new(more).unwrap();
    resume.check_plan(&more, "0.31.2", "patched").unwrap();

    fs::write(&path, text + "{}\n").unwrap();
    let error = Resume::read(&path).unwrap_err();
    assert!(
        matches!(error, ResumeError::Malformed { line: 8.., .. }),
        "{error}"
    );
    assert!(matches!(
        Resume::read(&folder.path().join("none")),
        Err(ResumeError::Unreadable { .. })
    ));
}

#[test]
fn a_line_that_cannot_be_written_is_a_warning() {
    let rank = FakeRank::new("");
    let full = |_: &str| Err(io::Error::from(io::ErrorKind::StorageFull));
    let launcher = Launcher::default();
    let measured: Result<Measured, RunError> =
        run_from(rounds(), &rank, &PretendCables, &launcher, vec![], &full);
    let report = measured.unwrap().report;
    assert!(report.all_pass());
    let lost = |it: &&String| it.starts_with("bench.jsonl lacks a launch of ");
    assert_eq!(report.warnings.iter().filter(lost).count(), 8);
}

#[test]
fn a_dry_run_names_cells_matrices_and_minutes() {
    let mut options = rounds();
    options.workloads.push(Workload {
        depth: 4096,
        ..options.workloads[0]
    });
    let plan = Plan::new(options).unwrap();
    let text = dry_run::describe(&plan, None);
    assert!(text.starts_with("8 cells in 16 launches, about "), "{text}");
    assert!(text.contains("an assumption"), "{text}");
    assert!(
        text.contains("| tp ring-3 | pp8+tg4 @ d4096 | 2        | 2 + 5 |"),
        "{text}"
    );
    let matrix = r#"- tp ring-1: ranks a, b; [[[],["rdma_en5"]],[["rdma_en5"],[]]]"#;
    assert!(text.contains(matrix), "{text}");

    // As a slow machine had it: 2 s a token of the prompt.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.json");
    let mut report = run(rounds(), &FakeRank::new(""), &PretendCables).unwrap();
    for cell in &mut report.cells {
        cell.ttft_ms.as_mut().unwrap().median = 16e3;
    }
    fs::write(&path, report.json()).unwrap();
    let earlier = Baseline::read(&path).unwrap();
    assert!(earlier.is_of_model(&plan.settings.model));
    let text = dry_run::describe(&Plan::new(rounds()).unwrap(), Some(&earlier));
    // 4 cells, 7 runs each, 16 s a run, and the launches.
    assert!(
        text.starts_with("4 cells in 8 launches, about 8 min: as long as"),
        "{text}"
    );
}
