//! The official wheels of a pin, as the Python index has them.

use std::{fs, io, path::Path};

use crate::error::{Error, IoContext, Result};

/// The file in a pin's folder that lists them, as `sha256sum` prints it, so that
/// `sha256sum -c` checks what was downloaded. Lines that begin with `#` are for people.
pub const WHEELS_FILE: &str = "wheels.sha256";

/// A wheel that the makers of MLX published, by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfficialWheel {
    /// Its file's name, which names the distribution, the version and the platform.
    pub file: String,
    /// The SHA-256 of its content, in hex.
    pub sha256: String,
}

/// Reads a list; without the file it is empty.
pub(crate) fn load(file: &Path) -> Result<Vec<OfficialWheel>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.at("read", file)?,
    };
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            parse(line).ok_or_else(|| {
                let problem = format!(
                    "line {} is no SHA-256, two spaces and the name of a wheel",
                    index + 1
                );
                Error::malformed(file, problem)
            })
        })
        .collect()
}

fn parse(line: &str) -> Option<OfficialWheel> {
    let (sha256, file) = line.split_once("  ")?;
    let is_hash = sha256.len() == 64
        && sha256
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_wheel = file.ends_with(".whl") && !file.contains('/') && file.split('-').count() >= 5;
    (is_hash && is_wheel).then(|| OfficialWheel {
        file: file.to_owned(),
        sha256: sha256.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_sha256sum_writes_it() {
        let hash = "84ffb60ee503f03eb684f5fb168d5cff31e2a16b7f27c1731eaf7662bd6e9b46";
        let name = "mlx_metal-0.31.2-py3-none-macosx_26_0_arm64.whl";
        let wheel = parse(&format!("{hash}  {name}")).expect("a line");
        assert_eq!((wheel.file.as_str(), wheel.sha256.as_str()), (name, hash));
        for line in [
            format!("{hash} {name}"),
            format!("{}  {name}", &hash[1..]),
            format!("{}  {name}", hash.to_uppercase()),
            format!("{hash}  ../{name}"),
            format!("{hash}  mlx.whl"),
        ] {
            assert_eq!(parse(&line), None, "{line}");
        }
    }

    #[test]
    fn a_damaged_list_names_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(WHEELS_FILE);
        assert_eq!(load(&file).expect("none"), []);
        fs::write(&file, "# of 0.31.2\n\nhash  file\n").expect("written");
        let error = load(&file).expect_err("no list").to_string();
        assert!(error.contains("line 3"), "{error}");
    }
}
