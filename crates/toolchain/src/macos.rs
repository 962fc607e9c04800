//! What a Mac says about itself: its SDK, its Command Line Tools, its RDMA switch.

use std::process::Command;

use launch::Launcher;

use crate::{
    environment::Environment,
    error::{Error, Result},
    process,
};

/// The oldest SDK and deployment target that give MLX its jaccl.
pub const WITH_JACCL: &str = "26.2";

/// The numbers of an SDK's version, to compare it by.
fn numbers(version: &str) -> Vec<u32> {
    let parts = version.split('.');
    parts.map(|part| part.parse().unwrap_or(0)).collect()
}

/// Whether an SDK of this version has what jaccl needs.
pub fn has_jaccl(sdk: &str) -> bool {
    numbers(sdk) >= numbers(WITH_JACCL)
}

/// The SDK's version, when it is one with which jaccl is compiled.
///
/// # Errors
/// [`Error::MissingTool`] when it is too old.
pub fn checked_sdk(version: &str) -> Result<String> {
    if has_jaccl(version) {
        return Ok(version.to_owned());
    }
    Err(Error::MissingTool {
        tool: "a macOS SDK with jaccl's verbs",
        why: "the one that is installed is older than 26.2, and MLX would be without jaccl",
        remedy: format!("install Command Line Tools {WITH_JACCL} or newer (softwareupdate --list)"),
    })
}

/// What Apple's compiler for the GPU says that it is. The Command Line Tools do not have it.
///
/// # Errors
/// [`Error::MissingTool`] when there is none.
pub fn metal_compiler(environment: &Environment) -> Result<String> {
    let mut xcrun = Command::new("xcrun");
    environment
        .apply(&mut xcrun)
        .args(["-sdk", "macosx", "metal", "--version"]);
    process::ask(environment.launcher(), "asking the Metal compiler", xcrun)
        .map(|said| said.lines().next().unwrap_or_default().trim().to_owned())
        .map_err(|error| {
            error.unless_interrupted(|| Error::MissingTool {
                tool: "the Metal compiler",
                why: "MLX's kernels are compiled from source, which Command Line Tools cannot",
                remedy: "install Xcode and run `xcodebuild -downloadComponent MetalToolchain`; \
                         or build without --from-source, with the kernels of the official wheel"
                    .into(),
            })
        })
}

/// The version of Xcode, where it is the chosen developer folder.
pub fn xcode(environment: &Environment) -> Option<String> {
    let mut xcodebuild = Command::new("xcodebuild");
    environment.apply(&mut xcodebuild).arg("-version");
    let said = process::ask(environment.launcher(), "asking Xcode", xcodebuild);
    xcode_version(&said.ok()?)
}

/// `Xcode 26.2` on a line of its own.
fn xcode_version(said: &str) -> Option<String> {
    let version = said.lines().find_map(|line| line.strip_prefix("Xcode "))?;
    Some(version.trim().to_owned())
}

/// What is known to go wrong when MLX is compiled from source by a version of Xcode for the
/// deployment target [`WITH_JACCL`].
pub fn known_defect(xcode: &str) -> Option<&'static str> {
    let version = numbers(xcode);
    if version >= numbers("27") {
        Some("MLX does not compile with Xcode 27 (ml-explore/mlx 4533); take Xcode 26.2")
    } else if version >= numbers("26.5") {
        Some(
            "Xcode 26.5 miscompiles kernels (NAX) for a deployment target below 26.2 \
             (ml-explore/mlx 3586), which this build does not have",
        )
    } else {
        None
    }
}

/// What there is for a build of MLX from source, in words.
///
/// # Errors
/// When the user interrupts it.
pub fn metal_in_words(environment: &Environment) -> Result<String> {
    let metal = match metal_compiler(environment) {
        Err(Error::MissingTool { .. }) => None,
        found => Some(found?),
    };
    Ok(metal_and_xcode(metal, xcode(environment)))
}

fn metal_and_xcode(metal: Option<String>, xcode: Option<String>) -> String {
    let Some(metal) = metal else {
        return "none; only `cargo xtask build --from-source` needs it: `xcodebuild \
                -downloadComponent MetalToolchain` in Xcode"
            .into();
    };
    let defect = xcode.as_deref().and_then(known_defect);
    let xcode = xcode.map(|version| format!(", Xcode {version}"));
    let defect = defect.map(|defect| format!("; {defect}"));
    let [xcode, defect] = [xcode, defect].map(Option::unwrap_or_default);
    format!("{metal}{xcode}{defect}")
}

/// Where the Command Line Tools or Xcode are.
///
/// # Errors
/// [`Error::MissingTool`] when none are chosen.
pub fn developer_folder(launcher: &Launcher) -> Result<String> {
    let mut xcode_select = Command::new("xcode-select");
    xcode_select.arg("-p");
    process::ask(launcher, "asking xcode-select", xcode_select)
        .map(|folder| folder.trim().to_owned())
        .map_err(|error| {
            error.unless_interrupted(|| Error::MissingTool {
                tool: "the Command Line Tools",
                why: "they have the compilers and the SDK",
                remedy: "xcode-select --install".into(),
            })
        })
}

/// What `rdma_ctl status` says; `None` when it says neither.
pub fn rdma_is_enabled(said: &str) -> Option<bool> {
    let said = said.to_lowercase();
    if said.contains("disabled") {
        Some(false)
    } else if said.contains("enabled") {
        Some(true)
    } else {
        None
    }
}

/// The state of RDMA over Thunderbolt, in words.
pub fn rdma_status(launcher: &Launcher) -> String {
    let mut rdma_ctl = Command::new("rdma_ctl");
    rdma_ctl.arg("status");
    match process::ask(launcher, "asking rdma_ctl", rdma_ctl) {
        Ok(said) => rdma_in_words(&said),
        Err(_) => "no rdma_ctl, which macOS has from 26.2 on; emulated cables are used".into(),
    }
}

fn rdma_in_words(said: &str) -> String {
    match rdma_is_enabled(said) {
        Some(true) => "enabled".into(),
        Some(false) => "disabled; `rdma_ctl enable` in Recovery switches it on. Emulated \
                        cables need none"
            .into(),
        None => format!("rdma_ctl says: {}", said.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sdks_are_compared_as_numbers() {
        for (sdk, expected) in [
            ("26.2", true),
            ("26.10", true),
            ("27.0", true),
            ("26.1", false),
            ("26", false),
            ("15.5", false),
        ] {
            assert_eq!(has_jaccl(sdk), expected, "{sdk}");
        }
        let error = checked_sdk("15.5").unwrap_err();
        assert!(matches!(error, Error::MissingTool { .. }), "{error}");
    }

    #[test]
    fn known_defects_of_xcode_are_told_by_its_version() {
        let version = xcode_version("Xcode 27.0\nBuild version 27A1\n");
        assert_eq!(version.as_deref(), Some("27.0"));
        assert_eq!(
            xcode_version("xcode-select: error: tool 'xcodebuild' requires Xcode"),
            None
        );
        for (xcode, issue) in [
            ("26.2", None),
            ("26.4.1", None),
            ("26.5", Some("3586")),
            ("27.0", Some("4533")),
            ("27.1", Some("4533")),
        ] {
            let defect = known_defect(xcode);
            let is_it = match (defect, issue) {
                (Some(defect), Some(issue)) => defect.contains(issue),
                (defect, issue) => defect.is_none() && issue.is_none(),
            };
            assert!(is_it, "{xcode}: {defect:?}");
        }
    }

    #[test]
    fn a_mac_without_the_metal_compiler_is_whole() {
        let none = metal_and_xcode(None, None);
        assert!(
            none.contains("only `cargo xtask build --from-source`"),
            "{none}"
        );
        let there = metal_and_xcode(Some("Apple metal version 32".into()), Some("26.2".into()));
        assert_eq!(there, "Apple metal version 32, Xcode 26.2");
        let bad = metal_and_xcode(Some("Apple metal version 40".into()), Some("27.0".into()));
        assert!(bad.contains("4533"), "{bad}");
    }

    #[test]
    fn the_switch_is_read() {
        assert_eq!(rdma_is_enabled("enabled\n"), Some(true));
        assert_eq!(rdma_is_enabled("RDMA: Disabled\n"), Some(false));
        assert_eq!(rdma_is_enabled("usage: rdma_ctl\n"), None);
        assert!(rdma_in_words("disabled\n").contains("Recovery"));
        assert!(rdma_in_words("usage: x\n").contains("usage: x"));
    }
}
