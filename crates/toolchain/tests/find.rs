//! What is said of builds without making one: nothing here compiles or downloads.

use std::fs;

use pins::{DEFAULT_PIN, Series};
use tempfile::TempDir;
use toolchain::{
    Error, Toolchain,
    build::Request,
    doctor::{Check, Status},
    store::Store,
};

/// A pin whose mlx-c is for another MLX.
const UNFIT: &str = "0.32.4";

/// This checkout with an empty store.
fn toolchain() -> (TempDir, Toolchain) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("store"));
    (folder, Toolchain::with_store(store))
}

#[test]
fn an_mlx_whose_mlx_c_does_not_fit_is_refused_before_anything_is_done() {
    let (_folder, toolchain) = toolchain();
    let pin = toolchain.pin(UNFIT).unwrap();
    assert_eq!(pin.mlx_c_fits.as_deref(), Some("0.32.2"));
    for series in [Series::Stock, Series::Patched] {
        let error = toolchain.build(&Request::mlx(&pin, series)).unwrap_err();
        assert!(
            matches!(error, Error::Pins(pins::Error::Input { .. })),
            "{error}"
        );
        assert!(
            error.to_string().contains("mlx-c is for MLX 0.32.2"),
            "{error}"
        );
        assert!(
            error
                .help()
                .unwrap()
                .contains("cargo xtask verify --mlx 0.32.4")
        );
    }
    assert!(!toolchain.store().root().unwrap().exists());
}

#[test]
fn jaccl_of_such_an_mlx_is_not_refused() {
    let (_folder, toolchain) = toolchain();
    let pin = toolchain.pin(UNFIT).unwrap();
    let found = toolchain.find(&Request::jaccl(&pin, Series::Patched));
    assert!(found.unwrap().is_none());
}

#[test]
fn looking_for_a_build_makes_nothing() {
    let (_folder, toolchain) = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let found = toolchain.find(&Request::mlx(&pin, Series::Patched));
    assert!(found.unwrap().is_none());
    assert!(!toolchain.store().root().unwrap().exists());
}

#[test]
fn a_mlx_c_for_the_pin_itself_fits() {
    let (_folder, toolchain) = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    assert_eq!(pin.mlx_c_fits, None);
    pin.has_whole_mlx().unwrap();
}

fn named<'a>(checks: &'a [Check], start: &str) -> Vec<&'a Check> {
    checks
        .iter()
        .filter(|check| check.name.starts_with(start))
        .collect()
}

#[test]
fn doctor_recommends_nothing_that_is_refused() {
    let (_folder, toolchain) = toolchain();
    let checks = toolchain.doctor();
    let unfit = named(&checks, "MLX 0.32.4 build");
    assert_eq!(unfit.len(), 1, "{unfit:?}");
    assert!(unfit[0].detail.contains("jaccl only"), "{unfit:?}");
    for check in &checks {
        let remedy = check.remedy.as_deref().unwrap_or_default();
        assert!(!remedy.contains("build --mlx 0.32.4"), "{check:?}");
    }
    for check in named(&checks, "MLX 0.31.2 build") {
        assert_eq!(check.status, Status::OnDemand, "{check:?}");
    }
}

#[test]
fn doctor_tells_a_stale_build_from_a_current_one() {
    let (folder, toolchain) = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let inputs = toolchain
        .recorded_inputs(&Request::mlx(&pin, Series::Patched))
        .unwrap()
        .unwrap();
    let state = || {
        let checks = toolchain.doctor();
        let check = named(&checks, "MLX 0.31.2 build (patched)")[0].clone();
        (check.status, check.detail)
    };
    let store = |inputs: &toolchain::manifest::Inputs| {
        let entry = folder.path().join("store/builds").join(inputs.key());
        fs::create_dir_all(entry.join("prefix/lib")).unwrap();
        let manifest = serde_json::json!({
            "schema": toolchain::manifest::SCHEMA,
            "key": inputs.key(),
            "inputs": inputs,
            "seconds": 1,
            "finished": 1,
            "artefacts": [],
        });
        fs::write(entry.join("manifest.json"), manifest.to_string()).unwrap();
    };

    let mut other = inputs.clone();
    other.recipe.push('x');
    store(&other);
    let (status, detail) = state();
    assert_eq!(status, Status::OnDemand, "{detail}");
    assert!(detail.contains("stale: our CMake files"), "{detail}");

    store(&inputs);
    let (status, detail) = state();
    assert_eq!(status, Status::Present, "{detail}");
    assert!(detail.contains(&inputs.key()), "{detail}");
}
