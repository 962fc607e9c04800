//! `cargo xtask fetch`: a pin's sources, verified, in the store.

use std::process::ExitCode;

use toolchain::fetch::Source;

use crate::{flags, session::Session};

pub fn run(session: &Session, flags: &flags::Fetch) -> anyhow::Result<ExitCode> {
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let tree = session.toolchain.fetch(&pin.mlx, &flags.source)?;
    // A path is a copy of MLX; what belongs to it comes from where it always does.
    let source = match flags.source {
        Source::Path(_) => &Source::Auto,
        ref named => named,
    };
    session.toolchain.fetch(&pin.mlx_c, source)?;
    session.toolchain.verbs()?;
    eprintln!(
        "{} is tree {}{}",
        pin.mlx.name,
        tree.tree,
        if tree.current {
            ", verified in the store"
        } else {
            ", verified and stored"
        }
    );
    println!("{}", tree.path.display());
    Ok(ExitCode::SUCCESS)
}
