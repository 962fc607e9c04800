//! `cargo xtask pin`: pins of other MLXs, and how others pin ours.

use std::{path::Path, process::ExitCode};

use ::wheel::{
    Wheel,
    snippet::{Change, Deed, Pinned, Pyproject, Snippet, Tool, sri},
};
use patch_series::{Added, Fate, Moved};
use serde_json::{Value, json};

use crate::{
    exit::{self, Failure, Result},
    flags::{Format, PinAdd, PinSnippet, PinStep, PinVerb, SnippetTool},
    out,
    output::{self, Unprinted},
    say,
    session::Session,
};

/// The `schema` of the JSON of `pin add`.
const SCHEMA: &str = "mlx-rails/pin-add/1";
/// The `schema` of the JSON of `pin snippet`.
const SNIPPET_SCHEMA: &str = "mlx-rails/pin-snippet/1";

pub fn run(session: &Session, flags: &PinVerb) -> Result {
    match &flags.step {
        PinStep::Add(flags) => add(session, flags),
        PinStep::Snippet(flags) => snippet(&session.toolchain.patches_folder(), flags),
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
        format!(
            "name a crate that vendors the tree, if there is one, under [mlx.registry] of \
             patches/{mlx}/pin.toml"
        ),
        format!(
            "list the official wheels in patches/{mlx}/wheels.sha256, as `sha256sum` prints them; \
             without them there is no wheel for a Mac"
        ),
        format!("`cargo xtask patch lint --mlx {mlx}`, and commit patches/{mlx}"),
    ]);
    left
}

fn snippet(patches: &Path, flags: &PinSnippet) -> Result {
    let tool = match flags.tool {
        SnippetTool::Uv => Tool::Uv,
        SnippetTool::Pip => Tool::Pip,
        SnippetTool::Nix => Tool::Nix,
        SnippetTool::Exo => Tool::Exo,
    };
    if flags.apply.is_some() {
        tool.reads_pyproject()?;
    }
    let wheels = flags.wheels.iter().map(|path| Pinned::open(path));
    let wheels = wheels.collect::<Result<_, _>>()?;
    let snippet = Snippet::new(wheels, flags.url_prefix.as_deref())?;
    if tool == Tool::Nix && flags.url_prefix.is_none() {
        are_the_patches_here(patches, &snippet)?;
    }
    let text = snippet.text(tool)?;
    let applied = match &flags.apply {
        Some(file) => Some(apply(file, &snippet, tool)?),
        None => None,
    };
    let next = next(tool, &snippet, applied.as_ref());
    if flags.format == Format::Json {
        let applied = applied.map(|(file, changes)| {
            let file = file.path();
            json!({ "file": file, "changed": !changes.is_empty(), "changes": changes })
        });
        let manifest = &snippet.wheels()[0].manifest;
        let patches: Vec<Value> = (manifest.patches.iter())
            .map(|(name, sha256)| json!({ "name": name, "sha256": sha256, "sri": sri(sha256) }))
            .collect();
        let wheels: Vec<Value> = snippet.wheels().iter().map(described).collect();
        let report = json!({
            "schema": SNIPPET_SCHEMA, "for": tool, "snippet": text, "wheels": wheels,
            "mlx": manifest.mlx, "series": manifest.series, "revision": manifest.revision,
            "patched_tree": manifest.patched_tree, "patches": patches, "applied": applied,
            "next": next,
        });
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    match applied {
        None => output::document(&text)?,
        Some((file, changes)) => print_changes(&file, &changes)?,
    }
    for line in next {
        say!("next: {line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn described(wheel: &Pinned) -> Value {
    json!({
        "path": wheel.path, "name": wheel.distribution, "version": wheel.version.to_string(),
        "marker": wheel.place, "sha256": wheel.sha256, "sri": sri(&wheel.sha256),
    })
}

/// Nix has no hash of a file beside it, so a patch that is another one would be compiled.
fn are_the_patches_here(patches: &Path, snippet: &Snippet) -> Result<()> {
    let manifest = &snippet.wheels()[0].manifest;
    let folder = patches.join(&manifest.mlx);
    for (name, sha256) in &manifest.patches {
        let file = folder.join(format!("{name}.patch"));
        let is_it = file.is_file() && Wheel::sha256(&file).is_ok_and(|(it, _)| it == *sha256);
        if !is_it {
            let problem = format!("{} is not the patch that the wheels have", file.display());
            return Err(Failure::input(problem).help(
                "check out the commit that they were made from, make the wheels again, or pass \
                 --url-prefix with the place of their patches"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

fn apply(file: &Path, snippet: &Snippet, tool: Tool) -> Result<(Pyproject, Vec<Change>)> {
    let file = Pyproject::read(file)?;
    let applied = file.with(snippet, tool)?;
    if !applied.changes.is_empty() {
        file.write(&applied.text)?;
    }
    Ok((file, applied.changes))
}

fn print_changes(file: &Pyproject, changes: &[Change]) -> std::result::Result<(), Unprinted> {
    let file = file.path().display();
    if changes.is_empty() {
        return out!("{file} has all of it; nothing was changed");
    }
    out!("{file}:")?;
    for change in changes {
        let Change {
            key,
            deed,
            before,
            after,
        } = change;
        let before = before.as_deref().unwrap_or_default();
        match deed {
            Deed::Added => out!("  {key}: added {after}")?,
            Deed::Replaced => out!("  {key}: {before}\n    is replaced by {after}")?,
            Deed::Narrowed => out!("  {key}: {before}\n    stays for other machines: {after}")?,
        }
    }
    Ok(())
}

/// What a person does with it.
fn next(tool: Tool, snippet: &Snippet, applied: Option<&(Pyproject, Vec<Change>)>) -> Vec<String> {
    let of_uv = || {
        let count = snippet.wheels().len();
        let of_them = if count == 1 { "the hash" } else { "each hash" };
        vec![
            "`uv lock`, which this did not do; the lock is still of what was there before".into(),
            format!("see that uv.lock has {of_them} of the snippet, then `uv sync`"),
        ]
    };
    match (tool, applied) {
        (Tool::Uv | Tool::Exo, Some(_)) => of_uv(),
        (Tool::Uv | Tool::Exo, None) => {
            let paste = "paste it into pyproject.toml (or --apply does it)".to_owned();
            [vec![paste], of_uv()].concat()
        }
        (Tool::Pip, _) => vec!["`pip install --requirement FILE`".into()],
        (Tool::Nix, _) => vec!["put it into the override of mlx".into()],
    }
}
