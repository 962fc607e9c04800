//! What the toolchain expects of the pinned wheels, held against what is in them, for
//! every platform that is pinned. `pins/wheels.lst` lists their members.

use std::{collections::BTreeSet, path::Path};

use toolchain::{
    platform::{Platform, System},
    tools::{Tools, maturin, uv},
};

const WHEELS: &str = include_str!("../pins/wheels.lst");
const PINS: [&str; 3] = [
    include_str!("../pins/requirements.txt"),
    include_str!("../pins/maturin.txt"),
    include_str!("../pins/uv.txt"),
];

struct Wheel {
    platform: &'static str,
    sha256: &'static str,
    members: Vec<&'static str>,
}

fn wheels() -> Vec<Wheel> {
    let mut wheels: Vec<Wheel> = Vec::new();
    for line in WHEELS.lines().filter(|line| !line.starts_with('#')) {
        match line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
        {
            Some((platform, rest)) => wheels.push(Wheel {
                platform,
                sha256: rest.split(' ').next().unwrap(),
                members: Vec::new(),
            }),
            None => wheels.last_mut().unwrap().members.push(line),
        }
    }
    wheels
}

fn members_for(platform: Platform) -> BTreeSet<&'static str> {
    wheels()
        .into_iter()
        .filter(|wheel| wheel.platform == platform.name())
        .flat_map(|wheel| wheel.members)
        .collect()
}

#[test]
fn the_listed_wheels_are_the_pinned_ones() {
    let listed: BTreeSet<&str> = wheels().iter().map(|wheel| wheel.sha256).collect();
    let pinned: BTreeSet<&str> = PINS
        .iter()
        .flat_map(|pins| pins.split_whitespace())
        .filter_map(|word| word.strip_prefix("--hash=sha256:"))
        .collect();
    assert_eq!(
        listed, pinned,
        "pins/wheels.lst is of other wheels; its head says how to remake it"
    );
}

#[test]
fn every_tool_is_where_the_wheels_of_each_platform_have_it() {
    for platform in Platform::PINNED {
        let members = members_for(platform);
        let mut needed = Tools::at(platform, "key", Path::new("")).needed();
        needed.extend([maturin(Path::new("")), uv(Path::new(""))]);
        for file in needed {
            let file = file.to_str().unwrap();
            assert!(
                members.contains(file),
                "no wheel for {} has {file}",
                platform.name()
            );
        }
    }
}

#[test]
fn macos_takes_no_openblas() {
    let mac = Platform::PINNED
        .into_iter()
        .find(|platform| platform.system == System::MacOs)
        .unwrap();
    let needed = Tools::at(mac, "key", Path::new("")).needed();
    assert!(
        needed
            .iter()
            .all(|file| !file.starts_with("scipy_openblas32"))
    );
    assert!(needed.iter().any(|file| file.ends_with("libclang.dylib")));
}
