//! What is said of builds without making one: nothing here compiles or downloads.

use std::fs;

use pins::{DEFAULT_PIN, Pin, Series};
use tempfile::TempDir;
use toolchain::{
    Toolchain,
    build::Request,
    doctor::{Check, Status},
    store::Store,
};

/// This checkout with an empty store.
fn toolchain() -> (TempDir, Toolchain) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("store"));
    (folder, Toolchain::with_store(store))
}

#[test]
fn every_pin_is_built_whole_with_its_patched_mlx_c() {
    let (_folder, toolchain) = toolchain();
    for version in Pin::versions(&toolchain.patches_folder()).unwrap() {
        let pin = toolchain.pin(&version).unwrap();
        for series in Series::ALL {
            let request = Request::mlx(&pin, series);
            let inputs = toolchain.recorded_inputs(&request).unwrap().unwrap();
            assert_eq!(inputs.sources["mlx-c"], pin.mlx_c_patched, "{version}");
            assert_ne!(inputs.sources["mlx-c"], pin.mlx_c.tree, "{version}");
        }
    }
    assert!(!toolchain.store().root().unwrap().exists());
}

#[test]
fn looking_for_a_build_makes_nothing() {
    let (_folder, toolchain) = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let found = toolchain.find(&Request::mlx(&pin, Series::Patched));
    assert!(found.unwrap().is_none());
    assert!(!toolchain.store().root().unwrap().exists());
}

fn named<'a>(checks: &'a [Check], start: &str) -> Vec<&'a Check> {
    checks
        .iter()
        .filter(|check| check.name.starts_with(start))
        .collect()
}

#[test]
fn doctor_knows_how_to_build_every_pin() {
    let (_folder, toolchain) = toolchain();
    let checks = toolchain.doctor();
    for version in Pin::versions(&toolchain.patches_folder()).unwrap() {
        let builds = named(&checks, &format!("MLX {version} build"));
        assert_eq!(builds.len(), Series::ALL.len(), "{builds:?}");
        for check in builds {
            assert_eq!(check.status, Status::OnDemand, "{check:?}");
            let remedy = check.remedy.as_deref().unwrap();
            assert!(
                remedy.contains(&format!("build --mlx {version}")),
                "{check:?}"
            );
        }
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
