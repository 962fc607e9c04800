//! `cargo xtask wheel`: what Python installs.

use std::process::ExitCode;

use serde_json::json;

use crate::{flags, session::Session};

pub fn run(session: &Session, flags: &flags::Wheel) -> anyhow::Result<ExitCode> {
    if !flags.rail_matrix {
        return Err(toolchain::Error::Input {
            input: "wheel".into(),
            problem: "no wheel was named".into(),
            remedy: "there is one: `cargo xtask wheel --rail-matrix`. MLX's own is not built \
                     here yet; `cargo xtask build` makes what C++ and Rust link against"
                .into(),
        }
        .into());
    }
    let wheel = session.toolchain.rail_matrix_wheel(&flags.out)?;
    if flags.format == flags::Format::Json {
        let report = json!({
            "schema": "mlx-rails/wheel/1",
            "path": wheel.path,
            "sha256": wheel.sha256,
            "bytes": wheel.bytes,
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        eprintln!("  sha256    {}\n  bytes     {}", wheel.sha256, wheel.bytes);
        println!("{}", wheel.path.display());
    }
    Ok(ExitCode::SUCCESS)
}
