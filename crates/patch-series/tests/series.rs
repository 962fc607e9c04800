//! What a series makes of a tree, and what each patch says when it cannot.

mod common;

use std::{fs, path::Path};

use common::Checkout;
use miniature::{change_line, numbered_lines};
use patch_series::{Error, Result, SourceTree, State};
use pins::Series;

fn array_cpp(tree: &SourceTree) -> String {
    fs::read_to_string(tree.path.join("mlx/array.cpp")).unwrap()
}

/// A checkout with one portability patch and one fix, both recorded.
fn with_series() -> Checkout {
    let checkout = Checkout::new();
    checkout.add_patch("port", "portability", &change_line(4, "ported"));
    checkout.add_patch("fix", "fix", &change_line(12, "fixed"));
    checkout.workshop.record(&checkout.pin()).unwrap();
    checkout
}

fn states(checkout: &Checkout) -> Vec<State> {
    let tree = checkout.path("origin");
    let states = checkout
        .workshop
        .patch_states(&checkout.pin(), Some(&tree))
        .unwrap();
    states.into_iter().map(|(_, state)| state).collect()
}

/// As [`with_series`], with two performance patches, of which the second builds on the first
/// and on the fix.
fn with_performance() -> Checkout {
    let checkout = with_series();
    checkout.add_patch("fast", "performance", &change_line(17, "fast"));
    let faster = change_line(17, "faster").replace("-line 17", "-fast");
    checkout.add_patch("faster", "performance", &faster);
    let last = change_line(12, "fixed and fast").replace("-line 12", "-fixed");
    checkout.add_patch("last", "performance", &last);
    checkout.workshop.record(&checkout.pin()).unwrap();
    checkout
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn each_series_is_a_beginning_of_the_next() {
    let checkout = with_performance();
    let pin = checkout.pin();
    let of = |series| {
        let patches = checkout.workshop.patches(&pin, series).unwrap();
        let names: Vec<String> = patches.into_iter().map(|patch| patch.name).collect();
        names
    };
    assert_eq!(of(Series::Stock), ["port"]);
    assert_eq!(of(Series::Patched), ["port", "fix"]);
    assert_eq!(of(Series::Tuned), ["port", "fix", "fast", "faster", "last"]);
    let text = |series| array_cpp(&checkout.workshop.patch(&pin, series).unwrap());
    let patched = text(Series::Patched);
    assert!(patched.contains("fixed\n") && !patched.contains("fast"));
    let tuned = patched
        .replace("line 17\n", "faster\n")
        .replace("fixed\n", "fixed and fast\n");
    assert_eq!(text(Series::Tuned), tuned);
}

#[test]
fn performance_patches_change_neither_stock_nor_patched() {
    let checkout = with_series();
    let before = checkout.pin().recorded;
    assert_eq!(before.trees.tuned, before.trees.patched);
    let checkout = with_performance();
    let after = checkout.pin().recorded;
    assert_eq!(after.trees.stock, before.trees.stock);
    assert_eq!(after.trees.patched, before.trees.patched);
    assert_ne!(after.trees.tuned, before.trees.tuned);
    assert_eq!(
        after.revision, before.revision,
        "a patched wheel is the same"
    );
    assert_eq!(after.tuned_revision, before.tuned_revision + 1);
}

/// What a performance patch gains is the difference between two beginnings of the series.
#[test]
fn a_performance_patch_is_seen_between_two_beginnings_of_the_series() {
    let checkout = with_performance();
    let (workshop, pin) = (&checkout.workshop, checkout.pin());
    let mut sides = workshop.sides(&pin, "faster").unwrap();
    assert_eq!(sides.series, Series::Tuned);
    assert_eq!(sides.without, names(&["faster", "last"]));
    assert_eq!(sides.with, names(&["last"]));
    let tree = |without: &[String]| {
        let tree = workshop.patch_without(&pin, Series::Tuned, without);
        tree.unwrap()
    };
    let patched = array_cpp(&workshop.patch(&pin, Series::Patched).unwrap());
    let without = patched.replace("line 17\n", "fast\n");
    assert_eq!(array_cpp(&tree(&sides.without)), without);
    assert_eq!(
        array_cpp(&tree(&sides.with)),
        patched.replace("line 17\n", "faster\n")
    );
    // In whatever order they are named.
    sides.without.reverse();
    assert!(tree(&sides.without).current);

    let sides = workshop.sides(&pin, "fast").unwrap();
    assert_eq!(tree(&sides.without).tree, pin.recorded.trees.patched);
    let sides = workshop.sides(&pin, "last").unwrap();
    assert_eq!(sides.with, [""; 0]);

    // A fix is seen in the patched series, whatever builds on it.
    let sides = workshop.sides(&pin, "fix").unwrap();
    assert_eq!(sides.series, Series::Patched);
    assert_eq!((sides.without, sides.with), (names(&["fix"]), names(&[])));
    for (name, known) in [("port", "fix, fast"), ("fox", "faster, last")] {
        let message = workshop.sides(&pin, name).unwrap_err().to_string();
        assert!(message.contains(known), "{message}");
    }
}

#[test]
fn the_tree_without_some_patches_is_known_once_it_was_made() {
    let checkout = with_performance();
    let (workshop, pin) = (&checkout.workshop, checkout.pin());
    let patches = workshop.patches(&pin, Series::Tuned).unwrap();
    let left_out: Vec<_> = patches.iter().skip(3).collect();
    let known = || workshop.known_without(&pin, Series::Tuned, &left_out);
    assert_eq!(known(), None);
    let made = workshop.patch_without(&pin, Series::Tuned, &names(&["last", "faster"]));
    assert_eq!(known(), Some(made.unwrap().tree));
}

#[test]
fn stock_has_the_portability_patches_and_patched_has_the_fixes() {
    let checkout = with_series();
    let stock = checkout
        .workshop
        .patch(&checkout.pin(), Series::Stock)
        .unwrap();
    let patched = checkout
        .workshop
        .patch(&checkout.pin(), Series::Patched)
        .unwrap();
    assert!(array_cpp(&stock).contains("ported") && !array_cpp(&stock).contains("fixed"));
    assert!(array_cpp(&patched).contains("ported") && array_cpp(&patched).contains("fixed"));
    assert!(
        checkout
            .workshop
            .patch(&checkout.pin(), Series::Patched)
            .unwrap()
            .current
    );
}

#[test]
fn a_changed_patch_is_noticed_until_its_result_is_recorded() {
    let checkout = with_series();
    fs::write(checkout.path("patches/1.2.3/series"), "port.patch\n").unwrap();
    checkout.add_patch("fix", "fix", &change_line(12, "fixed differently"));
    let patch =
        || -> Result<SourceTree> { checkout.workshop.patch(&checkout.pin(), Series::Patched) };
    let error = patch().unwrap_err();
    assert!(matches!(error, Error::Unrecorded { .. }), "{error}");
    assert!(error.help().unwrap().contains("patch record"), "{error}");

    checkout.workshop.record(&checkout.pin()).unwrap();
    assert!(array_cpp(&patch().unwrap()).contains("fixed differently"));
}

#[test]
fn one_fix_can_be_taken_out_of_the_patched_tree() {
    let checkout = with_series();
    checkout.add_patch("other", "fix", &change_line(17, "mended"));
    checkout.workshop.record(&checkout.pin()).unwrap();
    let without = |name: &str| {
        let names = [name.to_owned()];
        checkout
            .workshop
            .patch_without(&checkout.pin(), Series::Patched, &names)
    };
    let tree = without("fix").unwrap();
    assert_eq!(
        array_cpp(&tree),
        numbered_lines()
            .replace("line 4\n", "ported\n")
            .replace("line 17\n", "mended\n")
    );
    assert!(without("fix").unwrap().current);

    let message = without("fox").unwrap_err().to_string();
    assert!(
        message.contains("fox") && message.contains("fix, other"),
        "{message}"
    );
    assert!(without("port").is_err(), "a portability patch is no fix");
}

#[test]
fn a_fix_whose_lines_another_changes_cannot_be_taken_out() {
    let checkout = with_series();
    checkout.add_patch(
        "again",
        "fix",
        &change_line(12, "fixed twice").replace("-line 12", "-fixed"),
    );
    checkout.workshop.record(&checkout.pin()).unwrap();
    let error = checkout
        .workshop
        .patch_without(&checkout.pin(), Series::Patched, &["fix".to_owned()])
        .unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Entangled { .. }), "{message}");
    assert!(
        message.contains("fix") && message.contains("mlx/array.cpp:10"),
        "{message}"
    );
}

#[test]
fn a_fix_names_the_selections_that_prove_it() {
    let checkout = with_series();
    let proofs = |lines: &str| {
        let file = checkout.path("patches/1.2.3/fix.patch");
        let text = fs::read_to_string(&file).unwrap();
        let start = text
            .find("X-Verdicts")
            .unwrap_or(text.find("---\n").unwrap());
        let end = text.find("---\n").unwrap();
        let text = format!("{}{lines}{}", &text[..start], &text[end..]);
        fs::write(&file, text).unwrap();
        let patches = checkout
            .workshop
            .patches(&checkout.pin(), Series::Patched)
            .unwrap();
        let proofs = patches[1].proofs(&common::only_recv_hangs);
        proofs.map_err(|error| error.to_string())
    };
    let two = "X-Verdicts: hang -> pass: --op recv --wires 2,3\n \
               wrong -> pass: --op send --direction '0->1'\n";
    let read = proofs(two).unwrap();
    assert_eq!(read[0].before, "hang");
    assert_eq!(read[0].flags, ["--op", "recv", "--wires", "2,3"]);
    assert_eq!(read[1].flags, ["--op", "send", "--direction", "0->1"]);
    assert_eq!(
        read[1].to_string(),
        "wrong -> pass: --op send --direction '0->1'"
    );

    for (lines, named) in [
        ("", "X-Verdicts"),
        ("X-Verdicts: recv: hang -> pass\n", "line 9"),
        ("X-Verdicts: stuck -> pass: --op recv\n", "\"stuck\""),
        ("X-Verdicts: hang -> pass: recv\n", "--op recv"),
        ("X-Verdicts: hang -> error: --op recv\n", "BEFORE -> pass"),
        (
            "X-Verdicts: hang -> pass: --op recv\n hang -> pass: --opp recv\n",
            "line 10",
        ),
    ] {
        let message = proofs(lines).unwrap_err();
        assert!(
            message.contains("fix.patch") && message.contains(named),
            "{message}"
        );
    }
}

#[test]
fn each_of_the_four_states_is_told() {
    let checkout = with_series();
    assert_eq!(states(&checkout), [State::Applies, State::Applies]);

    checkout.write(
        "origin/mlx/array.cpp",
        &numbered_lines().replace("line 4\n", "ported\n"),
    );
    assert_eq!(states(&checkout), [State::AlreadyApplied, State::Applies]);

    checkout.write(
        "origin/mlx/array.cpp",
        &numbered_lines().replace("line 12\n", "rewritten\n"),
    );
    let conflict = State::Conflicts {
        hunks: vec!["mlx/array.cpp:10".into()],
    };
    assert_eq!(states(&checkout), [State::Applies, conflict]);
}

#[test]
fn a_fix_that_upstream_has_in_a_changed_neighbourhood_is_recognised() {
    let checkout = Checkout::new();
    let diff = checkout.sh(
        "cp -r origin made && cd made && git init --quiet && git add . \
                   && sed -i 's/^line 12$/fixed/' mlx/array.cpp && git diff --full-index",
    );
    checkout.add_patch("fix", "fix", &diff);
    checkout.write(
        "origin/mlx/array.cpp",
        &numbered_lines()
            .replace("line 10\n", "line ten\n")
            .replace("line 12\n", "fixed\n"),
    );
    assert_eq!(states(&checkout), [State::AlreadyUpstream]);

    // A merge goes through here too, but it has something to do.
    let elsewhere = numbered_lines().replace("line 10\n", "line ten\n");
    checkout.write("origin/mlx/array.cpp", &elsewhere);
    let hunks = vec!["mlx/array.cpp:9".into()];
    assert_eq!(states(&checkout), [State::Conflicts { hunks }]);
}

#[test]
fn a_patch_that_does_not_apply_stops_with_its_place() {
    let checkout = Checkout::new();
    checkout.add_patch(
        "fix",
        "fix",
        &change_line(12, "fixed").replace("line 11", "line eleven"),
    );
    let error = checkout
        .workshop
        .patch(&checkout.pin(), Series::Patched)
        .unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Conflict { .. }), "{message}");
    assert!(
        message.contains("fix") && message.contains("mlx/array.cpp:10"),
        "{message}"
    );
}

#[test]
fn a_patch_without_its_fields_is_refused_by_field() {
    let checkout = Checkout::new();
    checkout.add_patch("fix", "fix", &change_line(12, "fixed"));
    let file = checkout.path("patches/1.2.3/fix.patch");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("Forwarded: no\n", "")).unwrap();
    let error = checkout
        .workshop
        .patches(&checkout.pin(), Series::Patched)
        .unwrap_err();
    assert!(error.to_string().contains("Forwarded"), "{error}");
}

#[test]
fn every_patch_of_this_checkout_carries_its_fields() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workshop = common::workshop(&root);
    for version in pins::Pin::versions(&workshop.patches_folder()).unwrap() {
        let pin = workshop.pin(&version).unwrap();
        let patches = workshop.patches(&pin, Series::Tuned).unwrap();
        assert!(!patches.is_empty());
        for patch in patches {
            assert!(!patch.summary().is_empty(), "{}", patch.file.display());
        }
    }
}

#[test]
fn a_record_changes_trees_and_revision_of_a_pin_and_nothing_else() {
    let checkout = with_series();
    let file = checkout.path("patches/1.2.3/pin.toml");
    let recorded = checkout.pin().recorded;
    let (stock, patched) = (
        recorded.trees.stock.to_string(),
        recorded.trees.patched.to_string(),
    );
    let whole = fs::read_to_string(&file).unwrap();
    let start = whole.split_once("[series]").unwrap().0.to_owned();
    let old = "0".repeat(40);
    for series in [
        "# by hand\n[series]\nstock=\"STOCK\"   # of upstream\npatched  =  \"PATCHED\"\n\
         revision = REVISION # a wheel's\ntuned = \"PATCHED\" # fast\ntuned-revision=REVISION\n",
        "[series]\nrevision=REVISION\n'patched' = 'PATCHED'\n\"stock\" = 'STOCK'\n\
         tuned-revision=REVISION\ntuned = 'PATCHED'\n",
        "series = { stock = \"STOCK\", patched = \"PATCHED\", revision = REVISION, \
         tuned = \"PATCHED\", tuned-revision = REVISION }\n",
    ] {
        let inline = series.starts_with("series");
        let text = |stock: &str, patched: &str, revision: &str| {
            let series = series.replace("STOCK", stock).replace("PATCHED", patched);
            let series = series.replace("REVISION", revision);
            match inline {
                true => format!("{series}{start}"),
                false => format!("{start}{series}"),
            }
        };
        fs::write(&file, text(&old, &old, "7")).unwrap();
        checkout.workshop.record(&checkout.pin()).unwrap();
        let after = fs::read_to_string(&file).unwrap();
        // Only the quotes may become the usual ones.
        assert_eq!(
            after.replace('\'', "\""),
            text(&stock, &patched, "8").replace('\'', "\"")
        );
        assert_eq!(checkout.pin().recorded.trees.patched.to_string(), patched);
        checkout.workshop.record(&checkout.pin()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), after, "recorded twice");
    }
    // A pin that names no tuned tree has the patched one, and counts from there.
    let text =
        |patched: &str| format!("{start}[series]\nstock = \"{stock}\"\npatched = \"{patched}\"\n");
    for (before, revision) in [(&patched, 1), (&old, 2)] {
        fs::write(&file, text(before)).unwrap();
        assert_eq!(checkout.pin().recorded.trees.tuned.to_string(), *before);
        checkout.workshop.record(&checkout.pin()).unwrap();
        let recorded = checkout.pin().recorded;
        assert_eq!(
            (recorded.revision, recorded.tuned_revision),
            (revision, revision)
        );
    }
    // A pin that has recorded nothing yet.
    fs::write(&file, &start).unwrap();
    checkout.workshop.record(&checkout.pin()).unwrap();
    let recorded = checkout.pin().recorded;
    assert_eq!(recorded.trees.stock.to_string(), stock);
    assert_eq!(recorded.revision, 1);
    assert!(fs::read_to_string(&file).unwrap().starts_with(&start));
}
