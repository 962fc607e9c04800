//! `cargo xtask wheel`: builds the Python package.

use std::process::ExitCode;

use serde_json::json;

use crate::{
    exit::{Failure, Result},
    flags, out, output, say,
    session::Session,
};

pub fn run(session: &Session, flags: &flags::Wheel) -> Result {
    if !flags.rail_matrix {
        let help = "there is one: `cargo xtask wheel --rail-matrix`. MLX's own is not built here \
                    yet; `cargo xtask build` makes what C++ and Rust link against";
        return Err(Failure::input("no wheel was named").help(help.to_owned()));
    }
    let wheel = session.toolchain.rail_matrix_wheel(&flags.out_dir)?;
    if flags.format == flags::Format::Json {
        let report = json!({
            "schema": "mlx-rails/wheel/1",
            "path": wheel.path,
            "sha256": wheel.sha256,
            "bytes": wheel.bytes,
        });
        output::json(&report)?;
    } else {
        say!("  sha256    {}\n  bytes     {}", wheel.sha256, wheel.bytes);
        out!("{}", wheel.path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
