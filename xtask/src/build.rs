//! `cargo xtask build`: builds a pin with a series as a prefix in the store.

use std::process::ExitCode;

use toolchain::build::Request;

use crate::{exit::Result, flags, out, say, session::Session};

pub fn run(session: &Session, flags: &flags::Build) -> Result {
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let series = flags.series.series;
    let request = match flags.from_source {
        true => Request::mlx_from_source(&pin, series),
        false => Request::mlx(&pin, series),
    };
    let request = Request {
        jobs: flags.jobs,
        ..request
    };
    let build = session.toolchain.build(&request)?;
    let manifest = &build.manifest;
    say!(
        "{} is build {}{}\n  tree      {}\n  manifest  {}",
        manifest.inputs,
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
