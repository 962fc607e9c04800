//! A series as trees: what each patch makes of the tree before it.
//!
//! In a working copy every patch is one commit whose message is the patch's
//! name, an empty line and its fields. Everything that changes a series (fold
//! an edit in, take a patch out) happens between trees, so that it either gives
//! a whole new series or nothing.

use std::collections::BTreeSet;

use pins::ObjectId;

use crate::{
    Class,
    error::{Error, Result},
    header::Header,
    patch,
    patch_tree::Places,
    repository::Repository,
};

/// A tree and the patches on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) base: ObjectId,
    pub(crate) layers: Vec<Layer>,
}

/// A patch of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) name: String,
    /// The fields, as text.
    pub(crate) head: String,
    /// The tree with this patch and those before it.
    pub(crate) tree: ObjectId,
}

/// A layer behind a change that does not fit the change.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) layer: String,
    pub(crate) places: Places,
}

impl Stack {
    /// Reads the commits of a working copy.
    ///
    /// # Errors
    /// A commit that is no patch, two of one name, or a merge.
    pub(crate) fn read(repository: &Repository) -> Result<Self> {
        let history = repository.history()?;
        let refuse = |problem: String, remedy: &str| {
            Err(Error::Input {
                input: repository.folder.display().to_string(),
                problem,
                remedy: remedy.to_owned(),
            })
        };
        let mut commits = history.iter();
        let Some(base) = commits.next() else {
            return refuse("has no commit".into(), "make it anew");
        };
        let mut layers = Vec::new();
        let mut names = BTreeSet::new();
        for commit in commits {
            let subject = commit.message.lines().next().unwrap_or_default();
            if commit.parents != 1 {
                let problem = format!("commit {subject:?} is a merge, and a series is a line");
                return refuse(problem, "use `git rebase` there");
            }
            let Some(layer) = Layer::read(&commit.message, commit.tree) else {
                return refuse(
                    format!(
                        "commit {subject:?} is no patch: a message is a patch's name, an empty \
                         line, and its DEP-3 fields"
                    ),
                    "turn the commit into edits with `git reset --soft HEAD~1` there, and take \
                     them in with `cargo xtask patch refresh`",
                );
            };
            if !names.insert(layer.name.clone()) {
                let problem = format!("two commits are patch {subject}");
                return refuse(
                    problem,
                    "join or rename them with `git rebase --interactive` there",
                );
            }
            layers.push(layer);
        }
        Ok(Stack {
            base: base.tree,
            layers,
        })
    }

    /// Makes the working copy's commits these.
    pub(crate) fn write(&self, repository: &Repository, base: &str) -> Result<()> {
        let mut commits = vec![(base.to_owned(), self.base)];
        commits.extend(self.layers.iter().map(|l| (l.message(), l.tree)));
        repository.commit(&commits)
    }

    /// The tree with every patch.
    pub(crate) fn top(&self) -> ObjectId {
        self.tree_before(self.layers.len())
    }

    /// The tree that the layer at this position changes.
    pub(crate) fn tree_before(&self, position: usize) -> ObjectId {
        match position.checked_sub(1) {
            Some(before) => self.layers[before].tree,
            None => self.base,
        }
    }

    /// Whether the layer at this position changes anything.
    pub(crate) fn is_empty(&self, position: usize) -> bool {
        self.layers[position].tree == self.tree_before(position)
    }

    /// Where a patch goes that is to stand before the performance patches.
    pub(crate) fn before_performance(&self) -> usize {
        let is_performance = |layer: &Layer| {
            Header::parse(&layer.head).get(patch::CLASS) == Class::Performance.name()
        };
        let first = self.layers.iter().position(is_performance);
        first.unwrap_or(self.layers.len())
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.name == name)
    }

    /// With the edits that lead from the top to `edited` in the layer at
    /// `position`. `Err` names the layer that holds the edited lines too.
    pub(crate) fn fold(
        &self,
        repository: &Repository,
        position: usize,
        edited: ObjectId,
    ) -> Result<Result<Stack, Misfit>> {
        let edit = (self.top(), edited);
        let places = match repository.replay(edit, self.layers[position].tree)? {
            Ok(tree) => return self.with_tree(repository, position, tree),
            Err(places) => places,
        };
        let mut behind = self.layers[position + 1..].iter();
        let owner = loop {
            match behind.next() {
                Some(layer) if repository.replay(edit, layer.tree)?.is_err() => {}
                Some(layer) => break layer,
                None => break &self.layers[position],
            }
        };
        Ok(Err(Misfit {
            layer: owner.name.clone(),
            places,
        }))
    }

    /// With nothing left of the layer at `position`. `Err` names a layer that
    /// needs it.
    pub(crate) fn without(
        &self,
        repository: &Repository,
        position: usize,
    ) -> Result<Result<Stack, Misfit>> {
        self.with_tree(repository, position, self.tree_before(position))
    }

    /// With another tree at `position`, and the layers behind it replayed on it.
    fn with_tree(
        &self,
        repository: &Repository,
        position: usize,
        tree: ObjectId,
    ) -> Result<Result<Stack, Misfit>> {
        let mut stack = self.clone();
        stack.layers[position].tree = tree;
        for behind in position + 1..self.layers.len() {
            let change = (self.tree_before(behind), self.layers[behind].tree);
            match repository.replay(change, stack.tree_before(behind))? {
                Ok(tree) => stack.layers[behind].tree = tree,
                Err(places) => {
                    let layer = self.layers[behind].name.clone();
                    return Ok(Err(Misfit { layer, places }));
                }
            }
        }
        Ok(Ok(stack))
    }
}

impl Layer {
    fn read(message: &str, tree: ObjectId) -> Option<Self> {
        let (name, head) = message.split_once("\n\n")?;
        let head = format!("{}\n", head.trim());
        let is_patch = is_name(name) && !Header::parse(&head).get("Description").is_empty();
        is_patch.then(|| Layer {
            name: name.to_owned(),
            head,
            tree,
        })
    }

    fn message(&self) -> String {
        format!("{}\n\n{}", self.name, self.head)
    }
}

/// Whether a patch may be called so: lower-case words joined by hyphens.
pub(crate) fn is_name(name: &str) -> bool {
    name.split('-').all(|word| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}
