//! The patch files of a folder, as text.

use std::{collections::BTreeMap, fs, io, path::Path};

use crate::{
    error::{IoContext, Result},
    header::split,
    order::Order,
};

/// The file that names the patches.
pub(crate) const SERIES: &str = "series";

/// A series as it stands in a folder: its order and its patch files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The text of `series`; empty when there is none.
    pub(crate) series: String,
    /// The text of each patch, by its name.
    pub(crate) patches: BTreeMap<String, String>,
}

impl Snapshot {
    /// Reads what `series` names.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let series = read_series(folder)?;
        let patches = Order::parse(&series)
            .files()
            .map(|file| {
                let path = folder.join(file);
                let text = fs::read_to_string(&path).at("read", &path)?;
                Ok((patch_name(file).to_owned(), text))
            })
            .collect::<Result<_>>()?;
        Ok(Snapshot { series, patches })
    }

    /// Makes `folder` hold this and nothing else; it is never there in part.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        let made = folder.with_extension("new");
        remove_folder(&made)?;
        fs::create_dir_all(&made).at("create", &made)?;
        let patches = self
            .patches
            .iter()
            .map(|(name, text)| (patch_file(name), text));
        let series = (SERIES.to_owned(), &self.series);
        for (file, text) in patches.chain([series]) {
            let path = made.join(file);
            fs::write(&path, text).at("write", &path)?;
        }
        remove_folder(folder)?;
        fs::rename(&made, folder).at("create", folder)
    }

    /// The fields of a patch, as text.
    pub(crate) fn head(&self, name: &str) -> Option<&str> {
        self.patches.get(name).map(|text| split(text).0)
    }

    /// The first patch that another snapshot has otherwise than in its fields, or
    /// the order itself.
    pub(crate) fn differing_change(&self, other: &Snapshot) -> Option<String> {
        let differs = |name: &&str| {
            let diff = |of: &Snapshot| of.patches.get(*name).map(|text| split(text).1.to_owned());
            diff(self) != diff(other)
        };
        let (ours, theirs) = (Order::parse(&self.series), Order::parse(&other.series));
        if let Some(file) = ours
            .files()
            .chain(theirs.files())
            .map(patch_name)
            .find(differs)
        {
            return Some(patch_file(file));
        }
        (!ours.files().eq(theirs.files())).then(|| SERIES.to_owned())
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("remove", folder),
    }
}

/// The text of a folder's `series`; a pin without one has no patches.
pub(crate) fn read_series(folder: &Path) -> Result<String> {
    let file = folder.join(SERIES);
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.at("read", &file),
    }
}

/// The file of a patch.
pub(crate) fn patch_file(name: &str) -> String {
    format!("{name}.patch")
}

fn patch_name(file: &str) -> &str {
    file.strip_suffix(".patch").unwrap_or(file)
}
