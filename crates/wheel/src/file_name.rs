//! The name of a wheel's file, which says what is in it and where it runs.

use std::{fmt, path::Path, str::FromStr};

use pep440_rs::Version;

use crate::error::{Error, Result};

/// `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`, by the
/// [specification of binary distributions](https://packaging.python.org/en/latest/specifications/binary-distribution-format/).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The distribution's name with `_` for `-`.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The build tag, where there is one.
    pub build: Option<String>,
    /// Python tags, ABI tags and platform tags, each set joined by `.`.
    pub tag: Tag,
}

/// The three sets of tags of a wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// For example `py3`.
    pub python: String,
    /// For example `none`.
    pub abi: String,
    /// For example `macosx_26_0_arm64`.
    pub platform: String,
}

impl FileName {
    /// Reads the last part of a path.
    ///
    /// # Errors
    /// When it is not a wheel's name.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::parse(&name).ok_or_else(|| Error::Unfit {
            file: path.to_owned(),
            problem: "is not named like a wheel, NAME-VERSION-PYTHON-ABI-PLATFORM.whl".into(),
            remedy: "pass a wheel under the name that pip downloads it by".into(),
        })
    }

    /// Reads a file's name.
    pub fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.strip_suffix(".whl")?.split('-').collect();
        let (build, python, abi, platform) = match parts[..] {
            [_, _, python, abi, platform] => (None, python, abi, platform),
            [_, _, build, python, abi, platform] => (Some(build), python, abi, platform),
            _ => return None,
        };
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        Some(FileName {
            name: parts[0].to_owned(),
            version: Version::from_str(parts[1]).ok()?,
            build: build.map(str::to_owned),
            tag: Tag {
                python: python.to_owned(),
                abi: abi.to_owned(),
                platform: platform.to_owned(),
            },
        })
    }

    /// The folder in the wheel that holds its METADATA and RECORD.
    pub fn dist_info(&self) -> String {
        format!("{}-{}.dist-info", self.name, self.version)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.version)?;
        if let Some(build) = &self.build {
            write!(f, "-{build}")?;
        }
        write!(f, "-{}.whl", self.tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.python, self.abi, self.platform)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_wheels_are_read_and_written_again() {
        for name in [
            "mlx_metal-0.31.2-py3-none-macosx_26_0_arm64.whl",
            "mlx-0.32.0.dev20260622+cc3f3e60-cp313-cp313-macosx_26_0_arm64.whl",
            "cmeel_fmt-12.1.0-0-py3-none-manylinux_2_28_aarch64.whl",
            "mlx_metal-0.31.2+rails.3-py3-none-macosx_26_0_arm64.whl",
        ] {
            let parsed = FileName::parse(name).expect(name);
            assert_eq!(parsed.to_string(), name);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "mlx.whl",
            "mlx-0.31.2.tar.gz",
            "mlx-0.31.2-py3-none.whl",
            "mlx-version-py3-none-any.whl",
            "mlx-0.31.2-py3--any.whl",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
