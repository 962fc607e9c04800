//! `cargo xtask build`: builds a pin with a series as a prefix in the store.

use std::process::ExitCode;

use toolchain::build::Request;

use crate::{exit::Result, flags, out, say, session::Session};

pub fn run(session: &Session, flags: &flags::Build) -> Result {
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let request = Request {
        jobs: flags.jobs,
        ..Request::mlx(&pin, flags.series.series)
    };
    let build = session.toolchain.build(&request)?;
    let manifest = &build.manifest;
    say!(
        "MLX {} ({}) is build {}{}\n  tree      {}\n  manifest  {}",
        pin.version,
        flags.series.series,
        manifest.key,
        if build.current {
            ", current".to_owned()
        } else {
            format!(", made in {} s", manifest.seconds)
        },
        manifest.inputs.patched_tree,
        build.manifest_file().display(),
    );
    if flags.print_prefix {
        out!("{}", build.prefix.display())?;
    } else {
        say!("  prefix    {}", build.prefix.display());
    }
    Ok(ExitCode::SUCCESS)
}
