//! `cargo xtask doctor`: lists what is present, what is missing, and how to get it.

use serde_json::json;
use toolchain::doctor::Status;

use crate::{
    exit::{self, Result},
    flags, out, output,
    session::Session,
};

pub fn run(session: &Session, flags: &flags::Doctor) -> Result {
    let mut checks = session.toolchain.doctor();
    // A program that was ended by Ctrl-C is not missing.
    session.launcher.cancel().check()?;
    if flags.verify {
        checks.extend(session.toolchain.verify_checks()?);
    }
    if flags.format == flags::Format::Json {
        let report = json!({"schema": "mlx-rails/doctor/1", "checks": checks});
        output::json(&report)?;
    } else {
        for check in &checks {
            let mark = match check.status {
                Status::Present => "ok",
                Status::OnDemand => "later",
                Status::Missing => "MISSING",
                Status::Broken => "BROKEN",
            };
            out!("{mark:>8}  {}: {}", check.name, check.detail)?;
            if let Some(remedy) = &check.remedy {
                out!("          {remedy}")?;
            }
        }
    }
    let fails = |status| matches!(status, Status::Missing | Status::Broken);
    Ok(exit::passed(
        !checks.iter().any(|check| fails(check.status)),
    ))
}
