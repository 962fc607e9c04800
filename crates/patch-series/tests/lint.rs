//! What `patch lint` says of patches that are not what they should be.

mod common;

use std::fs;

use common::Checkout;
use miniature::change_line;
use patch_series::Problem;

const FIX: &str = "patches/1.2.3/fix.patch";

/// A checkout with one portability patch and one fix that are as they should be.
fn sound() -> Checkout {
    let checkout = Checkout::new();
    checkout.add_patch("port", "portability", &change_line(4, "ported"));
    checkout.add_patch("fix", "fix", &change_line(12, "fixed"));
    change(
        &checkout,
        FIX,
        "---\n",
        "X-Verdicts: hang -> pass: --op recv\n---\n",
    );
    for patch in ["patches/1.2.3/port.patch", FIX] {
        change(&checkout, patch, "Bug: none", "Bug: https://example.org/1");
    }
    canonical(&checkout);
    assert_eq!(problems(&checkout), [""; 0]);
    checkout
}

/// Has the patches written as an export does, and their trees recorded.
fn canonical(checkout: &Checkout) {
    let copy = checkout.path("copy");
    let (workshop, pin) = (&checkout.workshop, checkout.pin());
    workshop.edit_patches(&pin, &copy).unwrap();
    workshop.export_patches(&pin, &copy).unwrap();
    fs::remove_dir_all(copy).unwrap();
}

fn change(checkout: &Checkout, file: &str, from: &str, to: &str) {
    let path = checkout.path(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} is not in:\n{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn lint(checkout: &Checkout) -> Vec<Problem> {
    let workshop = &checkout.workshop;
    workshop
        .lint_patches(&checkout.pin(), common::CHECKS)
        .unwrap()
}

fn problems(checkout: &Checkout) -> Vec<String> {
    lint(checkout).iter().map(Problem::to_string).collect()
}

#[test]
fn each_field_says_one_of_what_it_may_say() {
    // The line to change, what to, and the place and word of the complaint.
    for (from, to, place, word) in [
        (
            "Description: fix\n because\n",
            "Description: fix\n",
            "fix.patch:1: Description",
            "why",
        ),
        (
            "Origin: vendor, test",
            "Origin: me",
            "fix.patch:3: Origin",
            "backport",
        ),
        (
            "Origin: vendor, test",
            "Origin: vendor",
            "fix.patch:3: Origin",
            "reference",
        ),
        (
            "Bug: https://example.org/1\n",
            "",
            "fix.patch: Bug is missing",
            "defect",
        ),
        (
            "Bug: https://example.org/1",
            "Bug:",
            "fix.patch:4: Bug is empty",
            "defect",
        ),
        (
            "Bug: https://example.org/1",
            "Bug: TODO",
            "fix.patch:4: Bug",
            "filled in",
        ),
        (
            "Forwarded: no",
            "Forwarded: maybe",
            "fix.patch:5: Forwarded",
            "not-needed",
        ),
        (
            "Forwarded: no",
            "Forwarded: not-needed, fixed",
            "fix.patch:5: Forwarded",
            "URL",
        ),
        (
            "Upstream: no",
            "Upstream: yes",
            "fix.patch:6: Applied-Upstream",
            "0.32.0, https",
        ),
        (
            "Upstream: no",
            "Upstream: 2.0.0",
            "fix.patch:6: Applied-Upstream",
            "0.32.0, https",
        ),
        (
            "Upstream: no",
            "Upstream: 1.2.0, https://example.org",
            "fix.patch:6: Applied-Upstream",
            "drop",
        ),
        (
            "Upstream: no",
            "Upstream: 1.2, commit:68cf2fd",
            "fix.patch:6: Applied-Upstream",
            "drop",
        ),
        (
            "Upstream: no",
            "Upstream: 1.3.0, commit:later",
            "fix.patch:6: Applied-Upstream",
            "commit:ID",
        ),
        (
            "Upstream: no",
            "Upstream: 1.3.0rc1, https://example.org",
            "fix.patch:6: Applied-Upstream",
            "0.32.0, https",
        ),
        (
            "X-Class",
            "Bug-Debian: 12\nX-Class",
            "fix.patch:8: Bug-Debian",
            "URL",
        ),
        (
            "Forwarded: no\n",
            "Forwarded: no\nSubject: fix\n because\n",
            "fix.patch:6: Subject",
            "second",
        ),
        (
            "Update: 2025-03-04",
            "Update: 2026-02-30",
            "fix.patch:7: Last-Update",
            "YYYY-MM-DD",
        ),
        (
            "Update: 2025-03-04",
            "Update: 22.11.2026",
            "fix.patch:7: Last-Update",
            "YYYY-MM-DD",
        ),
        (
            "X-Class: fix",
            "X-Class: hack",
            "fix.patch:8: X-Class",
            "portability",
        ),
        (
            "hang -> pass",
            "hung -> pass",
            "fix.patch:9: X-Verdicts",
            "no verdict",
        ),
        (
            "hang -> pass: --op",
            "hang -> pass: --opp",
            "fix.patch:9: X-Verdicts",
            "no flag",
        ),
        (
            "X-Verdicts: hang -> pass: --op recv\n",
            "",
            "fix.patch: X-Verdicts is missing",
            "prove",
        ),
        (
            "Forwarded",
            "Forwared",
            "fix.patch:5: Forwared",
            "Applied-Upstream",
        ),
        (
            "Forwarded: no\n",
            "Forwarded: no\nForwarded: no\n",
            "fix.patch:6: Forwarded",
            "second",
        ),
        (
            "Forwarded: no\n",
            "Forwarded: no\nand so on\n",
            "fix.patch:6:",
            "space",
        ),
    ] {
        let checkout = sound();
        change(&checkout, FIX, from, to);
        let problems = problems(&checkout);
        assert!(
            problems
                .iter()
                .any(|p| p.contains(place) && p.contains(word)),
            "{to:?}: neither {place:?} nor {word:?} in {problems:#?}"
        );
        assert!(problems.len() <= 2, "{to:?}: {problems:#?}");
    }
}

#[test]
fn what_is_good_in_more_than_one_way_is_left_alone() {
    for (from, to) in [
        ("Forwarded: no", "Forwarded: not-needed"),
        ("Forwarded: no", "Forwarded: https://example.org/2"),
        ("Upstream: no", "Upstream: 1.3.0, https://example.org/2"),
        (
            "Origin: vendor, test",
            "Origin: backport, https://example.org/2",
        ),
        ("Update: 2025-03-04", "Update: 2024-02-29"),
        (
            "--op recv\n",
            "--op recv\n crash -> pass: --op init --ranks 2,3\n",
        ),
        ("X-Class", "Reviewed-by: A Person\nX-Class"),
        ("X-Class", "Acked-by: A Person\nAcked-by: Another\nX-Class"),
        // What DEP-3 allows beside that.
        ("Description: fix\n because", "Description: fix\n\tbecause"),
        ("Description: fix", "Subject: fix"),
        ("X-Class", "From: A Person\nX-Class"),
        ("X-Class", "Bug-Debian: https://example.org/3\nX-Class"),
        (
            "Upstream: no",
            "Upstream: 1.3, commit:68cf2fddd8de5edd8ab3d926391772b2e2cedad8",
        ),
        ("Upstream: no", "Upstream: 1.3.0, commit:68cf2fd"),
    ] {
        let checkout = sound();
        change(&checkout, FIX, from, to);
        assert_eq!(problems(&checkout), [""; 0], "{to:?}");
    }
}

#[test]
fn series_and_patch_files_are_of_one_mind() {
    let checkout = sound();
    let series = checkout.path("patches/1.2.3/series");
    fs::write(&series, "port.patch\nport.patch\ngone.patch\n").unwrap();
    let problems = problems(&checkout).join("\n");
    for part in [
        "patches/1.2.3/series: names port.patch twice",
        "patches/1.2.3/series: names gone.patch, which is not there",
        "fix.patch: is not in series",
    ] {
        assert!(problems.contains(part), "{part:?} is not in:\n{problems}");
    }
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let checkout = sound();
    change(&checkout, FIX, "Forwarded: no", "Forwarded: perhaps");
    change(
        &checkout,
        "patches/1.2.3/port.patch",
        "Bug: https",
        "Bug: TODO https",
    );
    change(&checkout, "patches/1.2.3/port.patch", "+ported", "+ported ");
    let problems = lint(&checkout);
    let places: Vec<_> = problems
        .iter()
        .map(|p| {
            (
                p.file.file_name().unwrap().to_str().unwrap(),
                p.line,
                p.field.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            ("port.patch", Some(4), Some("Bug")),
            ("port.patch", Some(17), None),
            ("fix.patch", Some(5), Some("Forwarded")),
            // The blob ids are not those of the text.
            ("port.patch", Some(11), None),
            ("fix.patch", Some(12), None),
            ("pin.toml", None, Some("stock")),
            ("pin.toml", None, Some("patched")),
            ("pin.toml", None, Some("tuned")),
        ]
    );
}

#[test]
fn a_patch_is_written_as_an_export_writes_it() {
    let checkout = sound();
    let port = "patches/1.2.3/port.patch";
    let text = fs::read_to_string(checkout.path(port)).unwrap();
    let index = text.lines().find(|l| l.starts_with("index ")).unwrap();
    let ids = index.strip_prefix("index ").unwrap();
    change(
        &checkout,
        port,
        ids,
        &format!("{}..{} 100644", &ids[..7], &ids[42..49]),
    );
    let problems = problems(&checkout);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("port.patch:11: has") && problems[0].contains("patch export"));

    let checkout = sound();
    checkout.write_patch("port", "portability", &change_line(4, "ported"));
    change(&checkout, port, "Bug: none", "Bug: https://example.org/1");
    assert_eq!(lint(&checkout).len(), 1, "two lines of context");
}

#[test]
fn a_patch_that_does_not_apply_is_told_with_its_place() {
    let checkout = sound();
    change(&checkout, FIX, " line 11\n", " line eleven\n");
    let problems = problems(&checkout);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("fix.patch: does not apply at mlx/array.cpp:11"),
        "{problems:?}"
    );

    let checkout = sound();
    checkout.add_patch("twice", "fix", &change_line(12, "fixed"));
    let problems = lint(&checkout).pop().unwrap();
    assert!(problems.remedy.contains("patch drop twice"), "{problems}");
}

#[test]
fn a_patch_comes_off_the_patched_tree_and_portability_stands_alone() {
    let checkout = sound();
    let again = change_line(12, "fixed twice").replace("-line 12", "-fixed");
    checkout.add_patch("again", "fix", &again);
    change(
        &checkout,
        "patches/1.2.3/again.patch",
        "---\n",
        "X-Verdicts: hang -> pass: --op recv\n---\n",
    );
    canonical(&checkout);
    let problem = problems(&checkout);
    assert_eq!(problem.len(), 1, "{problem:?}");
    assert!(
        problem[0].contains("fix.patch: cannot be taken out"),
        "{problem:?}"
    );

    let checkout = sound();
    checkout.add_patch(
        "late",
        "portability",
        &change_line(13, "late").replace("line 12", "fixed"),
    );
    let problems = problems(&checkout).join("\n");
    assert!(
        problems.contains("late.patch: does not apply in the stock series"),
        "{problems}"
    );
}

#[test]
fn a_tree_that_is_not_the_recorded_one_is_told() {
    let checkout = sound();
    let pin = checkout.pin();
    let patched = pin.recorded.trees.patched.to_string();
    change(
        &checkout,
        "patches/1.2.3/pin.toml",
        &patched,
        &"0".repeat(40),
    );
    let problems = problems(&checkout);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains("pin.toml: patched records") && problems[0].contains("patch record")
    );
}

/// As [`sound`], with a performance patch that builds on the fix.
fn sound_and_fast() -> Checkout {
    let checkout = sound();
    let fast = change_line(12, "fast").replace("-line 12", "-fixed");
    checkout.add_patch("fast", "performance", &fast);
    let gain = "X-Gain: time 1 -> 0.5: --op all_sum\n---\n";
    change(&checkout, FAST, "---\n", gain);
    change(&checkout, FAST, "Bug: none", "Bug: https://example.org/1");
    canonical(&checkout);
    checkout
}

const FAST: &str = "patches/1.2.3/fast.patch";

/// It need not come off the tuned tree, and the fix below it need only come off the patched.
#[test]
fn a_performance_patch_may_build_on_a_fix() {
    assert_eq!(problems(&sound_and_fast()), [""; 0]);
}

#[test]
fn a_performance_patch_proves_what_it_gains_and_no_other_does() {
    let gain = "X-Gain: time 1 -> 0.5: --op all_sum\n";
    for (file, from, to, problem) in [
        (
            FAST,
            gain,
            "",
            "fast.patch: X-Gain is missing, and a performance patch has",
        ),
        (FAST, gain, "X-Gain:\n", "fast.patch:9: X-Gain is empty"),
        (
            FAST,
            gain,
            "X-Gain: TODO\n",
            "fast.patch:9: X-Gain is still to be filled in",
        ),
        (
            FAST,
            "time 1",
            "busbw 1",
            "fast.patch:9: X-Gain \"busbw 1 -> 0.5: --op all_sum\"",
        ),
        (
            FAST,
            "0.5",
            "1.5",
            "fast.patch:9: X-Gain 1.5 is not less than 1",
        ),
        (FAST, "0.5", "x", "fast.patch:9: X-Gain \"x\" is no time"),
        // What the command it is of would not understand.
        (
            FAST,
            "--op",
            "--opp",
            "fast.patch:9: X-Gain \"--opp\" is no flag",
        ),
        (
            FAST,
            gain,
            "X-Gain: time 1 -> 0.5: --op all_sum\n time 2 -> 3: --op send\n",
            "fast.patch:10: X-Gain 3 is not less than 2",
        ),
        (
            FAST,
            gain,
            "X-Gain: time 1 -> 0.5: --op all_sum\nX-Verdicts: hang -> pass: --op recv\n",
            "fast.patch:10: X-Verdicts is a fix's",
        ),
        (
            FIX,
            "X-Verdicts",
            "X-Gain: time 1 -> 0.5: --op all_sum\nX-Verdicts",
            "fix.patch:9: X-Gain is a performance patch's",
        ),
    ] {
        let checkout = sound_and_fast();
        change(&checkout, file, from, to);
        let problems = problems(&checkout);
        assert!(
            problems.len() == 1 && problems[0].contains(problem),
            "{problem}: {problems:?}"
        );
    }
}

#[test]
fn performance_patches_stand_behind_all_others() {
    let checkout = sound_and_fast();
    let series = checkout.path("patches/1.2.3/series");
    fs::write(&series, "port.patch\n").unwrap();
    checkout.add_patch("fast", "performance", &change_line(12, "fast"));
    let gain = "X-Gain: time 1 -> 0.5: --op all_sum\n---\n";
    change(&checkout, FAST, "---\n", gain);
    change(&checkout, FAST, "Bug: none", "Bug: https://example.org/1");
    checkout.add_patch("fix", "fix", &change_line(17, "fixed"));
    let proof = "X-Verdicts: hang -> pass: --op recv\n---\n";
    change(&checkout, FIX, "---\n", proof);
    change(&checkout, FIX, "Bug: none", "Bug: https://example.org/1");
    canonical(&checkout);
    let found = problems(&checkout);
    assert_eq!(
        found,
        [
            "patches/1.2.3/series: names fix.patch behind fast.patch, which is a performance \
          patch; move it before fast.patch: performance patches stand last"
        ]
    );

    // One that needs it as well cannot be in the patched series.
    let needs = change_line(12, "fixed").replace("-line 12", "-fast");
    fs::write(&series, "port.patch\nfast.patch\n").unwrap();
    checkout.add_patch("fix", "fix", &needs);
    let found = problems(&checkout).join("\n");
    let problem = "fix.patch: does not apply in the patched series at mlx/array.cpp:10, which \
                   leaves out the performance patches";
    assert!(found.contains(problem), "{found}");
}
