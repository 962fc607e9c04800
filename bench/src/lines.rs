//! The launches as lines of JSON, written while a run goes on, and read again to resume it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    checks::Check,
    launched::Launched,
    plan::{Launch, Plan},
    report::{BuildInfo, CellReport, Runs, read::as_reported, temporary},
};

/// The name and version of a line.
pub const SCHEMA: &str = "mlx-rails/bench-line/1";

/// The file's name in a folder of reports.
pub const NAME: &str = "bench.jsonl";

/// What all lines of a run have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    mlx: String,
    series: String,
    key: String,
    model: Value,
    rig: Value,
    given: Value,
    runs: Runs,
    checks: Vec<Check>,
    reference: String,
    /// The SHA-256 of the ids of a prompt that is a text.
    text: Option<String>,
    env: BTreeMap<String, String>,
}

impl Head {
    pub(crate) fn new(plan: &Plan, build: &BuildInfo) -> Self {
        let settings = &plan.settings;
        let text = settings.text.as_ref().map(|text| {
            let ids = text.ids.iter().flat_map(|id| id.to_le_bytes());
            let hash = Sha256::digest(ids.collect::<Vec<_>>());
            hash.iter().map(|byte| format!("{byte:02x}")).collect()
        });
        Self {
            mlx: build.mlx.clone(),
            series: build.series.clone(),
            key: build.key.clone(),
            model: as_reported(&settings.model),
            rig: as_reported(&plan.rig),
            given: as_reported(&plan.given),
            runs: Runs::of(settings),
            checks: plan.checks.made().collect(),
            reference: plan.checks.source.to_string(),
            text,
            env: settings.env.clone(),
        }
    }
}

/// A launch as a line, without its end.
pub(crate) fn line(head: &Head, cell: &CellReport, launched: &Launched) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'static str,
        run: &'a Head,
        round: usize,
        cell: &'a CellReport,
        raw: &'a Launched,
    }
    let line = Line {
        schema: SCHEMA,
        run: head,
        round: launched.round,
        cell,
        raw: launched,
    };
    serde_json::to_string(&line).expect("a line is plain data")
}

/// Appends to the file in a folder. The first line of a run replaces a file that is there, in
/// one step, by one that begins with the lines of the run that is resumed.
#[derive(Debug)]
pub struct Writer<'a> {
    folder: &'a Path,
    kept: String,
    file: RefCell<Option<File>>,
}

impl<'a> Writer<'a> {
    /// Nothing is written yet.
    pub fn new(folder: &'a Path, resumed: Option<&Resume>) -> Self {
        Self {
            folder,
            kept: resumed.map(Resume::text).unwrap_or_default(),
            file: RefCell::new(None),
        }
    }

    /// Appends a line, and its end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, line: &str) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.create()?,
        };
        let written = file.write_all(format!("{line}\n").as_bytes());
        self.file.replace(Some(file));
        written
    }

    fn create(&self) -> io::Result<File> {
        let mut file = temporary(self.folder)?;
        file.write_all(self.kept.as_bytes())?;
        Ok(file.persist(self.folder.join(NAME))?)
    }
}

/// The lines of an earlier run that was not finished.
#[derive(Debug)]
pub struct Resume {
    path: PathBuf,
    lines: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// From 1.
    number: usize,
    text: String,
    run: Head,
    raw: Launched,
}

/// Why a run cannot go on from these lines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A line is none of the benchmark.
    #[error("line {line} of {} is no launch of the benchmark", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The reason.
        source: serde_json::Error,
    },
    /// A line is about something else.
    #[error("line {line} of {} has another {what}{difference}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The part that differs.
        what: &'static str,
        /// How it differs, with a colon before it; empty if that is too long to say.
        difference: String,
    },
    /// A line is about a launch that the run does not have.
    #[error("line {line} of {} is of {cell}, which this run does not measure", path.display())]
    NotPlanned {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The cell and its workload.
        cell: String,
    },
}

impl ResumeError {
    /// The remedy.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "give a bench.jsonl of `cargo xtask bench`, or its folder",
            Self::Malformed { .. } => {
                "give a bench.jsonl that this version has written, or measure everything again"
            }
            Self::Differs { .. } | Self::NotPlanned { .. } => {
                "pass the flags of the run that wrote it, or measure everything again without \
                 --resume"
            }
        }
    }
}

impl Resume {
    /// Reads a file, or `bench.jsonl` in a folder. A last line without its end is left out:
    /// it was being written when the run was killed.
    ///
    /// # Errors
    /// If it cannot be read, or a line is none of the benchmark.
    pub fn read(path: &Path) -> Result<Self, ResumeError> {
        #[derive(Deserialize)]
        struct Line {
            run: Head,
            raw: Launched,
        }

        let path = match path.is_dir() {
            true => path.join(NAME),
            false => path.to_owned(),
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ResumeError::Unreadable { path, source }),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = Vec::new();
        for (index, text) in whole.lines().enumerate() {
            let number = index + 1;
            match serde_json::from_str::<Line>(text) {
                Ok(Line { run, raw }) => lines.push(Kept {
                    number,
                    text: text.to_owned(),
                    run,
                    raw,
                }),
                Err(source) => {
                    return Err(ResumeError::Malformed {
                        path,
                        line: number,
                        source,
                    });
                }
            }
        }
        Ok(Self { path, lines })
    }

    /// Checks, before anything is measured, that the lines are of this plan, pin and series.
    ///
    /// # Errors
    /// Names the first line and its difference.
    pub fn check_plan(&self, plan: &Plan, mlx: &str, series: &str) -> Result<(), ResumeError> {
        let build = BuildInfo {
            mlx: mlx.to_owned(),
            series: series.to_owned(),
            tree: String::new(),
            patched_tree: String::new(),
            key: String::new(),
            manifest: Value::Null,
        };
        let ours = Head::new(plan, &build);
        let schedule = plan.schedule();
        for line in &self.lines {
            let run = &line.run;
            if (&run.mlx, &run.series) != (&ours.mlx, &ours.series) {
                let difference = format!(
                    ": MLX {}, {}; this run is of {mlx}, {series}",
                    run.mlx, run.series
                );
                return Err(self.differs(line, "build", difference));
            }
            if run.model != ours.model {
                let name = |model: &Value| model["name"].as_str().unwrap_or_default().to_owned();
                let difference = format!(
                    ": {}; this run is of {}",
                    name(&run.model),
                    name(&ours.model)
                );
                return Err(self.differs(line, "model", difference));
            }
            if (&run.rig, &run.given) != (&ours.rig, &ours.given) {
                return Err(self.differs(line, "rig or matrix", String::new()));
            }
            if run.runs != ours.runs {
                let [theirs, ours] = [&run.runs, &ours.runs].map(as_reported);
                let difference = format!(": {theirs}; this run has {ours}");
                return Err(self.differs(line, "number, order or seed of runs", difference));
            }
            if (&run.checks, &run.reference) != (&ours.checks, &ours.reference) {
                let told =
                    |head: &Head| format!("{} by {}", as_reported(&head.checks), head.reference);
                let difference = format!(": {}; this run has {}", told(run), told(&ours));
                return Err(self.differs(line, "set of checks", difference));
            }
            if run.env != ours.env {
                let [theirs, ours] = [&run.env, &ours.env].map(as_reported);
                let difference = format!(": {theirs}; this run has {ours}");
                return Err(self.differs(line, "environment", difference));
            }
            if run.text != ours.text {
                return Err(self.differs(line, "prompt", String::new()));
            }
            let raw = &line.raw;
            let planned = |it: &Launch| (it.cell, it.round) == (raw.cell, raw.round);
            if !schedule.iter().any(planned) {
                return Err(ResumeError::NotPlanned {
                    path: self.path.clone(),
                    line: line.number,
                    cell: raw.cell.name_among(2),
                });
            }
        }
        Ok(())
    }

    /// Checks that the lines are about the very build that is to be measured.
    ///
    /// # Errors
    /// If one is not.
    pub fn check_build(&self, build: &BuildInfo) -> Result<(), ResumeError> {
        let mut lines = self.lines.iter();
        match lines.find(|line| line.run.key != build.key) {
            None => Ok(()),
            Some(line) => {
                let difference = format!(
                    " of the same series: {}; this run's is {}",
                    line.run.key, build.key
                );
                Err(self.differs(line, "build", difference))
            }
        }
    }

    fn differs(&self, line: &Kept, what: &'static str, difference: String) -> ResumeError {
        ResumeError::Differs {
            path: self.path.clone(),
            line: line.number,
            what,
            difference,
        }
    }

    /// The number of launches that need not be repeated.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines, as they were.
    pub fn text(&self) -> String {
        self.lines.iter().map(|it| it.text.clone() + "\n").collect()
    }

    /// What was measured.
    pub fn launched(&self) -> Vec<Launched> {
        self.lines.iter().map(|it| it.raw.clone()).collect()
    }
}
