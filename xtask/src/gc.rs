//! `cargo xtask gc`: removes from the store what no current pin needs.

use std::process::ExitCode;

use crate::{exit::Result, flags, out, output, session::Session};

pub fn run(session: &Session, flags: &flags::Gc) -> Result {
    let freed = session
        .toolchain
        .collect_garbage(&[models::smollm2::key()], flags.dry_run)?;
    for entry in &freed {
        let (size, kind) = (output::size(entry.bytes), entry.kind.name());
        out!("{size:>10}  {kind} {}", entry.name)?;
    }
    let verb = match flags.dry_run {
        true => "would be freed",
        false => "freed",
    };
    let total = output::size(freed.iter().map(|entry| entry.bytes).sum());
    let root = session.toolchain.store().root();
    let root = root.map_err(toolchain::Error::from)?.display();
    out!("{total:>10}  {verb} in {root}")?;
    Ok(ExitCode::SUCCESS)
}
