//! What becomes of a series on another MLX.

use std::path::Path;

use pins::Pin;
use semver::Version;
use serde::Serialize;

use crate::{
    Patch, Proof, State,
    error::{Error, Result},
    fields::applied,
    order::Order,
    proof::for_shell,
    snapshot::read_series,
    workshop::Workshop,
};

/// The nearest pin's series, held against an MLX.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// The MLX that was tried.
    pub mlx: String,
    /// The pin whose series it is.
    pub from: String,
    /// Each patch, in order.
    pub patches: Vec<Tried>,
}

/// How one patch of another pin stands to an MLX.
#[derive(Debug, Clone, Serialize)]
pub struct Tried {
    /// Its name.
    pub patch: String,
    /// Applies, already upstream (by its text, or as it says itself), or conflicts.
    #[serde(flatten)]
    pub state: State,
    /// What the patch itself says of upstream.
    pub applied_upstream: String,
    /// By behaviour: commands that show whether the defect is still there.
    pub checks: Vec<Check>,
}

/// A selection of `cargo xtask verify`.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The verdict that shows the defect; pass shows that it is gone.
    pub defect: String,
    /// The whole command.
    pub command: String,
}

impl Check {
    fn new(proof: &Proof, version: &Version) -> Self {
        let flags = for_shell(&proof.flags);
        Check {
            defect: proof.before.clone(),
            command: format!("cargo xtask verify --mlx {version} --series stock {flags}"),
        }
    }
}

impl Tried {
    fn new(patch: &Patch, state: State, version: &Version) -> Result<Self> {
        let claim = patch.header.get("Applied-Upstream");
        let has_it = applied(claim).is_some_and(|since| since <= *version);
        Ok(Tried {
            patch: patch.name.clone(),
            state: match state {
                // On a pristine tree, who else would have applied it?
                State::AlreadyApplied => State::AlreadyUpstream,
                // Upstream mended it by another change.
                State::Conflicts { .. } if has_it => State::AlreadyUpstream,
                other => other,
            },
            applied_upstream: claim.to_owned(),
            checks: checks(patch, version)?,
        })
    }
}

/// The commands that show the defect that a patch mends, on another MLX.
pub(crate) fn checks(patch: &Patch, version: &Version) -> Result<Vec<Check>> {
    // What `verify` makes of them, it says itself when they are run.
    let proofs = patch.proofs(&|_| Ok(()))?;
    Ok(proofs
        .iter()
        .map(|proof| Check::new(proof, version))
        .collect())
}

impl Trial {
    /// Whether a patch has to be made anew.
    pub fn has_conflict(&self) -> bool {
        let conflicts = |tried: &Tried| matches!(tried.state, State::Conflicts { .. });
        self.patches.iter().any(conflicts)
    }
}

impl Workshop {
    /// Holds the series of the nearest other pin against the pin `version`; or,
    /// with the pristine tree of an MLX at `tree`, that of the pin nearest to the
    /// `version` it is, which need be no pin.
    ///
    /// # Errors
    /// An unknown version without a tree; no pin with a series at all.
    pub fn try_series(&self, version: &str, tree: Option<&Path>) -> Result<Trial> {
        let wanted = pins::version(version).map_err(|problem| Error::Input {
            input: "--mlx".into(),
            problem,
            remedy: "name the release that the tree is, or the next one".into(),
        })?;
        let named = tree.is_none();
        let fetched;
        let tree = match tree {
            Some(tree) => tree,
            None => {
                fetched = self.pristine(&self.pin(version)?)?;
                &fetched.path
            }
        };
        let from = self.nearest_series(&wanted, named)?;
        let states = self.patch_states(&from, Some(tree))?;
        Ok(Trial {
            mlx: version.to_owned(),
            from: from.version,
            patches: states
                .into_iter()
                .map(|(patch, state)| Tried::new(&patch, state, &wanted))
                .collect::<Result<_>>()?,
        })
    }

    /// The pin with patches whose version is next to this one (`another` than it),
    /// of two equally near the older: what it mends may still be broken.
    fn nearest_series(&self, version: &Version, another: bool) -> Result<Pin> {
        let nearest = self
            .series_by_distance(version, another)?
            .into_iter()
            .next();
        self.pin(&nearest.ok_or_else(|| self.no_series())?)
    }

    /// The pins with patches, the one whose version is next to this one first.
    pub(crate) fn series_by_distance(
        &self,
        version: &Version,
        another: bool,
    ) -> Result<Vec<String>> {
        let patches = self.patches_folder();
        let mut found: Vec<(Distance, String)> = Vec::new();
        for candidate in Pin::versions(&patches)? {
            let series = read_series(&patches.join(&candidate))?;
            let other = pins::version(&candidate)
                .map_err(|problem| Error::malformed(patches.join(&candidate), problem))?;
            let itself = another && other == *version;
            if !itself && Order::parse(&series).files().next().is_some() {
                found.push((distance(&other, version), candidate));
            }
        }
        // They are sorted by age, and this keeps it.
        found.sort_by_key(|(far, _)| *far);
        Ok(found.into_iter().map(|(_, pin)| pin).collect())
    }

    pub(crate) fn no_series(&self) -> Error {
        Error::Input {
            input: self.patches_folder().display().to_string(),
            problem: "no pin there has a series that could be tried".into(),
            remedy: "begin one with `cargo xtask patch new NAME`".into(),
        }
    }
}

/// By number: major, minor, patch.
type Distance = [u64; 3];

/// How far two versions are apart.
fn distance(a: &Version, b: &Version) -> Distance {
    [
        a.major.abs_diff(b.major),
        a.minor.abs_diff(b.minor),
        a.patch.abs_diff(b.patch),
    ]
}
