//! A new pin from a tag or a commit, with what still applies of the nearest series.

mod common;

use std::{fs, path::Path};

use common::Checkout;
use miniature::{change_line, copy_folder, numbered_lines, told};
use patch_series::{Added, Checks, Fate};
use pins::{Pin, Series};
use toolchain::{Result, add::Origin, error::Kind};

/// A checkout whose pin 1.2.3 has a series of three fixes, and `next/`, the MLX to pin.
fn checkout() -> Checkout {
    let checkout = Checkout::new();
    for (name, line) in [("low", 4), ("middle", 10), ("high", 16)] {
        checkout.add_patch(name, "fix", &change_line(line, name));
        let file = checkout.path(&format!("patches/1.2.3/{name}.patch"));
        let text = fs::read_to_string(&file).unwrap();
        let proof = format!("X-Verdicts: hang -> pass: --op recv --bytes {line}\n---\n");
        fs::write(file, text.replacen("---\n", &proof, 1)).unwrap();
    }
    checkout.fetch_origin();
    copy_folder(&checkout.path("origin"), &checkout.path("next"));
    checkout
}

/// Has `next/` change a line of the patched file.
fn upstream_changes(checkout: &Checkout, line: usize, to: &str) {
    let file = checkout.path("next/mlx/array.cpp");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, text.replace(&format!("line {line}\n"), to)).unwrap();
}

fn add(checkout: &Checkout, name: &str, from: &str) -> Result<Added> {
    let from = match from {
        "upstream" => Origin::Upstream,
        path => Origin::Path(checkout.path(path)),
    };
    checkout.toolchain.add_pin(name, &from)
}

fn fates(added: &Added) -> Vec<(&str, &Fate)> {
    let patches = added.patches.iter();
    patches.map(|it| (it.patch.as_str(), &it.fate)).collect()
}

/// What is below `patches/`.
fn pins(checkout: &Checkout) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(checkout.path("patches"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn patches_are_taken_rebased_or_left_out_and_the_trees_recorded() {
    let checkout = checkout();
    upstream_changes(&checkout, 4, "low\n");
    // A neighbour of a change: git refuses the patch and merges it.
    upstream_changes(&checkout, 8, "another line 8\n");
    upstream_changes(&checkout, 1, "line 0\nline 1\n");
    let added = add(&checkout, "v1.3.0", "next").unwrap();
    assert_eq!((&*added.mlx, &*added.from), ("1.3.0", "1.2.3"));
    assert_eq!(
        fates(&added),
        [
            ("low", &Fate::Upstream),
            ("middle", &Fate::Rebased),
            ("high", &Fate::Applies),
        ]
    );
    assert!(added.recorded && !added.has_conflict());
    let check = &added.patches[0].checks[0];
    assert!(check.command.contains("--mlx 1.3.0"), "{}", check.command);

    let pin = checkout.toolchain.pin("1.3.0").unwrap();
    assert_eq!((pin.mlx.tree, &*pin.tag), (added.tree, "v1.3.0"));
    assert_eq!(pin.mlx_c.tree, checkout.pin().mlx_c.tree);
    assert_eq!(pin.recorded.revision, 1);
    let series = fs::read_to_string(pin.folder.join("series")).unwrap();
    assert_eq!(series, "middle.patch\nhigh.patch\n");
    let patched = checkout.toolchain.series().patch(&pin, Series::Patched);
    let file = patched.unwrap().path.join("mlx/array.cpp");
    let text = fs::read_to_string(file).unwrap();
    for line in ["low\n", "another line 8\n", "middle\n", "high\n"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let stock = checkout.toolchain.series().patch(&pin, Series::Stock);
    assert_eq!(stock.unwrap().tree, pin.mlx.tree);
    // What is made is as an export writes it.
    let problems = checkout.toolchain.series().lint_patches(&pin, Checks::FORM);
    let forms = problems.unwrap().into_iter();
    let forms: Vec<_> = forms.filter(|it| it.field.is_none()).collect();
    assert!(forms.is_empty(), "{forms:?}");
}

#[test]
fn a_patch_that_conflicts_waits_in_the_series_for_a_person() {
    let checkout = checkout();
    upstream_changes(&checkout, 16, "otherwise\n");
    let added = add(&checkout, "v1.3.0", "next").unwrap();
    let hunks = vec!["mlx/array.cpp:14".to_owned()];
    assert_eq!(added.patches[2].fate, Fate::Conflicts { hunks });
    assert!(added.has_conflict() && !added.recorded);
    let pin = checkout.toolchain.pin("1.3.0").unwrap();
    let series = fs::read_to_string(pin.folder.join("series")).unwrap();
    assert_eq!(series, "low.patch\nmiddle.patch\nhigh.patch\n");

    // As the report says: by hand in the working copy, then taken in.
    let (workshop, copy) = (checkout.toolchain.series(), checkout.path("copy"));
    let editable = workshop.edit_patches(&pin, &copy).unwrap();
    assert_eq!(editable.pending[0].0, "high");
    let file = copy.join("mlx/array.cpp");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("otherwise\n", "high\n")).unwrap();
    workshop.refresh_patch(&pin, "high", &copy).unwrap();
    let pin = checkout.toolchain.pin("1.3.0").unwrap();
    assert_eq!(pin.recorded.revision, 1);
    workshop.patch(&pin, Series::Patched).unwrap();
}

#[test]
fn the_series_with_the_fewest_conflicts_is_taken_and_an_unfinished_one_is_not() {
    let checkout = checkout();
    upstream_changes(&checkout, 16, "otherwise\n");
    add(&checkout, "v1.3.0", "next").unwrap();
    // Nearer to 1.3.1 than 1.2.3 is, and it does not apply to its own MLX yet.
    let text = fs::read_to_string(checkout.path("next/mlx/array.cpp")).unwrap();
    checkout.write(
        "next/mlx/array.cpp",
        &text.replace("otherwise\n", "line 16\n"),
    );
    let added = add(&checkout, "v1.3.1", "next").unwrap();
    assert_eq!((&*added.from, added.has_conflict()), ("1.2.3", false));

    // 1.3.1 is nearer to 1.3.2 than 1.3.0, which does without the patch that conflicts.
    let pin = checkout.toolchain.pin("1.3.0").unwrap();
    let workshop = checkout.toolchain.series();
    workshop.drop_patches(&pin, &["high".into()]).unwrap();
    checkout.write("next/mlx/array.cpp", &text.replace("line 10\n", "10\n"));
    let added = add(&checkout, "v1.3.2", "next").unwrap();
    assert!(added.has_conflict());
    assert_eq!(added.from, "1.3.0", "{:?}", fates(&added));
}

#[test]
fn a_patch_that_says_upstream_has_it_is_left_out() {
    let checkout = checkout();
    let file = checkout.path("patches/1.2.3/high.patch");
    let text = fs::read_to_string(&file).unwrap();
    let claim = "Applied-Upstream: 1.3.0, https://example.org/1";
    fs::write(&file, text.replace("Applied-Upstream: no", claim)).unwrap();
    let added = add(&checkout, "v1.3.0", "next").unwrap();
    assert_eq!(added.patches[2].fate, Fate::SaysUpstream);
    assert!(!checkout.path("patches/1.3.0/high.patch").exists());
}

/// Makes `next/` a repository with a tag, and gives its commit.
fn publish_next(checkout: &Checkout) -> String {
    let version = "#define MLX_VERSION_MAJOR 1\n#define MLX_VERSION_MINOR 3\n\
                   #define MLX_VERSION_PATCH 0\n";
    checkout.write("next/mlx/version.h", version);
    let commit = checkout.sh("cd next && git init --quiet && git add --all \
         && git -c user.name=t -c user.email=t@t commit --quiet --message next \
         && git tag v1.3.0 && git rev-parse HEAD");
    commit.trim().to_owned()
}

/// Names `next/` in the file of pin 1.2.3 as the repository of MLX.
fn name_upstream(checkout: &Checkout) -> String {
    let url = format!("file://{}", checkout.path("next").display());
    let file = checkout.path("patches/1.2.3/pin.toml");
    let text = fs::read_to_string(&file).unwrap();
    let upstream = format!("[mlx.upstream]\ngit = \"{url}\"\nrevision = \"v1.2.3\"\n[mlx-c]");
    fs::write(&file, text.replace("[mlx-c]", &upstream)).unwrap();
    url
}

#[test]
fn upstream_a_clone_and_an_archive_give_the_same_pin() {
    let checkout = checkout();
    let commit = publish_next(&checkout);
    let url = name_upstream(&checkout);
    // What lies around in a clone is no part of the tag.
    checkout.write("next/build/stray.o", "");
    checkout.sh("git -C next archive --prefix=mlx-1.3.0/ --output=../next.tar.gz v1.3.0");
    let mut trees = Vec::new();
    for (name, from) in [
        ("v1.3.0", "upstream"),
        ("1.3.0", "next"),
        (&*commit, "upstream"),
        (&*commit, "next"),
        ("v1.3.0", "next.tar.gz"),
    ] {
        let added = add(&checkout, name, from).unwrap_or_else(|e| panic!("{name} {from}: {e}"));
        let pin = checkout.toolchain.pin("1.3.0").unwrap();
        let upstream = pin.mlx.upstream.unwrap();
        assert_eq!(upstream.git, url);
        let revision = match from {
            "next.tar.gz" => "v1.3.0",
            _ => &*commit,
        };
        assert_eq!(upstream.revision, revision, "{name} {from}");
        trees.push(added.tree);
        fs::remove_dir_all(added.folder).unwrap();
    }
    trees.dedup();
    assert_eq!(trees.len(), 1, "{trees:?}");
}

#[test]
fn what_cannot_be_pinned_is_refused_and_leaves_nothing() {
    let checkout = checkout();
    let commit = publish_next(&checkout);
    checkout.sh("cp -r next other && rm -rf other/.git && mkdir empty");
    checkout.write("mlx.7z", "");
    let refused = |name: &str, from: &str| {
        let error = add(&checkout, name, from).unwrap_err();
        assert_eq!(error.kind(), Kind::Input, "{name} {from}: {error}");
        assert_eq!(pins(&checkout), ["1.2.3"], "{name} {from}");
        told(&error, error.help())
    };
    assert!(refused("v1.3.0", "upstream").contains("--from PATH"));
    name_upstream(&checkout);
    let nobody = "0".repeat(39) + "1";
    for (name, from, named) in [
        ("v9.9.9", "upstream", "v9.9.9: is not in file://"),
        (&*nobody, "upstream", &*nobody),
        ("v9.9.9", "next", "v9.9.9: is not in /"),
        ("v1.3.0rc1", "upstream", "is no release of MLX"),
        ("main", "upstream", "is no release of MLX"),
        (&commit[..12], "upstream", "all 40 digits"),
        ("v1.2.3", "next", "1.2.3: is there already"),
        ("v1.4.0", "other", "is MLX 1.3.0, not v1.4.0"),
        ("v1.3.0", "empty", "is no MLX"),
        ("v1.3.0", "nowhere", "nothing is there"),
        ("v1.3.0", "mlx.7z", ".tar.gz"),
        (&*commit, "origin", "mlx/version.h"),
    ] {
        let message = refused(name, from);
        assert!(message.contains(named), "{named:?} is not in {message}");
    }
    // Offline, no other machine is asked.
    let file = checkout.path("patches/1.2.3/pin.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("file://", "https://")).unwrap();
    let offline = checkout.toolchain.clone().offline(true);
    let error = offline.add_pin("v1.3.0", &Origin::Upstream).unwrap_err();
    assert!(error.to_string().contains("--offline"), "{error}");
}

#[test]
fn what_a_killed_process_left_is_no_pin_and_in_nobodys_way() {
    let checkout = checkout();
    let left = Path::new("patches/.adding-1.3.0");
    checkout.write(left.join("pin.toml").to_str().unwrap(), "half");
    assert_eq!(Pin::versions(&checkout.path("patches")).unwrap(), ["1.2.3"]);
    add(&checkout, "v1.3.0", "next").unwrap();
    assert_eq!(pins(&checkout), ["1.2.3", "1.3.0"]);
    let text = fs::read_to_string(checkout.path("next/mlx/array.cpp")).unwrap();
    assert_eq!(text, numbered_lines(), "the sources were changed");
}
