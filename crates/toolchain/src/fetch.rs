//! Getting pinned sources into the store, by any transport that delivers them.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use cargo_metadata::MetadataCommand;
pub use patch_series::SourceTree;
use patch_series::{Fetch, FetchError, git::git_that_fetches};
use pins::{Crate, Listing, SourcePin, Upstream, tree::is_tree};
use xshell::cmd;

use crate::{
    Toolchain, archive,
    error::{Error, IoContext, Result},
    process::{cargo, shell_in},
    store::Kind,
};

/// Where sources may come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// The store, else the registry, else upstream.
    #[default]
    Auto,
    /// A crate that vendors the tree, fetched by cargo, so that the user's
    /// mirrors and proxies apply.
    Registry,
    /// The origin's git repository.
    Upstream,
    /// A folder, or a `.tar`, `.tar.gz`, `.tgz`, `.crate` or `.zip` archive of one.
    Path(PathBuf),
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Source::Auto,
            "registry" => Source::Registry,
            "upstream" => Source::Upstream,
            path => Source::Path(path.into()),
        })
    }
}

impl Fetch for Toolchain {
    fn fetch(&self, pin: &SourcePin) -> Result<SourceTree, FetchError> {
        Ok(Toolchain::fetch(self, pin, &Source::Auto)?)
    }
}

impl Toolchain {
    /// Makes sure the store holds `pin`'s tree, and gives it.
    ///
    /// An explicit [`Source::Path`] is verified even when the store is current.
    ///
    /// # Errors
    /// [`Error::Tampered`] naming every file that differs, in which case nothing
    /// enters the store; [`Error::Unreachable`] when no transport delivers.
    pub fn fetch(&self, pin: &SourcePin, source: &Source) -> Result<SourceTree> {
        let check = |entry: &Path| Ok(is_tree(entry, pin.tree)?);
        let found = self.make_entry(Kind::Source, &pin.tree.to_string(), check, |scratch| {
            self.progress.step("Fetching", &pin.name);
            let made = scratch.join("tree");
            let fetched = self.fetch_from(pin, source, &made);
            self.progress.finish();
            fetched.map(|()| (made, ()))
        })?;
        if found.current
            && let Source::Path(path) = source
        {
            let scratch = self.scratch()?;
            self.by_path(pin, path, &scratch.path().join("tree"))?;
        }
        Ok(SourceTree {
            path: found.path,
            tree: pin.tree,
            current: found.current,
        })
    }

    /// Writes the pin's tree to `made`.
    fn fetch_from(&self, pin: &SourcePin, source: &Source, made: &Path) -> Result<()> {
        let registry = || self.by_registry(pin, made);
        let upstream = || self.by_upstream(pin, made);
        match source {
            Source::Path(path) => self.by_path(pin, path, made),
            Source::Registry => self.first_of(pin, &[&registry]),
            Source::Upstream => self.first_of(pin, &[&upstream]),
            Source::Auto => self.first_of(pin, &[&registry, &upstream]),
        }
    }

    /// Tries transports in turn. Sources that arrive but differ end the search:
    /// that is for a person to look at, not for the next transport to hide.
    fn first_of(&self, pin: &SourcePin, transports: &[&dyn Fn() -> Result<()>]) -> Result<()> {
        let mut attempts = Vec::new();
        for transport in transports {
            match transport() {
                // The only one that was asked for; its own words are the better ones.
                Err(error) if error.is_input() && transports.len() == 1 => return Err(error),
                Err(error) if error.is_input() || matches!(error, Error::Command { .. }) => {
                    // Of the remedies the one for all transports is given.
                    attempts.push(error.to_string());
                }
                settled => return settled,
            }
        }
        Err(Error::Unreachable {
            what: pin.name.clone(),
            attempts,
        })
    }

    fn by_registry(&self, pin: &SourcePin, made: &Path) -> Result<()> {
        let vendor = pin.registry.as_ref().ok_or_else(|| Error::Input {
            input: "registry".into(),
            problem: format!("no crate is known to vendor {}", pin.name),
            remedy: "use --source upstream or --source PATH".into(),
        })?;
        let scratch = self.scratch()?;
        let folder = self.crate_folder(vendor, scratch.path())?;
        let origin = format!("crate {} {}", vendor.name, vendor.version);
        let Some(archive) = &vendor.archive else {
            return self.admit(pin, &folder.join(&vendor.path), &origin, made);
        };
        let file = folder.join(archive);
        if !file.is_file() {
            return Err(Error::Input {
                input: origin,
                problem: format!("has no archive {archive}"),
                remedy: "correct `registry` in the pin's file, or use --source upstream or \
                         --source PATH"
                    .into(),
            });
        }
        let scratch = self.scratch()?;
        let folder = archive::unpack(&file, scratch.path())?;
        let origin = format!("{archive} of {origin}");
        self.admit(pin, &folder.join(&vendor.path), &origin, made)
    }

    /// Lets cargo fetch `vendor` for a throw-away manifest, and asks it where
    /// the crate landed.
    fn crate_folder(&self, vendor: &Crate, scratch: &Path) -> Result<PathBuf> {
        let manifest = scratch.join("Cargo.toml");
        let text = format!(
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [workspace]\n\n[dependencies]\n{} = \"{}\"\n",
            vendor.name, vendor.version
        );
        fs::write(&manifest, text).at("write", &manifest)?;
        fs::create_dir(scratch.join("src")).at("create", scratch)?;
        fs::write(scratch.join("src/lib.rs"), "").at("write", scratch)?;

        let (shell, cargo) = (shell_in(scratch)?, cargo());
        let what = format!("fetching crate {} {}", vendor.name, vendor.version);
        let offline = self.offline.then_some("--offline");
        let fetch = cmd!(shell, "{cargo} fetch {offline...}");
        launch::run(&self.launcher, &what, fetch, None, |_| {})?;
        let metadata = launch::capture(
            &self.launcher,
            &what,
            MetadataCommand::new()
                .cargo_path(&cargo)
                .current_dir(scratch)
                .other_options(["--offline".to_owned()])
                .cargo_command(),
        )?;
        let said = |problem| Error::inconsistent("cargo metadata", problem);
        let metadata = MetadataCommand::parse(metadata).map_err(|e| said(e.to_string()))?;
        metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == vendor.name)
            .and_then(|package| package.manifest_path.parent())
            .map(|folder| folder.as_std_path().to_path_buf())
            .ok_or_else(|| said(format!("has no {}", vendor.name)))
    }

    fn by_upstream(&self, pin: &SourcePin, made: &Path) -> Result<()> {
        let Upstream {
            git,
            revision,
            path,
        } = pin.upstream.as_ref().ok_or_else(|| Error::Input {
            input: "upstream".into(),
            problem: format!("the pin names no repository of {}", pin.name),
            remedy: "use --source registry or --source PATH".into(),
        })?;
        self.refuse_remote(git)?;
        let scratch = self.scratch()?;
        let folder = scratch.path();
        let what = format!("fetching {revision} of {git}");
        let run = |arguments: &[&str]| {
            let command = git_that_fetches(folder, arguments);
            launch::run(&self.launcher, &what, command, None, |_| {})
        };
        run(&["init", "--quiet"])?;
        run(&["fetch", "--quiet", "--depth", "1", git, revision])?;
        run(&["checkout", "--quiet", "FETCH_HEAD"])?;
        self.admit(pin, &folder.join(path), git, made)
    }

    /// Refuses a repository of another machine when the network must not be used.
    pub(crate) fn refuse_remote(&self, git: &str) -> Result<()> {
        let is_remote = git.contains("://") && !git.starts_with("file://");
        match self.offline && is_remote {
            false => Ok(()),
            true => Err(Error::Input {
                input: git.to_owned(),
                problem: "it is not reached with --offline".into(),
                remedy: "run the command once without --offline".into(),
            }),
        }
    }

    fn by_path(&self, pin: &SourcePin, path: &Path, made: &Path) -> Result<()> {
        let origin = path.display().to_string();
        if !path.exists() {
            return Err(Error::Input {
                input: origin,
                problem: "nothing is there".into(),
                remedy: "pass a folder or an archive, or registry, upstream or auto".into(),
            });
        }
        if path.is_dir() {
            return self.admit(pin, path, &origin, made);
        }
        let scratch = self.scratch()?;
        let folder = archive::unpack(path, scratch.path())?;
        self.admit(pin, &folder, &origin, made)
    }

    /// The only way into the store: what is at `folder` is hashed, copied to `made`, and
    /// hashed again there.
    fn admit(&self, pin: &SourcePin, folder: &Path, origin: &str, made: &Path) -> Result<()> {
        let refuse_differences = |found: &Listing| {
            let differences = pin.listing.differences(found);
            if differences.is_empty() {
                return Ok(());
            }
            Err(Error::Tampered {
                what: pin.name.clone(),
                origin: origin.to_owned(),
                tree: pin.tree.to_string(),
                differences,
            })
        };
        let scratch = self.scratch()?;
        let selected = scratch.path().join("selected");
        let folder = if pin.layout.is_empty() {
            folder
        } else {
            lay_out(pin, folder, &selected)?;
            &selected
        };
        refuse_differences(&Listing::of_folder(folder)?)?;
        pin.listing.sync(folder, made)?;
        refuse_differences(&Listing::of_folder(made)?)
    }
}

/// Copies the files a pin selects to where its tree has them. One that is not
/// there is left out, for the comparison to name.
fn lay_out(pin: &SourcePin, from: &Path, to: &Path) -> Result<()> {
    for (path, origin) in &pin.layout {
        let target = to.join(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        let origin = from.join(origin);
        if origin.is_file() {
            let content = fs::read(&origin).at("read", &origin)?;
            fs::write(&target, content).at("write", &target)?;
        }
    }
    Ok(())
}
