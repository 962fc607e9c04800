//! `cargo xtask gc`: frees the store of what no current pin needs.

use std::process::ExitCode;

use crate::{flags, session::Session};

pub fn run(session: &Session, flags: &flags::Gc) -> anyhow::Result<ExitCode> {
    let freed = session.toolchain.collect_garbage(flags.dry_run)?;
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    for entry in &freed {
        println!(
            "{:>8} MB  {} {}",
            megabytes(entry.bytes),
            entry.kind.name(),
            entry.name
        );
    }
    let total = megabytes(freed.iter().map(|entry| entry.bytes).sum());
    let verb = if flags.dry_run {
        "would be freed"
    } else {
        "freed"
    };
    println!(
        "{total:>8} MB  {verb} in {}",
        session.toolchain.store().root()?.display()
    );
    Ok(ExitCode::SUCCESS)
}
