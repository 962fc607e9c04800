//! What `cargo xtask build` makes on a Mac, made here by zig: a prefix with the MLX of the
//! official wheel, our libjaccl, and mlx-c. No Mac has loaded it; what shows without one is
//! held here against the wheel's own libraries.

use std::{collections::BTreeSet, fs, path::Path, sync::OnceLock};

use pins::{DEFAULT_PIN, Series};
use toolchain::{
    Toolchain,
    build::{Build, Request},
    build_script,
    driver::Driver,
    dylib::DylibTarget,
    fetch::Source,
    manifest::Component,
    platform::System,
    store::sha256,
};
use wheel::{
    Dylib, Wheel, codesign,
    macos::{LIBJACCL, LIBMLX},
    mlx_c::{self, MlxC},
};

/// The install name of the MLX of a wheel.
const MLX: &str = "@rpath/libmlx.dylib";

fn toolchain() -> Toolchain {
    let driver = Driver::Program(env!("CARGO_BIN_EXE_rails-cmake").into());
    Toolchain::open().expect("a store").with_driver(driver)
}

/// Made once, however many tests of this file run.
fn build() -> &'static Build {
    static BUILD: OnceLock<Build> = OnceLock::new();
    BUILD.get_or_init(|| {
        let toolchain = toolchain();
        let pin = toolchain.pin(DEFAULT_PIN).expect("the default pin");
        let request = Request::mlx_of_wheel(&pin, Series::Patched);
        toolchain.build(&request).expect("built")
    })
}

fn official() -> Wheel {
    let toolchain = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).expect("the default pin");
    let is_it = |file: &str| file.starts_with("mlx_metal-") && file.contains("macosx_26_0");
    let wheel = pin.wheels.iter().find(|it| is_it(&it.file));
    let wheel = wheel.expect("it is pinned");
    Wheel::open(&toolchain.official_wheel(wheel).expect("fetched")).expect("a wheel")
}

fn library(prefix: &Path, name: &str) -> Dylib {
    let file = prefix.join("lib").join(System::MacOs.shared_library(name));
    let content = fs::read(&file).expect("it is there");
    Dylib::parse(name, content).expect("a library for arm64")
}

/// The functions of every header of mlx-c.
fn functions(prefix: &Path) -> BTreeSet<String> {
    let headers = fs::read_dir(prefix.join("include/mlx/c")).expect("headers");
    let files = headers.map(|it| fs::read_to_string(it.expect("a file").path()).expect("read"));
    files.flat_map(|it| mlx_c::declared(&it)).collect()
}

#[test]
fn a_prefix_has_all_that_programs_look_for_on_a_mac() {
    let build = build();
    for file in System::MacOs.needed_of_mlx() {
        assert!(build.prefix.join(&file).is_file(), "{file}");
    }
    // libjaccl, which libmlx loads, has the key of another build.
    let linked = build_script::linked(System::MacOs, &build.prefix);
    assert_eq!(linked.expect("libmlxc is read"), ["mlxc"]);
    assert_eq!(build.library(), build.prefix.join("lib/libmlxc.dylib"));
    // What mlx-c's headers and MLX's own include.
    for header in [
        "mlx/mlx.h",
        "mlx/c/distributed.h",
        "metal_cpp/Metal/Metal.hpp",
    ] {
        let file = build.prefix.join("include").join(header);
        assert!(file.is_file(), "{header}");
    }
}

#[test]
fn mlx_is_that_of_the_official_wheel_and_jaccl_that_of_our_wheel() {
    let build = build();
    let mut wheel = official();
    for member in [LIBMLX, "mlx/lib/mlx.metallib", "mlx/include/mlx/mlx.h"] {
        let file = build.prefix.join(member.strip_prefix("mlx/").unwrap());
        let ours = sha256(fs::read(&file).expect("it is there"));
        assert_eq!(
            ours,
            sha256(wheel.read(member).expect("it is there")),
            "{member}"
        );
    }
    let toolchain = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).expect("the default pin");
    let mut read = |path| Dylib::parse(path, wheel.read(path).expect("there")).expect(path);
    let target = DylibTarget::of(&read(LIBJACCL), &read(LIBMLX));
    let jaccl = toolchain.build(&Request::dylib(&pin, Series::Patched, &target));
    let jaccl = fs::read(jaccl.expect("built").library()).expect("read");
    let ours = fs::read(build.prefix.join("lib/libjaccl.dylib")).expect("read");
    assert_eq!(sha256(ours), sha256(jaccl));
}

/// A build from source takes metal-cpp from a pin, and it is what the wheel was made of.
#[test]
fn metal_cpp_of_the_pin_is_that_of_the_wheel() {
    let toolchain = toolchain();
    let pin = toolchain.metal_cpp_pin().expect("a pin");
    let pinned = toolchain.fetch(&pin, &Source::Auto).expect("fetched").path;
    let of_wheel = build().prefix.join("include/metal_cpp");
    let same = |file: &str| {
        let [ours, theirs] = [&pinned, &of_wheel].map(|it| fs::read(it.join(file)).expect(file));
        sha256(ours) == sha256(theirs)
    };
    for file in [
        "Metal/Metal.hpp",
        "Foundation/Foundation.hpp",
        "LICENSE.txt",
    ] {
        assert!(same(file), "{file}");
    }
}

#[test]
fn libmlxc_loads_beside_the_wheels_libmlx() {
    let prefix = &build().prefix;
    let (ours, libmlx) = (library(prefix, "mlxc"), library(prefix, "mlx"));
    let mut wheel = official();
    let base = Dylib::parse(LIBJACCL, wheel.read(LIBJACCL).expect("there")).expect("a library");

    assert_eq!(ours.install_name, "@rpath/libmlxc.dylib");
    assert_eq!(ours.run_paths, ["@loader_path"]);
    assert_eq!(ours.minimum_macos, libmlx.minimum_macos);
    // dyld looks for libjaccl in the run paths of libmlx and of what loaded it.
    assert_eq!(libmlx.run_paths, [""; 0]);
    let jaccl = library(prefix, "jaccl").install_name;
    assert_eq!(jaccl, "@rpath/libjaccl.dylib");
    assert!(libmlx.dependencies.iter().any(|it| it.path == jaccl));
    let loaded: BTreeSet<&str> = ours
        .dependencies
        .iter()
        .map(|it| it.path.as_str())
        .collect();
    let expected = [MLX, "/usr/lib/libSystem.B.dylib", "/usr/lib/libc++.1.dylib"];
    assert_eq!(loaded, BTreeSet::from(expected));

    let functions = functions(prefix);
    assert!(functions.len() > 600, "{}", functions.len());
    for function in functions
        .iter()
        .map(String::as_str)
        .chain(["rails_build_key"])
    {
        assert!(ours.exports.contains(&format!("_{function}")), "{function}");
    }

    // It calls MLX, and finds there all that it calls.
    let bound: Vec<&str> = ours.bound_in(MLX).collect();
    assert!(bound.len() > 300, "{}", bound.len());
    for symbol in bound {
        assert!(libmlx.exports.contains(symbol), "{symbol}");
    }
    for (symbol, from) in &ours.imports {
        let is_known = libmlx.exports.contains(symbol)
            || libmlx.imports.contains_key(symbol)
            || base.imports.contains_key(symbol)
            || ours.defined.contains(symbol)
            || mlx_c::LIBCXX_STREAMS.contains(&symbol.as_str())
            || matches!(
                symbol.as_str(),
                "_exit" | "_fflush" | "_fputc" | "_vsnprintf"
            )
            || symbol == "dyld_stub_binder";
        assert!(is_known, "{symbol} of {from:?}");
    }
    let signature = codesign::signature(&ours).expect("read").expect("signed");
    assert!(signature.holds() && signature.ad_hoc, "{signature:?}");
}

#[test]
fn a_build_is_named_by_its_wheel_and_answers_with_its_key() {
    let build = build();
    let inputs = &build.manifest.inputs;
    assert_eq!(inputs.component, Component::MlxOfWheel);
    let toolchain = toolchain();
    let pin = toolchain.pin(DEFAULT_PIN).expect("the default pin");
    let base = inputs.base.as_ref().expect("a wheel");
    assert!(pin.wheels.iter().any(|it| it.sha256 == *base), "{base}");
    let mut other = inputs.clone();
    other.base = Some("0".repeat(64));
    assert_ne!(other.key(), inputs.key());

    let content = fs::read(build.library()).expect("read");
    let key = build.manifest.key.as_bytes();
    assert!(content.windows(key.len()).any(|it| it == key));

    let again = toolchain.find(&Request::mlx_of_wheel(&pin, Series::Patched));
    let again = again.expect("looked for").expect("it is in the store");
    assert_eq!(again.manifest.key, build.manifest.key);
}

#[test]
fn each_check_of_libmlxc_finds_what_it_looks_for() {
    let prefix = &build().prefix;
    let (ours, libmlx) = (library(prefix, "mlxc"), library(prefix, "mlx"));
    let mut wheel = official();
    let base = Dylib::parse(LIBJACCL, wheel.read(LIBJACCL).expect("there")).expect("a library");
    let mut functions = functions(prefix);
    let failed = |ours: &Dylib, libmlx: &Dylib, functions: &BTreeSet<String>, by_sdk| {
        let fit = MlxC {
            ours,
            libmlx,
            libjaccl: &base,
            functions,
            by_sdk,
        };
        let checks = fit.checks().expect("read");
        let failed = checks.into_iter().filter(|it| !it.ok);
        failed.map(|it| it.name).collect::<Vec<_>>()
    };
    assert_eq!(failed(&ours, &libmlx, &functions, false), [""; 0]);

    functions.insert("mlx_of_another_release".into());
    assert_eq!(failed(&ours, &libmlx, &functions, false), ["exports"]);
    functions.remove("mlx_of_another_release");

    let with = |change: &dyn Fn(&mut Dylib)| {
        let mut changed = ours.clone();
        change(&mut changed);
        changed
    };
    let moved = with(&|it| it.run_paths = vec!["/opt/homebrew/lib".into()]);
    assert_eq!(failed(&moved, &libmlx, &functions, false), ["run-paths"]);
    let named = with(&|it| it.install_name = "libmlxc.dylib".into());
    assert_eq!(failed(&named, &libmlx, &functions, false), ["install-name"]);
    let more = with(&|it| {
        let mut another = it.dependencies[0].clone();
        another.path = "@rpath/libfmt.dylib".into();
        it.dependencies.push(another);
    });
    assert_eq!(failed(&more, &libmlx, &functions, false), ["dependencies"]);
    let alone = with(&|it| it.dependencies.retain(|it| it.path != MLX));
    assert_eq!(failed(&alone, &libmlx, &functions, false), ["dependencies"]);
    let newer = with(&|it| {
        let libcxx = "/usr/lib/libc++.1.dylib".to_owned();
        it.imports
            .insert("__ZNSt3__113__hash_memoryEPKvm".into(), libcxx);
    });
    assert_eq!(failed(&newer, &libmlx, &functions, false), ["imports"]);
    // Apple's SDK would not have let it be bound.
    assert_eq!(failed(&newer, &libmlx, &functions, true), [""; 0]);

    let mut older = libmlx.clone();
    let called = ours.bound_in(MLX).next().expect("it calls MLX").to_owned();
    older.exports.remove(&called);
    let found = failed(&ours, &older, &functions, true);
    assert!(found.contains(&"bound-in-libmlx".to_owned()), "{found:?}");

    let mut content = ours.content().to_vec();
    content[0x4000] ^= 1;
    let bent = Dylib::parse("mlxc", content).expect("still a library");
    assert_eq!(failed(&bent, &libmlx, &functions, false), ["signature"]);
}
