//! A series put in its place: whole, with its trees recorded, or not at all.

use std::path::PathBuf;

use pins::{ObjectId, PIN_FILE, Pin, Trees, journal::Change};
use serde::Serialize;

use crate::{
    error::{Error, Result},
    header::join,
    order::Order,
    repository::Repository,
    snapshot::{SERIES, Snapshot, patch_file},
    stack::Stack,
    workshop::Workshop,
};

/// What an export did to `patches/<version>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Files that were written, because they changed.
    pub written: Vec<PathBuf>,
    /// Files that were removed.
    pub removed: Vec<PathBuf>,
    /// The tree of the stock series.
    pub stock: ObjectId,
    /// The tree with the fixes.
    pub patched: ObjectId,
    /// The tree of the whole series.
    pub tuned: ObjectId,
}

impl Workshop {
    /// Makes the pin's folder hold `stack`, and the pin record its trees. Layers
    /// that change nothing are left out.
    pub(crate) fn publish(
        &self,
        pin: &Pin,
        repository: &Repository,
        stack: &Stack,
    ) -> Result<Exported> {
        let before = Snapshot::load(&pin.folder)?;
        let after = render(repository, stack, &before)?;
        let scratch = self.scratch()?;
        let staged = Pin {
            folder: scratch.path().join("pin"),
            ..pin.clone()
        };
        after.save(&staged.folder)?;
        let trees = self.apply_every_series(&staged)?;
        let Trees {
            stock,
            patched,
            tuned,
        } = trees;
        if tuned != stack.top() {
            let problem = format!(
                "its patches give tree {tuned}, but the commits they are made from {}",
                stack.top()
            );
            return Err(Error::inconsistent(
                pin.folder.join(SERIES).display(),
                problem,
            ));
        }

        let mut change = Change::default();
        for (name, text) in &after.patches {
            if before.patches.get(name) != Some(text) {
                change.written.push((patch_file(name), text.clone()));
            }
        }
        if after.series != before.series {
            change
                .written
                .push((SERIES.to_owned(), after.series.clone()));
        }
        let record = pin.with_record(trees, None)?;
        change
            .written
            .extend(record.map(|text| (PIN_FILE.to_owned(), text)));
        let gone = before
            .patches
            .keys()
            .filter(|name| !after.patches.contains_key(*name));
        change.removed = gone.map(|name| patch_file(name)).collect();
        change.publish(&pin.folder)?;
        let path = |file: String| pin.folder.join(file);
        Ok(Exported {
            written: change
                .written
                .into_iter()
                .map(|(file, _)| path(file))
                .collect(),
            removed: change.removed.into_iter().map(path).collect(),
            stock,
            patched,
            tuned,
        })
    }
}

/// The files that a stack is.
pub(crate) fn render(
    repository: &Repository,
    stack: &Stack,
    before: &Snapshot,
) -> Result<Snapshot> {
    let mut after = Snapshot::default();
    let mut files = Vec::new();
    for (position, layer) in stack.layers.iter().enumerate() {
        if stack.is_empty(position) {
            continue;
        }
        let diff = repository.diff(stack.tree_before(position), layer.tree)?;
        after
            .patches
            .insert(layer.name.clone(), join(&layer.head, &diff));
        files.push(patch_file(&layer.name));
    }
    let order = Order::parse(&before.series);
    after.series = match order.files().eq(files.iter()) {
        true => before.series.clone(),
        false => order.arranged(&files).to_string(),
    };
    Ok(after)
}
