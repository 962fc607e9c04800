//! `cargo xtask overlay`: puts our libjaccl into an installation, or the old one back.

use std::process::ExitCode;

use serde_json::json;
use toolchain::overlay::SCHEMA;

use crate::{exit::Result, flags, out, output, say, session::Session, wheel::say_checks};

pub fn run(session: &Session, flags: &flags::Overlay) -> Result {
    let toolchain = &session.toolchain;
    let done = match flags.undo {
        true => toolchain.undo_overlay(&flags.dir)?,
        false => {
            let pin = toolchain.pin(&flags.pin.mlx)?;
            toolchain.overlay(&flags.dir, &pin, flags.series.series)?
        }
    };
    say_checks(&done.checks);
    match &done.kept {
        Some(kept) => say!("  the one that was there is {}", kept.display()),
        None => say!("  the one that was there before is back"),
    }
    if let Some(command) = &done.sign {
        say!("  before a Mac runs it: {command}");
    }
    if flags.format == flags::Format::Json {
        output::json(&json!({ "schema": SCHEMA, "overlay": done }))?;
    } else {
        out!("{}", done.path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
