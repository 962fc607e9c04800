//! `cargo xtask wheel`: makes Python wheels.

use std::process::ExitCode;

use serde_json::json;
use toolchain::wheel::{Base, Built, SCHEMA, WheelRequest};

use crate::{
    exit::Result,
    flags::{self, WheelPlatform},
    out, output, say,
    session::Session,
};

pub fn run(session: &Session, flags: &flags::Wheel) -> Result {
    let toolchain = &session.toolchain;
    if flags.rail_matrix {
        return print(
            &[toolchain.rail_matrix_wheel(&flags.out_dir)?],
            flags.format,
        );
    }
    let pin = toolchain.pin(&flags.pin.mlx)?;
    let request = WheelRequest {
        pin: &pin,
        series: flags.series.series,
        base: match flags.base.as_str() {
            "official" => Base::Official,
            file => Base::File(file.into()),
        },
    };
    let is_for_mac = match flags.platform {
        WheelPlatform::Host => cfg!(target_os = "macos"),
        WheelPlatform::Macos => true,
        WheelPlatform::Linux => false,
    };
    let wheel = match is_for_mac {
        true => toolchain.macos_wheel(&request, &flags.out_dir)?,
        false => toolchain.linux_wheel(&request, &flags.out_dir)?,
    };
    print(&[wheel], flags.format)
}

/// Prints checks that hold, as progress.
pub fn say_checks(checks: &[wheel::Check]) {
    let width = checks.iter().map(|it| it.name.len()).max();
    for wheel::Check { name, detail, .. } in checks {
        say!("  ok  {name:<0$}  {detail}", width.unwrap_or_default());
    }
}

fn print(wheels: &[Built], format: flags::Format) -> Result {
    if format == flags::Format::Json {
        output::json(&json!({ "schema": SCHEMA, "wheels": wheels }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for wheel in wheels {
        say!("{} {} ({})", wheel.name, wheel.version, wheel.tag);
        say_checks(&wheel.checks);
        say!("  sha256  {}\n  bytes   {}", wheel.sha256, wheel.bytes);
        out!("{}", wheel.path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
