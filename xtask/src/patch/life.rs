//! The steps that change patches: new, edit, refresh, export, drop.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use patch_series::{Editable, Exported, Refreshed, Workshop};
use pins::Pin;

use crate::{
    exit::Result,
    flags::{PatchCopy, PatchDrop, PatchNew, PatchRefresh},
    out,
    output::Unprinted,
    say,
    session::Session,
};

pub fn new(session: &Session, flags: &PatchNew) -> Result {
    let at = Place::of(session.toolchain.series(), &flags.copy)?;
    let editable = at
        .series
        .new_patch(&at.pin, &flags.name, flags.class, &at.folder)?;
    at.opened(&editable, &flags.name)?;
    Ok(ExitCode::SUCCESS)
}

pub fn edit(session: &Session, flags: &PatchCopy) -> Result {
    let at = Place::of(session.toolchain.series(), flags)?;
    let editable = at.series.edit_patches(&at.pin, &at.folder)?;
    at.opened(&editable, "NAME")?;
    Ok(ExitCode::SUCCESS)
}

pub fn refresh(session: &Session, flags: &PatchRefresh) -> Result {
    let at = Place::of(session.toolchain.series(), &flags.copy)?;
    match at.series.refresh_patch(&at.pin, &flags.name, &at.folder)? {
        Refreshed::Exported(exported) => at.exported(&exported)?,
        Refreshed::Pending(names) => {
            say!(
                "{} has its edits in the working copy; patches/ is unchanged until {} is made too",
                flags.name,
                names.join(", ")
            );
            at.next("refresh", &names[0]);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub fn export(session: &Session, flags: &PatchCopy) -> Result {
    let at = Place::of(session.toolchain.series(), flags)?;
    at.exported(&at.series.export_patches(&at.pin, &at.folder)?)?;
    Ok(ExitCode::SUCCESS)
}

pub fn drop(session: &Session, flags: &PatchDrop) -> Result {
    let copy = PatchCopy {
        pin: flags.pin.clone(),
        dir: None,
    };
    let at = Place::of(session.toolchain.series(), &copy)?;
    at.exported(&at.series.drop_patches(&at.pin, &flags.names)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The patches, and the place where they are edited.
struct Place {
    series: Workshop,
    pin: Pin,
    folder: PathBuf,
    /// Flags that name the same place again.
    flags: String,
}

impl Place {
    fn of(series: Workshop, copy: &PatchCopy) -> Result<Self> {
        let pin = series.pin(&copy.pin.mlx)?;
        let dir = |dir: &PathBuf| format!(" --dir {}", dir.display());
        Ok(Place {
            flags: format!(
                "--mlx {}{}",
                pin.version,
                copy.dir.as_ref().map(dir).unwrap_or_default()
            ),
            folder: match &copy.dir {
                Some(dir) => dir.clone(),
                None => series.working_copy(&pin),
            },
            series,
            pin,
        })
    }

    fn opened(&self, editable: &Editable, name: &str) -> Result<(), Unprinted> {
        for (patch, state) in &editable.pending {
            say!("{patch} {state}: make its change there, then refresh it");
        }
        say!("edit the files there, then");
        self.next("refresh", name);
        out!("{}", editable.folder.display())
    }

    fn exported(&self, exported: &Exported) -> Result<(), Unprinted> {
        let shown = |file: &Path| {
            let root = &self.series.root;
            file.strip_prefix(root)
                .unwrap_or(file)
                .display()
                .to_string()
        };
        for file in &exported.written {
            out!("written {}", shown(file))?;
        }
        for file in &exported.removed {
            out!("removed {}", shown(file))?;
        }
        if exported.written.is_empty() && exported.removed.is_empty() {
            say!("patches/{} is current", self.pin.version);
        }
        say!(
            "cargo xtask patch lint --mlx {} shows what is left to do",
            self.pin.version
        );
        Ok(())
    }

    /// The command that continues from here.
    fn next(&self, step: &str, name: &str) {
        say!("  cargo xtask patch {step} {name} {}", self.flags);
    }
}
