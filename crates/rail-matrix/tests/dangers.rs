//! The table of jaccl's defects says what the patches say of themselves.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rail_matrix::{
    Backend, Jaccl,
    check::{DANGERS, Danger, NOT_OF_A_MATRIX},
};

/// A patch of a pin that mends a defect.
struct Fix {
    name: String,
    /// Such as `hang -> pass: --op recv --backend ring --ranks 2 --wires 2,3,4`.
    verdicts: Vec<String>,
}

fn patches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../patches")
}

/// The pins that are releases, with their fixes.
fn pins() -> Vec<([u32; 3], Vec<Fix>)> {
    let folders = fs::read_dir(patches()).expect("the patches of this checkout");
    let mut pins = Vec::new();
    for folder in folders {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let parts: Vec<_> = name.split('.').map(str::parse).collect();
        let [Ok(major), Ok(minor), Ok(patch)] = parts[..] else {
            continue;
        };
        let files = fs::read_dir(folder.path()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let patches = files.filter(|path| path.extension().is_some_and(|it| it == "patch"));
        pins.push(([major, minor, patch], patches.filter_map(fix).collect()));
    }
    assert!(!pins.is_empty());
    pins
}

fn fix(path: PathBuf) -> Option<Fix> {
    let text = fs::read_to_string(&path).unwrap();
    let header: Vec<_> = text.lines().take_while(|line| *line != "---").collect();
    if !header.contains(&"X-Class: fix") {
        return None;
    }
    let start = header
        .iter()
        .position(|line| line.starts_with("X-Verdicts: "))?;
    let more = header[start + 1..]
        .iter()
        .take_while(|line| line.starts_with(' '));
    let first = header[start].trim_start_matches("X-Verdicts: ");
    Some(Fix {
        name: path.file_stem()?.to_str()?.to_owned(),
        verdicts: std::iter::once(first)
            .chain(more.map(|line| line.trim()))
            .map(str::to_owned)
            .collect(),
    })
}

/// The smallest value of a flag of a verdict.
fn flag<'a>(verdict: &'a str, name: &str) -> Option<&'a str> {
    let mut words = verdict.split_whitespace().skip_while(|word| *word != name);
    words.nth(1)?.split(',').next()
}

#[test]
fn every_fix_is_in_the_table_with_its_effect_and_the_groups_that_meet_it() {
    for (version, fixes) in pins() {
        for Fix { name, verdicts } in fixes {
            let known = DANGERS.iter().find(|danger| danger.patch == name);
            let Some(danger) = known else {
                assert!(
                    NOT_OF_A_MATRIX.contains(&&*name),
                    "{version:?} has {name}.patch, and the table does not: add it to DANGERS, or \
                     to NOT_OF_A_MATRIX if no right matrix meets its defect"
                );
                continue;
            };
            for verdict in &verdicts {
                let effect = verdict.split(" -> ").next();
                assert_eq!(effect, Some(danger.effect.name()), "{name}: {verdict}");
                let backends = match flag(verdict, "--backend") {
                    Some(backend) => vec![backend.parse::<Backend>().unwrap()],
                    None => Backend::ALL.to_vec(),
                };
                let number = |name, least| {
                    flag(verdict, name).map_or(least, |text| text.parse::<usize>().unwrap())
                };
                let (ranks, wires) = (number("--ranks", 2), number("--wires", 2));
                for backend in backends {
                    assert!(
                        danger.is_met(backend, ranks, wires),
                        "{name}: a {backend} of {ranks} ranks and {wires} wires meets it"
                    );
                }
            }
        }
    }
}

#[test]
fn a_version_has_the_defects_that_its_pin_mends_and_no_other() {
    for (version, fixes) in pins() {
        let mended: BTreeSet<_> = fixes.iter().map(|fix| &*fix.name).collect();
        let jaccl = Jaccl::of(version);
        let has = |danger: &&Danger| danger.is_in(&jaccl);
        let known: BTreeSet<_> = DANGERS.iter().filter(has).map(|it| it.patch).collect();
        let mended = mended
            .into_iter()
            .filter(|name| !NOT_OF_A_MATRIX.contains(name));
        assert_eq!(known, mended.collect::<BTreeSet<_>>(), "{version:?}");
    }
}
