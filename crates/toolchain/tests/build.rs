//! Builds are named by their inputs, and nothing that was changed is reused.
//! jaccl alone stands for MLX: it takes the same way in half a minute.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use launch::{Launcher, Progress};
use miniature::copy_folder;
use pins::{DEFAULT_PIN, Pin, Series};
use toolchain::{
    Error, Toolchain,
    build::Request,
    driver::Driver,
    environment::Environment,
    fetch::Source,
    manifest::Manifest,
    store::{Kind, Store, sha256},
};

fn toolchain() -> Toolchain {
    Toolchain::open().unwrap().with_driver(driver())
}

fn driver() -> Driver {
    Driver::Program(env!("CARGO_BIN_EXE_rails-cmake").into())
}

#[test]
fn a_manifest_tells_what_was_built_and_a_second_build_is_current() {
    let toolchain = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let request = Request::jaccl(&pin, Series::Patched);
    let first = toolchain.build(&request).unwrap();
    let second = toolchain.build(&request).unwrap();
    assert!(second.current);
    assert_eq!(second.manifest, first.manifest);
    assert_eq!(
        Manifest::load(&second.manifest_file()).unwrap(),
        first.manifest
    );

    let inputs = &second.manifest.inputs;
    assert_eq!(inputs.key(), second.manifest.key);
    assert_eq!(inputs.tree, pin.mlx.tree);
    assert_eq!(inputs.patched_tree, pin.recorded.trees.patched);
    assert!(
        inputs
            .patches
            .iter()
            .any(|(name, _)| name == "ring-recv-prefill")
    );
    assert!(second.library().is_file());
    for artefact in &second.manifest.artefacts {
        let content = fs::read(second.prefix.join(&artefact.path)).unwrap();
        assert_eq!(sha256(content), artefact.sha256, "{}", artefact.path);
    }
}

#[test]
fn stock_and_patched_are_builds_of_their_own() {
    let toolchain = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let build = |series| {
        toolchain
            .build(&Request::jaccl(&pin, series))
            .unwrap()
            .manifest
    };
    let (stock, patched) = (build(Series::Stock), build(Series::Patched));
    assert_ne!(stock.key, patched.key);
    assert_eq!(stock.inputs.tree, patched.inputs.tree);
    let changes = patched.inputs.changes_since(&stock.inputs);
    assert!(
        changes.contains(&"patch ring-recv-prefill is new".to_owned()),
        "{changes:?}"
    );
    assert!(
        !changes.iter().any(|change| change.contains("compiler")),
        "{changes:?}"
    );
}

#[test]
fn a_build_without_one_fix_says_so() {
    let toolchain = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let patched = Request::jaccl(&pin, Series::Patched);
    let request = Request {
        without: vec!["ring-recv-prefill".to_owned()],
        ..patched.clone()
    };
    let whole = toolchain.build(&patched).unwrap().manifest.inputs;
    let inputs = toolchain.build(&request).unwrap().manifest.inputs;
    assert_eq!(
        inputs.to_string(),
        format!("MLX {DEFAULT_PIN} (patched without ring-recv-prefill, jaccl only)")
    );
    assert_ne!(inputs.patched_tree, whole.patched_tree);
    let changes = inputs.changes_since(&whole);
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(changes[1], "patch ring-recv-prefill is gone");

    let stock = Request {
        series: Series::Stock,
        ..request
    };
    let error = toolchain.build(&stock).unwrap_err();
    assert!(error.to_string().contains("ring-recv-prefill"), "{error}");
}

/// Wishes to stop when something is about to be made.
struct CancelsBuilds(Launcher);

impl Progress for CancelsBuilds {
    fn step(&self, _: &str, _: &str) {
        self.0.cancel().cancel();
    }

    fn note(&self, _: &str) {}
}

#[test]
fn a_build_that_was_changed_is_thrown_away() {
    let toolchain = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let request = Request::jaccl(&pin, Series::Patched);
    let built = toolchain.build(&request).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        copy_folder(
            &toolchain.store().root().unwrap().join(name),
            &folder.path().join(name),
        )
    };
    copy("sources");
    copy("series");
    let entry = format!("builds/{}", built.manifest.key);
    copy(&entry);
    let store = Store::at(folder.path());
    // A build that begins ends as interrupted.
    let launcher = Launcher::default();
    let cancels = Arc::new(CancelsBuilds(launcher.clone()));
    let copied = Toolchain::with_store(store.clone())
        .attended(cancels, launcher)
        .with_driver(driver());
    assert!(copied.build(&request).unwrap().current);

    let library = folder
        .path()
        .join(&entry)
        .join("prefix/lib")
        .join(built.library().file_name().unwrap());
    fs::write(&library, "not what was built").unwrap();
    let error = copied.build(&request).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert!(!store.holds(Kind::Build, &built.manifest.key));
}

#[test]
fn a_library_knows_the_key_of_its_build() {
    let toolchain = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let build = toolchain
        .build(&Request::jaccl(&pin, Series::Patched))
        .unwrap();
    let library = fs::read(build.library()).unwrap();
    let holds = |text: &str| {
        library
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(holds("rails_build_key"));
    assert!(holds(&build.manifest.key));
}

/// A store at `root` with the sources and the tools of the user's, so that nothing is
/// downloaded, and an environment with one variable more. The tools are linked: they have no part in where a library is compiled.
fn furnish(root: &Path, from: &Toolchain, pin: &Pin, variable: (&str, &str)) -> Toolchain {
    let tools = from.tools().unwrap();
    let folder = root.join("tools");
    fs::create_dir_all(&folder).unwrap();
    symlink(
        from.store().entry(Kind::Tools, &tools.key).unwrap(),
        folder.join(&tools.key),
    )
    .unwrap();
    let patched = from.series().patch(pin, Series::Patched).unwrap().path;
    let pristine = from.fetch(&pin.mlx, &Source::Auto).unwrap().path;
    let verbs = from.verbs().unwrap();
    for tree in [patched, pristine, verbs] {
        let to = root.join("sources").join(tree.file_name().unwrap());
        copy_folder(&tree, &to);
    }
    let (name, value) = variable;
    let variables = std::env::vars_os().chain([(name.into(), value.into())]);
    Toolchain::with_store(Store::at(root))
        .with_driver(driver())
        .with_environment(Environment::of(variables))
}

#[test]
fn two_stores_in_two_folders_give_the_same_bytes() {
    let user = toolchain();
    let pin = user.pin(DEFAULT_PIN).unwrap();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let built = [
        one.path().join("store"),
        other.path().join("a longer name/of another store"),
    ]
    .map(|root| {
        // Debug information names every folder that a file was compiled in or from.
        let toolchain = furnish(&root, &user, &pin, ("CXXFLAGS", "-g1"));
        let build = toolchain
            .build(&Request::jaccl(&pin, Series::Patched))
            .unwrap();
        let lib = build.prefix.join("lib");
        for artefact in &build.manifest.artefacts {
            let content = fs::read(build.prefix.join(&artefact.path)).unwrap();
            let path = root.to_str().unwrap().as_bytes();
            assert!(
                !content.windows(path.len()).any(|window| window == path),
                "{} below {} names its store",
                artefact.path,
                lib.display()
            );
        }
        build.manifest
    });
    assert_eq!(built[0].key, built[1].key);
    assert!(built[0].artefacts.len() >= 2, "{:?}", built[0].artefacts);
    assert_eq!(built[0].artefacts, built[1].artefacts);
}

#[test]
fn a_failure_of_cmake_comes_with_its_words_and_its_log() {
    let user = toolchain();
    let pin = user.pin(DEFAULT_PIN).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let linker = ("LDFLAGS", "-fuse-ld=no-such-linker");
    let toolchain = furnish(folder.path(), &user, &pin, linker);
    let error = toolchain
        .build(&Request::jaccl(&pin, Series::Patched))
        .unwrap_err();
    let Error::Command {
        what, log, tail, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(what.contains("CMake"), "{error}");
    assert!(!tail.contains("panicked"), "{error}");
    let log = fs::read_to_string(log.as_ref().unwrap()).unwrap();
    assert!(log.contains("no-such-linker"), "{log}");
}
