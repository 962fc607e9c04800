//! A build's key changes with everything that may change the build, and with nothing else.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path};

use pins::{ObjectId, Series};
use toolchain::{
    compiler::{Compiler, Compilers, Identity, Program},
    environment::Environment,
    manifest::{Component, Inputs},
};

fn tree(digit: char) -> ObjectId {
    digit.to_string().repeat(40).parse().unwrap()
}

fn compiler(name: &str) -> Compiler {
    Compiler {
        program: Program {
            mode: None,
            path: format!("/usr/bin/{name}").into(),
            launcher: None,
            version: format!("{name} 12.2.0"),
        },
        identity: Identity {
            arguments: Vec::new(),
            target: "x86_64-linux-gnu".into(),
            description: vec![format!("{name} version 12.2.0")],
            sha256: "aa".into(),
            linker: Some("GNU ld 2.40".into()),
            assembler: Some("GNU as 2.40".into()),
            glibc: Some("2.36".into()),
            libraries: BTreeMap::from([("libstdc++.so".into(), "bb".into())]),
        },
    }
}

fn inputs() -> Inputs {
    Inputs {
        component: Component::Mlx,
        mlx: "1.2.3".into(),
        series: Series::Patched,
        without: Vec::new(),
        tree: tree('1'),
        patched_tree: tree('2'),
        patches: vec![("a-fix".into(), "cc".into())],
        base: None,
        sources: BTreeMap::from([("mlx-c".into(), tree('3'))]),
        recipe: "recipe".into(),
        tools: "tools".into(),
        compilers: Compilers {
            c: compiler("cc"),
            cxx: compiler("c++"),
        },
        sdk: Some("26.2".into()),
        options: BTreeMap::from([("MLX_BUILD_METAL".into(), "OFF".into())]),
        environment: BTreeMap::new(),
    }
}

type Change = fn(&mut Inputs);

#[test]
fn every_input_that_may_change_a_build_changes_its_key_and_is_named() {
    let changes: [(&str, Change); 27] = [
        ("it is", |i| i.component = Component::Jaccl),
        ("it is", |i| i.component = Component::MlxOfWheel),
        ("the official wheel", |i| i.base = Some("dd".into())),
        ("it is", |i| i.mlx = "1.2.4".into()),
        ("it is", |i| i.series = Series::Stock),
        ("it is", |i| i.series = Series::Tuned),
        ("it is", |i| i.without = vec!["a-fix".into()]),
        ("pinned tree", |i| i.tree = tree('8')),
        ("patched tree", |i| i.patched_tree = tree('8')),
        ("a source beside MLX", |i| {
            i.sources.insert("mlx-c".into(), tree('8'));
        }),
        ("metal-cpp", |i| {
            i.sources.insert("metal-cpp".into(), tree('8'));
        }),
        ("CMake files", |i| i.recipe.push('x')),
        ("tool set", |i| i.tools.push('x')),
        ("C compiler", |i| i.compilers.c.identity.sha256.push('x')),
        ("C++ compiler", |i| {
            i.compilers.cxx.identity.sha256.push('x')
        }),
        ("C++ compiler's flags", |i| {
            i.compilers.cxx.identity.arguments.push("-O1".into());
        }),
        ("C compiler's flags", |i| {
            i.compilers.c.identity.arguments.push("-O1".into());
        }),
        ("C++ compiler", |i| {
            i.compilers.cxx.identity.target.push('x')
        }),
        ("C++ compiler", |i| {
            i.compilers.cxx.identity.description.push("x".into());
        }),
        ("C++ compiler's linker", |i| {
            i.compilers.cxx.identity.linker = Some("LLD 19".into());
        }),
        ("C++ compiler", |i| {
            i.compilers.cxx.identity.assembler = None
        }),
        ("C++ compiler", |i| i.compilers.cxx.identity.glibc = None),
        ("C++ compiler", |i| {
            i.compilers
                .cxx
                .identity
                .libraries
                .insert("libstdc++.so".into(), "x".into());
        }),
        ("SDK", |i| i.sdk = None),
        ("SDK", |i| i.sdk = Some("26.4".into())),
        ("CMake options", |i| {
            i.options.insert("MLX_BUILD_METAL".into(), "ON".into());
        }),
        ("environment", |i| {
            i.environment.insert("SDKROOT".into(), "/sdk".into());
        }),
    ];
    let before = inputs();
    for (named, change) in changes {
        let mut after = inputs();
        change(&mut after);
        assert_ne!(after.key(), before.key(), "{named}: {after:#?}");
        let said = after.changes_since(&before);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(named), "{named}: {said:?}");
    }
}

#[test]
fn what_cannot_change_a_build_does_not_change_its_key() {
    let changes: [(&str, Change); 4] = [
        ("a patch's description", |i| i.patches[0].1.push('x')),
        ("another name of the compiler", |i| {
            i.compilers.cxx.program.path = "/usr/bin/g++-12".into();
        }),
        ("how the compiler writes its version", |i| {
            i.compilers.cxx.program.version.push('x');
        }),
        ("a compiler cache", |i| {
            i.compilers.cxx.program.launcher = Some("/usr/bin/ccache".into());
        }),
    ];
    for (what, change) in changes {
        let mut after = inputs();
        change(&mut after);
        assert_eq!(after.key(), inputs().key(), "{what}");
        assert!(after.changes_since(&inputs()).is_empty(), "{what}");
    }
}

/// This process's environment with some variables in place of its own.
fn environment(changed: &[(&str, &str)]) -> Environment {
    let own = std::env::vars().filter(|(name, _)| {
        !["CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS"].contains(&name.as_str())
    });
    let changed = changed
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::of(own.chain(changed))
}

fn identities(changed: &[(&str, &str)]) -> [Identity; 2] {
    let compilers = Compilers::detect(&environment(changed)).unwrap();
    [compilers.c.identity, compilers.cxx.identity]
}

/// Writes a program and gives its path.
fn script(path: &Path, body: &str) -> String {
    std::fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_compiler_that_is_found_anyway_may_be_named() {
    assert_eq!(identities(&[("CXX", "c++"), ("CC", "cc")]), identities(&[]));
}

#[test]
fn flags_for_a_compiler_are_part_of_it_wherever_they_stand() {
    let plain = identities(&[]);
    assert!(plain.iter().all(|identity| identity.arguments.is_empty()));
    let beside = identities(&[("CXX", "c++ -DX=1")]);
    let after = identities(&[("CXXFLAGS", "-DX=1")]);
    assert_eq!(beside[1].arguments, ["-DX=1"]);
    assert_eq!(beside, after);
    assert_eq!(beside[0], plain[0]);
    assert_ne!(beside[1], plain[1]);
}

#[test]
fn a_compiler_cache_starts_the_compiler_and_is_not_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("ccache");
    let cxx = script(&cache, "exec \"$@\"") + " c++ -DX=1";
    let compilers = Compilers::detect(&environment(&[("CXX", &cxx)])).unwrap();
    assert_eq!(compilers.cxx.program.launcher.as_ref(), Some(&cache));
    assert_eq!(compilers.cxx.identity.arguments, ["-DX=1"]);
    assert_eq!(
        compilers.cxx.identity,
        identities(&[("CXX", "c++ -DX=1")])[1]
    );
}

#[test]
fn the_linker_that_flags_choose_is_part_of_the_compiler() {
    let plain = identities(&[]);
    let traced = identities(&[("LDFLAGS", "-fuse-ld=no-such-linker")]);
    assert_ne!(plain[1].linker, traced[1].linker);
}

#[test]
fn a_compiler_that_is_not_there_is_named_with_what_installs_one() {
    for variable in ["CC", "CXX"] {
        let environment = environment(&[(variable, "no-such-compiler-of-ours")]);
        let error = Compilers::detect(&environment).unwrap_err();
        assert!(error.to_string().contains("compiler is missing"), "{error}");
        assert!(error.help().unwrap().contains("install"), "{error:?}");
    }
}

#[test]
fn a_compiler_without_cxx20_is_refused_by_name() {
    // g++ 9 knows the standard by another name only, and few of its concepts.
    let folder = tempfile::tempdir().unwrap();
    let old = script(
        &folder.path().join("g++-9"),
        "for argument; do [ \"$argument\" != -std=c++20 ] || exit 1; done\nexec c++ \"$@\"",
    );
    let environment = environment(&[("CXX", &old)]);
    let compilers = Compilers::detect(&environment).unwrap();
    let error = compilers.try_cxx20(&environment).unwrap_err();
    assert!(error.to_string().contains("C++20"), "{error}");
    assert!(error.help().unwrap().contains(&old), "{error:?}");

    let usual = self::environment(&[]);
    let compilers = Compilers::detect(&usual).unwrap();
    compilers.try_cxx20(&usual).unwrap();
}
