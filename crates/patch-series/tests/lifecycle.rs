//! The life of a patch: begun, refreshed, exported, dropped, and never half.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use common::Checkout;
use launch::Progress;
use miniature::{change_line, numbered_lines, told};
use patch_series::{Class, Error, Exported, Kind, Refreshed, State, Workshop};
use pins::{Pin, Series};

/// Everything below `patches/1.2.3`.
type Files = BTreeMap<String, String>;

fn files(folder: PathBuf) -> Files {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

/// A pin with a series of three, and a working copy of it.
struct Bench {
    checkout: Checkout,
    copy: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let checkout = Checkout::new();
        checkout.write(
            "patches/1.2.3/series",
            "# from top to bottom\nport.patch\n\n# fixes\nfirst.patch\nsecond.patch\n",
        );
        let patch = |name: &str, class, n, to: &str| {
            checkout.write_patch(name, class, &change_line(n, to));
        };
        patch("port", "portability", 3, "ported");
        patch("first", "fix", 8, "first");
        patch("second", "fix", 16, "second");
        let bench = Bench {
            copy: checkout.path("copy"),
            checkout,
        };
        bench.workshop().record(&bench.pin()).unwrap();
        bench.edit();
        // As export writes them.
        bench
            .workshop()
            .export_patches(&bench.pin(), &bench.copy)
            .unwrap();
        bench
    }

    fn workshop(&self) -> &Workshop {
        &self.checkout.workshop
    }

    fn pin(&self) -> Pin {
        self.checkout.pin()
    }

    fn edit(&self) {
        self.workshop()
            .edit_patches(&self.pin(), &self.copy)
            .unwrap();
    }

    fn files(&self) -> Files {
        files(self.checkout.path("patches/1.2.3"))
    }

    /// Replaces a line of the working copy's only source.
    fn replace(&self, from: &str, to: &str) {
        let file = self.copy.join("mlx/array.cpp");
        let text = fs::read_to_string(&file).unwrap();
        let (from, to) = (format!("{from}\n"), format!("{to}\n"));
        assert!(text.contains(&from), "{from:?} is not in:\n{text}");
        fs::write(file, text.replace(&from, &to)).unwrap();
    }

    fn refresh(&self, name: &str) -> patch_series::Result<Refreshed> {
        self.workshop().refresh_patch(&self.pin(), name, &self.copy)
    }

    fn drop(&self, names: &[&str]) -> patch_series::Result<Exported> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.workshop().drop_patches(&self.pin(), &names)
    }

    /// What the whole series makes of the source.
    fn patched(&self) -> String {
        let tree = self.workshop().patch(&self.pin(), Series::Patched).unwrap();
        fs::read_to_string(tree.path.join("mlx/array.cpp")).unwrap()
    }

    /// Asserts that this is refused as the caller's mistake, in these words.
    fn refused<T>(&self, outcome: patch_series::Result<T>, words: &[&str]) {
        self.failed(Kind::Input, outcome, words);
    }

    /// Asserts that this fails in these words.
    fn failed<T>(&self, kind: Kind, outcome: patch_series::Result<T>, words: &[&str]) {
        let error = outcome.err().expect("a refusal");
        assert_eq!(error.kind(), kind, "{error}");
        let message = told(&error, error.help());
        for word in words {
            assert!(message.contains(word), "{word:?} is not in:\n{message}");
        }
    }
}

fn diff_of(patch: &str) -> &str {
    patch.split_once("---\n").unwrap().1
}

#[test]
fn a_working_copy_has_one_commit_a_patch_and_exports_to_the_same_bytes() {
    let bench = Bench::new();
    let log = bench.checkout.sh("git -C copy log --format='%s %ae %ad'");
    let subjects: Vec<&str> = log.lines().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!(subjects, ["second", "first", "port", "MLX"]);
    assert_eq!(bench.checkout.sh("git -C copy status --porcelain"), "");
    let head = bench.checkout.sh("git -C copy rev-parse HEAD");

    let before = bench.files();
    let exported = bench
        .workshop()
        .export_patches(&bench.pin(), &bench.copy)
        .unwrap();
    assert!(exported.written.is_empty() && exported.removed.is_empty());
    assert_eq!(bench.files(), before);

    fs::remove_dir_all(&bench.copy).unwrap();
    bench.edit();
    assert_eq!(bench.checkout.sh("git -C copy rev-parse HEAD"), head);
}

/// From its beginning to its end.
#[test]
fn a_performance_patch_goes_through_its_life_behind_all_others() {
    let bench = Bench::new();
    let (workshop, before) = (bench.workshop(), bench.pin().recorded);
    workshop
        .new_patch(&bench.pin(), "fast", Class::Performance, &bench.copy)
        .unwrap();
    bench.replace("second", "second and fast");
    bench.refresh("fast").unwrap();
    let fast = bench.files()["fast.patch"].clone();
    assert!(
        fast.contains("X-Class: performance\nX-Gain: TODO time 1 -> "),
        "{fast}"
    );
    let of = |series| {
        let tree = workshop.patch(&bench.pin(), series).unwrap();
        fs::read_to_string(tree.path.join("mlx/array.cpp")).unwrap()
    };
    // How often each series changed: its revision now, from 1 before.
    let revisions = || {
        let now = bench.pin().recorded;
        (
            now.revision - before.revision + 1,
            now.tuned_revision - before.tuned_revision + 1,
        )
    };
    assert!(of(Series::Tuned).contains("second and fast\n"));
    assert!(of(Series::Patched).contains("second\n"));
    let recorded = bench.pin().recorded;
    assert_eq!(recorded.trees.patched, before.trees.patched);
    assert_eq!(revisions(), (1, 2));

    // A fix that is begun now stands before it, and its edits are seen in the tuned tree.
    workshop
        .new_patch(&bench.pin(), "third", Class::Fix, &bench.copy)
        .unwrap();
    bench.replace("line 12", "third");
    bench.refresh("third").unwrap();
    let files = bench.files();
    assert!(files["series"].ends_with("second.patch\nthird.patch\nfast.patch\n"));
    // The files that both change have other ids now.
    let lines = |patch: &str| -> Vec<String> {
        let lines = diff_of(patch)
            .lines()
            .filter(|it| !it.starts_with("index "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        lines(&files["fast.patch"]),
        lines(&fast),
        "nothing of it moved"
    );
    assert!(of(Series::Patched).contains("third\n"));
    assert!(of(Series::Tuned).contains("third\n"));
    assert_eq!(revisions(), (2, 3));

    // Edits of what a performance patch changed are its own, and a fix that one builds on
    // cannot go before it.
    bench.replace("second and fast", "second and faster");
    bench.failed(Kind::Input, bench.refresh("second"), &["second", "fast"]);
    bench.refresh("fast").unwrap();
    // How often each series changed: its revision now, from 1 before.
    let revisions = || {
        let now = bench.pin().recorded;
        (
            now.revision - before.revision + 1,
            now.tuned_revision - before.tuned_revision + 1,
        )
    };
    assert!(of(Series::Tuned).contains("second and faster\n"));
    bench.failed(Kind::Input, bench.drop(&["second"]), &["fast"]);

    let states = workshop.patch_states(&bench.pin(), None).unwrap();
    let states: Vec<_> = states
        .iter()
        .map(|(it, state)| (&*it.name, state))
        .collect();
    assert_eq!(
        states.last(),
        Some(&("fast", &patch_series::State::Applies))
    );
    bench.drop(&["fast"]).unwrap();
    assert_eq!(of(Series::Tuned), of(Series::Patched));
    let recorded = bench.pin().recorded;
    assert_eq!(recorded.trees.tuned, recorded.trees.patched);
    assert_eq!(revisions(), (2, 5));
}

#[test]
fn a_new_patch_is_begun_edited_and_taken_in() {
    let bench = Bench::new();
    let (workshop, pin) = (bench.workshop(), bench.pin());
    let before = bench.files();
    workshop
        .new_patch(&pin, "third", Class::Fix, &bench.copy)
        .unwrap();
    assert_eq!(bench.files(), before, "begun is not yet in the series");

    bench.replace("line 12", "third");
    fs::write(bench.copy.join("mlx/new.h"), "int third;\n").unwrap();
    let Refreshed::Exported(exported) = bench.refresh("third").unwrap() else {
        panic!("everything is made");
    };
    let after = bench.files();
    assert_eq!(exported.written.len(), 3, "{:?}", exported.written);
    assert!(after["series"].ends_with("# fixes\nfirst.patch\nsecond.patch\nthird.patch\n"));
    assert!(after["third.patch"].contains("TODO") && after["third.patch"].contains("+int third;"));
    assert_eq!(after["first.patch"], before["first.patch"]);
    assert!(
        bench.patched().contains("third\n"),
        "and the trees are recorded"
    );
    assert_eq!(bench.checkout.sh("git -C copy status --porcelain"), "");
}

#[test]
fn a_refresh_amends_one_patch_and_exports_those_behind_it_whose_context_changed() {
    let bench = Bench::new();
    let before = bench.files();
    // The first line of what `second` has as context.
    bench.replace("line 1", "first too");
    bench.refresh("first").unwrap();
    let after = bench.files();
    assert!(after["first.patch"].contains("+first too"));
    assert!(after["first.patch"].contains(&format!("Last-Update: {}\n", today())));
    assert!(after["first.patch"].starts_with("Description: first\n because\n"));
    assert_eq!(after["port.patch"], before["port.patch"]);
    assert_eq!(after["series"], before["series"]);
    assert_ne!(
        diff_of(&after["second.patch"]),
        diff_of(&before["second.patch"])
    );
    assert!(after["second.patch"].contains("Last-Update: 2025-03-04\n"));
    let expected = [
        ("line 1\n", "first too\n"),
        ("line 3\n", "ported\n"),
        ("line 8\n", "first\n"),
        ("line 16\n", "second\n"),
    ];
    let expected = expected.iter().fold(numbered_lines(), |text, (from, to)| {
        text.replacen(from, to, 1)
    });
    assert_eq!(bench.patched(), expected);
}

#[test]
fn edits_in_the_lines_of_a_later_patch_belong_to_it() {
    let bench = Bench::new();
    let before = bench.files();
    bench.replace("second", "second differently");
    bench.refused(
        bench.refresh("first"),
        &["first", "second", "mlx/array.cpp:1", "into second"],
    );
    assert_eq!(bench.files(), before);
    bench.refresh("second").unwrap();
    assert!(bench.patched().contains("second differently"));
}

#[test]
fn what_cannot_be_refreshed_is_refused_and_nothing_changes() {
    let bench = Bench::new();
    let before = bench.files();
    bench.refused(bench.refresh("first"), &["nothing", "copy"]);
    bench.replace("line 12", "edited");
    bench.refused(bench.refresh("frist"), &["frist", "port, first, second"]);
    let export = bench.workshop().export_patches(&bench.pin(), &bench.copy);
    bench.refused(export, &["edits", "refresh"]);
    let elsewhere = bench.checkout.path("elsewhere");
    let refresh = bench
        .workshop()
        .refresh_patch(&bench.pin(), "first", &elsewhere);
    bench.refused(refresh, &["elsewhere", "patch edit", "--dir"]);
    let begin = |name| {
        bench
            .workshop()
            .new_patch(&bench.pin(), name, Class::Fix, &bench.copy)
    };
    bench.refused(begin("first"), &["first", "already", "refresh"]);
    bench.refused(begin("../first"), &["../first", "hyphens"]);
    bench
        .checkout
        .sh("git -C copy -c user.name=t -c user.email=t@t commit --quiet --all --message wip");
    bench.refused(bench.refresh("first"), &["\"wip\"", "git reset --soft"]);
    assert_eq!(bench.files(), before);
}

#[test]
fn patches_that_changed_behind_a_working_copys_back_are_not_overwritten() {
    let bench = Bench::new();
    bench
        .checkout
        .write_patch("second", "fix", &change_line(16, "by somebody else"));
    bench.workshop().record(&bench.pin()).unwrap();
    let before = bench.files();
    bench.replace("line 12", "edited");
    bench.refused(
        bench.refresh("first"),
        &["second.patch", "changed", "--dir OTHER"],
    );
    assert_eq!(bench.files(), before);
}

#[test]
fn a_working_copy_in_which_nothing_was_done_is_made_anew() {
    let bench = Bench::new();
    bench.drop(&["first"]).unwrap();
    bench.edit();
    let log = bench.checkout.sh("git -C copy log --format=%s");
    assert_eq!(log, "second\nport\nMLX 1.2.3\n");

    bench.replace("line 12", "edited");
    bench.drop(&["second"]).unwrap();
    let edit = || bench.workshop().edit_patches(&bench.pin(), &bench.copy);
    bench.refused(edit(), &["second.patch", "changed"]);
    assert!(bench.checkout.sh("git -C copy diff").contains("+edited"));
    bench
        .checkout
        .sh("git -C copy -c user.name=t -c user.email=t@t stash");
    bench.refused(edit(), &["second.patch", "changed"]);
    bench
        .checkout
        .sh("cd copy; git stash drop; echo notes > .git/info/exclude; touch notes");
    bench.refused(edit(), &["second.patch", "changed"]);
    fs::remove_file(bench.copy.join("notes")).unwrap();
    edit().unwrap();
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let bench = Bench::new();
    let edit = |folder| {
        bench
            .workshop()
            .edit_patches(&bench.pin(), &bench.checkout.path(folder))
    };
    bench.refused(edit("origin"), &["origin", "no working copy"]);
    bench
        .checkout
        .write("origin/CMakeLists.txt", "project(other)\n");
    bench
        .checkout
        .sh("cd copy; git -c user.name=t -c user.email=t@t commit --quiet --amend --message x");
    bench.refused(bench.refresh("first"), &["\"x\" is no patch"]);
    bench.checkout.sh("cd copy; git checkout --quiet --orphan other; git -c user.name=t -c user.email=t@t commit --quiet --message x");
    bench.refused(
        bench.refresh("first"),
        &["first commit is tree", "MLX 1.2.3"],
    );
}

#[test]
fn new_files_that_git_ignores_are_told_and_taken_on_demand() {
    let bench = Bench::new();
    bench.checkout.sh("echo lib/ >> copy/.git/info/exclude");
    bench.checkout.write("copy/lib/new.h", "int here;\n");
    let notes = Arc::new(Notes::default());
    let workshop = Workshop {
        progress: notes.clone(),
        ..bench.workshop().clone()
    };
    let refresh = || workshop.refresh_patch(&bench.pin(), "second", &bench.copy);
    bench.refused(refresh(), &["nothing"]);
    let told = notes.0.lock().unwrap().join("\n");
    assert!(
        told.contains("lib/") && told.contains("git add --force"),
        "{told}"
    );
    bench.checkout.sh("git -C copy add --force lib/new.h");
    refresh().unwrap();
    assert!(bench.files()["second.patch"].contains("+int here;"));
}

#[test]
fn nobodys_git_settings_change_what_is_written() {
    let bench = Bench::new();
    bench.replace("line 5", "first too");
    bench
        .checkout
        .sh("cd copy; git mv tools/build.sh tools/make.sh");
    bench.refresh("first").unwrap();
    let before = bench.files();
    assert!(before["first.patch"].contains("deleted file mode 100755\n"));
    bench.checkout.sh(
        "cd copy; git config diff.noprefix true; git config diff.context 9; \
         git config diff.interHunkContext 9; git config diff.renames copies; \
         git config diff.algorithm patience; git config core.abbrev 5",
    );
    let exported = bench
        .workshop()
        .export_patches(&bench.pin(), &bench.copy)
        .unwrap();
    assert!(exported.written.is_empty(), "{exported:?}");
    assert_eq!(bench.files(), before);
}

#[test]
fn edits_that_leave_nothing_of_a_patch_are_refused() {
    let bench = Bench::new();
    bench.replace("second", "line 16");
    bench.refused(
        bench.refresh("second"),
        &["second", "nothing", "patch drop second"],
    );
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_others_alone() {
    let bench = Bench::new();
    let before = bench.files();
    bench.replace("line 1", "first too");
    let blocker = bench.checkout.path("patches/1.2.3/.exporting.new");
    fs::write(&blocker, "").unwrap();
    bench.failed(
        Kind::Ours,
        bench.refresh("first"),
        &["1.2.3/.exporting.new"],
    );
    fs::remove_file(&blocker).unwrap();
    assert_eq!(bench.files(), before);
    bench.refresh("first").unwrap();
    assert_ne!(bench.files(), before);
}

#[test]
fn fields_may_be_edited_in_the_file_or_in_the_commit() {
    let bench = Bench::new();
    let file = bench.checkout.path("patches/1.2.3/first.patch");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("Bug: none", "Bug: in the file")).unwrap();
    bench.checkout.sh(
        "cd copy; git -c user.name=t -c user.email=t@t commit --quiet --amend \
         --message \"$(git log -1 --format=%B | sed 's/Bug: none/Bug: in the commit/')\"",
    );
    bench
        .workshop()
        .export_patches(&bench.pin(), &bench.copy)
        .unwrap();
    let after = bench.files();
    assert!(after["first.patch"].contains("Bug: in the file"));
    assert!(after["second.patch"].contains("Bug: in the commit"));
}

#[test]
fn commits_in_another_order_export_to_another_series() {
    let bench = Bench::new();
    bench.checkout.sh(
        "cd copy; export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t; \
         second=$(git rev-parse HEAD) first=$(git rev-parse HEAD^); \
         git reset --quiet --hard HEAD~2; git cherry-pick $second $first",
    );
    let tree = bench.patched();
    bench
        .workshop()
        .export_patches(&bench.pin(), &bench.copy)
        .unwrap();
    let series = bench.files()["series"].clone();
    assert_eq!(
        series,
        "# from top to bottom\nport.patch\nsecond.patch\n\n# fixes\nfirst.patch\n"
    );
    assert_eq!(bench.patched(), tree);
}

#[test]
fn a_dropped_patch_leaves_series_and_disk_and_those_behind_it_still_apply() {
    let bench = Bench::new();
    let before = bench.files();
    let exported = bench.drop(&["first"]).unwrap();
    let after = bench.files();
    assert!(!after.contains_key("first.patch") && exported.removed.len() == 1);
    assert_eq!(
        after["series"],
        "# from top to bottom\nport.patch\nsecond.patch\n"
    );
    assert_ne!(
        diff_of(&after["second.patch"]),
        diff_of(&before["second.patch"])
    );
    assert!(!bench.patched().contains("first\n") && bench.patched().contains("second\n"));
    bench.refused(bench.drop(&["first"]), &["first", "port, second"]);
}

#[test]
fn patches_that_mlx_has_already_are_dropped_together() {
    let bench = Bench::new();
    let patched = bench.patched();
    for (name, n, to) in [("third", 8, "first"), ("fourth", 16, "second")] {
        bench.checkout.add_patch(name, "fix", &change_line(n, to));
    }
    let before = bench.files();
    bench.refused(
        bench.drop(&["third"]),
        &["fourth", "already applied", "patch drop third fourth"],
    );
    assert_eq!(bench.files(), before);
    bench.drop(&["fourth", "third"]).unwrap();
    assert!(!bench.files().contains_key("third.patch"));
    assert_eq!(bench.patched(), patched);
}

#[test]
fn a_patch_that_another_needs_is_not_dropped() {
    let bench = Bench::new();
    bench
        .workshop()
        .new_patch(&bench.pin(), "third", Class::Fix, &bench.copy)
        .unwrap();
    bench.replace("first", "first and third");
    bench.refresh("third").unwrap();
    let before = bench.files();
    let drop = bench.drop(&["first"]);
    assert!(matches!(drop, Err(Error::Needed { .. })));
    bench.refused(
        drop,
        &["first", "third", "mlx/array.cpp:7", "drop third first"],
    );
    assert_eq!(bench.files(), before);
}

#[test]
fn a_patch_that_no_longer_applies_is_made_again_by_hand() {
    let bench = Bench::new();
    for (name, n) in [("first", 8), ("second", 16)] {
        let elsewhere = change_line(n, name).replace(&format!("line {}\n", n - 1), "moved\n");
        bench.checkout.write_patch(name, "fix", &elsewhere);
    }
    fs::remove_dir_all(&bench.copy).unwrap();
    let editable = bench
        .workshop()
        .edit_patches(&bench.pin(), &bench.copy)
        .unwrap();
    let pending: Vec<_> = editable
        .pending
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(pending, ["first", "second"]);
    assert!(
        matches!(&editable.pending[0].1, State::Conflicts { hunks } if hunks == &["mlx/array.cpp:6"])
    );

    let before = bench.files();
    bench.replace("line 8", "first by hand");
    let Refreshed::Pending(names) = bench.refresh("first").unwrap() else {
        panic!("second is still to be made");
    };
    assert_eq!(names, ["second"]);
    assert_eq!(bench.files(), before);
    bench.replace("line 16", "second by hand");
    assert!(matches!(
        bench.refresh("second").unwrap(),
        Refreshed::Exported(_)
    ));
    assert!(
        bench.patched().contains("first by hand\n") && bench.patched().contains("second by hand\n")
    );
}

#[test]
fn a_pin_without_a_series_gets_its_first_patch() {
    let checkout = Checkout::new();
    let pin_file = checkout.path("patches/1.2.3/pin.toml");
    let text = fs::read_to_string(&pin_file).unwrap();
    fs::write(&pin_file, text.split_once("[series]").unwrap().0).unwrap();
    let workshop = &checkout.workshop;
    assert!(workshop.patch(&checkout.pin(), Series::Patched).is_ok());

    let copy = checkout.path("copy");
    workshop
        .new_patch(&checkout.pin(), "first", Class::Portability, &copy)
        .unwrap();
    fs::write(copy.join("CMakeLists.txt"), "project(mlx CXX)\n").unwrap();
    workshop
        .refresh_patch(&checkout.pin(), "first", &copy)
        .unwrap();
    assert_eq!(
        fs::read_to_string(checkout.path("patches/1.2.3/series")).unwrap(),
        "first.patch\n"
    );
    let stock = workshop.patch(&checkout.pin(), Series::Stock).unwrap();
    assert_ne!(stock.tree, checkout.pin().mlx.tree);
}

/// What a command says beside its steps.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn step(&self, _: &str, _: &str) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// By a clock nobody here wrote.
fn today() -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "+%F"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
