//! Builds the wheel, installs it into an environment of its own, and lets Python test it.

use std::{path::Path, process::Command};

use toolchain::Toolchain;

#[test]
fn the_wheel_installs_and_python_s_own_tests_pass() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = Toolchain::open()
        .unwrap()
        .rail_matrix_wheel(&folder.path().join("dist"))
        .unwrap_or_else(|error| panic!("{error}"));

    let environment = folder.path().join("environment");
    let python = std::env::var("MLX_RAILS_PYTHON").unwrap_or_else(|_| "python3".into());
    succeeds(Command::new(python).args(["-m", "venv"]).arg(&environment));
    let python = environment.join("bin/python");
    let install = ["-m", "pip", "install", "--quiet", "--no-index"];
    succeeds(Command::new(&python).args(install).arg(&wheel.path));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let told = succeeds(
        Command::new(&python)
            // Nothing but the environment's own packages, and no bytecode in the checkout.
            .args([
                "-I", "-B", "-W", "error", "-m", "unittest", "discover", "-s",
            ])
            .arg(tests),
    );
    assert!(!told.contains("Ran 0 tests"), "{told}");
}

/// Runs a command and returns its stderr. A failure shows the command's words.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}{stderr}",
        String::from_utf8_lossy(&output.stdout),
    );
    stderr
}
