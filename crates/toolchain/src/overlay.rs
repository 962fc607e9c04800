//! Our libjaccl in an installation: a site-packages folder, or an application that brings
//! its own Python.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pins::{ObjectId, Pin, Series};
use serde::{Deserialize, Serialize};
use wheel::{Check, Dylib, macos};

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    process,
    store::sha256,
    wheel::{macos::release_of, publish_beside, refuse_unwritable},
};

/// The `schema` of an [`Overlaid`].
pub const SCHEMA: &str = "mlx-rails/overlay/1";

/// The library that is replaced.
const LIBRARY: &str = "libjaccl.dylib";
/// The library beside it that loads it.
const LOADER: &str = "libmlx.dylib";
/// What was there before, beside the library.
const KEPT: &str = "libjaccl.dylib.before-mlx-rails";
/// The function that every library of ours has.
const MARK: &str = "_rails_build_key";

/// What was done to an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlaid {
    /// The library.
    pub path: PathBuf,
    /// The SHA-256 of what was there.
    pub before: String,
    /// The SHA-256 of what is there now.
    pub after: String,
    /// Where what was there is kept; `None` after it was put back.
    pub kept: Option<PathBuf>,
    /// What was looked at before it was replaced.
    pub checks: Vec<Check>,
    /// The pin's version.
    pub mlx: Option<String>,
    /// The patches.
    pub series: Option<Series>,
    /// The git tree id of the sources that were compiled.
    pub patched_tree: Option<ObjectId>,
    /// The command that a Mac wants before it runs the application again; `None` where it
    /// wants none or has run it.
    pub sign: Option<String>,
}

/// The libraries of an installation.
struct Installed {
    library: PathBuf,
    content: Vec<u8>,
}

impl Installed {
    /// Finds the one libjaccl beside a libmlx below `root`.
    fn find(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).at("resolve", root)?;
        let unfit = |problem: String, remedy: &str| Error::Input {
            input: root.display().to_string(),
            problem,
            remedy: remedy.to_owned(),
        };
        if !root.is_dir() {
            let remedy = "pass a site-packages folder or an application, such as \
                          /Applications/EXO.app";
            return Err(unfit("is no folder".into(), remedy));
        }
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(&root) {
            let entry = entry.map_err(std::io::Error::from).at("read", &root)?;
            let is_library = entry.file_name() == LIBRARY && entry.file_type().is_file();
            if is_library && entry.path().with_file_name(LOADER).is_file() {
                found.push(entry.into_path());
            }
        }
        found.sort();
        match &found[..] {
            [library] => Ok(Installed {
                content: fs::read(library).at("read", library)?,
                library: library.clone(),
            }),
            [] => Err(unfit(
                format!("no {LIBRARY} lies beside a {LOADER} in it"),
                "pass the folder that has mlx/lib in it; MLX has jaccl on macOS 26 from 0.31.2 on",
            )),
            [first, second, ..] => Err(unfit(
                format!(
                    "it has more than one: {} and {}",
                    first.display(),
                    second.display()
                ),
                "pass the folder of the one that is meant",
            )),
        }
    }

    fn kept(&self) -> PathBuf {
        self.library.with_file_name(KEPT)
    }

    fn parse(&self) -> Result<Dylib> {
        Ok(Dylib::parse(LIBRARY, self.content.clone())?)
    }

    /// The application that it is part of.
    fn application(&self) -> Option<&Path> {
        let is_application = |path: &&Path| path.extension().is_some_and(|end| end == "app");
        self.library.ancestors().find(is_application)
    }

    /// How an application is signed anew, by nobody in particular, after a file in it was
    /// replaced. The entitlements stay: without them one with a hardened runtime starts no
    /// Python. A library outside of an application has the linker's signature.
    fn sign_command(&self) -> Option<Vec<String>> {
        let application = self.application()?.display().to_string();
        let words = [
            "codesign",
            "--force",
            "--deep",
            "--preserve-metadata=entitlements,flags",
            "--sign",
            "-",
            &application,
        ];
        Some(words.map(str::to_owned).to_vec())
    }
}

impl Toolchain {
    /// Puts our libjaccl into an installation in place of its own, which is kept beside it.
    ///
    /// # Errors
    /// When there is none or it is one of ours already; when a process uses it; when its
    /// group is unknown; [`Error::Misfit`] when ours does not fit. Nothing is changed then.
    pub fn overlay(&self, root: &Path, pin: &Pin, series: Series) -> Result<Overlaid> {
        let installed = Installed::find(root)?;
        let libjaccl = installed.parse()?;
        if libjaccl.exports.contains(MARK) {
            return Err(unfit_library(
                &installed.library,
                "is one that this tool put there",
                "put the old one back first: `cargo xtask overlay --undo DIR`",
            ));
        }
        let loader = installed.library.with_file_name(LOADER);
        let libmlx = Dylib::parse(LOADER, fs::read(&loader).at("read", &loader)?)?;
        macos::admit(&installed.library, &libjaccl, &libmlx, &release_of(pin))?;
        self.refuse_running(&installed)?;
        let folder = installed.library.parent().unwrap_or(root);
        refuse_unwritable(folder, "run the command as a user that may write there")?;
        let what = installed.library.display().to_string();
        let fitted = self.fitted_dylib(pin, series, (&libjaccl, &libmlx), &what)?;

        let kept = installed.kept();
        // It is never a moment without a library: the old one gets a second name first.
        let _ = fs::remove_file(&kept);
        fs::hard_link(&installed.library, &kept)
            .or_else(|_| fs::copy(&installed.library, &kept).map(|_| ()))
            .at("create", &kept)?;
        publish_beside(&installed.library, fitted.library.content())?;
        Ok(Overlaid {
            before: sha256(&installed.content),
            after: sha256(fitted.library.content()),
            kept: Some(kept),
            checks: fitted.checks,
            mlx: Some(pin.version.clone()),
            series: Some(series),
            patched_tree: Some(fitted.build.manifest.inputs.patched_tree),
            sign: self.sign(&installed)?,
            path: installed.library,
        })
    }

    /// Puts back what [`Toolchain::overlay`] replaced.
    ///
    /// # Errors
    /// When it replaced nothing, or something else took its place since; when a process
    /// uses the library.
    pub fn undo_overlay(&self, root: &Path) -> Result<Overlaid> {
        let installed = Installed::find(root)?;
        let kept = installed.kept();
        if !kept.is_file() {
            return Err(unfit_library(
                &installed.library,
                "is as it was installed",
                "there is nothing to undo",
            ));
        }
        if !installed.parse()?.exports.contains(MARK) {
            return Err(unfit_library(
                &installed.library,
                "was replaced again since, by another program",
                &format!(
                    "it was installed anew, so remove the old one: rm '{}'",
                    kept.display()
                ),
            ));
        }
        self.refuse_running(&installed)?;
        let old = fs::read(&kept).at("read", &kept)?;
        fs::rename(&kept, &installed.library).at("replace", &installed.library)?;
        Ok(Overlaid {
            before: sha256(&installed.content),
            after: sha256(&old),
            kept: None,
            checks: Vec::new(),
            mlx: None,
            series: None,
            patched_tree: None,
            sign: self.sign(&installed)?,
            path: installed.library,
        })
    }

    /// A program that runs has the old library in memory and may load parts of the new one.
    fn refuse_running(&self, installed: &Installed) -> Result<()> {
        let users = match cfg!(target_os = "macos") {
            true => self.users_by_lsof(&installed.library)?,
            false => users_by_maps(&installed.library),
        };
        match users.first() {
            None => Ok(()),
            Some(process) => Err(unfit_library(
                &installed.library,
                &format!("is in use by process {process}"),
                "quit the application, then run the command again",
            )),
        }
    }

    fn users_by_lsof(&self, library: &Path) -> Result<Vec<u32>> {
        let mut lsof = Command::new("lsof");
        lsof.arg("-t").arg(library);
        let said = process::ask_both(&self.launcher, "asking which process uses it", lsof)?;
        Ok(said
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect())
    }

    /// Signs what was changed where there is `codesign`, or gives the command that does.
    fn sign(&self, installed: &Installed) -> Result<Option<String>> {
        let Some(words) = installed.sign_command() else {
            return Ok(None);
        };
        if !cfg!(target_os = "macos") {
            let line = shlex::try_join(words.iter().map(String::as_str));
            return Ok(Some(line.unwrap_or_else(|_| words.join(" "))));
        }
        let mut codesign = Command::new(&words[0]);
        codesign.args(&words[1..]);
        launch::run(&self.launcher, "signing", codesign, None, |_| {})?;
        Ok(None)
    }
}

/// Processes that have mapped the library, as far as their maps may be read.
fn users_by_maps(library: &Path) -> Vec<u32> {
    let library = fs::canonicalize(library).unwrap_or_else(|_| library.to_owned());
    let library = library.to_string_lossy();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .filter(|process: &u32| {
            let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
            maps.lines().any(|line| line.ends_with(&*library))
        })
        .collect()
}

fn unfit_library(file: &Path, problem: &str, remedy: &str) -> Error {
    Error::Wheel(wheel::Error::Unfit {
        file: file.to_owned(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    })
}
