//! `cargo xtask report`: makes the page of a `bench.json`.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use html_report::{Input, Inputs};

use crate::{
    exit::{Context, Failure, Kind, Result},
    flags::Report,
    out,
};

/// The page's name where nobody gives it one.
pub const NAME: &str = "report.html";

/// A file with a report cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct UnreadableReport {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl UnreadableReport {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        Some("name a file that `cargo xtask bench` or `cargo xtask collectives` wrote".to_owned())
    }
}

pub fn run(flags: &Report) -> Result {
    let bench = in_folder(&flags.file, "bench.json");
    let against = flags.against.as_deref();
    let against = against.map(|path| in_folder(path, "bench.json"));
    let collectives = flags.collectives.as_deref();
    let collectives = collectives.map(|path| in_folder(path, "collectives.json"));
    let out = match &flags.out {
        Some(out) => out.clone(),
        None => bench.with_file_name(NAME),
    };
    let inputs = [Some(&bench), against.as_ref(), collectives.as_ref()];
    for input in inputs.into_iter().flatten() {
        let is_input = |(a, b): (PathBuf, PathBuf)| a == b;
        let paths = fs::canonicalize(input)
            .ok()
            .zip(fs::canonicalize(&out).ok());
        if paths.is_some_and(is_input) {
            let problem = format!("--out {} would replace an input", out.display());
            return Err(Failure::input(problem).help("name another file".to_owned()));
        }
    }

    let texts = (
        read(&bench)?,
        against
            .as_deref()
            .map(read)
            .transpose()
            .with_context(|| "--against")?,
        collectives
            .as_deref()
            .map(read)
            .transpose()
            .with_context(|| "--collectives")?,
    );
    let page = html_report::page(&Inputs {
        bench: &texts.0,
        against: texts.1.as_deref(),
        collectives: texts.2.as_deref(),
    });
    let page = page.or_else(|error| {
        let (flag, path) = match error.input {
            Input::Bench => ("", Some(&bench)),
            Input::Against => ("--against ", against.as_ref()),
            Input::Collectives => ("--collectives ", collectives.as_ref()),
        };
        let path = path.map_or("-".into(), |path| path.display().to_string());
        Err(error.reason).with_context(|| format!("{flag}{path}"))
    })?;
    write(&out, &page).map_err(|error| {
        let problem = anyhow::Error::from(error);
        let problem = problem.context(format!("cannot write {}", out.display()));
        Failure::new(Kind::Input, problem).help("name another file with --out".to_owned())
    })?;
    out!("{}", out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// The page of a report alone.
pub fn page(bench: &str) -> Result<String> {
    let page = html_report::page(&Inputs {
        bench,
        against: None,
        collectives: None,
    });
    page.map_err(Failure::ours)
}

/// Writes a page, which is complete or absent.
pub fn write(path: &Path, page: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(page.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The file of this name, if a folder is named.
fn in_folder(path: &Path, name: &str) -> PathBuf {
    match path.is_dir() {
        true => path.join(name),
        false => path.to_owned(),
    }
}

fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).map_err(|source| UnreadableReport {
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}
