//! `cargo xtask pin`: pins of other MLXs.

use patch_series::{Added, Fate, Moved};
use serde_json::json;

use crate::{
    exit::{self, Result},
    flags::{Format, PinAdd, PinStep, PinVerb},
    out,
    output::{self, Unprinted},
    session::Session,
};

/// The `schema` of the JSON of `pin add`.
const SCHEMA: &str = "mlx-rails/pin-add/1";

pub fn run(session: &Session, flags: &PinVerb) -> Result {
    match &flags.step {
        PinStep::Add(flags) => add(session, flags),
    }
}

fn add(session: &Session, flags: &PinAdd) -> Result {
    let added = session.toolchain.add_pin(&flags.name, &flags.from)?;
    let left = left_to_do(&added);
    if flags.format == Format::Json {
        let Added {
            mlx,
            tree,
            folder,
            from,
            patches,
            recorded,
        } = &added;
        let report = json!({
            "schema": SCHEMA, "mlx": mlx, "tree": tree, "folder": folder, "from": from,
            "patches": patches, "recorded": recorded, "left": left,
        });
        output::json(&report)?;
    } else {
        print(&added, &left)?;
    }
    Ok(exit::passed(!added.has_conflict()))
}

fn print(added: &Added, left: &[String]) -> std::result::Result<(), Unprinted> {
    let Added { mlx, tree, .. } = added;
    out!("patches/{mlx} pins MLX {mlx}, tree {tree}.")?;
    out!("The series of {}:", added.from)?;
    let width = output::widest(added.patches.iter().map(|moved| moved.patch.as_str()));
    for Moved { patch, fate, .. } in &added.patches {
        out!("  {patch:width$}  {}", in_words(fate))?;
    }
    out!("Left to do:")?;
    for (number, line) in (1..).zip(left) {
        out!("  {number}. {line}")?;
    }
    Ok(())
}

fn in_words(fate: &Fate) -> String {
    match fate {
        Fate::Applies => "applies".into(),
        Fate::Rebased => "rebased by git".into(),
        Fate::Upstream => "left out: already upstream".into(),
        Fate::SaysUpstream => "left out: its Applied-Upstream names this version".into(),
        Fate::Conflicts { hunks } => format!("conflicts at {}", hunks.join(", ")),
    }
}

/// What a person does next, in order.
fn left_to_do(added: &Added) -> Vec<String> {
    let mlx = &added.mlx;
    let mut left = vec![format!(
        "compare the tree with upstream's: `git rev-parse TAG^{{tree}}` gives {}",
        added.tree
    )];
    let of = |wanted: fn(&Fate) -> bool| added.patches.iter().filter(move |it| wanted(&it.fate));
    let conflicting = of(|fate| matches!(fate, Fate::Conflicts { .. }));
    for Moved { patch, .. } in conflicting {
        left.push(format!(
            "make the change of {patch} in the working copy of `cargo xtask patch edit --mlx \
             {mlx}`, then `cargo xtask patch refresh {patch} --mlx {mlx}`; or `cargo xtask patch \
             drop {patch} --mlx {mlx}` if this MLX needs it no more"
        ));
    }
    for Moved { patch, .. } in of(|fate| *fate == Fate::Rebased) {
        left.push(format!("read patches/{mlx}/{patch}.patch: git merged it"));
    }
    let gone = of(|fate| matches!(fate, Fate::Upstream | Fate::SaysUpstream));
    for check in gone.flat_map(|moved| &moved.checks) {
        left.push(format!(
            "see that {} is gone: `{}`",
            check.defect, check.command
        ));
    }
    left.extend([
        format!("look for new defects: `cargo xtask verify --mlx {mlx} --level full`"),
        format!("prove the fixes: `cargo xtask verify --mlx {mlx} --each-patch`"),
        format!(
            "see that the mlx-c of {} fits: `cargo xtask build --mlx {mlx}`; its patches are in \
             patches/{mlx}/mlx-c",
            added.from
        ),
        format!("name a crate that vendors the tree under [mlx.registry] of patches/{mlx}/pin.toml, if there is one"),
        format!("`cargo xtask patch lint --mlx {mlx}`, and commit patches/{mlx}"),
    ]);
    left
}
