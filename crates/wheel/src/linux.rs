//! That a libmlx with jaccl in it fits into a wheel for Linux.
//!
//! The official libmlx.so has no jaccl, so the whole library is replaced, and the OpenBLAS
//! that it was compiled for is put beside it. The Python modules (`mlx`, one for each
//! CPython) are the official ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use crate::{
    check::Check,
    elf::{SharedObject, SymbolVersion},
};

/// Where wheels have MLX.
pub const LIBMLX: &str = "mlx/lib/libmlx.so";
/// Where ours have OpenBLAS.
pub const OPENBLAS: &str = "mlx/lib/libscipy_openblas.so";

/// The function that every library of ours has, which answers with the key of its build.
const BUILD_KEY: &str = "rails_build_key";

/// Text that is in jaccl and not in the stub that upstream compiles in its place.
const JACCL_MARK: &[u8] = b"JACCL_IBV_DEVICES";

/// The libraries that every Linux has which a tag of manylinux names, as far as a library
/// of numbers could want them (auditwheel's `manylinux-policy.json`); the loader is one.
const OF_EVERY_LINUX: [&str; 10] = [
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libatomic.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
];

/// From which minor version of glibc on a tag of manylinux promises which libstdc++
/// (auditwheel's `manylinux-policy.json`).
const LIBSTDCXX: [(u32, [u32; 3]); 6] = [
    (17, [3, 4, 19]),
    (28, [3, 4, 25]),
    (31, [3, 4, 28]),
    (34, [3, 4, 29]),
    (35, [3, 4, 30]),
    (39, [3, 4, 33]),
];

/// What a new libmlx is held against.
#[derive(Debug, Clone, Copy)]
pub struct Fit<'a> {
    /// The new library.
    pub ours: &'a SharedObject,
    /// Its bytes.
    pub content: &'a [u8],
    /// The one whose place it takes.
    pub base: &'a SharedObject,
    /// The libraries that were put into the wheel, by their path in it: ours, and what it
    /// loads.
    pub libraries: &'a BTreeMap<String, SharedObject>,
    /// The official Python modules that will load it, by the name of their wheel.
    pub modules: &'a BTreeMap<String, SharedObject>,
    /// The key of the build that it comes from.
    pub key: &'a str,
    /// The platform tag of the new wheel.
    pub platform: &'a str,
}

impl Fit<'_> {
    /// Every check of the library, each as a line of the report.
    pub fn checks(&self) -> Vec<Check> {
        let Fit { ours, base, .. } = self;
        let soname = |it: &SharedObject| it.soname.clone().unwrap_or_else(|| "none".to_owned());
        vec![
            Check::equal("processor", &ours.machine, &base.machine),
            Check::equal("soname", &soname(ours), &soname(base)),
            self.wanted_by_modules(),
            self.dependencies(),
            self.run_paths(),
            fits_platform(
                self.platform,
                &ours.machine,
                &needs(self.libraries.values()),
            ),
            self.build_key(),
            has_jaccl(self.content),
        ]
    }

    /// The modules find in ours what they find in the base.
    fn wanted_by_modules(&self) -> Check {
        const NAME: &str = "wanted-by-python";
        let mut missing = Vec::new();
        let mut most = 0;
        for (name, module) in self.modules {
            let wanted: BTreeSet<&String> = module.wants.intersection(&self.base.exports).collect();
            if wanted.is_empty() {
                let problem = format!("{name} wants nothing of the base's libmlx");
                return Check::of(NAME, false, problem);
            }
            let lacking = wanted.iter().filter(|it| !self.ours.exports.contains(**it));
            missing.extend(lacking.map(|it| format!("{it} ({name})")));
            most = most.max(wanted.len());
        }
        if self.modules.is_empty() {
            return Check::of(
                NAME,
                false,
                "there is no official module to hold it against",
            );
        }
        let whole = format!(
            "all of the up to {most} symbols that {} official modules want",
            self.modules.len()
        );
        Check::none_missing(NAME, &missing, whole)
    }

    /// Every library that a library of the wheel loads is in the wheel where it looks, or is
    /// one of every Linux.
    fn dependencies(&self) -> Check {
        let mut missing = Vec::new();
        let mut found = BTreeSet::new();
        for (path, library) in self.libraries {
            for needed in &library.needed {
                if OF_EVERY_LINUX.contains(&needed.as_str()) {
                    continue;
                }
                let folders = library.run_path.iter().flat_map(|it| &it.folders);
                let mut folders = folders.filter_map(|folder| of_wheel(path, folder));
                let is_there = |folder: PathBuf| {
                    let file = folder.join(needed);
                    self.libraries.contains_key(&*file.to_string_lossy())
                };
                if folders.any(is_there) {
                    found.insert(needed.as_str());
                } else {
                    missing.push(format!("{needed} ({path})"));
                }
            }
        }
        let found: Vec<&str> = found.into_iter().collect();
        let whole = match found.as_slice() {
            [] => "of every Linux".to_owned(),
            found => format!(
                "{} in the wheel, the others of every Linux",
                found.join(", ")
            ),
        };
        Check::none_missing("dependencies", &missing, whole)
    }

    /// Our libraries look nowhere but in the wheel, and there before `LD_LIBRARY_PATH`.
    fn run_paths(&self) -> Check {
        const NAME: &str = "run-path";
        let Some(run_path) = &self.ours.run_path else {
            return Check::of(
                NAME,
                false,
                "none, so the libraries beside it are not found",
            );
        };
        let text = run_path.folders.join(":");
        let outside = (run_path.folders.iter()).find(|folder| of_wheel(LIBMLX, folder).is_none());
        match outside {
            Some(folder) => Check::of(NAME, false, format!("{folder} is not in the wheel")),
            None if run_path.yields => Check::of(
                NAME,
                false,
                format!("{text}, but LD_LIBRARY_PATH is looked at before it (RUNPATH)"),
            ),
            None => Check::of(
                NAME,
                true,
                format!("{text}, before LD_LIBRARY_PATH (RPATH)"),
            ),
        }
    }

    fn build_key(&self) -> Check {
        let answers = self.ours.exports.contains(BUILD_KEY);
        let ok = answers && contains(self.content, self.key.as_bytes());
        let detail = match ok {
            true => self.key.to_owned(),
            false => format!("it does not answer with {}", self.key),
        };
        Check::of("build-key", ok, detail)
    }
}

/// That a platform tag promises what libraries need.
pub fn fits_platform(tag: &str, machine: &str, needs: &Needs) -> Check {
    const NAME: &str = "platform";
    let text = format!("{needs}; the wheel is for {tag}");
    match platform(machine, needs) {
        Ok(platform) if covers(tag, &platform) => Check::of(NAME, true, text),
        Ok(platform) => Check::of(NAME, false, format!("{text}, and {platform} is wanted")),
        Err(problem) => Check::of(NAME, false, format!("{text}; {problem}")),
    }
}

/// That a libmlx has jaccl in it, by its bytes.
pub fn has_jaccl(content: &[u8]) -> Check {
    let ok = contains(content, JACCL_MARK);
    let detail = if ok {
        "in libmlx"
    } else {
        "not in libmlx, but a stub"
    };
    Check::of("jaccl", ok, detail)
}

/// A folder of a run path as a folder of the wheel, for the library at `path`.
fn of_wheel(path: &str, folder: &str) -> Option<PathBuf> {
    let rest = folder.strip_prefix("$ORIGIN")?;
    let rest = match rest.strip_prefix('/') {
        Some(rest) => rest,
        None if rest.is_empty() => rest,
        None => return None,
    };
    let mut folder = Path::new(path).parent()?.to_owned();
    for part in Path::new(rest).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => folder.push(name),
            // Above the top there is nothing of the wheel.
            Component::ParentDir if folder.pop() => {}
            _ => return None,
        }
    }
    Some(folder)
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

/// The newest versions that libraries want.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Of glibc.
    pub glibc: Option<SymbolVersion>,
    /// Of libstdc++.
    pub libstdcxx: Option<SymbolVersion>,
}

impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<String> = [&self.glibc, &self.libstdcxx]
            .into_iter()
            .flatten()
            .map(SymbolVersion::to_string)
            .collect();
        match all.as_slice() {
            [] => f.write_str("no version is wanted"),
            all => write!(f, "{} is wanted", all.join(" and ")),
        }
    }
}

/// The newest versions that any of the libraries wants.
pub fn needs<'a>(libraries: impl IntoIterator<Item = &'a SharedObject>) -> Needs {
    let mut needs = Needs::default();
    for library in libraries {
        for (set, newest) in [
            ("GLIBC", &mut needs.glibc),
            ("GLIBCXX", &mut needs.libstdcxx),
        ] {
            let wanted = library.newest(set).cloned();
            *newest = wanted.max(newest.take());
        }
    }
    needs
}

/// The platform tag of the oldest Linux that has what is needed.
///
/// # Errors
/// A sentence, when no tag promises it.
pub fn platform(machine: &str, needs: &Needs) -> Result<String, String> {
    let minor = match &needs.glibc {
        None => 0,
        Some(version) => match version.number.as_slice() {
            [2] => 0,
            [2, minor, ..] => *minor,
            _ => return Err(format!("no tag is known that promises {version}")),
        },
    };
    let wanted = needs.libstdcxx.as_ref().map_or(&[][..], |it| &it.number);
    let promised = LIBSTDCXX.iter().find(|(_, version)| wanted <= &version[..]);
    match promised {
        Some((from, _)) => Ok(format!("manylinux_2_{}_{machine}", minor.max(*from))),
        None => {
            Err("no tag is known that promises this libstdc++; compile with an older GCC".into())
        }
    }
}

/// Whether a platform tag is for no older a Linux than another of the same processor.
pub fn covers(tag: &str, other: &str) -> bool {
    let read = |tag: &str| {
        let (minor, machine) = tag.strip_prefix("manylinux_2_")?.split_once('_')?;
        Some((minor.parse::<u32>().ok()?, machine.to_owned()))
    };
    match (read(tag), read(other)) {
        (Some((minor, machine)), Some((other, of))) => machine == of && minor >= other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::RunPath;

    fn version(set: &str, number: &[u32]) -> SymbolVersion {
        SymbolVersion {
            set: set.to_owned(),
            number: number.to_vec(),
        }
    }

    fn library(soname: &str, needed: &[&str], exports: &[&str]) -> SharedObject {
        let text = |it: &&str| (*it).to_owned();
        SharedObject {
            machine: "x86_64".into(),
            soname: Some(soname.into()),
            needed: needed.iter().map(text).collect(),
            run_path: Some(RunPath {
                folders: vec!["$ORIGIN".into()],
                yields: false,
            }),
            exports: exports.iter().map(text).collect(),
            wants: BTreeSet::new(),
            versions: BTreeMap::from([
                ("libc.so.6".to_owned(), [version("GLIBC", &[2, 35])].into()),
                (
                    "libstdc++.so.6".to_owned(),
                    [version("GLIBCXX", &[3, 4, 30])].into(),
                ),
            ]),
        }
    }

    /// A wheel in which everything holds.
    struct Case {
        ours: SharedObject,
        content: Vec<u8>,
        openblas: Option<SharedObject>,
        module: SharedObject,
        platform: &'static str,
    }

    impl Case {
        fn whole() -> Self {
            let blas = "libscipy_openblas.so";
            let mut module = library("core.so", &["libmlx.so"], &[]);
            module.wants = ["eval", "malloc"].map(str::to_owned).into();
            Case {
                ours: library("libmlx.so", &[blas, "libc.so.6"], &["eval", BUILD_KEY]),
                content: b"\0k3y\0JACCL_IBV_DEVICES\0".to_vec(),
                openblas: Some(library(blas, &["libm.so.6"], &[])),
                module,
                platform: "manylinux_2_35_x86_64",
            }
        }

        /// The names of the checks that do not hold.
        fn failed(&self) -> Vec<String> {
            let base = library("libmlx.so", &["libc.so.6"], &["eval", "unused"]);
            let mut libraries = BTreeMap::from([(LIBMLX.to_owned(), self.ours.clone())]);
            libraries.extend(self.openblas.clone().map(|it| (OPENBLAS.to_owned(), it)));
            let fit = Fit {
                ours: &self.ours,
                content: &self.content,
                base: &base,
                libraries: &libraries,
                modules: &BTreeMap::from([("mlx".to_owned(), self.module.clone())]),
                key: "k3y",
                platform: self.platform,
            };
            let failed = fit.checks().into_iter().filter(|check| !check.ok);
            failed.map(|check| check.name).collect()
        }
    }

    #[test]
    fn each_check_has_a_wheel_that_fails_it_alone() {
        assert_eq!(Case::whole().failed(), [""; 0]);
        let fails = |name: &str, spoil: &dyn Fn(&mut Case)| {
            let mut case = Case::whole();
            spoil(&mut case);
            assert_eq!(case.failed(), [name]);
        };
        fails("soname", &|it| it.ours.soname = None);
        fails("wanted-by-python", &|it| {
            it.ours.exports.remove("eval");
        });
        fails("wanted-by-python", &|it| it.module.wants.clear());
        fails("dependencies", &|it| it.openblas = None);
        fails("dependencies", &|it| {
            it.ours.needed.push("libgfortran.so.5".into())
        });
        fails("platform", &|it| it.platform = "manylinux_2_34_x86_64");
        fails("platform", &|it| it.platform = "linux_x86_64");
        fails("build-key", &|it| {
            it.ours.exports.remove(BUILD_KEY);
        });
        fails("build-key", &|it| it.content = JACCL_MARK.to_vec());
        fails("jaccl", &|it| it.content = b"k3y".to_vec());
        let folder = |folder: &'static str, yields| {
            move |it: &mut Case| {
                let folders = vec!["$ORIGIN".to_owned(), folder.to_owned()];
                it.ours.run_path = Some(RunPath { folders, yields });
            }
        };
        fails("run-path", &folder("/opt/lib", false));
        fails("run-path", &folder("$ORIGIN/../../../lib", false));
        fails("run-path", &folder("$ORIGINAL", false));
        fails("run-path", &folder("$ORIGIN/../lib", true));
        let mut case = Case::whole();
        case.ours.machine = "aarch64".into();
        assert_eq!(case.failed(), ["processor", "platform"]);
    }

    #[test]
    fn a_tag_is_the_oldest_linux_that_has_what_is_wanted() {
        for (glibc, libstdcxx, tag) in [
            (&[2, 35][..], &[3, 4, 30][..], Some(35)),
            (&[2, 28], &[3, 4, 25], Some(28)),
            (&[2, 2, 5], &[3, 4], Some(17)),
            // The compiler is newer than the system.
            (&[2, 28], &[3, 4, 30], Some(35)),
            (&[2, 36], &[3, 4, 33], Some(39)),
            (&[2, 41], &[3, 4, 99], None),
        ] {
            let needs = Needs {
                glibc: Some(version("GLIBC", glibc)),
                libstdcxx: Some(version("GLIBCXX", libstdcxx)),
            };
            let expected = tag.map(|minor| format!("manylinux_2_{minor}_x86_64"));
            assert_eq!(platform("x86_64", &needs).ok(), expected, "{needs}");
        }
        assert_eq!(
            platform("aarch64", &Needs::default()),
            Ok("manylinux_2_17_aarch64".to_owned())
        );
    }
}
