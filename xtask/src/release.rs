//! `cargo xtask release`: one folder to hand over, made by the other verbs.
//!
//! Each step is a verb of this program with its flags, run as a user would run it, so that
//! whoever gets the folder can repeat it. The folder appears by rename when it is whole.

mod folder;
mod page;

use std::{
    ffi::OsString,
    fs,
    path::{self, Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::anyhow;
use launch::{Death, Stream};
use pins::{Pin, Series};
use serde_json::json;
use toolchain::store::STORE_ENV;

use self::{folder::Draft, page::Page};
use crate::{
    exit::{Context, Failure, Kind, Result},
    flags, out, output, say,
    session::Session,
    warn,
};

/// The `schema` of the JSON of a release.
const SCHEMA: &str = "mlx-rails/release/1";

/// For whom snippets are printed, and the file of each. exo's is not among them: it compiles
/// its own MLX, so that only a wheel made of that one serves it.
const SNIPPETS: [(&str, &str); 3] = [
    ("uv", "uv.toml"),
    ("pip", "requirements.txt"),
    ("nix", "nix.txt"),
];

pub fn run(session: &Session, flags: &flags::Release) -> Result {
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let draft = Draft::of(&flags.out_dir)?;
    let steps = Steps {
        session,
        pin: &pin,
        series: flags.series.series,
        level: flags.level.name(),
        folder: draft.path(),
        // Asked now: a build of this program while the release is made gives its file another
        // identity.
        program: std::env::current_exe()
            .map_err(Failure::ours)
            .with_context(|| "cannot find this program")?,
    };
    let page = steps.run()?;
    draft.write("README.md", page.markdown().as_bytes())?;
    let files = draft.sum()?;
    let folder = draft.publish()?;
    if flags.format == flags::Format::Json {
        output::json(&json!({
            "schema": SCHEMA,
            "path": folder,
            "mlx": pin.version,
            "series": flags.series.series,
            "files": files,
            "commands": page.commands,
        }))?;
    } else {
        say!("  {} files; README.md says what was run", files.len());
        out!("{}", folder.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Steps<'a> {
    session: &'a Session,
    pin: &'a Pin,
    series: Series,
    level: &'a str,
    folder: &'a Path,
    program: PathBuf,
}

impl Steps<'_> {
    /// Fills the folder, and gives the page that describes it.
    fn run(&self) -> Result<Page> {
        let (mlx, series) = (self.pin.version.as_str(), self.series.name());
        let mut page = Page::of(mlx, series, self.series.revision(self.pin));
        // What would stop the release comes first.
        let verify = [
            "verify", "--mlx", mlx, "--series", series, "--level", self.level,
        ];
        self.step(&mut page, &verify, "verify")?;
        let platforms: &[&str] = match cfg!(target_os = "linux") {
            true => &["macos", "linux"],
            false => &["macos"],
        };
        for platform in platforms {
            let wheel = [
                "wheel",
                "--mlx",
                mlx,
                "--series",
                series,
                "--platform",
                platform,
            ];
            self.step(&mut page, &wheel, "wheels")?;
        }
        let wheels = folder::files_with(&self.folder.join("wheels"), "whl")?;
        for wheel in &wheels {
            folder::extract_manifest(wheel)?;
            let text = relative(wheel, self.folder).display().to_string();
            let runs_here = self.session.toolchain.examine_wheel(wheel)?.runs_here;
            if runs_here {
                self.step(&mut page, &["verify", "--wheel", &text], "verify-wheel")?;
            }
            page.wheel(wheel, runs_here);
        }
        self.step(
            &mut page,
            &["bench", "--mlx", mlx, "--series", series],
            "bench",
        )?;
        let (workshop, patches) = (self.session.toolchain.series(), self.folder.join("patches"));
        folder::copy_patches(&workshop.patches(self.pin, self.series)?, &patches)?;
        let mlx_c = workshop.patches(&self.pin.of_mlx_c(), Series::Patched)?;
        if self.series != Series::Stock && !mlx_c.is_empty() {
            folder::copy_patches(&mlx_c, &patches.join(pins::MLX_C))?;
        }
        let snippets = self.folder.join("snippets");
        fs::create_dir(&snippets)
            .map_err(Failure::ours)
            .with_context(|| format!("cannot create {}", snippets.display()))?;
        for (consumer, file) in SNIPPETS {
            let mut words = vec!["pin", "snippet", "--for", consumer];
            let paths: Vec<String> = wheels
                .iter()
                .map(|it| relative(it, self.folder).display().to_string())
                .collect();
            words.extend(paths.iter().map(String::as_str));
            let said = self.child(&words)?;
            // A snippet has whole paths, and the wheels are somewhere else when somebody
            // reads it.
            let said = said.replace(&format!("{}/", self.folder.display()), "");
            fs::write(snippets.join(file), said)
                .map_err(Failure::ours)
                .with_context(|| format!("cannot write {file}"))?;
        }
        Ok(page)
    }

    /// Runs a verb that writes into a folder of the release.
    fn step(&self, page: &mut Page, words: &[&str], folder: &str) -> Result<()> {
        let mut all = words.to_vec();
        all.extend(["--out-dir", folder]);
        self.child(&all)?;
        page.ran(&all);
        Ok(())
    }

    /// Runs a verb of this program in the release's folder, and gives what it printed. The
    /// paths in it are the reader's, and no report names a folder of this machine.
    fn child(&self, words: &[&str]) -> Result<String> {
        let line = format!("cargo xtask {}", words.join(" "));
        say!("{line}");
        let store = path::absolute(
            self.session
                .toolchain
                .store()
                .root()
                .map_err(toolchain::Error::from)?,
        )
        .map_err(Failure::ours)?;
        let mut command = Command::new(&self.program);
        command
            .args(words.iter().map(OsString::from))
            .current_dir(self.folder)
            // It may be a path from where this program was started.
            .env(STORE_ENV, store);
        if self.session.offline {
            command.arg("--offline");
        }
        let mut said = String::new();
        let death = launch::watch(&self.session.launcher, words[0], command, |stream, text| {
            match stream {
                Stream::Out => {
                    said.push_str(text);
                    said.push('\n');
                }
                Stream::Err => warn!("{text}"),
            }
            Ok(())
        })?;
        let kind = match death {
            Death::Exited(0) => return Ok(said),
            Death::Exited(code) => [Kind::Check, Kind::Input, Kind::Interrupted]
                .into_iter()
                .find(|kind| i32::from(kind.code()) == code)
                .unwrap_or(Kind::Ours),
            Death::Killed(_) | Death::Lost => Kind::Ours,
        };
        let error = anyhow!("`{line}` {death}, so no release was made");
        Err(Failure::new(kind, error).help("its last words are above".to_owned()))
    }
}

/// The path of a file as the release's reader sees it.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    path.strip_prefix(folder).unwrap_or(path).to_owned()
}
