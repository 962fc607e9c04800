//! A pin of an MLX that no pin is of yet: from a tag or a commit to a folder below
//! `patches/`.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use patch_series::{Added, NewPin, git::git_that_fetches};
use pins::{Listing, ObjectId, Pin, SourcePin, Upstream};

use crate::{
    Toolchain, archive,
    error::{Error, IoContext, Result},
    fetch::Source,
};

/// Where an MLX that is no pin yet comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// The git repository that the other pins name.
    #[default]
    Upstream,
    /// A clone, a folder, or an archive of one.
    Path(PathBuf),
}

impl FromStr for Origin {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "upstream" => Origin::Upstream,
            path => Origin::Path(path.into()),
        })
    }
}

/// What is to be pinned, as its caller names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// A tag, and the release that it is.
    Tag { tag: String, version: String },
    /// The 40 digits of a commit.
    Commit(String),
}

impl Name {
    fn parse(name: &str) -> Result<Self> {
        let refuse = |problem: String| {
            Err(Error::Input {
                input: name.to_owned(),
                problem,
                remedy: "name a tag, such as v0.32.0, or all 40 digits of a commit".into(),
            })
        };
        if name.parse::<ObjectId>().is_ok() {
            return Ok(Name::Commit(name.to_lowercase()));
        }
        if (7..40).contains(&name.len()) && name.chars().all(|c| c.is_ascii_hexdigit()) {
            return refuse("is a commit by some of its digits only".into());
        }
        match pins::version(name.strip_prefix('v').unwrap_or(name)) {
            Ok(version) => Ok(Name::Tag {
                tag: format!("v{version}"),
                version: version.to_string(),
            }),
            Err(problem) => refuse(problem),
        }
    }

    /// As git fetches it.
    fn reference(&self) -> String {
        match self {
            Name::Tag { tag, .. } => format!("refs/tags/{tag}"),
            Name::Commit(commit) => commit.clone(),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Name::Tag { tag, .. } => tag,
            Name::Commit(commit) => commit,
        }
    }
}

impl Toolchain {
    /// Makes the pin of a tag or a commit of MLX, with the mlx-c and the patches of the
    /// pin that fits best; see [`Workshop::add_pin`](patch_series::Workshop::add_pin). What comes
    /// from a path counts as what `name` says; its tree id is for the caller to compare.
    ///
    /// # Errors
    /// [`Error::Input`] for a name that is no release or that the origin does not have, for
    /// a path that is no MLX or another one, and for a version that has a folder already.
    pub fn add_pin(&self, name: &str, from: &Origin) -> Result<Added> {
        let name = Name::parse(name)?;
        if let Name::Tag { version, .. } = &name {
            self.series().free_version(version)?;
        }
        let upstream = self.upstream_of_pins()?;
        let scratch = self.scratch()?;
        let folder = scratch.path().join("fetched");
        let (folder, revision) = match from {
            Origin::Upstream => {
                let url = upstream.as_ref().ok_or_else(|| Error::Input {
                    input: "upstream".into(),
                    problem: "no pin names a repository of MLX".into(),
                    remedy: "use --from PATH".into(),
                })?;
                let commit = self.fetch_reference(url, &name, &folder)?;
                (folder, commit)
            }
            // What lies around in a clone is not of the tag.
            Origin::Path(path) if path.join(".git").exists() => {
                let clone = std::path::absolute(path).at("resolve", path)?;
                let clone = clone.to_string_lossy();
                let commit = self.fetch_reference(&clone, &name, &folder)?;
                (folder, commit)
            }
            Origin::Path(path) => (folder_of(path, folder)?, name.as_str().to_owned()),
        };
        let version = version_of(&name, &folder, from)?;
        let listing = Listing::of_folder(&folder)?;
        let mlx = SourcePin {
            name: format!("MLX {version}"),
            tree: listing.tree_id(),
            listing,
            registry: None,
            upstream: upstream.map(|git| Upstream {
                git,
                revision,
                path: String::new(),
            }),
            layout: Default::default(),
        };
        let series = self.series();
        series.free_version(&version)?;
        self.fetch(&mlx, &Source::Path(folder))?;
        Ok(series.add_pin(&NewPin {
            version,
            tag: name.as_str().to_owned(),
            mlx,
        })?)
    }

    /// The repository of MLX that the newest pin names.
    fn upstream_of_pins(&self) -> Result<Option<String>> {
        for version in Pin::versions(&self.patches_folder())?.iter().rev() {
            if let Some(upstream) = self.pin(version)?.mlx.upstream {
                return Ok(Some(upstream.git));
            }
        }
        Ok(None)
    }

    /// Checks `name` out into `folder`, and gives its commit.
    fn fetch_reference(&self, url: &str, name: &Name, folder: &Path) -> Result<String> {
        self.refuse_remote(url)?;
        fs::create_dir_all(folder).at("create", folder)?;
        let reference = name.reference();
        let what = format!("fetching {} of {url}", name.as_str());
        self.progress.step("Fetching", name.as_str());
        let run = |arguments: &[&str]| {
            let command = git_that_fetches(folder, arguments);
            launch::run(&self.launcher, &what, command, None, |_| {})
        };
        run(&["init", "--quiet"])?;
        let fetched = run(&["fetch", "--quiet", "--depth", "1", url, &reference]);
        fetched.map_err(|error| match Error::from(error) {
            Error::Command { tail, .. } if is_unknown(&tail) => Error::Input {
                input: name.as_str().to_owned(),
                problem: format!("is not in {url}"),
                remedy: format!("`git ls-remote --tags {url}` lists what there is"),
            },
            other => other,
        })?;
        run(&["checkout", "--quiet", "FETCH_HEAD"])?;
        let ask = git_that_fetches(folder, &["rev-parse", "HEAD"]);
        let commit = launch::capture(&self.launcher, &what, ask)?;
        self.progress.finish();
        Ok(commit.trim().to_owned())
    }
}

/// Whether git said that the other side does not have what was asked for.
fn is_unknown(tail: &str) -> bool {
    [
        "couldn't find remote ref",
        "not our ref",
        "no such remote ref",
    ]
    .iter()
    .any(|said| tail.contains(said))
}

/// A folder of sources, or an archive unpacked into `into`.
fn folder_of(path: &Path, into: PathBuf) -> Result<PathBuf> {
    if !path.exists() {
        return Err(Error::Input {
            input: path.display().to_string(),
            problem: "nothing is there".into(),
            remedy: "pass a clone, a folder or an archive of MLX, or upstream".into(),
        });
    }
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    fs::create_dir_all(&into).at("create", &into)?;
    archive::unpack(path, &into)
}

/// The release that the sources are: that of the tag, which they must not deny, or for a
/// commit what they say.
fn version_of(name: &Name, folder: &Path, from: &Origin) -> Result<String> {
    let input = match from {
        Origin::Upstream => name.as_str().to_owned(),
        Origin::Path(path) => path.display().to_string(),
    };
    let refuse = |problem: String| {
        Err(Error::Input {
            input,
            problem,
            remedy: "name the tag or the commit that these sources are".into(),
        })
    };
    if !folder.join("mlx").is_dir() {
        return refuse("is no MLX: it has no folder mlx".into());
    }
    let said = said_version(folder)?;
    match (name, said) {
        (Name::Tag { tag, version }, Some(said)) if *version != said => {
            refuse(format!("is MLX {said}, not {tag}"))
        }
        (Name::Tag { version, .. }, _) => Ok(version.clone()),
        (Name::Commit(_), Some(said)) => Ok(said),
        (Name::Commit(_), None) => refuse("does not say its version in mlx/version.h".into()),
    }
}

/// What `mlx/version.h` says, as `MLX_VERSION_MAJOR`, `_MINOR` and `_PATCH`.
fn said_version(folder: &Path) -> Result<Option<String>> {
    let file = folder.join("mlx/version.h");
    if !file.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file).at("read", &file)?;
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let named = words.next() == Some("#define") && words.next() == Some(name);
            named.then(|| words.next()?.parse::<u64>().ok()).flatten()
        })
    };
    let numbers = ["MAJOR", "MINOR", "PATCH"].map(|part| number(&format!("MLX_VERSION_{part}")));
    Ok(match numbers {
        [Some(major), Some(minor), Some(patch)] => Some(format!("{major}.{minor}.{patch}")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_tag_of_a_release_or_a_whole_commit() {
        let commit = "7a1d4f5c12ac82f4b4d0a6e71538d89ca0605247";
        assert_eq!(Name::parse(commit).unwrap(), Name::Commit(commit.into()));
        for tag in ["v0.32.0", "0.32.0"] {
            assert_eq!(Name::parse(tag).unwrap().reference(), "refs/tags/v0.32.0");
        }
        for wrong in ["main", "v0.33.0rc1", "7a1d4f5", "v1", "", "../v0.32.0"] {
            let error = Name::parse(wrong).unwrap_err();
            assert!(error.is_input(), "{wrong}: {error}");
        }
    }
}
