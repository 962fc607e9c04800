//! Trees and commits of a git repository, and patches as steps between trees.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use launch::Launcher;
use pins::ObjectId;
use tempfile::NamedTempFile;

use crate::{
    error::{Error, IoContext, Result},
    git::{Answer, ask, capture, git},
    patch_tree::{Places, refused_hunks},
};

/// A diff as every patch file has it: full blob ids, one line of context,
/// whatever the repository is configured to.
const DIFF: [&str; 12] = [
    "diff",
    "--full-index",
    "--binary",
    "--unified=1",
    "--inter-hunk-context=0",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--no-renames",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--diff-algorithm=myers",
];

/// One commit, from first to last.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) tree: ObjectId,
    pub(crate) parents: usize,
    pub(crate) message: String,
}

/// A repository with a working tree.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) folder: PathBuf,
    launcher: Launcher,
}

impl Repository {
    /// The repository in `folder`.
    pub(crate) fn at(folder: PathBuf, launcher: &Launcher) -> Self {
        Repository {
            folder,
            launcher: launcher.clone(),
        }
    }

    /// Makes `folder` a repository.
    pub(crate) fn init(folder: PathBuf, launcher: &Launcher) -> Result<Self> {
        let repository = Self::at(folder, launcher);
        repository.run(&["init", "--quiet", "--initial-branch=series"])?;
        // For the user's own words on ignored files; a template would make it.
        let info = repository.folder.join(".git/info");
        fs::create_dir_all(&info).at("create", &info)?;
        // What the user's git stores there is what the pin hashes.
        repository.run(&["config", "core.autocrlf", "false"])?;
        Ok(repository)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        self.capture(git(&self.folder, arguments))
    }

    /// With an index of ours, so that the user's stays as it is.
    fn run_aside(&self, arguments: &[&str]) -> Result<String> {
        self.capture(self.aside(arguments))
    }

    fn aside(&self, arguments: &[&str]) -> Command {
        let mut command = git(&self.folder, arguments);
        command.env("GIT_INDEX_FILE", self.index());
        command
    }

    fn index(&self) -> PathBuf {
        self.folder.join(".git/rails-index")
    }

    fn capture(&self, command: Command) -> Result<String> {
        capture(&self.what(), command, &self.launcher)
    }

    fn what(&self) -> String {
        format!("git in {}", self.folder.display())
    }

    /// The tree of every file in the folder, ignored or not.
    pub(crate) fn tree_of_all_files(&self) -> Result<ObjectId> {
        self.run(&["add", "--all", "--force"])?;
        self.id(&self.run(&["write-tree"])?)
    }

    /// The tree of every file of another folder.
    pub(crate) fn tree_of(&self, folder: &Path) -> Result<ObjectId> {
        let run = |arguments: &[&str]| {
            let mut command = self.aside(arguments);
            command
                .env("GIT_DIR", self.folder.join(".git"))
                .env("GIT_WORK_TREE", folder)
                .current_dir(folder);
            self.capture(command)
        };
        run(&["add", "--all", "--force"])?;
        self.id(&run(&["write-tree"])?)
    }

    /// The tree of the folder as it is edited: what is tracked, and what is new
    /// and not ignored.
    pub(crate) fn edited_tree(&self) -> Result<ObjectId> {
        let (theirs, ours) = (self.folder.join(".git/index"), self.index());
        fs::copy(&theirs, &ours).at("copy", &theirs)?;
        self.run_aside(&["add", "--all"])?;
        self.id(&self.run_aside(&["write-tree"])?)
    }

    /// New files that the tree's own `.gitignore` hides from [`Self::edited_tree`].
    pub(crate) fn hidden_files(&self) -> Result<Vec<String>> {
        let listed = self.run(&[
            "ls-files",
            "--others",
            "--ignored",
            "--exclude-standard",
            "--directory",
        ])?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Every commit up to `HEAD`, oldest first.
    pub(crate) fn history(&self) -> Result<Vec<Commit>> {
        let log = self.run(&["log", "--reverse", "--topo-order", "--format=%T %P%n%B%x00"])?;
        log.split('\0')
            .map(str::trim_start)
            .filter(|record| !record.is_empty())
            .map(|record| {
                let (ids, message) = record.split_once('\n').unwrap_or((record, ""));
                let mut ids = ids.split_whitespace();
                Ok(Commit {
                    tree: self.id(ids.next().unwrap_or_default())?,
                    parents: ids.count(),
                    message: message.to_owned(),
                })
            })
            .collect()
    }

    /// Makes `HEAD` these commits on top of each other, and leaves the working
    /// tree as it is.
    pub(crate) fn commit(&self, commits: &[(String, ObjectId)]) -> Result<()> {
        let mut head: Option<String> = None;
        for (message, tree) in commits {
            let tree = tree.to_string();
            let mut arguments = vec!["commit-tree", &tree, "-m", message];
            if let Some(parent) = &head {
                arguments.extend(["-p", parent]);
            }
            head = Some(self.run(&arguments)?.trim().to_owned());
        }
        if let Some(head) = head {
            self.run(&["update-ref", "HEAD", &head])?;
            self.run(&["reset", "--quiet"])?;
        }
        Ok(())
    }

    /// What changes from one tree to the other.
    pub(crate) fn diff(&self, from: ObjectId, to: ObjectId) -> Result<String> {
        let (from, to) = (from.to_string(), to.to_string());
        self.run(&[&DIFF[..], &[&from, &to]].concat())
    }

    /// Makes the change between two trees to a third, by a three-way merge.
    pub(crate) fn replay(
        &self,
        (from, to): (ObjectId, ObjectId),
        onto: ObjectId,
    ) -> Result<Result<ObjectId, Places>> {
        if from == onto || from == to {
            return Ok(Ok(if from == onto { to } else { onto }));
        }
        let mut change = NamedTempFile::new().at("create a file in", env::temp_dir())?;
        let diff = self.diff(from, to)?;
        change
            .write_all(diff.as_bytes())
            .at("write", change.path())?;
        self.apply_to_index(change.path(), onto, &["--3way"])
    }

    /// The tree that a patch file makes of another.
    pub(crate) fn apply(&self, patch: &Path, onto: ObjectId) -> Result<Result<ObjectId, Places>> {
        self.apply_to_index(patch, onto, &[])
    }

    fn apply_to_index(
        &self,
        patch: &Path,
        onto: ObjectId,
        how: &[&str],
    ) -> Result<Result<ObjectId, Places>> {
        let refusal = |how: &[&str]| {
            self.run_aside(&["read-tree", &onto.to_string()])?;
            let mut command = self.aside(&["apply", "--cached", "--whitespace=nowarn"]);
            command.args(how).arg(patch);
            let answer = ask(&self.what(), command, &self.launcher)?;
            Ok::<_, Error>(match answer {
                Answer::Taken => None,
                Answer::Refused(said) => Some(said),
            })
        };
        let Some(refused) = refusal(how)? else {
            return Ok(Ok(self.id(&self.run_aside(&["write-tree"])?)?));
        };
        // A merge names files, a plain refusal lines.
        let plainly = refusal(&["--check"])?;
        Ok(Err(refused_hunks(&plainly.unwrap_or(refused))))
    }

    fn id(&self, printed: &str) -> Result<ObjectId> {
        printed
            .trim()
            .parse()
            .map_err(|problem: String| Error::inconsistent(self.what(), problem))
    }
}
