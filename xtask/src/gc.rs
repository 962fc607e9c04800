//! `cargo xtask gc`: frees the store of what no current pin needs.

use std::process::ExitCode;

use crate::{flags, session::Session};

pub fn run(session: &Session, flags: &flags::Gc) -> anyhow::Result<ExitCode> {
    let freed = session.toolchain.collect_garbage(flags.dry_run)?;
    let megabytes = freed / 1_000_000;
    let verb = if flags.dry_run {
        "would be freed"
    } else {
        "freed"
    };
    println!(
        "{megabytes} MB {verb} in {}",
        session.toolchain.store().root().display()
    );
    Ok(ExitCode::SUCCESS)
}
