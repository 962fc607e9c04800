//! What is pasted for wheels of ours, and what becomes of a pyproject.toml.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use miniature::write_wheel;
use serde_json::json;
use tempfile::TempDir;
use wheel::{
    Wheel,
    overlay::{Label, Overlay, rails_version},
    snippet::{Applied, Deed, Pinned, Pyproject, Snippet, SnippetError, Tool},
};

const MAC: &str = "mlx_metal-0.32.0-py3-none-macosx_26_0_arm64.whl";
const LINUX: &str = "mlx_cpu-0.32.0-py3-none-manylinux_2_35_x86_64.whl";
const ARM: &str = "mlx_cpu-0.32.0-py3-none-manylinux_2_35_aarch64.whl";
/// As exo's own build names it.
const EXO: &str = "mlx-0.32.0.dev20260506+cc3f3e60-cp313-cp313-macosx_26_0_arm64.whl";

/// A wheel of ours, made of one of `name`.
fn ours(folder: &Path, name: &str, revision: u32) -> PathBuf {
    let base = write_wheel(folder, name, &[("mlx/lib/libjaccl.dylib", "official")], &[]);
    let mut base = Wheel::open(&base).expect("a wheel");
    let manifest = json!({
        "schema": "mlx-rails/wheel/2", "mlx": "0.32.0", "series": "patched",
        "revision": revision, "patched_tree": "d210627253581f150a106253697f82f1d8a751cc",
        "patches": [
            ["jaccl-on-linux", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
            ["no-wires", "f6664acaff520bea7840bfe0dc4c1da9240dfcbf3d6e91a57e51da0bf5b347c2"],
        ],
    });
    let overlay = Overlay {
        version: rails_version(&base.name().version, Label::Rails, revision),
        tag: base.name().tag.clone(),
        files: BTreeMap::from([("mlx/lib/libjaccl.dylib".to_owned(), b"patched".to_vec())]),
        manifest: manifest.to_string().into_bytes(),
    };
    let path = folder.join(overlay.name(base.name()).to_string());
    let file = File::create(&path).expect("created");
    overlay.write(&mut base, file, &path).expect("written");
    path
}

struct Made {
    folder: TempDir,
    snippet: Snippet,
}

/// A snippet of our wheels of these names.
fn made(names: &[&str], revision: u32, prefix: Option<&str>) -> Made {
    let folder = TempDir::new().expect("a folder");
    let wheels = names.iter().map(|name| {
        let path = ours(folder.path(), name, revision);
        Pinned::open(&path).expect("one of ours")
    });
    let snippet = Snippet::new(wheels.collect(), prefix).expect("of one MLX");
    Made { folder, snippet }
}

impl Made {
    fn text(&self, tool: Tool) -> String {
        let text = self.snippet.text(tool).expect("a snippet");
        text.replace(&self.folder.path().display().to_string(), "/wheels")
    }

    /// What becomes of a file, beside the wheels.
    fn applied(&self, tool: Tool, text: &str) -> Applied {
        let folder = self.folder.path().canonicalize().expect("there");
        let path = folder.join("pyproject.toml");
        let applied = Pyproject::of(&path, text).with(&self.snippet, tool);
        let applied = applied.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let again = Pyproject::of(&path, &applied.text).with(&self.snippet, tool);
        let again = again.expect("what it made is read again");
        assert_eq!(again.changes, [], "a second time changes nothing");
        assert_eq!(again.text, applied.text);
        applied
    }

    fn refused(&self, tool: Tool, text: &str) -> SnippetError {
        let file = Pyproject::of(Path::new("pyproject.toml"), text);
        file.with(&self.snippet, tool).expect_err("refused")
    }
}

#[test]
fn each_tool_gets_what_it_reads() {
    let here = made(&[MAC, ARM, LINUX], 1, None);
    insta::assert_snapshot!("uv", here.text(Tool::Uv));
    insta::assert_snapshot!("pip", here.text(Tool::Pip));
    insta::assert_snapshot!("nix", here.text(Tool::Nix));
    insta::assert_snapshot!("exo", made(&[EXO], 1, None).text(Tool::Exo));
    let prefix = Some("https://example.org/wheels/");
    let there = made(&[MAC, LINUX], 1, prefix);
    insta::assert_snapshot!("uv-url", there.text(Tool::Uv));
    insta::assert_snapshot!("pip-url", there.text(Tool::Pip));
    insta::assert_snapshot!("nix-url", there.text(Tool::Nix));
}

/// Some lines of one that exo has.
const PYPROJECT: &str = r#"[project]
name = "exo"  # ours
dependencies = [
  "mlx==0.32.0; sys_platform == 'darwin'",
    "mlx[cpu]==0.32.0; sys_platform == 'linux'",
]

[tool.uv]
required-version = ">=0.8.6"

# Where MLX comes from.
[tool.uv.sources]
exo_pyo3_bindings = { workspace = true }
mlx = [
    { git = "https://github.com/rltakashige/mlx.git", branch = "address-rdma", marker = "sys_platform == 'darwin'" }, # a fork
    { url = "https://example.org/mlx-0.30.whl", marker = "sys_platform == 'linux'" },
]
mlx-lm = { git = "https://example.org/mlx-lm", branch = "main" }

[tool.ruff]
lint.ignore = ["E501"]
"#;

#[test]
fn in_exo_s_project_one_source_is_replaced() {
    let made = made(&[EXO], 1, None);
    let applied = made.applied(Tool::Exo, PYPROJECT);
    let git = r#"{ git = "https://github.com/rltakashige/mlx.git", branch = "address-rdma", marker = "sys_platform == 'darwin'" }"#;
    let path = r#"{ path = "mlx-0.32.0.dev20260506+cc3f3e60.rails.1-cp313-cp313-macosx_26_0_arm64.whl", marker = "sys_platform == 'darwin'" }"#;
    assert_eq!(applied.text, PYPROJECT.replace(git, path));
    let [change] = &applied.changes[..] else {
        panic!("{:?}", applied.changes)
    };
    assert_eq!(change.key, "tool.uv.sources.mlx");
    assert_eq!(change.deed, Deed::Replaced);
    assert_eq!(change.before.as_deref(), Some(git));

    // The next one takes the place of this one.
    let next = self::made(&[EXO], 2, None);
    let text = next.applied(Tool::Exo, &applied.text).text;
    assert_eq!(text, applied.text.replace("rails.1", "rails.2"));
}

#[test]
fn in_another_project_sources_and_constraints_are_added() {
    let made = made(&[MAC, LINUX], 1, None);
    let applied = made.applied(Tool::Uv, PYPROJECT);
    let constraints = "required-version = \">=0.8.6\"\n\
        constraint-dependencies = [\n    \
        \"mlx-cpu==0.32.0+rails.1 ; sys_platform == 'linux' and platform_machine == 'x86_64'\",\n    \
        \"mlx-metal==0.32.0+rails.1 ; sys_platform == 'darwin'\",\n]\n";
    let sources = "branch = \"main\" }\n\
        mlx-cpu = { path = \"mlx_cpu-0.32.0+rails.1-py3-none-manylinux_2_35_x86_64.whl\", marker = \"sys_platform == 'linux' and platform_machine == 'x86_64'\" }\n\
        mlx-metal = { path = \"mlx_metal-0.32.0+rails.1-py3-none-macosx_26_0_arm64.whl\", marker = \"sys_platform == 'darwin'\" }\n";
    let wanted = PYPROJECT
        .replace("required-version = \">=0.8.6\"\n", constraints)
        .replace("branch = \"main\" }\n", sources);
    assert_eq!(applied.text, wanted);
    assert!(applied.changes.iter().all(|it| it.deed == Deed::Added));

    let next = self::made(&[MAC, LINUX], 2, None);
    let text = next.applied(Tool::Uv, &applied.text).text;
    assert_eq!(text, wanted.replace("rails.1", "rails.2"));
}

#[test]
fn a_project_without_a_word_of_uv_gets_the_tables() {
    let text = "[project]\nname = \"p\"\n\n[tool.ruff]\nline-length = 100\n\n# The end.\n";
    let applied = made(&[MAC], 1, None).applied(Tool::Uv, text);
    let (head, end) = text.split_at(text.find("\n# The end").expect("there"));
    assert!(applied.text.starts_with(head), "{}", applied.text);
    assert!(applied.text.ends_with(end), "{}", applied.text);
    for part in [
        "\n[tool.uv]\nconstraint-dependencies = [\n",
        "]\n\n[tool.uv.sources]\nmlx-metal = { path",
    ] {
        assert!(applied.text.contains(part), "{part}\n{}", applied.text);
    }
}

/// Comments stay with what they are about, and lists stay as they are laid out.
#[test]
fn every_other_byte_stays() {
    let made = made(&[MAC], 1, None);
    let constraint = "\"mlx-metal==0.32.0+rails.1 ; sys_platform == 'darwin'\"";
    let source = "mlx-metal = { path = \"mlx_metal-0.32.0+rails.1-py3-none-macosx_26_0_arm64.whl\", marker = \"sys_platform == 'darwin'\" }";
    for (before, after) in [
        ("[\"a<1\"]", "[\"a<1\", NEW]"),
        ("[ \"a<1\", ]", "[ \"a<1\", NEW, ]"),
        ("[\n  \"a<1\", # why\n]", "[\n  \"a<1\", # why\n  NEW,\n]"),
        ("[\n\t\"a<1\"\n]", "[\n\t\"a<1\",\n\tNEW\n]"),
        ("[\n  \"a<1\" # why\n  ]", "[\n  \"a<1\", # why\n  NEW\n  ]"),
        (
            "[\n  \"mlx-metal<1\",\n]",
            "[\n  \"mlx-metal<1\",\n  NEW,\n]",
        ),
        (
            "[\n  'mlx_metal==0.31.2+rails.3;sys_platform==\"darwin\"', # ours\n  \"b\",\n]",
            "[\n  NEW, # ours\n  \"b\",\n]",
        ),
        (
            "[\"mlx-metal @ https://x/mlx_metal-0.31.2%2Brails.3-py3-none-any.whl#sha256=00 ; sys_platform == 'darwin'\"]",
            "[NEW]",
        ),
    ] {
        for end in ["\n", "\r\n"] {
            for (mark, last) in [("", end), ("\u{feff}", "")] {
                let text = |list: &str, source: &str| {
                    let text = format!(
                        "[tool.uv]  # uv\nconstraint-dependencies = {list} # kept\n\n\n[tool.uv.sources] \n{source}# of x\nx = {{path='y'}}\n{}z = 1",
                        "text = \"\"\"\n  line \n\"\"\"\n"
                    );
                    format!("{mark}{}{last}", text.replace('\n', end))
                };
                let old = text(before, &format!("{source} # mine\n"));
                let new = text(
                    &after.replace("NEW", constraint),
                    &format!("{source} # mine\n"),
                );
                assert_eq!(made.applied(Tool::Uv, &old).text, new);
            }
        }
    }
}

/// A file whose lines end in two ways keeps each.
#[test]
fn ends_of_lines_stay_line_by_line() {
    let text =
        "[project]\r\nname = 'p'\n\n[tool.uv.sources]\nx = 1\r\ny = 2\n[tool.z]\r\na = 1\r\na2 = 1";
    let applied = made(&[MAC], 1, None).applied(Tool::Uv, text);
    let old: Vec<&str> = text.split_inclusive('\n').collect();
    let mut new = applied.text.split_inclusive('\n');
    for line in &old {
        assert!(new.any(|it| it == *line), "{line:?} in {:?}", applied.text);
    }
    assert_eq!(new.next(), None);
}

#[test]
fn a_source_for_more_machines_stays_for_the_others() {
    let made = made(&[LINUX], 1, None);
    let applied = |source: &str| {
        let text = format!("[tool.uv.sources]\n{source}\n");
        let applied = made.applied(Tool::Uv, &text);
        assert!(applied.changes.iter().any(|it| it.deed == Deed::Narrowed));
        applied.text
    };
    let ours = "path = \"mlx_cpu-0.32.0+rails.1-py3-none-manylinux_2_35_x86_64.whl\", marker = \"sys_platform == 'linux' and platform_machine == 'x86_64'\" }";
    let text = applied("mlx-cpu = { git = \"https://x\" } # why");
    let list = format!(
        "mlx-cpu = [\n    {{ git = \"https://x\", marker = \"sys_platform != 'linux' or platform_machine != 'x86_64'\" }},\n    {{ {ours},\n] # why\n"
    );
    assert!(text.ends_with(&list), "{text}");
    for source in [
        "MLX_cpu = [{ git = \"https://x\", marker = \"sys_platform == 'linux'\" }]",
        "[[tool.uv.sources.mlx-cpu]]\ngit = \"https://x\"\nmarker = \"sys_platform == 'linux'\"",
        "[tool.uv.sources.mlx-cpu]\ngit = \"https://x\"\nmarker = \"sys_platform == 'linux'\"",
        "mlx-cpu.git = \"https://x\"\nmlx-cpu.marker = \"sys_platform == 'linux'\"",
    ] {
        let text = applied(source);
        let rest = "marker = \"sys_platform == 'linux' and platform_machine != 'x86_64'\" }";
        assert!(text.contains(rest) && text.contains(ours), "{text}");
    }
}

#[test]
fn sources_split_by_python_are_replaced_by_the_one() {
    let text = "[tool.uv.sources]\nmlx-metal = [\n  { url = 'a', marker = \"sys_platform == 'darwin' and python_version < '3.13'\" },\n  { url = 'b', marker = \"sys_platform == 'linux'\" },\n  { url = 'c', marker = \"sys_platform == 'darwin' and python_version >= '3.13'\" },\n]\n";
    let applied = made(&[MAC], 1, None).applied(Tool::Uv, text);
    assert!(applied.text.contains("url = 'b'"), "{}", applied.text);
    for gone in ["'a'", "'c'"] {
        assert!(!applied.text.contains(gone), "{}", applied.text);
    }
    assert_eq!(applied.text.matches("rails.1").count(), 2);
}

#[test]
fn a_file_that_is_none_is_refused_with_the_place() {
    let made = made(&[MAC], 1, None);
    for (text, place) in [
        ("[project\nname = 'p'\n", "pyproject.toml:1:9: is no TOML"),
        ("[project]\r\nname = 'p'\r\na = \r\n", "pyproject.toml:3:"),
        (
            "[project]\n[tool.uv]\nsources = 3\n",
            "pyproject.toml:3:11: tool.uv.sources is no table",
        ),
        (
            "[project]\n[tool.uv]\nconstraint-dependencies = [\"a\", 1]\n",
            "pyproject.toml:3:27: tool.uv.constraint-dependencies is no list of strings",
        ),
        (
            "[tool.uv.sources]\nmlx-metal = \"x\"\n",
            "pyproject.toml:2:13: tool.uv.sources.mlx-metal is neither",
        ),
        (
            "[package]\nname = 'p'\n",
            "has neither [project] nor [tool.uv]",
        ),
    ] {
        let error = made.refused(Tool::Uv, text);
        assert!(error.is_input() && error.help().is_some());
        let error = error.to_string();
        assert!(error.contains(place), "{error}");
        assert!(error.contains("nothing was written"), "{error}");
    }
    for tool in [Tool::Pip, Tool::Nix, Tool::Exo] {
        assert!(made.refused(tool, PYPROJECT).is_input());
    }
}

#[test]
fn wheels_that_do_not_serve_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("written");
        path
    };
    let open = |path: &Path| Pinned::open(path).expect_err("refused").to_string();
    assert!(open(&file(MAC, b"PK")).contains("damaged"));
    assert!(open(&file("README.md", b"")).contains("not named like a wheel"));
    assert!(open(Path::new("/none/x-1-py3-none-any.whl")).contains("cannot open"));
    let official = write_wheel(folder.path(), MAC, &[], &[]);
    assert!(open(&official).contains("is not one of ours"));
    let other = "mlx_metal-0.32.0-py3-none-win_amd64.whl";
    assert!(open(&ours(folder.path(), other, 1)).contains("win_amd64"));

    let of = |name, revision| {
        let sub = folder.path().join(format!("r{revision}"));
        fs::create_dir_all(&sub).expect("made");
        Pinned::open(&ours(&sub, name, revision)).expect("one of ours")
    };
    let refused = |wheels| Snippet::new(wheels, None).expect_err("refused").to_string();
    let twice = refused(vec![of(MAC, 1), of(LINUX, 1), of(MAC, 2)]);
    assert!(twice.contains("are mlx-metal for macOS"), "{twice}");
    let mixed = refused(vec![of(MAC, 1), of(LINUX, 2)]);
    assert!(mixed.contains("same sources"), "{mixed}");
    assert!(refused(Vec::new()).contains("no wheel"));
    let prefix = Snippet::new(vec![of(MAC, 1)], Some("wheels"));
    assert!(
        prefix
            .expect_err("refused")
            .to_string()
            .contains("\"wheels\"")
    );
}

#[test]
fn a_file_is_replaced_by_rename_and_keeps_its_rights() {
    use std::os::unix::fs::PermissionsExt;
    let made = made(&[MAC], 1, None);
    let (real, link) = (
        made.folder.path().join("real.toml"),
        made.folder.path().join("pyproject.toml"),
    );
    fs::write(&real, PYPROJECT).expect("written");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("set");
    std::os::unix::fs::symlink(&real, &link).expect("linked");
    let file = Pyproject::read(&link).expect("read");
    let applied = file.with(&made.snippet, Tool::Uv).expect("applied");
    file.write(&applied.text).expect("written");
    assert!(link.is_symlink(), "the link stays one");
    assert_eq!(fs::read_to_string(&real).expect("there"), applied.text);
    let mode = fs::metadata(&real).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);

    fs::write(&real, b"[project]\nname = \"\xff\"\n").expect("written");
    let error = Pyproject::read(&link).expect_err("no text").to_string();
    assert!(error.contains("real.toml:2:9"), "{error}");
}
