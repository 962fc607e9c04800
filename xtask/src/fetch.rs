//! `cargo xtask fetch`: fetches and verifies a pin's sources into the store.

use std::process::ExitCode;

use serde_json::json;
use toolchain::fetch::Source;

use crate::{
    exit::Result,
    flags::{self, Format},
    out, output, say,
    session::Session,
};

/// The `schema` of its JSON.
const SCHEMA: &str = "mlx-rails/fetch/1";

pub fn run(session: &Session, flags: &flags::Fetch) -> Result {
    let toolchain = &session.toolchain;
    let pin = toolchain.pin(&flags.pin.mlx)?;
    // A path is a copy of MLX; the other sources come from their usual places.
    let source = match flags.source {
        Source::Path(_) => &Source::Auto,
        ref named => named,
    };
    let verbs = toolchain.verbs_pin()?;
    let mut trees = Vec::new();
    for (pin, source) in [
        (&pin.mlx, &flags.source),
        (&pin.mlx_c, source),
        (&verbs, &Source::Auto),
    ] {
        let tree = toolchain.fetch(pin, source)?;
        let how = match tree.current {
            true => "verified in the store",
            false => "verified and stored",
        };
        say!("{} is tree {}, {how}", pin.name, tree.tree);
        trees.push((&*pin.name, tree));
    }
    if flags.format == Format::Json {
        let trees: Vec<_> = trees
            .iter()
            .map(|(name, tree)| {
                json!({"name": name, "tree": tree.tree.to_string(), "path": tree.path})
            })
            .collect();
        output::json(&json!({"schema": SCHEMA, "trees": trees}))?;
    } else {
        let width = output::widest(trees.iter().map(|(name, _)| *name));
        for (name, tree) in &trees {
            out!("{name:width$}  {}", tree.path.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
