//! `cargo xtask gc`: frees the store of what no current pin needs.

use std::process::ExitCode;

use crate::{exit::Result, flags, out, output, session::Session};

pub fn run(session: &Session, flags: &flags::Gc) -> Result {
    let freed = session.toolchain.collect_garbage(flags.dry_run)?;
    let verb = match flags.dry_run {
        true => "would be freed",
        false => "freed",
    };
    let root = session.toolchain.store().root().display();
    out!("{} {verb} in {root}", output::size(freed))?;
    Ok(ExitCode::SUCCESS)
}
