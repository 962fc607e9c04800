//! `cargo xtask doctor`: what is here, what is not, how to get it.

use std::process::ExitCode;

use serde_json::json;
use toolchain::doctor::Status;

use crate::{exit, flags, session::Session};

pub fn run(session: &Session, flags: &flags::Doctor) -> anyhow::Result<ExitCode> {
    let checks = session.toolchain.doctor();
    if flags.format == flags::Format::Json {
        let report = json!({"schema": "mlx-rails/doctor/1", "checks": checks});
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for check in &checks {
            let mark = match check.status {
                Status::Present => "ok",
                Status::OnDemand => "later",
                Status::Missing => "MISSING",
            };
            println!("{mark:>8}  {}: {}", check.name, check.detail);
            if let Some(remedy) = &check.remedy {
                println!("          {remedy}");
            }
        }
    }
    let missing = checks.iter().any(|check| check.status == Status::Missing);
    Ok(if missing {
        exit::FAILED.into()
    } else {
        ExitCode::SUCCESS
    })
}
