//! Exit codes, the same for every verb.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the user's input, or a check that failed |
//! | 2 | our own failure |
//! | 130 | interrupted |

use std::process::ExitCode;

use clap::error::ErrorKind;
use toolchain::error::Kind;

/// A failed check, or input that will not do.
pub const FAILED: u8 = 1;
/// Our own failure.
pub const OURS: u8 = 2;
/// The user asked to stop.
pub const INTERRUPTED: u8 = 130;

/// A panic is ours, whichever thread it is in.
pub fn on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // A reader of data that left early (`| head`) is no failure. One of progress is,
        // because the work behind it does not come to its end.
        let text = info.payload().downcast_ref::<String>();
        if text.is_some_and(|t| t.contains("to stdout") && t.contains("Broken pipe")) {
            std::process::exit(0);
        }
        print(info);
        std::process::exit(OURS.into());
    }));
}

/// Prints clap's help or complaint.
pub fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => FAILED.into(),
    }
}

/// Prints an error once, with its causes, and picks its code.
pub fn report(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    eprintln!("error: {error:#}");
    let ours = error
        .chain()
        .find_map(|e| e.downcast_ref::<toolchain::Error>());
    if let Some(help) = ours.and_then(toolchain::Error::help) {
        eprintln!("help: {help}");
    }
    code_of(&error).into()
}

/// What our libraries report is about the input or the machine; an error
/// without a type is one that nobody foresaw.
fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<toolchain::Error>() {
        return match error.kind() {
            Kind::Check | Kind::Input => FAILED,
            Kind::Ours => OURS,
            Kind::Interrupted => 130,
        };
    }
    if error.chain().any(|cause| cause.is::<launch::Interrupted>()) {
        return INTERRUPTED;
    }
    let foreseen = error.is::<crate::rig::UserError>()
        || error.is::<softrail::FabricError>()
        || error.is::<softrail::live::LiveError>()
        || error.is::<softrail::up::UpError>()
        || error.is::<rail_bench::plan::PlanError>()
        || error.is::<rail_bench::RunError>()
        || error.is::<rail_matrix::PlanError>()
        || error.is::<rail_matrix::SelectError>()
        || error.is::<rail_matrix::check::CheckError>()
        || error.is::<rail_matrix::read::ReadError>()
        || error.is::<rail_matrix::write::DialectError>()
        || error.is::<rail_matrix::write::ExoError>()
        || error.is::<crate::matrix::CheckFlagsError>()
        || error.is::<crate::matrix::DiscoverError>()
        || error.is::<crate::matrix::InputError>()
        || error.is::<crate::matrix::SaveError>()
        || error.is::<rail_verify::group::GroupError>()
        || error.is::<rail_verify::preflight::PlanError>()
        || error.is::<rail_verify::preflight::Unfit>()
        || error.is::<rail_verify::run::RunError>()
        || error.is::<rail_verify::report::WriteError>()
        || error.is::<crate::verify_flags::FlagsError>();
    if foreseen { FAILED } else { OURS }
}
