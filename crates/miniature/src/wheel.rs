//! Wheels of a few files.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use zip::{ZipWriter, write::SimpleFileOptions};

/// Writes a wheel named `name` into `folder`, with `files` and with more lines of METADATA,
/// such as `Requires-Dist: mlx-cpu==1`.
pub fn write_wheel(
    folder: &Path,
    name: &str,
    files: &[(&str, &str)],
    metadata: &[&str],
) -> PathBuf {
    let parts: Vec<&str> = name.trim_end_matches(".whl").splitn(3, '-').collect();
    let [distribution, version, tag] = parts[..] else {
        panic!("{name} is no wheel's name");
    };
    let info = format!("{distribution}-{version}.dist-info");
    let metadata: String = metadata.iter().map(|line| format!("{line}\n")).collect();
    let mut all: Vec<(String, String)> = files
        .iter()
        .map(|(path, content)| ((*path).to_owned(), (*content).to_owned()))
        .collect();
    all.push((
        format!("{info}/METADATA"),
        format!("Metadata-Version: 2.4\nName: {distribution}\nVersion: {version}\n{metadata}"),
    ));
    all.push((
        format!("{info}/WHEEL"),
        format!("Wheel-Version: 1.0\nGenerator: miniature\nRoot-Is-Purelib: false\nTag: {tag}\n"),
    ));
    let record: String = all
        .iter()
        .map(|(path, content)| {
            let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(content));
            format!("{path},sha256={hash},{}\n", content.len())
        })
        .collect();
    all.push((
        format!("{info}/RECORD"),
        format!("{record}{info}/RECORD,,\n"),
    ));

    let path = folder.join(name);
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (path, content) in all {
        zip.start_file(path, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    path
}
