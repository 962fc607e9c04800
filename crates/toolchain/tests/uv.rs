//! What `cargo xtask pin snippet` writes, read by the real uv and by pip: the library of our
//! wheel is the one that Python finds. Wheels of a few files stand for MLX's, and no index
//! is asked: what is fetched by address comes from this test.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use miniature::write_wheel;
use tempfile::TempDir;
use toolchain::Toolchain;
use wheel::{
    Wheel,
    overlay::{Label, Overlay, rails_version},
    snippet::{Pinned, Pyproject, Snippet, Tool},
};

/// The file that tells which wheel was installed.
const LIBRARY: &str = "mlx/lib/libmlx.so";
/// A front that gives what that file says.
const CORE: &str = "import pathlib
library = (pathlib.Path(__file__).parent / 'lib/libmlx.so').read_text()
";

/// A project that uses MLX, wheels beside it, and a uv with a cache of its own.
struct Bench {
    root: TempDir,
    uv: PathBuf,
}

impl Bench {
    /// With the wheels of two releases of MLX, split as upstream splits them.
    fn new() -> Self {
        let uv = Toolchain::open().unwrap().uv();
        let uv = uv.unwrap_or_else(|error| panic!("{error}"));
        let root = TempDir::new().unwrap();
        for folder in ["index", "ours", "project"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let bench = Bench { root, uv };
        let index = bench.path("index");
        for version in ["0.32.0", "0.32.1"] {
            let requires = [
                format!("Requires-Dist: mlx-metal=={version} ; platform_system == 'Darwin'"),
                "Provides-Extra: cpu".into(),
                format!(
                    "Requires-Dist: mlx-cpu=={version} ; platform_system == 'Linux' and extra == 'cpu'"
                ),
            ];
            let requires = requires.each_ref().map(String::as_str);
            for platform in [&linux(), MAC] {
                let name = format!("mlx-{version}-py3-none-{platform}.whl");
                write_wheel(&index, &name, &[("mlx/core.py", CORE)], &requires);
            }
            for (name, platform) in [("mlx_cpu", &*linux()), ("mlx_metal", MAC)] {
                let name = format!("{name}-{version}-py3-none-{platform}.whl");
                write_wheel(&index, &name, &[(LIBRARY, "official")], &[]);
            }
        }
        let requires = [
            "Requires-Dist: mlx>=0.30 ; platform_system == 'Darwin'",
            "Requires-Dist: mlx[cpu]>=0.30 ; platform_system == 'Linux'",
        ];
        write_wheel(&index, "mlx_lm-0.31.3-py3-none-any.whl", &[], &requires);
        bench
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// A pyproject.toml in the manner of exo's.
    fn write_project(&self, mlx: &str, of_uv: &str) {
        let text = format!(
            "[project]
name = \"exo\"
version = \"0.3.0\"
requires-python = \">=3.10\"
dependencies = [
  \"mlx=={mlx}; sys_platform == 'darwin'\",
  \"mlx[cpu]=={mlx}; sys_platform == 'linux'\",
  \"mlx-lm==0.31.3\",
]

# How uv finds them.
[tool.uv.sources]
mlx-lm = {{ path = \"../index/mlx_lm-0.31.3-py3-none-any.whl\" }}
{of_uv}"
        );
        fs::write(self.path("project/pyproject.toml"), text).unwrap();
    }

    /// Puts a library of ours into a wheel of `folder`, and gives the new one.
    fn replaced(&self, base: &str) -> Pinned {
        let mut base = Wheel::open(&self.path(base)).unwrap();
        let overlay = Overlay {
            version: rails_version(&base.name().version, Label::Rails, 1),
            tag: base.name().tag.clone(),
            files: BTreeMap::from([(LIBRARY.to_owned(), b"patched".to_vec())]),
            manifest: br#"{"mlx": "0.32.0", "series": "patched", "revision": 1,
                "patched_tree": "d210627253581f150a106253697f82f1d8a751cc", "patches": []}"#
                .to_vec(),
        };
        let path = self
            .path("ours")
            .join(overlay.name(base.name()).to_string());
        overlay
            .write(&mut base, File::create(&path).unwrap(), &path)
            .unwrap();
        Pinned::open(&path).unwrap()
    }

    /// The two wheels that are to be used in the place of official ones.
    fn ours(&self) -> Vec<Pinned> {
        vec![
            self.replaced(&format!("index/mlx_metal-0.32.0-py3-none-{MAC}.whl")),
            self.replaced(&format!("index/mlx_cpu-0.32.0-py3-none-{}.whl", linux())),
        ]
    }

    /// What `--apply` does.
    fn apply(&self, snippet: &Snippet, tool: Tool) -> usize {
        let file = Pyproject::read(&self.path("project/pyproject.toml")).unwrap();
        let applied = file.with(snippet, tool).unwrap_or_else(|it| panic!("{it}"));
        file.write(&applied.text).unwrap();
        applied.changes.len()
    }

    fn uv(&self, words: &str) -> Output {
        let mut uv = Command::new(&self.uv);
        uv.args(words.split_whitespace())
            .args(["--no-index", "--find-links", "../index"])
            .current_dir(self.path("project"))
            .env_clear()
            .envs(
                ["PATH", "HOME", "LD_LIBRARY_PATH"]
                    .map(|it| (it, env::var(it).unwrap_or_default())),
            )
            .env("UV_CACHE_DIR", self.path("cache"))
            .env("UV_NO_CONFIG", "1")
            .env("UV_PYTHON_DOWNLOADS", "never")
            .env("UV_PYTHON", python());
        uv.output().unwrap()
    }

    /// The library that the project's Python finds, after uv has locked and installed.
    fn library(&self) -> String {
        succeeds("uv lock", self.uv("lock"));
        succeeds("uv sync", self.uv("sync --frozen"));
        let python = self.path("project/.venv/bin/python");
        library_of(&python)
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("project/uv.lock")).unwrap()
    }
}

/// Serves the files of a folder to this machine until the tests end, and gives the address.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/wheels", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = BufReader::new(&client).lines().map_while(Result::ok);
            let first = head.next().unwrap_or_default();
            // A client that is answered before all was read may lose the answer.
            let _ = head.take_while(|line| !line.is_empty()).count();
            let path = first.split(' ').nth(1).unwrap_or_default();
            let name = path.trim_start_matches("/wheels/").replace("%2B", "+");
            let (status, content) = match fs::read(folder.join(name)) {
                Ok(content) => ("200 OK", content),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let length = content.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = client.write_all(head.as_bytes());
            if !first.starts_with("HEAD") {
                let _ = client.write_all(&content);
            }
        }
    });
    address
}

const MAC: &str = "macosx_26_0_arm64";

fn linux() -> String {
    format!("manylinux_2_17_{}", env::consts::ARCH)
}

fn python() -> String {
    let chosen = env::var("MLX_RAILS_PYTHON");
    chosen.unwrap_or_else(|_| "python3".into())
}

fn library_of(python: &Path) -> String {
    let code = "import mlx.core; print(mlx.core.library, end='')";
    let output = Command::new(python).args(["-I", "-c", code]).output();
    succeeds("python", output.unwrap())
}

fn succeeds(what: &str, output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn fails(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn uv_locks_and_installs_our_library() {
    let bench = Bench::new();
    bench.write_project("0.32.0", "");
    assert_eq!(bench.library(), "official");

    let snippet = Snippet::new(bench.ours(), None).unwrap();
    assert_eq!(bench.apply(&snippet, Tool::Uv), 4);
    // The old lock is not of this file.
    fails(&bench.uv("lock --check"));
    assert_eq!(bench.library(), "patched");
    succeeds("the lock is current", bench.uv("lock --check"));
    for wheel in snippet.wheels() {
        let hash = format!("hash = \"sha256:{}\"", wheel.sha256);
        assert!(bench.lock().contains(&hash), "{}", bench.lock());
    }
    assert_eq!(bench.apply(&snippet, Tool::Uv), 0);
}

/// Why there are constraints, and no overrides.
#[test]
fn uv_ignores_a_source_alone_and_refuses_an_mlx_of_another_release() {
    let bench = Bench::new();
    let snippet = Snippet::new(bench.ours(), None).unwrap();
    bench.write_project("0.32.0", "");
    bench.apply(&snippet, Tool::Uv);
    let path = bench.path("project/pyproject.toml");
    let whole = fs::read_to_string(&path).unwrap();

    let (before, list) = whole.split_once("constraint-dependencies = [").unwrap();
    let (_, after) = list.split_once("\n]\n").unwrap();
    let alone = format!("{before}{after}");
    fs::write(&path, alone).unwrap();
    assert_eq!(bench.library(), "official");

    fs::write(&path, whole.replace("]==0.32.0;", "]==0.32.1;")).unwrap();
    let said = fails(&bench.uv("lock"));
    assert!(said.contains("mlx-cpu"), "{said}");
}

#[test]
fn uv_takes_exo_s_list_of_sources() {
    let bench = Bench::new();
    let of_fork = |platform: &str| {
        let name = format!("mlx-0.32.0.dev1+cc3f3e60-py3-none-{platform}.whl");
        let files = [("mlx/core.py", CORE), (LIBRARY, "fork")];
        write_wheel(
            &bench.path("project"),
            &name,
            &files,
            &["Provides-Extra: cpu"],
        );
        name
    };
    let (mac, linux) = (of_fork(MAC), of_fork(&linux()));
    let sources = format!(
        "mlx = [
    {{ path = \"{mac}\", marker = \"sys_platform == 'darwin'\" }}, # a fork
    {{ path = \"{linux}\", marker = \"sys_platform == 'linux' and platform_machine == '{}'\" }},
]
",
        env::consts::ARCH
    );
    bench.write_project("0.32.0", &sources);
    assert_eq!(bench.library(), "fork");

    let wheels = [&mac, &linux].map(|it| bench.replaced(&format!("project/{it}")));
    let snippet = Snippet::new(wheels.to_vec(), None).unwrap();
    assert_eq!(bench.apply(&snippet, Tool::Exo), 2);
    assert_eq!(bench.library(), "patched");
    assert!(!bench.lock().contains("cc3f3e60-py3"), "{}", bench.lock());
}

#[test]
fn uv_refuses_another_file_at_the_address_once_it_is_locked() {
    let bench = Bench::new();
    bench.write_project("0.32.0", "");
    let prefix = serve(bench.path("ours"));
    let snippet = Snippet::new(bench.ours(), Some(&prefix)).unwrap();
    bench.apply(&snippet, Tool::Uv);
    assert_eq!(bench.library(), "patched");

    let wheel = &snippet.wheels()[0];
    assert_eq!(wheel.distribution, "mlx-cpu");
    let hash = format!("hash = \"sha256:{}\"", wheel.sha256);
    assert!(bench.lock().contains(&hash), "{}", bench.lock());
    let another = [(LIBRARY, "another")];
    write_wheel(&bench.path("ours"), &wheel.file_name(), &another, &[]);
    for folder in ["cache", "project/.venv"] {
        fs::remove_dir_all(bench.path(folder)).unwrap();
    }
    let said = fails(&bench.uv("sync --frozen"));
    assert!(said.contains(&wheel.sha256), "{said}");
}

#[test]
fn pip_installs_our_library() {
    let bench = Bench::new();
    let wheels = bench.ours();
    let front = bench.path(&format!("index/mlx-0.32.0-py3-none-{}.whl", linux()));
    let (hash, _) = Wheel::sha256(&front).unwrap();
    let prefix = serve(bench.path("ours"));
    for prefix in [None, Some(&*prefix)] {
        let snippet = Snippet::new(wheels.clone(), prefix).unwrap();
        let lines = snippet.text(Tool::Pip).unwrap();
        let requirements = bench.path("requirements.txt");
        let lines = format!("{lines}mlx[cpu]==0.32.0 --hash=sha256:{hash}\n");
        fs::write(&requirements, lines).unwrap();
        let environment = bench.path(if prefix.is_some() { "url" } else { "links" });
        let mut venv = Command::new(python());
        venv.args(["-m", "venv"]).arg(&environment);
        succeeds("venv", venv.output().unwrap());
        let python = environment.join("bin/python");
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-index",
            "--find-links",
        ])
        .arg(bench.path("index"))
        .arg("--requirement")
        .arg(&requirements);
        succeeds("pip", pip.output().unwrap());
        assert_eq!(library_of(&python), "patched");
    }
}
