//! `cargo xtask test`: every test, multi-process ones included.
//!
//! What the tests link and load is built first, here, where a person sees the
//! progress; a build script would take the same minutes in silence.

use std::process::ExitCode;

use toolchain::{DEFAULT_PIN, build::Request, pin::Pin, series::Series};
use xshell::cmd;

use crate::{exit, flags, session::Session};

/// Fixes that tests take away, to see that the sweep notices
/// (`verify/tests/builds/mutation.rs`).
const TAKEN_AWAY: [&str; 3] = [
    "ring-recv-prefill",
    "mesh-all-sum-staging",
    "ring-all-gather-limits",
];

pub fn run(session: &Session, flags: &flags::Test) -> anyhow::Result<ExitCode> {
    for version in Pin::versions(&session.toolchain.patches_folder())? {
        let pin = session.toolchain.pin(&version)?;
        for series in [Series::Stock, Series::Patched] {
            session.toolchain.build(&Request::jaccl(&pin, series))?;
        }
    }
    let pin = session.toolchain.pin(DEFAULT_PIN)?;
    for fix in TAKEN_AWAY {
        session.toolchain.build(&Request {
            without: Some(fix),
            ..Request::jaccl(&pin, Series::Patched)
        })?;
    }
    session
        .toolchain
        .build(&Request::mlx(&pin, Series::Patched))?;

    if cfg!(target_os = "linux") {
        session.toolchain.clients()?;
    }
    // Its test packs it once more, from what is compiled here.
    let wheels = session.toolchain.root().join("target/wheels");
    session.toolchain.rail_matrix_wheel(&wheels)?;

    let (shell, arguments) = (&session.shell, &flags.cargo_test);
    let selection: &[&str] = if arguments.is_empty() {
        &["--workspace"]
    } else {
        &[]
    };
    // The emulator is loaded at run time, so no test can depend on it for cargo.
    session.unless_interrupted(
        cmd!(shell, "cargo build --package softrail-provider")
            .run()
            .map_err(Into::into),
    )?;
    let tests = cmd!(shell, "cargo test {selection...} {arguments...}").run();
    session.launcher.cancel().check()?;
    Ok(if tests.is_ok() {
        ExitCode::SUCCESS
    } else {
        exit::FAILED.into()
    })
}
