//! The patches of this checkout, over the sources of every pin, which are fetched where the
//! store lacks them.

use std::path::Path;

use patch_series::{Checks, Problem};
use pins::{Listing, Pin};
use toolchain::Toolchain;

/// Every file of a folder and of those in it, as git names its content.
fn files(folder: &Path) -> String {
    Listing::of_folder(folder).unwrap().to_string()
}

#[test]
fn they_have_no_problem() {
    let series = Toolchain::open().unwrap().series();
    for version in Pin::versions(&series.patches_folder()).unwrap() {
        let pin = series.pin(&version).unwrap();
        let problems = series.lint_patches(&pin, Checks::FORM).unwrap();
        let told: Vec<_> = problems.iter().map(Problem::to_string).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
    }
}

#[test]
fn every_series_exports_to_the_bytes_it_has() {
    let toolchain = Toolchain::open().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for version in Pin::versions(&toolchain.patches_folder()).unwrap() {
        // A copy, since a test must not write into the checkout.
        let patches = scratch.path().join("patches");
        let from = toolchain.patches_folder().join(&version);
        miniature::copy_folder(&from, &patches.join(&version));
        let copied = Toolchain::at(scratch.path(), toolchain.store().clone()).series();
        let pin = copied.pin(&version).unwrap();
        let copy = scratch.path().join("copy").join(&version);
        let editable = copied.edit_patches(&pin, &copy).unwrap();
        assert!(editable.pending.is_empty(), "{:?}", editable.pending);
        let exported = copied.export_patches(&pin, &copy).unwrap();
        assert!(
            exported.written.is_empty() && exported.removed.is_empty(),
            "exporting {version} changes {:?}",
            exported.written
        );
        assert_eq!(files(&from), files(&pin.folder));
    }
}
