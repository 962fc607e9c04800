//! The reports of hand-made outcomes, and the command that runs a failure again.

use std::{collections::HashSet, fs, sync::LazyLock, time::Duration};

use jaccl::{Dtype, Features};
use proptest::{prelude::*, sample::Index};
use rail_verify::{
    case::{Backend, Case, Direction, Frames, Op, Setting},
    group::Build,
    proof::{self, Compared, Gain, Proof},
    report::{Report, check_output},
    run::{Outcome, Stop, Variant},
    selection::{Level, Selection},
    sweep,
    verdict::{Finding, Verdict},
};
use softrail::counters::Counters;

const EVERYTHING: Features = Features {
    barrier: true,
    sum_scatter: true,
};

static FULL: LazyLock<Vec<Case>> =
    LazyLock::new(|| sweep::cases(Level::Full, &Selection::default(), EVERYTHING));

fn case(op: Op, backend: Backend, wires: usize, bytes: usize) -> Case {
    let direction = match op.is_message() {
        true => Direction::Pair { from: 0, to: 1 },
        false => Direction::All,
    };
    let dtype = match op.reduces() {
        true => Dtype::Float32,
        false => Dtype::UInt8,
    };
    Case {
        setting: Setting {
            backend,
            ranks: 2,
            wires,
            frames: Frames::Small,
        },
        op,
        bytes,
        dtype,
        direction,
        in_place: false,
        seed: u64::from(op == Op::Sequence),
    }
}

fn outcome(series: &str, cases: Vec<(Case, Option<Finding>)>) -> Outcome {
    Outcome {
        variant: Variant {
            mlx: "0.31.2".into(),
            series: series.into(),
            wheel: None,
            build: Build {
                library: "libjaccl_shim.so".into(),
                key: "k3y".into(),
            },
            manifest: serde_json::json!({
                "key": "2e657a81e9722fa011648b684831a6b9",
                "inputs": {
                    "component": "jaccl",
                    "tree": "daeca1f087e8437eb1a00ed96876728a47e5923a",
                    "patched_tree": "f2ddbc80a5aa8de9453806fa5784a1cfbc6d555c",
                    "patches": [["jaccl-on-linux", "b990814d"]],
                    "compiler": {"version": "c++ 12.2.0", "target": "x86_64-linux-gnu"},
                },
            }),
        },
        given: None,
        planned: cases.len(),
        cases,
        skipped: vec![],
        killed: vec![],
        dismissed: vec![],
        stopped: None,
        took: Duration::from_secs(7),
    }
}

/// A receive in both directions at lengths around two frames, and a few cases of
/// everything else.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for wires in [1, 3] {
        for bytes in [0, 4096, 8191, 8192, 8193, 20_000] {
            let recv = case(Op::Recv, Backend::Ring, wires, bytes);
            let back = Direction::Pair { from: 1, to: 0 };
            cases.push(recv);
            cases.push(Case {
                direction: back,
                ..recv
            });
        }
        cases.push(case(Op::AllSum, Backend::Mesh, wires, 64));
        cases.push(case(Op::Barrier, Backend::Mesh, wires, 0));
        cases.push(case(Op::Sequence, Backend::Ring, wires, 100_000));
    }
    cases.push(case(Op::Init, Backend::Mesh, 1, 0));
    cases.push(case(Op::MissingDevice, Backend::Mesh, 1, 0));
    cases.push(case(Op::MissingDevice, Backend::Ring, 1, 0));
    cases
}

fn stock(case: &Case) -> Option<Finding> {
    let three = case.setting.wires == 3;
    let (verdict, detail) = match (case.op, case.bytes, case.direction) {
        (Op::Recv, 8191..=8193, _) if three => (
            Verdict::Hang,
            "rank 0 is done; rank 1 waits in jaccl::RingGroup::recv",
        ),
        (Op::Recv, 4096, Direction::Pair { from: 1, .. }) if three => (
            Verdict::Overrun,
            "rank 0 wrote out of bounds: byte 4096 & on",
        ),
        (Op::Sequence, ..) if three => (Verdict::Wrong, "expected \"<b>1</b>\", got 2"),
        (Op::MissingDevice, ..) => (Verdict::Crash, "rank 1 died of signal 11 (SIGSEGV)"),
        _ => return None,
    };
    let mut finding = Finding::new(verdict, detail);
    if verdict == Verdict::Hang {
        finding.cables = vec![Counters {
            cable: "cable-1".to_owned(),
            from: "a:rdma_en5".to_owned(),
            to: "b:rdma_en5".to_owned(),
            bytes: 8192,
            messages: 2,
            pending: 1,
            ..Counters::default()
        }];
    }
    Some(finding)
}

/// Stock with its known failures, patched with only a hang that did not recur.
fn outcomes() -> Vec<Outcome> {
    let stock = cases().into_iter().map(|case| (case, stock(&case)));
    let patched = cases().into_iter().map(|case| (case, None));
    let mut patched = outcome("patched", patched.collect());
    patched.dismissed = vec![case(Op::AllSum, Backend::Mesh, 1, 64)];
    vec![outcome("stock", stock.collect()), patched]
}

#[test]
fn the_json_keeps_the_contract() {
    let outcomes = outcomes();
    insta::assert_snapshot!("json", Report::new(Level::Quick, &outcomes).json());
}

#[test]
fn the_tables_show_stock_beside_patched_and_one_command_a_kind() {
    let outcomes = outcomes();
    insta::assert_snapshot!("markdown", Report::new(Level::Quick, &outcomes).markdown());
}

#[test]
fn where_all_passes_the_tables_say_no_more() {
    let outcomes = &outcomes()[1..];
    insta::assert_snapshot!("all_pass", Report::new(Level::Full, outcomes).markdown());
}

#[test]
fn the_page_shows_every_cell_and_needs_nothing_else() {
    let outcomes = outcomes();
    let page = Report::new(Level::Quick, &outcomes).html();
    for foreign in ["http", "src=", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let (head, body) = page.split_once("</head>").unwrap();
    assert!(head.contains("prefers-color-scheme: dark") && head.contains("@media print"));
    // One line for each row, cell or section, so that a change shows in its place.
    let lines = ["<tr", "<td", "<h", "<section", "<details", "<p"]
        .into_iter()
        .fold(body.to_owned(), |text, tag| {
            text.replace(tag, &format!("\n{tag}"))
        });
    insta::assert_snapshot!("html", lines);
}

#[test]
fn what_did_not_come_to_its_end_is_marked_in_every_format() {
    let mut begun = outcome(
        "patched",
        cases().into_iter().map(|case| (case, None)).collect(),
    );
    begun.planned = begun.cases.len() + 100;
    begun.stopped = Some(Stop::Interrupted);
    let later = Outcome::not_begun(&begun.variant);
    assert!(!begun.passed() && !later.passed());
    let (cases, planned) = (begun.cases.len(), begun.planned);
    let outcomes = [begun, later];
    let report = Report::new(Level::Quick, &outcomes);
    assert!(report.interrupted());
    let line = format!("interrupted after {cases} of {planned} cases. The same command tries all");
    for text in [report.markdown(), report.html()] {
        assert!(text.contains(&line), "{text}");
        assert!(text.contains("interrupted before its first case"), "{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["interrupted"], true);
    assert_eq!(json["variants"][0]["interrupted"], true);
    assert_eq!(json["variants"][0]["planned"], planned);
    assert_eq!(json["variants"][1]["cases"], 0);
}

#[test]
fn a_case_whose_rank_was_killed_is_no_pass_and_no_crash() {
    let mut outcome = outcome(
        "patched",
        vec![(case(Op::AllSum, Backend::Mesh, 1, 64), None)],
    );
    assert!(outcome.passed());
    outcome.killed = vec![case(Op::AllGather, Backend::Mesh, 1, 64)];
    assert!(!outcome.passed());
    let outcomes = [outcome];
    let report = Report::new(Level::Quick, &outcomes);
    assert!(report.markdown().contains("1 case was NOT judged"));
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["variants"][0]["verdicts"]["crash"], 0);
    let killed = json["variants"][0]["killed"][0].as_str().unwrap();
    assert!(killed.starts_with("--op all_gather"), "{killed}");
}

#[test]
fn proofs_are_written_and_marked_when_interrupted() {
    let recv = case(Op::Recv, Backend::Ring, 3, 8192);
    let without = outcome("patched", vec![(recv, stock(&recv))]);
    let with = outcome("patched", vec![(recv, None)]);
    let names = ("0.31.2".to_owned(), "ring-recv-prefill".to_owned());
    let claim = (Verdict::Hang, "--op recv".to_owned());
    let proofs = [Proof::new(names, claim, &without, &with)];
    assert!(proofs[0].holds());
    let folder = tempfile::tempdir().unwrap();
    proof::Report::new((&proofs, &[]), 2, true)
        .write(folder.path())
        .unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("verify-patches.json")).unwrap();
    assert_eq!(
        (&json["interrupted"], &json["claims"]),
        (&true.into(), &2.into())
    );
    assert_eq!(json["proofs"][0]["holds"], true);
    assert!(read("verify-patches.md").contains("Interrupted: 1 of 2 claims were tried"));
}

/// A point of a benchmark over these cables.
fn point(cables: usize, ratio: Option<f64>) -> Compared {
    Compared {
        flags: format!("--op all_sum --cables {cables}"),
        without_us: Some(383.0),
        with_us: ratio.map(|ratio| ratio * 383.0),
        ratio,
        detail: ratio
            .is_none()
            .then(|| "hang with the patch: rank 1".into()),
    }
}

fn gain(measured: &[Compared]) -> Gain {
    Gain {
        mlx: "0.31.2".to_owned(),
        patch: "two-ranks-exchange".to_owned(),
        flags: "--op all_sum --cables 1,3".to_owned(),
        claim: 0.3,
        measured: measured.to_vec(),
    }
}

#[test]
fn a_gain_holds_when_every_point_is_as_claimed_or_nearly() {
    for (measured, holds) in [
        (vec![point(1, Some(0.1)), point(3, Some(0.3))], true),
        (vec![point(1, Some(0.1)), point(3, Some(0.329))], true),
        (vec![point(1, Some(0.1)), point(3, Some(0.331))], false),
        (vec![point(1, Some(0.1)), point(3, None)], false),
        (vec![], false),
    ] {
        assert_eq!(gain(&measured).holds(), holds, "{measured:?}");
    }
}

#[test]
fn gains_are_reported_beside_proofs_by_the_point_that_gains_least() {
    let recv = case(Op::Recv, Backend::Ring, 3, 8192);
    let without = outcome("patched", vec![(recv, stock(&recv))]);
    let with = outcome("patched", vec![(recv, None)]);
    let names = ("0.31.2".to_owned(), "ring-recv-prefill".to_owned());
    let claim = (Verdict::Hang, "--op recv".to_owned());
    let proofs = [Proof::new(names, claim, &without, &with)];
    let gains = [
        gain(&[point(1, Some(0.28)), point(3, Some(0.25))]),
        gain(&[point(1, Some(0.28)), point(3, Some(0.5))]),
        gain(&[point(1, None), point(3, Some(0.5))]),
        gain(&[]),
    ];
    let report = proof::Report::new((&proofs, &gains), 5, false);
    let markdown = report.markdown();
    insta::assert_snapshot!("gains", markdown);
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["schema"], "mlx-rails/verify-patches/1");
    assert_eq!(
        (&json["claims"], &json["proofs"][1]),
        (&5.into(), &serde_json::Value::Null)
    );
    let holds = |gain: &serde_json::Value| gain["holds"].as_bool().unwrap();
    let gains: Vec<_> = json["gains"]
        .as_array()
        .unwrap()
        .iter()
        .map(holds)
        .collect();
    assert_eq!(gains, [true, false, false, false]);
    assert_eq!(json["gains"][1]["measured"][1]["ratio"], 0.5);
    assert_eq!(
        json["gains"][2]["measured"][0]["ratio"],
        serde_json::Value::Null
    );
}

#[test]
fn what_jaccl_says_is_text_on_the_page() {
    let evil = "<img onerror=\"x\">&'</style>";
    let cases = vec![(
        case(Op::Send, Backend::Mesh, 1, 1),
        Some(Finding::new(Verdict::Error, evil)),
    )];
    let mut outcome = outcome("<i>", cases);
    outcome.variant.manifest = serde_json::json!({ "key": evil });
    let page = Report::new(Level::Quick, &[outcome]).html();
    assert!(!page.contains("<img") && !page.contains("<i>"));
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("&lt;img onerror=&quot;x&quot;&gt;&amp;"));
}

#[test]
fn every_link_of_the_page_leads_somewhere() {
    let outcomes = outcomes();
    let page = Report::new(Level::Quick, &outcomes).html();
    let links: HashSet<&str> = page
        .split("href=\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(links.len(), 5);
    for link in links {
        assert_eq!(page.matches(&format!("id=\"{link}\"")).count(), 1, "{link}");
    }
}

/// Two pins, stock and patched. Of stock one case in forty fails, with every verdict, so
/// that few neighbouring lengths have equal results.
#[test]
fn the_page_of_a_full_sweep_with_thousands_of_failures_can_be_handed_over() {
    let detail = "rank 0 is done; rank 1 waits in jaccl::RingGroup::recv, while joining";
    let failing = |(index, case): (usize, &Case)| {
        let finding = || Finding::new(Verdict::ALL[1 + index % 5], detail);
        (*case, (index % 41 == 0).then(finding))
    };
    let stock: Vec<_> = FULL.iter().enumerate().map(failing).collect();
    let patched: Vec<_> = FULL.iter().map(|case| (*case, None)).collect();
    let outcomes: Vec<Outcome> = ["0.31.2", "0.32.4"]
        .into_iter()
        .flat_map(|mlx| {
            [("stock", &stock), ("patched", &patched)].map(|(series, cases)| {
                let mut outcome = outcome(series, cases.clone());
                outcome.variant.mlx = mlx.to_owned();
                outcome
            })
        })
        .collect();
    let page = Report::new(Level::Full, &outcomes).html();
    let cases: usize = outcomes.iter().map(|one| one.cases.len()).sum();
    let failures: usize = outcomes.iter().map(|one| one.failures().count()).sum();
    let (bytes, cells) = (page.len(), page.matches("<td").count());
    let size = format!("{cases} cases, {failures} failures: {bytes} bytes, {cells} cells");
    println!("{size}");
    assert!(
        cases > 100_000 && failures > 1_000 && bytes < 10 << 20,
        "{size}"
    );
}

#[test]
fn files_are_whole_and_nothing_else_is_left() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new/folder");
    let outcomes = outcomes();
    let report = Report::new(Level::Quick, &outcomes);
    report.write(&folder).unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("verify.json"), report.json() + "\n");
    assert_eq!(read("verify.md"), report.markdown());
    assert_eq!(read("verify.html"), report.html());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
}

#[test]
fn a_report_that_cannot_be_written_names_the_place() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let error = check_output(&file).unwrap_err();
    assert!(error.to_string().contains(&*file.to_string_lossy()));
    assert!(error.help().unwrap().contains("another folder"));
}

#[test]
fn a_level_has_no_case_twice() {
    let distinct: HashSet<&Case> = FULL.iter().collect();
    assert_eq!(distinct.len(), FULL.len());
}

/// Splits as a shell does, as far as flags require.
fn words(flags: &str) -> impl Iterator<Item = &str> {
    flags.split(' ').map(|word| {
        let quoted = word
            .strip_prefix('\'')
            .and_then(|word| word.strip_suffix('\''));
        assert_eq!(quoted.is_some(), word.contains('>'), "{word}");
        quoted.unwrap_or(word)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// At the default level of a command without `--level`.
    #[test]
    fn the_flags_of_a_case_select_it_and_no_other(index: Index) {
        let case = *index.get(&FULL);
        let flags = case.flags();
        let flags: Vec<String> = words(&flags).map(str::to_owned).collect();
        let selection = Selection::parse(&flags);
        let selection = selection.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(sweep::cases(Level::Quick, &selection, EVERYTHING), [case]);
    }
}
