//! `cargo xtask test`: runs every test, multi-process ones included.
//!
//! The libraries and programs that the tests link and load are built first, here, with
//! visible progress; a build script or a test would take the same minutes in silence. A
//! package's manifest states what its tests need, in `package.metadata.tests`, so that
//! `-p` builds no more than that:
//!
//! | | |
//! |---|---|
//! | `need = ["jaccl"]` | every pin's jaccl, of each series |
//! | `without = ["FIX"]` | the default pin's jaccl without this fix |
//! | `need = ["mlx"]` | the default pin's MLX, patched |
//! | `need = ["wheel"]` | the wheel of rail-matrix |
//! | `need = ["linux-wheels"]` | on Linux the default pin's wheels, stock and patched |
//! | `need = ["macos-wheel"]` | the default pin's wheel and prefix for macOS, patched |
//! | `need = ["clients"]` | `rails-ping` |
//! | `need = ["smollm2"]` | the model `smollm2` |
//! | `need = ["mlx-lm"]` | the environment of mlx-lm for the default pin, patched |
//!
//! Tests that need one of them are enabled by the package's feature `builds`, which this
//! verb sets; otherwise all tests of the package need it.

use std::{
    collections::BTreeSet,
    env,
    io::{self, Write},
};

use cargo_metadata::{MetadataCommand, Package};
use pins::{DEFAULT_PIN, Pin, Series};
use serde::Deserialize;
use toolchain::{
    build::Request,
    wheel::{Base, WheelRequest},
};
use xshell::cmd;

use crate::{
    cargo,
    exit::{self, Context, Failure, Result},
    flags, model, programs, say,
    session::Session,
};

/// Set for packages that have it.
const FEATURE: &str = "builds";

pub fn run(session: &Session, flags: &flags::Test) -> Result {
    let selection = Selection::of(&flags.cargo_test);
    let packages = packages(session)?;
    let packages: Vec<_> = packages
        .iter()
        .filter(|it| selection.takes(&it.name))
        .collect();
    let needs = Needs::of(&packages)?;
    needs.build(session)?;
    if needs.all.contains(&Need::Clients)
        && let Some(why) = no_foreign_clients()
    {
        say!("left out: the tests with Debian's verbs programs ({why})");
    }

    let mut features = Vec::new();
    for package in packages
        .iter()
        .filter(|it| it.features.contains_key(FEATURE))
    {
        features.push("--features".to_owned());
        features.push(format!("{}/{FEATURE}", package.name));
    }
    let everything: &[&str] = match selection.is_of_packages {
        true => &[],
        false => &["--workspace"],
    };
    let (shell, arguments) = (&session.shell, &flags.cargo_test);
    let test = cmd!(
        shell,
        "cargo test {everything...} {features...} {arguments...}"
    );
    let tests = cargo::run(session, test, |line| writeln!(io::stdout(), "{line}"))?;
    Ok(exit::passed(tests.is_success()))
}

/// The packages of the workspace.
fn packages(session: &Session) -> Result<Vec<Package>> {
    let command = MetadataCommand::new()
        .current_dir(session.toolchain.root())
        .no_deps()
        .cargo_command();
    let printed = launch::capture(&session.launcher, "listing the packages", command)?;
    let metadata = MetadataCommand::parse(printed)
        .map_err(Failure::ours)
        .with_context(|| "cargo's list of packages")?;
    Ok(metadata.packages)
}

/// The packages that arguments of `cargo test` select.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    /// Whether `-p` or `--workspace` is among them; otherwise this verb adds it for
    /// cargo.
    is_of_packages: bool,
    named: Vec<String>,
    excluded: Vec<String>,
}

impl Selection {
    fn of(arguments: &[String]) -> Self {
        let mut selection = Selection::default();
        // Arguments after `--` are for the test programs.
        let mut arguments = arguments
            .iter()
            .map(String::as_str)
            .take_while(|it| *it != "--");
        while let Some(argument) = arguments.next() {
            match argument {
                "--workspace" | "--all" => selection.is_of_packages = true,
                "-p" | "--package" => selection.name(arguments.next().unwrap_or_default()),
                "--exclude" => selection
                    .excluded
                    .extend(arguments.next().map(str::to_owned)),
                _ => {
                    if let Some(name) = argument.strip_prefix("--package=") {
                        selection.name(name);
                    } else if let Some(name) = argument.strip_prefix("--exclude=") {
                        selection.excluded.push(name.to_owned());
                    } else if let Some(name) = argument.strip_prefix("-p") {
                        selection.name(name.trim_start_matches('='));
                    }
                }
            }
        }
        selection
    }

    fn name(&mut self, name: &str) {
        self.is_of_packages = true;
        self.named.push(name.to_owned());
    }

    fn takes(&self, package: &str) -> bool {
        // It is not known here which packages a pattern selects, so it is taken for all.
        let matches = |names: &[String]| names.iter().any(|it| it == package || is_pattern(it));
        (self.named.is_empty() || matches(&self.named))
            && !self.excluded.iter().any(|it| it == package)
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The builds that are made before tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Need {
    Jaccl,
    Mlx,
    Wheel,
    LinuxWheels,
    MacosWheel,
    Clients,
    Uv,
    Smollm2,
    MlxLm,
}

/// `package.metadata.tests` of a manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OfTests {
    need: BTreeSet<Need>,
    without: BTreeSet<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    all: BTreeSet<Need>,
    without: BTreeSet<String>,
}

impl Needs {
    fn of(packages: &[&Package]) -> Result<Self> {
        let mut needs = Needs::default();
        for package in packages {
            let Some(tests) = package.metadata.get("tests") else {
                continue;
            };
            let of_tests = OfTests::deserialize(tests);
            let OfTests { need, without } = of_tests
                .map_err(Failure::ours)
                .with_context(|| format!("package.metadata.tests of {}", package.manifest_path))?;
            needs.all.extend(need);
            needs.without.extend(without);
        }
        Ok(needs)
    }

    fn build(&self, session: &Session) -> Result<()> {
        let toolchain = &session.toolchain;
        let pin = toolchain.pin(DEFAULT_PIN)?;
        if self.all.contains(&Need::Jaccl) {
            for version in Pin::versions(&toolchain.patches_folder())? {
                let pin = toolchain.pin(&version)?;
                for series in Series::ALL {
                    toolchain.build(&Request::jaccl(&pin, series))?;
                }
            }
        }
        for fix in &self.without {
            toolchain.build(&Request {
                without: vec![fix.clone()],
                ..Request::jaccl(&pin, Series::Patched)
            })?;
        }
        if self.all.contains(&Need::Mlx) {
            toolchain.build(&Request::mlx(&pin, Series::Patched))?;
        }
        if self.all.contains(&Need::Wheel) {
            // Its test packs it again, from the files compiled here.
            toolchain.rail_matrix_wheel(&toolchain.root().join("target/wheels"))?;
        }
        if self.all.contains(&Need::LinuxWheels) && cfg!(target_os = "linux") {
            for series in [Series::Patched, Series::Stock] {
                let request = WheelRequest {
                    pin: &pin,
                    series,
                    base: Base::Official,
                };
                toolchain.linux_wheel(&request, &toolchain.root().join("target/wheels"))?;
            }
        }
        if self.all.contains(&Need::MacosWheel) {
            let request = WheelRequest {
                pin: &pin,
                series: Series::Patched,
                base: Base::Official,
            };
            toolchain.macos_wheel(&request, &toolchain.root().join("target/wheels"))?;
            toolchain.build(&Request::mlx_of_wheel(&pin, Series::Patched))?;
        }
        if self.all.contains(&Need::Uv) {
            toolchain.uv()?;
        }
        if self.all.contains(&Need::Smollm2) {
            model::smollm2(session)?;
        }
        if self.all.contains(&Need::MlxLm) {
            toolchain.mlx_lm(&pin, Series::Patched)?;
        }
        if self.all.contains(&Need::Clients) && cfg!(target_os = "linux") {
            toolchain.rails_ping(&programs::provider_of_tests(session)?)?;
        }
        Ok(())
    }
}

/// Why Debian's verbs programs are not available here, if that is visible at once.
fn no_foreign_clients() -> Option<&'static str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !cfg!(target_os = "linux") {
        Some("they run on Linux")
    } else if has("ibv_rc_pingpong") && has("ib_send_bw") || has("apt-get") {
        None
    } else {
        Some("neither ibverbs-utils and perftest nor apt-get is here")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(line: &str) -> Selection {
        let arguments: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Selection::of(&arguments)
    }

    #[test]
    fn packages_are_read_as_cargo_reads_them() {
        for line in [
            "-p one",
            "--package one",
            "--package=one",
            "-pone",
            "-p=one",
        ] {
            let selection = selection(&format!("{line} a_test -- --nocapture -p two"));
            assert_eq!(selection.named, ["one"], "{line}");
            assert!(selection.is_of_packages);
            assert!(selection.takes("one") && !selection.takes("two"), "{line}");
        }
    }

    #[test]
    fn without_packages_all_are_meant_and_a_name_selects_none() {
        for line in ["", "a_test", "--test live", "--workspace"] {
            assert!(selection(line).takes("any"), "{line}");
        }
        assert!(!selection("a_test").is_of_packages);
        assert!(selection("--workspace").is_of_packages);
        let without = selection("--workspace --exclude one --exclude=two");
        assert!(!without.takes("one") && !without.takes("two") && without.takes("three"));
        assert!(selection("-p rail-*").takes("rail-verify"));
    }

    /// A misspelt need would cause a silent build, or none.
    #[test]
    fn every_manifest_says_what_its_tests_need_in_words_that_are_known() {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .expect("a workspace");
        let all: Vec<_> = metadata.packages.iter().collect();
        let needs = Needs::of(&all).expect("known words");
        assert_eq!(needs.all.len(), 9, "{needs:?}");
        assert!(needs.without.contains("ring-recv-prefill"), "{needs:?}");
        let of = |name: &str| {
            let packages: Vec<_> = all.iter().copied().filter(|it| *it.name == name).collect();
            assert_eq!(packages.len(), 1, "{name}");
            Needs::of(&packages).expect("known words")
        };
        assert_eq!(of("rail-matrix"), Needs::default());
        assert!(of("rail-bench").all.contains(&Need::MlxLm));
        assert!(of("rail-verify").all.contains(&Need::Jaccl));
    }
}
