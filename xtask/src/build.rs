//! `cargo xtask build`: a pin with a series, as a prefix in the store.

use std::process::ExitCode;

use toolchain::build::Request;

use crate::{flags, session::Session};

pub fn run(session: &Session, flags: &flags::Build) -> anyhow::Result<ExitCode> {
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let request = Request {
        jobs: flags.jobs,
        ..Request::mlx(&pin, flags.series)
    };
    let build = session.toolchain.build(&request)?;
    let manifest = &build.manifest;
    eprintln!(
        "MLX {} ({}) is build {}{}\n  tree      {}\n  manifest  {}",
        pin.version,
        flags.series,
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
        println!("{}", build.prefix.display());
    } else {
        eprintln!("  prefix    {}", build.prefix.display());
    }
    Ok(ExitCode::SUCCESS)
}
