//! What becomes of a series on another MLX.

mod common;

use std::fs;

use common::Checkout;
use miniature::{change_line, numbered_lines, told};
use patch_series::{Kind, State, Trial};

/// Pin 1.2.3 with a series of three, and pin 1.3.0 of the same sources without.
fn two_pins() -> Checkout {
    let checkout = Checkout::new();
    for (name, line) in [("low", 4), ("middle", 10), ("high", 16)] {
        checkout.add_patch(name, "fix", &change_line(line, name));
        let file = checkout.path(&format!("patches/1.2.3/{name}.patch"));
        let text = fs::read_to_string(&file).unwrap();
        let proof =
            format!("X-Verdicts: hang -> pass: --op recv --direction 0->1 --bytes {line}\n---\n");
        fs::write(file, text.replacen("---\n", &proof, 1)).unwrap();
    }
    miniature::copy_folder(
        &checkout.path("patches/1.2.3"),
        &checkout.path("patches/1.3.0"),
    );
    fs::remove_file(checkout.path("patches/1.3.0/series")).unwrap();
    checkout
}

fn states(trial: &Trial) -> Vec<(&str, &State)> {
    let patches = trial.patches.iter();
    patches
        .map(|tried| (tried.patch.as_str(), &tried.state))
        .collect()
}

#[test]
fn a_pin_without_a_series_is_tried_with_the_nearest() {
    let checkout = two_pins();
    let trial = checkout.workshop.try_series("1.3.0", None).unwrap();
    assert_eq!(
        (trial.mlx.as_str(), trial.from.as_str()),
        ("1.3.0", "1.2.3")
    );
    assert!(!trial.has_conflict());
    let all = ["low", "middle", "high"].map(|name| (name, &State::Applies));
    assert_eq!(states(&trial), all);
    let check = &trial.patches[1].checks[0];
    assert_eq!(check.defect, "hang");
    assert_eq!(
        check.command,
        "cargo xtask verify --mlx 1.3.0 --series stock --op recv --direction '0->1' --bytes 10"
    );
}

#[test]
fn a_tree_shows_what_upstream_has_and_what_conflicts() {
    let checkout = two_pins();
    let text = numbered_lines()
        .replace("line 4\n", "low\n")
        .replace("line 16\n", "otherwise\n");
    checkout.write("new/mlx/array.cpp", &text);
    let tree = checkout.path("new");
    // No pin of that name is needed.
    let try_it = || checkout.workshop.try_series("1.4.0", Some(&tree)).unwrap();
    let trial = try_it();
    let hunks = vec!["mlx/array.cpp:14".to_owned()];
    assert_eq!(
        states(&trial),
        [
            ("low", &State::AlreadyUpstream),
            ("middle", &State::Applies),
            ("high", &State::Conflicts { hunks }),
        ]
    );
    assert!(trial.has_conflict());

    // Upstream mended it in another way, and the patch says so.
    let file = checkout.path("patches/1.2.3/high.patch");
    let claim = |version: &str| {
        let text = fs::read_to_string(&file).unwrap();
        let from = text
            .lines()
            .find(|l| l.starts_with("Applied-Upstream"))
            .unwrap();
        let to = format!("Applied-Upstream: {version}, https://example.org");
        fs::write(&file, text.replace(from, &to)).unwrap();
    };
    claim("1.5.0");
    assert!(try_it().has_conflict());
    claim("1.3.9");
    assert_eq!(try_it().patches[2].state, State::AlreadyUpstream);
}

#[test]
fn the_nearest_series_is_that_of_the_next_version_with_patches() {
    let checkout = two_pins();
    let patches = checkout.path("patches");
    for version in ["1.0.9", "1.2.9", "2.0.0"] {
        miniature::copy_folder(&patches.join("1.2.3"), &patches.join(version));
    }
    let tree = checkout.path("origin");
    let from = |version: &str| {
        let trial = checkout.workshop.try_series(version, Some(&tree));
        trial.unwrap().from
    };
    for (version, nearest) in [
        ("1.3.0", "1.2.3"),
        ("1.2.7", "1.2.9"),
        ("1.2.6", "1.2.3"),
        ("1.2.3", "1.2.3"),
        ("1.0.0", "1.0.9"),
        ("3.1.0", "2.0.0"),
    ] {
        assert_eq!(from(version), nearest, "for {version}");
    }
    let another = checkout.workshop.try_series("1.2.3", None).unwrap();
    assert_eq!(another.from, "1.2.9");
}

#[test]
fn a_build_before_a_release_is_no_release() {
    let checkout = two_pins();
    let tree = checkout.path("origin");
    let refused = |version: &str| {
        let outcome = checkout.workshop.try_series(version, Some(&tree));
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        error.to_string()
    };
    assert!(refused("1.3.0rc1").contains("1.3.0rc1"));
    assert!(refused("nightly").contains("nightly"));

    miniature::copy_folder(
        &checkout.path("patches/1.2.3"),
        &checkout.path("patches/1.4.0rc1"),
    );
    let error = checkout.workshop.pin("1.2.3").unwrap_err();
    assert!(error.to_string().contains("1.4.0rc1"), "{error}");
}

#[test]
fn without_a_pin_or_a_series_there_is_nothing_to_try() {
    let checkout = two_pins();
    let message = |version| {
        let outcome = checkout.workshop.try_series(version, None);
        let error = outcome.unwrap_err();
        told(&error, error.help())
    };
    assert!(
        message("1.4.0").contains("1.2.3, 1.3.0"),
        "{}",
        message("1.4.0")
    );
    fs::remove_file(checkout.path("patches/1.2.3/series")).unwrap();
    assert!(
        message("1.3.0").contains("patch new"),
        "{}",
        message("1.3.0")
    );
}
