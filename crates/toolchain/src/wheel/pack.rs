//! What wheels for all systems have in common: which base is admitted, and how ours is
//! written.

use std::{fs::File, io::BufWriter, path::Path};

use pins::{Pin, Series};
use serde::Serialize;
use serde_json::json;
use wheel::{
    Check, Wheel,
    overlay::{self, Label, Overlay},
};

use super::{BaseFile, Built, REPORT, SCHEMA, WheelRequest};
use crate::{
    Toolchain,
    build::Build,
    error::{Error, IoContext, Result},
    store::{Kind, sha256},
    tools::folder_hash,
};

/// What a base of ours must be.
pub(super) struct Admitted<'a> {
    /// The distributions.
    pub names: [&'a str; 2],
    /// The libraries that it has.
    pub libraries: &'a [&'a str],
    /// What to give instead of one without them.
    pub instead: &'a str,
}

impl Admitted<'_> {
    /// Refuses a wheel that is one of ours, of another MLX, or without its libraries.
    pub fn check(&self, pin: &Pin, wheel: &Wheel) -> Result<()> {
        let problem = self.problem(pin, wheel);
        problem.map_or(Ok(()), |(problem, remedy)| {
            Err(Error::Wheel(wheel::Error::Unfit {
                file: wheel.path().to_owned(),
                problem,
                remedy,
            }))
        })
    }

    fn problem(&self, pin: &Pin, wheel: &Wheel) -> Option<(String, String)> {
        let name = wheel.name();
        if overlay::is_ours(&name.version) || wheel.has(&wheel.of_dist_info(overlay::MANIFEST)) {
            return Some((
                "is one that this tool made".into(),
                "pass the wheel that it was made from".into(),
            ));
        }
        if !self.names.contains(&name.name.as_str()) {
            let names = self.names.map(|it| it.replace('_', "-")).join(" or ");
            return Some((
                format!("is a wheel of {}, not of MLX", name.name),
                format!("pass a wheel of {names}"),
            ));
        }
        // A development version is let through: a fork counts as it likes, and whether its
        // MLX and our jaccl fit is told by its libraries.
        let release = name.version.only_release().to_string();
        if !name.version.is_dev() && release != pin.version {
            return Some((
                format!("is of MLX {release}, and the pin is MLX {}", pin.version),
                format!(
                    "pass --mlx {release}, if `cargo xtask doctor` lists it, or a wheel of the pin"
                ),
            ));
        }
        let missing = self.libraries.iter().find(|library| !wheel.has(library));
        missing.map(|library| (format!("has no {library}"), self.instead.to_owned()))
    }
}

/// The version of the wheel that is made from `base`. Revisions of the patched and of the
/// tuned series are counted apart, so that a version says which series it is; stock is
/// revision 0 of patched.
pub(super) fn version(pin: &Pin, series: Series, base: &Wheel) -> pep440_rs::Version {
    let label = match series {
        Series::Stock | Series::Patched => Label::Rails,
        Series::Tuned => Label::Tuned,
    };
    overlay::rails_version(&base.name().version, label, series.revision(pin))
}

/// Writes the wheel into `folder`, with a manifest, and holds it against its base. The
/// overlay comes without its manifest, `base` with its SHA-256.
pub(super) fn pack(
    request: &WheelRequest<'_>,
    (base, sha256): (&mut Wheel, &str),
    build: &Build,
    overlay: Overlay,
    mut checks: Vec<Check>,
    folder: &Path,
) -> Result<Built> {
    let what = overlay.files.keys().next().cloned().unwrap_or_default();
    let refuse_misfit = |base: &Wheel, checks: &[Check]| {
        refuse_misfit(&what, &base.path().display().to_string(), checks)
    };
    refuse_misfit(base, &checks)?;
    let replaced = overlay.replaced(base)?;
    let inputs = &build.manifest.inputs;
    let manifest = json!({
        "schema": SCHEMA,
        "base": {
            "file": base.path().file_name().map(|it| it.to_string_lossy()),
            "sha256": sha256,
        },
        "replaced": replaced,
        "checks": checks,
        "mlx": request.pin.version,
        "series": request.series,
        "revision": request.series.revision(request.pin),
        "patched_tree": inputs.patched_tree,
        "patches": inputs.patches,
        "compiler": inputs.compilers.cxx.program.version,
        "build": build.manifest.key,
    });
    let overlay = Overlay {
        manifest: format!("{manifest:#}\n").into_bytes(),
        ..overlay
    };
    let path = folder.join(overlay.name(base.name()).to_string());
    let file = File::create(&path).at("create", &path)?;
    overlay.write(base, BufWriter::new(file), &path)?;
    checks.extend(overlay.check(base, &mut Wheel::open(&path)?)?);
    refuse_misfit(base, &checks)?;
    Ok(Built {
        replaced,
        checks,
        mlx: Some(request.pin.version.clone()),
        series: Some(request.series),
        patched_tree: Some(inputs.patched_tree),
        ..Built::whole(path)?
    })
}

/// That every check holds.
pub(crate) fn refuse_misfit(what: &str, base: &str, checks: &[Check]) -> Result<()> {
    if checks.iter().all(|check| check.ok) {
        return Ok(());
    }
    Err(Error::Misfit {
        what: what.to_owned(),
        base: base.to_owned(),
        checks: checks.to_vec(),
    })
}

impl Toolchain {
    /// The wheel that is made from `base`, which the store keeps. Its name there is the hash
    /// of the base, of its version, of `parts` (what else it depends on), and of the crate
    /// that packs and checks it. `make` writes it into a folder; it gets the base's path in
    /// words.
    pub(super) fn kept_wheel(
        &self,
        base: BaseFile,
        version: &pep440_rs::Version,
        parts: &impl Serialize,
        make: impl FnOnce(&str, &Path) -> Result<Built>,
    ) -> Result<Built> {
        let inputs = json!({
            "schema": SCHEMA,
            "packer": folder_hash(&self.root().join("crates/wheel/src"))?,
            "base": base.sha256,
            "version": version.to_string(),
            "parts": parts,
        });
        let key = &sha256(inputs.to_string())[..32];
        let check = |entry: &Path| Ok(whole_wheel(entry));
        let made = self.make_entry(Kind::Wheel, key, check, |scratch| {
            let folder = scratch.join("wheel");
            std::fs::create_dir(&folder).at("create", &folder)?;
            let built = make(&base.path.display().to_string(), &folder)?;
            built.save(&folder.join(REPORT))?;
            self.progress.finish();
            Ok((folder, built))
        })?;
        let name = made.value.path.file_name().unwrap_or_default();
        Ok(Built {
            path: made.path.join(name),
            base: Some(base),
            ..made.value
        })
    }
}

/// The report of a made wheel in the store that is as it was made.
pub(crate) fn whole_wheel(entry: &Path) -> Option<Built> {
    let built = Built::load(&entry.join(REPORT)).ok()?;
    let file = entry.join(built.path.file_name()?);
    let (sha256, _) = Wheel::sha256(&file).ok()?;
    (sha256 == built.sha256).then_some(built)
}
