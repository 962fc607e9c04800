//! Whether a pin's patches are what this checkout promises of them.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use pins::{PIN_FILE, Part, Pin, Series};
use serde::Serialize;

use crate::{
    Checks, Class, Header, Patch, State,
    error::{Error, IoContext, Result},
    fields::complaints,
    header::split,
    order::Order,
    patch_tree::PatchTree,
    publish::render,
    snapshot::{SERIES, Snapshot, patch_file, read_series},
    working_copy::Import,
    workshop::Workshop,
};

/// Something about a patch that has to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, from the checkout's root.
    pub file: PathBuf,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// The field, where it is about one.
    pub field: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// `FILE:LINE: FIELD PROBLEM; REMEDY`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(field) = &self.field {
            write!(f, "{field} ")?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

impl Workshop {
    /// Everything that is wrong with a pin's patches: their fields, the order,
    /// how they apply and come off again, and the recorded trees. `checks` say what
    /// is wrong with a proof.
    ///
    /// # Errors
    /// When the sources cannot be had, or a file cannot be read.
    pub fn lint_patches(&self, pin: &Pin, checks: Checks<'_>) -> Result<Vec<Problem>> {
        let mut problems = self.lint_part(pin, checks)?;
        let mlx_c = pin.of_mlx_c();
        if mlx_c.folder.is_dir() {
            problems.extend(self.lint_part(&mlx_c, checks)?);
        }
        Ok(problems)
    }

    fn lint_part(&self, pin: &Pin, checks: Checks<'_>) -> Result<Vec<Problem>> {
        let folder = self.shown(&pin.folder);
        let mut lint = Lint {
            pin,
            folder,
            problems: Vec::new(),
        };
        let series = read_series(&pin.folder)?;
        let listed: Vec<String> = Order::parse(&series).files().map(str::to_owned).collect();
        if lint.order(&listed)? {
            for file in &listed {
                lint.text(file, checks)?;
            }
            self.lint_applying(&mut lint)?;
        }
        Ok(lint.problems)
    }

    /// What only applying the patches shows.
    fn lint_applying(&self, lint: &mut Lint<'_>) -> Result<()> {
        let pin = lint.pin;
        let patches = match self.patches(pin, Series::Tuned) {
            Ok(patches) => patches,
            // Its fields were complained of; what class it is, nobody knows.
            Err(Error::Malformed { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let scratch = self.scratch()?;
        let Import { copy, skipped } = self.import(pin, &scratch.path().join("copy"))?;
        for (patch, state) in &skipped {
            lint.skipped(patch, state);
        }
        if !skipped.is_empty() {
            return Ok(());
        }
        lint.classes(&patches);
        let rendered = render(&copy.repository, &copy.stack, &copy.imported)?;
        let text = |of: &Snapshot, name: &str| of.patches.get(name).cloned().unwrap_or_default();
        for Patch { name, .. } in &patches {
            lint.form(name, &text(&copy.imported, name), &text(&rendered, name));
        }
        let all_series: &[Series] = match pin.part {
            Part::Mlx => &Series::ALL,
            Part::MlxC => &[Series::Patched],
        };
        for &series in all_series {
            let made = match self.apply(pin, series) {
                Ok(made) => made,
                Err(
                    Error::Conflict { patch, hunks, .. }
                    | Error::ConflictOfMlxC { patch, hunks, .. },
                ) => {
                    lint.dependent(&patch, series, &hunks);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if series == Series::Patched {
                self.lint_separable(lint, &made.path)?;
            }
            let made = made.tree;
            if made != series.recorded(pin) {
                lint.say(
                    match pin.part {
                        Part::Mlx => PIN_FILE,
                        Part::MlxC => "../pin.toml",
                    },
                    None,
                    Some(series.name()),
                    format!(
                        "records tree {}, but the patches give {made}",
                        series.recorded(pin)
                    ),
                    format!("run `cargo xtask patch record --mlx {}`", pin.version),
                );
            }
        }
        Ok(())
    }

    /// Whether each patch comes off the patched tree, which is in `folder`. A performance
    /// patch may be built upon by those behind it.
    fn lint_separable(&self, lint: &mut Lint<'_>, folder: &Path) -> Result<()> {
        let patches = self.patches(lint.pin, Series::Patched)?;
        let tree = PatchTree::new(folder, folder, &patches, &self.launcher);
        for (at, patch) in patches.iter().enumerate() {
            if let Err(places) = tree.unapplies(at)? {
                lint.entangled(patch, &places);
            }
        }
        Ok(())
    }
}

struct Lint<'a> {
    pin: &'a Pin,
    /// The pin's, from the checkout's root.
    folder: &'a Path,
    problems: Vec<Problem>,
}

impl Lint<'_> {
    fn say(
        &mut self,
        file: &str,
        line: Option<usize>,
        field: Option<&str>,
        problem: String,
        remedy: String,
    ) {
        self.problems.push(Problem {
            file: self.folder.join(file),
            line,
            field: field.map(str::to_owned),
            problem,
            remedy,
        });
    }

    /// Whether `series` and the patch files are of one mind.
    fn order(&mut self, listed: &[String]) -> Result<bool> {
        let folder = &self.pin.folder;
        let present: BTreeSet<String> = fs::read_dir(folder)
            .at("read", folder)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".patch"))
            .collect();
        let mut seen = BTreeSet::new();
        for file in listed {
            if !present.contains(file) {
                let remedy = "remove the line, or add the file".to_owned();
                self.say(
                    SERIES,
                    None,
                    None,
                    format!("names {file}, which is not there"),
                    remedy,
                );
            }
            if !seen.insert(file) {
                let remedy = "remove one of the lines".to_owned();
                self.say(SERIES, None, None, format!("names {file} twice"), remedy);
            }
        }
        let whole = self.problems.is_empty();
        for file in present.iter().filter(|file| !listed.contains(file)) {
            let remedy = "add it to the series, or remove it".to_owned();
            self.say(file, None, None, format!("is not in {SERIES}"), remedy);
        }
        Ok(whole)
    }

    /// What can be seen in a file by itself.
    fn text(&mut self, file: &str, checks: Checks<'_>) -> Result<()> {
        let path = self.pin.folder.join(file);
        let text = fs::read_to_string(&path).at("read", &path)?;
        for found in complaints(&Header::parse(&text), self.pin, checks) {
            let field = found.field.as_deref();
            self.say(file, found.line, field, found.problem, found.remedy);
        }
        let above = text.lines().count() - split(&text).1.lines().count();
        for (number, line) in (above + 1..).zip(split(&text).1.lines()) {
            if line.len() > 1 && line.starts_with('+') && line.ends_with(char::is_whitespace) {
                let problem = "adds white space at the end of a line".to_owned();
                self.say(file, Some(number), None, problem, "remove it".into());
            }
        }
        Ok(())
    }

    fn skipped(&mut self, patch: &Patch, state: &State) {
        let version = &self.pin.version;
        let (problem, remedy) = match state {
            State::Conflicts { hunks } => (
                format!("does not apply at {}", hunks.join(", ")),
                self.anew(format!(
                    "make its change in the working copy of `cargo xtask patch edit --mlx \
                     {version}`, then `cargo xtask patch refresh {} --mlx {version}`",
                    patch.name
                )),
            ),
            _ => (
                format!(
                    "is in {}, or in the patches before it, already",
                    self.pin.mlx.name
                ),
                match self.pin.part {
                    Part::Mlx => format!(
                        "run `cargo xtask patch drop {} --mlx {version}`",
                        patch.name
                    ),
                    Part::MlxC => "remove it, and its line of the series".into(),
                },
            ),
        };
        self.say(&patch_file(&patch.name), None, None, problem, remedy);
    }

    /// Whether a file is as `export` writes it: full ids, one line of context.
    fn form(&mut self, name: &str, text: &str, canonical: &str) {
        if text == canonical {
            return;
        }
        let same = text.lines().zip(canonical.lines());
        let equal = same.take_while(|(ours, theirs)| ours == theirs).count();
        let shown = |text: &str| text.lines().nth(equal).unwrap_or("nothing").to_owned();
        let version = &self.pin.version;
        self.say(
            &patch_file(name),
            Some(equal + 1),
            None,
            format!(
                "has {:?} where an export writes {:?}",
                shown(text),
                shown(canonical)
            ),
            self.anew(format!(
                "run `cargo xtask patch edit --mlx {version}`, then `cargo xtask patch export \
                 --mlx {version}`"
            )),
        );
    }

    /// How a patch is written anew: for MLX by these commands, which know no mlx-c.
    fn anew(&self, commands: String) -> String {
        match self.pin.part {
            Part::Mlx => commands,
            Part::MlxC => "write it anew with `git diff --full-index --unified=1`".into(),
        }
    }

    fn entangled(&mut self, patch: &Patch, places: &[String]) {
        self.say(
            &patch_file(&patch.name),
            None,
            None,
            format!(
                "cannot be taken out of the patched tree: a patch behind it changes its lines or \
                 their neighbours at {}",
                places.join(", ")
            ),
            "let one patch hold both changes, or move them apart".into(),
        );
    }

    /// Whether the performance patches stand last, so that each series is a beginning of the
    /// next.
    fn classes(&mut self, patches: &[Patch]) {
        let is_performance = |patch: &&Patch| patch.class == Class::Performance;
        let behind = patches.iter().skip_while(|patch| !is_performance(patch));
        let Some(first) = behind.clone().next() else {
            return;
        };
        for patch in behind.filter(|patch| !is_performance(patch)) {
            let (file, first) = (patch_file(&patch.name), patch_file(&first.name));
            self.say(
                SERIES,
                None,
                None,
                format!("names {file} behind {first}, which is a performance patch"),
                format!("move it before {first}: performance patches stand last"),
            );
        }
    }

    fn dependent(&mut self, patch: &str, series: Series, places: &[String]) {
        let left_out = match series {
            Series::Stock => "fixes",
            Series::Patched | Series::Tuned => "performance patches",
        };
        self.say(
            &patch_file(patch),
            None,
            None,
            format!(
                "does not apply in the {series} series at {}, which leaves out the {left_out}",
                places.join(", ")
            ),
            format!("put it before the {left_out}, and make it independent of them"),
        );
    }
}
