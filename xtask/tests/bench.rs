//! What `cargo xtask bench` offers.

use assert_cmd::Command;

#[test]
fn the_help_teaches() {
    let help = Command::cargo_bin("xtask")
        .unwrap()
        .args(["bench", "--help"])
        .output()
        .unwrap();
    assert!(help.status.success());
    insta::assert_snapshot!("bench_help", String::from_utf8_lossy(&help.stdout));
}
