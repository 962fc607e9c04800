//! The wheel for a Mac, made here: of the official wheel and of a libjaccl that was compiled
//! here. What does not fit is shown on the same libraries with a few bytes changed.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pins::{DEFAULT_PIN, Pin, Series};
use toolchain::{
    Error, Toolchain,
    build::Request,
    driver::Driver,
    dylib::DylibTarget,
    wheel::{Base, Built, WheelRequest},
};
use wheel::{
    Dylib, Wheel,
    macos::{self, Fit, LIBJACCL, LIBMLX},
    overlay,
};

fn toolchain() -> Toolchain {
    let driver = Driver::Program(env!("CARGO_BIN_EXE_rails-cmake").into());
    Toolchain::open().expect("a store").with_driver(driver)
}

fn pin(toolchain: &Toolchain) -> Pin {
    toolchain.pin(DEFAULT_PIN).expect("the default pin")
}

fn made(toolchain: &Toolchain, base: Base, out: &Path) -> Result<Built, Error> {
    let pin = &pin(toolchain);
    let request = WheelRequest {
        pin,
        series: Series::Patched,
        base,
    };
    toolchain.macos_wheel(&request, out)
}

fn official(toolchain: &Toolchain) -> PathBuf {
    let pin = pin(toolchain);
    let is_it = |file: &str| file.starts_with("mlx_metal-") && file.contains("macosx_26_0");
    let wheel = pin
        .wheels
        .iter()
        .find(|it| is_it(&it.file))
        .expect("pinned");
    toolchain.official_wheel(wheel).expect("fetched")
}

/// The libraries of the official wheel and ours.
struct Libraries {
    base: Dylib,
    libmlx: Dylib,
    ours: Dylib,
    stock: Dylib,
}

impl Libraries {
    fn new() -> Self {
        let toolchain = toolchain();
        let mut wheel = Wheel::open(&official(&toolchain)).expect("a wheel");
        let mut read = |path| Dylib::parse(path, wheel.read(path).expect("there")).expect(path);
        let (base, libmlx) = (read(LIBJACCL), read(LIBMLX));
        let target = DylibTarget::of(&base, &libmlx);
        let pin = pin(&toolchain);
        let [ours, stock] = [Series::Patched, Series::Stock].map(|series| {
            let build = toolchain.build(&Request::dylib(&pin, series, &target));
            let library = build.expect("compiled").library();
            Dylib::parse(LIBJACCL, fs::read(library).expect("read")).expect("a library")
        });
        Libraries {
            base,
            libmlx,
            ours,
            stock,
        }
    }

    /// The names of the checks that do not hold.
    fn failed(&self, ours: &Dylib) -> Vec<String> {
        let fit = Fit {
            ours,
            base: &self.base,
            libmlx: &self.libmlx,
            stock: &self.stock,
        };
        let checks = fit.checks().expect("read");
        checks
            .into_iter()
            .filter(|it| !it.ok)
            .map(|it| it.name)
            .collect()
    }

    fn with(&self, change: impl FnOnce(&mut Vec<u8>)) -> Dylib {
        changed(&self.ours, change)
    }
}

fn changed(library: &Dylib, change: impl FnOnce(&mut Vec<u8>)) -> Dylib {
    let mut content = library.content().to_vec();
    change(&mut content);
    assert_ne!(content, library.content(), "nothing was changed");
    Dylib::parse(LIBJACCL, content).expect("still a library")
}

/// Where some bytes are, each time.
fn places(content: &[u8], bytes: &[u8]) -> Vec<usize> {
    let windows = content.windows(bytes.len()).enumerate();
    windows
        .filter(|(_, it)| *it == bytes)
        .map(|(place, _)| place)
        .collect()
}

fn replace(content: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    for place in places(content, from) {
        content[place..place + to.len()].copy_from_slice(to);
    }
}

#[test]
fn each_check_finds_what_it_looks_for() {
    let libraries = Libraries::new();
    assert_eq!(libraries.failed(&libraries.ours), [""; 0]);
    let failed = |change: fn(&mut Vec<u8>)| {
        let mut failed = libraries.failed(&libraries.with(change));
        // Whatever is changed, the page's hash is another one.
        assert!(failed.iter().any(|it| it == "signature"), "{failed:?}");
        failed.retain(|it| it != "signature");
        failed
    };
    // The terminal of the exports' trie ends in the last letters of its name.
    let renamed = failed(|it| replace(it, b"is_availableEv\0", b"is_availablfEv\0"));
    assert_eq!(renamed, ["exports", "bound-by-libmlx"]);
    assert_eq!(
        failed(|it| replace(it, b"_getaddrinfo\0", b"_getaddrinfp\0")),
        ["imports"]
    );
    assert_eq!(
        failed(|it| replace(
            it,
            b"/usr/lib/libc++.1.dylib\0",
            b"/usr/lib/libc++.2.dylib\0"
        )),
        ["dependencies"]
    );
    assert_eq!(
        failed(|it| replace(it, b"@rpath/libjaccl.dylib\0", b"@rpath/libjaccm.dylib\0")),
        ["install-name"]
    );
    // LC_BUILD_VERSION: the command, its size, macOS, then the minimum 26.0.
    let version: fn(u8) -> [u8; 16] =
        |minor| [0x32, 0, 0, 0, 0x20, 0, 0, 0, 1, 0, 0, 0, 0, minor, 26, 0];
    assert_eq!(
        libraries.failed(&libraries.with(|it| {
            let at = places(it, &version(0)[..4])
                .into_iter()
                .find(|at| it[at + 8..at + 16] == version(0)[8..])
                .expect("the load command");
            it[at + 13] = 2;
        })),
        ["minimum-macos", "signature"]
    );
    let unsigned = libraries.with(|it| it[0x8000] ^= 1);
    assert_eq!(libraries.failed(&unsigned), ["signature"]);
}

#[test]
fn another_order_of_functions_is_found() {
    let libraries = Libraries::new();
    let table = |library: &Dylib| {
        wheel::group::Group::of(library)
            .expect("read")
            .expect("there")
    };
    let group = table(&libraries.ours).to_string();
    assert_eq!(group, table(&libraries.base).to_string());
    assert!(group.ends_with("send, recv"), "{group}");
    // The table is the run of words that begins with the two destructors; `send` and
    // `recv` are its last two.
    let swapped = libraries.with(|content| {
        let words: Vec<u64> = content
            .chunks_exact(8)
            .map(|it| u64::from_le_bytes(it.try_into().expect("eight bytes")))
            .collect();
        let table = wheel::group::Group::words(&libraries.ours)
            .expect("read")
            .expect("there");
        let send = words
            .iter()
            .position(|word| *word == table[8])
            .expect("the table");
        assert_eq!(words[send + 1], table[9], "`recv` follows `send`");
        let at = send * 8;
        content[at..at + 16].rotate_left(8);
    });
    assert_eq!(libraries.failed(&swapped), ["signature", "group"]);
    assert_eq!(table(&swapped).since(), None);
    let mlx = "0.31.2".parse().expect("a version");
    let admit = |libjaccl, mlx| macos::admit(Path::new("x"), libjaccl, &libraries.libmlx, mlx);
    admit(&libraries.base, &mlx).expect("known");
    let unknown = admit(&swapped, &mlx).expect_err("unknown").to_string();
    assert!(unknown.contains("all_gather, recv, send"), "{unknown}");
    let newer = "0.32.0".parse().expect("a version");
    let other = admit(&libraries.base, &newer).expect_err("another order");
    assert!(
        other.help().is_some_and(|it| it.contains("--mlx 0.31.2")),
        "{other}"
    );
}

/// `ibv_post_send` is called at 0xd0 of the context: `ldr x?, [x?, #0xd0]`.
#[test]
fn verbs_at_another_place_of_the_context_are_found() {
    let libraries = Libraries::new();
    let moved = libraries.with(|content| {
        for word in content.chunks_exact_mut(4) {
            let instruction = u32::from_le_bytes((&*word).try_into().expect("four bytes"));
            let (load, offset) = (instruction >> 22, (instruction >> 10 & 0xfff) * 8);
            if load == 0b11_1110_0101 && offset == 0xd0 {
                let elsewhere = instruction & !(0xfff << 10) | (0xe0 / 8) << 10;
                word.copy_from_slice(&elsewhere.to_le_bytes());
            }
        }
    });
    assert_eq!(libraries.failed(&moved), ["signature", "verbs"]);
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_any_folder() {
    let toolchain = toolchain();
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let built = [&folders[0], &folders[1]]
        .map(|folder| made(&toolchain, Base::Official, folder.path()).expect("made"));
    assert_eq!(built[0].sha256, built[1].sha256);
    assert!(built[0].checks.iter().all(|check| check.ok));
    assert_eq!(
        built[0].version,
        format!("{DEFAULT_PIN}+rails.{}", pin(&toolchain).recorded.revision)
    );
    assert_eq!(built[0].replaced.len(), 1);

    let mut wheel = Wheel::open(&built[0].path).expect("a wheel");
    wheel.verify().expect("whole");
    let manifest = wheel.of_dist_info(overlay::MANIFEST);
    let manifest = wheel.read_text(&manifest).expect("there");
    let store = toolchain
        .store()
        .root()
        .expect("a place")
        .display()
        .to_string();
    assert!(!manifest.contains(&store), "{manifest}");
    assert!(manifest.contains("ring-recv-prefill"), "{manifest}");

    // The same files are packed in the same way from a copy of the base elsewhere.
    let copy = folders[0]
        .path()
        .join(official(&toolchain).file_name().expect("a name"));
    fs::copy(official(&toolchain), &copy).expect("copied");
    let again = made(&toolchain, Base::File(copy), folders[1].path()).expect("made");
    assert_eq!(again.sha256, built[0].sha256);
}

#[test]
fn a_base_that_will_not_do_is_refused_and_nothing_is_written() {
    let toolchain = toolchain();
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let refused = |path: &Path| {
        let error = made(&toolchain, Base::File(path.to_owned()), &out).expect_err("refused");
        assert!(!out.exists(), "{error}");
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
        format!("{error}\n{}", error.help().unwrap_or_default())
    };
    let official = official(&toolchain);
    let name = official.file_name().expect("a name");

    let content = fs::read(&official).expect("read");
    let damaged = folder.path().join(name);
    fs::write(&damaged, &content[..content.len() / 2]).expect("written");
    assert!(refused(&damaged).contains("damaged"));
    let mut flipped = content.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    fs::write(&damaged, &flipped).expect("written");
    let said = refused(&damaged);
    assert!(said.contains("get the wheel again"), "{said}");

    let other_name = folder
        .path()
        .join("mlx_metal-0.32.0-py3-none-macosx_26_0_arm64.whl");
    fs::write(&other_name, &content).expect("written");
    let said = refused(&other_name);
    assert!(said.contains("METADATA says"), "{said}");

    let ours = folder.path().join("ours");
    let ours = made(&toolchain, Base::Official, &ours).expect("made").path;
    assert!(refused(&ours).contains("this tool made"));
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let launcher = launch::Launcher::default();
    // Whatever would be started is refused.
    launcher.cancel().cancel();
    let toolchain = toolchain().attended(std::sync::Arc::new(launch::Silent), launcher);
    let error = made(&toolchain, Base::Official, &file.join("out")).expect_err("a file");
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
}

#[test]
fn what_cannot_be_overlaid_is_refused() {
    let libraries = Libraries::new();
    let folder = tempfile::tempdir().expect("a folder");
    let site = folder.path().join("site-packages/mlx/lib");
    fs::create_dir_all(&site).expect("created");
    let put = |library: &Dylib, name: &str| {
        fs::write(site.join(name), library.content()).expect("written");
    };
    let toolchain = toolchain();
    let pin = pin(&toolchain);
    let overlay = |root: &Path| toolchain.overlay(root, &pin, Series::Patched);
    let refused = |root: &Path| {
        let error = overlay(root).expect_err("refused");
        format!("{error}\n{}", error.help().unwrap_or_default())
    };
    assert!(refused(folder.path()).contains("no libjaccl.dylib"));
    assert!(refused(&folder.path().join("none")).contains("is no folder"));

    put(&libraries.base, "libjaccl.dylib");
    // As in the wheels for macOS 14 and 15, where a libjaccl lies unused.
    let alone = changed(&libraries.libmlx, |it| {
        replace(it, b"@rpath/libjaccl.dylib\0", b"@rpath/libjaccm.dylib\0");
    });
    put(&alone, "libmlx.dylib");
    assert!(refused(folder.path()).contains("loads no libjaccl"));
    put(&libraries.libmlx, "libmlx.dylib");

    let other = folder.path().join("other/mlx/lib");
    fs::create_dir_all(&other).expect("created");
    for name in ["libjaccl.dylib", "libmlx.dylib"] {
        fs::copy(site.join(name), other.join(name)).expect("copied");
    }
    assert!(refused(folder.path()).contains("more than one"));
}

#[test]
fn an_installation_gets_our_library_and_its_own_back() {
    let libraries = Libraries::new();
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("EXO.app");
    let lib = root.join("Contents/Resources/mlx/lib");
    fs::create_dir_all(&lib).expect("created");
    let library = lib.join("libjaccl.dylib");
    fs::write(&library, libraries.base.content()).expect("written");
    fs::set_permissions(&library, fs::Permissions::from_mode(0o755)).expect("set");
    fs::write(lib.join("libmlx.dylib"), libraries.libmlx.content()).expect("written");
    let toolchain = toolchain();
    let pin = pin(&toolchain);

    let done = toolchain
        .overlay(&root, &pin, Series::Patched)
        .expect("overlaid");
    assert_eq!(fs::read(&library).expect("read"), libraries.ours.content());
    let mode = fs::metadata(&library).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let kept = done.kept.expect("kept");
    assert_eq!(fs::read(&kept).expect("read"), libraries.base.content());
    let sign = done.sign.expect("an application is signed again");
    assert!(
        sign.starts_with("codesign ") && sign.contains("EXO.app"),
        "{sign}"
    );

    let twice = toolchain
        .overlay(&root, &pin, Series::Patched)
        .expect_err("ours already");
    assert!(twice.to_string().contains("this tool put there"), "{twice}");
    toolchain.undo_overlay(&root).expect("undone");
    assert_eq!(fs::read(&library).expect("read"), libraries.base.content());
    assert!(!kept.exists());
    let nothing = toolchain.undo_overlay(&root).expect_err("nothing to undo");
    assert!(
        nothing.to_string().contains("as it was installed"),
        "{nothing}"
    );
}

/// A process that has the library mapped, as Python has after `import mlx.core`.
#[cfg(target_os = "linux")]
#[test]
fn an_application_that_runs_is_left_alone() {
    let libraries = Libraries::new();
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libjaccl.dylib");
    fs::write(&library, libraries.base.content()).expect("written");
    fs::write(
        folder.path().join("libmlx.dylib"),
        libraries.libmlx.content(),
    )
    .expect("written");
    let script = "import mmap, sys; f = open(sys.argv[1]); m = mmap.mmap(f.fileno(), 0, \
                  access=mmap.ACCESS_READ); print('mapped', flush=True); sys.stdin.read()";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .arg(&library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut said = String::new();
    let stdout = python.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said).expect("read");
    let toolchain = toolchain();
    let outcome = toolchain.overlay(folder.path(), &pin(&toolchain), Series::Patched);
    let mut stdin = python.stdin.take().expect("piped");
    let _ = stdin.write_all(b"end");
    drop(stdin);
    python.wait().expect("ended");
    let error = outcome.expect_err("in use");
    let process = format!("process {}", python.id());
    assert!(error.to_string().contains(&process), "{error}");
    assert_eq!(fs::read(&library).expect("read"), libraries.base.content());
}
