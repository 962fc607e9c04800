//! What to paste where a wheel of ours is to be used.
//!
//! ```text
//! wheel files ──Pinned::open──▶ Snippet ──text──▶ TOML, requirements or Nix
//!                                  │
//!                                  └──Pyproject::with──▶ the same file but for the entries
//! ```
//!
//! Only [`Pinned::open`], [`Pyproject::read`] and [`Pyproject::write`] touch files; the rest
//! are functions of text.
//!
//! How uv and pip read the entries was tried with uv 0.13.9 and pip 23.2:
//!
//! - uv applies a source only to a package that the project itself names. `mlx-metal` is
//!   wanted by `mlx` alone, so a source of it is ignored without a word, unless
//!   `constraint-dependencies` names it too. A constraint keeps what `mlx` demands of the
//!   version: an `mlx` of another release is refused. An override would install the two
//!   together.
//! - A source has no hash: uv refuses a fragment in its `url`, and ignores one in a constraint
//!   of a package that has a source. uv.lock gets the hash of what was there, so a person
//!   compares it once.
//! - `mlx-metal==0.32.0` takes `0.32.0+rails.1`, in both.

mod error;
mod marker;
mod pyproject;

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use pep440_rs::Version;
use serde::{Deserialize, Serialize};
use toml_edit::{InlineTable, Value};

pub use error::{Result, SnippetError};
pub use marker::Place;
pub use pyproject::{Applied, Change, Deed, Pyproject};

use crate::{Error, FileName, Wheel, error::IoContext, overlay::MANIFEST};

/// The program that reads the snippet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// uv, in a project whose MLX comes from the Python index.
    Uv,
    /// pip, in a file of requirements.
    Pip,
    /// Nix, where MLX is compiled from source.
    Nix,
    /// uv in exo's project, which has a source of `mlx` for each system.
    Exo,
}

impl Tool {
    /// Whether its snippet goes into a pyproject.toml.
    ///
    /// # Errors
    /// [`SnippetError::NoFile`] when it does not.
    pub fn reads_pyproject(self) -> Result<()> {
        match self {
            Tool::Uv | Tool::Exo => Ok(()),
            Tool::Pip => Err(SnippetError::NoFile { tool: "pip" }),
            Tool::Nix => Err(SnippetError::NoFile { tool: "Nix" }),
        }
    }
}

/// What a wheel of ours says of itself, from `mlx-rails.json` in its dist-info.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The pin's version.
    pub mlx: String,
    /// `stock` or `patched`.
    pub series: String,
    /// The N of `X+rails.N`, or of `X+tuned.N`.
    pub revision: u32,
    /// The git tree id of the patched sources.
    pub patched_tree: String,
    /// The patches in their order, each with the SHA-256 of its file in hex.
    pub patches: Vec<(String, String)>,
}

/// A wheel of ours that somebody is to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pinned {
    /// Its file; absolute.
    pub path: PathBuf,
    /// The distribution's name as indexes write it: `mlx-metal`.
    pub distribution: String,
    /// Its version.
    #[serde(serialize_with = "as_text")]
    pub version: Version,
    /// Where it runs.
    pub place: Place,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// What it says of itself.
    pub manifest: Manifest,
    /// `path` without links to folders, to compare it with other folders.
    #[serde(skip)]
    real: PathBuf,
}

fn as_text<S: serde::Serializer>(version: &Version, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(version)
}

impl Pinned {
    /// Opens a wheel, holds its files against their hashes, and reads its manifest.
    ///
    /// # Errors
    /// When it is no wheel, a damaged one, not one of ours, or for a system that no marker
    /// is known for.
    pub fn open(path: &Path) -> Result<Self> {
        let mut wheel = Wheel::open(path)?;
        let manifest = wheel.of_dist_info(MANIFEST);
        if !wheel.has(&manifest) {
            return Err(SnippetError::NotOurs {
                file: path.to_owned(),
                manifest,
            });
        }
        wheel.verify()?;
        let text = wheel.read(&manifest)?;
        let manifest = serde_json::from_slice(&text)
            .map_err(|error| Error::damaged(path, format!("{manifest}: {error}")))?;
        let FileName {
            name, version, tag, ..
        } = wheel.name().clone();
        let place = Place::of_tag(&tag.platform).ok_or_else(|| SnippetError::Place {
            file: path.to_owned(),
            platform: tag.platform,
        })?;
        Ok(Pinned {
            path: std::path::absolute(path).at("resolve", path)?,
            distribution: normal(&name),
            version,
            place,
            sha256: Wheel::sha256(path)?.0,
            manifest,
            real: real(path)?,
        })
    }

    /// The name of its file.
    pub fn file_name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The place of a file. A link to the file keeps its name, which is a wheel's.
fn real(path: &Path) -> Result<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = fs::canonicalize(folder).at("resolve", folder)?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// The name of a distribution as all its spellings are compared
/// ([specification](https://packaging.python.org/en/latest/specifications/name-normalization/)).
fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// Wheels that belong together, and where those who use them get them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    wheels: Vec<Pinned>,
    url_prefix: Option<String>,
}

impl Snippet {
    /// Takes wheels of one MLX, in any order. With `url_prefix` their files, or the files
    /// of the patches, lie below that address; without it the snippet names the files here.
    ///
    /// # Errors
    /// When there is no wheel, when two are for the same distribution and place, when they
    /// are of different patched sources, or when the prefix is no address.
    pub fn new(mut wheels: Vec<Pinned>, url_prefix: Option<&str>) -> Result<Self> {
        wheels.sort_by(|a, b| {
            (&a.distribution, &a.place, &a.path).cmp(&(&b.distribution, &b.place, &b.path))
        });
        for pair in wheels.windows(2) {
            let [a, b] = pair else { continue };
            if (&a.distribution, &a.place) == (&b.distribution, &b.place) {
                return Err(SnippetError::Twice {
                    distribution: a.distribution.clone(),
                    place: a.place.clone(),
                    files: [a.path.clone(), b.path.clone()],
                });
            }
        }
        let first = wheels.first().ok_or(SnippetError::NoWheel)?;
        if let Some(other) = (wheels.iter()).find(|it| it.manifest != first.manifest) {
            let of = |it: &Pinned| {
                let Manifest {
                    mlx,
                    series,
                    revision,
                    ..
                } = &it.manifest;
                format!("{} (MLX {mlx}, {series}, {revision})", it.file_name())
            };
            return Err(SnippetError::Mixed {
                first: of(first),
                other: of(other),
            });
        }
        if let Some(prefix) = url_prefix {
            check_prefix(prefix)?;
        }
        Ok(Snippet {
            wheels,
            url_prefix: url_prefix.map(|it| it.trim_end_matches('/').to_owned()),
        })
    }

    /// The wheels, by distribution and place.
    pub fn wheels(&self) -> &[Pinned] {
        &self.wheels
    }

    /// What to paste.
    ///
    /// # Errors
    /// [`SnippetError::NotForExo`].
    pub fn text(&self, tool: Tool) -> Result<String> {
        match tool {
            Tool::Uv => Ok(self.uv()),
            Tool::Pip => Ok(self.pip()),
            Tool::Nix => Ok(self.nix()),
            Tool::Exo => self.exo(),
        }
    }

    fn manifest(&self) -> &Manifest {
        // `new` refuses an empty list.
        &self.wheels[0].manifest
    }

    /// Comment lines that say what the wheels are.
    fn head(&self) -> String {
        let Manifest {
            mlx,
            series,
            revision,
            patches,
            ..
        } = self.manifest();
        format!(
            "# MLX {mlx}, {} patches (series {series}, revision {revision}).\n",
            patches.len()
        )
    }

    /// Comment lines with the hashes that uv writes into uv.lock.
    fn hashes_for_uv(&self) -> String {
        let mut text = "# uv.lock must have these hashes after `uv lock`:\n".to_owned();
        for wheel in &self.wheels {
            let _ = writeln!(
                text,
                "#   {}\n#     sha256:{}",
                wheel.file_name(),
                wheel.sha256
            );
        }
        text
    }

    fn uv(&self) -> String {
        let mut text = self.head() + &self.hashes_for_uv();
        text += "[tool.uv]\n\
                 # Without a constraint uv ignores a source of a package that only `mlx` requires.\n\
                 constraint-dependencies = [\n";
        for wheel in &self.wheels {
            let _ = writeln!(text, "    {},", quoted(&constraint(wheel)));
        }
        text += "]\n\n[tool.uv.sources]\n";
        let mut left = self.wheels.as_slice();
        while let [wheel, ..] = left {
            let same = left
                .iter()
                .take_while(|it| it.distribution == wheel.distribution);
            let (these, rest) = left.split_at(same.count());
            let entries = these.iter().map(|it| self.entry(it, None));
            let entries: Vec<String> = entries.map(|it| Value::from(it).to_string()).collect();
            let _ = match &entries[..] {
                [entry] => writeln!(text, "{} ={entry}", wheel.distribution),
                entries => {
                    let entries = entries.join(",\n   ");
                    writeln!(text, "{} = [\n   {entries},\n]", wheel.distribution)
                }
            };
            left = rest;
        }
        text
    }

    fn exo(&self) -> Result<String> {
        self.refuse_for_exo()?;
        let mut text = self.head() + &self.hashes_for_uv();
        text += "[tool.uv.sources]\nmlx = [\n";
        for wheel in &self.wheels {
            let entry = Value::from(self.entry(wheel, None));
            let _ = writeln!(text, "   {entry},");
        }
        text += "    # The entries for other systems stay.\n]\n";
        Ok(text)
    }

    /// exo compiles `mlx` as one wheel. What is split is not installed there.
    fn refuse_for_exo(&self) -> Result<()> {
        match self.wheels.iter().find(|it| it.distribution != "mlx") {
            Some(wheel) => Err(SnippetError::NotForExo {
                file: wheel.path.clone(),
                distribution: wheel.distribution.clone(),
            }),
            None => Ok(()),
        }
    }

    fn pip(&self) -> String {
        let mut text = self.head();
        text += "# With a hash on one line pip demands one on every line.\n";
        if self.url_prefix.is_none() {
            let folders = self.wheels.iter().filter_map(|it| it.path.parent());
            for folder in folders.collect::<BTreeSet<_>>() {
                let folder = folder.to_string_lossy();
                let _ = match folder.contains(char::is_whitespace) {
                    // pip reads a line of options as a shell does.
                    true => writeln!(text, "--find-links {folder:?}"),
                    false => writeln!(text, "--find-links {folder}"),
                };
            }
        }
        for wheel in &self.wheels {
            let Pinned {
                distribution,
                version,
                place,
                sha256,
                ..
            } = wheel;
            let what = match self.url(wheel) {
                Some(url) => format!("{distribution} @ {url}"),
                None => format!("{distribution}=={version}"),
            };
            let marker = place.marker();
            let _ = writeln!(text, "{what} ; {marker} \\\n    --hash=sha256:{sha256}");
        }
        text
    }

    fn nix(&self) -> String {
        let Manifest {
            mlx,
            patched_tree,
            patches,
            ..
        } = self.manifest();
        let mut text = self.head();
        let _ = writeln!(
            text,
            "# With all of them MLX has the git tree id {patched_tree}."
        );
        match &self.url_prefix {
            Some(_) => {
                text += "# By fetchurl, because fetchpatch hashes what it made of a file.\n";
            }
            None => {
                let _ = writeln!(
                    text,
                    "# The files are those of patches/{mlx} in mlx-rails, copied beside this one."
                );
            }
        }
        text += "patches = [\n";
        for (name, sha256) in patches {
            let hash = sri(sha256);
            let _ = match &self.url_prefix {
                Some(prefix) => writeln!(
                    text,
                    "  (fetchurl {{\n    url = \"{prefix}/{name}.patch\";\n    hash = \"{hash}\";\n  }})"
                ),
                None => writeln!(text, "  ./patches/{mlx}/{name}.patch # {hash}"),
            };
        }
        text + "];\n"
    }

    /// The address of a wheel, if wheels have one.
    fn url(&self, wheel: &Pinned) -> Option<String> {
        let prefix = self.url_prefix.as_ref()?;
        Some(format!("{prefix}/{}", encoded(&wheel.file_name())))
    }

    /// The entry of `tool.uv.sources`. A path in `project`, the folder of the
    /// pyproject.toml, is written from there.
    fn entry(&self, wheel: &Pinned, project: Option<&Path>) -> InlineTable {
        let mut entry = InlineTable::new();
        match self.url(wheel) {
            Some(url) => entry.insert("url", url.into()),
            None => {
                let inside = project.and_then(|it| wheel.real.strip_prefix(it).ok());
                let path = inside.unwrap_or(&wheel.path).to_string_lossy();
                entry.insert("path", path.into_owned().into())
            }
        };
        entry.insert("marker", wheel.place.marker().into());
        // As it stands behind a `=`.
        entry.decor_mut().set_prefix(" ");
        entry
    }
}

/// The entry of `tool.uv.constraint-dependencies`.
fn constraint(wheel: &Pinned) -> String {
    let Pinned {
        distribution,
        version,
        place,
        ..
    } = wheel;
    format!("{distribution}=={version} ; {}", place.marker())
}

fn check_prefix(prefix: &str) -> Result<()> {
    // Not file://, which uv refuses as the address of a source.
    let address = ["https://", "http://"]
        .iter()
        .find_map(|scheme| prefix.strip_prefix(scheme));
    let problem = match address {
        None => "begins with neither https:// nor http://",
        Some("") => "names no place",
        Some(it) if it.contains(['?', '#']) => "has a query or a fragment",
        Some(it) if it.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') => {
            "has a character that an address cannot have"
        }
        Some(_) => return Ok(()),
    };
    Err(SnippetError::Prefix {
        prefix: prefix.to_owned(),
        problem,
    })
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The path of an address.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// A SHA-256 in hex as Nix writes it
/// ([Subresource Integrity](https://www.w3.org/TR/SRI/)).
pub fn sri(sha256: &str) -> String {
    let digits = sha256.as_bytes().chunks(2);
    let bytes = digits.map(|pair| {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        u8::from_str_radix(pair, 16).unwrap_or_default()
    });
    format!(
        "sha256-{}",
        BASE64_STANDARD.encode(bytes.collect::<Vec<_>>())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_indexes_do() {
        for name in ["mlx_metal", "MLX-metal", "mlx.Metal", "mlx_-metal"] {
            assert_eq!(normal(name), "mlx-metal", "{name}");
        }
    }

    /// What `nix hash convert --to sri` gives for the hash of nothing.
    #[test]
    fn hashes_are_nix_s() {
        assert_eq!(
            sri("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        );
    }

    #[test]
    fn an_address_has_no_plus_and_no_space() {
        assert_eq!(encoded("/a b/x-1+rails.1.whl"), "/a%20b/x-1%2Brails.1.whl");
    }

    #[test]
    fn a_prefix_is_an_address() {
        for good in ["https://example.org/wheels", "http://localhost:1/"] {
            assert!(check_prefix(good).is_ok(), "{good}");
        }
        for bad in [
            "example.org",
            "ftp://x",
            "file:///srv/w",
            "https://",
            "https://x/?a=b",
            "https://x/a b",
        ] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }
}
