//! A wheel for Linux: made, installed, and verified as a user does it.
#![cfg(target_os = "linux")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn xtask(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(words)
        .output()
        .expect("xtask runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Makes a wheel for Linux of the default pin in `folder`, and gives the report's entry.
fn made(series: &str, folder: &Path) -> Value {
    made_for("linux", series, folder)
}

fn made_for(platform: &str, series: &str, folder: &Path) -> Value {
    let folder = folder.display().to_string();
    let words = ["wheel", "--platform", platform, "--series", series];
    let output = xtask(&[&words[..], &["--out-dir", &folder, "--format", "json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["schema"], "mlx-rails/wheel/2");
    report["wheels"][0].clone()
}

/// In the wheel's folder, under the file's name.
fn verify(wheel: &Path, flags: &str) -> Output {
    let folder = wheel.parent().expect("a file in a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["verify", "--format", "json", "--wheel"]);
    command.arg(wheel.file_name().expect("a file"));
    command.args(flags.split_whitespace());
    command.current_dir(folder).output().expect("xtask runs")
}

fn path(wheel: &Value) -> PathBuf {
    wheel["path"].as_str().expect("a path").into()
}

#[test]
fn a_patched_wheel_passes_and_is_the_same_in_every_folder() {
    let folders = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
    let [one, two] = [&folders[0], &folders[1]].map(|folder| made("patched", folder.path()));
    assert_eq!(one["sha256"], two["sha256"]);
    for check in one["checks"].as_array().expect("checks") {
        assert_eq!(check["ok"], true, "{check}");
    }
    let output = verify(&path(&one), "--backend ring,mesh --ranks 2 --wires 2");
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let variant = &report["variants"][0];
    assert_eq!(variant["mlx"], one["version"]);
    assert_eq!(variant["cases"], variant["verdicts"]["pass"]);
    let manifest = &variant["manifest"];
    // The report is handed over: it names no folder of this machine.
    let name = path(&one);
    let name = name.file_name().and_then(|name| name.to_str());
    assert_eq!(manifest["wheel"]["path"].as_str(), name);
    assert_eq!(manifest["wheel"]["sha256"], one["sha256"]);
    // The library that Python has loaded is the one that was put in.
    assert_eq!(manifest["key"], manifest["wheel"]["manifest"]["build"]);
}

/// MLX 0.31.2 as it is: a receive for which no send comes.
#[test]
fn a_stock_wheel_hangs_where_stock_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let stock = path(&made("stock", folder.path()));
    let flags = "--op recv --backend ring --ranks 2 --wires 2 --bytes 1,4096,8192 --dtype u8 \
                 --frames small --direction 0->1";
    let output = verify(&stock, flags);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let failures = report["variants"][0]["failures"]
        .as_array()
        .expect("failures");
    let hung: Vec<_> = (failures.iter())
        .map(|it| (it["verdict"].as_str(), it["bytes"].as_u64()))
        .collect();
    assert_eq!(hung, [(Some("hang"), Some(1)), (Some("hang"), Some(8192))]);
    let flags = failures[0]["flags"].as_str().expect("flags");
    assert!(flags.contains("--op recv"), "{flags}");
}

#[test]
fn of_a_wheel_for_a_mac_the_structure_is_checked_and_no_case_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let wheel = path(&made_for("macos", "patched", folder.path()));
    let output = verify(&wheel, "");
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["ran"], false);
    let report = folder.path().join("report");
    let output = verify(&wheel, &format!("--out-dir {}", report.display()));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(output.stdout.is_empty() && !report.exists());
}

#[test]
fn what_cannot_be_verified_is_said_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mlx_cpu-0.31.2-py3-none-any.whl");
    std::fs::write(&file, "no wheel").expect("written");
    for (wheel, flags, part) in [
        (file.as_path(), "", "is no wheel"),
        (
            &folder.path().join("such-1-py3-none-any.whl"),
            "",
            "cannot open",
        ),
        (&file, "--op barrier", "Python does not reach barrier"),
        (&file, "--in-place true", "in place"),
        (&file, "--mlx 0.31.2", "--mlx"),
        (&file, "--each-patch", "--each-patch"),
    ] {
        let output = verify(wheel, flags);
        assert_ne!(output.status.code(), Some(0), "{flags}");
        assert!(
            stderr(&output).contains(part),
            "{flags}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{flags}");
    }
}
