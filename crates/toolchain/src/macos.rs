//! What a Mac says about itself: its SDK, its Command Line Tools, its RDMA switch.

use std::process::Command;

use launch::Launcher;

use crate::{
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
    fn the_switch_is_read() {
        assert_eq!(rdma_is_enabled("enabled\n"), Some(true));
        assert_eq!(rdma_is_enabled("RDMA: Disabled\n"), Some(false));
        assert_eq!(rdma_is_enabled("usage: rdma_ctl\n"), None);
        assert!(rdma_in_words("disabled\n").contains("Recovery"));
        assert!(rdma_in_words("usage: x\n").contains("usage: x"));
    }
}
